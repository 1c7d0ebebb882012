"""The registry of rules, the page and the verb that are made from it."""

import ast
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import UsageError
from harness.rules import RULES, page

ROOT = Path(__file__).parents[1]
SPECIFIED = [f"T{number:02}" for number in (0, 10, 20, 30, 40, 50, 55, 57, 58, 60, 70, 80, 90, 95, 97)]
SPECIFIED += ["P00", "P10", "P20", "P30", "P40"]


def test_every_specified_rule_exists_and_no_other() -> None:
    assert list(RULES) == SPECIFIED


def test_the_page_of_rules_lists_exactly_the_rules_that_exist_and_is_up_to_date() -> None:
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\w+):", text, flags=re.M) == SPECIFIED
    assert text == page(), "run `harness explain --page > docs/rules.md`"


def test_the_source_names_no_rule_that_does_not_exist_and_checks_every_rule() -> None:
    found: set[str] = set()
    for path in (ROOT / "harness").rglob("*.py"):
        if path.name == "rules.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[TP]\d\d", node.value):
                found.add(node.value)
    assert found == set(SPECIFIED)


@pytest.mark.parametrize("rule", SPECIFIED)
def test_explain_says_what_is_checked_why_and_what_to_do_with_two_examples(rule: str) -> None:
    result = CliRunner().invoke(app, ["explain", rule])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"## {rule}: ")
    good, bad = ("For example", "Or") if RULES[rule].level == "tag" else ("Good", "Bad")
    labels = [f"{label}:\n\n```python\n" for label in (good, bad)]
    for part in ("**Why:** ", "**What to do:** ", *labels):
        assert part in result.stdout


def test_explain_without_a_rule_lists_them_all() -> None:
    assert [line.split()[0] for line in CliRunner().invoke(app, ["explain"]).stdout.splitlines()] == SPECIFIED


def test_explain_of_an_unknown_rule_is_a_usage_error_that_names_the_rules() -> None:
    result = CliRunner().invoke(app, ["explain", "T01"])
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    assert str(result.exception) == f"no rule 'T01'; there are: {', '.join(SPECIFIED)}"
