"""The worked submissions, built in the test process."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gallery import class_of
from torch import Tensor

from harness.protocol import Kind, ModelShape, PositionalEmbedding, Tokenizer
from harness.submissions import Submission, read_folder

SUBMISSIONS = Path(__file__).parents[2] / "submissions"


@pytest.fixture
def tokenizer_of() -> Callable[..., Tokenizer]:
    """`tokenizer_of("reversed_rope", max_digits=9)`"""

    def build(name: str, *, max_digits: int) -> Tokenizer:
        return class_of(_submission(name).tokenizer)(max_digits)

    return build


@pytest.fixture
def positions_of() -> Callable[..., PositionalEmbedding]:
    """`positions_of("reversed_rope", max_digits=9, max_length=31)`, for a model of the frozen sizes."""

    def build(name: str, *, max_digits: int, max_length: int) -> PositionalEmbedding:
        shape = ModelShape(
            d_model=128, num_heads=16, head_dim=8, num_layers=8, max_digits=max_digits, max_length=max_length
        )
        return class_of(_submission(name).positions)(shape)

    return build


@pytest.fixture
def layout_of() -> Callable[..., Tensor]:
    """`layout_of(tokenizer, ["12+34="], answer_length=4)`: (B, L) int64, kinds found by decoding each id alone."""

    def build(tokenizer: Tokenizer, prompts: list[str], *, answer_length: int) -> Tensor:
        rows = [[_kind(tokenizer.decode([token_id])) for token_id in tokenizer.encode(prompt)] for prompt in prompts]
        width = max(map(len, rows))
        padded = [[Kind.PAD] * (width - len(row)) + row + [Kind.ANSWER] * answer_length for row in rows]
        return torch.tensor(padded, dtype=torch.int64)

    return build


def _submission(name: str) -> Submission:
    submission = read_folder(SUBMISSIONS / name)
    assert isinstance(submission, Submission), submission
    return submission


def _kind(text: str) -> Kind:
    if any(character.isdigit() for character in text):
        return Kind.NUMBER
    return {"+": Kind.PLUS, "=": Kind.EQUALS}.get(text, Kind.OTHER)
