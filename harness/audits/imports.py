"""What a submission's files import (part of rule T00): read from their text, before any of them runs."""

import ast
import sys
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath

from harness.rules import Finding, gate
from harness.submissions import Part, Submission

ALLOWED = frozenset({"torch", "numpy", *sys.stdlib_module_names})
CONTRACT = "harness.protocol"
COME_WITH_TORCH = frozenset(
    {
        *("filelock", "fsspec", "functorch", "jinja2", "markupsafe", "mpmath", "networkx", "numpy", "setuptools"),
        *("sympy", "torch", "torchgen", "triton", "typing_extensions"),
    }
)
"""Modules of torch, numpy and what these require: hosts have loaded them before the submission."""


def check_imports(submission: Submission) -> Iterator[Finding]:
    """T00: nothing but the standard library, torch, numpy, harness.protocol and the folder's own files.

    Whatever else happens to be installed here is missing elsewhere, and the harness's own parts change without notice.
    """
    parts = {part.folder: part for part in (submission.tokenizer, submission.positions)}
    for part in parts.values():
        is_borrowed = part.folder != submission.folder
        where = f"in the borrowed submissions/{part.folder.name}: " if is_borrowed else ""
        for name in sorted(part.files):
            top = PurePosixPath(name).parts[0].removesuffix(".py")
            if name.endswith(".py") and top in COME_WITH_TORCH | sys.stdlib_module_names:
                whose = "Python's own" if top in sys.stdlib_module_names else "torch or what comes with it"
                message = f"{where}{name} has the name of a module of {whose}, which is imported instead; rename it"
                yield gate("T00", message)
                return
        for name, line, module in _foreign(part):
            own = f"{module.strip('.').partition('.')[0][:60]}.py"
            remedy = "import it without the dot" if own in part.files else f"there is no {own} among them"
            message = (
                f"{where}{name}, line {line}, imports {module[:60]}; a submission has the standard library, torch, "
                f"numpy, {CONTRACT} and the files of its folder; {remedy}"
            )
            yield gate("T00", message)
            return


def _foreign(part: Part) -> Iterator[tuple[str, int, str]]:
    """File, line and module of every import that is not allowed."""
    own = {PurePosixPath(name).parts[0].removesuffix(".py") for name in part.files} - {"harness"}
    for name, content in sorted(part.files.items()):
        if not name.endswith(".py"):
            continue
        try:
            with warnings.catch_warnings():  # an escape such as "\d" would be told to the terminal, as it stands
                warnings.simplefilter("ignore")
                tree = ast.parse(content)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # the host that imports the file says where
        for node in ast.walk(tree):
            for module in _modules(node):
                top = module.partition(".")[0]
                if module != CONTRACT and top not in ALLOWED and top not in own:
                    yield name, node.lineno, module  # type: ignore[attr-defined]


def _modules(node: ast.AST) -> list[str]:
    """`from harness import protocol` and `import harness.protocol` -> harness.protocol; `from .a import b` -> .a"""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    module = "." * node.level + (node.module or "")
    return [f"harness.{alias.name}" for alias in node.names] if module == "harness" else [module]
