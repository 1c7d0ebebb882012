"""Where a record says that it comes from, against git, the system and the packages themselves."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from commands import git
from made_records import make_submission, make_track

from harness import provenance
from harness.errors import SubmissionError
from harness.fingerprint import harness_fingerprint
from harness.provenance import commit_and_changes, cpu_name, failed_record, identity
from harness.records import read, save


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the module in a git checkout that has one commit without it; the module believes to be there."""
    folder = tmp_path / "checkout" / "harness"
    folder.mkdir(parents=True)
    git(folder.parent, "init", "-q")
    git(folder.parent, "commit", "-q", "--allow-empty", "-m", "x")
    shutil.copy(str(provenance.__file__), folder / "provenance.py")
    monkeypatch.setattr(provenance, "__file__", str(folder / "provenance.py"))
    commit_and_changes.cache_clear()
    yield folder
    commit_and_changes.cache_clear()


def test_the_commit_is_gits_and_a_change_of_the_code_makes_it_dirty(code):
    git(code, "add", "-A")
    git(code, "commit", "-q", "-m", "code")
    (code.parent / "results.json").write_text("beside the code")
    assert commit_and_changes() == (git(code, "rev-parse", "HEAD")[:12], False)
    commit_and_changes.cache_clear()
    (code / "provenance.py").write_text("# changed\n")
    assert commit_and_changes() == (git(code, "rev-parse", "HEAD")[:12], True)


def test_asking_git_does_not_write_its_index_which_a_commit_at_the_same_time_locks(code):
    git(code, "add", "-A")
    git(code, "commit", "-q", "-m", "code")
    os.utime(code / "provenance.py", (0, 0))  # unchanged, but git has to look, and would note that it did
    index = code.parent / ".git" / "index"
    before = index.read_bytes()
    assert commit_and_changes() == (git(code, "rev-parse", "HEAD")[:12], False)
    assert index.read_bytes() == before


@pytest.mark.parametrize("name", [b"new.py", b"new\xff.py"], ids=["ascii", "not-utf-8"])
def test_a_file_added_to_the_code_makes_it_dirty_whatever_git_is_set_to_show(code, name):
    git(code, "add", "-A")
    git(code, "commit", "-q", "-m", "code")
    git(code, "config", "core.quotePath", "false")
    git(code, "config", "status.showUntrackedFiles", "no")
    (code / os.fsdecode(name)).write_text("")
    assert commit_and_changes() == (git(code, "rev-parse", "HEAD")[:12], True)


def test_code_installed_below_somebody_elses_checkout_does_not_take_its_commit(code):
    assert git(code, "rev-parse", "HEAD")
    assert commit_and_changes() == (None, None)


def test_code_outside_of_any_checkout_has_no_commit(code, monkeypatch):
    shutil.rmtree(code.parent / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(code.parent.parent))
    assert commit_and_changes() == (None, None)


def test_where_there_is_no_git_there_is_no_commit(code, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert commit_and_changes() == (None, None)


def test_a_record_names_what_made_it(tmp_path):
    track = make_track()
    one = make_submission(tmp_path, "one", open_division=True)
    known = identity(one, track, 3, 1, device_name="Some CPU", isolation="medium")
    assert (known["submission"], known["track"], known["digits"], known["seed"]) == ("one", "mine", 3, 1)
    assert (known["division"], known["settings"]) == ("open", {"learning_rate": 0.001})
    assert known["fingerprints"].model_dump() == {
        "submission": one.fingerprint,
        "track": track.fingerprint,
        "harness": harness_fingerprint(),
    }
    environment = known["environment"]
    assert (environment.device, environment.python) == ("Some CPU", platform.python_version())
    assert environment.torch == metadata.version("torch")


def test_a_failure_is_a_record_with_the_rule_and_the_reason(tmp_path):
    error = SubmissionError("one", "T10", "ids out of range; " + "x" * 2000)
    failure = failed_record(
        make_submission(tmp_path, "one"), make_track(), 3, 0, error, device_name="Some CPU", isolation="strong"
    )
    assert (failure.status, failure.suites) == ("failed", None)
    assert failure.reason is not None
    assert failure.reason.startswith("T10: ids out of range; x")
    assert len(failure.reason) == 1000
    assert read(save(failure, tmp_path / "results")) == failure


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (
            "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel\t: 2\n\n",
            "CPU: AMD EPYC (family 25, model 1)",
        ),
        (
            "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\nHardware\t: x\n",
            f"CPU: {platform.machine()} (implementer 0x41, part 0xd0c)",
        ),
        ("processor\t: 0\nuarch\t\t: sifive,u74-mc\n\n", f"CPU: {platform.machine()}"),
    ],
)
def test_generations_of_one_product_line_have_different_names(cpuinfo, name, monkeypatch):
    monkeypatch.setattr(provenance.sys, "platform", "linux")
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: cpuinfo)
    assert cpu_name() == name


@pytest.mark.skipif(not shutil.which("lscpu") or platform.machine() != "x86_64", reason="compares with lscpu's fields")
def test_this_processor_is_called_what_the_system_calls_it():
    said = subprocess.run(["lscpu"], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}).stdout
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in said.splitlines())}
    assert cpu_name() == f"CPU: {fields['Model name']} (family {fields['CPU family']}, model {fields['Model']})"
