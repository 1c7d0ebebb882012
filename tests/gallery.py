"""What the tests know of the worked submissions: which there are, which learn their positions, which draw them.

They are ours, so tests import them into their own process; the harness itself never does this.
"""

import importlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

from harness.submissions import Part

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
TRAINED = [*LEARNED, *RANDOMISED[:-1], "reversed_fire", "reversed_kerple", "reversed_t5"]
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


def class_of(part: Part) -> Any:
    """The class that the part's entry point names, imported afresh from its folder."""
    return _class_of(part.folder, part.entry_point)


@cache
def _class_of(folder: Path, entry_point: str) -> Any:
    module_name, _, class_name = entry_point.partition(":")
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        return getattr(importlib.import_module(module_name), class_name)
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:  # the next folder has a `submission` of its own
            if Path(getattr(sys.modules[name], "__file__", None) or "").is_relative_to(folder):
                del sys.modules[name]
