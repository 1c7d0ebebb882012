"""The command `harness`: parses, calls, prints, and ends in an exit code."""

import errno
import io
import json
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from harness import __version__
from harness.errors import ExitCode, HarnessError, UsageError
from harness.printable import counted, json_text
from harness.rerun import Rerun
from harness.submissions import (
    Broken,
    Submission,
    discover,
    loose_files,
    read_folder,
    same_code,
    select,
    shown_name,
    the_one,
)
from harness.terminal import ignore_stdout, messages, put, replace_closed_streams, say, to_be_typed, work_in

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.task import Problems
    from harness.track import Track

# Verbs import what they need when they run, so that `harness --help` and `harness list` answer at once.

MACHINE_ERRORS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
"""System errors that are not caused by our code: no permission, no space."""

FEW = 5
"""Refused submissions that the last line of `validate` repeats; more would push the findings off the screen."""


class _Group(TyperGroup):
    """Verbs return their exit code; Ctrl-C has its own."""

    def invoke(self, ctx: Any) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            ignore_stdout()
            code = ExitCode.UNREAD
        except KeyboardInterrupt as interrupt:
            say("; ".join(["harness: interrupted", *map(str, interrupt.args)]))
            code = ExitCode.INTERRUPTED
        except Exception as error:
            option = getattr(error, "option_name", None)  # of click's error, or of typer's own
            if option in {"-C", "--trust-submissions"}:
                raise UsageError(
                    f"{option} stands before the verb: harness {option} … {ctx.invoked_subcommand}"
                ) from error
            if isinstance(error, typer.BadParameter) and isinstance(error.__cause__, ValidationError):
                raise UsageError(_wrong_value(error.param, error.__cause__)) from error
            raise
        raise typer.Exit(int(code or ExitCode.DONE))


app = typer.Typer(
    cls=_Group,
    help="Which tokenizer and which positional embedding let a small transformer learn to add?",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _wrong_value(parameter: Any, refused: ValidationError) -> str:
    """`--seed: 'x' should be a whole number`: typer gives pydantic's message alone, and mostly without the value."""
    problem = refused.errors()[0]
    if problem["type"] == "value_error":
        what = problem["msg"].removeprefix("Value error, ").rstrip(".")
    else:
        should = (
            "should be a whole number" if problem["type"] == "int_parsing" else problem["msg"].removeprefix("Input ")
        )
        what = f"{problem['input']!r} {should}"
    return f"{parameter.opts[0]}: {what}"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Format(StrEnum):
    text = "text"
    json = "json"
    github = "github"


class SchemaOf(StrEnum):
    record = "record"
    submission = "submission"
    track = "track"


Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Folders in submissions/; all if none is named.")
]
TrackOption = Annotated[
    str, typer.Option("--track", "-t", help="A built-in track, one that has results, or the path of a YAML file.")
]
DeviceOption = Annotated[Device, typer.Option(help="Where to train; auto takes a GPU if there is one.")]
Workers = Annotated[
    int | None, typer.Option("-j", min=1, max=256, help="Jobs at a time; by default one per core, or two on a GPU.")
]
RerunOption = Annotated[
    Rerun | None, typer.Option(help="Which recorded trials to run again; by default those that are stale.")
]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Show the plan and stop.")]


def main() -> None:
    """Runs the command line and exits with an `ExitCode`."""
    replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):  # a title may contain characters that the terminal cannot encode
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except HarnessError as error:
        say(f"harness: {error}", "red")
        sys.exit(error.exit_code)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
            remedy = "make room, make it yours, or work elsewhere with -C DIR"
            say(f"harness: {error.filename or 'the output'} cannot be used: {error.strerror}; {remedy}", "red")
            sys.exit(ExitCode.ENVIRONMENT)
        messages.print_exception()
        say("harness: this is a bug in the harness; please report it with the lines above", "red")
        sys.exit(ExitCode.BUG)


