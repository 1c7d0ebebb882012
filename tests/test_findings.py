"""How findings are shown, and which folders a change touched, against git itself."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import make_submission

from harness.errors import UsageError
from harness.findings import changed_since, printed
from harness.submissions import discover

VERDICTS = {
    "good": [],
    "bad": [
        ("T80", "tag", "positional"),
        ("T10", "gate", "ids out of range; count your special tokens"),
        ("P30", "review", "slow"),
    ],
    "fine": [("P40", "note", "no positions")],
}


def test_text_is_a_line_a_finding_and_what_asks_for_nothing_comes_first():
    assert printed(VERDICTS, "text") == (
        "submissions/bad: T80 (tag): positional\n"
        "submissions/bad: T10 (gate): ids out of range; count your special tokens\n"
        "submissions/bad: P30 (review): slow\n"
        "submissions/fine: P40 (note): no positions\n"
    )


def test_json_says_of_every_submission_whether_it_is_valid_and_lists_the_findings():
    values = json.loads(printed(VERDICTS, "json"))
    assert values["valid"] == {"good": True, "bad": False, "fine": True}
    assert values["findings"][2] == {"submission": "bad", "rule": "P30", "level": "review", "message": "slow"}
    assert len(values["findings"]) == 4


def test_github_gets_an_annotation_of_the_right_kind_for_each_finding():
    assert printed(VERDICTS, "github") == (
        "::notice file=submissions/bad/submission.yaml,title=T80::positional\n"
        "::error file=submissions/bad/submission.yaml,title=T10::ids out of range; count your special tokens\n"
        "::warning file=submissions/bad/submission.yaml,title=P30::slow\n"
        "::notice file=submissions/fine/submission.yaml,title=P40::no positions\n"
    )


@given(st.text(), st.text())
def test_nothing_that_a_submission_writes_starts_a_line_or_a_command_of_its_own(name, message):
    verdicts = {ascii(name): [("T00", "gate", message)]}
    (line,) = re.split("[\r\n]", printed(verdicts, "github").removesuffix("\n"))
    file, _, rest = line.removeprefix("::error file=").partition(",")
    assert not {":", "\r", "\n"} & set(file)
    assert rest.startswith("title=T00::")
    (line,) = printed(verdicts, "text").removesuffix("\n").splitlines()
    assert line.isprintable()


def test_what_github_would_take_for_its_own_syntax_is_escaped():
    text = printed({"'a::b,c%'": [("T00", "gate", "50%\r\nof it")]}, "github")
    assert text == "::error file=submissions/'a%3A%3Ab%2Cc%25'/submission.yaml,title=T00::50%25%0D%0Aof it\n"


class Checkout:
    """A git repository with a commit of three submissions on `main`, and a branch."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("a", "b", "c"):
            make_submission(root, name)
            (root / "submissions" / name / "submission.py").write_text(f"# {name}\n" * 20)
        self.git("init", "-q", "-b", "main")
        self.commit()
        self.git("switch", "-q", "-c", "branch")

    def git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        subprocess.run(["git", *identity, *arguments], cwd=self.root, check=True, capture_output=True, env=environment)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x")

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
    checkout.git("add", "-A")
    assert checkout.changed() == ["a", "b"]
    checkout.write("c/notes.md")
    assert checkout.changed() == ["a", "b", "c"]


def test_a_change_counts_for_those_who_borrow_from_the_folder_too(checkout):
    manifest = (checkout.root / "submissions" / "b" / "submission.yaml").read_text()
    checkout.write("b/submission.yaml", manifest + "tokenizer: a/submission:Tokenizer\n")
    checkout.commit()
    checkout.git("branch", "-f", "main")
    checkout.write("a/submission.py")
    assert checkout.changed() == ["a", "b"]


def test_what_happened_on_the_other_branch_does_not_count(checkout):
    checkout.write("a/submission.py")
    checkout.commit()
    checkout.git("switch", "-q", "main")
    checkout.write("b/submission.py")
    checkout.commit()
    checkout.git("switch", "-q", "branch")
    assert checkout.changed() == ["a"]


def test_a_file_that_moves_changes_the_folder_it_leaves_and_the_one_it_enters(checkout):
    checkout.git("mv", "submissions/a/submission.py", "submissions/b/other.py")
    checkout.commit()
    assert checkout.changed() == ["a", "b"]


def test_a_deleted_file_changes_its_folder_and_a_deleted_folder_is_no_more(checkout):
    checkout.git("rm", "-q", "submissions/a/submission.py")
    checkout.git("rm", "-q", "-r", "submissions/b")
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
    checkout.git("add", "-A")
    checkout.git("commit", "-q", "-m", "moved below")
    checkout.git("branch", "-f", "main")
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
    with pytest.raises(UsageError, match=r"name a commit or branch of this checkout$"):
        changed_since(tmp_path, "main", [make_submission(tmp_path, "a")])


def test_where_there_is_no_git_the_names_are_asked_for(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="there is no git here; name the submissions instead"):
        checkout.changed()
