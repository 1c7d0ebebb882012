"""The fingerprint of the harness: moved by code, not by words, and the same under every Python."""

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import harness
from harness.fingerprint import FROZEN, HARNESS, SAME_NUMBERS, digest_of_code, harness_fingerprint

PRINT_IT = "import sys, runpy; sys.stdout.write(runpy.run_path(sys.argv[1])['harness_fingerprint']())"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The frozen files, and the module that digests what lies beside it."""
    folder = tmp_path / "harness"
    for name in (*FROZEN, "fingerprint.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HARNESS / name, folder / name)
    return folder


def load(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fingerprint_of_copy", folder / "fingerprint.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fingerprint(folder: Path, frozen: tuple[str, ...] = FROZEN) -> str:
    module = load(folder)
    module.FROZEN = frozen
    return module.harness_fingerprint()


def of_source(folder: Path, source: str) -> str:
    """The fingerprint of a harness whose only frozen file holds `source`."""
    (folder / "task.py").write_text(source, encoding="utf-8")
    return fingerprint(folder, ("task.py",))


def test_every_frozen_file_exists_once():
    assert all((HARNESS / name).is_file() for name in FROZEN)
    assert len(set(FROZEN)) == len(FROZEN)


def test_the_same_files_elsewhere_have_the_same_fingerprint(copy):
    assert fingerprint(copy) == harness_fingerprint()
    assert len(harness_fingerprint()) == 16


@pytest.mark.parametrize("name", FROZEN)
def test_a_line_of_code_in_any_frozen_file_moves_it_and_a_comment_does_not(copy, name):
    path, before = copy / name, fingerprint(copy, (name,))
    source = path.read_text(encoding="utf-8")
    path.write_text("# A remark.\n\n\n" + source + "\n# Another.\n", encoding="utf-8")
    assert fingerprint(copy, (name,)) == before
    path.write_text(source + "\nADDED = 1\n", encoding="utf-8")
    assert fingerprint(copy, (name,)) != before


def test_only_the_code_of_today_may_stand_for_earlier_code_and_its_next_change_ends_that(copy):
    assert set(SAME_NUMBERS) <= {digest_of_code()}
    assert harness_fingerprint() == SAME_NUMBERS.get(digest_of_code(), digest_of_code())
    source = (copy / "trial.py").read_text(encoding="utf-8")
    (copy / "trial.py").write_text(source + "\nADDED = 1\n", encoding="utf-8")
    assert fingerprint(copy) == load(copy).digest_of_code()
    assert fingerprint(copy) not in (harness_fingerprint(), digest_of_code())


SOURCE = '''
"""A module."""

class Thing:
    """A class."""

    width: int = 3
    """A field."""

    def grow(self, by: int = 1) -> int:
        """A function."""
        return self.width + by  # a remark
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A module.", "Another text,\nof two lines."),
        ('"""A module."""\n', ""),
        ('    """A field."""\n', ""),
        ('        """A function."""\n', ""),
        ("A class.", "What it is."),
        ("  # a remark", ""),
        ("self.width + by", "(self.width\n            + by)"),
        ("\n\n", "\n\n\n\n"),
        ("= 3", "= 0x3"),
    ],
)
def test_words_and_layout_do_not_move_it(copy, old, new):
    assert old in SOURCE
    assert of_source(copy, SOURCE.replace(old, new)) == of_source(copy, SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("= 3", "= 4"),
        ("= 3", "= 3.0"),
        ("= 3", "= '3'"),
        ("= 3", "= None"),
        ("= 3", "= -3"),
        (" = 3", ""),
        ("by: int = 1", "by: int = 2"),
        ("by: int = 1", "*, by: int = 1"),
        ("self.width + by", "self.width - by"),
        ("self.width + by", "by + self.width"),
        ("self.width + by", "self.width"),
        ("return self.width + by", "return f'{self.width}{by}'"),
        ("return self", "yield self"),
        ("def grow", "async def grow"),
        ("def grow", "@property\n    def grow"),
        ("class Thing", "class Thing(dict)"),
        ("width", "breadth"),
        ("        return", "        pass\n        return"),
    ],
)
def test_a_change_of_code_moves_it(copy, old, new):
    assert old in SOURCE
    assert of_source(copy, SOURCE.replace(old, new)) != of_source(copy, SOURCE)


def test_code_that_moves_from_one_file_to_another_moves_it(copy):
    one, other = copy / FROZEN[0], copy / FROZEN[1]
    one.write_text("X = 1\n")
    other.write_text("Y = 1\n")
    before = fingerprint(copy, FROZEN[:2])
    one.write_text("")
    other.write_text("X = 1\nY = 1\n")
    assert fingerprint(copy, FROZEN[:2]) != before


def test_it_needs_the_standard_library_alone():
    tree = ast.parse((HARNESS / "fingerprint.py").read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_python_computes_the_same(version):
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "--version"], capture_output=True).returncode:
        pytest.skip(f"no python{version} on the path")
    command = [python, "-I", "-c", PRINT_IT, str(HARNESS / "fingerprint.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == harness_fingerprint()


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_python_computes_the_same_of_the_syntax_that_changed_between_them(copy, version):
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "--version"], capture_output=True).returncode:
        pytest.skip(f"no python{version} on the path")
    (copy / "task.py").write_text(SYNTAX_THAT_CHANGED, encoding="utf-8")
    expected = fingerprint(copy)
    command = [python, "-I", "-c", PRINT_IT, str(copy / "fingerprint.py")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == expected


SYNTAX_THAT_CHANGED = r'''
"""
    A docstring whose indent Python 3.13 strips.
