"""Positional embeddings from a host: the same numbers as the original's, and clear words where one is wrong."""

import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gallery import NAMES, RANDOMISED, class_of
from torch import Tensor

import harness.protocol
from harness.audits.positions import check_positions
from harness.errors import SubmissionError
from harness.host.client import Host
from harness.host.export import _why_not_exported
from harness.host.frames import Frame
from harness.model import shape_of
from harness.positions import Positions, Program, receive_positions
from harness.protocol import Kind, ModelShape, PositionalEmbedding, Terms
from harness.submissions import Submission, read_folder
from harness.track import ModelDefinition

SUBMISSIONS = Path(__file__).parents[1] / "submissions"
WORKED = [found for found in map(read_folder, (SUBMISSIONS / name for name in NAMES)) if isinstance(found, Submission)]
MAX_DIGITS, BATCH, LENGTH, SEED = 3, 6, 12, 11
SHAPE = shape_of(ModelDefinition(), max_digits=MAX_DIGITS, max_length=LENGTH + 3)
PROGRAMS = [Program(True, BATCH, LENGTH), Program(False, BATCH, LENGTH), Program(False, 2, LENGTH + 3)]
CPU = torch.device("cpu")
WriteSubmission = Callable[..., Submission]


def crossed(submission: Submission, programs: list[Program] = PROGRAMS, shape: ModelShape = SHAPE) -> Positions:
    """Through a real host process."""
    with Host(submission, "positions", max_digits=shape.max_digits) as host:
        return receive_positions(host, submission.name, shape, programs, seed=SEED, device=CPU)


@cache
def rebuilt(name: str) -> Positions:
    return crossed(next(submission for submission in WORKED if submission.name == name))


def original(submission: Submission) -> PositionalEmbedding:
    torch.manual_seed(SEED)
    return class_of(submission.positions)(SHAPE)


def layouts(batch: int, length: int) -> Tensor:
    """`PAD … NUMBER … PLUS NUMBER … EQUALS ANSWER …`, with numbers of all lengths."""
    rows: list[list[int]] = []
    for row in range(batch):
        first, second = 1 + row % MAX_DIGITS, 1 + row // 2 % MAX_DIGITS
        prompt = [Kind.NUMBER] * first + [Kind.PLUS] + [Kind.NUMBER] * second + [Kind.EQUALS]
        rows.append([Kind.PAD] * (2 * MAX_DIGITS + 2 - len(prompt)) + prompt)
        rows[-1] += [Kind.ANSWER] * (length - len(rows[-1]))
    return torch.tensor(rows)


def scalar(terms: Terms) -> Tensor:
    """A number in which every number of every term has a weight of its own."""
    rng = torch.Generator().manual_seed(0)
    tensors = [tensor for name in Terms.__slots__ if (tensor := getattr(terms, name)) is not None]
    return sum(((tensor * torch.randn(tensor.shape, generator=rng)).sum() for tensor in tensors), torch.zeros(()))


@pytest.fixture(autouse=True)
def _own_torch_seed() -> Iterator[None]:
    with torch.random.fork_rng():
        yield


worked = pytest.mark.parametrize("submission", WORKED, ids=lambda submission: submission.name)
programs = pytest.mark.parametrize("program", PROGRAMS, ids=["training", "evaluation", "longer"])


@worked
@programs
def test_values_and_gradients_are_the_originals_to_the_bit(submission: Submission, program: Program) -> None:
    module, copy = original(submission).train(program.training), rebuilt(submission.name)
    layout = layouts(program.batch, program.length)
    for seed in (0, 1):
        torch.manual_seed(seed)
        expected = module(layout)
        got = copy.terms(layout, training=program.training, generator=torch.Generator().manual_seed(seed))
        for name in Terms.__slots__:
            one, other = getattr(expected, name), getattr(got, name)
            assert (one is None and other is None) or torch.equal(one, other)
        trained, copies = list(module.parameters()), matching(copy, module)
        if trained:
            gradients = torch.autograd.grad(scalar(expected), trained, allow_unused=True, materialize_grads=True)
            same = torch.autograd.grad(scalar(got), copies, allow_unused=True, materialize_grads=True)
            for gradient, twin in zip(gradients, same, strict=True):
                assert torch.equal(gradient, twin)
                assert gradient.any()


def matching(copy: Positions, module: PositionalEmbedding) -> list[Tensor]:
    """The copy's parameters in the order of the module's, found by their values."""
    found = [[own for own in copy.parameters() if own.equal(parameter)] for parameter in module.parameters()]
    assert all(len(twins) == 1 for twins in found)
    return [twins[0] for twins in found]