def _show_version(asked: bool) -> None:
    if asked:
        from harness.fingerprint import harness_fingerprint

        put(f"harness {__version__}, fingerprint {harness_fingerprint()}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Option("-C", metavar="DIR", help="The folder with submissions/, results/ and leaderboard.md."),
    ] = None,
    trusted: Annotated[
        bool, typer.Option("--trust-submissions", help="Run them even where there is no sandbox; such rows never rank.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show version and fingerprint.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    if trusted:
        from harness.host.sandbox import TRUST

        os.environ[TRUST] = "1"  # for the workers too
    if directory is not None:
        if not directory.is_dir():
            raise UsageError(f"-C {directory}: there is no such folder")
        work_in(directory)
    try:
        context.obj = (directory or Path()).resolve()
    except FileNotFoundError as error:
        raise UsageError("the folder that this shell is in was deleted; `cd` to one that exists") from error


@app.command("list")
def list_(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """Lists the submissions without running any of their code."""
    found = _discover(context.obj)
    if as_json:
        put(json_text([_description(entry) for entry in found]))
        return
    from textwrap import fill

    from tabulate import tabulate

    rows = [
        [entry.name, entry.manifest.title, ", ".join(entry.manifest.authors), entry.division]
        if isinstance(entry, Submission)
        else [entry.name, f"broken: {entry.error.message}", "", ""]
        for entry in found
    ]
    for row in rows:  # folded here: tabulate makes numbers of titles that look like some when it folds
        row[1], row[2] = fill(row[1], 60), fill(row[2], 30)
    put(tabulate(rows, headers=["submission", "title", "authors", "division"], disable_numparse=True))


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The new folder's name.")],
    like: Annotated[
        str | None, typer.Option(help="A submission to start from, instead of a plain one that works.")
    ] = None,
) -> None:
    """Starts a submission that validates and trains at once."""
    from harness.commands.new import borrowed_parts, start_submission

    folder = start_submission(context.obj, name, like)
    put(f"wrote {folder.relative_to(context.obj)}/")
    started = read_folder(folder)
    for line in borrowed_parts(started) if isinstance(started, Submission) else []:
        put(line)
    if like is not None:
        put(f"the summary, the reference and README.md are still those of {Path(like).name}")
    put(to_be_typed(f"next: edit what is in it, then `harness validate {folder.name}` and `harness run {folder.name}`"))


@app.command()
def validate(
    context: typer.Context,
    names: Names = None,
    changed: Annotated[
        str | None, typer.Option(metavar="REF", help="Only folders that changed since this git ref.")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="github prints annotations for a workflow.")] = Format.text,
    track_name: Annotated[
        str | None,
        typer.Option("--track", "-t", help="Also with what this track trains: its digits, batches and epochs."),
    ] = None,
    workers: Workers = None,
    example: Annotated[
        str | None,
        typer.Option(metavar="PROBLEM", help="Also show what the model sees of this problem: 12+34= say."),
    ] = None,
    decoy: Annotated[
        bool,
        typer.Option(
            "--decoy", help="Also train on addition and on a decoy task (rule T97); takes minutes per submission."
        ),
    ] = False,
) -> ExitCode:
    """Checks that submissions keep the rules. Exit 1 if one breaks a gate; `harness explain` lists the rules."""
    from harness.commands.changes import changed_since
    from harness.commands.verdicts import printed
    from harness.commands.watching import watch_audits
    from harness.definitions import find_track
    from harness.rules import Found, gates

    problem = None
    if example is not None:
        if output is not Format.text:
            raise UsageError(f"--example is shown as text; leave out --format {output}")
        from harness.commands.example import problem_of  # it loads torch

        problem = problem_of(example)
    track = find_track(track_name, context.obj / "results")[0] if track_name else None
    everyone = _discover(context.obj)
    found = select(everyone, names or [])
    if changed is not None:
        found = changed_since(context.obj, changed, found)
        if not found:
            say(f"no submission changed since {changed}")
            put(printed({}, output.value), end="")
            return ExitCode.DONE
    verdicts: dict[str, list[Found]] = {}
    try:
        code = watch_audits(found, verdicts, workers, track=track, with_decoy=decoy)
    except KeyboardInterrupt:
        put(printed(verdicts, output.value), end="")
        raise
    copies = [group for group in same_code(everyone) if not verdicts.keys().isdisjoint(group)]
    put(printed(verdicts, output.value, copies), end="")
    for group in copies:
        say(f"the same code and settings: {', '.join(group)}", "yellow")
    refused = [name for name, findings in verdicts.items() if gates(findings)]
    if problem is not None:
        _show_example(problem, [one for one in found if one.name in verdicts and one.name not in refused], track)
    breaking = f"; not: {', '.join(sorted(refused))}" if len(found) > 1 and 0 < len(refused) <= FEW else ""
    say(f"{len(verdicts) - len(refused)} of {counted(len(found), 'submission')} valid{breaking}")
    return max(code, ExitCode.NEGATIVE if refused else ExitCode.DONE)


def _show_example(problem: "Problems", entries: Sequence[Broken | Submission], track: "Track | None") -> None:
    from harness.commands.example import shown_example

    for entry in entries:
        if isinstance(entry, Submission):
            put(shown_example(entry, problem, track))


@app.command()
def run(
    context: typer.Context,
    names: Names = None,
    track: TrackOption = "quick",
    device: DeviceOption = Device.auto,
    workers: Workers = None,
    rerun: RerunOption = None,
    dry_run: DryRun = False,
) -> ExitCode:
    """Validates, trains and scores what is missing or stale."""
    return _train(context.obj, names or [], track, device, workers, rerun, dry_run=dry_run)


@app.command("all")
def all_(
    context: typer.Context,
    track: TrackOption = "quick",
    device: DeviceOption = Device.auto,
    workers: Workers = None,
) -> ExitCode:
    """Validates, runs and renders. A second call runs nothing and changes nothing."""
    code = _train(context.obj, [], track, device, workers, None, dry_run=False)
    _render(context.obj, check=False)
    return code


@app.command()
def leaderboard(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if the board is not up to date.")
    ] = False,
) -> ExitCode:
    """Renders the board and its plots from the records."""
    return _render(context.obj, check=check)


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A folder in submissions/.")],
    track: TrackOption = "quick",
) -> None:
    """Shows a submission on a track: scores, curve, mistakes."""
    from harness.commands.show import shown
    from harness.definitions import find_track

    entry = the_one(_discover(context.obj), name)
    loaded, _ = find_track(track, context.obj / "results")
    put(to_be_typed(shown(entry, loaded, context.obj / "results")), end="")