"""
def f(a, /, b: int = 1, *c: int, d=None, **e) -> None: ...
class A(list, metaclass=type): x: int
text = f"{f:>{10}}{f!r}{f=}{f:}" "joined" f"{'inner'}\N{EN DASH}{{}}" + rb"\n".decode()
with (open("a") as g, open("b")): pass
match text:
    case {"a": [1, *rest], **more} | A(x=0): ...
try: ...
except* ValueError: ...
generic: "list[*tuple[int, ...]]" = [*(), -1, 1j, ..., True, None, b"\xff", "\ud800", 1e400]
lambda: (yield)
'''

NOT_FROZEN = {
    **dict.fromkeys(
        (
            "audits.chance",
            "audits.footprint",
            "audits.live",
            "audits.positions",
            "audits.prompts",
            "audits.recoverable",
            "audits.spelling",
            "audits.tokens",
        ),
        "finds, and scores nothing: a record keeps what was found by the rules of its day",
    ),
    "__init__": "the version's number",
    "documents": "reads manifests and tracks, whose values are digested",
    "errors": "words",
    "files": "writes files",
    "fingerprint": "says itself what counts",
    "host": "words",
    "host.budget": "says how long a host may take; what is refused for it fails, and scores nothing",
    "host.client": "carries and checks bytes; what it refuses fails, and scores nothing",
    "host.frames": "carries bytes",
    "host.huge_pages": "says how memory is paged",
    "host.lockdown": (
        "says what a process may ask for: a hole that is closed must not make every record stale; that torch computes "
        "in a host as it does outside is under test (`test_positions.py`)"
    ),
    "host.refusal": "words",
    "host.remedies": "words",
    "host.sandbox": "starts processes, and says what they may see",
    "host.system_calls": "as `host.lockdown`",
    "host.zygote": "starts processes",
    "printable": "words",
    "provenance": "says where a record comes from",
    "rules": "words",
    "ranking": "words",
    "ranking.statistics": "says how sure a number is, and moves none",
    "records": "says what a record is; its format has a version",
    "submissions": "reads folders, which have a fingerprint of their own",
}
"""Modules that a trial loads and that no score depends on, and why."""


def imports_of(module: str) -> set[str]:
    """The harness's modules that `module` names in its imports, wherever in the file they stand."""
    path = HARNESS / (module.replace(".", "/") + ".py")
    path = path if path.is_file() else HARNESS / module / "__init__.py"
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            package, _, rest = name.partition(".")
            target = HARNESS / rest.replace(".", "/")
            if package == harness.__name__ and rest and (target.is_dir() or target.with_suffix(".py").is_file()):
                found.add(rest)
    return found


def test_whatever_a_trial_loads_is_frozen_or_has_a_reason_not_to_be():
    loaded, pending = {"trial", "host.serve"}, ["trial", "host.serve"]
    while pending:
        new = imports_of(pending.pop()) - loaded
        loaded |= new
        pending += new
    frozen = {name.removesuffix(".py").replace("/", ".") for name in FROZEN}
    assert frozen <= loaded | {"protocol"}
    assert loaded - frozen <= set(NOT_FROZEN)
    assert not frozen & set(NOT_FROZEN)