@worked
def test_parameters_cross_to_the_bit_and_buffers_stay_untrained(submission: Submission) -> None:
    module, copy = original(submission), rebuilt(submission.name)
    assert len(matching(copy, module)) == len(list(copy.parameters()))
    for buffer in module.buffers():
        assert any(own.equal(buffer) for own in copy.buffers())
    assert copy.dropout == module.dropout


@worked
def test_terms_draw_from_the_trainers_generator_alone(submission: Submission) -> None:
    copy, layout = rebuilt(submission.name), layouts(BATCH, LENGTH)
    before = torch.get_rng_state()
    draws = [
        scalar(copy.terms(layout, training=True, generator=torch.Generator().manual_seed(seed))).detach()
        for seed in (5, 5, *range(20))
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(draws[0], draws[1])
    assert (len({float(draw) for draw in draws}) > 1) == (submission.name in RANDOMISED)


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
    "nothing": "return Terms()",
    "two terms": """
        i = torch.arange(float(layout.shape[1]))
        return Terms(angles=i[None, :, None].expand(1, -1, 4), bias=-torch.einsum("i,j->ij", i, i)[None, None])
    """,
}


def with_forward(body: str) -> str:
    lines = textwrap.indent(textwrap.dedent(body).strip("\n"), 8 * " ")
    return f"class PositionalEmbedding(protocol.PositionalEmbedding):\n    def forward(self, layout):\n{lines}\n"


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
LINE_2 = r"submission\.py, line \d+, .*"
WRONG_FORWARDS = {
    "Python's random": (
        f"{ZEROS}\nreturn Terms(embedding=x + random.randint(0, 10**6))",
        LINE_2 + r"return Terms\(embedding=x \+ random.*from outside torch became the constant \d+.*torch\.randint",
    ),
    "NumPy's random": (
        f"{ZEROS}\nreturn Terms(embedding=x + float(np.random.rand()))",
        LINE_2 + r"from outside torch became the constant 0\.\d+.*draw with torch\.randint or torch\.rand",
    ),
    "NumPy's unseeded random": (
        f"{ZEROS}\nreturn Terms(embedding=x + float(np.random.default_rng().random()))",
        LINE_2 + r"from outside torch became the constant 0\.\d+.*draw with torch\.randint or torch\.rand",
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
        LINE_2 + r"layout\.max\(\)\.item\(\).*aten\.item\.default is not allowed.*no Python number.*torch\.where",
    ),
    "a boolean mask": (
        f"{ZEROS}\nreturn Terms(embedding=x + layout[layout > 0].sum())",
        LINE_2 + r"is not allowed; no size may depend on values: use torch\.where",
    ),
    "numpy": (
        f"{ZEROS}\nreturn Terms(embedding=x + torch.from_numpy(layout.numpy())[..., None])",
        r"line \d+, in forward: .*NumPy array.*compute with torch",
    ),
    "a wrong width": (
        f"{ZEROS}\nreturn Terms(embedding=x[..., :64])",
        r"Terms\.embedding has shape \(1, 12, 64\); for a layout of \(6, 12\) it must be \(1 or 6, 12, 128\)",
    ),
    "a missing dimension": (
        "return Terms(bias=torch.zeros(16, layout.shape[1], layout.shape[1]))",
        r"Terms\.bias has shape \(16, 12, 12\).*it must be \(1 or 6, 1 or 16, 12, 12\)",
    ),
    "another length": (
        "return Terms(angles=torch.zeros(1, 15, 4))",
        r"Terms\.angles has shape \(1, 15, 4\); for a layout of \(6, 12\) it must be \(1 or 6, 12, 4\)",
    ),
    "float64": (
        f"{ZEROS}\nreturn Terms(embedding=x.double())",
        r"Terms\.embedding has dtype torch\.float64; end with \.float\(\).*torch\.float32",
    ),
    "the meta device": (
        "return Terms(embedding=torch.zeros(1, layout.shape[1], 128, device='meta'))",
        LINE_2 + r"creates a tensor on meta; create it on layout\.device",
    ),
    "a CUDA device": (
        "return Terms(embedding=torch.zeros(1, layout.shape[1], 128, device='cuda'))",
        LINE_2 + r"creates a tensor on cuda.*; create it on layout\.device",
    ),
    "a tensor returned": (
        f"{ZEROS}\nreturn x",
        r"forward returned a tensor; return harness\.protocol\.Terms",
    ),
    "a number as a term": (
        "return Terms(embedding=1.0)",
        r"Terms\.embedding is a float; a float32 tensor or None is allowed",
    ),
    "drawing in evaluation": (
        "return Terms(embedding=torch.rand(1, layout.shape[1], 128))",
        LINE_2 + r"aten\.rand\.default draws in evaluation too; draw only `if self\.training`",
    ),
    "an operator off the list": (
        f"{ZEROS}\nreturn Terms(embedding=x + torch.linalg.inv(torch.eye(3)).sum())",
        LINE_2 + r"the operator aten\.linalg_inv\S* is not allowed; use arithmetic",
    ),
    "torch's dropout": (
        f"{ZEROS}\nreturn Terms(embedding=F.dropout(x + 1, 0.5, self.training))",
        LINE_2 + r"the operator aten\.dropout\.default is not allowed; set the class's `dropout`",
    ),
    "drawing in place": (
        f"{ZEROS}\nreturn Terms(embedding=torch.empty(1, layout.shape[1], 128).uniform_() if self.training else x)",
        LINE_2 + r"is not allowed; draw with torch\.rand",
    ),
    "a generator of its own": (
        f"{ZEROS}\nreturn Terms(embedding=x + torch.rand(128, generator=torch.Generator()))",
        r"forward uses a Generator, which cannot cross; draw from torch's own generator",
    ),
    "no_grad": (
        f"{ZEROS}\nwith torch.no_grad():\n    x = x + layout[..., None]\nreturn Terms(embedding=x)",
        r"a block under torch\.no_grad.* cannot cross; use \.detach\(\)",
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
        r"hold 1048704 numbers; at most 65536 are allowed",
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


@pytest.mark.parametrize(("source", "message"), WRONG_CLASSES.values(), ids=WRONG_CLASSES)
def test_a_wrong_class_is_refused_with_cause_and_remedy(
    source: str, message: str, write_submission: WriteSubmission
) -> None:
    with pytest.raises(SubmissionError, match=message) as caught:
        crossed(write_submission(positions=source), PROGRAMS[:2])
    assert caught.value.rule == ("P30" if "65536" in message else "P00")


def test_a_lookup_outside_its_table_is_the_submissions_error_with_its_line(write_submission: WriteSubmission) -> None:
    """Seen only with the values of a layout, long after the export."""
    body = "rows = F.embedding(layout, torch.ones(4, 128))\nreturn Terms(embedding=rows)"
    submission = write_submission(positions=with_forward(body))
    positions = crossed(submission)
    layout = torch.zeros(BATCH, LENGTH, dtype=torch.int64)
    positions.terms(layout, training=False, generator=torch.Generator())
    with pytest.raises(SubmissionError, match=r"line \d+, `rows = F\.embedding.*index out of range") as caught:
        positions.terms(layout + Kind.ANSWER, training=False, generator=torch.Generator())
    assert caught.value.rule == "P00"


@pytest.mark.parametrize("program", PROGRAMS[:2], ids=["training", "evaluation"])
def test_layouts_are_tried_out_before_anything_is_built_on_the_device(
    program: Program, write_submission: WriteSubmission
) -> None:
    """One row fails, in the second batch; nothing can be built on a device that is not there."""
    body = "rows = F.embedding(layout, torch.ones(4, 128))\nreturn Terms(embedding=rows)"
    submission = write_submission(positions=with_forward(body))
    layout = torch.zeros(BATCH + 1, LENGTH, dtype=torch.int64)
    crossed(submission).try_out({program: layout})
    layout[BATCH] += Kind.ANSWER
    with (
        Host(submission, "positions", max_digits=MAX_DIGITS) as host,
        pytest.raises(SubmissionError, match=r"P00: .*line \d+, `rows = F\.embedding.*index out of range"),
    ):
        receive_positions(
            host, "mine", SHAPE, PROGRAMS, seed=SEED, device=torch.device("cuda", 99), layouts={program: layout}
        )


AUDITED = {
    "P00": (
        "return Terms(embedding=layout[..., None].float().log().expand(-1, -1, 128))",
        r"Terms\.embedding .* holds NaN or infinity; look for a division by zero or log\(0\)",
    ),
    "P20": (
        "left = torch.arange(layout.shape[1], 0, -1.0)\nreturn Terms(embedding=left[None, :, None].expand(1, -1, 128))",
        r"Terms\.embedding changes by .* when the layout is cut .*do not count from the end",
    ),
}


@pytest.mark.parametrize("rule", AUDITED)
def test_values_that_are_wrong_are_found_by_the_audit(rule: str, write_submission: WriteSubmission) -> None:
    body, message = AUDITED[rule]
    found = list(check_positions(write_submission(positions=with_forward(body))))
    assert all(re.search(message, finding.message) for finding in found if finding.rule == rule)
    assert rule in {finding.rule for finding in found}


class LyingHost:
    """Stands for a host whose process was taken over: sends what an honest one sent, with one thing changed."""

    def __init__(self, submission: Submission, change: Callable[[Frame], object]) -> None:
        self.submission, self.change = submission, change

    def ask(self, message: dict[str, Any]) -> Frame:
        with Host(self.submission, "positions", max_digits=MAX_DIGITS) as host:
            reply = host.ask(message)
        self.change(reply)
        return reply


def set_in(key: str, value: Any) -> Callable[[Frame], object]:
    return lambda reply: reply.message.update({key: value})


def set_in_program(index: int, key: str, value: Any) -> Callable[[Frame], object]:
    return lambda reply: reply.message["programs"][index].update({key: value})


LIES = {
    "no programs": (set_in("programs", []), "not those that were asked for"),
    "programs that are none": (set_in("programs", [1, 2, 3]), "not those that were asked for"),
    "training in place of evaluation": (set_in_program(1, "training", True), "not those that were asked for"),
    "another width": (set_in_program(1, "length", 3), "not those that were asked for"),
    "the training program twice": (
        lambda reply: reply.message["programs"].__setitem__(1, reply.message["programs"][0]),
        "not those that were asked for",
    ),
    "a drawing program under the name of evaluation": (
        lambda reply: reply.message["programs"][1].update(nodes=reply.message["programs"][0]["nodes"]),
        "draws in evaluation",
    ),
    "NaN dropout": (set_in("dropout", float("nan")), "dropout is nan"),
    "dropout of a text": (set_in("dropout", "0.1"), "dropout is '0.1'"),
    "no marks": (set_in("trainable", None), "not those that were asked for"),
    "an unknown term": (set_in_program(0, "terms", ["logits"]), "allowed: embedding"),
    "a term that is none": (set_in_program(0, "terms", [["embedding"]]), "allowed: embedding"),
    "a term twice": (set_in_program(0, "terms", ["embedding", "embedding"]), "allowed: embedding"),
    "more terms than tensors": (set_in_program(0, "terms", ["embedding", "bias"]), "1 tensors for 2 terms"),
    "a table of integers that is trained": (
        lambda reply: reply.arrays.update({name: array.astype(np.int64) for name, array in reply.arrays.items()}),
        "has dtype torch.int64; float32 is allowed",
    ),
    "a table that is missing": (lambda reply: reply.arrays.clear(), "malformed program"),
    "a line that draws on a terminal": (
        lambda reply: reply.message["programs"][0]["nodes"].append(["a", "call", "\x1b[31m", "\x1b]0;x\x07", [], {}]),
        "is not allowed",
    ),
}


@pytest.mark.parametrize(("change", "message"), LIES.values(), ids=LIES)
def test_a_host_that_lies_is_refused(change: Callable[[Frame], object], message: str) -> None:
    submission = next(found for found in WORKED if found.name == "reversed_abacus")
    host = LyingHost(submission, change)
    with pytest.raises(SubmissionError, match=re.escape(message)) as caught:
        receive_positions(host, "mine", SHAPE, PROGRAMS, seed=SEED, device=CPU)  # type: ignore[arg-type]
    assert caught.value.rule == "P00"
    assert str(caught.value).isprintable()


def test_the_host_is_told_the_shape_and_nothing_more() -> None:
    asked: list[dict[str, Any]] = []
    submission = WORKED[0]

    class Listening(LyingHost):
        def ask(self, message: dict[str, Any]) -> Frame:
            asked.append(message)
            return super().ask(message)

    host = Listening(submission, lambda reply: None)
    receive_positions(host, submission.name, SHAPE, PROGRAMS, seed=SEED, device=CPU)  # type: ignore[arg-type]
    programs = [[True, 6, 12], [False, 6, 12], [False, 2, 15]]
    assert asked == [{"do": "export", "shape": asdict(SHAPE), "seed": SEED, "programs": programs}]


def test_a_submission_is_never_imported_by_the_trainer(write_submission: WriteSubmission) -> None:
    crossed(write_submission(positions="protocol.touched = True\n" + with_forward("return Terms()")))
    assert not hasattr(harness.protocol, "touched")
