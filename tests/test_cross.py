"""Crossing tokenizers with positions: which pairs there are, whose records count, what is shown; with real trials."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from bad_folders import write_folder, write_tiny
from commands import harness_here, refused
from made_records import HARNESS, make_failure, make_record, make_track, save_all

from harness.board.crossing import Crossing, as_text, covers_page, crossing_of, render_crossing
from harness.cross import grid_of, plan_cross, rows_of_cross
from harness.errors import UsageError
from harness.ranking.standing import State
from harness.records import Audit
from harness.rerun import Rerun
from harness.submissions import Submission, discover, pair

TRACK = make_track(digits=[3], seeds=[0])
ZERO = "return Terms(embedding=0 * self.table[None, :length])"
BACKWARDS = "return [CHARACTERS.index(character) for character in reversed(text)]"
AND_BACK = 'return "".join(CHARACTERS[i] for i in reversed(token_ids) if i < len(CHARACTERS))'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`a` and `b` share nothing; `c` has a's tokenizer and positions of its own."""
    write_folder(tmp_path, "a")
    write_folder(tmp_path, "b", encode=BACKWARDS, decode=AND_BACK, forward=ZERO)
    folder = write_folder(tmp_path, "c", forward=ZERO)
    manifest = folder / "submission.yaml"
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith("tokenizer:")]
    manifest.write_text("\n".join([*lines, "tokenizer: a/submission:Characters", ""]))
    return tmp_path


def found_in(root: Path) -> dict[str, Submission]:
    found = {entry.name: entry for entry in discover(root)}
    assert all(isinstance(entry, Submission) for entry in found.values())
    return {name: entry for name, entry in found.items() if isinstance(entry, Submission)}


def test_a_pair_takes_one_part_from_each_and_no_settings_of_either(root: Path) -> None:
    manifest = root / "submissions" / "b" / "submission.yaml"
    manifest.write_text(manifest.read_text() + "hyperparameters: {learning_rate: 0.01}\n")
    found = found_in(root)
    crossed = pair(found["a"], found["b"])
    assert crossed.tokenizer == found["a"].tokenizer
    assert crossed.positions == found["b"].positions
    assert (crossed.name, crossed.division) == ("a+b", "closed")


def test_a_pair_of_a_folder_with_itself_is_that_folder(root: Path) -> None:
    for submission in found_in(root).values():
        assert pair(submission, submission).fingerprint == submission.fingerprint


def test_the_grid_has_every_tokenizer_and_every_positions_once(root: Path) -> None:
    found = list(discover(root))
    grid = grid_of(found, [], [])
    assert [one.name for one in grid.tokenizers] == ["a", "b"]
    assert [one.name for one in grid.positions] == ["a", "b", "c"]
    assert [[one.name for one in line] for line in grid.pairs()] == [["a+a", "a+b", "a+c"], ["b+a", "b+b", "b+c"]]


def test_named_folders_make_a_smaller_grid(root: Path) -> None:
    grid = grid_of(list(discover(root)), ["b"], ["a", "c"])
    assert [[one.name for one in line] for line in grid.pairs()] == [["b+a", "b+c"]]


def test_what_cannot_be_crossed_is_refused_by_name(root: Path) -> None:
    (root / "submissions" / "b" / "submission.yaml").write_text("title: [\n")
    found = list(discover(root))
    with pytest.raises(UsageError, match="no submission 'x'; there are: a, b, c"):
        grid_of(found, ["x"], [])
    with pytest.raises(UsageError, match=r"submissions/b: T00: .*; fix it, or leave it out of the grid"):
        grid_of(found, ["b"], [])
    with pytest.raises(UsageError, match="is a submission, not a grid; name more of either"):
        grid_of(found, ["a"], ["a", "a"])
    assert [one.name for one in grid_of(found, [], []).positions] == ["a", "c"]
    shutil.copytree(root / "submissions" / "a", root / "submissions" / "d")
    with pytest.raises(UsageError, match="is a submission, not a grid; equal code counts once"):
        grid_of(list(discover(root)), ["a", "d"], ["a", "d"])


def test_a_pair_that_is_a_submission_takes_its_fresh_record_and_runs_otherwise(root: Path) -> None:
    found = found_in(root)
    entries, results = list(found.values()), root / "results"
    grid = grid_of(entries, [], [])
    record = make_record(found["a"], TRACK, 3, 0, 0.75)
    save_all(root, [record, make_record(found["b"], TRACK, 3, 0, 0.5).model_copy(update={"digits": 6})])
    planned = plan_cross(grid, entries, TRACK, results, HARNESS, None)
    assert [trial.submission.name for trial in planned.to_run] == ["a+b", "a+c", "b+a", "b+b", "b+c"]
    assert planned.num_up_to_date == 1
    rows = rows_of_cross(grid, entries, TRACK, results, HARNESS)
    assert rows[0][0].score is not None
    assert rows[0][0].score.value == 0.75
    assert all(row.score is None for row in [*rows[0][1:], *rows[1]])


