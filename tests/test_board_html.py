"""`leaderboard.html`: the numbers of the records, strangers' text as text, and a script that does what it should."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_records import HARNESS, make_record, make_submission, make_track, make_trials, save_all, save_track

import harness.board.rendering
from harness.board.card import _carry, _curves, _facts, _lengths, _marked, _mistakes, _trial
from harness.board.html import _columns, _details, html_page
from harness.board.markdown import page as board_as_markdown
from harness.board.rendering import render, sections_of
from harness.ranking.rulings import Cleared, Rulings
from harness.ranking.scoring import Row, rows_of
from harness.records import Audit, Checkpoint, CurvePoint, Environment, Mistake, Parameters, Score, Seconds
from harness.track import EvaluationDefinition, Track, load_track

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "</mark></td><b>\" onclick='a' {{ 7 * 7 }} \x1b[31m\u202e"
LOADS = {"src", "srcset", "data", "poster", "action", "formaction", "background", "style"}


class Page(HTMLParser):
    """The page as a browser's parser sees it: tags, attributes, and the text of every table cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.rows: list[list[str]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data
        for tag in self.texts:
            if tag in self._open:
                self.texts[tag][-1] += data

    def row_of(self, first_words: str) -> list[str]:
        """The first one with a cell that begins so."""
        return next(row for row in self.rows if any(cell.startswith(first_words) for cell in row))


@pytest.fixture(autouse=True)
def _fixed_harness(monkeypatch):
    monkeypatch.setattr(harness.board.rendering, "harness_fingerprint", lambda: HARNESS)


@pytest.fixture
def root(tmp_path) -> Path:
    """Three submissions on `quick`; `plain_one` has a curve and a mistake."""
    track = load_track("quick")
    for name, share in {"columns": 0.99, "reversed": 0.75}.items():
        save_all(tmp_path, make_trials(make_submission(tmp_path, name, title=f"Title of {name}"), track, share))
    curve = [CurvePoint(step=i, examples=i, loss=None, accuracy=i / 200, digit_accuracy=0.5) for i in (0, 50, 100)]
    mistakes = [Mistake(prompt="57+68=", answer="125", got="115")]
    plain_one = make_submission(tmp_path, "plain_one")
    save_all(tmp_path, [make_record(plain_one, track, 2, 0, 0.5, curve=curve, mistakes=mistakes)])
    return tmp_path


def text_of(root: Path) -> str:
    return html_page(sections_of(root))


def test_a_row_shows_rank_share_interval_carry_and_speeds_of_the_records(root):
    row = Page(text_of(root)).row_of("reversed")
    # Wilson's interval of 1500 of 2000: 0.7306 to 0.7685.
    assert row[:4] == ["2†", "reversedTitle of reversed", "fresh", "75.0 73.1–76.8"]
    assert row[4:] == ["12.5", "75.0", "75.0", "76.0", "–", "0.25", "1.25", "0.75", "0.50"]


def test_speeds_of_several_devices_say_which_is_theirs(root):
    track = load_track("quick")
    for name, model in (("one", "8375C CPU @ 2.90GHz"), ("other", "8488C")):
        record = make_record(make_submission(root, name), track, 2, 0, 0.9)
        device = f"CPU: Intel(R) Xeon(R) Platinum Processor {model}"
        environment = record.environment.model_copy(update={"device": device})
        save_all(root, [record.model_copy(update={"environment": environment})])
    page = Page(text := text_of(root))
    headings, *_ = page.rows
    column = headings.index("speeds on")
    own = {name: page.row_of(name)[column] for name in ("one", "other", "plain_one")}
    assert len(set(own.values())) == 3
    assert f"speeds on {own['other']}: CPU: Intel(R) Xeon(R) Platinum Processor 8488C" in text
    assert f"speeds on {own['one']}: CPU: Intel(R) Xeon(R) Platinum Processor 8375C CPU @ 2.90GHz" in text


def test_without_a_second_device_nothing_is_said_of_devices(root):
    assert "speeds on" not in Page(text_of(root)).rows[0]


