"""`harness doctor`: every check is made, and what is missing is named."""

import re
import shutil
import tomllib
from pathlib import Path

from bad_folders import write_folder
from commands import harness

ROOT = Path(__file__).parent.parent


def test_doctor_tries_everything_and_names_what_is_missing(tmp_path: Path) -> None:
    result = harness(tmp_path, "doctor")
    assert result.returncode == 4
    assert "encodes 46 as 2 ids" in result.stdout
    ill = [line for line in result.stdout.splitlines() if not line.startswith("ok ")]
    assert len(ill) == 1
    assert ill[0].startswith("PROBLEM submissions  no folder")


def test_doctor_names_every_package_that_the_harness_needs_and_does_without_git(tmp_path: Path) -> None:
    write_folder(tmp_path, "one")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bwrap").symlink_to(shutil.which("bwrap") or "/nowhere")
    result = harness(tmp_path, "doctor", PATH=str(tmp_path / "bin"))
    assert result.returncode == 0, result.stdout
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (packages,) = [line for line in result.stdout.splitlines() if line.startswith("ok      packages")]
    assert [entry.split()[0] for entry in packages.removeprefix("ok      packages     ").split(", ")] == [
        re.split("[<>=]", line)[0] for line in needed
    ]
