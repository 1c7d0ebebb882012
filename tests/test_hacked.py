"""A maintainer's file marks rows as hacked; they show the reason and never rank."""

import pytest
from made_records import HARNESS, make_submission, make_track, make_trials, save_all

from harness.board.markdown import Section, page
from harness.board.rendering import sections_of
from harness.errors import UsageError
from harness.hacked import read_hacked
from harness.records import read_all
from harness.scoring import State, rows_of

MARK = "rows:\n- submission: one\n  reason: The pads count the carries.\n  date: 2026-11-24\n"


def rows_with(root, text):
    track = make_track()
    submissions = [make_submission(root, name) for name in ("one", "two")]
    for submission in submissions:
        save_all(root, make_trials(submission, track, 0.9))
    (root / "results" / "hacked.yaml").write_text(text.replace("FINGERPRINT", submissions[0].fingerprint))
    found = read_all(root / "results", track.name)
    rows = rows_of(track, submissions, found, HARNESS, read_hacked(root / "results"))
    return track, {row.name: row for row in rows}


def test_a_hacked_row_shows_its_reason_and_does_not_rank(tmp_path):
    track, rows = rows_with(tmp_path, MARK)
    assert rows["one"].standing == (State.HACKED, "The pads count the carries. (2026-11-24)")
    assert rows["one"].rank is None
    assert rows["two"].rank is not None
    assert "hacked: The pads count the carries. (2026-11-24)" in page(
        [Section(name="mine", track=track, rows=list(rows.values()))]
    )


@pytest.mark.parametrize(("fingerprint", "state"), [("FINGERPRINT", State.HACKED), ("0" * 16, State.FRESH)])
def test_a_mark_with_a_fingerprint_means_that_version_only(tmp_path, fingerprint, state):
    _, rows = rows_with(tmp_path, f'{MARK}  fingerprint: "{fingerprint}"\n')
    assert rows["one"].standing.state is state


def test_a_mark_that_means_no_folder_and_no_record_is_refused(tmp_path):
    rows_with(tmp_path, MARK.replace("one", "oen"))
    with pytest.raises(UsageError, match=r"^results/hacked\.yaml marks 'oen', which no folder and no record has"):
        sections_of(tmp_path)


def test_without_the_file_nothing_is_marked(tmp_path):
    assert read_hacked(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rows: [", "not the YAML that is read here"),
        ("- one\n", "holds list, not keys and values"),
        (MARK.replace("reason", "why"), "unknown key `rows.0.why`"),
        (MARK.replace("2026-11-24", "yesterday"), "rows.0.date"),
        ("rows:\n- submission: one\n", "rows.0.reason"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_says_how_it_is_read(tmp_path, text, expected):
    (tmp_path / "hacked.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"^results/hacked\.yaml: .*it is read as `rows: ") as error:
        read_hacked(tmp_path)
    assert expected in str(error.value)
