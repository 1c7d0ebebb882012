"""What is printed: nothing of strangers can steer a terminal or a workflow, and commands can be typed as they stand."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness import terminal
from harness.terminal import put, say, work_in

HOSTILE = "got \x1b]0;title\x07\x1b[31m red \x9b2J ##[error]boo \u202eesrever"


@pytest.mark.parametrize("prints", [put, say])
def test_text_of_strangers_can_steer_neither_a_terminal_nor_a_workflow(
    prints: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    prints(f"first line\n{HOSTILE}")
    printed = "".join(capsys.readouterr())
    first, second = printed.splitlines()
    assert first == "first line"
    assert second.isprintable()
    assert "##[" not in second
    assert "error]boo" in second


def test_a_message_names_a_command_as_it_works_from_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_command", "harness")
    say("run `harness doctor`")
    work_in(Path("our class"))
    say("run `harness doctor`, not harness alone")
    put("| `harness doctor` |")  # a result may be a page, which is the same wherever it is made
    told = capsys.readouterr()
    assert told.err == "run `harness doctor`\nrun `harness -C 'our class' doctor`, not harness alone\n"
    assert told.out == "| `harness doctor` |\n"
