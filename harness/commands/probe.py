"""`harness probe`: what linear probes read off a submission's model, as text for a terminal."""

from collections.abc import Sequence

from tabulate import tabulate

from harness.commands.progress import Display
from harness.commands.watching import require_sandbox
from harness.engines.messages import Device, Probed
from harness.errors import ExitCode, UsageError
from harness.ranking.statistics import wilson
from harness.run import Crashed, Running, run_probe
from harness.submissions import Broken, Submission
from harness.terminal import say
from harness.track import Track

EXPLANATION = """\
Share of {test:,} test problems in which a linear probe of the model's states tells the carry into a column, or whether
the sum is longer than its operands. Fitted on {fitted:,} others; the model was trained on neither. A carry that can be
read is not necessarily used: compare with the untrained model."""


def probed(entry: Submission | Broken, track: Track, digits: int | None, device: Device) -> tuple[str, ExitCode]:
    """The tables of one trial, trained again with the track's first seed; empty if it could not be trained.

    Args:
        digits: one of the track's; its first if None.

    Raises:
        UsageError: the folder cannot be read, or the track has no such number of digits.
        MachineError: there is no sandbox, and nobody said that the submissions are trusted.
    """
    if isinstance(entry, Broken):
        raise UsageError(f"{entry.error}; fix it first")
    digits = track.digits[0] if digits is None else digits
    if digits not in track.digits:
        there = ", ".join(map(str, track.digits))
        raise UsageError(f"--digits {digits}: the track {track.name} trains on {there}; name one of these")
    require_sandbox()
    seed = track.seeds[0]
    with Display("probe", 1) as display:
        for event in run_probe(entry, track, digits, seed, device):
            if isinstance(event, Running):
                display.update(event.job, event.progress)
            elif isinstance(event, Crashed):
                say(f"{event.job}: {event.message}", "red")
                return "", event.exit_code
            else:
                return as_text(event, f"{entry.name} on {track.name}, {digits} digits, seed {seed}"), ExitCode.DONE
    raise AssertionError("a worker ends a job with a reply")


def as_text(found: Probed, of_what: str) -> str:
    """Two tables: what probes read at `=`, layer by layer, and in the last layer, token by token."""
    share, low, high = wilson(found.test.correct, found.test.total)
    commonest = ["always the commoner", *map(_share, found.commonest)]
    trained = [[f"layer {number}", *map(_share, line)] for number, line in enumerate(found.layers, 1)]
    untrained = [f"layer {len(found.layers)}, untrained", *map(_share, found.untrained)]
    places = ["at =", "after 1 token", *(f"after {count} tokens" for count in range(2, len(found.positions)))]
    by_place = [[place, *map(_share, line)] for place, line in zip(places, found.positions, strict=False)]
    parts = [
        f"{of_what}: exact match {share:.3f} [{low:.3f}, {high:.3f}] on test",
        EXPLANATION.format(test=found.test.total, fitted=found.num_fitted),
        _table("at =", found.labels, [commonest, untrained, *trained]),
        _table("last layer", found.labels, by_place),
    ]
    return "\n\n".join(parts) + "\n"


def _table(corner: str, labels: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    columns = ["left", *("right" for _ in labels)]
    return tabulate(lines, [corner, *labels], disable_numparse=True, colalign=columns)


def _share(accuracy: float | None) -> str:
    return "–" if accuracy is None else f"{accuracy:.3f}"
