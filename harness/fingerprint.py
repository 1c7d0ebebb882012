"""The fingerprint of the harness: a digest of the code that can change a number, and of nothing else.

Comments, docstrings and layout do not count, so that explaining a line does not make every record stale. Nor does the
Python version: the digest is taken over the syntax tree without its empty fields, such as those that new versions add.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

HARNESS = Path(__file__).parent

FROZEN = (
    "protocol.py",
    "track.py",
    "hyperparameters.py",
    "task.py",
    "host/serve.py",
    "host/export.py",
    "graph.py",
    "sequences.py",
    "encoding.py",
    "ragged.py",
    "randomness.py",
    "processor.py",
    "capture.py",
    "model.py",
    "positions.py",
    "examples.py",
    "training.py",
    "decoding.py",
    "preparation.py",
    "throughput.py",
    "outcome.py",
    "trial.py",
)
"""Modules that a score depends on. A track's values have a fingerprint of their own, `Track.fingerprint`."""

SAME_NUMBERS = {"a7eea9363b0fe80c": "c1336b983a3f44ba"}
"""For the digest of code that refuses more than earlier code did, says it better or measures something beside, or that
computes other numbers only on tracks whose own fingerprint changed with it: the fingerprint of the earlier code, whose
records stay valid. LOG.md says how it was shown.

The next change of a frozen module has another digest, so that nothing is taken for granted about it."""


@cache
def harness_fingerprint() -> str:
    """What records are compared by: the digest of the frozen modules, or that of earlier ones with the same numbers."""
    digest = digest_of_code()
    return SAME_NUMBERS.get(digest, digest)


def digest_of_code() -> str:
    """Hex digest of the frozen modules."""
    digest = hashlib.sha256()
    for name in FROZEN:
        digest.update(f"{name}\n".encode())
        digest.update(_canonical(ast.parse((HARNESS / name).read_text(encoding="utf-8"))).encode())
    return digest.hexdigest()[:16]


def _canonical(node: Any) -> str:
    """The tree as text: node types and non-empty fields, docstrings left out."""
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            fields["body"] = [statement for statement in node.body if not _is_text(statement)]
        if isinstance(node, ast.JoinedStr) and node.values:  # Python 3.12 puts empty strings around `{nested}` formats
            fields["values"] = [value for value in node.values if getattr(value, "value", None) != ""]
        return f"{type(node).__name__}({','.join(f'{name}={_canonical(value)}' for name, value in fields.items())})"
    if isinstance(node, list):
        items: list[Any] = node
        return f"[{','.join(_canonical(item) for item in items)}]"
    return repr(node)


def _is_text(statement: ast.stmt) -> bool:
    """Whether it is a docstring, of a module, class, function or field."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
