"""A host's export: ordinary tensor code crosses unchanged, the rest is refused with its cause, line and remedy."""

import re

import pytest
import torch
from made_positions import BATCH, LENGTH, PROGRAMS, WriteSubmission, crossed, layouts, original, with_forward

from harness.errors import SubmissionError
from harness.host.export import _why_not_exported
from harness.positions import Program
from harness.protocol import Terms

pytestmark = pytest.mark.usefixtures("own_torch_seed")

RANDOM = """
    class PositionalEmbedding(protocol.PositionalEmbedding):
        def forward(self, layout):
            shape = (*layout.shape, 128)
            x = torch.zeros(shape, device=layout.device)
            if self.training:
                x = x + torch.rand(shape) + torch.randn(shape) + torch.randint(5, shape) + torch.randint(2, 5, shape)
                x = x + torch.rand_like(x) * torch.randn_like(x) + torch.bernoulli(torch.full(shape, 0.3))
                x = x[:, torch.randperm(layout.shape[1], device=layout.device)]
            return Terms(embedding=x)
"""


def test_every_way_to_draw_gives_what_it_gives_in_the_original(write_submission: WriteSubmission) -> None:
    submission = write_submission(positions=RANDOM)
    module, copy, layout = original(submission).train(), crossed(submission), layouts(BATCH, LENGTH)
    torch.manual_seed(3)
    expected = module(layout).embedding
    got = copy.terms(layout, training=True, generator=torch.Generator().manual_seed(3)).embedding
    assert expected is not None
    assert got is not None
    assert torch.equal(expected, got)


LEGAL = {
    "a table written in place": """
        table = torch.zeros(9, 128)
        table[:, 0::2] = torch.arange(9.0)[:, None]
        table[:, 1::2] = 0.5
        table[0] += 1
        table[1:3].mul_(2).clamp_(max=3)
        return Terms(embedding=table[None, : layout.shape[1]])
    """,
    "tensors moved and cast": """
        x = torch.ones(1, layout.shape[1], 128).to(layout.device, torch.float32) + torch.arange(128)
        x = x.to(layout.device) + layout.to(x)[..., None] + layout.type_as(x)[..., None] + layout.float()[..., None]
        return Terms(embedding=x)
    """,
    "a constant tensor": "return Terms(embedding=torch.tensor([1.0, 2.0]).repeat(64).expand(1, layout.shape[1], 128))",
    "a branch on the length": """
        x = torch.zeros(1, layout.shape[1], 128)
        return Terms(embedding=x if layout.shape[1] > 20 else x + layout.shape[1])
    """,
    "sparse gradients": "return Terms(embedding=F.embedding(layout, torch.ones(6, 128), sparse=True))",
    "sparse gradients of gather": """
        index = layout[..., None].expand(-1, -1, 128).flatten(0, 1)
        return Terms(embedding=torch.gather(torch.ones(6, 128), 0, index, sparse_grad=True).unflatten(0, layout.shape))
    """,
    "nothing": "return Terms()",
    "two terms": """
        i = torch.arange(float(layout.shape[1]))
        return Terms(angles=i[None, :, None].expand(1, -1, 4), bias=-torch.einsum("i,j->ij", i, i)[None, None])
    """,
}


@pytest.mark.parametrize("body", LEGAL.values(), ids=LEGAL)
def test_ordinary_tensor_code_crosses_unchanged(body: str, write_submission: WriteSubmission) -> None:
    submission = write_submission(positions=with_forward(body))
    program = Program(True, 4, 9)
    layout = layouts(4, 9)
    expected, got = (
        original(submission).train()(layout),
        crossed(submission, [program]).terms(layout, training=True, generator=torch.Generator()),
    )
    for name in Terms.__slots__:
        one, other = getattr(expected, name), getattr(got, name)
        assert (one is None and other is None) or torch.equal(one, other)


