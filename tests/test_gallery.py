"""How the tests make a worked class: from the source that was read, whatever Python may have left beside it."""

import py_compile
import sys
from importlib.util import cache_from_source
from pathlib import Path

from gallery import class_of

from harness.submissions import Submission, read_folder

MANIFEST = "title: One\nauthors: [Me]\nsummary: One.\n"
SOURCE = "from part import NAME\n\n\nclass Tokenizer:\n    name = NAME\n"


def folder_with(folder: Path, name: str) -> Submission:
    folder.mkdir()
    for path, content in {
        "submission.yaml": MANIFEST,
        "submission.py": SOURCE,
        "part.py": f"NAME = {name!r}\n",
    }.items():
        (folder / path).write_text(content)
    found = read_folder(folder)
    assert isinstance(found, Submission)
    return found


def test_byte_code_that_lies_beside_the_source_is_not_run(tmp_path: Path) -> None:
    """It is marked as never to be compared with its source, so that an import would run it."""
    submission = folder_with(tmp_path / "one", "read")
    other = tmp_path / "other.py"
    other.write_text("NAME = 'hidden'\n")
    for module in ("submission", "part"):
        hidden = cache_from_source(str(tmp_path / "one" / f"{module}.py"))
        py_compile.compile(
            str(other), hidden, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
    assert class_of(submission.tokenizer).name == "read"


def test_each_folder_has_modules_of_its_own_and_leaves_none_behind(tmp_path: Path) -> None:
    names = ["one", "two"]
    classes = [class_of(folder_with(tmp_path / name, name).tokenizer) for name in names]
    assert [found.name for found in classes] == names
    assert {"submission", "part"}.isdisjoint(sys.modules)
