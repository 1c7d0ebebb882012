"""Compared with what the kernel counts in /proc/self/smaps_rollup, in a process of its own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from harness.host.sandbox import Isolation
from harness.host.zygote import Zygote

FILLS = """
from pathlib import Path
from harness.host.huge_pages import use_huge_pages

def huge_kilobytes():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))

numbers = [str(number) for number in range(10**6)]
before = huge_kilobytes()
use_huge_pages()
print(huge_kilobytes() - before, sum(map(int, numbers)))
"""

MAPS = """
import mmap, sys
from pathlib import Path
from harness.host.huge_pages import use_huge_pages

with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 1, prot=mmap.PROT_READ):
    use_huge_pages()
    sys.stdout.buffer.write(Path("/proc/self/maps").read_bytes())
"""


def huge_kilobytes(process_id: int) -> int:
    lines = Path(f"/proc/{process_id}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))


def _kernel() -> tuple[int, ...]:
    return tuple(map(int, platform.release().split(".")[:2])) if sys.platform == "linux" else (0,)


pytestmark = [
    pytest.mark.skipif(_kernel() < (6, 1), reason="MADV_COLLAPSE is of Linux 6.1"),
    pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").is_dir(), reason="no huge pages here"),
]


def test_what_a_process_has_made_lies_in_huge_pages_and_is_unchanged() -> None:
    ended = subprocess.run([sys.executable, "-c", FILLS], capture_output=True, text=True, check=True)
    gained, total = map(int, ended.stdout.split())
    assert gained > 30_000, "of the 60 MB that a million small texts take"
    assert total == sum(range(10**6))


def test_a_library_may_lie_in_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    library = Path(os.fsdecode(bytes(tmp_path / "lib") + b"\xff\xc2\x85"))
    library.write_bytes(b"x")
    ended = subprocess.run([sys.executable, "-c", MAPS, library], capture_output=True, check=True)
    assert bytes(library) in ended.stdout


def test_a_zygote_lies_in_huge_pages_when_it_starts_its_first_host() -> None:
    zygote = Zygote(0, Isolation.NONE, exports=False)
    try:
        assert zygote.exit_code(2**22) is None, "no child of its own; it answers once it has loaded what hosts need"
        assert huge_kilobytes(zygote._process.pid) > 30_000
    finally:
        zygote.close()
