"""`harness probe`: which carries a submission's model can tell, as text for a terminal."""

from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from harness.commands.progress import Display
from harness.commands.watching import watch_audits
from harness.engines.local import keeping_workers
from harness.engines.messages import Device
from harness.errors import ExitCode, UsageError
from harness.fingerprint import harness_fingerprint
from harness.printable import counted
from harness.probe_report import Accuracies, ProbeReport
from harness.ranking.standing import State, state_of
from harness.ranking.statistics import wilson
from harness.records import Record, Score, read, record_path, trial_name
from harness.rules import Finding, gates
from harness.run import Crashed, Running, run_probe
from harness.submissions import Submission
from harness.track import Track

EXPLANATION = """\
How often a linear probe of the model's states tells whether there is a carry into the column 10^k, or whether the sum
is longer than its operands. Balanced accuracy: a guess has 0.50. Fitted on {fitted:,} problems and judged on {judged:,}
others, of which {seen:.0f} % have the ids of a trained problem. What can be read is not necessarily used."""

PASSING = "Where the digits of the column before sum to nine, so that a carry has to come from further below:"


def train_and_probe(
    entry: Submission, track: Track, results: Path, digits: int | None, seed: int | None, device: Device
) -> tuple[str, ExitCode]:
    """The tables of one trial; empty if the submission is not valid or could not be trained.

    Args:
        digits: one of the track's; its first if None.
        seed: one of the track's; its first if None.

    Raises:
        UsageError: the track has no such trial.
        MachineError: there is no sandbox, and nobody said that the submissions are trusted; or no such device.
    """
    digits, seed = _one_of("--digits", digits, track.digits, track), _one_of("--seed", seed, track.seeds, track)
    verdicts: dict[str, list[Finding]] = {}
    with keeping_workers():
        code = watch_audits([entry], verdicts, 1, track=track)
        if code or gates(verdicts[entry.name]):
            return "", code or ExitCode.NEGATIVE
        with Display("probe", 1) as display:
            for event in run_probe(entry, track, digits, seed, device):
                if isinstance(event, Running):
                    display.update(event.job, event.progress)
                elif isinstance(event, Crashed):
                    display.done(event.job, f"{event.job}: {event.message}", "red")
                    code = event.exit_code
                else:
                    display.done(trial_name(entry.name, digits, seed), f"{entry.name}: probed")
                    what = f"{entry.name} on {track.name}, {counted(digits, 'digit')}, seed {seed}"
                    return as_text(event.found, what, _record(entry, track, results, digits, seed)), ExitCode.DONE
    return "", code


def _record(submission: Submission, track: Track, results: Path, digits: int, seed: int) -> Record | None:
    """The record of the trial that is probed; None if there is none, or one of other code."""
    record = read(record_path(results, track.name, submission.name, digits, seed))
    if not isinstance(record, Record):
        return None
    standing = state_of(record, submission, track, harness_fingerprint())
    return None if standing.state in {State.STALE, State.UNVERIFIED} else record


def as_text(found: ProbeReport, what: str, record: Record | None) -> str:
    """What the probes read at `=` by layer, and in the last layer by token, beside what less than the model gives."""
    depth = len(found.trained)
    untrained = [(f"layer {depth} untrained", found.untrained[-1])]
    layers = [(f"layer {number}", line) for number, line in enumerate(found.trained, 1)]
    passing = [(f"layer {number}", line) for number, line in enumerate(found.trained_passing, 1)]
    tokens: list[tuple[str, Accuracies]] = []
    for place, (line, before) in enumerate(zip(found.trained_by_token, found.untrained_by_token, strict=True)):
        after = "at =" if place == 0 else f"after {counted(place, 'token')}"
        tokens += [(after, line), (f"{after}, untrained", before)]
    parts = [
        f"{what}: {_score(found.test, record)}",
        EXPLANATION.format(fitted=found.num_fitted, judged=found.num_judged, seen=100 * found.seen),
        _table("at =", found.labels, [("operands' digits", found.digits), *untrained, *layers]),
        *(
            [PASSING, _table("at =", found.labels, [("operands' digits", found.digits_passing), *passing])]
            if any(one is not None for one in found.digits_passing)
            else []
        ),
        "While the model is given the right answer, on the problems whose answer has not ended:",
        _table(f"layer {depth}", found.labels, tokens),
    ]
    return "\n\n".join(parts) + "\n"


def _score(test: Score, record: Record | None) -> str:
    share, low, high = wilson(test.correct, test.total)
    text = f"exact match {share:.3f} [{low:.3f}, {high:.3f}] on test"
    if record is None or record.suites is None:
        return text
    was = record.suites.test
    return f"{text}, {'as' if was == test else f'{was.correct} of {was.total}'} in its record"


def _table(corner: str, labels: Sequence[str], lines: Sequence[tuple[str, Accuracies]]) -> str:
    """Of the labels that any line has an accuracy for."""
    kept = [index for index in range(len(labels)) if any(line[index] is not None for _, line in lines)]
    cells = [[name, *("–" if (one := line[index]) is None else f"{one:.2f}" for index in kept)] for name, line in lines]
    headers = [corner, *(labels[index] for index in kept)]
    return tabulate(cells, headers, disable_numparse=True, colalign=["left", *("right" for _ in kept)])


def _one_of(option: str, value: int | None, allowed: Sequence[int], track: Track) -> int:
    if value is not None and value not in allowed:
        raise UsageError(
            f"{option} {value}: the track {track.name} has {', '.join(map(str, allowed))}; name one of these"
        )
    return allowed[0] if value is None else value