@app.command()
def compare(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="A", help="A folder in submissions/.")],
    other: Annotated[str, typer.Argument(metavar="B", help="The submission to compare it with.")],
    track: TrackOption = "quick",
) -> ExitCode:
    """Compares two submissions. Exit 1 if A is worse than B by more than luck explains."""
    from harness.commands.compare import Verdict, comparison
    from harness.definitions import find_track

    results = context.obj / "results"
    found = _discover(context.obj)
    (one,), (two,) = select(found, [name]), select(found, [other])
    loaded, _ = find_track(track, results)
    text, verdict = comparison(one, two, loaded, results)
    put(text, end="")
    return ExitCode.NEGATIVE if verdict is Verdict.WORSE else ExitCode.DONE


@app.command()
def reproduce(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A folder in submissions/.")],
    track: TrackOption = "quick",
    device: DeviceOption = Device.auto,
    workers: Workers = None,
) -> ExitCode:
    """Reruns recorded trials on the problems that they drew. Exit 1 if anything differs; records stay as they are."""
    from harness.commands.reproduce import recorded_trials, run_again
    from harness.definitions import find_track
    from harness.fingerprint import harness_fingerprint

    results = context.obj / "results"
    loaded, _ = find_track(track, results)
    entry = the_one(_discover(context.obj), name)
    found = recorded_trials(entry, loaded, results, harness_fingerprint())
    for line in found.passed_over:
        say(f"passed over {line}")
    say(f"track {loaded.name}: {counted(len(found.trials), 'trial')} to reproduce")
    return run_again(found, loaded, device=device.value, num_workers=workers, tell=put)


