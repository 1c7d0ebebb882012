"""Which recorded trials a command runs again: an option that commands read without loading what `plan` imports."""

from enum import StrEnum


class Rerun(StrEnum):
    """Which recorded trials are run again, besides those without a record."""

    missing = "missing"
    failed = "failed"
    stale = "stale"
    all = "all"
