"""Reads small YAML files from strangers into pydantic models; errors name the line where there is one.

Only the part of YAML that a page of settings needs is read: strings, whole and decimal numbers, `true`, `false`,
`null`, lists and keys. So `8e-4` is a number and `no` a string, and tags, aliases, dates and base-60 numbers can do no
harm.
"""

import difflib
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.scanner import ScannerError

from harness.printable import BLANKS, MAX_MARKS, legible, stacks, visible

Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 16 * 1024
"""A manifest or a track is a page of text; anything larger is not one."""


MAX_PROBLEMS = 8
"""Invalid values that a message names; further ones are only counted."""

TEXT = "tag:yaml.org,2002:str"
SCALARS = {
    "null": (r"null|~|", ["n", "~", ""]),
    "bool": (r"true|false", ["t", "f"]),
    "int": (r"[-+]?(?:0|[1-9][0-9]{0,18})", list("-+0123456789")),
    "float": (r"[-+]?[0-9]+(?:\.[0-9]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)", list("-+0123456789")),
}
"""Scalars that are not strings: a pattern, and possible first characters; nearly the JSON schema of YAML 1.2."""


REMEDIES = {
    "string_type": "; put it in quotes",
    "list_type": "; put it in brackets, [like this]",
    "model_type": "; give it keys, or take it out",
    "too_short": "; give at least one",
    "float_type": "; write it with a digit before the point, and without quotes",
}
"""What to do, by pydantic's name for the error."""
PATTERNS = {r"^[a-z][a-z0-9_-]{0,39}$": "a lower-case letter and up to 39 of a-z, 0-9, _ and -"}
"""In words, what a pattern allows whose field has no description."""
YAML_REMEDIES = {
    "found another document": "; a file holds one document: remove the `---` that ends it",
    "mapping values": "; put text that holds a colon in quotes, and a space after the colon of every key; "
    "keys that belong together begin in one column",
    "could not find expected ':'": "; a line is a key, a colon, a space and a value",
    "'\\t' that cannot start": "; write spaces, not a tab",
    "that cannot start any token": "; put the text in quotes",
    "sequence entries are not allowed here": "; put the text in quotes",
    "unexpected end of stream": "; a quote or bracket that was opened is not closed",
    "'<stream end>'": "; a quote or bracket that was opened is not closed",
}
"""What to do, by PyYAML's words for the error."""


class DocumentError(ValueError):
    """A YAML file that cannot be used; the message says where, what was got and what to do."""


def read_yaml(path: Path, model: type[Model], *, max_bytes: int = MAX_BYTES) -> Model:
    """The file at `path` as a `model`.

    Raises:
        DocumentError: the file is unreadable, too large, not UTF-8 or not YAML, or holds an alias, a tag, a duplicate
            key, an unknown key or an invalid value. All invalid values are named, up to a limit, not only the first.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise DocumentError(f"cannot be read: {error.strerror}; make it readable") from error
    if len(content) > max_bytes:
        raise DocumentError(f"is larger than {max_bytes // 1024} KiB; keep it to the keys that are allowed")
    try:
        loader = _Loader(content.decode("utf-8"))
        values = loader.get_single_data()
    except UnicodeDecodeError as error:
        raise DocumentError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        remedy = next((what for problem, what in YAML_REMEDIES.items() if problem in str(error.problem)), "")
        problem = str(error.problem).removeprefix("but ")
        raise DocumentError(f"{_lines_of(error)}not the YAML that is read here: {problem}{remedy}") from error
    except yaml.YAMLError as error:
        raise DocumentError(f"is not YAML: {str(error).splitlines()[0]}") from error
    except (ValueError, OverflowError) as error:  # PyYAML hands "\UFFFFFFFF" to chr()
        message = "is not YAML: an escape such as \\U00110000 names no character; write the character itself"
        raise DocumentError(message) from error
    except RecursionError as error:
        raise DocumentError("nests too deeply; two levels of keys are enough") from error
    if not isinstance(values, dict):
        held = "a list" if isinstance(values, list) else "a single value"
        got = "is empty" if values is None else f"holds {held}, no keys"
        raise DocumentError(f"{got}; write one `key: value` per line; allowed keys: {_allowed(model)}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_explain(problem, loader.lines, model) for problem in error.errors()[:MAX_PROBLEMS]]
        if error.error_count() > MAX_PROBLEMS:
            problems.append(f"and {error.error_count() - MAX_PROBLEMS} more")
        raise DocumentError("; ".join(problems)) from error


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a line break or a control character; keep it to one printable line")
    if blank := next((character for character in text if character in BLANKS), None):
        raise ValueError(f"holds U+{ord(blank):04X}, which is invisible; write a space, or leave it out")
    if legible(text) != text:
        raise ValueError(f"stacks more than {MAX_MARKS} combining marks on one character; remove the others")
    if text and all(character == " " or stacks(character) for character in text):
        raise ValueError("holds nothing legible; write a letter")
    return text


OneLine = AfterValidator(_one_line)
"""Annotates text that is shown to people: one legible line."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but it refuses aliases, tags and duplicate keys and remembers the line of every key."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lines: dict[tuple[str | int, ...], int] = {}
        self.plain: Any = None
        """The last text without quotes, which may go on for lines."""

    def scan_plain(self) -> Any:
        self.plain = super().scan_plain()
        return self.plain

    def fetch_value(self) -> None:
        try:
            super().fetch_value()
        except ScannerError as error:  # without saying where the text before this colon began, as in `title:Mine`
            if self.plain is None or self.plain.end_mark.index != self.get_mark().index:
                raise
            context = "while scanning a plain scalar"
            raise ScannerError(context, self.plain.start_mark, error.problem, error.problem_mark) from error

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise ComposerError(None, None, "aliases are not allowed; write the value out", mark)
        if tag := getattr(self.peek_event(), "tag", None):
            mark = self.peek_event().start_mark
            raise ComposerError(None, None, f"the tag {tag!r:.60} is not allowed; write the plain value", mark)
        return super().compose_node(parent, index)

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        self._note_lines(node, ())
        return self.construct_document(node)

    def _note_lines(self, node: yaml.Node, place: tuple[str | int, ...]) -> None:
        self.lines[place] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._note_lines(value, (*place, str(key.value)))
                self.lines[(*place, str(key.value))] = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._note_lines(value, (*place, index))

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != TEXT:
                raise ConstructorError(None, None, "a key is not text; keys are names", key.start_mark)
            if key.value in seen:
                problem = f"the key {key.value!r:.60} appears twice; keep one"
                raise ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}  # drops those of YAML 1.1
