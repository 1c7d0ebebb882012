"""Files are written whole or not at all, and what the system says against it is told with a remedy."""

import threading

import pytest

from harness.errors import MachineError
from harness.files import free_name, require_writable, write_atomically


def test_who_reads_during_a_write_reads_all_of_one_version(tmp_path):
    path = tmp_path / "page.md"
    versions = {letter * 200_000 for letter in "ab"}
    write_atomically(path, min(versions))
    seen: set[str] = set()
    has_begun, done = threading.Event(), threading.Event()

    def keep_reading() -> None:
        while not done.is_set():
            seen.add(path.read_text())
            has_begun.set()

    reader = threading.Thread(target=keep_reading)
    reader.start()
    assert has_begun.wait(60)
    for _ in range(30):
        for version in versions:
            write_atomically(path, version)
    done.set()
    reader.join()
    assert seen
    assert seen <= versions


def test_a_file_that_cannot_be_written_is_the_machines_fault_and_the_old_one_stays(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("old")
    with pytest.raises(MachineError, match=r"page.md/below could not be written: .*; make room, or"):
        write_atomically(page / "below", "new")
    assert page.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_a_file_where_a_folder_is_needed_is_the_machines_fault(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(MachineError, match=r"results cannot be written: .*; make it a folder that you may write"):
        require_writable(tmp_path / "results")


def test_a_folder_that_can_be_written_is_made_and_left_empty(tmp_path):
    require_writable(tmp_path / "deep" / "results")
    assert list((tmp_path / "deep" / "results").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_the_machines_fault(tmp_path):
    with pytest.raises(MachineError, match="cannot be written: File name too long"):
        require_writable(tmp_path / ("x" * 300))


def test_a_free_name_is_the_first_that_is_not_there(tmp_path):
    path = tmp_path / "d3-s1.json.set-aside"
    found = []
    for _ in range(3):
        found.append(free_name(path).name)
        free_name(path).touch()
    assert found == ["d3-s1.json.set-aside", "d3-s1.json.set-aside-2", "d3-s1.json.set-aside-3"]
