"""The command `harness`: parses, calls, prints, and ends in an exit code."""

import errno
import io
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from harness import __version__
from harness.commands.discovery import discovered
from harness.errors import ExitCode, HarnessError, UsageError
from harness.printable import counted
from harness.rerun import Rerun
from harness.submissions import Submission, read_folder, select, the_one
from harness.terminal import ignore_stdout, messages, put, replace_closed_streams, say, to_be_typed, work_in

# Verbs import what they need when they run, so that `harness --help` and `harness list` answer at once.

MACHINE_ERRORS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
"""System errors that are not caused by our code: no permission, no space."""

EXTRA = "an argument"
_OF_A_TRACK = "seeds, digits and epochs belong to the track; give one of your own with --track my.yaml"
_ALL_TRACKS = "it renders every track that has results"
HINTS: dict[tuple[str, str | None], str] = {
    ("all", EXTRA): "`all` runs every folder; for one: `harness run NAME`, then `harness leaderboard`",
    ("leaderboard", "--track"): _ALL_TRACKS,
    ("leaderboard", "-t"): _ALL_TRACKS,
    **{
        (verb, f"--{key}"): _OF_A_TRACK
        for verb in ("run", "all", "cross")
        for key in ("seed", "seeds", "digits", "epochs")
    },
}
"""What to do instead, by verb and by what was given to it that it does not take: an option, or one argument more."""


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
            if hinted := _hinted(ctx.invoked_subcommand, error):
                raise UsageError(hinted) from error
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


def _hinted(verb: str, error: Exception) -> str | None:
    """The error with what to do instead, where that is known; click's errors and typer's own have the same fields."""
    message, option = str(error), getattr(error, "option_name", None)
    if option in {"-C", "--trust-submissions"}:
        return f"{option} stands before the verb: harness {option} … {verb}"
    hint = HINTS.get((verb, EXTRA if message.startswith("Got unexpected extra argument") else option))
    return hint and f"{message}; {hint}"


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
    Rerun | None,
    typer.Option(
        help="Besides trials without a record: `missing` none; by default stale and unverified ones; `stale` those and "
        "rows without a sandbox; `failed` failed, refused and in review; `all`."
    ),
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
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            say(f"harness: {str(error.filename)[:60]}… is too long for a path here; give a shorter one", "red")
            sys.exit(ExitCode.USAGE)
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
    from harness.commands.listing import json_of, table_of

    found = discovered(context.obj)
    put(json_of(found) if as_json else table_of(found))


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
    from harness.commands.validate import ValidateOptions, check_folders

    options = ValidateOptions(
        names=names or [],
        changed=changed,
        output=output.value,
        track=track_name,
        num_workers=workers,
        example=example,
        decoy=decoy,
    )
    return check_folders(context.obj, options)


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
    from harness.commands.execution import RunOptions
    from harness.commands.train import train

    options = RunOptions(device=device.value, num_workers=workers, rerun=rerun, dry_run=dry_run)
    return train(context.obj, names or [], track, options)


@app.command("all")
def all_(
    context: typer.Context,
    track: TrackOption = "quick",
    device: DeviceOption = Device.auto,
    workers: Workers = None,
) -> ExitCode:
    """Validates, runs and renders. A second call runs nothing and changes nothing."""
    from harness.commands.execution import RunOptions
    from harness.commands.train import train

    code = train(context.obj, [], track, RunOptions(device=device.value, num_workers=workers))
    from harness.commands.leaderboard import render_board  # loads what draws, which the trials need not wait for

    render_board(context.obj, check=False)
    return code


@app.command()
def leaderboard(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if the board is not up to date.")
    ] = False,
) -> ExitCode:
    """Renders the board and its plots from the records."""
    from harness.commands.leaderboard import render_board

    return render_board(context.obj, check=check)


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A folder in submissions/.")],
    track: TrackOption = "quick",
) -> None:
    """Shows a submission on a track: rank, scores, curve, mistakes."""
    from harness.commands.show import shown
    from harness.definitions import find_track

    found = discovered(context.obj)
    entry = the_one(found, name)
    loaded, _ = find_track(track, context.obj / "results")
    put(to_be_typed(shown(entry, loaded, context.obj / "results", found)), end="")


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
    found = discovered(context.obj)
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
    entry = the_one(discovered(context.obj), name)
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
    from harness.commands.cross import Choice, cross_folders
    from harness.commands.execution import RunOptions

    choice = Choice(
        tokenizers=_comma_separated(tokenizers), positions=_comma_separated(positions), everything=everything
    )
    options = RunOptions(device=device.value, num_workers=workers, rerun=rerun, dry_run=dry_run)
    return cross_folders(context.obj, choice, track, options)


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

    entry = the_one(discovered(context.obj), name)
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


def _comma_separated(names: str) -> list[str]:
    return [name for name in names.replace(" ", "").split(",") if name]