for _name, (_pattern, _beginnings) in SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z"), _beginnings)


def _lines_of(error: yaml.MarkedYAMLError) -> str:
    """`line 3: `, or `lines 1 to 3: ` where what began on the first turned out to be wrong on the last."""
    if error.problem_mark is None:
        return ""
    begun = last = error.problem_mark.line + 1
    is_short = any(kind in str(error.context) for kind in ("flow", "scanning"))  # a block may be the whole page
    if error.context_mark and is_short:
        begun = error.context_mark.line + 1
    return f"lines {begun} to {last}: " if begun < last else f"line {last}: "


def _explain(problem: Mapping[str, Any], lines: Mapping[tuple[str | int, ...], int], model: type[BaseModel]) -> str:
    place = tuple(problem["loc"])
    known = next((place[:end] for end in range(len(place), 0, -1) if place[:end] in lines), ())
    line = f"line {lines.get(known, 1)}: "
    name = visible(".".join(str(part) for part in place))[:60]
    if problem["type"] == "extra_forbidden":
        owner = _owner(model, place[:-1])
        near = difflib.get_close_matches(str(place[-1]), _keys(owner), n=1)
        meant = f"did you mean `{near[0]}`? " if near else ""
        return f"{line}unknown key `{name}`; {meant}allowed: {_allowed(owner)}"
    if problem["type"] == "missing":
        return f"{line}`{name}` is missing; allowed keys: {_allowed(_owner(model, place[:-1]))}"
    got = "" if isinstance(problem["input"], dict) else f", got {legible(repr(problem['input']))[:80]}"
    what = problem["msg"].removeprefix("Value error, ")
    field = _owner(model, place[:-1]).model_fields.get(str(place[-1])) if place else None
    if problem["type"] == "string_pattern_mismatch" and field and (description := _description(field)):
        what = f"should be {description}"
    elif (pattern := problem.get("ctx", {}).get("pattern")) in PATTERNS:
        what = f"should be {PATTERNS[pattern]}"
    what += REMEDIES.get(problem["type"], "")
    return f"{line}`{name}`: {what}{got}" if name else what


def _description(field: FieldInfo) -> str | None:
    """The description of the field, or else of the type that it may have besides None."""
    inner = (getattr(option, "__metadata__", ()) for option in get_args(field.annotation))
    described = (one.description for options in inner for one in options if isinstance(one, FieldInfo))
    return field.description or next(described, None)


def _owner(model: type[BaseModel], place: tuple[str | int, ...]) -> type[BaseModel]:
    """The model that the keys at `place` belong to."""
    for part in place:
        if isinstance(part, int):  # an item of a list, whose type the field has named
            continue
        field = model.model_fields.get(part)
        options = (field.annotation, *get_args(field.annotation)) if field else ()
        nested = next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), None)
        if nested is None:
            return model
        model = nested
    return model


def _allowed(model: type[BaseModel]) -> str:
    return ", ".join(_keys(model))


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
