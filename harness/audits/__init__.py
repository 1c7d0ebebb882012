"""Audits: functions that check the rules of `rules.py`, grouped by what these protect.

`audit` is what `harness validate` and every run do before a trial. Inside a trial, `live.py` and `check_blind` of
`positions.py` follow; `harness/published.py` tries published problems (P10, P40), `harness/decoy.py` trains on another
task (T97), and what a folder or a host shows by itself (T00, P30) is found where it is read.
"""

from collections.abc import Iterable

from harness.audits.findings import Finding, gate
from harness.audits.imports import check_imports
from harness.audits.positions import check_positions
from harness.audits.tokens import MAX_DIGITS, check_tokenizer
from harness.errors import SubmissionError
from harness.submissions import Submission

__all__ = ["Finding", "audit"]


def audit(submission: Submission, also_at: Iterable[int] = ()) -> list[Finding]:
    """Everything that the audits find, the tokenizer's findings first; a submission is valid if none is a gate.

    Args:
        also_at: the max_digits of the trials to be run, audited too since a submission is told the value.
    """
    widths = list(dict.fromkeys([*MAX_DIGITS, *also_at]))
    findings = list(check_imports(submission))
    if findings:
        return findings
    for check in (check_tokenizer, check_positions):
        try:
            findings += check(submission, widths)
        except SubmissionError as error:
            findings.append(gate(error.submission, error.rule, error.message))
            break  # without a tokenizer there is no layout to try the positions on
    return findings
