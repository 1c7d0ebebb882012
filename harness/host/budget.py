"""How long the harness waits for all hosts of one piece of work together."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

AUDIT_BUDGET_S = 300.0
"""Seconds that may be spent waiting for all hosts of one audit together.

Honest ones take one to three on an idle machine, so even dozens of audits that share a core stay below this; without
it, hosts that each sleep just short of their deadline would hold a worker for an hour.
"""
TRIAL_BUDGET_S = 1800.0
"""The same for one job of trials, which encodes some hundred thousand texts and exports once for every seed."""


@dataclass(kw_only=True, slots=True)
class Budget:
    """How long the harness may wait for one submission's hosts, all of them together."""

    what: str
    """What the budget is for, as the error names it: `the audit`, say."""
    allowed_s: float
    used_s: float = 0.0

    @property
    def left_s(self) -> float:
        return self.allowed_s - self.used_s


_budget: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextlib.contextmanager
def budget(what: str, allowed_s: float) -> Iterator[Budget]:
    """Makes all hosts asked inside it share one budget; once that is used up, asking raises a SubmissionError (T00).

    Only the waiting counts, neither what the harness itself computes nor the start of a zygote. It is counted here, not
    in each host: a submission that is slow in every one of dozens of hosts still meets each deadline.
    """
    own = Budget(what=what, allowed_s=allowed_s)
    token = _budget.set(own)
    try:
        yield own
    finally:
        _budget.reset(token)


def budget_in_force() -> Budget | None:
    """The innermost one that this code runs inside."""
    return _budget.get()
