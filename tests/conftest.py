"""What tests of every part use: one thread, and submissions written from their source."""

import gc
import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import IDLE_WORKERS

from harness.engines.local import dismiss, lending
from harness.errors import MachineError
from harness.host.sandbox import isolation
from harness.submissions import Submission, read_folder

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported, here and in every process started


def pytest_sessionstart(session: pytest.Session) -> None:
    """Without a sandbox every second test would fail, each with the same reason: better to say it once."""
    if not hasattr(session.config, "workerinput"):
        try:
            isolation()
        except MachineError as error:
            pytest.exit(str(error), returncode=error.exit_code)


def pytest_collection_finish() -> None:
    """What was imported stays, so that looking for garbage among it is wasted time."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    dismiss(IDLE_WORKERS)


@pytest.fixture
def shared_workers() -> Iterator[None]:
    """Jobs go to workers that earlier tests have started."""
    with lending(IDLE_WORKERS):
        yield


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The CUDA graphs that were recorded, on a stand-in that a CPU has: a list of `recorded_graphs.RecordedGraph`."""
    from recorded_graphs import stand_in  # which loads torch, as most tests need not

    return stand_in(monkeypatch)


@pytest.fixture
def torch_as_found() -> Iterator[None]:
    """Leaves torch's threads and products to the tests after it as they were."""
    import torch  # which most tests need not

    one_dnn: Any = torch.backends.mkldnn  # an object that stands for the module of this name, with more on it
    threads, precision = torch.get_num_threads(), one_dnn.matmul.fp32_precision
    yield
    torch.set_num_threads(threads)
    one_dnn.matmul.fp32_precision = precision


@pytest.fixture
def own_torch_seed() -> Iterator[None]:
    """The test may seed torch: its generator goes to the tests after it as it was."""
    import torch  # which most tests need not

    with torch.random.fork_rng():
        yield


@pytest.fixture
def write_submission(tmp_path: Path) -> Callable[..., Submission]:
    """`write_submission(positions="…")`: a folder whose `submission.py` holds a character tokenizer and the source."""

    def write(*, tokenizer: str = CHARACTERS, positions: str = "", name: str = "mine") -> Submission:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "submission.yaml").write_text("title: Mine\nauthors: [Ada]\nsummary: One line.\n")
        parts = (IMPORTS, textwrap.dedent(tokenizer), textwrap.dedent(positions) or NO_POSITIONS)
        (folder / "submission.py").write_text("\n".join(parts))
        found = read_folder(folder)
        assert isinstance(found, Submission), found
        return found

    return write


IMPORTS = """
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from harness import protocol
from harness.protocol import Terms
"""
CHARACTERS = """
class Tokenizer:
    vocab_size, pad_id, eos_id = 14, 12, 13

    def __init__(self, max_digits):
        pass

    def encode(self, text):
        return ["0123456789+=".index(character) for character in text]

    def decode(self, token_ids):
        return "".join("0123456789+="[token_id] for token_id in token_ids if token_id < 12)
"""
NO_POSITIONS = """
class PositionalEmbedding(protocol.PositionalEmbedding):
    def forward(self, layout):
        return Terms()
"""
