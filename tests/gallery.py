"""What the tests know of the worked submissions: which there are, which learn their positions, which draw them.

They are ours, so tests run them in their own process; the harness itself never does this.
"""

import importlib
import sys
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any, Literal

from harness.submissions import Part, Submission, read_folder

SUBMISSIONS = Path(__file__).parents[1] / "submissions"

LEARNED = [
    "characters_learned",
    "column_pairs_learned",
    "column_pairs_ordered_learned",
    "groups_of_2_learned",
    "groups_of_3_learned",
    "hints_learned",
    "interleaved_learned",
    "interleaved_learned_tuned",
    "padded_learned",
    "reversed_answer_learned",
    "reversed_learned",
]
"""With the same learned absolute positions."""
RANDOMISED = [
    "hints_random_fire",
    "padded_coupled",
    "reversed_abacus",
    "reversed_abacus_fire",
    "reversed_coupled",
    "reversed_random_fire",
    "reversed_randomised",
]
"""Draw in training."""
TRAINED = [
    *LEARNED,
    *RANDOMISED[:-1],
    "column_pairs_reversed_local",
    "reversed_fire",
    "reversed_kerple",
    "reversed_t5",
]
"""Positions with parameters."""
FIXED = [
    "characters_alibi",
    "characters_rotated",
    "characters_sinusoidal",
    "column_pairs_rotated",
    "reversed_alibi",
    "reversed_nope",
    "reversed_randomised",
    "reversed_rope",
    "reversed_rotated",
    "reversed_sinusoidal",
]
"""Positions without."""
NAMES = sorted([*TRAINED, *FIXED])
REVERSED = [name for name in NAMES if name.startswith("reversed_") and name != "reversed_answer_learned"]
"""With the same tokenizer."""


def with_distinct(part: Literal["tokenizer", "positions"]) -> list[str]:
    """Submissions whose tokenizers, or positional embeddings, are all different, and together all that there are."""
    found: dict[tuple[Path, str], str] = {}
    for name in NAMES:
        submission = read_folder(SUBMISSIONS / name)
        assert isinstance(submission, Submission), name
        own = submission.tokenizer if part == "tokenizer" else submission.positions
        found.setdefault((own.folder, own.entry_point), name)
    return list(found.values())


def class_of(part: Part) -> Any:
    """The class that the part's entry point names, made afresh from the files that were read and digested.

    The folder itself is not on the path: Python would prefer byte code that lies in it, which no reader sees.
    """
    module_name, _, class_name = part.entry_point.partition(":")
    finder = _Sources(part)
    sys.meta_path.insert(0, finder)
    try:
        return getattr(importlib.import_module(module_name), class_name)
    finally:
        sys.meta_path.remove(finder)
        for name in finder.loaded:  # the next folder has a `submission` of its own
            sys.modules.pop(name, None)


class _Sources(MetaPathFinder, ExecutionLoader):
    """Finds the modules of one part among the contents of its files."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.loaded: list[str] = []

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if f"{fullname}.py" not in self.part.files:
            return None
        self.loaded.append(fullname)
        return spec_from_file_location(fullname, self.get_filename(fullname), loader=self)

    def get_filename(self, fullname: str) -> str:
        return str(self.part.folder / f"{fullname}.py")

    def get_source(self, fullname: str) -> str:
        return self.part.files[f"{fullname}.py"].decode()
