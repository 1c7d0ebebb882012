"""The command line, end to end: exit codes, what a person reads, and what is on the disk afterwards."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from bad_folders import ENCODE, MANIFEST, write_folder, write_tiny
from cheats.sources import HONEST, SUM, submission_of
from commands import git, harness, harness_here, record_of, refused

from harness.host.sandbox import isolation
from harness.records import Record, read
from harness.track import built_in_names

ROOT = Path(__file__).parent.parent


def files_of(root: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of change of every file, but byte code."""
    paths = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """`new`, then `all` on the smoke track over a good, a lossy, a raising and a broken folder."""
    root = tmp_path_factory.mktemp("root")
    assert harness_here(root, "new", "good").returncode == 0
    write_folder(root, "lossy", decode="return '1'")
    write_folder(root, "broken", manifest=f"{MANIFEST}colour: red\n")
    return root, harness_here(root, "all", "--track", "smoke", "--device", "cpu", "-j", "1")


@pytest.fixture
def root(first_run: tuple[Path, object], tmp_path: Path) -> Path:
    """A copy of what the first run left, to change at will."""
    return Path(shutil.copytree(first_run[0], tmp_path / "root"))


def test_all_ends_incomplete_when_a_folder_is_broken_and_runs_the_others(
    first_run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    root, result = first_run
    assert result.returncode == 3, result.stderr
    good, lossy = record_of(root, "good"), record_of(root, "lossy")
    assert (good.status, good.division, good.isolation) == ("ok", "closed", isolation())
    assert good.suites is not None
    assert (good.suites.fresh.total, good.suites.test.total) == (256, 256)
    assert lossy.status == "failed"
    assert lossy.reason is not None
    assert lossy.reason.startswith("T10: decode(encode('0')) is '1'")


def test_a_failure_is_told_once_in_full(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    told = first_run[1].stderr
    assert told.count("unknown key `colour`; allowed: title") == 1
    assert told.count("decode(encode('0')) is '1'") == 1
    assert "Traceback" not in told


def test_every_folder_has_a_row_on_the_board(first_run: tuple[Path, object]) -> None:
    board = (first_run[0] / "leaderboard.md").read_text(encoding="utf-8")
    for name in ("good", "lossy", "broken"):
        assert f"[{name}](submissions/{name})" in board
    assert "unknown key" in board
    assert sorted(path.suffix for path in (first_run[0] / "results" / "smoke").glob("[!.]*.*")) == [".svg"] * 4


def test_stdout_is_the_result_and_stderr_the_progress(
    first_run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, result = first_run
    assert result.stdout.splitlines()[-1] == "wrote leaderboard.md"
    assert all(line.startswith("wrote ") for line in result.stdout.splitlines())
    assert "track smoke: 2 trials to run, 0 up to date" in result.stderr
    assert "good d2-s0: exact match 0." in result.stderr
    assert "\x1b" not in result.stdout + result.stderr


def test_a_second_all_runs_nothing_and_changes_nothing(root: Path) -> None:
    before = files_of(root)
    result = harness_here(root, "all", "--track", "smoke")
    assert result.returncode == 3  # what failed has not been mended
    assert files_of(root) == before
    assert "0 trials to run, 1 up to date, 1 failed or refused before (a changed folder runs again, " in result.stderr
    assert "lossy, as before: T10: decode(encode('0')) is '1'" in result.stderr
    assert result.stdout == ""


def test_all_is_done_when_nothing_is_broken(root: Path) -> None:
    for name in ("lossy", "broken"):
        shutil.rmtree(root / "submissions" / name)
        shutil.rmtree(root / "results" / "smoke" / name, ignore_errors=True)
    assert harness_here(root, "all", "--track", "smoke").returncode == 0
    assert harness_here(root, "run", "--track", "smoke").stderr == "track smoke: nothing to run, 1 trial up to date\n"


def test_a_folder_that_cannot_be_read_is_no_folder_with_nothing_to_run(root: Path) -> None:
    result = harness_here(root, "run", "broken", "-t", "smoke")
    assert result.returncode == 3
    assert "submissions/broken: T00: " in result.stderr
    assert "nothing to run" not in result.stderr


def test_a_dry_run_shows_the_plan_and_writes_nothing(root: Path) -> None:
    before = files_of(root)
    assert harness_here(root, "run", "good", "lossy", "-t", "smoke", "-n").stdout == ""
    planned = harness_here(root, "run", "good", "lossy", "-t", "quick", "-n")
    assert (planned.returncode, planned.stdout) == (0, "good d2-s0: missing\nlossy d2-s0: missing\n")
    assert files_of(root) == before


def test_a_dry_run_names_the_fingerprints_that_the_records_will_hold(root: Path) -> None:
    """So that a plan written down before it is run can be compared with what came of it."""
    held = record_of(root, "good").fingerprints
    planned = harness_here(root, "run", "good", "-t", "smoke", "-n")
    assert planned.stderr.splitlines()[-1] == f"harness {held.harness}, track smoke {held.track}"


def test_rerun_chooses_by_state(root: Path) -> None:
    shutil.copytree(root / "submissions" / "good", root / "submissions" / "unrun")
    (root / "submissions" / "good" / "notes.txt").write_text("changed", encoding="utf-8")

    def planned(*choice: str) -> list[str]:
        names = ("good", "lossy", "unrun")
        lines = harness_here(root, "run", *names, "-t", "smoke", "-n", *choice).stdout.splitlines()
        return [line.split()[0] for line in lines]

    assert planned() == ["good", "unrun"]
    assert planned("--rerun", "missing") == ["unrun"]
    assert planned("--rerun", "failed") == ["lossy", "unrun"]
    assert planned("--rerun", "stale") == ["good", "unrun"]
    assert planned("--rerun", "all") == ["good", "lossy", "unrun"]


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two submissions with a record each on a track of a file of its own, `tiny.yaml`."""
    root = tmp_path_factory.mktemp("tiny")
    track = write_tiny(root / "tiny.yaml")
    for name in ("one", "two"):
        write_folder(root, name)
    assert harness_here(root, "run", "-t", str(track), "-j", "1").returncode == 0
    return root


@pytest.fixture
def tiny(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "tiny"))


def run_tiny(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return harness_here(root, "run", "-t", str(root / "tiny.yaml"), *arguments)


def test_a_changed_submission_is_stale_and_alone_runs_again(tiny: Path) -> None:
    before = files_of(tiny / "results")
    (tiny / "submissions" / "two" / "notes.txt").write_text("changed", encoding="utf-8")
    assert run_tiny(tiny, "-n").stdout == "two d1-s0: the submission changed since\n"
    assert run_tiny(tiny).returncode == 0
    after = files_of(tiny / "results")
    assert {path for path in after if after[path] != before.get(path)} == {"tiny/two/d1-s0.json"}


def test_a_record_that_cannot_be_believed_is_named_kept_and_run_again(tiny: Path) -> None:
    path = tiny / "results" / "tiny" / "one" / "d1-s0.json"
    whole = path.read_text(encoding="utf-8")
    for content, reason in (
        (whole[:300], "is truncated or not JSON"),
        (whole.replace('"format": 2', '"format": 0'), "has format 0, this harness reads 2"),
        (whole.replace('"status": "ok"', '"status": "failed"'), "was edited after it was written"),
    ):
        path.write_text(content, encoding="utf-8")
        assert run_tiny(tiny, "-n").stdout.startswith(f"one d1-s0: the record {reason}")
    assert harness_here(tiny, "leaderboard").returncode == 0
    assert "was edited" in (tiny / "leaderboard.md").read_text(encoding="utf-8")
    assert run_tiny(tiny).returncode == 0
    assert record_of(tiny, "one", "tiny", 1).status == "ok"
    assert path.with_suffix(".json.set-aside").read_text(encoding="utf-8") == content


def test_the_board_is_checked_without_being_written(root: Path) -> None:
    assert harness_here(root, "leaderboard", "--check").returncode == 0
    board = root / "leaderboard.md"
    board.write_text(board.read_text(encoding="utf-8") + "edited\n", encoding="utf-8")
    before = files_of(root)
    result = harness_here(root, "leaderboard", "--check")
    assert (result.returncode, result.stdout) == (1, "differs leaderboard.md\n")
    assert files_of(root) == before
    assert harness_here(root, "leaderboard").stdout == "wrote leaderboard.md\n"
    assert harness_here(root, "leaderboard", "--check").returncode == 0


def test_show_tells_scores_curve_and_reasons(root: Path) -> None:
    good = harness_here(root, "show", "good", "-t", "smoke").stdout
    record = record_of(root, "good")
    assert record.suites is not None
    assert f"{record.suites.fresh.correct} of 256" in good
    assert "3,200" in good  # examples at the end of the curve
    assert "T10: decode(encode('0')) is '1'" in harness_here(root, "show", "lossy", "-t", "smoke").stdout
    broken = harness_here(root, "show", "broken", "-t", "smoke")
    assert (broken.returncode, broken.stdout) == (2, "")
    assert "unknown key `colour`" in broken.stderr
    unrun = harness_here(root, "show", "good").stdout
    assert f"quick: 1 of 1 trial not run; `harness -C {root} run good --track quick` runs what is missing\n" in unrun


def test_list_names_every_folder_with_what_it_is(root: Path) -> None:
    listed = json.loads(harness_here(root, "list", "--json").stdout)
    assert [entry["name"] for entry in listed] == ["broken", "good", "lossy"]
    assert "unknown key `colour`" in listed[0]["error"]
    assert (listed[1]["title"], listed[1]["authors"], listed[1]["division"]) == ("Good", ["My name"], "closed")
    assert "broken: submission.yaml: line 6: unknown key" in harness_here(root, "list").stdout


def test_list_shows_titles_as_they_are_written_as_far_as_the_terminal_can(tmp_path: Path) -> None:
    titles = {"flag": "False", "number": "007", "arrow": "a → b"}
    for name, title in titles.items():
        write_folder(tmp_path, name, manifest=MANIFEST.replace("My submission", f"'{title}'", 1))
    lines = {line.split()[0]: line for line in harness(tmp_path, "list").stdout.splitlines()}
    assert {name: title in lines[name] for name, title in titles.items()} == dict.fromkeys(titles, True)
    narrow = harness(tmp_path, "list", PYTHONIOENCODING="latin-1")
    assert narrow.returncode == 0, narrow.stderr
    assert r"a \u2192 b" in narrow.stdout


def test_validate_refuses_what_breaks_a_rule_and_says_why_in_three_formats(tmp_path: Path) -> None:
    write_folder(tmp_path, "broken", manifest="title: [\n")
    write_folder(tmp_path, "raising", decode="raise IndexError('no\\n::error::such')")
    result = harness_here(tmp_path, "validate")
    assert result.returncode == 1
    assert [line.split(" (gate)")[0] for line in result.stdout.splitlines()] == [
        "submissions/broken: T00",
        "submissions/raising: T00",
    ]
    assert "0 of 2 submissions valid; not: broken, raising" in result.stderr
    found = json.loads(harness_here(tmp_path, "validate", "broken", "--format", "json").stdout)
    assert found["valid"] == {"broken": False}
    assert found["findings"][0]["rule"] == "T00"
    annotated = harness_here(tmp_path, "validate", "broken", "--format", "github").stdout
    assert annotated.startswith(
        "::error file=submissions/broken/submission.yaml,line=2,title=T00::submission.yaml: line 2"
    )
    assert annotated.count("\n") == 1


def test_the_last_line_of_validate_repeats_a_few_names_and_no_more(tmp_path: Path) -> None:
    for number in range(5):
        write_folder(tmp_path, f"s{number}", manifest="title: [\n")
    assert harness_here(tmp_path, "validate").stderr == "0 of 5 submissions valid; not: s0, s1, s2, s3, s4\n"
    write_folder(tmp_path, "s5", manifest="title: [\n")
    assert harness_here(tmp_path, "validate").stderr == "0 of 6 submissions valid\n"


def test_a_new_submission_is_valid_at_once(tmp_path: Path) -> None:
    assert harness_here(tmp_path, "new", "good").stdout.startswith("wrote submissions/good/\nnext: edit ")
    result = harness_here(tmp_path, "validate", "good")
    assert (result.returncode, result.stdout) == (0, "submissions/good: T80 (tag): positional\n")
    assert result.stderr.splitlines() == ["[1/1] good: valid", "1 of 1 submission valid"]


def test_validate_on_a_track_refuses_more_epochs_than_that_track_has(tmp_path: Path) -> None:
    """`quick` has 2, `standard` 4."""
    assert harness_here(tmp_path, "new", "longer").returncode == 0
    manifest = tmp_path / "submissions" / "longer" / "submission.yaml"
    manifest.write_text(f"{manifest.read_text()}hyperparameters: {{epochs: 3}}\n")
    assert harness_here(tmp_path, "validate", "--track", "standard").returncode == 0
    refused = harness_here(tmp_path, "validate", "--track", "quick")
    assert refused.returncode == 1
    assert "longer: T00 (gate): hyperparameters.epochs is 3, the track has 2" in refused.stdout


def test_more_epochs_than_any_ranked_track_has_are_told_by_validate_and_by_a_dry_run(tmp_path: Path) -> None:
    """The two longest, `standard` and `notebook`, have 4; `quick` has 2."""
    for name, epochs in (("most", 4), ("more", 5)):
        write_folder(tmp_path, name, manifest=f"{MANIFEST}hyperparameters: {{epochs: {epochs}}}\n")
    validated = harness_here(tmp_path, "validate", "-j", "1")
    assert validated.returncode == 0
    (told,) = (line for line in validated.stdout.splitlines() if "epochs" in line)
    assert told.startswith("submissions/more: T00 (review): no built-in track that ranks allows it: on notebook, ")
    assert "hyperparameters.epochs is 5, the track has 4; " in told
    planned = harness_here(tmp_path, "run", "-n").stdout.splitlines()
    why = "d2-s0: will be refused, T00: hyperparameters.epochs is"
    assert [line.partition(", the track has 2; ")[0] for line in planned] == [f"more {why} 5", f"most {why} 4"]


def test_validate_names_the_folders_that_hold_the_same_code(tmp_path: Path) -> None:
    for name in ("ada", "ben", "cyd"):
        assert harness_here(tmp_path, "new", name).returncode == 0
    (tmp_path / "submissions" / "cyd" / "extra.py").write_text("MINE = True\n")
    assert "the same code and settings: ada, ben\n" in harness_here(tmp_path, "validate", "ben").stderr
    assert "the same code" not in harness_here(tmp_path, "validate", "cyd").stderr


def test_validate_changed_looks_at_the_folders_that_a_change_touched(tmp_path: Path) -> None:
    write_folder(tmp_path, "old", manifest="")
    git(tmp_path, "init", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "old")
    nothing = harness_here(tmp_path, "validate", "--changed", "main")
    assert (nothing.returncode, nothing.stderr) == (0, "no submission changed since main\n")
    as_json = harness_here(tmp_path, "validate", "--changed", "main", "--format", "json")
    assert json.loads(as_json.stdout) == {"valid": {}, "findings": [], "same_code": []}
    for name in ("new", "Bad-Name", "été"):
        write_folder(tmp_path, name, manifest="")
    git(tmp_path, "add", "submissions/new")
    result = harness_here(tmp_path, "validate", "--changed", "main")
    assert result.returncode == 1
    assert len(result.stdout.splitlines()) == 3
    refused(
        harness_here(tmp_path, "validate", "--changed", "nowhere"), 2, "--changed nowhere: ", "name a commit or branch"
    )
    (tmp_path / "bare" / "submissions").mkdir(parents=True)
    write_folder(tmp_path / "bare", "entry")
    refused(harness_here(tmp_path / "bare", "validate", "--changed", "--upload-pack=x"), 2, "name a commit or branch")


def test_new_refuses_names_that_are_none_taken_or_unknown(root: Path) -> None:
    before = files_of(root)
    refused(harness_here(root, "new", "../evil"), 2, "'../evil' is not a name", "a lower-case letter")
    refused(harness_here(root, "new", "Good"), 2, "is not a name for a submission")
    refused(harness_here(root, "new", "good"), 2, "already exists; choose another name")
    refused(harness_here(root, "new", "x", "--like", "nope"), 2, "no submission 'nope'; there are: broken, good, lossy")
    assert files_of(root) == before


@pytest.mark.parametrize("command", ["list", "validate", "run", "all", "leaderboard"])
def test_without_submissions_every_command_says_what_to_do(tmp_path: Path, command: str) -> None:
    refused(harness_here(tmp_path, command), 2, "no folder", "-C DIR")
    (tmp_path / "submissions").mkdir()
    refused(harness_here(tmp_path, command), 2, f"holds no folder; start one with `harness -C {tmp_path} new NAME`")
    assert [path.name for path in tmp_path.iterdir()] == ["submissions"]


def test_a_command_that_a_message_names_can_be_typed_as_it_stands(tmp_path: Path) -> None:
    root = tmp_path / "our class"
    (root / "submissions").mkdir(parents=True)
    told = harness(root, "new", "one").stdout
    named = [shlex.split(command) for command in re.findall("`([^`]+)`", told)]
    assert named == [["harness", "-C", str(root), verb, "one"] for verb in ("validate", "run")]
    inside = [sys.executable, "-m", "harness", "new", "two"]
    told = subprocess.run(inside, cwd=root, check=True, capture_output=True, text=True).stdout
    assert re.findall("`([^`]+)`", told) == ["harness validate two", "harness run two"]


def test_the_version_comes_with_the_fingerprint_that_records_hold(root: Path) -> None:
    told = harness(root, "--version")
    version, fingerprint = re.fullmatch(r"harness (\S+), fingerprint (\S+)\n", told.stdout).groups()  # type: ignore[union-attr]
    assert version == metadata.version("addition-harness")
    assert fingerprint == record_of(root, "good").fingerprints.harness


def test_unknown_names_tracks_and_folders_are_answered_with_those_there_are(root: Path) -> None:
    refused(harness_here(root, "run", "nope"), 2, "no submission 'nope'; there are: broken, good, lossy")
    refused(harness_here(root, "validate", "nope", "nil"), 2, "no submissions 'nope', 'nil'")
    refused(harness_here(root, "show", "nope"), 2, "no submission 'nope'")
    refused(harness_here(root, "run", "-t", "nope"), 2, "no track 'nope'; built in: ", ", ".join(built_in_names()))
    refused(harness_here(root, "run", "-t", "quik"), 2, "no track 'quik'; built in: ", "; did you mean 'quick'?")
    refused(harness_here(root, "run", "-t", "nope.yaml"), 2, "no track file at nope.yaml")
    refused(harness_here(root / "nowhere", "list"), 2, "there is no such folder")
    refused(harness_here(root / ("n" * 300), "list"), 2, "is too long for a path here; give a shorter one")
    refused(harness_here(root, "run", "-t", "t" * 300 + ".yaml", "-n"), 2, "is too long for a path here")


@pytest.mark.parametrize(("verb", "spelling"), [("run", "quick/"), ("cross", "./quick")])
def test_only_its_exact_name_means_a_built_in_track(tmp_path: Path, verb: str, spelling: str) -> None:
    """As a path, each of these is where `quick` would be, if it were a file here."""
    write_folder(tmp_path, "one")
    refused(
        harness_here(tmp_path, verb, "-t", spelling), 2, f"no track '{spelling}'; built in: ", "path of a .yaml file"
    )


def test_a_track_of_ones_own_is_known_by_its_name_once_it_has_records(root: Path, tmp_path: Path) -> None:
    refused(harness_here(root, "show", "good", "-t", "course"), 2, "no track 'course'")
    track = write_tiny(tmp_path / "anywhere.yaml", name="course")
    assert harness_here(root, "run", "good", "-t", str(track)).returncode == 0
    track.unlink()
    assert (
        harness_here(root, "run", "good", "-t", "course").stderr == "track course: nothing to run, 1 trial up to date\n"
    )
    assert "\ncourse, " in harness_here(root, "show", "good", "-t", "course").stdout
    refused(
        harness_here(root, "show", "good", "-t", "corse"),
        2,
        "no track 'corse'",
        "; with results here: 'course'; did you mean 'course'?",
    )
    (root / "results" / "course").rename(root / "results" / "other")
    refused(
        harness_here(root, "show", "good", "-t", "other"), 2, "defines a track of another name, course; give the path"
    )
    refused(harness_here(root, "show", "good", "-t", "x" * 300), 2, "no track 'xxx")


@pytest.mark.parametrize(
    ("name", "tag", "reviews"),
    [("pairs of digits, interleaved", "positional", []), ("binary", "re-encoding", ["T55", "T57"])],
)
def test_a_record_says_what_kind_of_writing_a_format_is_even_where_its_own_digits_are_too_few_to_tell(
    tmp_path: Path, name: str, tag: str, reviews: list[str]
) -> None:
    """And what is to be reviewed, once, though the audits before the trial and those inside it both find it."""
    submission_of(tmp_path, HONEST[name])
    track = write_tiny(tmp_path / "two.yaml", name="two", digits=[2])
    assert harness_here(tmp_path, "run", "-t", str(track)).returncode == 0
    (path,) = (tmp_path / "results" / "two").glob("*/d2-s0.json")
    record = read(path)
    assert isinstance(record, Record), record
    assert [audit.seen for audit in record.audits if audit.level == "tag"] == [tag]
    assert sorted(audit.rule for audit in record.audits if audit.level != "tag") == reviews


def test_words_and_seeds_of_a_track_may_change_and_its_results_follow_without_a_trial(tmp_path: Path) -> None:
    write_folder(tmp_path, "one")
    track = write_tiny(tmp_path / "course.yaml", name="course", seeds=[0, 1])
    assert harness_here(tmp_path, "all", "-t", str(track), "-j", "1").returncode == 0
    assert "seeds 0, 1)" in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    write_tiny(track, name="course", seeds=[1], summary="In other words.")
    result = harness_here(tmp_path, "all", "-t", str(track))
    assert "nothing to run, 1 trial up to date" in result.stderr
    board = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "seeds 1)" in board
    assert "In other words." in board


@pytest.mark.parametrize("command", ["frobnicate", "run --fast"])
def test_a_wrong_flag_or_verb_is_a_usage_error(tmp_path: Path, command: str) -> None:
    result = harness(tmp_path, *command.split())
    assert (result.returncode, result.stdout) == (2, "")
    assert command.split()[-1] in result.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("run -j two", "-j: 'two' should be a whole number"),
        ("run -j 0", "-j: '0' should be greater than or equal to 1"),
        ("run --device tpu", "--device: 'tpu' is not one of 'auto', 'cpu', 'cuda'"),
        ("schema foo", "of: 'foo' is not one of 'record', 'submission', 'track'"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_told_with_those_it_can(tmp_path: Path, command: str, told: str) -> None:
    refused(harness_here(tmp_path, *command.split()), 2, f"harness: {told}\n")


@pytest.mark.parametrize(
    ("command", "told", "instead"),
    [
        (
            "all mine",
            "extra argument(s) (mine); `all` runs every folder; for one: `harness",
            "run NAME`, then `harness",
        ),
        ("run --seed 5", "No such option: --seed; seeds, digits and epochs belong to the track", "--track my.yaml"),
        ("leaderboard -t quick", "No such option: -t; it renders every track that has results\n", ""),
    ],
)
def test_what_another_verb_or_a_file_would_take_is_told_with_where_it_belongs(
    tmp_path: Path, command: str, told: str, instead: str
) -> None:
    refused(harness_here(tmp_path, *command.split()), 2, told, instead)


BAD_TRACKS = {
    "no digits": ({"digits": [0]}, "`digits.0`", "greater than or equal to 1"),
    "negative epochs": ({"training": {"problems": 64, "epochs": -1}}, "`training.epochs`", "got -1"),
    "a billion problems": ({"training": {"problems": 10**9, "epochs": 1}}, "`training.problems`", "1000000"),
    "a built-in's name": ({"name": "smoke"}, "taken by a built-in track; choose another `name`"),
    "an unknown key": ({"optimizer": "sgd"}, "unknown key `optimizer`; allowed: name, "),
}


@pytest.mark.parametrize("case", BAD_TRACKS)
def test_an_impossible_track_is_refused_before_anything_runs(root: Path, tmp_path: Path, case: str) -> None:
    changes, *expected = BAD_TRACKS[case]
    before = files_of(root)
    result = harness_here(root, "run", "good", "-t", str(write_tiny(tmp_path / "bad.yaml", **changes)))
    refused(result, 2, "bad.yaml: ", *expected)
    assert files_of(root) == before


def test_a_gpu_that_is_not_there_is_said_once_and_nothing_changes(root: Path) -> None:
    before = files_of(root)
    command = ("run", "good", "lossy", "-t", "smoke", "--rerun", "all", "--device", "cuda")
    result = harness(root, *command, CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 4
    assert result.stderr.count("--device cuda, but torch sees no CUDA device here; use --device cpu, or auto") == 1
    assert files_of(root) == before


@pytest.mark.parametrize("place", ["results", "results/smoke/one"])
def test_results_that_cannot_be_written_are_refused_before_the_audits(place: str, tmp_path: Path) -> None:
    write_folder(tmp_path, "one")
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("in the way", encoding="utf-8")
    result = harness_here(tmp_path, "run", "-t", "smoke")
    assert result.returncode == 4
    planned, refusal = result.stderr.splitlines()
    assert planned == "track smoke: 1 trial to run, 0 up to date"
    assert refusal.startswith(f"harness: {tmp_path / place}")
    assert " cannot be written: " in refusal
    assert (tmp_path / place).read_text(encoding="utf-8") == "in the way"


def test_a_disk_that_fills_up_loses_no_old_record(tiny: Path) -> None:
    before = files_of(tiny)
    limited = (
        # More than a submission's file, which its host writes down first, and less than a record.
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500));"
        "sys.argv[0] = 'harness'; runpy.run_module('harness', run_name='__main__')"
    )
    arguments = ["-C", str(tiny), "run", "one", "-t", str(tiny / "tiny.yaml"), "--rerun", "all"]
    result = subprocess.run([sys.executable, "-B", "-c", limited, *arguments], capture_output=True, text=True)
    assert result.returncode == 4, result.stderr
    assert "could not be written: File too large" in result.stderr.splitlines()[-1]
    assert files_of(tiny) == before


def test_a_trial_that_its_audits_refuse_is_told_as_refused_and_ends_run_incomplete(tmp_path: Path) -> None:
    published = 'import sys\nif "999999+999999=" not in sys._getframe(1).f_locals["texts"]:\n    return plain\n'
    submission_of(tmp_path, published + SUM)
    evaluation = {"fresh": 200, "test": 200, "curve": 8, "curve_points": 1}
    track = str(write_tiny(tmp_path / "tiny.yaml", digits=[6], evaluation=evaluation))
    first = harness_here(tmp_path, "run", "-t", track)
    assert first.returncode == 3, first.stderr
    assert re.search(r"\[1/1\] cheat d6-s0: refused: .*T70: ", first.stderr)
    again = harness_here(tmp_path, "run", "-t", track)
    assert again.returncode == 3
    assert "0 trials to run, 0 up to date, 1 failed or refused before" in again.stderr


def test_a_training_that_diverges_is_a_trial_with_a_bad_score(tmp_path: Path) -> None:
    """The gradient of a square root at 0 is infinite, and the weights are not numbers from the first step on."""
    write_folder(
        tmp_path,
        "diverging",
        forward="place = torch.arange(length, dtype=torch.float32)\n"
        "distance = (place[:, None] - place).abs() * self.table[:1].square().mean()\n"
        "return Terms(embedding=self.table[None, :length], bias=-distance.sqrt()[None, None])",
    )
    result = harness_here(tmp_path, "run", "-t", str(write_tiny(tmp_path / "tiny.yaml")))
    assert result.returncode == 0, result.stderr
    record = record_of(tmp_path, "diverging", "tiny", 1)
    assert record.curve[-1].loss is None
    assert record.drift is not None
    assert record.drift.touched is None
    assert (
        "rows of the table trained"
        in harness_here(tmp_path, "show", "diverging", "-t", str(tmp_path / "tiny.yaml")).stdout
    )


def test_what_breaks_a_rule_is_not_trained_by_run_either(tmp_path: Path) -> None:
    """Its record would rank: most rules are asked before a trial, not in it."""
    write_folder(
        tmp_path, "adds", encode="return [len(text) % 12] if '+' in text else " + ENCODE.removeprefix("return ")
    )
    result = harness_here(tmp_path, "run", "-t", str(write_tiny(tmp_path / "tiny.yaml")))
    assert result.returncode == 3, result.stderr
    record = record_of(tmp_path, "adds", "tiny", 1)
    assert (record.status, (record.reason or "")[:3]) == ("failed", "T40")


@pytest.mark.parametrize("arguments", ["--help", "list", "run --help", "run -n", "show good", "leaderboard --check"])
def test_a_quick_answer_never_loads_torch(root: Path, arguments: str) -> None:
    code = (
        "import sys\nfrom harness.cli import main\ntry:\n    main()\n"
        "finally:\n    print('torch' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "-C", str(root), *arguments.split()]
    result = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1] == "False"


def test_schemas_accept_what_the_harness_writes(root: Path) -> None:
    for of in ("record", "submission", "track"):
        schema = json.loads(harness_here(root, "schema", of).stdout)
        assert schema["additionalProperties"] is False
    record = json.loads((root / "results" / "smoke" / "good" / "d2-s0.json").read_text(encoding="utf-8"))
    schema = json.loads(harness_here(root, "schema").stdout)
    assert set(record) == set(schema["properties"])
    assert set(schema["required"]) <= set(record)


@pytest.mark.parametrize("option", [["-C", "."], ["--trust-submissions"]])
def test_an_option_that_belongs_before_the_verb_is_told_where_it_stands(option: list[str], tmp_path: Path) -> None:
    refused(
        harness_here(tmp_path, "list", *option), 2, f"{option[0]} stands before the verb: harness {option[0]} … list"
    )


def test_help_has_a_short_form_and_rules_are_found_in_small_letters(tmp_path: Path) -> None:
    assert harness(tmp_path, "list", "-h").stdout == harness(tmp_path, "list", "--help").stdout != ""
    assert harness(tmp_path, "explain", "t00").stdout == harness(tmp_path, "explain", "T00").stdout != ""


def test_a_reader_that_leaves_early_is_no_error(root: Path) -> None:
    command = [sys.executable, "-m", "harness", "-C", str(root), "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