ZEROS = "x = torch.zeros(1, layout.shape[1], 128)"
LINE = r"submission\.py, line \d+, .*"
WRONG_FORWARDS = {
    "Python's random": (
        f"{ZEROS}\nreturn Terms(embedding=x + random.randint(0, 10**6))",
        LINE + r"return Terms\(embedding=x \+ random.*from outside torch became the constant \d+.*torch\.randint",
    ),
    "NumPy's random": (
        f"{ZEROS}\nreturn Terms(embedding=x + float(np.random.rand()))",
        LINE + r"from outside torch became the constant 0\.\d+.*draw with torch\.randint or torch\.rand",
    ),
    "NumPy's unseeded random": (
        f"{ZEROS}\nreturn Terms(embedding=x + float(np.random.default_rng().random()))",
        LINE + r"from outside torch became the constant 0\.\d+.*draw with torch\.randint or torch\.rand",
    ),
    "a branch on a value": (
        f"{ZEROS}\nif layout[0, 0] == 0:\n    x = x + 1\nreturn Terms(embedding=x)",
        r"line \d+, in forward: .*branch depends on the values of the layout.*torch\.where instead of if",
    ),
    "int() of a value": (
        "return Terms(embedding=torch.zeros(1, layout.shape[1], 128 + int(layout.min())))",
        r"line \d+.*depends on the values of the layout.*use tensor arithmetic",
    ),
    "item": (
        f"{ZEROS}\nreturn Terms(embedding=x + layout.max().item())",
        LINE + r"layout\.max\(\)\.item\(\).*aten\.item\.default is not allowed.*no Python number.*torch\.where",
    ),
    "a boolean mask": (
        f"{ZEROS}\nreturn Terms(embedding=x + layout[layout > 0].sum())",
        LINE + r"is not allowed; no size may depend on values: use torch\.where",
    ),
    "numpy": (
        f"{ZEROS}\nreturn Terms(embedding=x + torch.from_numpy(layout.numpy())[..., None])",
        r"line \d+, in forward: .*NumPy array.*compute with torch",
    ),
    "a wrong width": (
        f"{ZEROS}\nreturn Terms(embedding=x[..., :64])",
        r"Terms\.embedding has shape \(1, 12, 64\); for a layout of \(6, 12\) it must be \(1 or 6, 12, 128\)$",
    ),
    "a missing dimension": (
        "return Terms(bias=torch.zeros(16, layout.shape[1], layout.shape[1]))",
        r"Terms\.bias has shape \(16, 12, 12\).*12, 12\): keep a first axis, of 1 or of the batch",
    ),
    "another length": (
        "return Terms(angles=torch.zeros(1, 15, 4))",
        r"Terms\.angles has shape \(1, 15, 4\).*\(1 or 6, 12, 4\): make tables `shape\.max_length` long, and cut",
    ),
    "float64": (
        f"{ZEROS}\nreturn Terms(embedding=x.double())",
        r"Terms\.embedding has dtype torch\.float64; end with \.float\(\).*torch\.float32",
    ),
    "the meta device": (
        "return Terms(embedding=torch.zeros(1, layout.shape[1], 128, device='meta'))",
        LINE + r"creates a tensor on meta; create it on layout\.device",
    ),
    "a CUDA device": (
        "return Terms(embedding=torch.zeros(1, layout.shape[1], 128, device='cuda'))",
        LINE + r"creates a tensor on cuda.*; create it on layout\.device",
    ),
    "a tensor returned": (
        f"{ZEROS}\nreturn x",
        r"forward returned a tensor; return harness\.protocol\.Terms",
    ),
    "a number as a term": (
        "return Terms(embedding=1.0)",
        r"Terms\.embedding is of type float; a float32 tensor or None is allowed",
    ),
    "drawing in evaluation": (
        "return Terms(embedding=torch.rand(1, layout.shape[1], 128))",
        LINE + r"aten\.rand\.default draws in evaluation too; draw only `if self\.training`",
    ),
    "an operator off the list": (
        f"{ZEROS}\nreturn Terms(embedding=x + torch.linalg.inv(torch.eye(3)).sum())",
        LINE + r"the operator aten\.linalg_inv\S* is not allowed; use arithmetic",
    ),
    "torch's dropout": (
        f"{ZEROS}\nreturn Terms(embedding=F.dropout(x + 1, 0.5, self.training))",
        LINE + r"the operator aten\.dropout\.default is not allowed; set the class's `dropout`",
    ),
    "drawing in place": (
        f"{ZEROS}\nreturn Terms(embedding=torch.empty(1, layout.shape[1], 128).uniform_() if self.training else x)",
        LINE + r"is not allowed; draw with torch\.rand",
    ),
    "a generator of its own": (
        f"{ZEROS}\nreturn Terms(embedding=x + torch.rand(128, generator=torch.Generator()))",
        r"forward uses a Generator, which cannot cross; draw from torch's own generator",
    ),
    "no_grad": (
        f"{ZEROS}\nwith torch.no_grad():\n    x = x + layout[..., None]\nreturn Terms(embedding=x)",
        r"a block under torch\.no_grad.* cannot cross; use \.detach\(\)",
    ),
    "a layout taken for an embedding": (
        "return Terms(embedding=layout + torch.zeros(1, layout.shape[1], 128))",
        LINE + r"RuntimeError: .*; mind the shapes: layout is \(B, L\), the kinds of the tokens",
    ),
    "a buffer made in forward": (
        "self.register_buffer('table', torch.zeros(1, layout.shape[1], 128))\nreturn Terms(embedding=self.table)",
        r"; forward makes a parameter or a buffer: make it in __init__",
    ),
    "a parameter written over": (
        f"{ZEROS}\nx = nn.Parameter(x)\nx[0] = 1\nreturn Terms(embedding=x)",
        LINE + r"RuntimeError: .*; copy it before you change it: self\.table\.clone\(\)",
    ),
    "an exception": (
        "return Terms(embedding=undefined)",
        r"submission\.py, line \d+, in forward: NameError: name 'undefined'",
    ),
}