@app.command()
def cross(
    context: typer.Context,
    tokenizers: Annotated[
        str, typer.Option(metavar="A,B,…", help="Folders whose tokenizers to use; all if not given.")
    ] = "",
    positions: Annotated[
        str, typer.Option(metavar="C,D,…", help="Folders whose positions to use; all if not given.")
    ] = "",
    track: TrackOption = "quick",
    device: DeviceOption = Device.auto,
    workers: Workers = None,
    rerun: RerunOption = None,
    dry_run: DryRun = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Train the pairs of all folders, where neither option names any.")
    ] = False,
) -> ExitCode:
    """Crosses tokenizers with positions. Trains every pair, and reports what tokenizers and positions each explain."""
    from harness.board.crossing import as_text, crossing_of, render_crossing
    from harness.cross import FOLDER, grid_of, plan_cross, rows_of_cross
    from harness.definitions import find_track
    from harness.fingerprint import harness_fingerprint

    root: Path = context.obj
    loaded, track_file = find_track(track, root / "results" / FOLDER, root / "results")
    found = _discover(root)
    grid = grid_of(found, _comma_separated(tokenizers), _comma_separated(positions))
    for entry in found if not (tokenizers and positions) else []:
        if isinstance(entry, Broken):
            say(f"not in the grid: {entry.error}", "red")
    harness = harness_fingerprint()
    planned = plan_cross(grid, found, loaded, root / "results", harness, rerun)
    if planned.to_run and not (tokenizers or positions or everything or dry_run):
        raise UsageError(
            f"the pairs of all folders take {counted(len(planned.to_run), 'trial')}: choose some with --tokenizers and "
            "--positions, see them with -n, or train every one with --all"
        )
    say(
        f"{counted(len(grid.tokenizers), 'tokenizer')} × {len(grid.positions)} positions; "
        + planned.summary(loaded.name, dry_run=dry_run)
    )
    code = _carry_out(planned, loaded, track_file, root / "results" / FOLDER, device, workers, rerun, dry_run=dry_run)
    if dry_run:
        return code
    crossing = crossing_of(grid, loaded, rows_of_cross(grid, found, loaded, root / "results", harness))
    put(as_text(crossing), end="")
    for path in render_crossing(crossing, root):
        say(f"wrote {path.relative_to(root)}")
    return code


