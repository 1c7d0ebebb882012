"""What linear probes read off a model, as a worker reports it to the command line, which shows it without torch."""

from typing import NamedTuple

from harness.records import Score

Accuracies = list[float | None]
"""Balanced accuracy for each label: the mean of the share of carries and the share of non-carries that are told right,
0.5 for a guess; None where there are too few of either kind, or the states are not finite."""


class ProbeReport(NamedTuple):
    """What probes read off the states of one model, and off the operands' digits alone."""

    labels: list[str]
    """`10^k`: a carry into that column; `longer`: the sum has more digits than either operand."""
    digits: Accuracies
    """From the operands' digits, one-hot, instead of states."""
    untrained: list[Accuracies]
    """At `=`, by layer, before the training."""
    trained: list[Accuracies]
    """At `=`, by layer."""
    digits_passing: Accuracies
    """As `digits`, where a carry is passed on: see `probe._passing`."""
    trained_passing: list[Accuracies]
    """As `trained`, where a carry is passed on."""
    untrained_by_token: list[Accuracies]
    """In the last layer, at `=` and after every token of the right answer, before the training."""
    trained_by_token: list[Accuracies]
    num_fitted: int
    num_judged: int
    seen: float
    """Share of the judged problems with the ids of a trained one, as unordered column pairs write `3+70` and `0+73`."""
    test: Score
    """Exact match on the track's `test`, from which the judged problems are taken."""