@pytest.mark.parametrize(("body", "message"), WRONG_FORWARDS.values(), ids=WRONG_FORWARDS)
def test_a_wrong_forward_is_refused_with_cause_line_and_remedy(
    body: str, message: str, write_submission: WriteSubmission
) -> None:
    submission = write_submission(positions=with_forward(body))
    with pytest.raises(SubmissionError, match=message) as caught:
        crossed(submission, PROGRAMS[:2])
    assert caught.value.rule == "P00"
    assert str(caught.value).isprintable()
    named = re.search(r"submission\.py, line (\d+)", str(caught.value))
    if named is not None:
        source = (submission.folder / "submission.py").read_text().splitlines()
        lines = {number for number, line in enumerate(source, start=1) if line.strip() in body and line.strip()}
        assert int(named[1]) in lines


def test_a_generator_is_refused_in_the_same_words_where_torch_does_not_export_it() -> None:
    """As torch 2.13 does; this is what 2.11 raises."""
    said = NotImplementedError("argument of type: <class 'torch._C.Generator'>")
    assert re.search(WRONG_FORWARDS["a generator of its own"][1], _why_not_exported(said, "/nonexistent"))


WRONG_CLASSES = {
    "NumPy's random in a table": (
        """
        class PositionalEmbedding(protocol.PositionalEmbedding):
            def __init__(self, shape):
                super().__init__(shape)
                self.table = nn.Parameter(torch.from_numpy(np.random.randn(shape.max_length, 128)).float())

            def forward(self, layout):
                return Terms(embedding=self.table[None, : layout.shape[1]])
        """,
        r"`table` differs between two constructions; draw its values with torch's generator",
    ),
    "a buffer that counts": (
        """
        class PositionalEmbedding(protocol.PositionalEmbedding):
            def __init__(self, shape):
                super().__init__(shape)
                self.register_buffer("count", torch.zeros(1))

            def forward(self, layout):
                self.count += 1
                return Terms(embedding=torch.zeros(1, layout.shape[1], 128) + self.count)
        """,
        r"forward changes count: positions keep no state between calls; compute it from the layout",
    ),
    "too much state": (
        """
        class PositionalEmbedding(protocol.PositionalEmbedding):
            def __init__(self, shape):
                super().__init__(shape)
                self.table = nn.Parameter(torch.zeros(8193, 128))

            def forward(self, layout):
                return Terms(embedding=self.table[None, : layout.shape[1]])
        """,
        r"hold 1048704 numbers \(the largest, `table`, is 8193 x 128\); at most 65536",
    ),
    "too much dropout": (
        """
        class PositionalEmbedding(protocol.PositionalEmbedding):
            dropout = 1.0

            def forward(self, layout):
                return Terms()
        """,
        r"dropout is 1\.0; a number in \[0, 1\) is allowed",
    ),
    "another base class": (
        """
        class PositionalEmbedding(nn.Module):
            def forward(self, layout):
                return Terms()
        """,
        r"PositionalEmbedding is no subclass of harness\.protocol\.PositionalEmbedding; derive it from that",
    ),
    "another signature": (
        """
        class PositionalEmbedding(protocol.PositionalEmbedding):
            def __init__(self):
                pass
        """,
        r"PositionalEmbedding\(shape\) raised: .*TypeError.*takes 1 positional argument but 2 were given",
    ),
    "no class": (
        "class Other: ...",
        r"submission\.py defines no class PositionalEmbedding \(but Tokenizer, Other\); write it, or name another",
    ),
    "a module for a rate": (
        """
        class PositionalEmbedding(protocol.PositionalEmbedding):
            def __init__(self, shape):
                super().__init__(shape)
                self.dropout = nn.Dropout(0.1)

            def forward(self, layout):
                return Terms()
        """,
        r"PositionalEmbedding\.dropout is a module; it is a number in \[0, 1\): write `dropout = 0\.1` in the class",
    ),
    "parameters in a list": (
        """
        class PositionalEmbedding(protocol.PositionalEmbedding):
            def __init__(self, shape):
                super().__init__(shape)
                self.rows = [nn.Parameter(torch.zeros(shape.d_model)) for _ in range(shape.max_length)]

            def forward(self, layout):
                return Terms(embedding=torch.stack(self.rows)[None, : layout.shape[1]])
        """,
        r"PositionalEmbedding\.rows, a Python list, holds a Parameter, which nothing would train; .* nn\.ParameterList",
    ),
    "layers in a dict of a layer": (
        """
        class Part(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = {1: nn.Linear(1, 128)}

        class PositionalEmbedding(protocol.PositionalEmbedding):
            def __init__(self, shape):
                super().__init__(shape)
                self.part = Part()

            def forward(self, layout):
                return Terms(embedding=self.part.layers[1](layout[..., None].float()))
        """,
        r"Part\.layers, a Python dict, holds a Module, which nothing would train; make it an nn\.ModuleList",
    ),
    "parameters in a list of a list, under a name of one's own": (
        """
        class PositionalEmbedding(protocol.PositionalEmbedding):
            def __init__(self, shape):
                super().__init__(shape)
                self._tables = [(0, [nn.Parameter(torch.zeros(shape.max_length, shape.d_model))])]

            def forward(self, layout):
                return Terms(embedding=self._tables[0][1][0][None, : layout.shape[1]])
        """,
        r"PositionalEmbedding\._tables, a Python list, holds a Parameter, which nothing would train;",
    ),
    "a seed of its own": (
        """
        class PositionalEmbedding(protocol.PositionalEmbedding):
            def __init__(self, shape):
                super().__init__(shape)
                torch.manual_seed(0)
                self.table = nn.Parameter(torch.randn(shape.max_length, shape.d_model))

            def forward(self, layout):
                return Terms(embedding=self.table[None, : layout.shape[1]])
        """,
        r"PositionalEmbedding seeds torch itself; take `torch\.manual_seed` out of __init__, since every trial seeds",
    ),
    "tokens asked for": (
        """
        class PositionalEmbedding(protocol.PositionalEmbedding):
            def forward(self, layout, token_ids):
                return Terms()
        """,
        r"forward\(\) missing .* 'token_ids'; forward is called with the layout alone, positions never see the tokens",
    ),
    "no Python": ("class PositionalEmbedding(", r"SyntaxError: '\(' was never closed"),
}


REGISTERED = """
    class PositionalEmbedding(protocol.PositionalEmbedding):
        def __init__(self, shape):
            super().__init__(shape)
            self.near = nn.Parameter(torch.ones(shape.max_length, shape.d_model))
            self.far = nn.LSTM(4, 4)
            self.both = (self.near, [self.far])

        def forward(self, layout):
            return Terms(embedding=self.both[0][None, : layout.shape[1]])
"""


def test_parameters_that_torch_knows_may_stand_in_a_list_too(write_submission: WriteSubmission) -> None:
    copy = crossed(write_submission(positions=REGISTERED), PROGRAMS[:2])
    assert 128 in {each.shape[-1] for each in copy.parameters()}


@pytest.mark.parametrize(("source", "message"), WRONG_CLASSES.values(), ids=WRONG_CLASSES)
def test_a_wrong_class_is_refused_with_cause_and_remedy(
    source: str, message: str, write_submission: WriteSubmission
) -> None:
    with pytest.raises(SubmissionError, match=message) as caught:
        crossed(write_submission(positions=source), PROGRAMS[:2])
    assert caught.value.rule == ("P30" if "65536" in message else "P00")
