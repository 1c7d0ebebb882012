"""What a person sees while trials run: on a terminal bars that leave lines behind, elsewhere a plain line at times."""

import io
import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from rich.console import Console

import harness.commands.progress
import harness.terminal
from harness.commands.progress import MAX_NAME, PLAIN_LINE_EVERY_S, Display
from harness.engines.messages import Progressed

LONG = "column_pairs_ordered_learned d12-s0"
SHORTENED = "column_pairs_ordere… d12-s0"
CONTROL = re.compile(r"(\x1b\[[\d;?]*[A-Za-z]|[\r\n])")
Told = Callable[..., io.StringIO]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """`told(width=80)`: from now on holds all that is said, as a terminal so wide gets it."""

    def replace(*, is_terminal: bool = True, width: int) -> io.StringIO:
        file = io.StringIO()
        console = Console(file=file, force_terminal=is_terminal, width=width, height=25)
        for module in (harness.terminal, harness.commands.progress):
            monkeypatch.setattr(module, "messages", console)
        return file

    monkeypatch.setenv("TERM", "xterm")  # a dumb one gets no bars, as that of a CI may be
    return replace


def training(step: int) -> Progressed:
    return Progressed(phase="train", step=step, num_steps=1000, examples_per_second=1234, loss=1.5, accuracy=0.25)


def shown(output: str) -> list[str]:
    """The lines with anything in them, as they were written, those that were erased later too."""
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", output)
    return [line.rstrip() for line in re.split(r"[\r\n]", plain) if line.strip()]


def left(output: str) -> list[str]:
    """The lines that stand on a terminal in the end, where the bars went up and erased their own."""
    lines, row = [""], 0
    for piece in CONTROL.split(output):
        if piece == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif piece == "\x1b[1A":
            row -= 1
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif not CONTROL.fullmatch(piece):
            lines[row] += piece  # after a return rich always erases before it writes
    return [line for line in lines if line]


def test_the_line_of_a_finished_job_stays_and_no_bar_does(told: Told) -> None:
    file = told(width=80)
    with Display("smoke", 2) as display:
        display.update("one d2-s0", training(10))
        display.update("two d2-s0", training(30))
        display.done("one d2-s0", "one d2-s0: exact match 0.500")
    written = shown(file.getvalue())
    assert re.fullmatch(r"smoke +1/2 .*", written[-2])
    assert re.fullmatch(r"two d2-s0 +30/1000 1,234/s, loss 1\.500, match 0\.250 .*", written[-1])
    assert left(file.getvalue()) == ["[1/2] one d2-s0: exact match 0.500"]


def test_on_a_narrow_terminal_a_long_name_is_shortened_and_keeps_its_end(told: Told) -> None:
    file = told(width=80)
    with Display("smoke", 2) as display:
        display.update(LONG, training(30))
        display.update("reversed_abacus d3-s1", training(30))
    *_, long, short = shown(file.getvalue())
    assert len(SHORTENED) == MAX_NAME
    assert re.fullmatch(rf"{SHORTENED} +30/1000 1,234/s, loss 1\.500, match 0\.250 .*", long)
    assert re.fullmatch(r"reversed_abacus d3-s1 +30/1000 .*", short)
    assert "━" not in file.getvalue()


def test_a_wide_terminal_has_room_for_bars_and_the_whole_name(told: Told) -> None:
    file = told(width=120)
    with Display("smoke", 1) as display:
        display.update(LONG, training(30))
    assert re.fullmatch(rf"{LONG} \S*━+ +30/1000 1,234/s, loss 1\.500, match 0\.250 .*", shown(file.getvalue())[-1])
    assert left(file.getvalue()) == []


def test_without_a_terminal_a_job_says_a_plain_line_when_it_starts_and_then_not_too_often(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(harness.commands.progress, "time", clock)
    file = told(is_terminal=False, width=80)
    with Display("smoke", 2) as display:
        for step in range(25):  # one each second
            clock.now = 1000 + PLAIN_LINE_EVERY_S / 10 * step
            display.update(LONG, training(step))
        display.update("two d2-s0", training(7))
        display.done(LONG, f"{LONG}: exact match 0.500")
    note = "1,234/s, loss 1.500, match 0.250"
    assert file.getvalue().splitlines() == [
        *(f"{LONG}: step {step} of 1000, {note}" for step in (0, 10, 20)),
        f"two d2-s0: step 7 of 1000, {note}",
        f"[1/2] {LONG}: exact match 0.500",
    ]


def test_what_is_said_keeps_its_lines_and_can_neither_draw_nor_command(told):
    file = told(width=200)
    harness.terminal.say("as before: \x1b]0;OWNED\x07\x1b[2J\rgone\nnext ##[stop-commands]x")
    said = file.getvalue()
    assert "as before: ?]0;OWNED??[2J?gone\nnext # #[stop-commands]x" in said
    assert "\x1b[2J" not in said
