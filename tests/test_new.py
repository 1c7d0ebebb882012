"""What `harness new` writes: a folder that can be read as it stands."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gallery import NAMES

from harness.commands.new import TEMPLATE, borrowed_parts, start_submission
from harness.errors import MachineError, UsageError
from harness.submissions import Submission, read_folder, select


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "submissions").mkdir()
    return tmp_path


def started(root: Path, name: str, like: str | None = None) -> Submission:
    found = read_folder(start_submission(root, name, like))
    assert isinstance(found, Submission), found
    return found


@pytest.mark.parametrize("name", ["carry_first", "null", "true", "no", "e5"])
def test_a_new_folder_is_a_submission_titled_by_its_name(root, name):
    assert started(root, name).manifest.title == name.replace("_", " ").capitalize()


def test_a_new_folder_holds_the_template_and_nothing_else(root):
    folder = started(root, "one").folder
    expected = {path.name for path in TEMPLATE.iterdir() if path.name != "__pycache__"}
    assert {path.name for path in folder.iterdir()} == expected


def test_a_copy_differs_from_its_original_in_the_title_alone(root):
    original = started(root, "one").folder
    (original / "submission.py").write_text("# mine\n")
    (original / "__pycache__").mkdir()
    copy = started(root, "two", like="one").folder
    assert (copy / "submission.py").read_text() == "# mine\n"
    assert not (copy / "__pycache__").exists()
    lines = zip(*[(folder / "submission.yaml").read_text().splitlines() for folder in (original, copy)], strict=True)
    assert [pair for pair in lines if pair[0] != pair[1]] == [("title: One", "title: Two")]


@pytest.mark.parametrize(
    "title",
    [
        "plain words",
        "folded\n  over two lines",
        '"quoted: with\n  a colon"',
        "'it''s'",
        ">-\n  a folded\n  block",
        "|-\n  a block",
    ],
)
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_copy_has_a_title_of_its_own_however_the_originals_is_written(root, title, place):
    original = started(root, "one").folder / "submission.yaml"
    others = [line for line in original.read_text().splitlines() if not line.startswith("title:")]
    lines = [f"title: {title}", *others] if place == "first" else [*others, f"title: {title}"]
    original.write_text("\n".join(lines) + "\n")
    copy = started(root, "two", like="one")
    assert copy.manifest.title == "Two"
    assert [line for line in others if line not in (copy.folder / "submission.yaml").read_text().splitlines()] == []


def test_a_copy_of_any_worked_submission_is_the_same_but_for_its_name(tmp_path):
    shutil.copytree(Path(__file__).parents[1] / "submissions", tmp_path / "submissions")
    for name in NAMES:
        copy = started(tmp_path, f"my_{name}"[:40], like=name)
        original = read_folder(tmp_path / "submissions" / name)
        assert isinstance(original, Submission)
        assert copy.fingerprint == original.fingerprint


def test_parts_that_stay_borrowed_are_named_with_what_to_do(root):
    lender = started(root, "lender")
    manifest = lender.folder / "submission.yaml"
    started(root, "own")
    borrower = started(root, "borrower").folder
    (borrower / "submission.yaml").write_text(manifest.read_text().replace("positions: ", "positions: lender/"))
    copy = started(root, "copy", like="borrower")
    (line,) = borrowed_parts(copy)
    assert line.startswith("its positions, LearnedPositions, is borrowed from submissions/lender/: to change it, copy")
    assert borrowed_parts(lender) == []
    # What it says, to the letter, overwrites nothing and makes the class one's own.
    words = re.fullmatch(r".* copy (\S+) from there to (\S+) here and write `(positions: \S+)` in .*", line)
    assert words is not None
    assert not (copy.folder / words[2]).exists()
    shutil.copy(lender.folder / words[1], copy.folder / words[2])
    manifest = copy.folder / "submission.yaml"
    manifest.write_text(re.sub("^positions:.*$", words[3], manifest.read_text(), flags=re.M))
    own = read_folder(copy.folder)
    assert isinstance(own, Submission)
    assert borrowed_parts(own) == []
    assert own.positions.class_name == "LearnedPositions"


def test_a_copy_is_not_signed_by_those_who_wrote_the_original(root):
    original = started(root, "one").folder / "submission.yaml"
    original.write_text(re.sub("^authors:.*$", "authors:\n- Grace\n- Edsger", original.read_text(), flags=re.M))
    assert started(root, "two", like="one").manifest.authors == ["My name"]


def test_a_broken_original_is_refused_with_its_reason_and_nothing_is_written(root):
    folder = started(root, "one").folder
    (folder / "submission.yaml").write_text("title: [\n")
    with pytest.raises(UsageError, match=r"submissions/one: T00: submission.yaml: .*; fix it, or start from another"):
        start_submission(root, "two", "one")
    assert not (root / "submissions" / "two").exists()


@pytest.mark.parametrize("name", ["Upper", "a-b", "../out", "", "x" * 41, "a/b"])
def test_a_name_that_is_none_is_refused_and_nothing_is_written(root, name):
    with pytest.raises(UsageError, match="is not a name for a submission; use a lower-case letter"):
        start_submission(root, name, None)
    assert not list((root / "submissions").iterdir())


def test_a_name_that_is_none_is_answered_with_one_that_is(root):
    with pytest.raises(UsageError, match=r"'My-Idé' is not a name .* and _; my_ide would do$"):
        start_submission(root, "My-Idé", None)


def test_a_name_may_be_given_as_a_shell_completes_it(root):
    assert started(root, "submissions/one/").name == "one"


def test_inside_the_folder_of_submissions_it_is_said_where_to_run_instead(root):
    where = f"a folder of submissions; run in {root}, or name that with -C"
    with pytest.raises(UsageError, match=f"is itself {where}"):
        start_submission(root / "submissions", "mine", None)
    for folder in (started(root, "one").folder, root / "submissions" / "empty" / "deeper"):
        folder.mkdir(parents=True, exist_ok=True)
        with pytest.raises(UsageError, match=f"is inside {where}"):
            start_submission(folder, "mine", None)
    assert not list(root.glob("submissions/**/submissions"))


def test_a_class_may_lie_in_a_folder_that_is_called_submissions_and_holds_none(tmp_path):
    root = tmp_path / "submissions" / "our-class"
    root.mkdir(parents=True)
    assert started(root, "one").folder == root / "submissions" / "one"


def test_a_name_that_is_taken_is_refused_and_the_folder_is_left_alone(root):
    folder = started(root, "one").folder
    (folder / "submission.py").write_text("# mine\n")
    with pytest.raises(UsageError, match="already exists; choose another name, or edit it"):
        start_submission(root, "one", None)
    assert (folder / "submission.py").read_text() == "# mine\n"


def test_a_folder_that_somebody_makes_at_the_same_time_is_left_alone(root, monkeypatch):
    """The other makes it at the last moment: when the original has been found, and nothing is copied yet."""
    started(root, "one")

    def found_late(*arguments):
        (root / "submissions" / "two").mkdir()
        (root / "submissions" / "two" / "submission.py").write_text("# another's\n")
        return select(*arguments)

    monkeypatch.setattr("harness.commands.new.select", found_late)
    with pytest.raises(UsageError, match="already exists; choose another name, or edit it"):
        start_submission(root, "two", "one")
    assert (root / "submissions" / "two" / "submission.py").read_text() == "# another's\n"


def test_an_original_that_is_none_is_refused_with_those_there_are_or_with_what_it_lacks(root):
    started(root, "one")
    with pytest.raises(UsageError, match=r"no submission 'on'; did you mean one\? there are: one"):
        start_submission(root, "two", "on")
    (root / "submissions" / "empty").mkdir()
    with pytest.raises(UsageError, match=r"submissions/empty: T00: holds no submission\.yaml; .*; fix it, or start"):
        start_submission(root, "two", "empty")
    assert not (root / "submissions" / "two").exists()


def test_an_original_may_be_given_as_a_shell_completes_it(root):
    started(root, "one")
    assert started(root, "two", like="submissions/one/").name == "two"


def test_hidden_files_stay_behind(root):
    original = started(root, "one").folder
    (original / ".DS_Store").write_bytes(b"\x00")
    (original / ".ipynb_checkpoints").mkdir()
    copy = started(root, "two", "one").folder
    assert not [path for path in copy.iterdir() if path.name.startswith(".")]


def test_half_a_copy_is_taken_away_and_the_reason_told(root):
    """A limit on the size of files stands in for a disk that is full."""
    started(root, "one")
    limited = (
        "import resource, sys; from pathlib import Path; from harness.commands.new import start_submission\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)); start_submission(Path(sys.argv[1]), 'two', 'one')"
    )
    result = subprocess.run([sys.executable, "-B", "-c", limited, str(root)], capture_output=True, text=True)
    last = result.stderr.splitlines()[-1]
    assert re.search(
        r"MachineError: .*two could not be written: .*File too large.*; make room, or make .* a folder that you may",
        last,
    )
    assert not (root / "submissions" / "two").exists()


def test_where_nothing_can_be_written_the_machine_is_blamed(tmp_path):
    (tmp_path / "submissions").write_text("a file where a folder is needed")
    with pytest.raises(MachineError, match=r"could not be written: Not a directory; make room, or make .* a folder"):
        start_submission(tmp_path, "one", None)
