"""Audits: functions that check the rules of `rules.py`, grouped by what these protect.

`audit` is what `harness validate` and every run do before a trial. Inside a trial, `live.py` and `check_blind` of
`positions.py` follow; `harness/published.py` tries published problems (P00, P10, P40), `harness/decoy.py` trains on
another task (T97), and what a folder or a host shows by itself (T00, P30) is found where it is read.
"""

from collections.abc import Sequence
from pathlib import Path

from harness.audits.imports import check_imports
from harness.audits.positions import BATCH_SIZE, check_positions
from harness.audits.tokens import MAX_DIGITS, check_tokenizer
from harness.errors import SubmissionError
from harness.rules import Finding, gate
from harness.submissions import Submission
from harness.track import Track


def audit(submission: Submission, track: Track | None = None) -> list[Finding]:
    """Everything that the audits find, the tokenizer's findings first; a submission is valid if none is a gate.

    What is found alike at several numbers of digits is told once.

    Args:
        track: whose numbers of digits and batch size, which a submission can see, are used too, and which a submission
            must not ask for more epochs than it has.
    """
    widths = list(dict.fromkeys([*MAX_DIGITS, *(map(track.max_digits, track.digits) if track else ())]))
    batch_size = track.training.batch_size if track else BATCH_SIZE
    findings = list(check_imports(submission))
    if findings:
        return findings
    try:
        findings += _about_tokenizer(submission, widths)
        findings += check_positions(submission, widths, batch_size)
        if track:
            submission.training(track.training)
    except SubmissionError as error:  # without a tokenizer there is no layout to try the positions on
        findings.append(gate(error.rule, error.message))
    return list(dict.fromkeys(findings))


_found: dict[tuple[str, Path, bool, tuple[int, ...]], list[Finding]] = {}
"""What `check_tokenizer` found, by all that it depends on."""


def _about_tokenizer(submission: Submission, widths: Sequence[int]) -> list[Finding]:
    """The findings of `check_tokenizer`, which looks at each tokenizer once: most of a class borrow one of a few.

    Where the code lies is part of what an error says, so it is told apart too.
    """
    part = submission.tokenizer
    key = (part.fingerprint, part.folder, part.folder == submission.folder, tuple(widths))
    if key not in _found:
        _found[key] = check_tokenizer(submission, widths)
    return _found[key]
