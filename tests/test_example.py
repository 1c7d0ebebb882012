"""What `harness validate --example` shows, against the contract's worked example."""

from pathlib import Path

import pytest
from bad_folders import make_submission, write_folder
from commands import harness_here

from harness.commands.example import problem_of, shown_example
from harness.errors import UsageError
from harness.track import load_track

BY_KIND = """return Terms(
    embedding_angles=layout[..., None].expand(-1, -1, 64).float(), bias=-torch.ones(1, 1, length, length)
)"""


def table_under(heading: str, text: str) -> list[list[str]]:
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.split() == heading.split()) + 1
    return [line.split() for line in lines[start : lines.index("", start) if "" in lines[start:] else None]]


def test_the_columns_are_those_of_the_contracts_example(tmp_path: Path) -> None:
    """`protocol.py`: 12+34= in characters, padded to 8 tokens. Here there is room for 4 digits of an answer and EOS."""
    track = load_track("standard").model_copy(update={"digits": [3]})
    text = shown_example(make_submission(tmp_path), problem_of("12+34"), track)
    assert text.startswith("entry: 12+34= and its sum, 46, as the model sees them where operands have up to 3 digits\n")
    assert table_under("column id decodes to kind", text) == [
        ["0", "12", "PAD", "PAD"],
        ["1", "12", "PAD", "PAD"],
        ["2", "1", "'1'", "NUMBER"],
        ["3", "2", "'2'", "NUMBER"],
        ["4", "10", "'+'", "PLUS"],
        ["5", "3", "'3'", "NUMBER"],
        ["6", "4", "'4'", "NUMBER"],
        ["7", "11", "'='", "EQUALS"],
        ["8", "4", "'4'", "ANSWER"],
        ["9", "6", "'6'", "ANSWER"],
        ["10", "13", "EOS", "ANSWER"],
        ["11", "12", "PAD", "ANSWER"],
        ["12", "12", "PAD"],
    ]


def test_a_problem_beyond_the_trained_lengths_has_the_width_that_it_needs(tmp_path: Path) -> None:
    text = shown_example(make_submission(tmp_path), problem_of("123456+7890="), load_track("quick-length"))
    assert "up to 10 digits" in text
    assert table_under("column id decodes to kind", text)[0] == ["0", "1", "'1'", "NUMBER"]


def test_terms_are_shown_with_their_size_for_one_problem_and_their_range(tmp_path: Path) -> None:
    text = shown_example(make_submission(tmp_path, forward=BY_KIND), problem_of("12+34="), None)
    assert table_under("term size values", text) == [
        ["embedding_angles", "9", "x", "64", "1", "to", "5"],  # from NUMBER to ANSWER; no PAD at two digits
        ["bias", "1", "x", "9", "x", "9", "-1", "to", "-1"],
    ]


def test_positions_without_terms_are_said_to_have_none(tmp_path: Path) -> None:
    text = shown_example(make_submission(tmp_path, forward="return Terms()"), problem_of("1+2"), None)
    assert text.endswith("no terms\n")


@pytest.mark.parametrize("text", ["12", "12+034=", "1+2=3", "-1+2", "x+1", "1 + 2", "", f"{'1' * 51}+1"])
def test_what_is_no_problem_is_refused_with_an_example_of_one(text: str) -> None:
    with pytest.raises(UsageError, match=r"not a problem; write two numbers of 1 to 50 digits .* such as 12\+34="):
        problem_of(text)


def test_the_command_shows_what_is_valid_and_takes_no_other_format(tmp_path: Path) -> None:
    make_submission(tmp_path)
    write_folder(tmp_path, "lossy", decode="return '1'")
    result = harness_here(tmp_path, "validate", "--example", "5+7=", "-j", "1")
    assert result.returncode == 1
    assert "entry: 5+7= and its sum, 12, as the model sees them" in result.stdout
    assert "lossy: 5+7=" not in result.stdout
    assert "submissions/lossy: T10 (gate)" in result.stdout
    refused = harness_here(tmp_path, "validate", "--example", "5+7=", "--format", "json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--example is shown as text; leave out --format json" in refused.stderr
