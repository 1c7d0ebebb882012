"""Which folders a change touched, against git itself."""

import os
from pathlib import Path

import pytest
from commands import git
from made_records import make_submission

from harness.commands.changes import changed_since
from harness.errors import UsageError
from harness.submissions import discover


class Checkout:
    """A git repository with a commit of three submissions on `main`, and a branch."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("a", "b", "c"):
            make_submission(root, name)
            (root / "submissions" / name / "submission.py").write_text(f"# {name}\n" * 20)
        git(self.root, "init", "-q", "-b", "main")
        self.commit()
        git(self.root, "switch", "-q", "-c", "branch")

    def commit(self) -> None:
        git(self.root, "add", "-A")
        git(self.root, "commit", "-q", "-m", "x")

    def write(self, path: str, content: str = "# changed\n") -> None:
        target = self.root / "submissions" / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(content)

    def changed(self, ref: str = "main") -> list[str]:
        return [entry.name for entry in changed_since(self.root, ref, discover(self.root))]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_nothing_changed_on_a_branch_that_only_began(checkout):
    assert checkout.changed() == []


def test_committed_staged_unstaged_and_untracked_changes_all_count(checkout):
    checkout.write("a/submission.py")
    checkout.commit()
    assert checkout.changed() == ["a"]
    checkout.write("b/submission.py")
    assert checkout.changed() == ["a", "b"]
    git(checkout.root, "add", "-A")
    assert checkout.changed() == ["a", "b"]
    checkout.write("c/notes.md")
    assert checkout.changed() == ["a", "b", "c"]


def test_a_change_counts_for_those_who_borrow_from_the_folder_too(checkout):
    manifest = (checkout.root / "submissions" / "b" / "submission.yaml").read_text()
    checkout.write("b/submission.yaml", manifest + "tokenizer: a/submission:Tokenizer\n")
    checkout.commit()
    git(checkout.root, "branch", "-f", "main")
    checkout.write("a/README.md")
    assert checkout.changed() == ["a"]  # nothing of b
    checkout.write("a/submission.py")
    assert checkout.changed() == ["a", "b"]


@pytest.mark.parametrize("spoil", ["delete the folder", "add a file that is no text"])
def test_a_lender_that_is_no_more_changes_those_who_borrowed_from_it(checkout, spoil):
    manifest = (checkout.root / "submissions" / "b" / "submission.yaml").read_text()
    checkout.write("b/submission.yaml", manifest + "tokenizer: a/submission:Tokenizer\n")
    checkout.commit()
    git(checkout.root, "branch", "-f", "main")
    if spoil == "delete the folder":
        git(checkout.root, "rm", "-q", "-r", "submissions/a")
    else:
        (checkout.root / "submissions" / "a" / "weights.bin").write_bytes(b"\xff")
    checkout.commit()
    assert "b" in checkout.changed()


def test_what_happened_on_the_other_branch_does_not_count(checkout):
    checkout.write("a/submission.py")
    checkout.commit()
    git(checkout.root, "switch", "-q", "main")
    checkout.write("b/submission.py")
    checkout.commit()
    git(checkout.root, "switch", "-q", "branch")
    assert checkout.changed() == ["a"]


def test_a_file_that_moves_changes_the_folder_it_leaves_and_the_one_it_enters(checkout):
    git(checkout.root, "mv", "submissions/a/submission.py", "submissions/b/other.py")
    checkout.commit()
    assert checkout.changed() == ["a", "b"]


def test_a_deleted_file_changes_its_folder_and_a_deleted_folder_is_no_more(checkout):
    git(checkout.root, "rm", "-q", "submissions/a/submission.py")
    git(checkout.root, "rm", "-q", "-r", "submissions/b")
    checkout.commit()
    assert checkout.changed() == ["a"]


def test_files_elsewhere_change_no_submission(checkout):
    (checkout.root / "README.md").write_text("x")
    checkout.write("README.md")
    checkout.commit()
    assert checkout.changed() == []


@pytest.mark.parametrize("path", ["a/\u00e9.py", "a/with space.py", 'a/"quoted".py', "a/new\nline.py", "a/tab\t.py"])
def test_a_file_with_an_odd_name_changes_its_folder(checkout, path):
    checkout.write(path)
    assert checkout.changed() == ["a"]
    checkout.commit()
    assert checkout.changed() == ["a"]


@pytest.mark.parametrize("name", ["\u00e9vil", "with space", "new\nline", "Upper", "x" * 41, os.fsdecode(b"\xff")])
def test_a_folder_with_an_odd_name_does_not_slip_through(checkout, name):
    checkout.write(f"{name}/submission.py")
    shown = [entry.name for entry in discover(checkout.root) if entry.name not in ("a", "b", "c")]
    assert checkout.changed() == shown
    checkout.commit()
    assert checkout.changed() == shown
    assert len(shown) == 1


def test_a_root_below_the_top_of_the_checkout_sees_its_own_submissions(tmp_path):
    (tmp_path / "below").mkdir()
    checkout = Checkout(tmp_path / "below")
    (tmp_path / "below" / ".git").rename(tmp_path / ".git")
    git(checkout.root, "add", "-A")
    git(checkout.root, "commit", "-q", "-m", "moved below")
    git(checkout.root, "branch", "-f", "main")
    checkout.write("a/submission.py")
    checkout.write("b/notes.md")
    assert checkout.changed() == ["a", "b"]


@pytest.mark.parametrize("ref", ["nobody", "--output=stolen", "main..branch", ""])
def test_a_ref_that_is_none_is_refused_with_gits_reason(checkout, ref):
    with pytest.raises(UsageError, match=r"^--changed .*: .*; name a commit or branch of this checkout$"):
        checkout.changed(ref)
    assert not (checkout.root / "stolen").exists()


def test_a_folder_that_is_no_checkout_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match=r"is not a git checkout; name the submissions instead$"):
        changed_since(tmp_path, "main", [make_submission(tmp_path, "a")])


def test_where_there_is_no_git_the_names_are_asked_for(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="there is no git here; name the submissions instead"):
        checkout.changed()
