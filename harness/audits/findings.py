"""What an audit reports."""

from dataclasses import dataclass

from harness.rules import Level


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One rule that a submission broke, or a tag it earned, with what was seen."""

    submission: str
    rule: str
    level: Level
    message: str


def gate(submission: str, rule: str, message: str) -> Finding:
    """A finding that keeps the submission from being trained."""
    return Finding(submission=submission, rule=rule, level="gate", message=message)