def test_an_impossible_pair_is_shown_with_its_reason_and_left_out_of_the_effects(root: Path) -> None:
    found = found_in(root)
    entries = list(found.values())
    grid = grid_of(entries, [], ["a", "c"])
    shares = {"a+a": 0.9, "a+c": 0.5, "b+a": 0.3}
    pairs = {one.name: one for line in grid.pairs() for one in line}
    records = [make_record(pairs[name], TRACK, 3, 0, share) for name, share in shares.items()]
    save_all(root, [*records, make_failure(pairs["b+c"], TRACK, 3, 0, "P00: no such | row")], below="cross")
    rows = rows_of_cross(grid, entries, TRACK, root / "results", HARNESS)
    crossing = crossing_of(grid, TRACK, rows)
    text = as_text(crossing)
    assert "b with c: failed, 1 of 1 trial: P00: no such | row" in text
    assert [line.split() for line in text.splitlines()[2:4]] == [
        ["a", "90.0", "50.0"],
        ["b", "30.0", "×"],
    ]
    render_crossing(crossing, root)
    heat_map = (root / "results" / "cross" / TRACK.name / "cross-light.svg").read_text()
    assert [
        mark for mark in re.findall(r">([^<>]*)</text>", heat_map) if mark in {"90.0", "50.0", "30.0", "×", "·"}
    ] == [
        "90.0",
        "50.0",
        "30.0",
        "×",
    ]
    assert "its own initial weights. What the luck of the problems explains is subtracted. All three" in text
    # Three cells and three parameters: a's tokenizer is 0.6 above b's, a's positions 0.4 above c's.
    assert "+30.0 [" in text
    assert "-30.0 [" in text
    assert "+20.0 [" in text


@pytest.mark.parametrize(("level", "state"), [("gate", "refused"), ("review", "in review")])
def test_a_pair_that_an_audit_stopped_is_shown_with_its_rule_and_left_out_of_the_effects(
    root: Path, level: str, state: str
) -> None:
    entries = list(found_in(root).values())
    grid = grid_of(entries, [], ["a", "c"])
    records = [make_record(one, TRACK, 3, 0, 0.5) for line in grid.pairs() for one in line]
    audit = Audit.model_validate({"rule": "T70", "level": level, "seen": "another id for a sibling"})
    save_all(root, [*records[:-1], records[-1].model_copy(update={"audits": [audit]})], below="cross")
    rows = rows_of_cross(grid, entries, TRACK, root / "results", HARNESS)
    text = as_text(crossing_of(grid, TRACK, rows))
    why = f"{state}, 1 of 1 trial: T70: another id for a sibling"
    assert f"b with c: {why}" in text
    # All are alike, so the order is the grid's own.
    assert [line.split() for line in text.splitlines()[2:4]] == [
        ["a", "50.0", "50.0"],
        ["b", "50.0", "×"],
    ]
    assert "Mean of the grid: 50.0 %" in text


def test_a_pair_that_ran_without_a_sandbox_is_shown_with_that_reason(root: Path) -> None:
    entries = list(found_in(root).values())
    grid = grid_of(entries, [], ["a", "c"])
    one, other, *rest = [make_record(pair, TRACK, 3, 0, 0.5) for line in grid.pairs() for pair in line]
    bare = [record.model_copy(update={"isolation": "none"}) for record in (one, other)]
    save_all(root, [*bare, *rest], below="cross")
    text = as_text(crossing_of(grid, TRACK, rows_of_cross(grid, entries, TRACK, root / "results", HARNESS)))
    for positions in ("a", "c"):
        assert f"a with {positions}: no sandbox, 1 of 1 trial: ran without a sandbox" in text
    assert [line.split()[1:] for line in text.splitlines()[2:4]] == [["×", "×"], ["50.0", "50.0"]]


def test_every_pair_with_a_part_of_a_hacked_submission_is_hacked_and_none_is_trained(root: Path) -> None:
    found = found_in(root)
    entries = list(found.values())
    grid = grid_of(entries, [], ["a", "c"])
    save_all(root, [make_record(one, TRACK, 3, 0, 0.9) for line in grid.pairs() for one in line], below="cross")
    save_all(root, [make_record(found["a"], TRACK, 3, 0, 0.9)])
    mark = f"{{submission: a, fingerprint: '{found['a'].fingerprint}', reason: It adds., date: 2026-11-26}}"
    (root / "results" / "hacked.yaml").write_text(f"rows: [{mark}]\n")
    rows = rows_of_cross(grid, entries, TRACK, root / "results", HARNESS)
    states = {row.name: row.standing.state for line in rows for row in line}
    assert states == {"a+a": State.HACKED, "a+c": State.HACKED, "b+a": State.HACKED, "b+c": State.FRESH}
    again = plan_cross(grid, entries, TRACK, root / "results", HARNESS, Rerun.all)
    assert [trial.submission.name for trial in again.to_run] == ["b+c"]


