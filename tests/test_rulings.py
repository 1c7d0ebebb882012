"""A maintainer's files: rows marked as hacked show the reason and never rank; reviews that are cleared rank."""

import pytest
from made_records import HARNESS, make_submission, make_track, make_trials, save_all, save_track

import harness.board.rendering
import harness.commands.show
from harness.board.markdown import page
from harness.board.rendering import sections_of
from harness.board.section import Section
from harness.commands.show import shown
from harness.errors import UsageError
from harness.ranking.rulings import Cleared, Rulings, read_rulings
from harness.ranking.scoring import rows_of
from harness.ranking.standing import State
from harness.records import Audit, read_all
from harness.submissions import Submission, discover

MARK = "rows:\n- submission: one\n  reason: The pads count the carries.\n  date: 2026-11-24\n"


def rows_with(root, text):
    track = make_track()
    submissions = [make_submission(root, name, code=f"NAME = {name!r}\n") for name in ("one", "two")]
    for submission in submissions:
        save_all(root, make_trials(submission, track, 0.9))
    (root / "results" / "hacked.yaml").write_text(text.replace("FINGERPRINT", submissions[0].fingerprint))
    found = read_all(root / "results", track.name)
    rows = rows_of(track, submissions, found, HARNESS, read_rulings(root / "results"))
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


def test_a_mark_of_a_version_that_is_nowhere_is_refused(tmp_path):
    rows_with(tmp_path, f'{MARK}  fingerprint: "{"0" * 16}"\n')
    save_track(tmp_path, make_track())
    expected = r"^results/hacked\.yaml marks 'one' at 0{16}, a fingerprint that no folder and no record has; correct it"
    with pytest.raises(UsageError, match=expected):
        sections_of(tmp_path)


def test_a_mark_of_a_version_that_only_records_have_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(harness.board.rendering, "harness_fingerprint", lambda: HARNESS)
    rows_with(tmp_path, f'{MARK}  fingerprint: "FINGERPRINT"\n')
    save_track(tmp_path, make_track())
    (tmp_path / "submissions" / "one" / "submission.py").write_text("NAME = 'mended'\n")
    (section,) = sections_of(tmp_path)
    assert {row.name: row.standing.state for row in section.rows} == {"one": State.STALE, "two": State.FRESH}


WHICH = ["", 'fingerprint: "FINGERPRINT"']
"""Every version of `marked`, and only the one that is there."""


def states_where(root, which: str, **folders: str) -> dict[str, State]:
    """Of folders of the given manifest lines, each of code of its own but `copy`; `marked` is marked."""
    entries = []
    for name, lines in folders.items():
        entry = make_submission(root, name, code=f"NAME = {name.replace('copy', 'marked')!r}\n")
        with (entry.folder / "submission.yaml").open("a") as manifest:
            manifest.write(lines)
    entries = discover(root)
    assert all(isinstance(entry, Submission) for entry in entries)
    (fingerprint,) = (entry.fingerprint for entry in entries if entry.name == "marked")
    for entry in entries:
        save_all(root, make_trials(entry, make_track(), 0.9))
    mark = MARK.replace("one", "marked") + (f"  {which}\n".replace("FINGERPRINT", fingerprint) if which else "")
    (root / "results" / "hacked.yaml").write_text(mark)
    hacked = read_rulings(root / "results")
    found = list(read_all(root / "results", "mine"))
    rows = rows_of(make_track(), entries, found, HARNESS, hacked)
    # One alone, as `harness compare` asks, is marked no less.
    for entry in entries:
        (alone,) = (row for row in rows_of(make_track(), [entry], found, HARNESS, hacked) if row.name == entry.name)
        assert alone.standing in [row.standing for row in rows if row.name == entry.name]
    return {row.name: row.standing.state for row in rows}


