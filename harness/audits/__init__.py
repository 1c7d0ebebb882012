"""Audits: what a submission must keep before it is trained. One rule a function, grouped by what it protects."""

from collections.abc import Iterable

from harness.audits.findings import Finding, gate
from harness.audits.imports import check_imports
from harness.audits.positions import check_positions
from harness.audits.tokens import MAX_DIGITS, check_tokenizer
from harness.errors import SubmissionError
from harness.submissions import Submission

__all__ = ["Finding", "audit"]


def audit(submission: Submission, also_at: Iterable[int] = ()) -> list[Finding]:
    """Everything that the audits find, the tokenizer's findings first; a valid submission has tags at most.

    Args:
        also_at: values of max_digits of the trials that are to be run, since a submission is told which it is.
    """
    widths = list(dict.fromkeys([*MAX_DIGITS, *also_at]))
    if findings := list(check_imports(submission)):
        return findings
    for check in (check_tokenizer, check_positions):
        try:
            findings += check(submission, widths)
        except SubmissionError as error:
            findings.append(gate(error.submission, error.rule, error.message))
            break  # without a tokenizer there is no layout to try the positions on
    return findings
