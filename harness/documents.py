"""Reads small YAML files from strangers into pydantic models; what is wrong is named with its line."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 16 * 1024
"""A manifest or a track is a page of text; anything larger is not one."""


class DocumentError(ValueError):
    """A YAML file that cannot be used; the message names the line, what was got and what to do."""


def read_yaml(path: Path, model: type[Model]) -> Model:
    """The file at `path` as a `model`.

    Raises:
        DocumentError: unreadable, too large, not UTF-8, not YAML, an alias, a duplicate key, an unknown key, an
            impossible value. All impossible values are named, not only the first.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise DocumentError(f"is larger than {MAX_BYTES // 1024} KiB; keep it to the keys that are allowed")
    try:
        loader = _Loader(content.decode("utf-8"))
        values = loader.get_single_data()
    except UnicodeDecodeError as error:
        raise DocumentError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise DocumentError(f"{line}not the YAML that is read here: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DocumentError(f"is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise DocumentError(f"holds {type(values).__name__}, not keys and values; allowed keys: {_allowed(model)}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise DocumentError("; ".join(_explain(problem, loader.lines, model) for problem in error.errors())) from error


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases and duplicate keys, that remembers the line of every key."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lines: dict[tuple[str | int, ...], int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise ComposerError(None, None, "aliases are not allowed; write the value out", mark)
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
            if str(key.value) in seen:
                problem = f"the key {key.value!r} stands twice; keep one"
                raise ConstructorError(None, None, problem, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _explain(problem: Mapping[str, Any], lines: Mapping[tuple[str | int, ...], int], model: type[BaseModel]) -> str:
    place = tuple(problem["loc"])
    known = next((place[:end] for end in range(len(place), 0, -1) if place[:end] in lines), ())
    line = f"line {lines.get(known, 1)}: "
    name = ".".join(str(part) for part in place)
    if problem["type"] == "extra_forbidden":
        return f"{line}unknown key `{name}`; allowed: {_allowed(_owner(model, place[:-1]))}"
    if problem["type"] == "missing":
        return f"{line}`{name}` is missing; allowed keys: {_allowed(_owner(model, place[:-1]))}"
    got = "" if isinstance(problem["input"], dict) else f", got {problem['input']!r:.80}"
    what = problem["msg"].removeprefix("Value error, ")
    return f"{line}`{name}`: {what}{got}" if name else f"{what}"


def _owner(model: type[BaseModel], place: tuple[str | int, ...]) -> type[BaseModel]:
    """The model that the keys at `place` belong to."""
    for part in place:
        field = model.model_fields.get(str(part))
        nested = field.annotation if field else None
        if not (isinstance(nested, type) and issubclass(nested, BaseModel)):
            return model
        model = nested
    return model


def _allowed(model: type[BaseModel]) -> str:
    return ", ".join(field.alias or name for name, field in model.model_fields.items())
