"""Positional embeddings from a host: the same numbers as the original's, and clear words where one is wrong."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from gallery import NAMES, RANDOMISED, SUBMISSIONS, with_distinct
from made_positions import (
    BATCH,
    CPU,
    LENGTH,
    MAX_DIGITS,
    PROGRAMS,
    SEED,
    SHAPE,
    WriteSubmission,
    crossed,
    layouts,
    original,
    with_forward,
)
from torch import Tensor

import harness.protocol
from harness.audits.positions import check_positions
from harness.errors import HostError, SubmissionError
from harness.host.client import Host
from harness.host.frames import Frame
from harness.positions import Positions, Program, receive_positions
from harness.protocol import Kind, PositionalEmbedding, Terms
from harness.submissions import Submission, read_folder

pytestmark = pytest.mark.usefixtures("own_torch_seed")
named = pytest.mark.parametrize("name", with_distinct("positions"))
programs = pytest.mark.parametrize("program", PROGRAMS, ids=["training", "evaluation", "longer"])


@cache
def worked(name: str) -> Submission:
    """Its folder, read; one that cannot be read fails every test of it, and is not left out."""
    found = read_folder(SUBMISSIONS / name)
    if not isinstance(found, Submission):
        raise found.error
    return found


@cache
def rebuilt(name: str) -> Positions:
    return crossed(worked(name))


def scalar(terms: Terms) -> Tensor:
    """A number in which every number of every term has a weight of its own."""
    rng = torch.Generator().manual_seed(0)
    tensors = [tensor for name in Terms.__slots__ if (tensor := getattr(terms, name)) is not None]
    return sum(((tensor * torch.randn(tensor.shape, generator=rng)).sum() for tensor in tensors), torch.zeros(()))


@named
@programs
def test_values_and_gradients_are_the_originals_to_the_bit(name: str, program: Program) -> None:
    module, copy = original(worked(name)).train(program.training), rebuilt(name)
    layout = layouts(program.batch, program.length)
    for seed in (0, 1):
        torch.manual_seed(seed)
        expected = module(layout)
        got = copy.terms(layout, training=program.training, generator=torch.Generator().manual_seed(seed))
        for term in Terms.__slots__:
            one, other = getattr(expected, term), getattr(got, term)
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


@named
def test_parameters_cross_to_the_bit_and_buffers_stay_untrained(name: str) -> None:
    module, copy = original(worked(name)), rebuilt(name)
    assert len(matching(copy, module)) == len(list(copy.parameters()))
    for buffer in module.buffers():
        assert any(own.equal(buffer) for own in copy.buffers())
    assert copy.dropout == module.dropout


@named
def test_terms_draw_from_the_trainers_generator_alone(name: str) -> None:
    copy, layout = rebuilt(name), layouts(BATCH, LENGTH)
    before = torch.get_rng_state()
    draws = [
        scalar(copy.terms(layout, training=True, generator=torch.Generator().manual_seed(seed))).detach()
        for seed in (5, 5, *range(20))
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(draws[0], draws[1])
    assert (len({float(draw) for draw in draws}) > 1) == (name in RANDOMISED)


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

    def export(self, shape: dict[str, int], seed: int, programs: Sequence[Sequence[int]]) -> Frame:
        with Host(self.submission, "positions") as host:
            reply = host.export(shape, seed, programs)
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
    "as many tensors as would take hours to look for": (
        lambda reply: reply.arrays.update({f"b{i}": np.zeros(0, np.float32) for i in range(1001)}),
        "tensors; at most 1000 are allowed",
    ),
    "a table that is missing": (lambda reply: reply.arrays.clear(), "malformed program"),
    "a line that draws on a terminal": (
        lambda reply: reply.message["programs"][0]["nodes"].append(["a", "call", "\x1b[31m", "\x1b]0;x\x07", [], {}]),
        "is not allowed",
    ),
}


@pytest.mark.parametrize(("change", "message"), LIES.values(), ids=LIES)
def test_a_host_that_lies_is_refused(change: Callable[[Frame], object], message: str) -> None:
    host = LyingHost(worked("reversed_abacus"), change)
    with pytest.raises(SubmissionError, match=re.escape(message)) as caught:
        receive_positions(host, "mine", SHAPE, PROGRAMS, seed=SEED, device=CPU)  # type: ignore[arg-type]
    assert caught.value.rule == "P00"
    assert str(caught.value).isprintable()


def test_the_host_is_told_the_shape_and_nothing_more() -> None:
    asked: list[dict[str, Any]] = []
    submission = worked(NAMES[0])

    class Listening(Host):
        def ask(self, message: dict[str, Any], *arguments: Any, **settings: Any) -> Frame:
            asked.append(message)
            return super().ask(message, *arguments, **settings)

    with Listening(submission, "positions") as host:
        receive_positions(host, submission.name, SHAPE, PROGRAMS, seed=SEED, device=CPU)
    opened, *rest = asked
    assert opened.keys() == {"do", "files"}
    programs = [[True, 6, 12], [False, 6, 12], [False, 2, 15]]
    assert rest == [{"do": "export", "shape": asdict(SHAPE), "seed": SEED, "programs": programs}]


def test_graphs_for_many_widths_have_more_time_than_one(write_submission: WriteSubmission) -> None:
    """As on a track of length generalisation: nine are given two deadlines."""
    hanging = write_submission(positions=with_forward("import time\ntime.sleep(600)"))
    for count, seconds in ((8, 1), (9, 2)):
        programs = [[False, 2, width] for width in range(3, 3 + count)]
        with Host(hanging, "positions", deadline_s=1.0) as host, pytest.raises(HostError) as caught:
            host.export(asdict(SHAPE), SEED, programs)
        assert f"gave no answer within {seconds} seconds, and was at submission.py" in caught.value.message


def test_a_submission_is_never_imported_by_the_trainer(write_submission: WriteSubmission) -> None:
    crossed(write_submission(positions="protocol.touched = True\n" + with_forward("return Terms()")))
    assert not hasattr(harness.protocol, "touched")
