"""What entrants get wrong in their code, and what a host's error says to do about it."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from bad_folders import MANIFEST, error_of, make_submission, write_folder

from harness.errors import SubmissionError
from harness.host.client import Host, Role
from harness.host.remedies import remedied
from harness.host.sandbox import Isolation, isolation
from harness.protocol import ModelShape, PositionalEmbedding, Terms
from harness.submissions import Submission, read_folder

BAD_ENCODINGS = {
    "floats": ("return [1.0, 2.0]", "holds 1.0 of type float; ids are ints in [0, vocab_size)"),
    "bools": ("return [True]", "holds True of type bool"),
    "numpy ints": (
        "import numpy as np\nreturn list(np.arange(3))",
        "of type int64; ids are ints in [0, vocab_size); make each an int, by int(...) or .tolist()",
    ),
    "too large": ("return [14]", "vocab_size is 14 but encode('7+8=') gave id 14; ids must be in [0, vocab_size)"),
    "beyond 64 bits": ("return [10**40]", "holds 1000"),
    "negative": ("return [-1]", "gave id -1; ids must be in [0, vocab_size). The first id is 0"),
    "empty": ("return []", "encode('7+8=') gave 0 ids; 1 to"),
    "None": ("pass", "returned NoneType; the contract asks for list[int]; does it end in `return`"),
    "a string": ("return '12'", "returned str; the contract asks for list[int]"),
    "a generator": ("yield 1", "returned generator; the contract asks for list[int]; wrap it in list(...), or"),
    "a tensor": (
        "import torch\nreturn torch.ones(2)",
        "list[int]; wrap it in list(...), or a tensor or array in .tolist()",
    ),
    "too long": ("return [1] * 1000", "encode('7+8=') gave 1000 ids; 1 to 32"),
    "pad": ("return [12]", "encode('7+8=') holds pad_id 12; the harness adds it, leave it out"),
    "eos": ("return [13]", "encode('7+8=') holds eos_id 13; the harness adds it, leave it out"),
    "raises": ("raise KeyError('x')", "encode('7+8=') raised: submission.py, line 25, in encode: KeyError: 'x'"),
    "recursion": ("return self.encode(text)", "RecursionError"),
    "too large a reply": ("return [1] * 400_000", "1 to 32"),
}


@pytest.mark.parametrize("case", BAD_ENCODINGS)
def test_a_bad_encoding_is_refused_with_the_call_and_the_remedy(tmp_path: Path, case: str) -> None:
    body, expected = BAD_ENCODINGS[case]
    error = error_of(make_submission(tmp_path, encode=body))
    assert error.rule == "T00"
    assert expected in error.message


def test_what_torch_and_python_say_of_a_wrong_init_is_followed_by_what_to_do() -> None:
    class Late(torch.nn.Module):
        def __init__(self) -> None:
            self.table = torch.nn.Parameter(torch.zeros(1))

    class Short:
        def __init__(self) -> None: ...

    class Sized:
        def __init__(self, shape: Any) -> None:
            self.rows = shape.max_length

    short: Any = Short
    with pytest.raises(AttributeError) as late:
        Late()
    with pytest.raises(TypeError) as short_of_one:
        short(20)
    with pytest.raises(AttributeError) as exchanged:
        Sized(20)
    assert "are `tokenizer` and `positions` exchanged" in remedied(str(exchanged.value), [])
    assert remedied(str(late.value), []).endswith("; let __init__ begin with super().__init__(shape)")
    assert remedied(str(short_of_one.value), []).endswith("makes a tokenizer with max_digits, and positions with shape")


def test_what_python_says_of_a_wrong_call_or_definition_is_followed_by_what_to_do() -> None:
    class Without:
        def encode(text: str) -> list[int]:  # type: ignore[misc]  # noqa: N805
            return []

    tokenizer: Any = Without()
    terms, embedding = cast(Any, Terms), cast(Any, PositionalEmbedding)
    shape = ModelShape(d_model=128, num_heads=16, head_dim=8, num_layers=2, max_digits=3, max_length=12)
    for call, remedy in (
        (lambda: terms(torch.zeros(1)), "name the term: Terms(embedding=...)"),
        (lambda: embedding(), "write super().__init__(shape)"),
        (lambda: tokenizer.encode("7+8="), "the parameters are (self, text) of encode, (self, token_ids) of decode"),
        (lambda: tokenizer.decode([0]), "the class has to define it, under this name"),
        (lambda: cast(Any, shape).max_len, "a shape has d_model, num_heads, head_dim, num_layers, max_digits and"),
    ):
        with pytest.raises((TypeError, AttributeError)) as caught:
            call()
        assert f"; {remedy}" in remedied(f"{type(caught.value).__name__}: {caught.value}", [])
    without_mps = "RuntimeError: PyTorch is not linked with support for mps devices"  # a Mac's torch has them
    assert remedied(without_mps, []).startswith(
        f"{without_mps}; make tensors on the CPU, and in forward on layout.device"
    )


BAD_DECODINGS = {
    "raises": ("raise IndexError(5)", "T00", "decode([0]) raised: submission.py, line 28, in decode: IndexError: 5"),
    "a tensor's method": ("return str(token_ids[0].item())", "T00", "; token_ids are plain ints, use them so"),
    "bytes": ("return b'1'", "T30", "decode([0]) returned b'1'; the contract asks for a str"),
    "None": ("return None", "T30", "decode([0]) returned None; the contract asks for a str"),
    "too long": (
        "return '1' * 5000",
        "T30",
        "decode([0]) returned 5000 characters; at most 4096 are allowed; let an id",
    ),
    "surrogate": ("return '\\ud800'", "T30", "half of a surrogate pair, '\\ud800'"),
}


@pytest.mark.parametrize("case", BAD_DECODINGS)
def test_a_bad_decoding_is_refused_with_the_call_and_the_remedy(tmp_path: Path, case: str) -> None:
    body, rule, expected = BAD_DECODINGS[case]
    error = error_of(make_submission(tmp_path, decode=body))
    assert error.rule == rule
    assert expected in error.message


BAD_VOCABULARIES = {
    "self.vocab_size = 3000": "vocab_size is 3000; 2 to 2048 ids are allowed",
    "self.vocab_size = '14'": "vocab_size is '14'; the contract asks for an int",
    "self.vocab_size = True": "vocab_size is True; the contract asks for an int",
    "self.pad_id = 14": "pad_id is 14; ids must be in [0, 14). Count your special tokens",
    "self.eos_id = -1": "eos_id is -1; ids must be in [0, 14)",
    "self.eos_id = 12": "pad_id and eos_id are both 12; an answer's end must differ from its padding",
}


@pytest.mark.parametrize("body", BAD_VOCABULARIES)
def test_a_bad_vocabulary_is_refused(tmp_path: Path, body: str) -> None:
    assert BAD_VOCABULARIES[body] in error_of(make_submission(tmp_path, init=body)).message


OUT_OF_REACH = {
    "another file": (
        "open('/etc/passwd')",
        "a submission can read its own files only, as Path(__file__).parent / NAME",
    ),
    "a file of the caller": ("open('vocab.txt')", "a submission can read its own files only"),
    "writing": ("open(__file__, 'w')", "and cannot write"),
    "the network": (
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
        "there is no network for a submission; put what it needs into its folder",
    ),
    "a socket": ("import socket; socket.socket()", "there is no network for a submission"),
    "another process": ("import os; os.kill(1, 0)", "the sandbox forbids it; a submission maps text to ids"),
    "a process": ("import os; os.fork()", "a submission cannot start processes; do the work in the call itself"),
    "a person": ("input()", "nobody answers input(); remove the call"),
}


@pytest.mark.skipif(isolation() is Isolation.NONE, reason="without a sandbox all of it can be reached")
@pytest.mark.parametrize("reached_for", OUT_OF_REACH)
def test_code_that_reaches_for_what_is_not_there_is_told_what_there_is(tmp_path: Path, reached_for: str) -> None:
    top, remedy = OUT_OF_REACH[reached_for]
    message = error_of(make_submission(tmp_path, top=top)).message
    assert message.startswith("submission.py, line 1, in <module>: ")
    assert remedy in message


def test_a_decode_that_knows_no_special_ids_is_told_to_give_them_no_text(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, decode='return "".join(CHARACTERS[i] for i in token_ids)')
    message = error_of(submission).message
    assert "decode([12]) raised: submission.py, line " in message
    assert message.endswith("every id has to decode, pad_id and eos_id too; give them the empty text")


def test_an_encode_that_knows_prompts_alone_is_told_of_answers(tmp_path: Path) -> None:
    message = error_of(make_submission(tmp_path, encode='a, b = text[:-1].split("+")\nreturn [1]')).message
    assert message.endswith("encode gets answers too (`46`, without + and =), not only prompts (`12+34=`)")


def test_an_encode_that_asserts_a_prompt_is_told_of_answers(tmp_path: Path) -> None:
    message = error_of(make_submission(tmp_path, encode='assert "=" in text\nreturn [1]')).message
    assert message.endswith("encode gets answers too (`46`, without + and =), not only prompts (`12+34=`)")


def test_ids_that_fill_more_than_a_frame_are_answered_with_how_many_there_may_be(tmp_path: Path) -> None:
    with Host(make_submission(tmp_path, encode="return [1] * 400"), "prompts", max_digits=3) as host:
        vocabulary = host.describe()
        with pytest.raises(
            SubmissionError, match=r"FrameError: a frame of .*; `encode` may return 4 ids per character"
        ):
            host.encode([f"{n}+1=" for n in range(8000)], vocabulary)


def test_an_error_in_borrowed_code_names_the_folder_that_it_lies_in(tmp_path: Path) -> None:
    make_submission(tmp_path, "lender", encode="return [99]")
    manifest = MANIFEST.replace("submission:Characters", "lender/submission:Characters")
    error = error_of(make_submission(tmp_path, "borrower", manifest=manifest))
    assert error.submission == "borrower"
    assert error.message.startswith(
        "in the borrowed submissions/lender: vocab_size is 14 but encode('7+8=') gave id 99"
    )


@pytest.mark.parametrize(
    ("beside", "remedy"),
    [
        ("Submission.py", "rename 'Submission.py'"),
        ("a.ipynb", "copy the classes from 'a.ipynb'"),
        ("mine.py", "there is 'mine.py': rename one, or name it in submission.yaml"),
    ],
)
def test_a_module_that_is_missing_is_looked_for_under_another_name(tmp_path: Path, beside: str, remedy: str) -> None:
    folder = write_folder(tmp_path, "entry")
    (folder / "submission.py").rename(folder / beside)
    found = read_folder(folder)
    assert isinstance(found, Submission)
    assert f"there is no submission.py; {remedy}" in error_of(found).message


BAD_IMPORTS = {
    "import nosuchmodule": "submission.py, line 1, in <module>: ModuleNotFoundError: No module named 'nosuchmodule'; "
    "a submission has the standard library, torch, numpy, harness.protocol and its own files",
    "def (:": "submission.py, line 1: SyntaxError: invalid syntax",
    "1 / 0": "submission.py, line 1, in <module>: ZeroDivisionError: division by zero",
}


@pytest.mark.parametrize("role", ["answers", "positions"])
@pytest.mark.parametrize("top", BAD_IMPORTS)
def test_a_module_that_cannot_be_imported_is_named_with_its_line(tmp_path: Path, top: str, role: Role) -> None:
    error = error_of(make_submission(tmp_path, top=top), role=role)
    assert error.rule == ("P00" if role == "positions" else "T00")
    assert BAD_IMPORTS[top] in error.message


PASTED = {
    "!pip install einops": ("`!pip install einops`", "this comes from a notebook"),
    "%matplotlib inline": ("`%matplotlib inline`", "this comes from a notebook"),
    '{"cells": [{"outputs": null}]}': ("NameError: name 'null'", "this comes from a notebook"),
    "```python": ("`" + "```python`", "remove the lines of ```"),
    "<<<<<<< HEAD": ("`<<<<<<< HEAD`", "git left a conflict here"),
    "DIGITS = \u201c0123456789\u201d": ("invalid character '\u201c'", "type a plain quote, space or dash instead"),
    "if True:\n    a = 1\n\tb = 2": ("TabError", "indent by spaces alone"),
}


@pytest.mark.parametrize("top", PASTED)
def test_what_is_no_python_is_shown_and_followed_by_what_to_do(tmp_path: Path, top: str) -> None:
    shown, remedy = PASTED[top]
    message = error_of(make_submission(tmp_path, top=top)).message
    assert shown in message
    assert f"; {remedy}" in message


@pytest.mark.parametrize(
    ("entry_point", "expected"),
    [
        ("submission:Nope", "submission.py defines no class Nope"),
        ("submission:CHARACTERS", "submission.py defines no class CHARACTERS"),
        ("other:Characters", "submission.yaml names other:Characters, but there is no other.py"),
        ("os:PathLike", "submission.yaml names os:PathLike, but there is no os.py"),
        ("submission.py:Characters", "there is no submission/py.py; leave out .py"),
    ],
)
def test_a_missing_class_or_module_is_named(tmp_path: Path, entry_point: str, expected: str) -> None:
    manifest = MANIFEST.replace("submission:Characters", entry_point)
    assert expected in error_of(make_submission(tmp_path, manifest=manifest)).message


def test_a_module_without_classes_is_said_to_have_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "entry")
    (folder / "submission.py").write_text("VOCABULARY = '0123456789+='\n")
    found = read_folder(folder)
    assert isinstance(found, Submission)
    expected = "submission.py defines no class Characters, nor any other; write it, or name another in submission.yaml"
    assert expected in error_of(found).message
