"""What a workflow takes out of a stranger's pull request, on real commits: one folder of regular files, or nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import git

from harness.submissions import MAX_FILES, MAX_FOLDER_BYTES, NAME

SCRIPT = Path(__file__).parents[1] / ".github" / "take_submission.py"


class Request:
    """A clone with a base commit of two submissions, and a checkout of that base where the script runs."""

    def __init__(self, root: Path) -> None:
        self.clone, self.checkout = root / "clone", root / "checkout"
        for name in ("mine", "other"):
            self.write(f"submissions/{name}/submission.py", f"# {name}\n")
        self.write("harness/trial.py", "# ours\n")
        git(self.clone, "init", "-q", "-b", "main")
        self.commit()
        subprocess.run(["git", "clone", "-q", self.clone, self.checkout], check=True)
        git(self.clone, "switch", "-q", "-c", "request")

    def commit(self) -> None:
        git(self.clone, "add", "-A")
        git(self.clone, "commit", "-q", "-m", "x")

    def write(self, path: str, content: str) -> None:
        target = self.clone / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)

    def take(self) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, SCRIPT, "main", "request", "--repository", self.clone]
        return subprocess.run(command, cwd=self.checkout, capture_output=True, text=True)

    def taken(self) -> dict[str, str]:
        """What lies in the checkout's `submissions/` now, by path."""
        folder = self.checkout / "submissions"
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}

    def refusal(self) -> str:
        """The lines of a request that is refused; nothing in the checkout has changed."""
        done = self.take()
        assert (done.returncode, done.stdout) == (1, "")
        assert self.taken() == {"mine/submission.py": "# mine\n", "other/submission.py": "# other\n"}
        assert "Traceback" not in done.stderr
        return done.stderr.strip()


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return Request(tmp_path)


def test_a_new_folder_is_written_beside_the_others_and_named(request_: Request) -> None:
    request_.write("submissions/new_idea/submission.py", "x = 1\n")
    request_.write("submissions/new_idea/parts/table.txt", "1 2 3\n")
    request_.commit()
    done = request_.take()
    assert (done.returncode, done.stdout) == (0, "name=new_idea\nexisting=false\n")
    assert request_.taken() == {
        "mine/submission.py": "# mine\n",
        "other/submission.py": "# other\n",
        "new_idea/submission.py": "x = 1\n",
        "new_idea/parts/table.txt": "1 2 3\n",
    }


def test_a_changed_folder_is_said_to_exist_and_replaces_the_old_one_whole(request_: Request) -> None:
    git(request_.clone, "mv", "submissions/mine/submission.py", "submissions/mine/code.py")
    request_.commit()
    assert request_.take().stdout == "name=mine\nexisting=true\n"
    assert request_.taken() == {"mine/code.py": "# mine\n", "other/submission.py": "# other\n"}


def test_what_the_base_branch_did_meanwhile_is_no_part_of_the_request(request_: Request) -> None:
    request_.write("submissions/mine/submission.py", "# better\n")
    request_.commit()
    git(request_.clone, "switch", "-q", "main")
    request_.write("harness/trial.py", "# newer\n")
    request_.commit()
    git(request_.clone, "switch", "-q", "request")
    assert request_.take().stdout == "name=mine\nexisting=true\n"


def test_what_lies_in_the_clones_work_tree_is_not_looked_at(request_: Request) -> None:
    request_.write("submissions/mine/submission.py", "# committed\n")
    request_.commit()
    request_.write("submissions/mine/submission.py", "# not committed\n")
    assert request_.take().returncode == 0
    assert request_.taken()["mine/submission.py"] == "# committed\n"


@pytest.mark.parametrize(
    "path",
    [
        "harness/trial.py",
        "results/quick/mine/d2-s0.json",
        ".github/workflows/ci.yml",
        "submissions/README.md",
        "leaderboard.md",
    ],
)
def test_a_request_that_touches_anything_else_is_refused(request_: Request, path: str) -> None:
    request_.write("submissions/mine/submission.py", "# better\n")
    request_.write(path, "{}\n")
    request_.commit()
    assert request_.refusal() == f"{path!r} is no file of a folder of submissions/; send the folder only"


@pytest.mark.parametrize("path", ["submissions/Bad/submission.py", "submissions/a-b/submission.py"])
def test_a_folder_whose_name_breaks_the_rule_is_told_the_rule(request_: Request, path: str) -> None:
    request_.write(path, "{}\n")
    request_.commit()
    assert "its name is to be a lower-case letter and up to 39 of a-z, 0-9 and _" in request_.refusal()


@pytest.mark.parametrize(
    "path",
    [
        ".gitattributes",
        "parts/.hidden/table.txt",
        "__pycache__/submission.cpython-311.pyc",
        "parts/__pycache__/table.txt",
        "submission.pyc",
        "parts/submission.pyo",
    ],
)
def test_hidden_files_and_byte_code_are_refused(request_: Request, path: str) -> None:
    request_.write("submissions/mine/submission.py", "# better\n")
    request_.write(f"submissions/mine/{path}", "x\n")
    request_.commit()
    assert request_.refusal() == (
        f"'submissions/mine/{path}' is hidden or byte code, which the harness never reads; take it out of the request"
    )


