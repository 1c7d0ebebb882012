"""What to do about an error that a submission's own code raised, where Python's message does not say.

Inside the sandbox, that message is about a missing file, a forbidden operation or a network that is not there.
"""

import re
from collections.abc import Iterable

from harness.printable import quoted

REMEDIES = {
    r"\bSyntaxError: .*`[!%]|\bNameError: name 'null' is not defined": (
        "this comes from a notebook: save its code as a Python script, without the lines that begin with ! or %"
    ),
    r"\bSyntaxError: .*````": "remove the lines of ``` around the code",
    r"\bSyntaxError: .*`(<<<<<<<|=======|>>>>>>>)": "git left a conflict here: keep one side, and remove the marks",
    r"\bSyntaxError: invalid (non-printable )?character": (
        "type a plain quote, space or dash instead; a text processor or a web page put this one there"
    ),
    r"\bTabError\b|\bIndentationError\b": "indent by spaces alone, four for each level",
    r"\bFrameError: a frame of \d+ bytes": (
        "`encode` may return 4 ids per character of the longest prompt and 8 more, `decode` the text of an answer"
    ),
    r"\bMemoryError\b": "a submission may use at most 3 GiB of memory; make smaller tensors or tables",
    r"\bdecode\(\[\d+\]\) raised: .*\b(IndexError|KeyError|ValueError)\b": (
        "every id has to decode, pad_id and eos_id too; give them the empty text"
    ),
    r"\b(FileNotFoundError|NotADirectoryError|IsADirectoryError|PermissionError: .*'.+')": (
        "a submission can read its own files only, as Path(__file__).parent / NAME, and cannot write"
    ),
    r"\bPermissionError\b": "the sandbox forbids it; a submission maps text to ids, or a layout to terms, and no more",
    r"\b(URLError|gaierror|Address family not supported)\b": (
        "there is no network for a submission; put what it needs into its folder"
    ),
    r"\bBlockingIOError\b": "a submission cannot start processes; do the work in the call itself",
    r"\bTerms\.__init__\(\) got an unexpected": "Terms has embedding, embedding_angles, angles and bias, no others",
    r"\bTerms\.__init__\(\) takes 1 positional": "name the term: Terms(embedding=...)",
    r"\bPositionalEmbedding\.__init__\(\) missing 1 required": "write super().__init__(shape)",
    r"\b(encode|decode|forward)\(\) takes \d positional arguments? but \d (was|were) given": (
        "the parameters are (self, text) of encode, (self, token_ids) of decode and (self, layout) of forward"
    ),
    r"\bobject has no attribute '(encode|decode)'": "the class has to define it, under this name",
    r"\b(vocab_size|pad_id|eos_id) is None": "give the class this number, or set it in __init__",
    r"\bcannot assign parameters before Module": "let __init__ begin with super().__init__(shape)",
    r"\b__init__\(\) takes 1 positional argument but 2 were given": (
        "the harness makes a tokenizer with max_digits, and positions with shape"
    ),
    r"'int' object has no attribute '(max_length|d_model|num_heads|head_dim|num_layers|max_digits)'": (
        "a tokenizer is made with a number, max_digits, and positions with a shape: are `tokenizer` and `positions` "
        "exchanged in submission.yaml?"
    ),
    r"\battempted relative import with no known parent package": (
        "import a file of the folder by its name, without the dot: from helper import x"
    ),
    r"\bAttempting to broadcast a dimension|\bmust match the size of tensor": (
        "mind the shapes: layout is (B, L), the kinds of the tokens and no embeddings, and a table is cut to the "
        "length by self.table[None, : layout.shape[1]]"
    ),
    r"\bTorch not compiled with CUDA enabled|\bFound no NVIDIA driver|\bnot linked with support for \w+ devices": (
        "make tensors on the CPU, and in forward on layout.device; the harness moves parameters to the GPU"
    ),
    r"'ModelShape' object has no attribute": (
        "a shape has d_model, num_heads, head_dim, num_layers, max_digits and max_length"
    ),
    r"\bleaf Variable that requires grad\b": "copy it before you change it: self.table.clone()",
    r"\.numpy\(\) is not supported for tensor subclasses": (
        "forward makes a parameter or a buffer: make it in __init__, or compute a plain tensor"
    ),
    r"\bdecode\(\[[\d, ]*\]\) raised: .*'int' object has no attribute": "token_ids are plain ints, use them so",
    r"\breturned (Tensor|ndarray|tuple|range|map|generator|set); the contract asks for list\[int\]": (
        "wrap it in list(...), or a tensor or array in .tolist()"
    ),
    r"\breturned (a )?None(Type)?; (the contract|return)\b": "does it end in `return`, on every path?",
    r"\bholds .* of type (u?int\d+|float\d*|Tensor); ids are ints": "make each an int, by int(...) or .tolist()",
    r"\bEOFError: EOF when reading a line": "nobody answers input(); remove the call",
    r"\bencode\('\d+'\) raised: .*\b(Assertion|Attribute|Index|Key|Value)Error\b": (
        "encode gets answers too (`46`, without + and =), not only prompts (`12+34=`)"
    ),
}
"""By a pattern that the message matches."""


def remedied(message: str, files: Iterable[str]) -> str:
    """The message of a host, followed by what to do about it, if anything is known.

    Args:
        files: names of the files in the folder.
    """
    for pattern, remedy in REMEDIES.items():
        if re.search(pattern, message):
            return f"{message}; {remedy}"
    if missing := re.search(r"there is no (\S+\.py)$", message):
        alike = [name for name in files if name.lower() == missing[1].lower()]
        notebooks = [name for name in files if name.endswith(".ipynb")]
        if alike:
            return f"{message}; rename {quoted(alike[0])}"
        if notebooks:
            return f"{message}; copy the classes from {quoted(notebooks[0])} into it"
        if code := [name for name in sorted(files) if name.endswith(".py")]:
            return f"{message}; there is {', '.join(map(quoted, code[:5]))}: rename one, or name it in submission.yaml"
    return message