def test_a_card_has_the_curve_the_carries_the_mistake_and_the_trial(root):
    text = text_of(root)
    # Of a field 260 wide and 90 high: 0, 0.25 and 0.5 at examples 0, 50 and 100.
    assert '<polyline points="0.0,90.0 130.0,67.5 260.0,45.0">' in text
    page = Page(text)
    assert page.row_of("2 digits, seed 0")[1:4] == ["1980 of 2000", "990 of 1000", "25 of 25"]
    assert page.row_of("57+68=") == ["57+68=", "125", "115"]
    assert "1<mark>1</mark>5" in text


def test_a_chart_of_lengths_says_how_long_the_operands_of_its_own_training_were(root):
    evaluation = EvaluationDefinition(fresh=100, test=100, lengths=10, validation=10)
    track = make_track(digits=[2, 3], seeds=[0], longest=5, evaluation=evaluation)
    save_track(root, track)
    for digits in track.digits:
        save_all(root, [make_record(make_submission(root, f"at_{digits}"), track, digits, 0, 0.5)])
    text = text_of(root)
    title = "exact match by digits of the longer operand, trained up to"
    assert set(re.findall(rf"{title} (\d+)", text)) == {"2", "3"}
    # In the table, at the last number of digits: a bar of half the height for each length, those of training grey.
    (drawing,) = re.findall(r'<svg class="lengths".*?</svg>', text, flags=re.S)
    assert "<title>1: 50.0, 2: 50.0, 3: 50.0, 4: 50.0, 5: 50.0</title>" in drawing
    assert re.findall(r'class="(trained|value)".*? y="(.*?)" height="(.*?)"', drawing) == [
        *(("trained", "50.00", "50.00"),) * 3,
        *(("value", "50.00", "50.00"),) * 2,
    ]


@pytest.mark.parametrize(
    ("answer", "got", "pieces"),
    [
        ("125", "115", [("1", False), ("1", True), ("5", False)]),
        ("99", "199", [("1", True), ("99", False)]),
        ("100", "00", [("00", False)]),
        ("7", "", [("(nothing)", True)]),
        ("12", "x3", [("x3", True)]),
    ],
)
def test_wrong_digits_are_marked_at_their_place_from_the_right(answer, got, pieces):
    assert _marked(Mistake(prompt="1+1=", answer=answer, got=got)) == pieces


def test_text_of_strangers_is_text(root):
    track = load_track("quick")
    benign = Page(text_of(root))
    hostile = make_submission(
        root, "hostile", title="</small></td><script>alert(1)</script><img src=x onerror=alert(1)>"
    )
    got = Mistake(prompt="1+1=", answer="2", got=HOSTILE)
    save_all(root, [make_record(hostile, track, 2, 0, 0.9, mistakes=[got])])
    text = text_of(root)
    page = Page(text)
    assert page.tags["script"] == benign.tags["script"] == 1
    assert page.tags.keys() == benign.tags.keys()
    assert {(tag, name) for tag, name, _ in page.attributes} == {(tag, name) for tag, name, _ in benign.attributes}
    assert "<script>alert(1)</script>" in page.row_of("hostile")[1]
    assert "{{ 7 * 7 }}" in page.row_of("1+1=")[2]
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)


def test_names_of_folders_that_are_no_text_are_on_the_page_and_do_not_stop_it(root):
    for folder in (b"quick/\xff\xfe", b"lost/\xff", b"\xfe/one"):
        record = root / "results" / os.fsdecode(folder) / "d2-s0.json"
        record.parent.mkdir(parents=True)
        record.write_text("{}")
    assert root / "leaderboard.html" in render(root)
    assert render(root) == []
    text = (root / "leaderboard.html").read_text(encoding="utf-8")
    assert Page(text).row_of("\ufffd\ufffd")[2] == "unverified"
    assert "\ufffd" in re.findall("<h2>(.*)</h2>", text)
    assert "**unverified**" in next(
        line for line in (root / "leaderboard.md").read_text().splitlines() if line.startswith("* \ufffd\ufffd: ")
    )


