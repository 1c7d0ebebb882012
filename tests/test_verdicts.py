"""How findings are shown: as text, as JSON, as a workflow's annotations."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.commands.verdicts import printed
from harness.rules import Finding

VERDICTS = {
    "good": [],
    "bad": [
        Finding("T80", "tag", "positional"),
        Finding("T10", "gate", "ids out of range; count your special tokens"),
        Finding("P30", "review", "slow"),
    ],
    "fine": [Finding("T80", "tag", "re-encoding")],
}


def test_text_is_a_line_a_finding_and_what_asks_for_nothing_comes_first_or_not_at_all():
    assert printed(VERDICTS, "text") == (
        "submissions/fine: T80 (tag): re-encoding\n"
        "submissions/bad: T10 (gate): ids out of range; count your special tokens\n"
        "submissions/bad: P30 (review): slow\n"
    )


def test_json_says_of_every_submission_whether_it_is_valid_and_lists_the_findings():
    values = json.loads(printed(VERDICTS, "json"))
    assert values["valid"] == {"good": True, "bad": False, "fine": True}
    assert values["findings"][2] == {"submission": "bad", "rule": "P30", "level": "review", "message": "slow"}
    assert len(values["findings"]) == 4
    assert json.loads(printed({}, "json", [["ada", "ben"]]))["same_code"] == [["ada", "ben"]]


def test_github_gets_an_annotation_of_the_right_kind_for_each_finding():
    assert printed(VERDICTS, "github") == (
        "::notice file=submissions/bad/submission.yaml,title=T80::positional\n"
        "::error file=submissions/bad/submission.yaml,title=T10::ids out of range; count your special tokens\n"
        "::warning file=submissions/bad/submission.yaml,title=P30::slow\n"
        "::notice file=submissions/fine/submission.yaml,title=T80::re-encoding\n"
    )


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ("encode('7') raised: submission.py, line 24, in encode: KeyError: 'x'", "submission.py,line=24"),
        ("parts/helpers.py, line 3, imports pandas", "parts/helpers.py,line=3"),
        ("submission.yaml: line 2: unknown key `colour`", "submission.yaml,line=2"),
        ("submission.yaml: lines 2 to 3: not the YAML that is read here", "submission.yaml,line=2"),
        ("ids out of range", "submission.yaml"),
        ("train-old.v2.py, line 1, imports requests", "train-old.v2.py,line=1"),
    ],
)
def test_an_annotation_stands_where_its_message_points(message, place):
    for prefix, folder in (("", "one"), ("in the borrowed submissions/lender_2: ", "lender_2")):
        text = printed({"one": [Finding("T00", "gate", prefix + message)]}, "github")
        assert text.startswith(f"::error file=submissions/{folder}/{place},title=T00::")


@given(st.text(), st.text())
def test_nothing_that_a_submission_writes_starts_a_line_or_a_command_of_its_own(name, message):
    verdicts = {ascii(name): [Finding("T00", "gate", message)]}
    (line,) = re.split("[\r\n]", printed(verdicts, "github").removesuffix("\n"))
    file, _, rest = line.removeprefix("::error file=").partition(",")
    assert not {":", "\r", "\n"} & set(file)
    assert rest.startswith("title=T00::")
    (line,) = printed(verdicts, "text").removesuffix("\n").splitlines()
    assert line.isprintable()


def test_what_github_would_take_for_its_own_syntax_is_escaped():
    text = printed({"'a::b,c%'": [Finding("T00", "gate", "50%\r\nof it")]}, "github")
    assert text == "::error file=submissions/'a%3A%3Ab%2Cc%25'/submission.yaml,title=T00::50%25%0D%0Aof it\n"
