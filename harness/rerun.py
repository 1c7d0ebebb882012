"""Which recorded trials a command runs again: an option that commands read without loading what `plan` imports."""

from enum import StrEnum


class Rerun(StrEnum):
    """Which recorded trials are run again, besides those without a record.

    Where none is chosen, those are stale and unverified ones.
    """

    missing = "missing"
    """None."""
    failed = "failed"
    """Those that failed, were refused or are in review."""
    stale = "stale"
    """Stale and unverified ones, and those that ran without a sandbox."""
    all = "all"
    """All of them."""
