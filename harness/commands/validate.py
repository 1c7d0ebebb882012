"""`harness validate`: what the audits find in the folders that were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.commands.changes import changed_since
from harness.commands.discovery import discovered
from harness.commands.verdicts import printed
from harness.commands.watching import watch_audits
from harness.definitions import find_track
from harness.errors import ExitCode, SubmissionError, UsageError
from harness.printable import counted
from harness.rules import Finding, gates
from harness.submissions import Broken, Submission, same_code, select
from harness.task import Problems
from harness.terminal import put, say
from harness.track import Track, built_in_names, load_track

FEW = 5
"""Refused submissions that the last line repeats; more would push the findings off the screen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidateOptions:
    """Which folders are audited, with what, and how the findings are shown."""

    names: list[str]
    """Of folders; all if there are none."""
    changed: str | None
    """A git ref: only folders that changed since."""
    output: str
    """`text`, `json` or `github`."""
    track: str | None
    """A name or a path, as `find_track` takes it: also with what this track trains."""
    num_workers: int | None
    example: str | None
    """A problem to show as the model sees it."""
    decoy: bool
    """Also train on a decoy task."""


def check_folders(root: Path, options: ValidateOptions) -> ExitCode:
    """Prints the findings, and how many of the folders are valid.

    Raises:
        UsageError: a name, track, ref or problem that there is not.
        MachineError: there is no sandbox, and nobody said that the submissions are trusted.
    """
    problem = _problem(options)
    track = find_track(options.track, root / "results").track if options.track else None
    everyone = discovered(root)
    found = select(everyone, options.names)
    if options.changed is not None:
        found = changed_since(root, options.changed, found)
        if not found:
            say(f"no submission changed since {options.changed}")
            put(printed({}, options.output), end="")
            return ExitCode.DONE
    verdicts, code = _audited(found, track, options)
    if track is None:
        _add_what_no_track_allows(found, verdicts)
    copies = [group for group in same_code(everyone) if not verdicts.keys().isdisjoint(group)]
    put(printed(verdicts, options.output, copies), end="")
    for group in copies:
        say(f"the same code and settings: {', '.join(group)}", "yellow")
    refused = [name for name, findings in verdicts.items() if gates(findings)]
    if problem is not None:
        _show_example(problem, [one for one in found if one.name in verdicts and one.name not in refused], track)
    breaking = f"; not: {', '.join(sorted(refused))}" if len(found) > 1 and 0 < len(refused) <= FEW else ""
    say(f"{len(verdicts) - len(refused)} of {counted(len(found), 'submission')} valid{breaking}")
    return max(code, ExitCode.NEGATIVE if refused else ExitCode.DONE)


def _audited(
    found: Sequence[Broken | Submission], track: Track | None, options: ValidateOptions
) -> tuple[dict[str, list[Finding]], ExitCode]:
    """The findings by submission; an interrupt prints those that there are by then."""
    verdicts: dict[str, list[Finding]] = {}
    try:
        code = watch_audits(found, verdicts, options.num_workers, track=track, with_decoy=options.decoy)
    except KeyboardInterrupt:
        put(printed(verdicts, options.output), end="")
        raise
    return verdicts, code


def _add_what_no_track_allows(found: Sequence[Broken | Submission], verdicts: dict[str, list[Finding]]) -> None:
    """For a person to look at, and no broken rule: a track of one's own may have more epochs than any built-in one."""
    ranked = [track for track in map(load_track, built_in_names()) if track.ranked]
    longest = max(ranked, key=lambda track: track.training.epochs)
    for entry in found:
        if isinstance(entry, Submission) and entry.name in verdicts:
            try:
                entry.training(longest.training)
            except SubmissionError as error:
                message = f"no built-in track that ranks allows it: on {longest.name}, {error.message}"
                # A new list: copies share the one that the audit returned.
                verdicts[entry.name] = [*verdicts[entry.name], Finding(error.rule, "review", message)]


def _problem(options: ValidateOptions) -> Problems | None:
    """The example to show, if one was asked for; before anything is audited, so that a wrong one costs no time."""
    if options.example is None:
        return None
    if options.output != "text":
        raise UsageError(f"--example is shown as text; leave out --format {options.output}")
    from harness.commands.example import problem_of  # it loads torch

    return problem_of(options.example)


def _show_example(problem: Problems, entries: Sequence[Broken | Submission], track: Track | None) -> None:
    from harness.commands.example import shown_example

    for entry in entries:
        if isinstance(entry, Submission):
            put(shown_example(entry, problem, track))
