"""Prints the table of goals at the end of `make bench`, and stores it."""

import pytest
from goals import ROWS, STORED, table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    STORED.parent.mkdir(exist_ok=True)
    STORED.write_text(table(rows), encoding="utf-8")
    terminalreporter.section(f"ours beside the yardsticks, also in {STORED}")
    terminalreporter.write(table(rows))