def test_a_pair_with_an_honest_part_that_a_hacked_submission_borrows_is_not_hacked(root: Path) -> None:
    found = found_in(root)  # c's tokenizer is a's
    entries = list(found.values())
    grid = grid_of(entries, [], ["a", "c"])
    save_all(root, [make_record(one, TRACK, 3, 0, 0.9) for line in grid.pairs() for one in line], below="cross")
    (root / "results" / "hacked.yaml").write_text("rows: [{submission: c, reason: It adds., date: '2026-11-26'}]\n")
    rows = rows_of_cross(grid, entries, TRACK, root / "results", HARNESS)
    states = {row.name: row.standing.state for line in rows for row in line}
    assert states == {"a+a": State.FRESH, "a+c": State.HACKED, "b+a": State.FRESH, "b+c": State.HACKED}
    assert "a+a" in {trial.submission.name for trial in plan_cross(grid, entries, TRACK, root, HARNESS, None).to_run}


def test_a_pair_that_breaks_a_rule_is_not_trained(root: Path) -> None:
    write_folder(root, "ahead", forward="return Terms(embedding=self.table[None, torch.arange(length).flip(0)])")
    track = write_tiny(root / "tiny.yaml")
    done = harness_here(root, "cross", "--tokenizers", "a", "--positions", "a,ahead", "-t", str(track), "-j", "1")
    assert done.returncode == 3, done.stderr
    assert "a+ahead: breaks P20" in done.stderr
    assert "a with ahead: failed, 1 of 1 trial: P20: Terms.embedding changes by" in done.stdout


def test_the_page_changes_nothing_when_nothing_changed_and_is_apart_from_the_board(root: Path) -> None:
    entries = list(found_in(root).values())
    grid = grid_of(entries, [], [])
    records = [make_record(one, TRACK, 3, 0, 0.5 + i / 10) for i, one in enumerate(grid.pairs()[0])]
    save_all(root, records, below="cross")
    crossing = crossing_of(grid, TRACK, rows_of_cross(grid, entries, TRACK, root / "results", HARNESS))
    written = render_crossing(crossing, root)
    folder = root / "results" / "cross" / TRACK.name
    assert {path.name for path in written} == {"cross.md", "cross-light.svg", "cross-dark.svg"}
    assert {path.parent for path in written} == {folder}
    assert render_crossing(crossing, root) == []
    assert "| a " in (folder / "cross.md").read_text()


def test_a_grid_replaces_the_page_of_one_that_it_contains_and_of_no_other(root: Path) -> None:
    entries = list(found_in(root).values())
    pairs = [one for line in grid_of(entries, [], []).pairs() for one in line]
    save_all(root, [make_record(one, TRACK, 3, 0, 0.5) for one in pairs], below="cross")

    def crossed(tokenizers: str, positions: str) -> Crossing:
        grid = grid_of(entries, list(tokenizers), list(positions))
        return crossing_of(grid, TRACK, rows_of_cross(grid, entries, TRACK, root / "results", HARNESS))

    folder = root / "results" / "cross" / TRACK.name
    assert covers_page(crossed("ab", "ab"), root)
    assert len(render_crossing(crossed("ab", "ab"), root)) == 3
    shown = {path: path.read_bytes() for path in folder.glob("cross*")}
    for other in (crossed("a", "ab"), crossed("ab", "a"), crossed("ab", "bc"), crossed("b", "abc")):
        assert not covers_page(other, root)
        assert render_crossing(other, root) == []
    assert {path: path.read_bytes() for path in folder.glob("cross*")} == shown
    assert len(render_crossing(crossed("ab", "abc"), root)) == 3
    (folder / "cross.md").unlink()
    assert folder / "cross.md" in render_crossing(crossed("a", "ab"), root)


