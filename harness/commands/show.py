"""One submission on one track, as text for a terminal."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from tabulate import tabulate

from harness.definitions import argument_for
from harness.errors import RecordError
from harness.fingerprint import harness_fingerprint
from harness.printable import counted, visible
from harness.ranking.rulings import Cleared, cleared_of, read_rulings
from harness.ranking.scoring import MIN_SEEDS, Row, ranking_heading, rows_of
from harness.ranking.standing import Standing, State, state_of
from harness.ranking.statistics import wilson
from harness.records import Record, Score, read_all, read_trials
from harness.submissions import Broken, Submission
from harness.track import Track

MISTAKES_SHOWN = 5


def shown(entry: Submission, track: Track, results: Path, found: Sequence[Submission | Broken]) -> str:
    """Where it stands, every trial's scores, learning curve and mistakes, and how many trials are missing.

    Args:
        found: the folders among which it is ranked, itself included.
    """
    manifest, rulings = entry.manifest, read_rulings(results)
    parts = [f"{entry.name}: {manifest.title}\n{', '.join(manifest.authors)}\n{manifest.summary}\n"]
    rows = rows_of(track, found, read_all(results, track.name), harness_fingerprint(), rulings)
    parts.append(_overall(next(row for row in rows if row.name == entry.name), entry, track))
    trials = list(read_trials(results, track.name, entry.name, track.digits, track.seeds))
    parts.append(_to_clear([record for _, _, record in trials], entry, track, rulings.cleared))
    for digits, seed, record in trials:
        if record is not None:
            parts.append(
                f"\n{track.name}, {digits} digits, seed {seed}\n" + _trial(record, entry, track, rulings.cleared)
            )
    if missing := sum(record is None for _, _, record in trials):
        command = f"`harness run {entry.name} --track {argument_for(track, results)}`"
        parts.append(
            f"\n{track.name}: {missing} of {counted(len(trials), 'trial')} not run; {command} runs what is missing\n"
        )
    return "".join(parts)


def _overall(row: Row, submission: Submission, track: Track) -> str:
    """Its row of the board."""
    seeds, (state, reason) = counted(len(track.seeds), "seed"), row.standing
    said = "marked as hacked, so it does not rank" if state is State.HACKED else state
    lines = [f"{track.name}, {seeds}, {row.division} division"]
    lines.append(f"  state       {said}" + (f": {visible(reason)}" if reason else ""))
    if row.rank:
        shared = ", shared" if row.rank.is_shared else ""
        provisional = f", provisional: fewer than {MIN_SEEDS} seeds" if row.rank.is_provisional else ""
        lines.append(f"  rank        {row.rank.place}{shared}{provisional}")
    if row.score:
        mean = f"{row.score.value:.3f}  [{row.score.low:.3f}, {row.score.high:.3f}]"
        lines.append(f"  score       {mean}  {ranking_heading(track)} over {seeds}")
    lines.append(f"  fingerprint {submission.fingerprint}")
    return "\n" + "\n".join(lines) + "\n"


def _to_clear(
    records: Sequence[Record | RecordError | None], submission: Submission, track: Track, cleared: Sequence[Cleared]
) -> str:
    """What a maintainer writes into `results/cleared.yaml` to clear the trials in review; empty without any."""
    rules: set[str] = set()
    for record in records:
        if isinstance(record, Record) and _standing(record, submission, track, cleared).state is State.REVIEW:
            rules |= {audit.rule for audit in record.audits if audit.level == "review"}
    version = submission.fingerprint  # in quotes, since one of digits alone would be a number
    about = f"submission: {submission.name}, fingerprint: '{version}'"
    lines = [
        f"  - {{{about}, rule: {rule}, reason: TEXT, date: {date.today()}}}"
        for rule in sorted(rules)
        if not cleared_of(version, rule, cleared)
    ]
    if not lines:
        return ""
    return "\n".join(["  to clear it, once a person has looked, below `rows:` in results/cleared.yaml:", *lines, ""])


def _standing(record: Record, submission: Submission, track: Track, cleared: Sequence[Cleared]) -> Standing:
    return state_of(record, submission, track, harness_fingerprint(), cleared)


def _trial(record: Record | RecordError, submission: Submission, track: Track, cleared: Sequence[Cleared]) -> str:
    if isinstance(record, RecordError):
        return f"  {record}\n"
    standing = _standing(record, submission, track, cleared)
    lines = [
        f"  state       {standing.state}" + (f": {visible(standing.reason)}" if standing.reason else ""),
        *_scores(record),
        *_sizes_and_speeds(record),
        *(f"  {audit.rule:<11} {audit.level}: {visible(audit.seen)}" for audit in record.audits),
        f"  device      {visible(record.environment.device)}, torch {visible(record.environment.torch)}",
    ]
    return "\n".join(lines) + "\n" + _curve(record) + _mistakes(record)


def _scores(record: Record) -> list[str]:
    """A line for each suite, or kind of suite, and for the weights that did best beyond the trained lengths."""
    lines: list[str] = []
    if record.suites:
        carry, lengths = _by_number(record.suites.carry), _by_number(record.suites.lengths)
        lines += [f"  {name:<11} {_with_interval(getattr(record.suites, name))}" for name in ("fresh", "test", "edge")]
        lines += [f"  carry       {carry}   (by longest chain)"] if carry else []
        lines += [f"  lengths     {lengths}"] if lengths else []
        fresh_lengths, beyond = _by_number(record.suites.fresh_lengths), record.beyond()
        lines += [f"    fresh     {fresh_lengths}   (drawn for this trial)"] if fresh_lengths else []
        if fresh_lengths and beyond is not None:
            lines.append(f"  ranked by   {beyond:.3f}, the mean of the fresh lengths")
    if record.best:
        lines.append(f"  best        {_by_number(record.best.lengths)}   (the weights after step {record.best.step:,})")
    return lines


def _sizes_and_speeds(record: Record) -> list[str]:
    """How far the positions' table moved, how much is trained, and how fast."""
    lines: list[str] = []
    if record.drift:
        drift = record.drift
        by = ["" if moved is None else f" by {moved:.3g}" for moved in (drift.touched, drift.untouched)]
        others = f"; the others{by[1]}" if by[1] else ""
        lines.append(f"  drift       {drift.touched_rows} of {drift.rows} rows of the table trained{by[0]}{others}")
    if record.parameters:
        counts = record.parameters
        nothing = "" if counts.positions else " (nothing in them is trained)"
        lines.append(f"  parameters  {counts.model:,} in the model, {counts.positions:,} in the positions{nothing}")
    if record.throughput:
        speed = record.throughput
        lines.append(
            f"  throughput  examples/s {speed.encode_examples_per_second:,.0f} encoded, "
            f"{speed.train_examples_per_second:,.0f} trained, {speed.score_examples_per_second:,.0f} scored, "
            f"{speed.decode_examples_per_second:,.0f} decoded"
        )
        ratios = (speed.encode_ratio, speed.train_ratio, speed.score_ratio, speed.decode_ratio)
        lines.append(f"{'':14}of the reference {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    return lines


def _curve(record: Record) -> str:
    """The learning curve as a table; empty without one, as of a trial that failed."""
    if not record.curve:
        return ""
    rows = [(point.examples, point.loss, point.accuracy, point.digit_accuracy) for point in record.curve]
    headers = ("examples", "loss", "exact match", "digit accuracy")
    return "\n" + _indented(tabulate(rows, headers, floatfmt=(",", ".3f", ".3f", ".3f"), intfmt=","))


def _mistakes(record: Record) -> str:
    """The first ones; a record keeps those of `fresh` alone, whose problems are as long as the trained ones."""
    has_longer = bool(record.suites and record.suites.fresh_lengths)
    if not record.mistakes:
        none = "no mistakes among the trained lengths; answers to longer problems are not kept"
        return f"\n  {none}\n" if has_longer else ""
    rows = [(mistake.prompt, mistake.answer, visible(mistake.got)) for mistake in record.mistakes[:MISTAKES_SHOWN]]
    headers = ("mistake (trained lengths)" if has_longer else "mistake", "answer", "got")
    return "\n" + _indented(tabulate(rows, headers, disable_numparse=True))


def _by_number(scores: dict[str, Score]) -> str:
    """`9: 1.000  10: 0.994`, sorted as numbers: JSON's keys are texts, which sort differently."""
    return "  ".join(f"{number}: {_share(scores[number])}" for number in sorted(scores, key=int))


def _share(score: Score) -> str:
    return f"{score.correct / score.total:.3f}" if score.total else "-"


def _with_interval(score: Score) -> str:
    if not score.total:
        return "-"
    estimate = wilson(score.correct, score.total)
    return f"{estimate.value:.3f}  [{estimate.low:.3f}, {estimate.high:.3f}]  {score.correct} of {score.total}"


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())
