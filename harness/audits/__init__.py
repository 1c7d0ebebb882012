"""Audits: what a submission must keep before it is trained. One rule a function, grouped by what it protects."""

from harness.audits.findings import RULES, Finding, gate
from harness.audits.positions import check_positions
from harness.audits.tokens import check_tokenizer
from harness.errors import SubmissionError
from harness.submissions import Submission

__all__ = ["RULES", "Finding", "audit"]


def audit(submission: Submission) -> list[Finding]:
    """Everything that the audits find, the tokenizer's findings first."""
    findings: list[Finding] = []
    for check in (check_tokenizer, check_positions):
        try:
            findings += check(submission)
        except SubmissionError as error:
            findings.append(gate(error.submission, error.rule, error.message))
            break  # without a tokenizer there is no layout to try the positions on
    return findings
