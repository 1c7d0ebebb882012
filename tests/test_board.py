"""`leaderboard.md`: which files are written when, and what the page says of every track and of every row."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_records import (
    HARNESS,
    make_failure,
    make_record,
    make_submission,
    make_track,
    make_trials,
    save_all,
    save_track,
    with_lengths,
)
from markdown_it import MarkdownIt

import harness.board.rendering
from harness.board.drawing import LIGHT, SEAL, _figure_of, _seal
from harness.board.html import html_page
from harness.board.markdown import _identity, _mean, _mistakes, page
from harness.board.plots import AccuracyPlot
from harness.board.rendering import render, sections_of
from harness.board.text import plain
from harness.errors import MachineError, UsageError
from harness.ranking.scoring import rows_of
from harness.records import Checkpoint, Drift, Mistake, Score, Throughput, digest_of
from harness.track import EvaluationDefinition, load_track

HOSTILE = (
    "\x1b[31m|<script>alert(1)</script>|\n# no\t`x` [a](https://evil.example) **b** ![i](x) www.evil.example\u202e \x00"
)


@pytest.fixture(autouse=True)
def _fixed_harness(monkeypatch):
    monkeypatch.setattr(harness.board.rendering, "harness_fingerprint", lambda: HARNESS)


@pytest.fixture
def root(tmp_path) -> Path:
    """Three closed submissions and an open one, all run on `quick`."""
    track = load_track("quick")
    for name, share in {"columns": 0.99, "plain_one": 0.5, "reversed": 0.98}.items():
        save_all(tmp_path, make_trials(make_submission(tmp_path, name, title=f"Title of {name}"), track, share))
    save_all(tmp_path, make_trials(make_submission(tmp_path, "tuned", open_division=True), track, 1))
    return tmp_path


def board_of(root: Path) -> str:
    """The page alone: drawing takes most of the time of `render`."""
    return page(sections_of(root))


def section_of(board: str, name: str) -> str:
    """From the heading `## name` to the next one, so that no later text of the page can meet an assertion."""
    found = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", board, re.MULTILINE | re.DOTALL)
    assert found, f"no section {name}"
    return found[1]


def lines_about(board: str, name: str) -> list[str]:
    return [line for line in board.splitlines() if f"[{name}]" in line]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def headings_of(text: str) -> list[str]:
    """Of the first table."""
    return cells(next(line for line in text.splitlines() if line.startswith("|")))


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_first_call_writes_two_pages_and_four_plots_and_the_second_changes_no_byte(root):
    plots = [
        root / f"results/quick/{name}-{theme}.svg" for name in ("accuracy", "throughput") for theme in ("light", "dark")
    ]
    assert render(root) == [*plots, root / "leaderboard.html", root / "leaderboard.md"]
    before = contents(root)
    assert render(root) == []
    assert contents(root) == before


def test_check_names_what_differs_and_touches_nothing(root):
    before = contents(root)
    assert len(render(root, check=True)) == 6
    assert contents(root) == before
    render(root)
    assert render(root, check=True) == []


def test_check_sees_a_board_that_was_edited_and_a_plot_that_was_deleted(root):
    render(root)
    (root / "leaderboard.md").write_text(board_of(root) + "I won.\n")
    (root / "results/quick/accuracy-dark.svg").unlink()
    assert set(render(root, check=True)) == {root / "leaderboard.md", root / "results/quick/accuracy-dark.svg"}
    render(root)
    assert (root / "leaderboard.md").read_text() == board_of(root)


def test_a_plot_drawn_by_another_matplotlib_counts_as_equal_while_its_data_are(root):
    render(root)
    plot = root / "results/quick/accuracy-light.svg"
    text, _, _ = plot.read_text().replace("stroke-width", "stroke-width ").rpartition(SEAL)
    drawn_elsewhere = text + _seal(text)
    plot.write_text(drawn_elsewhere)
    assert render(root) == []
    assert plot.read_text() == drawn_elsewhere


def test_an_edited_plot_fails_the_check_and_is_drawn_anew(root):
    render(root)
    plot = root / "results/quick/accuracy-light.svg"
    drawn = plot.read_text()
    plot.write_text(drawn.replace("</svg>", "<text>100 %</text></svg>"))
    assert render(root, check=True) == [plot]
    render(root)
    assert plot.read_text() == drawn


def test_new_records_change_the_board_and_its_plots(root):
    render(root)
    save_all(root, make_trials(make_submission(root, "newcomer"), load_track("quick"), 0.7))
    assert len(render(root)) == 6


def test_the_board_does_not_depend_on_where_it_lies(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere") / "copy"
    (root / "results/strange/x").mkdir(parents=True)
    (root / "results/strange/x/d2-s0.json").write_text("{}")
    (root / "results/strange/track.yaml").write_text("name: 3\n")
    shutil.copytree(root, other)
    assert board_of(root) == board_of(other)


def test_a_row_shows_rank_link_title_interval_and_speeds(root):
    first = cells(lines_about(board_of(root), "columns")[0])
    assert first[:3] == ["1†", "[columns](submissions/columns)<br>Title of columns", "99.0 <sub>98.5–99.4</sub>"]
    assert first[3:] == ["0.25", "1.25", "0.75", "0.50", "fresh"]


def test_shared_ranks_carry_an_equals_sign(root):
    save_all(root, make_trials(make_submission(root, "twin"), load_track("quick"), 0.99))
    board = board_of(root)
    assert [cells(lines_about(board, name)[0])[0] for name in ("columns", "twin", "reversed")] == ["1=†", "1=†", "3†"]


def test_ranks_from_five_seeds_are_not_provisional(root):
    track = make_track(seeds=[0, 1, 2, 3, 4])
    save_track(root, track)
    save_all(root, make_trials(make_submission(root, "steady"), track, 0.9))
    section = section_of(board_of(root), "mine")
    assert cells(lines_about(section, "steady")[0])[0] == "1"
    assert "† provisional" not in section


def test_the_open_division_has_a_table_of_its_own(root):
    board = board_of(root)
    closed, opened = board.split("### Open division")
    assert cells(lines_about(opened, "tuned")[0])[0] == "1†"
    assert not lines_about(closed, "tuned")


def test_rows_that_do_not_rank_for_the_same_reason_share_a_line(root):
    track, changed = make_track(), make_track(seed=5)
    save_track(root, track)
    for name, share in (("one", 0.9), ("two", 0.8), ("three", 0.7)):
        save_all(root, make_trials(make_submission(root, name), track if name == "two" else changed, share))
    section = section_of(board_of(root), "mine")
    names = ", ".join(f"[{name}](submissions/{name})" for name in ("one", "three"))
    assert f"\n* {names}: **stale**, 4 of 4 trials: the track changed since\n" in section


def test_every_state_is_on_the_board_with_its_reason(root):
    track = make_track()
    save_track(root, track)
    one, two, three, gone = (make_submission(root, name) for name in ("one", "two", "three", "gone"))
    save_all(root, [*make_trials(one, track, 0.9)[:3], make_failure(one, track, 6, 1, "loss was nan")])
    save_all(root, make_trials(two, track, 0.8))
    save_all(root, make_trials(three, track, 0.7)[:1])
    save_all(root, make_trials(gone, track, 0.6))
    (root / "submissions/two/more.py").write_text("x = 1\n")
    shutil.rmtree(gone.folder)
    (root / "submissions/Wrong-Name").mkdir()
    torn = root / "results/mine/columns/d3-s0.json"
    torn.parent.mkdir()
    torn.write_text('{"format": 1, ')
    section = section_of(board_of(root), "mine")
    assert "[one](submissions/one): **failed**, 1 of 4 trials: loss was nan" in section
    assert "[two](submissions/two): **stale**, 4 of 4 trials: the submission changed since" in section
    assert "[three](submissions/three): **incomplete**, 1 of 4 trials" in section
    assert "gone: **unverified**, the folder is gone; put it back, or delete its records" in section
    assert "[columns](submissions/columns): **unverified**, d3-s0.json is truncated" in section
    assert "**not run**: [plain_one](submissions/plain_one), [reversed](submissions/reversed)" in section
    assert "Wrong-Name" in section
    # Failed, and still with the accuracy that it has.
    assert "90.0" in lines_about(section, "one")[0]


def test_a_submission_that_ran_on_another_track_only_is_named_below_the_table_and_has_no_row(root):
    save_track(root, make_track())
    save_all(root, make_trials(make_submission(root, "one"), make_track(), 0.9))
    section = section_of(board_of(root), "mine")
    assert [line for line in lines_about(section, "columns") if line.startswith("|")] == []
    assert "* **not run**: [columns](submissions/columns), [plain_one](submissions/plain_one)" in section
    for i in range(12):
        make_submission(root, f"other_{i}")
    section = section_of(board_of(root), "mine")
    assert "* **not run**: 16 submissions; `harness run --track mine -n` names them" in section


def test_a_page_of_several_tracks_starts_with_links_to_them(root):
    assert "\n[quick](#quick) · [How to read this](" in board_of(root).split("## quick")[0]
    save_all(root, make_trials(make_submission(root, "one"), load_track("smoke"), 1))
    assert "\n[quick](#quick) · [smoke](#smoke) · [How to read this](" in board_of(root).split("## quick")[0]


def test_the_details_name_authors_the_share_of_every_seed_and_of_the_ids_that_were_seen(root):
    track = make_track(digits=[3], seeds=[0, 1, 2])
    save_track(root, track)
    one = make_submission(root, "one")
    shares = {0.1: 0.2, 0.95: 0.4, 0.5: 0.3}
    save_all(root, [make_record(one, track, 3, i, right, seen=seen) for i, (right, seen) in enumerate(shares.items())])
    section = section_of(board_of(root), "mine")
    details = section.split("Details")[1]
    headings = cells(next(line for line in details.splitlines() if line.startswith("| submission")))
    row = dict(zip(headings, cells(lines_about(details, "one")[0]), strict=True))
    assert (row["authors"], row["by seed"], row["ids seen"]) == ("Ada", "10.0, 95.0, 50.0", "30.0")


def test_beyond_the_trained_lengths_stand_the_best_checkpoint_and_how_far_the_rows_of_the_table_moved(root):
    evaluation = EvaluationDefinition(fresh=1000, test=1000, lengths=1000, validation=100)
    track = make_track(digits=[3], seeds=[0], longest=5, evaluation=evaluation)
    save_track(root, track)
    drift = Drift(rows=14, touched_rows=10, touched=0.1455, untouched=None)
    made = make_record(make_submission(root, "one"), track, 3, 0, 0.5, drift=drift)
    assert made.suites
    lengths = {length: Score(correct=one.total, total=one.total) for length, one in made.suites.lengths.items()}
    best = Checkpoint(step=7, validation_accuracy=0.5, lengths=lengths)
    save_all(root, [made.model_copy(update={"best": best})])
    section = section_of(board_of(root), "mine")
    assert "1,000 of each length (100 of one digit), and as many fresh ones beyond training" in section
    details = section.split("Details")[1]
    headings = cells(next(line for line in details.splitlines() if line.startswith("| submission")))
    row = dict(zip(headings, cells(lines_about(details, "one")[0]), strict=True))
    assert row["rows trained, moved by, others by"] == "10 of 14, 0.15, –"
    (mine,) = (one for one in sections_of(root) if one.name == "mine")
    (plot,) = (plot for plot in mine.plots if isinstance(plot, AccuracyPlot))
    (panel,) = (axes for axes in _figure_of(plot, LIGHT).axes if axes.get_visible())
    curves = {line.get_color(): line.get_ydata() for line in panel.lines if len(line.get_ydata()) == 5}
    assert list(curves[LIGHT.series[0]]) == [0.5] * 5
    assert list(curves[LIGHT.series[1]]) == [1.0] * 5


def test_hostile_text_reaches_the_page_as_text_only(root):
    track = load_track("quick")
    bad = make_submission(root, "bad", title=plain(HOSTILE, 80))
    worse = make_submission(root, "worse")
    record = make_record(bad, track, 2, 0, 0.3, mistakes=[Mistake(prompt=HOSTILE, answer="1", got=HOSTILE)])
    environment = record.environment.model_copy(update={"device": HOSTILE, "torch": HOSTILE})
    save_all(root, [record.model_copy(update={"environment": environment})])
    save_all(root, [make_failure(worse, track, 2, 0, HOSTILE)])
    (root / f"results/{HOSTILE[5:9]}b>/x").mkdir(parents=True)
    (root / f"results/{HOSTILE[5:9]}b>/x/d2-s0.json").write_text("{}")
    board = board_of(root)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", board)
    rendered = MarkdownIt("gfm-like", {"linkify": False}).render(board)
    allowed = {
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "details",
        "summary",
        "picture",
        "source",
        "img",
        "sub",
        "br",
    }
    text_tags = {"h1", "h2", "h3", "p", "em", "strong", "code", "ul", "li", "a"}
    assert set(re.findall(r"</?([a-zA-Z0-9]+)", rendered)) <= allowed | text_tags
    links = set(re.findall(r'(?:href|src|srcset)="([^"]*)"', rendered))
    assert all(link.startswith(("submissions/", "results/quick/", "#")) for link in links)
    assert "alert(1)" in rendered
    # GitHub makes links of bare addresses, and a bar would open a cell.
    assert "https://evil" not in board
    assert "www.evil" not in board
    for table in re.findall(r"(?:^\|.*\n)+", board, re.MULTILINE):
        assert len({len(cells(line)) for line in table.splitlines()}) == 1


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("suites", "fresh"), {"correct": 10**30, "total": 10**30}),
        (("throughput", "train_ratio"), 1e308),
        (("throughput", "train_ratio"), -1.0),
        (("throughput", "decode_ratio"), 1e10),
        (("throughput", "train_examples_per_second"), 1e300),
        (("seconds", "total"), 1e308),
        (("parameters", "positions"), 10**300),
        (("peak_memory_bytes",), 10**30),
        (("curve", 0, "examples"), 10**400),
        (("fresh_seed",), 2**63),
    ],
)
def test_a_sealed_record_with_a_number_that_nothing_can_be_is_one_unverified_row_of_a_whole_page(root, place, value):
    path = root / "results/quick/columns/d2-s0.json"
    values = json.loads(path.read_text())
    values["seconds"] = {"encode": 1.0, "train": 1.0, "decode": 1.0, "total": 3.0}
    values["curve"] = [{"step": 1, "examples": 64, "loss": None, "accuracy": 0.5, "digit_accuracy": 0.5}]
    holder = values
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    values["digest"] = digest_of(values)
    path.write_text(json.dumps(values))
    render(root)
    board = (root / "leaderboard.md").read_text()
    assert "[columns](submissions/columns): **unverified**, d2-s0.json" in board
    assert cells(lines_about(board, "reversed")[0])[0] == "1†"


@pytest.mark.parametrize("number", [0.0, 1e-300, 1e9])
def test_the_slowest_and_the_fastest_that_a_record_may_say_can_be_drawn(root, number):
    one, track = make_submission(root, "one"), load_track("quick")
    speed = Throughput(**dict.fromkeys(Throughput.model_fields, number))
    save_all(root, make_trials(one, track, 0.7, throughput=speed))
    render(root)
    assert cells(lines_about((root / "leaderboard.md").read_text(), "one")[0])[0] == "3†"


def test_speeds_say_on_which_of_two_devices_they_were_measured(root):
    record = make_record(make_submission(root, "fast"), load_track("quick"), 2, 0, 0.9)
    environment = record.environment.model_copy(update={"device": "Other GPU"})
    save_all(root, [record.model_copy(update={"environment": environment})])
    board = board_of(root)
    headers = cells(next(line for line in board.splitlines() if "train ×" in line and line.startswith("|")))
    assert [header for header in headers if "×" in header] == ["encode ×", "train ×", "score ×", "decode ×"]
    row = dict(zip(headers, cells(lines_about(board, "fast")[0]), strict=True))
    assert (row["encode ×"], row["train ×"], row["score ×"], row["decode ×"]) == ("0.25", "1.25", "0.75", "0.50")
    assert row["speeds on"] == "Other GPU"
    assert "Measured on: Other GPU (torch 2.13.0); Some CPU (torch 2.13.0)" in board


def test_two_devices_whose_names_begin_alike_are_told_apart(root):
    track = make_track(digits=[3], seeds=[0])
    save_track(root, track)
    for name, model in (("one", "8375C CPU @ 2.90GHz"), ("other", "8488C")):
        record = make_record(make_submission(root, name), track, 3, 0, 0.9)
        device = f"CPU: Intel(R) Xeon(R) Platinum Processor {model}"
        save_all(
            root, [record.model_copy(update={"environment": record.environment.model_copy(update={"device": device})})]
        )
    board = section_of(board_of(root), "mine")
    headers = cells(next(line for line in board.splitlines() if "train ×" in line and line.startswith("|")))
    for name, own in (("one", "8375C"), ("other", "8488C")):
        row = dict(zip(headers, cells(lines_about(board, name)[0]), strict=True))
        assert row["train ×"] == "1.25"
        assert own in row["speeds on"]


def test_a_custom_track_is_shown_with_the_command_that_runs_it(root):
    track = make_track(name="mine")
    save_track(root, track)
    save_all(root, make_trials(make_submission(root, "one"), track, 0.9))
    section = section_of(board_of(root), "mine")
    assert "`harness all --track mine`" in section
    headings = cells(next(line for line in section.splitlines() if line.startswith("|")))
    assert headings[:5] == ["rank", "submission", "mean", "3 digits", "6 digits"]


@pytest.mark.parametrize("definition", [None, "name: other\n", "{", "name: [1"])
def test_a_track_that_cannot_be_read_is_a_notice_not_a_crash(root, definition):
    folder = root / "results/lost/one"
    folder.mkdir(parents=True)
    (folder / "d2-s0.json").write_text("{}")
    if definition:
        (root / "results/lost/track.yaml").write_text(definition)
    section = section_of(board_of(root), "lost")
    assert "Its records (1) cannot be shown: " in section


def test_a_track_file_of_another_name_is_a_notice(root):
    save_track(root, make_track(name="mine"))
    (root / "results/mine").rename(root / "results/yours")
    (root / "results/yours/one").mkdir()
    (root / "results/yours/one/d3-s0.json").write_text("{}")
    assert "defines a track of another name, mine" in board_of(root)


def test_sections_stand_in_the_fixed_order(root):
    one = make_submission(root, "one")
    for name in ("smoke", "standard", "length", "notebook"):
        track = load_track(name)
        save_all(root, [make_record(one, track, track.digits[0], 0, 0.5)])
    custom = make_track(name="custom")
    save_track(root, custom)
    save_all(root, make_trials(one, custom, 0.5))
    sections = re.findall(r"^## (.*)$", board_of(root), re.MULTILINE)
    assert sections[:6] == ["quick", "standard", "notebook", "length", "custom", "smoke"]


def test_smoke_shows_scores_and_no_ranks(root):
    save_all(root, make_trials(make_submission(root, "one"), load_track("smoke"), 1))
    section = section_of(board_of(root), "smoke")
    assert "rank |" not in section
    assert lines_about(section, "one")


def test_the_length_track_shows_every_length_from_the_longest_trained_one_and_ranks_by_seed(root):
    evaluation = EvaluationDefinition(fresh=100, test=100, lengths=10, validation=10)
    track = make_track(name="mine", digits=[2], seeds=[0, 1], longest=4, evaluation=evaluation)
    one = make_submission(root, "one")
    save_track(root, track)
    for record, right in zip(make_trials(one, track, 1), (0.8, 0.4), strict=True):
        lengths = {
            length: Score(correct=score.total if int(length) < 3 else round(right * score.total), total=score.total)
            for length, score in record.suites.lengths.items()
        }
        best = Checkpoint(step=1, validation_accuracy=0.5, lengths=record.suites.lengths)
        save_all(root, [with_lengths(record, lengths).model_copy(update={"best": best})])
    section = section_of(board_of(root), "mine")
    table = section.split("Exact match by digits of the longer operand")[1].split("</details>")[0]
    assert headings_of(table) == ["submission", "weights", "2", "3", "4"]
    assert [cells(line)[1:] for line in lines_about(table, "one")] == [
        ["final", "100.0", "60.0", "60.0"],
        ["best checkpoint", "100.0", "100.0", "100.0"],
    ]
    details = section.split("<summary>Details</summary>")[1]
    headings = headings_of(details)
    assert cells(lines_about(details, "one")[0])[headings.index("by seed")] == "80.0, 40.0"


def test_rows_of_two_trainings_by_length_and_their_plot_say_how_far_each_was_trained(root):
    evaluation = EvaluationDefinition(fresh=100, test=100, lengths=10, validation=10)
    track = make_track(name="mine", digits=[2, 3], seeds=[0], longest=4, evaluation=evaluation)
    one = make_submission(root, "one")
    save_track(root, track)
    save_all(root, [make_record(one, track, 2, 0, 0.5), make_record(one, track, 3, 0, 0.8)])
    section = section_of(board_of(root), "mine")
    table = section.split("Exact match by digits of the longer operand")[1].split("</details>")[0]
    assert headings_of(table) == ["submission", "trained to", "weights", "2", "3", "4"]
    assert [cells(line)[1:] for line in lines_about(table, "one")] == [
        ["2", "final", "50.0", "50.0", "50.0"],
        ["3", "final", "–", "80.0", "80.0"],
    ]
    assert "Exact match at 1 to 4 digits after training on 1 to 3" in section


def test_a_stale_row_that_was_asked_published_problems_beyond_training_is_marked(root):
    evaluation = EvaluationDefinition(fresh=100, test=100, lengths=10, validation=10)
    track = make_track(name="mine", digits=[2], seeds=[0], longest=4, evaluation=evaluation)
    old, new = make_submission(root, "old"), make_submission(root, "new")
    save_track(root, track)
    (record,) = make_trials(old, track, 0.8)
    suites = record.suites.model_copy(update={"fresh_lengths": {}})
    fingerprints = record.fingerprints.model_copy(update={"track": "0" * 16})
    save_all(root, make_trials(new, track, 0.8))
    assert "‡" not in section_of(board_of(root), "mine")
    save_all(root, [record.model_copy(update={"suites": suites, "fingerprints": fingerprints})])
    section = section_of(board_of(root), "mine")
    assert [cells(lines_about(section, name)[0])[-1] for name in ("new", "old")] == ["fresh", "stale‡"]
    assert "\n\n‡ beyond training, scored on published problems" in section
    html = html_page(sections_of(root))
    assert ">stale‡<" in html
    assert "‡ beyond training, scored on published problems" in html


def test_the_length_track_shows_its_reach_and_draws_its_training_range(root):
    track, one = load_track("length"), make_submission(root, "one")
    lengths = {str(n): Score(correct=1000 if n <= 13 else 100, total=1000) for n in range(2, 21)}
    lengths["1"] = Score(correct=100, total=100)
    for record in make_trials(one, track, 0.9):
        save_all(root, [with_lengths(record, lengths)])
    section = section_of(board_of(root), "length")
    ranking, details = lines_about(section, "one")[0], lines_about(section.split("Details")[1], "one")[0]
    assert "13 <sub>13–13</sub>" in ranking
    assert "13, 13, 13" in cells(details)
    render(root)
    assert "after training on 1 to 10 (shaded)" in (root / "results/length/accuracy-light.svg").read_text()


def test_without_results_the_board_says_how_to_get_some(tmp_path):
    make_submission(tmp_path, "one")
    assert "harness all" in board_of(tmp_path)


def test_without_submissions_there_is_no_board(tmp_path):
    with pytest.raises(UsageError):
        render(tmp_path)


def test_a_board_that_cannot_be_written_is_the_machines_error(root):
    (root / "leaderboard.md").mkdir()
    with pytest.raises(MachineError, match=r"leaderboard\.md could not be written"):
        render(root)


def test_importing_the_board_does_not_load_torch():
    code = "import sys, json, harness.board; print(json.dumps('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False


def test_a_mean_over_numbers_of_digits_is_shown_once_all_are_there(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    records = [make_record(one, track, 3, seed, 0.5) for seed in track.seeds]
    (row,) = rows_of(track, [one], records, HARNESS)
    assert _mean(row, track, lambda result: result.test) is None
    (row,) = rows_of(track, [one], make_trials(one, track, 0.5), HARNESS)
    assert _mean(row, track, lambda result: result.test) == "50.0"


def test_only_rows_that_rank_are_cited(tmp_path):
    track = make_track(digits=[3], seeds=[0])
    one, two = (make_submission(tmp_path, name) for name in ("one", "two"))
    ranked, other = (make_record(submission, track, 3, 0, 0.5) for submission in (one, two))
    environment = other.environment.model_copy(update={"commit": "0ther"})
    other = other.model_copy(update={"environment": environment, "isolation": "none"})
    cited = _identity(track, rows_of(track, [one, two], [ranked, other], HARNESS))[0]
    assert "; commit abc" in cited
    assert "0ther" not in cited


def test_an_empty_answer_is_shown_as_nothing(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    silent = make_record(one, track, 3, 0, 0.5, mistakes=[Mistake(prompt="1+1=", answer="2", got="")])
    assert "(nothing)" in "".join(_mistakes(rows_of(track, [one], [silent], HARNESS)))
