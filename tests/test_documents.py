"""YAML from strangers: lines are right, what is hostile is refused at once and runs nothing."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from harness.documents import MAX_BYTES, DocumentError, OneLine, read_yaml
from harness.printable import visible


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    steps: Annotated[int, Field(ge=1, le=9)] = 1


class Page(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    title: Annotated[str, Field(min_length=1, max_length=20), OneLine]
    counts: list[int] = []
    is_open: bool = False
    inner: Inner = Inner()


def read(path: Path, text: str | bytes) -> Page:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path, Page)


def refusal(path: Path, text: str | bytes) -> str:
    with pytest.raises(DocumentError) as caught:
        read(path, text)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "page.yaml"


def test_a_plain_page_is_read(file):
    page = read(
        file, "# a comment\ntitle: Plain\ncounts: [1, -2, 0]\nis_open: true\ninner:\n  rate: 0.25\n  steps: 3\n"
    )
    assert page == Page(title="Plain", counts=[1, -2, 0], is_open=True, inner=Inner(rate=0.25, steps=3))


def test_what_pyyaml_writes_is_read_back(file):
    values = {"title": "It's: #1", "counts": [1, 2], "is_open": False, "inner": {"rate": 0.001, "steps": 2}}
    assert read(file, yaml.safe_dump(values)).model_dump() == values


@pytest.mark.parametrize(("text", "number"), [("8e-4", 8e-4), ("8.0e-4", 8e-4), ("1", 1.0), ("1.", 1.0), ("5E-1", 0.5)])
def test_numbers_are_read_as_people_write_them(file, text, number):
    assert read(file, f"title: t\ninner: {{rate: {text}}}").inner.rate == number


@pytest.mark.parametrize(
    "title", ["no", "Yes", "on", "2024-01-01", "12:30:45", "010", "0x1F", "1_000", "True", "=", "<<"]
)
def test_what_only_yaml_1_1_reads_as_something_else_is_text(file, title):
    assert read(file, f"title: {title}").title == title


@given(st.integers(-(10**18), 10**18))
def test_whole_numbers_are_python_integers(tmp_path_factory, number):
    file = tmp_path_factory.getbasetemp() / "number.yaml"
    assert read(file, f"title: t\ncounts: [{number}]").counts == [number]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("title: t\n\n# why\nspeed: 3\n", 4, "unknown key `speed`; allowed: title, counts, is_open, inner"),
        ("title: t\ninner:\n  rate: 0.5\n  speed: 3\n", 4, "unknown key `inner.speed`; allowed: rate, steps"),
        ("title: t\ninner:\n  rate: 0.5\n  steps: 0\n", 4, "`inner.steps`: Input should be greater"),
        ("title: t\ninner: {rate: 0.5,\n  steps: 10}\n", 3, "less than or equal to 9, got 10"),
        ("title: t\ncounts:\n  - 1\n  - two\n", 4, "`counts.1`: Input should be a valid integer, got 'two'"),
        ("counts: []\n", 1, "`title` is missing; allowed keys: title, counts, is_open, inner"),
        ("counts: []\ntitle: 7\n", 2, "`title`: Input should be a valid string; put it in quotes, got 7"),
        ("title: t\ncounts: []\ntitle: u\n", 3, "the key 'title' appears twice; keep one"),
        ("title: t\ninner: {rate: 0.5,\n  rate: 0.5}\n", 3, "the key 'rate' appears twice; keep one"),
        ('title: t\ninner:\n  "rate": 1\n  rate: 1\n', 4, "the key 'rate' appears twice; keep one"),
        ("title: &t t\ncounts: *t\n", 2, "aliases are not allowed; write the value out"),
        ("title: t\n1: 2\n", 2, "a key is not text"),
        ("title: t\nnull: 2\n", 2, "a key is not text"),
        ("title: t\n? {a: b}\n: 2\n", 2, "a key is not text"),
        ("title: t\ncounts: [1, 2\n", "2 to 3", "expected ',' or ']'"),
        ("title:Mine\ncounts: []\n", "1 to 2", "put text that holds a colon in quotes, and a space after the colon"),
        ("title: a: b\n", 1, "mapping values are not allowed here"),
        ('title: Mine\ncounts: [1]\n"is_open": "a": b\n', 3, "mapping values are not allowed here"),
        ("title: t\n counts: []\n", "1 to 2", "every key; keys that belong together begin in one column"),
        ("title: t\n\tcounts: []\n", 2, "cannot start any token"),
        ("title: @t\n", 1, "cannot start any token; put the text in quotes"),
        ("title: - t\n", 1, "not allowed here; put the text in quotes"),
        ("title: [\n", 2, "found '<stream end>'; a quote or bracket that was opened is not closed"),
        ("title: t\ncounts\nis_open: true\n", "2 to 3", "could not find expected ':'"),
        ("counts:\n - 1\n b: c\n", 3, "expected <block end>"),
        ('title: "t\n', "1 to 2", "unexpected end of stream; a quote or bracket that was opened is not closed"),
        ("title: t\n---\ntitle: u\n", 2, "another document"),
        ('title: "a\\nb"\n', 1, "`title`: holds a line break or a control character; keep it to one printable line"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(file, text, line, what):
    message = refusal(file, text)
    assert message.startswith(f"line{'s' if isinstance(line, str) else ''} {line}: ")
    assert what in message


@pytest.mark.parametrize(
    "title",
    [
        "Nguye\u0302\u0303n",
        "\u101e\u102d\u102f\u1037",
        "\u1000\u103b\u1031\u102c\u103a",
        "\u0f66\u0f92\u0fb2\u0f74",
        "na\u00efve",
    ],
    ids=["Vietnamese", "Burmese", "a Burmese name", "Tibetan", "French"],
)
def test_the_marks_that_writing_needs_are_read(file, title):
    assert read(file, f"title: {title}").title == title


@pytest.mark.parametrize(
    ("title", "what"),
    [
        ("e" + 4 * "\u0301", "stacks more than 3 combining marks on one character; remove the others"),
        ("e" + 10 * "\u0e47", "stacks more than 3 combining marks on one character"),
        ("e" + 4 * "\u20dd", "stacks more than 3 combining marks on one character"),
        ("\u3164", "holds U+3164, which is invisible; write a space, or leave it out"),
        ("A\u2800B", "holds U+2800, which is invisible"),
        ('"  "', "holds nothing legible; write a letter"),
        ("\u034f", "holds nothing legible; write a letter"),
    ],
)
def test_a_text_that_draws_over_its_neighbours_or_shows_nothing_is_refused(file, title, what):
    assert f"line 1: `title`: {what}" in refusal(file, f"title: {title}")


def test_all_impossible_values_are_named_and_not_only_the_first(file):
    message = refusal(file, "title: ''\ncounts: [a]\nis_open: 3\ninner: {rate: 2, steps: 0, speed: 1}\n")
    for place in ("line 1: `title`", "line 2: `counts.0`", "line 3: `is_open`", "`inner.rate`", "`inner.steps`"):
        assert place in message


def test_a_thousand_impossible_values_make_a_short_message(file):
    message = refusal(file, "title: t\n" + "".join(f"k{number}: 1\n" for number in range(1000)))
    assert "line 2: unknown key `k0`" in message
    assert message.endswith("and 992 more")
    assert len(message) < 2000


@pytest.mark.parametrize("text", ["", "# nothing\n", "- title: t\n", "title\n", "7\n", "null\n"])
def test_what_is_no_mapping_is_refused_with_the_keys_that_are_allowed(file, text):
    message = refusal(file, text)
    assert message.endswith("; write one `key: value` per line; allowed keys: title, counts, is_open, inner")
    assert message.startswith(("is empty; ", "holds a list, no keys; ", "holds a single value, no keys; "))


@pytest.mark.parametrize(
    "tagged",
    [
        "!!python/object/apply:os.mkdir [{made}]",
        "!!python/object/new:os.mkdir [{made}]",
        "!!python/name:os.system",
        "!!python/object:harness.documents.DocumentError {{}}",
        "!!timestamp x",
        "!!int ''",
        "!!float ''",
        "!!bool maybe",
        "!!binary '*'",
        "!!set {{a}}",
        "! t",
        "!mine t",
    ],
)
def test_tags_are_refused_with_their_line_and_run_nothing(file, tagged):
    made = file.parent / "made"
    message = refusal(file, "title: t\ncounts: " + tagged.format(made=made))
    assert message.startswith("line 2: ")
    assert "write the plain value" in message
    assert not made.exists()


def test_a_billion_laughs_are_refused_at_the_first_alias(file):
    levels = ["l0: &l0 [lol, lol]"] + [f"l{level}: &l{level} [*l{level - 1}, *l{level - 1}]" for level in range(1, 40)]
    assert refusal(file, "\n".join(levels)).startswith("line 2: not the YAML that is read here: aliases")


@pytest.mark.parametrize("text", ["x: " + "[" * 16_000, "x: " + "{a: " * 4000, "- " * 8000, "? " * 8000])
def test_deep_nesting_is_refused(file, text):
    assert refusal(file, text) == "nests too deeply; two levels of keys are enough"


@pytest.mark.parametrize(
    "number",
    ["9" * 15_000, "0x" + "f" * 15_000, "0b" + "1" * 15_000, "1" + ":59" * 5000, "1" + ":59" * 5000 + ".5", "9" * 20],
)
def test_huge_whole_numbers_are_refused_with_their_line_and_a_short_message(file, number):
    message = refusal(file, f"title: t\ncounts:\n  - {number}\n")
    assert message.startswith("line 3: `counts.0`: Input should be a valid integer")
    assert len(message) < 200


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "1e999", "nan", "1" + ":59" * 5000 + ".5"])
def test_what_is_no_finite_number_is_refused(file, number):
    assert refusal(file, f"title: t\ninner: {{rate: {number}}}").startswith("line 2: `inner.rate`: ")


@pytest.mark.parametrize("escape", ["\\UFFFFFFFF", "\\U00110000"])
def test_an_escape_that_names_no_character_is_refused(file, escape):
    assert refusal(file, f'title: "{escape}"\n').endswith("names no character; write the character itself")


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_refused(file):
    text = "title: t\n#"
    assert read(file, text.ljust(MAX_BYTES, "x")).title == "t"
    assert (
        refusal(file, text.ljust(MAX_BYTES + 1, "x")) == "is larger than 16 KiB; keep it to the keys that are allowed"
    )


def test_a_file_that_never_ends_is_refused_without_being_read_to_its_end():
    with pytest.raises(DocumentError, match="is larger than 16 KiB"):
        read_yaml(Path("/dev/zero"), Page)


def test_a_file_that_is_not_utf_8_is_refused_with_the_byte(file):
    assert refusal(file, "title: caf\u00e9".encode("latin-1")) == "is not UTF-8 text (byte 10); save it as UTF-8"


@pytest.mark.parametrize("content", [b"title: \x1b[31m", b"title: \x00", b"\x89PNG\r\n\x1a\n"])
def test_control_characters_and_binary_files_are_refused(file, content):
    assert "\x1b" not in refusal(file, content)


def test_a_byte_order_mark_is_not_part_of_the_first_key(file):
    assert read(file, b"\xef\xbb\xbftitle: t\n").title == "t"


def test_a_file_that_cannot_be_read_is_refused_with_the_systems_reason(tmp_path):
    with pytest.raises(DocumentError, match="cannot be read: No such file"):
        read_yaml(tmp_path / "missing.yaml", Page)
    with pytest.raises(DocumentError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path, Page)


def test_hostile_keys_and_values_cannot_draw_on_the_terminal_that_shows_the_message(file):
    message = refusal(file, 'title: "\\e[31m\\r"\n"key\\e[2J\\n::error::": 1\n')
    assert message.isprintable()
    assert "unknown key `key?[2J?::error::`" in message


@given(st.text() | st.text(alphabet="#[ x"))
def test_visible_text_is_printable_and_keeps_what_was(text):
    assert visible(text).isprintable()
    assert "##[" not in visible(text)
    assert len(visible(text)) == len(text) + text.count("##[")
    assert visible(visible(text)) == visible(text)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_they_make_a_page_or_a_refusal(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(b"title: t\ninner: " + content)
    with suppress(DocumentError):
        assert read_yaml(file, Page).title


@given(st.text(alphabet="-:,?[]{}#&*!|>'\"%@` \nabe01.~<=_x", max_size=60))
def test_whatever_the_punctuation_is_it_makes_a_page_or_a_refusal(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "text.yaml"
    file.write_text(text, encoding="utf-8")
    with suppress(DocumentError):
        assert read_yaml(file, Page).title
