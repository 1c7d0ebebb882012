"""What an audit reports, and the rules it may name."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["gate", "review", "tag"]

RULES = {
    "T00": "A tokenizer keeps its contract: int ids in [0, vocab_size), one vocabulary for every max_digits.",
    "T10": "decode(encode(s)) is s for every answer.",
    "T20": "encode is pure: the same text gives the same ids in any order, process and hash seed.",
    "T30": "decode returns a str and never raises, whatever the ids.",
    "P00": "Positions cross as a graph: allowed operators, the contract's shapes, finite and at most 1000 in size.",
    "P20": "Positions are causal behind `=`: what follows a position changes none of its terms.",
}
"""Every rule that is checked, by its stable id, in one sentence for the entrant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One rule that a submission broke, with what was seen; a `gate` keeps it from being trained."""

    submission: str
    rule: str
    level: Level
    message: str


def gate(submission: str, rule: str, message: str) -> Finding:
    """A finding that keeps the submission from being trained."""
    return Finding(submission=submission, rule=rule, level="gate", message=message)