def test_the_page_loads_nothing_and_its_policy_names_its_own_style_and_script(root):
    page = Page(text_of(root))
    assert not [one for one in page.attributes if one[1] in LOADS or one[1].startswith("on")]
    assert "url(" not in page.texts["style"][0]
    assert "@import" not in page.texts["style"][0]
    links = {value for _, name, value in page.attributes if name == "href"}
    assert links == {"#guide1", "#quick-columns", "#quick-reversed", "#quick-plain_one"}
    (policy,) = [value for tag, name, value in page.attributes if (tag, name) == ("meta", "content") and "src" in value]
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.texts[tag][0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")


def test_of_several_tracks_each_is_linked_and_names_those_that_never_ran_on_it(root):
    assert "Tracks: " not in text_of(root)
    save_all(root, make_trials(make_submission(root, "smoke"), load_track("smoke"), 0.9))
    text = text_of(root)
    page = Page(text)
    targets = [value for _, name, value in page.attributes if name == "id"]
    assert len(targets) == len(set(targets))
    links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href") and "#track-" in value]
    assert links == ["#track-quick", "#track-smoke"]
    assert {link[1:] for link in links} <= set(targets)
    assert "Not run on this track: columns, plain_one, reversed" in text.split('id="track-smoke"')[1]


def test_a_row_that_is_not_fresh_says_so_beside_its_name_and_why_and_is_grey(root):
    (root / "submissions" / "columns" / "submission.py").write_text("x = 1\n")
    text = text_of(root)
    row = Page(text).row_of("columns")
    assert row[1].endswith("stale: 1 of 1 trial: the submission changed since")
    assert row[2] == "stale"
    grey = {name: "unranked" in rest for name, rest in re.findall(r'<tr data-words="(\w+)[^"]*"([^>]*)>', text)}
    assert grey == {"columns": True, "reversed": False, "plain_one": False}


def test_every_link_leads_to_a_place_of_the_page(root):
    page = Page(text_of(root))
    anchors = {value for _, name, value in page.attributes if name == "id"}
    assert {value[1:] for _, name, value in page.attributes if name == "href" and value.startswith("#")} <= anchors


def test_the_page_ends_with_the_text_that_says_how_to_read_it(root):
    """Word by word that of `leaderboard.md`, with Markdown's marks taken away."""
    (end,) = re.findall(r"<hr>(.*)<script>", text_of(root), re.DOTALL)
    shown = unescape(re.sub(r"<[^>]*>", "", end)).split()
    guide = board_as_markdown(sections_of(root)).partition("## How to read this")[2]
    words = re.sub(r"[*`]", "", guide).replace("## ", "").split()
    assert shown[-len(words) :] == words


PAGES = """
import sys
from pathlib import Path

import harness.board.rendering as rendering
from harness.board.html import html_page
from harness.board.markdown import page

rendering.harness_fingerprint = lambda: sys.argv[2]
sections = rendering.sections_of(Path(sys.argv[1]))
sys.stdout.buffer.write((html_page(sections) + page(sections)).encode())
"""


def test_the_same_records_give_the_same_bytes(root):
    """Also where sets have another order."""
    command = [sys.executable, "-c", PAGES, str(root), HARNESS]
    zero, one = (
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("0", "1")
    )
    assert zero == one
    assert "Title of columns" in zero.decode()


def test_without_records_the_page_says_what_to_do(tmp_path):
    make_submission(tmp_path, "one")
    assert "Nothing has been run yet" in text_of(tmp_path)


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on the path")


def dom_after(page: str, tmp_path: Path, fragment: str = "") -> str:
    """What the page is when its script has run, in a real browser."""
    file = tmp_path / "page.html"
    file.write_text(page, encoding="utf-8")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--dump-dom", f"{file.as_uri()}{fragment}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def with_a_click(page: str, action: str) -> str:
    """The page without its policy, with one more script: what a reader does."""
    return re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", page) + f"<script>{action}</script>"


def order_of(dom: str) -> list[str]:
    """The names in the table, from the top."""
    return re.findall(r'<tr data-words="(\w+)', dom)


@needs_browser
def test_under_its_policy_the_script_runs_and_a_link_opens_its_card(root, tmp_path_factory):
    dom = dom_after(text_of(root), tmp_path_factory.mktemp("browser"), "#quick-plain_one")
    assert re.findall(r'<details[^>]*data-words="(\w+)[^>]*open', dom) == ["plain_one"]


@needs_browser
def test_the_link_at_the_top_opens_what_says_how_to_read_the_page(root, tmp_path_factory):
    dom = dom_after(text_of(root), tmp_path_factory.mktemp("browser"), "#guide1")
    assert re.findall(r'<details class="guide" open[^>]*>\s*<summary><b>([^<]*)', dom) == ["How to read this"]


@needs_browser
def test_a_click_on_a_head_sorts_and_another_turns_it_round(root, tmp_path_factory):
    assert order_of(text_of(root)) == ["columns", "reversed", "plain_one"]
    name, share = (f"document.querySelectorAll('.board th button')[{column}].click();" for column in (1, 3))
    for action, expected in (
        (name, ["columns", "plain_one", "reversed"]),
        (name + name, ["reversed", "plain_one", "columns"]),
        (share, ["columns", "reversed", "plain_one"]),
        (share + share, ["plain_one", "reversed", "columns"]),
    ):
        dom = dom_after(with_a_click(text_of(root), action), tmp_path_factory.mktemp("browser"))
        assert order_of(dom) == expected


@needs_browser
def test_a_title_of_one_long_word_leaves_the_scores_in_sight(root, tmp_path_factory):
    save_all(root, make_trials(make_submission(root, "wide", title="W" * 80), load_track("quick"), 0.99))
    score = "document.querySelector('.board td:nth-child(4)').getBoundingClientRect().right"
    measure = f"document.title = [{score}, document.documentElement.scrollWidth, innerWidth].map(Math.round)"
    dom = dom_after(with_a_click(text_of(root), measure), tmp_path_factory.mktemp("browser"))
    (measured,) = re.findall("<title>([0-9,]+)</title>", dom)
    score_ends, page_ends, window_ends = map(int, measured.split(","))
    assert score_ends < window_ends
    assert page_ends <= window_ends


@needs_browser
def test_the_search_keeps_rows_and_cards_with_every_word(root, tmp_path_factory):
    typing = (
        "const field = document.querySelector('.search input'); field.value = 'title REVERSED';"
        "field.dispatchEvent(new Event('input'));"
    )
    dom = dom_after(with_a_click(text_of(root), typing), tmp_path_factory.mktemp("browser"))
    hidden = re.findall(r'<(?:tr|details)[^>]*data-words="(\w+)[^>]*hidden=""', dom)
    assert sorted(hidden) == ["columns", "columns", "plain_one", "plain_one"]
    assert "1 shown" in dom


def test_chains_of_carries_stand_in_the_order_of_their_numbers(tmp_path):
    track, one = make_track(digits=[10], seeds=[0]), make_submission(tmp_path, "one")
    assert [chain for chain, _ in _carry([make_record(one, track, 10, 0, 0.5)])] == [str(chain) for chain in range(11)]


def test_a_curve_runs_over_examples(tmp_path):
    """On 260 by 90 points: half of the steps had seen 100 of 640 examples."""
    track, one = make_track(), make_submission(tmp_path, "one")
    seen = [(0, 0), (5, 100), (10, 640)]
    curve = [CurvePoint(step=s, examples=n, loss=None, accuracy=0, digit_accuracy=0) for s, n in seen]
    (line,) = _curves("curve", [make_record(one, track, 3, 0, 0.5, curve=curve)]).lines
    assert line.points == "0.0,90.0 40.6,90.0 260.0,90.0"


def test_details_are_of_the_largest_number_of_digits():
    assert any("at 6 digits" in column.help for column in _details(make_track(digits=[3, 6])))


def shown_in(track: Track, row: Row) -> dict[str, str]:
    """By the head of its column, what stands in the row's cell."""
    return {column.heading: column.cell(row).text for column in _columns(track, [row])}


def test_every_column_shows_the_number_that_its_head_names(tmp_path):
    evaluation = EvaluationDefinition(fresh=100, test=100, carry=100, lengths=100, validation=10)
    track = make_track(digits=[2], seeds=[0], longest=4, evaluation=evaluation)
    one = make_submission(tmp_path, "one")
    record = make_record(one, track, 2, 0, 0.92, seen=0.11, digit_accuracy=0.98)
    assert record.suites is not None
    carry = {str(chain): Score(correct=50 - 10 * chain, total=100) for chain in range(3)}
    suites = record.suites.model_copy(update={"carry": carry, "edge": Score(correct=19, total=25)})
    (row,) = rows_of(track, [one], [record.model_copy(update={"suites": suites})], HARNESS)
    cells = shown_in(track, row)
    # 92 of 100 at each of four lengths: that is 90 % by the share, and at no length by the interval.
    expected = {"reach": "4", "ids seen": "11.0", "digit accuracy": "98.0", "longest carry": "30.0", "edge": "76.0"}
    assert {head: cells[head] for head in expected} == expected
    assert cells["examples to 90 %"] == "12.8k"
    keys = [column.cell(row).key for column in _columns(track, [row]) if column.is_number]
    assert all(isinstance(key, (int, float)) for key in keys)  # or a click would sort 10 before 9


def test_a_rank_of_the_open_division_says_so_and_sorts_behind_those_of_the_closed(root):
    track = load_track("quick")
    save_all(root, make_trials(make_submission(root, "tuned", open_division=True), track, 1))
    (section,) = sections_of(root)
    ranks = {row.name: _columns(track, section.rows)[0].cell(row) for row in section.rows}
    assert {name: rank.text for name, rank in ranks.items()} == {
        "tuned": "open 1†",
        "columns": "1†",
        "reversed": "2†",
        "plain_one": "3†",
    }
    assert sorted(ranks, key=lambda name: ranks[name].key) == ["columns", "reversed", "plain_one", "tuned"]
    states = {row.name: shown_in(track, row)["state"] for row in section.rows}
    assert states == {"tuned": "fresh, open", "columns": "fresh", "reversed": "fresh", "plain_one": "fresh"}


def test_each_number_of_digits_has_a_column_of_its_own_and_the_mean_decides(tmp_path):
    track, one = make_track(digits=[3, 6], seeds=[0]), make_submission(tmp_path, "one")
    records = [make_record(one, track, digits, 0, share) for digits, share in ((3, 0.9), (6, 0.5))]
    (row,) = rows_of(track, [one], records, HARNESS)
    assert list(shown_in(track, row).values())[3:6] == ["70.0", "90.0", "50.0"]


def test_a_length_track_has_a_column_of_the_first_length_beyond_training_and_one_of_all(tmp_path):
    evaluation = EvaluationDefinition(fresh=100, test=100, lengths=100, validation=10)
    track = make_track(digits=[2], seeds=[0], longest=4, evaluation=evaluation)
    one = make_submission(tmp_path, "one")
    record = make_record(one, track, 2, 0, 0.9)
    assert record.suites is not None
    fresh = {"3": Score(correct=60, total=100), "4": Score(correct=0, total=100)}
    record = record.model_copy(update={"suites": record.suites.model_copy(update={"fresh_lengths": fresh})})
    (row,) = rows_of(track, [one], [record], HARNESS)
    cells = shown_in(track, row)
    assert (cells["mean of 3–4 digits"], cells["3 digits"], cells["1–2 digits"]) == ("30.0", "60.0", "90.0")
    assert "4 digits" not in cells
    (column,) = (column for column in _columns(track, [row]) if column.heading == "by digits")
    assert column.cell(row).lengths == ((1, 0.9, True), (2, 0.9, True), (3, 0.6, False), (4, 0.0, False))
    assert column.cell(row).key == pytest.approx((0.9 + 0.9 + 0.6 + 0.0) / 4)
    (column,) = (column for column in _columns(track, [row]) if column.heading == "3 digits")
    # Wilson's interval of 60 of 100: 0.5020 to 0.6906.
    assert column.cell(row).interval == "50.2–69.1"


def test_a_trial_is_told_under_the_headings_of_its_table(tmp_path):
    track, one = make_track(digits=[3], seeds=[4]), make_submission(tmp_path, "one")
    environment = Environment(device="Some CPU", torch="2.13.0", python="3.11.2", commit="abc", dirty=True)
    curve = [CurvePoint(step=i, examples=i, loss=3.0 - i, accuracy=0, digit_accuracy=0) for i in (1, 2)]
    seconds = Seconds(encode=1, train=20, decode=3, total=31)
    more = {"curve": curve, "seconds": seconds, "environment": environment, "isolation": "medium"}
    record = make_record(one, track, 3, 4, 0.9, **more)
    assert _trial(record) == {
        "trial": "3 digits, seed 4",
        "fresh": "900 of 1000",
        "test": "900 of 1000",
        "edge": "44 of 49",
        "loss at the end": "1.0000",
        "s": "31",
        "device": "Some CPU, torch 2.13.0",
        "sandbox": "medium",
        "commit": "abc (changed)",
        "fresh seed": "1004",
    }
    clean = record.model_copy(update={"environment": environment.model_copy(update={"dirty": False})})
    assert _trial(clean)["commit"] == "abc"


def test_a_card_has_a_curve_for_every_seed_and_adds_up_their_carries(tmp_path):
    track, one = make_track(digits=[3], seeds=[0, 1]), make_submission(tmp_path, "one")
    curve = [CurvePoint(step=i, examples=i, loss=None, accuracy=0, digit_accuracy=0) for i in (0, 9)]
    trials = [make_record(one, track, 3, seed, share, curve=curve) for seed, share in ((0, 0.9), (1, 0.5))]
    assert [line.label for line in _curves("curve", trials).lines] == ["seed 0", "seed 1"]
    assert dict(_carry(trials)) == {str(chain): "70.0" for chain in range(4)}
    many = [Mistake(prompt=f"{n}+1=", answer=str(n + 1), got="0") for n in range(20)]
    assert len(_mistakes([trials[0].model_copy(update={"mistakes": many})])) == 10


def test_the_best_checkpoint_is_the_thin_line_below_that_of_the_final_weights(tmp_path):
    evaluation = EvaluationDefinition(fresh=100, test=100, lengths=100, validation=10)
    track = make_track(digits=[2], seeds=[0], longest=3, evaluation=evaluation)
    one = make_submission(tmp_path, "one")
    lengths = {str(length): Score(correct=100, total=100) for length in (1, 2, 3)}
    best = Checkpoint(step=1, validation_accuracy=0.5, lengths=lengths)
    (row,) = rows_of(track, [one], [make_record(one, track, 2, 0, 0.5, best=best)], HARNESS)
    thin, final = _lengths(row.results[2], 2).lines
    # On 260 by 90 points: half at each of three lengths, and all.
    assert (final.label, final.points, final.is_beside) == ("final weights", "0.0,45.0 130.0,45.0 260.0,45.0", False)
    assert (thin.points, thin.is_beside) == ("0.0,0.0 130.0,0.0 260.0,0.0", True)


def test_a_card_tells_how_many_parameters_lie_where_and_what_a_maintainer_cleared(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    doubt = Audit(rule="T50", level="review", seen="a token moves")
    record = make_record(one, track, 3, 0, 0.9, audits=[doubt], parameters=Parameters(model=668_942, positions=12))
    ruling = Cleared(submission="one", fingerprint=one.fingerprint, rule="T50", reason="Fine.", date="2026-11-27")
    (row,) = rows_of(track, [one], [record], HARNESS, Rulings(cleared=[ruling]))
    facts = _facts(row)
    assert "668,942 parameters in the model, 12 in the positions" in facts
    assert "T50 cleared by a maintainer: Fine. (2026-11-27)" in facts
