"""What `harness new` writes: a folder that can be read as it stands."""

from pathlib import Path

import pytest

from harness.errors import MachineError, UsageError
from harness.folders import TEMPLATE, start_submission
from harness.submissions import Submission, read_folder


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


@pytest.mark.parametrize("name", ["Upper", "a-b", "../out", "", "x" * 41, "a/b"])
def test_a_name_that_is_none_is_refused_and_nothing_is_written(root, name):
    with pytest.raises(UsageError, match="is no name for a submission; take a lower-case letter"):
        start_submission(root, name, None)
    assert not list((root / "submissions").iterdir())


def test_a_name_that_is_taken_is_refused_and_the_folder_is_left_alone(root):
    folder = started(root, "one").folder
    (folder / "submission.py").write_text("# mine\n")
    with pytest.raises(UsageError, match="is there already; choose another name, or edit it"):
        start_submission(root, "one", None)
    assert (folder / "submission.py").read_text() == "# mine\n"


def test_an_unknown_original_is_refused(root):
    with pytest.raises(UsageError, match=r"no submission 'nobody' in .*; `harness list` names them"):
        start_submission(root, "one", "nobody")


def test_where_nothing_can_be_written_the_machine_is_blamed(tmp_path):
    (tmp_path / "submissions").write_text("a file where a folder is needed")
    with pytest.raises(MachineError, match=r"could not be written: Not a directory; make .* writable"):
        start_submission(tmp_path, "one", None)
