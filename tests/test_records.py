"""Records on disk: whole or not at all, and believed only as they were written."""

import json
import os
import re
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import make_failure, make_record, make_submission, make_track, make_trials
from pydantic import ValidationError

from harness import records
from harness.errors import MachineError, RecordError
from harness.records import (
    CurvePoint,
    Mistake,
    Record,
    Throughput,
    digest_of,
    read,
    read_all,
    record_path,
    save,
)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    point = CurvePoint(step=10, examples=640, loss=None, accuracy=0.1, digit_accuracy=1 / 3)
    return make_record(make_submission(tmp_path, "one"), make_track(), 3, 1, 0.9, curve=[point], settings={"epochs": 1})


@pytest.fixture
def saved(record: Record, tmp_path: Path) -> Path:
    return save(record, tmp_path / "results")


def refusal(path: Path) -> str:
    found = read(path)
    assert isinstance(found, RecordError), found
    assert found.path == path
    assert found.message.isprintable()
    return found.message


def rewrite(path: Path, values: Any, *, seal: bool = False) -> Path:
    if seal:
        values["digest"] = digest_of(values)
    path.write_text(json.dumps(values))
    return path


def test_a_record_lies_where_its_trial_says(saved, tmp_path):
    assert saved == tmp_path / "results" / "mine" / "one" / "d3-s1.json"
    assert saved == record_path(tmp_path / "results", "mine", "one", 3, 1)


def test_a_saved_record_reads_back_equal(record, saved):
    assert read(saved) == record.sealed()
    assert read(saved).model_copy(update={"digest": ""}) == record


def test_a_failed_record_reads_back_equal(tmp_path):
    failure = make_failure(make_submission(tmp_path, "one"), make_track(), 6, 0, "T10: ids\nof <two> | é 🙂 \x1b[31m")
    assert read(save(failure, tmp_path / "results")) == failure.sealed()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_and_any_number_survive_the_disk(tmp_path_factory, text, number):
    root = tmp_path_factory.getbasetemp() / "survive"
    submission_root = tmp_path_factory.mktemp("one", numbered=True)
    made = make_record(
        make_submission(submission_root, "one"),
        make_track(),
        3,
        0,
        0.5,
        mistakes=[Mistake(prompt="1+1=", answer="2", got=text)],
        settings={"learning_rate": number},
    )
    assert read(save(made, root)) == made.sealed()


def test_a_record_is_readable_json_with_the_keys_that_tools_rely_on(saved):
    values = json.loads(saved.read_text(encoding="utf-8"))
    relied_on = (
        "format submission track digits seed status reason division isolation fingerprints fresh_seed parameters "
        "suites curve examples_to_90 mistakes throughput seconds peak_memory_bytes environment"
    )
    assert set(relied_on.split()) <= set(values)
    assert values["suites"]["fresh"] == {"correct": 900, "total": 1000}
    assert list(values) == sorted(values)
    assert saved.stat().st_mode & 0o777 == 0o644


def test_saving_the_same_record_again_leaves_the_same_bytes(record, saved, tmp_path):
    before = saved.read_bytes()
    save(record, tmp_path / "results")
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["d3-s1.json"]