@app.command()
def probe(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A folder in submissions/.")],
    track: TrackOption = "quick",
    digits: Annotated[
        int | None, typer.Option(help="One of the track's numbers of digits; the first if not given.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="One of the track's seeds; the first if not given.")] = None,
    device: DeviceOption = Device.auto,
) -> ExitCode:
    """Trains one trial and measures which carries linear probes can read from its states, by layer and token."""
    from harness.commands.probe import train_and_probe
    from harness.definitions import find_track

    entry = the_one(_discover(context.obj), name)
    results = context.obj / "results"
    loaded, _ = find_track(track, results)
    text, code = train_and_probe(entry, loaded, results, digits, seed, device.value)
    put(text, end="")
    return code


@app.command()
def bench(
    context: typer.Context,
    track: TrackOption = "standard",
    device: DeviceOption = Device.auto,
    report: Annotated[
        bool, typer.Option("--report", help="Also write docs/performance/<device>.md and .json.")
    ] = False,
) -> None:
    """Measures the harness on this machine, against a plain loop."""
    from harness.commands.bench import bench as measure
    from harness.commands.bench import write
    from harness.definitions import find_track
    from harness.processor import device_of, set_up_processor

    set_up_processor()
    loaded, _ = find_track(track, context.obj / "results")
    measured = measure(loaded, device_of(device.value), lambda what: say(f"measuring at {what}"))
    put(measured.as_markdown(), end="")
    for path in write(measured, context.obj) if report else []:
        say(f"wrote {path.relative_to(context.obj)}")


@app.command()
def doctor(context: typer.Context) -> ExitCode:
    """Reports what this machine can do, and what is missing."""
    from harness.commands.doctor import examine

    is_well = examine(context.obj, put)
    return ExitCode.DONE if is_well else ExitCode.ENVIRONMENT


@app.command()
def schema(of: Annotated[SchemaOf, typer.Argument(help="Which file's schema.")] = SchemaOf.record) -> None:
    """Prints the JSON Schema of a record, a manifest or a track."""
    from harness.records import Record
    from harness.submissions import Manifest
    from harness.track import Track

    model = {SchemaOf.record: Record, SchemaOf.submission: Manifest, SchemaOf.track: Track}[of]
    put(json.dumps(model.model_json_schema(), indent=1))


@app.command()
def explain(
    rule: Annotated[
        str | None, typer.Argument(help="An id, as `harness validate` names it; all rules if not given.")
    ] = None,
    page: Annotated[bool, typer.Option("--page", help="Print all rules in full, as in docs/rules.md.")] = False,
) -> None:
    """Explains a rule, with a good and a bad example."""
    from harness import rules

    if rule is not None and page:
        raise UsageError("--page prints all rules; leave out either it or the rule")
    rule = rule and rule.upper()
    if rule is not None and rule not in rules.RULES:
        raise UsageError(f"no rule {rule!r:.40}; there are: {', '.join(rules.RULES)}")
    put((rules.page() if page else rules.listed()) if rule is None else rules.explained(rules.RULES[rule]), end="")


def _train(
    root: Path,
    names: list[str],
    track_name: str,
    device: Device,
    workers: int | None,
    rerun: Rerun | None,
    *,
    dry_run: bool,
) -> ExitCode:
    """Makes a plan, and runs it unless it is only to be shown; the common part of `run` and `all`."""
    from harness.definitions import find_track
    from harness.fingerprint import harness_fingerprint
    from harness.plan import plan
    from harness.ranking.rulings import read_rulings

    track, track_file = find_track(track_name, root / "results")
    found = select(_discover(root), names)
    readable = [entry for entry in found if isinstance(entry, Submission)]
    broken = [entry for entry in found if isinstance(entry, Broken)]
    results = root / "results"
    planned = plan(track, readable, results, harness_fingerprint(), rerun, read_rulings(results))
    for entry in broken:
        say(str(entry.error), "red")
    for name, why in dict.fromkeys((trial.submission.name, trial.why) for trial in planned.failed):
        say(f"{name}, as before: {why}", "red")
    say(planned.summary(track.name, dry_run=dry_run))
    code = _carry_out(planned, track, track_file, results, device, workers, rerun, dry_run=dry_run)
    return max(code, ExitCode.INCOMPLETE if broken and not dry_run else ExitCode.DONE)


def _carry_out(
    planned: "Plan",
    track: "Track",
    track_file: Path,
    results: Path,
    device: Device,
    workers: int | None,
    rerun: Rerun | None,
    *,
    dry_run: bool,
) -> ExitCode:
    """Runs the plan, or prints it; the common end of `run`, `all` and `cross`."""
    from harness.commands.watching import validate_and_train

    if dry_run:
        for trial in planned.to_run:
            put(f"{trial.name}: {trial.why}")
        return ExitCode.DONE
    if planned.to_run and device is Device.cuda:  # fails here if there is none, before all folders are audited
        from harness.processor import device_of

        device_of(device.value)
    try:
        return validate_and_train(planned, track, track_file, results, device=device.value, num_workers=workers)
    except KeyboardInterrupt:
        then = "begins again with the first" if rerun is Rerun.all else "goes on from there"
        raise KeyboardInterrupt(f"every trial that had finished is saved, and the same command {then}") from None


def _discover(root: Path) -> list[Submission | Broken]:
    """The submissions; mentions what lies beside them and is not one."""
    found = discover(root)
    if ignored := loose_files(root):
        say(f"ignored, since a submission is a folder: {', '.join(map(shown_name, ignored))}")
    return found


def _render(root: Path, *, check: bool) -> ExitCode:
    from harness.board.rendering import render

    differing = [path.relative_to(root) for path in render(root, check=check)]
    if not (root / "results").is_dir():
        say(f"there is no folder {root / 'results'}, so the board has no results; `harness run` fills it", "yellow")
    if not differing:
        say("leaderboard.md is up to date")
    for path in differing:
        put(f"{'differs' if check else 'wrote'} {path}")
    if check and differing:
        say("the board does not match the records; run `harness leaderboard`", "red")
        return ExitCode.NEGATIVE
    return ExitCode.DONE


def _comma_separated(names: str) -> list[str]:
    return [name for name in names.replace(" ", "").split(",") if name]


def _description(entry: Submission | Broken) -> dict[str, object]:
    if isinstance(entry, Broken):
        return {"name": entry.name, "error": entry.error.message}
    manifest = entry.manifest.model_dump(mode="json", exclude={"hyperparameters"})
    return {
        "name": entry.name,
        "division": entry.division,
        "fingerprint": entry.fingerprint,
        **manifest,
        "hyperparameters": entry.manifest.hyperparameters.set_values(),
    }
