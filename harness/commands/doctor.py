"""What this machine can do for the harness, checked by doing it."""

import platform
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from harness.commands.new import TEMPLATE
from harness.engines.local import num_cores
from harness.files import require_writable
from harness.fingerprint import harness_fingerprint
from harness.host.client import Host
from harness.host.sandbox import Isolation, isolation, why_not
from harness.printable import counted
from harness.provenance import commit_and_changes, cpu_name
from harness.submissions import Broken, discover, read_folder

PACKAGES = (
    "torch",
    "numpy",
    "pandas",
    "pyyaml",
    "tabulate",
    "matplotlib",
    "jinja2",
    "markdown-it-py",
    "pydantic",
    "typer",
    "rich",
    "scipy",
    "scikit-learn",
    "threadpoolctl",
)


def examine(root: Path, tell: Callable[[str], object]) -> bool:
    """Tells a line for each thing that is checked, and returns whether all of them are well."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("python", lambda: f"{platform.python_version()} at {sys.executable}"),
        ("packages", lambda: ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)),
        ("processor", lambda: f"{cpu_name()}, {num_cores()} cores: as many trials at a time, one thread each"),
        ("gpu", _gpu),
        ("hosts", _host),
        ("isolation", _isolation),
        ("harness", lambda: f"fingerprint {harness_fingerprint()}, {_commit()}"),
        ("submissions", lambda: _submissions(root)),
        ("results", lambda: _writable(root)),
    ]
    is_well = True
    for name, check in checks:
        try:
            tell(f"ok      {name:<12} {check()}")
        except Exception as error:  # a doctor reports every illness
            is_well = False
            tell(f"PROBLEM {name:<12} {error}")
    return is_well


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none that torch can use; trials run on the CPU"
    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"


def _isolation() -> str:
    """The level that was reached by locking a process down, and what keeps this machine from a stronger one."""
    level = isolation()
    lacking = [f"{better}: {why}" for better in (Isolation.STRONG, Isolation.MEDIUM) if (why := why_not(better))]
    if level is Isolation.STRONG:
        return "strong: namespaces, Landlock, a system call filter and limits around every submission"
    return f"{level}, not more ({'; '.join(lacking)})"


def _host() -> str:
    """Runs the template's tokenizer like any submission's."""
    template = read_folder(TEMPLATE)
    if isinstance(template, Broken):
        raise template.error
    with Host(template, "answers", max_digits=3) as host:
        num_ids = len(host.encode(["46"], host.describe()).flat())
    return f"a process of its own starts, imports a submission and encodes 46 as {num_ids} ids"


def _commit() -> str:
    commit, is_changed = commit_and_changes()
    if commit is None:
        return "no commit that records could name: git does not track this code"
    return f"commit {commit}{', changed since' if is_changed else ''}"


def _submissions(root: Path) -> str:
    found = discover(root)
    broken = [entry.name for entry in found if isinstance(entry, Broken)]
    which = f", broken: {', '.join(broken)}" if broken else ""
    return f"{counted(len(found), 'folder')} in {root / 'submissions'}{which}"


def _writable(root: Path) -> str:
    results = root / "results"
    require_writable(root)
    if results.exists():
        require_writable(results)
        for folder in filter(Path.is_dir, results.iterdir()):
            require_writable(folder)
    return f"{root} can be written"