@contextmanager
def room_for(num_bytes: int) -> Iterator[None]:
    """Files may grow to `num_bytes`: the write that goes on fails half way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_half_way_leaves_the_old_record_and_no_other_file(record, saved, tmp_path):
    before = saved.read_bytes()
    with (
        room_for(200),
        pytest.raises(MachineError, match=r"d3-s1\.json could not be written: File too large; the trial"),
    ):
        save(record.model_copy(update={"fresh_seed": 7}), tmp_path / "results")
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["d3-s1.json"]


def test_a_first_write_that_fails_half_way_leaves_nothing(record, tmp_path):
    with room_for(200), pytest.raises(MachineError):
        save(record, tmp_path / "results")
    assert [path for path in (tmp_path / "results").rglob("*") if path.is_file()] == []


def test_an_interrupt_before_the_renaming_leaves_the_old_record_and_no_other_file(record, saved, tmp_path, monkeypatch):
    before = saved.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(record.model_copy(update={"fresh_seed": 7}), tmp_path / "results")
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["d3-s1.json"]


def test_without_room_anywhere_a_record_is_lost_and_the_message_says_what_to_do(record, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    (tmp_path / "results").write_text("a file")
    with pytest.raises(MachineError, match=r"could not be written: Not a directory; the trial's result is lost, run"):
        save(record, tmp_path / "results")


def test_a_record_that_its_folder_does_not_take_is_kept_and_can_be_moved_there(record, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "results").write_text("a file")
    with pytest.raises(MachineError, match="could not be written: Not a directory") as caught:
        save(record, tmp_path / "results")
    found = re.search(r"result is in (\S+): make room, and move it there$", str(caught.value))
    assert found
    (tmp_path / "results").unlink()
    path = record_path(tmp_path / "results", record.track, record.submission, record.digits, record.seed)
    path.parent.mkdir(parents=True)
    Path(found[1]).rename(path)
    assert read(path) == record.sealed()


def test_a_record_cut_anywhere_is_refused(saved):
    whole = saved.read_bytes().rstrip()
    for length in range(0, len(whole), 97):
        saved.write_bytes(whole[:length])
        assert refusal(saved) == "is truncated or not JSON; run the trial again"


def leaves(values: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        yield from leaves(value, (*place, key))
    if not isinstance(values, dict | list):
        yield place


def test_an_edit_of_any_value_by_hand_is_refused(saved):
    original = saved.read_text()
    places = list(leaves(json.loads(original)))
    assert len(places) > 40
    for place in places:
        values = json.loads(original)
        parent = values
        for key in place[:-1]:
            parent = parent[key]
        was = parent[place[-1]]
        parent[place[-1]] = {str: f"{was}!", int: 4, float: 0.375, bool: None, type(None): 1}[type(was)]
        assert parent[place[-1]] != was, place
        assert refusal(rewrite(saved, values)).endswith("run the trial again"), place


def test_an_edit_by_hand_says_so(saved):
    saved.write_text(saved.read_text().replace('"correct": 900', '"correct": 1000', 1))
    message = refusal(saved)
    assert message == "was edited after it was written: its digest does not match; run the trial again"


def test_a_change_of_layout_alone_is_no_edit(saved, record):
    rewrite(saved, json.loads(saved.read_text()))
    assert read(saved) == record.sealed()


@pytest.mark.parametrize("version", [0, 1, 3, "2", None, [1] * 1000])
def test_another_version_of_the_format_is_refused_with_the_one_that_is_read(saved, version):
    values = json.loads(saved.read_text()) | {"format": version}
    message = refusal(rewrite(saved, values, seal=True))
    assert message.endswith("this harness reads 2; run the trial again")
    assert len(message) < 120


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"status": "fine"}, "`status`: Input should be 'ok' or 'failed'; run the trial again"),
        ({"score": 1}, "`score`: Extra inputs are not permitted; run the trial again"),
        ({"\x1b[31m\n": 1}, "`?[31m?`: Extra inputs are not permitted; run the trial again"),
        ({"x" * 999: 1}, "`" + "x" * 60 + "`: Extra inputs are not permitted; run the trial again"),
        ({"seed": -1}, "`seed`: Input should be greater than or equal to 0; run the trial again"),
        (
            {"peak_memory_bytes": 10**15 + 1},
            "`peak_memory_bytes`: Input should be less than or equal to 1000000000000000",
        ),
        ({"fresh_seed": 2**63}, "`fresh_seed`: Input should be less than 9223372036854775808; run the trial again"),
        ({"digit_accuracy": 1.1}, "`digit_accuracy`: Input should be less than or equal to 1; run the trial again"),
        ({"peak_memory_bytes": 1.5}, "`peak_memory_bytes`: Input should be a valid integer, got a number"),
        ({"curve": [{"lengths": {"1 1": 0.5}}]}, "`curve.0.step`: Field required"),
        (
            {"best": {"step": 1, "validation_accuracy": 1, "lengths": {"x": {}}}},
            "`best.lengths.x.[key]`: String should",
        ),
        ({"reason": "\ud800"}, "is truncated or not JSON; run the trial again"),
    ],
)
def test_a_record_that_could_not_have_been_written_is_refused_even_with_a_right_digest(saved, change, what):
    assert refusal(rewrite(saved, json.loads(saved.read_text()) | change, seal=True)).startswith(what)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(saved, number):
    saved.write_text(saved.read_text().replace('"train_ratio": 1.25', f'"train_ratio": {number}'))
    assert refusal(saved) == "`throughput.train_ratio`: Input should be a finite number; run the trial again"


@pytest.mark.parametrize("value", ["abc", [1], {}, 10**400])
def test_a_drift_that_is_no_number_is_refused(saved, value):
    drift = {"rows": 2, "touched_rows": 1, "touched": value, "untouched": 0.5}
    assert refusal(rewrite(saved, json.loads(saved.read_text()) | {"drift": drift}, seal=True)).startswith(
        "`drift.touched`: Input should be a"
    )


def test_a_nan_that_a_field_may_drop_is_refused_and_does_not_stop_the_board(saved):
    drift = {"rows": 2, "touched_rows": 1, "touched": float("nan"), "untouched": 0.5}
    assert refusal(rewrite(saved, json.loads(saved.read_text()) | {"drift": drift})).startswith("is truncated or not")


@pytest.mark.parametrize("key", ["new", "format", "seed"])
def test_numbers_that_are_none_are_refused_wherever_they_stand(saved, key):
    values = json.loads(saved.read_text()) | {key: float("nan")}
    assert refusal(rewrite(saved, values)).endswith("run the trial again")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"7", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b'{"format": 2}', b"\x00" * 64],
)
def test_what_is_no_record_at_all_is_refused(saved, content):
    saved.write_bytes(content)
    assert refusal(saved).endswith("run the trial again")


def test_what_cannot_be_read_is_refused_with_the_systems_reason(saved):
    assert (
        refusal(saved.with_name("d9-s9.json"))
        == "cannot be read: No such file or directory; make it readable, or run the trial again"
    )


def test_what_is_no_file_of_its_own_is_refused_without_being_opened(saved, tmp_path):
    """A pipe would be waited for, and /dev/zero be read until the memory is full, through a link too."""
    refused = "is a link, a folder or a device, not a file; remove it and run the trial again"
    for target in (saved.rename(tmp_path / "elsewhere.json"), "/dev/null", "/nonexistent"):
        saved.symlink_to(target)
        assert refusal(saved) == refused
        saved.unlink()
    os.mkfifo(saved)
    assert refusal(saved) == refusal(saved.parent) == refusal(Path("/dev/null")) == refused


def test_a_file_as_large_as_no_record_is_refused_before_it_fills_the_memory(saved, record):
    with saved.open("ab") as file:
        file.truncate(records.MAX_BYTES + 1)
    assert refusal(saved) == "is larger than 16 MiB, so it is no record; delete it and run the trial again"
    saved.write_text(record.sealed().as_json().ljust(records.MAX_BYTES))
    assert read(saved) == record.sealed()


@pytest.mark.parametrize(
    "place", ["mine/one/d3-s2.json", "mine/one/d4-s1.json", "mine/two/d3-s1.json", "x/one/d3-s1.json"]
)
def test_a_record_in_the_place_of_another_trial_is_refused(saved, tmp_path, place):
    moved = tmp_path / "results" / place
    moved.parent.mkdir(parents=True, exist_ok=True)
    saved.rename(moved)
    assert refusal(moved) == "belongs to another trial than its path says; move it back or delete it"


def test_a_record_named_by_a_short_relative_path_is_refused_rather_than_a_crash(saved, monkeypatch):
    monkeypatch.chdir(saved.parent)
    assert "belongs to another trial" in refusal(Path(saved.name))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_record_of_numbers_that_are_none_cannot_be_made(tmp_path, number):
    with pytest.raises(ValidationError, match="finite number"):
        CurvePoint(step=0, examples=0, loss=number, accuracy=0, digit_accuracy=0)
    with pytest.raises(ValidationError, match="finite number"):
        Throughput(**dict.fromkeys(Throughput.model_fields, 1.0) | {"decode_examples_per_second": number})
    with pytest.raises(ValidationError, match="finite number"):
        make_record(make_submission(tmp_path, "one"), make_track(), 3, 0, 1, settings={"dropout": number})


def test_a_file_that_cannot_be_believed_is_set_aside_and_not_overwritten(record, saved, tmp_path):
    saved.write_text("somebody's work\n")
    save(record, tmp_path / "results")
    assert read(saved) == record.sealed()
    assert saved.with_name("d3-s1.json.set-aside").read_text() == "somebody's work\n"
    saved.write_text("and again\n")
    save(record, tmp_path / "results")
    assert saved.with_name("d3-s1.json.set-aside").read_text() == "somebody's work\n"
    assert saved.with_name("d3-s1.json.set-aside-2").read_text() == "and again\n"
    assert list(read_all(tmp_path / "results", "mine")) == [record.sealed()]


def test_a_believed_record_is_replaced_and_not_set_aside(record, saved, tmp_path):
    later = record.model_copy(update={"fresh_seed": 7})
    save(later, tmp_path / "results")
    assert read(saved) == later.sealed()
    assert [path.name for path in saved.parent.iterdir()] == ["d3-s1.json"]


def test_read_all_gives_every_record_of_the_track_and_every_bad_file_in_the_order_of_paths(tmp_path):
    track, results = make_track(), tmp_path / "results"
    made = [make_record(make_submission(tmp_path, name), track, 3, 0, 0.5) for name in ("b", "a")]
    paths = [save(item, results) for item in made]
    save(made[0].model_copy(update={"track": "other"}), results)
    (results / "mine" / "a" / "d6-s0.json").write_text("{")
    (results / "mine" / "track.yaml").write_text("name: mine\n")
    (results / "mine" / "a" / ".d3-s0.json.ab12").write_text("left by a crash")
    found = list(read_all(results, "mine"))
    assert [found[0], found[2]] == [made[1].sealed(), made[0].sealed()]
    assert isinstance(found[1], RecordError)
    assert found[1].path == paths[1].with_name("d6-s0.json")


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root, as whom tests may run, reads whatever there is: another user for as long."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_folder_of_records_that_may_not_be_read_is_an_error_and_no_row_less(record):
    with TemporaryDirectory() as folder:  # pytest's own are closed to other users, with all that is in them
        os.chmod(folder, 0o755)
        hidden = save(record, Path(folder)).parent
        hidden.chmod(0)
        with without_privileges(), pytest.raises(PermissionError, match=hidden.name):
            list(read_all(Path(folder), "mine"))


def test_read_all_of_a_track_without_records_is_empty(tmp_path):
    assert list(read_all(tmp_path / "results", "mine")) == []


@pytest.mark.parametrize("is_reversed", [False, True])
def test_records_come_in_order_however_the_file_system_lists_them(
    is_reversed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission, track, listed = make_submission(tmp_path, "two"), make_track(), Path.iterdir
    for one in make_trials(submission, track, 0.5):
        save(one, tmp_path / "results")
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(listed(self), reverse=is_reversed)))
    found = [one for one in read_all(tmp_path / "results", track.name) if isinstance(one, Record)]
    assert [(one.digits, one.seed) for one in found] == [(3, 0), (3, 1), (6, 0), (6, 1)]