@pytest.mark.parametrize("which", WHICH)
def test_a_copy_of_a_marked_folder_and_whoever_borrows_from_either_is_marked_too(tmp_path, which):
    states = states_where(
        tmp_path,
        which,
        marked="",
        copy="",
        tokenizer="tokenizer: marked/submission:Tokenizer\n",
        positions="positions: copy/submission:PositionalEmbedding\n",
        honest="",
    )
    hacked = {name for name, state in states.items() if state is State.HACKED}
    assert hacked == {"marked", "copy", "tokenizer", "positions"}
    assert states["honest"] is State.FRESH


@pytest.mark.parametrize("which", WHICH)
def test_who_lends_a_part_to_a_marked_submission_is_not_marked_nor_is_another_borrower(tmp_path, which):
    states = states_where(
        tmp_path,
        which,
        marked="tokenizer: lender/submission:Tokenizer\n",
        lender="",
        borrower="tokenizer: lender/submission:Tokenizer\n",
    )
    assert states == {"marked": State.HACKED, "lender": State.FRESH, "borrower": State.FRESH}


def test_who_borrows_from_a_folder_that_was_mended_is_not_marked(tmp_path):
    states = states_where(
        tmp_path, f'fingerprint: "{"0" * 16}"', marked="", borrower="tokenizer: marked/submission:Tokenizer\n"
    )
    assert states == {"marked": State.FRESH, "borrower": State.FRESH}


def test_a_row_marked_for_the_code_of_another_says_whose(tmp_path):
    states_where(tmp_path, "", marked="", copy="")
    found = read_all(tmp_path / "results", "mine")
    rows = rows_of(make_track(), discover(tmp_path), found, HARNESS, read_rulings(tmp_path / "results"))
    reasons = {row.name: row.standing.reason for row in rows}
    assert reasons["copy"] == "has the code of marked: The pads count the carries. (2026-11-24)"
    assert reasons["marked"] == "The pads count the carries. (2026-11-24)"


DOUBTFUL = Audit(rule="T50", level="review", seen="a token moves")
BROKEN = Audit(rule="T70", level="gate", seen="half of the tokens move")


def cleared(submission: Submission, rule: str) -> str:
    return (
        f'rows:\n- submission: {submission.name}\n  fingerprint: "{submission.fingerprint}"\n  rule: {rule}\n'
        "  reason: Its pads follow the longer operand.\n  date: 2026-11-26\n"
    )


@pytest.mark.parametrize(
    ("audits", "rule", "state"),
    [
        ([DOUBTFUL], None, State.REVIEW),
        ([DOUBTFUL], "T50", State.FRESH),
        ([DOUBTFUL], "T90", State.REVIEW),
        ([DOUBTFUL, DOUBTFUL.model_copy(update={"rule": "T90"})], "T50", State.REVIEW),
        ([BROKEN], "T70", State.REFUSED),
        ([DOUBTFUL, BROKEN], "T50", State.REFUSED),
    ],
)
def test_a_review_that_was_cleared_ranks_and_a_broken_rule_stays_broken(tmp_path, audits, rule, state):
    track = make_track()
    one = make_submission(tmp_path, "one")
    save_all(tmp_path, make_trials(one, track, 0.9, audits=audits))
    if rule:
        (tmp_path / "results" / "cleared.yaml").write_text(cleared(one, rule))
    rulings = read_rulings(tmp_path / "results")
    (row,) = rows_of(track, [one], read_all(tmp_path / "results", track.name), HARNESS, rulings)
    assert row.standing.state is state
    assert (row.rank is not None) is (state is State.FRESH)
    told = "cleared by a maintainer:\n\n* [one](submissions/one): T50, Its pads follow the longer operand. (2026-11-26)"
    assert (told in page([Section(name="mine", track=track, rows=[row])])) is (rule == "T50" and DOUBTFUL in audits)