def test_a_repository_inside_the_folder_is_refused(request_: Request) -> None:
    """Git itself would add none, so the trees are written by hand."""
    blob = git(request_.clone, "hash-object", "-w", "harness/trial.py")
    inside = tree(request_, entry("100644", "config", blob))
    mine = tree(request_, entry("40000", ".git", inside), entry("100644", "submission.py", blob))
    commit_of_mine(request_, mine)
    assert request_.refusal().startswith("'submissions/mine/.git/config' is hidden or byte code,")


def test_unrelated_histories_are_refused(request_: Request) -> None:
    git(request_.clone, "switch", "-q", "--orphan", "stranger")
    request_.write("submissions/mine/submission.py", "# better\n")
    request_.commit()
    git(request_.clone, "branch", "-q", "-f", "request")
    assert request_.refusal() == (
        "request has no commit in common with main; branch off the base branch, and add the folder there"
    )


def test_two_folders_in_one_request_are_refused(request_: Request) -> None:
    for name in ("mine", "other"):
        request_.write(f"submissions/{name}/submission.py", "# better\n")
    request_.commit()
    assert request_.refusal() == "2 submissions change, mine, other; send one at a time"


def test_a_file_moved_out_of_another_folder_counts_for_both(request_: Request) -> None:
    (request_.clone / "submissions" / "new").mkdir()
    git(request_.clone, "mv", "submissions/other/submission.py", "submissions/new/submission.py")
    request_.commit()
    assert request_.refusal() == "2 submissions change, new, other; send one at a time"


def test_an_empty_request_is_refused(request_: Request) -> None:
    assert request_.refusal() == "the request changes nothing"


def test_a_removed_folder_is_refused(request_: Request) -> None:
    git(request_.clone, "rm", "-q", "-r", "submissions/mine")
    request_.commit()
    assert request_.refusal().startswith("submissions/mine is removed;")


def test_symbolic_links_and_submodules_are_refused(request_: Request) -> None:
    (request_.clone / "submissions" / "mine" / "key.txt").symlink_to("/etc/hostname")
    git(request_.clone, "add", "-A")
    commit = git(request_.clone, "rev-parse", "HEAD")
    git(request_.clone, "update-index", "--add", "--cacheinfo", f"160000,{commit},submissions/mine/module")
    git(request_.clone, "commit", "-q", "-m", "x")
    assert request_.refusal().splitlines() == [
        "'submissions/mine/key.txt' is not a regular file; symbolic links and submodules are not taken",
        "'submissions/mine/module' is not a regular file; symbolic links and submodules are not taken",
    ]


def test_a_tree_whose_paths_would_leave_the_folder_is_refused(request_: Request) -> None:
    blob = git(request_.clone, "hash-object", "-w", "harness/trial.py")

    outside = tree(request_, entry("100644", "trial.py", blob))
    mine = tree(request_, entry("40000", "..", outside), entry("100644", "a\nb", blob))
    top = tree(request_, entry("40000", "submissions", tree(request_, entry("40000", "mine", mine))))
    commit = git(request_.clone, "commit-tree", top, "-p", "main", "-m", "x")
    git(request_.clone, "update-ref", "refs/heads/request", commit)
    refusal = request_.refusal()
    assert "'harness/trial.py' is no file of a folder of submissions/" in refusal
    commit_of_mine(request_, mine)
    assert request_.refusal().splitlines() == [
        "'submissions/mine/../trial.py' is not a name for a file; use letters, digits and _",
        r"'submissions/mine/a\nb' is not a name for a file; use letters, digits and _",
    ]


def tree(request_: Request, *entries: bytes) -> str:
    """The id of a tree that git itself might refuse to write."""
    command = ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
    done = subprocess.run(command, cwd=request_.clone, input=b"".join(entries), capture_output=True, check=True)
    return done.stdout.decode().strip()


def entry(mode: str, name: str, object_id: str) -> bytes:
    return f"{mode} {name}\0".encode() + bytes.fromhex(object_id)


def commit_of_mine(request_: Request, mine: str) -> None:
    """The request is the base commit with this tree as `submissions/mine`."""
    other, harness = (git(request_.clone, "rev-parse", f"main:{path}") for path in ("submissions/other", "harness"))
    submissions = tree(request_, entry("40000", "mine", mine), entry("40000", "other", other))
    top = tree(request_, entry("40000", "harness", harness), entry("40000", "submissions", submissions))
    commit = git(request_.clone, "commit-tree", top, "-p", "main", "-m", "x")
    git(request_.clone, "update-ref", "refs/heads/request", commit)


def test_too_many_or_too_large_files_are_refused_before_any_is_read(request_: Request) -> None:
    request_.write("submissions/mine/large.txt", "x" * (MAX_FOLDER_BYTES + 1))
    request_.commit()
    assert f"{MAX_FILES} files and {MAX_FOLDER_BYTES} bytes are allowed" in request_.refusal()


def test_its_limits_are_those_of_the_harness() -> None:
    text = SCRIPT.read_text()
    assert f'NAME = re.compile(r"{NAME.pattern}")' in text
    assert f"MAX_FILES = {MAX_FILES}\n" in text
    assert f"MAX_BYTES = {MAX_FOLDER_BYTES // 1024} * 1024\n" in text
