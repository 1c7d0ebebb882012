"""Which recorded trials a command runs again: an option of commands, which must not wait for what `plan` loads."""

from enum import StrEnum


class Rerun(StrEnum):
    """Which recorded trials are run again, beside those without a record."""

    missing = "missing"
    failed = "failed"
    stale = "stale"
    all = "all"