def test_the_command_trains_every_pair_and_the_next_call_none(root: Path) -> None:
    track = write_tiny(root / "tiny.yaml")
    shutil.rmtree(root / "submissions" / "c")

    def cross(*arguments: str) -> subprocess.CompletedProcess[str]:
        return harness_here(root, "cross", "-t", str(track), *arguments)

    assert cross("-n").stdout.splitlines() == [f"{name} d1-s0: missing" for name in ("a+a", "a+b", "b+a", "b+b")]
    first = cross("-j", "1", "--all")
    assert first.returncode == 0, first.stderr
    records = sorted(path.relative_to(root / "results" / "cross") for path in root.rglob("d1-s0.json"))
    assert [str(path.parent) for path in records] == ["tiny/a+a", "tiny/a+b", "tiny/b+a", "tiny/b+b"]
    assert "Whose idea is it?" in first.stdout
    assert "wrote results/cross/tiny/cross.md" in first.stderr
    page = (root / "results" / "cross" / "tiny" / "cross.md").read_text()
    (again,) = re.findall("^Command: `harness (cross .* --track tiny)`$", page, flags=re.MULTILINE)
    track.unlink()
    assert "nothing to run, 4 trials up to date" in harness_here(root, *again.split()).stderr
    track.write_text((root / "results" / "cross" / "tiny" / "track.yaml").read_text())
    second = cross()
    assert second.stdout == first.stdout
    assert "nothing to run, 4 trials up to date" in second.stderr
    assert "wrote" not in second.stderr


def test_all_pairs_are_trained_only_when_that_is_asked_for(root: Path) -> None:
    done = harness_here(root, "cross", "-t", str(write_tiny(root / "tiny.yaml")))
    refused(done, 2, "the pairs of all folders take 6 trials: choose some with --tokenizers and --positions, see")
    assert not (root / "results").exists()


def test_a_list_that_names_no_folder_is_no_choice(root: Path) -> None:
    done = harness_here(root, "cross", "--tokenizers", " , ", "-t", str(write_tiny(root / "tiny.yaml")))
    refused(done, 2, "the pairs of all folders take 6 trials: choose some with --tokenizers and --positions, see")
    assert not (root / "results").exists()


def test_a_wrong_name_is_a_usage_error(root: Path) -> None:
    done = harness_here(root, "cross", "--tokenizers", "a,nobody")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no submission 'nobody'; there are: a, b, c" in done.stderr


def test_the_best_tokenizer_and_the_best_positions_come_first_with_their_own_numbers_and_effects(root: Path) -> None:
    """Sums of two parts, named from the worst on, so that every label, cell and effect has to move."""
    entries = list(found_in(root).values())
    grid = grid_of(entries, [], [])
    of_tokenizer, of_positions = {"a": 0.1, "b": 0.5}, {"a": 0.1, "b": 0.0, "c": 0.3}
    records = [
        make_record(one, TRACK, 3, 0, of_tokenizer[one.name[0]] + of_positions[one.name[2]])
        for line in grid.pairs()
        for one in line
    ]
    save_all(root, records, below="cross")
    crossing = crossing_of(grid, TRACK, rows_of_cross(grid, entries, TRACK, root / "results", HARNESS))
    assert crossing.command == "harness cross --tokenizers b,a --positions c,a,b --track mine"
    text = as_text(crossing)
    assert "1 c  2 a  3 b" in text
    table, _, _, _, _, tokenizers, positions = (part.splitlines() for part in text.rstrip("\n").split("\n\n"))
    assert [line.split() for line in table[2:]] == [
        ["b", "80.0", "60.0", "50.0"],
        ["a", "40.0", "20.0", "10.0"],
    ]
    # The mean is 43.3; of the sum of squares 1/3, rows have 3 (0.2² + 0.2²), columns 2 (0.167² + 0.033² + 0.133²).
    effects = [[line.split()[:3] for line in lines[2:]] for lines in (tokenizers, positions)]
    assert effects == [
        [["b", "Characters", "+20.0"], ["a", "Characters", "-20.0"]],
        [
            ["c", "LearnedPositions", "+16.7"],
            ["a", "LearnedPositions", "-3.3"],
            ["b", "LearnedPositions", "-13.3"],
        ],
    ]
    assert re.search(r"the tokenizers explain 72 % \[\d+, \d+\], the positions 28 % \[\d+, \d+\]", text)
    for low, high in re.findall(r"% \[(\d+), (\d+)\]", text):
        assert int(low) <= int(high)
    assert "With pairs missing" not in text


def test_a_pair_whose_record_is_stale_is_not_run_yet_and_moves_no_effect(root: Path) -> None:
    entries = list(found_in(root).values())
    grid = grid_of(entries, [], ["a", "c"])
    *records, last = [make_record(one, TRACK, 3, 0, 0.5) for line in grid.pairs() for one in line]
    old = last.fingerprints.model_copy(update={"harness": "of old"})
    stale = make_record(grid.pairs()[1][1], TRACK, 3, 0, 0.9).model_copy(update={"fingerprints": old})
    save_all(root, [*records, stale], below="cross")
    text = as_text(crossing_of(grid, TRACK, rows_of_cross(grid, entries, TRACK, root / "results", HARNESS)))
    assert [line.split()[1:] for line in text.splitlines()[2:4]] == [["50.0", "50.0"], ["50.0", "·"]]
    assert "Mean of the grid: 50.0 %" in text
    assert "With pairs missing the three do not add up." in text
