"""What a submission may import: the contract's four kinds of modules, however the import is written."""

import re
import warnings
from dataclasses import replace
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from bad_folders import MANIFEST, make_submission

from harness.audits import audit
from harness.audits.imports import COME_WITH_TORCH, check_imports
from harness.submissions import Submission, read_folder


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("import sklearn", "sklearn"),
        ("import scipy.special", "scipy.special"),
        ("from pandas import DataFrame", "pandas"),
        ("import harness.model", "harness.model"),
        ("from harness import task", "harness.task"),
        ("from harness.task import draw", "harness.task"),
        ("from .helpers import x", ".helpers"),
        ("def later():\n    import yaml", "yaml"),
        ("try:\n    import tabulate\nexcept ImportError:\n    pass", "tabulate"),
    ],
)
def test_anything_else_is_refused_with_file_line_and_what_is_allowed(tmp_path: Path, line: str, module: str) -> None:
    (finding,) = check_imports(make_submission(tmp_path, top=line))
    assert (finding.rule, finding.level) == ("T00", "gate")
    number = 1 + line[: line.index("import")].count("\n")
    assert finding.message.startswith(f"submission.py, line {number}, imports {module}; a submission has the standard")


def test_reading_a_file_tells_the_terminal_nothing_of_what_stands_in_it(tmp_path: Path) -> None:
    """Python warns of an escape that it does not know, and shows it, from 3.12 on without being asked to."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert list(check_imports(make_submission(tmp_path, top='PATTERN = "\\d"'))) == []
    assert told == []


@pytest.mark.parametrize(
    "line",
    [
        "import torch.nn.functional as F",
        "from numpy.linalg import norm",
        "import collections.abc, math",
        "from harness import protocol",
        "import harness.protocol",
        "from harness.protocol import Kind",
        "import submission",
        "def (:",  # for the host to name
    ],
)
def test_what_the_contract_gives_is_not_refused(tmp_path: Path, line: str) -> None:
    assert list(check_imports(make_submission(tmp_path, top=line))) == []


def test_the_folders_own_modules_and_packages_may_be_imported(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, top="import helpers\nfrom parts import one")
    files = {**submission.tokenizer.files, "helpers.py": b"", "parts/one.py": b""}
    parts = {name: replace(getattr(submission, name), files=files) for name in ("tokenizer", "positions")}
    assert list(check_imports(replace(submission, **parts))) == []


def test_a_file_that_is_missing_is_named_and_one_that_is_there_is_imported_without_a_dot(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, top="from .helpers import x")
    (missing,) = check_imports(submission)
    assert missing.message.endswith("there is no helpers.py among them")
    files = {**submission.tokenizer.files, "helpers.py": b""}
    parts = {name: replace(getattr(submission, name), files=files) for name in ("tokenizer", "positions")}
    (dotted,) = check_imports(replace(submission, **parts))
    assert dotted.message.endswith("import it without the dot")


def test_a_file_named_like_what_comes_with_torch_is_refused_since_the_other_is_imported(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, top="import sympy")
    files = {**submission.tokenizer.files, "sympy.py": b""}
    parts = {name: replace(getattr(submission, name), files=files) for name in ("tokenizer", "positions")}
    (finding,) = check_imports(replace(submission, **parts))
    assert finding.message.startswith("sympy.py has the name of a module of torch or what comes with it, which is")


def test_a_file_of_a_lender_is_named_with_its_folder(tmp_path: Path) -> None:
    lender, borrower = make_submission(tmp_path, "lender", top="import scipy"), make_submission(tmp_path, "borrower")
    (finding,) = check_imports(replace(borrower, positions=lender.positions))
    assert finding.message.startswith("in the borrowed submissions/lender: submission.py, line 1, imports scipy;")


def test_the_list_of_what_comes_with_torch_holds_what_the_installed_torch_and_numpy_require() -> None:
    def required(name: str) -> set[str]:
        plain = [line for line in metadata.requires(name) or [] if "extra ==" not in line]
        names = {found.group().lower() for line in plain if (found := re.match(r"[\w-]+", line))}
        return {name}.union(*(required(one) for one in names if one in installed))

    installed = {name.lower(): name for name in {*chain(*metadata.packages_distributions().values())}}
    distributions = required("torch") | required("numpy")
    modules = {
        module
        for module, holders in metadata.packages_distributions().items()
        if distributions.intersection(map(str.lower, holders)) and not module.startswith("_") and module != "isympy"
    }
    assert {"torch", "numpy", "sympy"} <= modules <= COME_WITH_TORCH | {"nvidia", "cuda"}


def test_a_folder_called_harness_opens_no_way_into_the_harness(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, top="from harness.task import fixed_suites")
    files = {**submission.tokenizer.files, "harness/task.py": b""}
    parts = {name: replace(getattr(submission, name), files=files) for name in ("tokenizer", "positions")}
    (finding,) = check_imports(replace(submission, **parts))
    assert "imports harness.task" in finding.message


def test_a_file_named_like_a_module_of_pythons_own_is_refused_since_that_one_is_imported(tmp_path: Path) -> None:
    manifest = MANIFEST.replace("submission:Characters", "types:Characters")
    folder = make_submission(tmp_path, manifest=manifest).folder
    (folder / "submission.py").rename(folder / "types.py")
    submission = read_folder(folder)
    assert isinstance(submission, Submission)
    (finding,) = check_imports(submission)
    assert finding.message.startswith("types.py has the name of a module of Python's own, which is imported instead")


def test_a_foreign_import_is_the_one_finding_of_an_audit(tmp_path: Path) -> None:
    """Not a dozen others that follow from it, or none where the package happens to be installed."""
    (finding,) = audit(make_submission(tmp_path, top="import pydantic"))
    assert "imports pydantic" in finding.message
