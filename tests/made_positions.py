"""Positions of a submission twice: sent by a real host, and made in the test process, with layouts for both."""

import textwrap
from collections.abc import Callable

import torch
from gallery import class_of
from torch import Tensor

from harness.host.client import Host
from harness.model import shape_of
from harness.positions import Positions, Program, receive_positions
from harness.protocol import Kind, ModelShape, PositionalEmbedding
from harness.submissions import Submission
from harness.track import ModelDefinition

MAX_DIGITS, BATCH, LENGTH, SEED = 3, 6, 12, 11
SHAPE = shape_of(ModelDefinition(), max_digits=MAX_DIGITS, max_length=LENGTH + 3)
PROGRAMS = [Program(True, BATCH, LENGTH), Program(False, BATCH, LENGTH), Program(False, 2, LENGTH + 3)]
CPU = torch.device("cpu")
WriteSubmission = Callable[..., Submission]


def crossed(submission: Submission, programs: list[Program] = PROGRAMS, shape: ModelShape = SHAPE) -> Positions:
    """Through a real host process."""
    with Host(submission, "positions") as host:
        return receive_positions(host, submission.name, shape, programs, seed=SEED, device=CPU)


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


def with_forward(body: str) -> str:
    lines = textwrap.indent(textwrap.dedent(body).strip("\n"), 8 * " ")
    return f"class PositionalEmbedding(protocol.PositionalEmbedding):\n    def forward(self, layout):\n{lines}\n"
