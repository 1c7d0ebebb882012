"""`harness run`, and the first half of `harness all`: trains the folders on a track."""

from pathlib import Path

from harness.commands.discovery import discovered
from harness.commands.execution import RunOptions, execute
from harness.definitions import find_track
from harness.errors import ExitCode
from harness.fingerprint import harness_fingerprint
from harness.plan import plan
from harness.ranking.rulings import read_rulings
from harness.submissions import Broken, Submission, select
from harness.terminal import say


def train(root: Path, names: list[str], track: str, options: RunOptions) -> ExitCode:
    """Makes a plan, and runs it unless it is only to be shown.

    Args:
        names: of folders; all if there are none.
        track: a name or a path, as `find_track` takes it.
    """
    results, harness = root / "results", harness_fingerprint()
    definition = find_track(track, results)
    found = select(discovered(root), names)
    readable = [entry for entry in found if isinstance(entry, Submission)]
    broken = [entry for entry in found if isinstance(entry, Broken)]
    planned = plan(definition.track, readable, results, harness, options.rerun, read_rulings(results))
    for entry in broken:
        say(str(entry.error), "red")
    for name, why in dict.fromkeys((trial.submission.name, trial.why) for trial in planned.failed):
        say(f"{name}, as before: {why}", "red")
    if readable:
        say(planned.summary(definition.track.name, dry_run=options.dry_run))
    if options.dry_run:  # so that the records that come of the plan can be shown to be of what was planned
        say(f"harness {harness}, track {definition.track.name} {definition.track.fingerprint}")
    code = execute(planned, definition, results, options)
    return max(code, ExitCode.INCOMPLETE if broken and not options.dry_run else ExitCode.DONE)