def test_what_was_cleared_of_one_version_is_not_cleared_of_the_next(tmp_path):
    track = make_track()
    one = make_submission(tmp_path, "one", code="NAME = 'one'\n")
    ruling = cleared(one, "T50")
    (one.folder / "submission.py").write_text("NAME = 'other'\n")
    (changed,) = discover(tmp_path)
    assert isinstance(changed, Submission)
    save_all(tmp_path, make_trials(changed, track, 0.9, audits=[DOUBTFUL]))
    (tmp_path / "results" / "cleared.yaml").write_text(ruling)
    rulings = read_rulings(tmp_path / "results")
    (row,) = rows_of(track, [changed], read_all(tmp_path / "results", track.name), HARNESS, rulings)
    assert row.standing.state is State.REVIEW


def test_show_tells_what_a_maintainer_ruled(tmp_path, monkeypatch):
    monkeypatch.setattr(harness.commands.show, "harness_fingerprint", lambda: HARNESS)
    track = make_track()
    one = make_submission(tmp_path, "one")
    save_all(tmp_path, make_trials(one, track, 0.9, audits=[DOUBTFUL]))
    results = tmp_path / "results"
    assert "state       in review: T50: a token moves" in shown(one, track, results, [one])
    (results / "cleared.yaml").write_text(cleared(one, "T50"))
    assert "state       fresh\n" in shown(one, track, results, [one])
    (results / "hacked.yaml").write_text(MARK)
    marked = "marked as hacked, so it does not rank: The pads count the carries. (2026-11-24)"
    assert marked in shown(one, track, results, [one])


def test_a_ruling_that_names_no_version_or_no_rule_is_refused(tmp_path):
    for wrong in (MARK, cleared(make_submission(tmp_path, "one"), "fifty")):
        (tmp_path / "cleared.yaml").write_text(wrong)
        with pytest.raises(UsageError, match=r"^results/cleared\.yaml: .*it is read as `rows: .*rule: T50"):
            read_rulings(tmp_path)


def test_without_the_file_nothing_is_marked(tmp_path):
    assert read_rulings(tmp_path) == Rulings([], [])


def test_a_link_that_leads_nowhere_is_an_error_and_not_a_file_that_is_not_there(tmp_path):
    (tmp_path / "hacked.yaml").symlink_to(tmp_path / "gone.yaml")
    with pytest.raises(UsageError, match=r"^results/hacked\.yaml: cannot be read: No such file"):
        read_rulings(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rows: [", "not the YAML that is read here"),
        ("- one\n", "holds a list, no keys"),
        (MARK.replace("reason", "why"), "unknown key `rows.0.why`; allowed: submission, "),
        (MARK.replace("2026-11-24", "yesterday"), "rows.0.date"),
        (MARK.replace("2026-11-24", "2026-13-45"), "`rows.0.date`: is not a calendar date; write it as 2026-01-31"),
        (MARK.replace("2026-11-24", "2026-02-29"), "`rows.0.date`: is not a calendar date"),
        ("rows:\n- submission: one\n", "rows.0.reason"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_says_how_it_is_read(tmp_path, text, expected):
    (tmp_path / "hacked.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"^results/hacked\.yaml: .*it is read as `rows: ") as error:
        read_rulings(tmp_path)
    assert expected in str(error.value)


def test_a_broken_rule_is_not_told_as_cleared_though_a_ruling_names_it(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    records = make_trials(one, track, 0.5, audits=[Audit(rule="T70", level="gate", seen="g")])
    ruling = Cleared(submission="one", fingerprint=one.fingerprint, rule="T70", reason="x", date="2026-01-01")
    (row,) = rows_of(track, [one], records, HARNESS, Rulings(cleared=[ruling]))
    assert row.cleared == ()
    assert row.standing.state is State.REFUSED


def test_a_thousand_rulings_are_read(tmp_path):
    (tmp_path / "results").mkdir()
    ruling = f"- {{submission: one, fingerprint: {'0' * 16}, rule: T50, date: 2026-11-24, reason: '{'x' * 200}'}}\n"
    (tmp_path / "results" / "cleared.yaml").write_text("rows:\n" + ruling * 1000)
    assert len(read_rulings(tmp_path / "results").cleared) == 1000
