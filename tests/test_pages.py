"""README and its siblings say what is so: commands, code, links."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import typed_here
from gallery import NAMES
from typer.main import get_command

from harness.board.rendering import render
from harness.cli import app
from harness.commands.new import TEMPLATE
from harness.submissions import Submission, read_folder
from harness.track import built_in_names, load_track

ROOT = Path(__file__).parents[1]
FOLDERS = (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "submissions" / "README.md")
PAGES = sorted(path for path in FOLDERS if path.name != "leaderboard.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_its_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert "://" in link or target.exists(), link
        assert not heading or heading in anchors(target), link


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page in its links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_map_of_the_harness_has_every_module_and_every_folder() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## What goes where")[1]
    rows = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("|"))
    modules = {f"`{path.name}`" for path in (ROOT / "harness").glob("[!_]*.py")}
    folders = {f"`{path.name}/`" for path in (ROOT / "harness").glob("[!_]*/")}
    assert {name for name in modules | folders if name not in rows} == set()


def test_the_guide_to_the_gallery_explains_every_part_of_every_worked_name() -> None:
    page = (ROOT / "submissions" / "README.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    parts = {part for cell in cells for part in re.findall(r"`(\w+)`", cell)}
    own = {one for one in NAMES if f"`{one}`" in page}
    pairs = {f"{one}_{other}" for one in parts for other in parts}
    assert [name for name in NAMES if name not in pairs | own] == ["reversed_abacus_fire"]  # two at once


def test_the_readme_opens_with_the_two_commands_that_set_everything_up() -> None:
    opening = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## ")[0]
    assert re.findall(r"^\$ (make \w+)", opening, flags=re.M) == ["make run", "make test"]


def test_the_code_in_the_readme_is_that_of_the_template() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)
    template = (TEMPLATE / "submission.py").read_text(encoding="utf-8")
    lines = [line for line in block.splitlines() if line.strip() and not line.endswith("...")]
    assert len(lines) > 15
    assert [line for line in lines if line not in template.splitlines()] == []


def test_the_readme_names_every_verb_and_every_track() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = text.split("\n## Commands")[1]
    verbs = set(get_command(app).commands)  # pyright: ignore[reportAttributeAccessIssue]
    assert {verb for verb in verbs if not re.search(rf"`{verb}\b", commands)} == set()
    assert {track for track in built_in_names() if f"| `{track}` |" not in text} == set()


def test_the_records_become_a_data_frame_and_the_smallest_track_is_one_as_docs_research_says(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "research.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    code += "print(*scores.xs(('quick-seeds', 2, 'reversed_abacus'), level=('track', 'digits', 'submission')).iloc[0])"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = (ROOT / "results" / "quick-seeds" / "reversed_abacus").glob("*.json")
    scores = [json.loads(path.read_text(encoding="utf-8"))["suites"]["fresh"] for path in paths]
    shares = [score["correct"] / score["total"] for score in scores]
    of_five = (sum(shares) / 5, min(shares), max(shares), 5)
    assert [float(number) for number in printed.splitlines()[-1].split()] == pytest.approx(of_five)
    (track,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.S)
    (tmp_path / "mine.yaml").write_text(track, encoding="utf-8")
    assert load_track(str(tmp_path / "mine.yaml")).seeds == [0, 1, 2, 3, 4]


def test_every_command_that_the_walk_mentions_in_passing_is_one() -> None:
    text = (ROOT / "docs" / "submissions.md").read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    mentioned = [found.split() for found in re.findall(r"`harness ([^`]+)`", prose)]
    assert len(mentioned) > 3
    for verb, *arguments in mentioned:
        command = get_command(app).commands[verb]  # pyright: ignore[reportAttributeAccessIssue]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("-")} <= options


MEASURED = re.compile(r"[0-9]+\.[0-9]+|[0-9]+(?= s$)|[0-9]+(?= of [0-9]{4})")
"""Shares, seconds, and right answers of thousands; every other number has to be the one that is written."""


@pytest.mark.slow
def test_the_walk_from_an_idea_to_the_board_goes_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command and every change of docs/submissions.md, in a copy; only measured numbers may differ.

    Of the folders the copy has ours alone: somebody who took this walk may have sent the one that it makes.
    """
    root = tmp_path / "root"
    for name in NAMES:
        shutil.copytree(ROOT / "submissions" / name, root / "submissions" / name)
    left_out = shutil.ignore_patterns("cross", "right_to_left", "kept")
    shutil.copytree(ROOT / "results", root / "results", ignore=left_out)
    monkeypatch.chdir(root)
    render(root)  # so that the walk draws the plots of its own track anew, and no other
    text = (ROOT / "docs" / "submissions.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(console|diff|yaml)\n(.*?)^```$", text, flags=re.M | re.S)
    assert 2 * len(blocks) == len(re.findall(r"^```", text, flags=re.M))
    for kind, block in blocks:
        if kind == "yaml":
            (folder := root / "submissions" / "kept").mkdir()
            (folder / "submission.yaml").write_text(block)
            assert isinstance(read_folder(folder), Submission)
            continue
        if kind == "diff":
            subprocess.run(["git", "apply", "-"], input=block, text=True, check=True, cwd=root)
            continue
        (command, *expected) = block.splitlines()
        program, *arguments = command.removeprefix("$ ").split()
        assert program == "harness"
        typed_here(arguments, told := io.StringIO(), told)
        # `compare` says it of the records in the repository and a trial of here, unless the processors are of one name.
        unwritten = re.compile("(Perhaps not|Not) trained on one device|.*: step ")
        printed = [MEASURED.sub("#", line) for line in told.getvalue().splitlines() if not unwritten.match(line)]
        wanted = [MEASURED.sub("#", line) for line in expected]
        if "…" in wanted:
            place = wanted.index("…")
            del printed[place : len(printed) - len(wanted) + place + 1], wanted[place]
        assert printed == wanted, command
