"""What stands for CUDA graphs on a machine without CUDA: operators are recorded below autograd, and replayed.

As in the real thing, recording changes nothing that was there before, a replay runs the same operators on the same
memory, whatever Python did meanwhile, and an operator that waits for the device cannot be recorded. Not as in the real
thing: tensors that a graph uses live as long as it does, and a recording that was broken off leaves nothing behind.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITING = frozenset(
    ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select", "unique", "_unique2")
)
"""Operators that hand a number to the host, or whose result's size depends on values."""


def name_of(func: Any) -> str:
    return func.name().removeprefix("aten::").partition(".")[0]


def is_same(one: torch.Generator, other: torch.Generator) -> bool:
    """Below Python a generator has no identity; its state has."""
    return one.get_state().tolist() == other.get_state().tolist()


class RecordedGraph:
    """Stands for `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Any]]] = []
        self.generators: list[torch.Generator] = []
        self.num_replays = 0

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.append(generator)

    def replay(self) -> None:
        self.num_replays += 1
        with torch.inference_mode(), torch._C._AutoDispatchBelowADInplaceOrView():
            for func, args, kwargs, results in self.calls:
                for old, new in zip(results, tree_leaves(func(*args, **kwargs)), strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class Recorder(TorchDispatchMode):
    """Runs and notes every operator; `undo` puts back what was written to."""

    def __init__(self, graph: RecordedGraph) -> None:
        super().__init__()
        self.graph = graph
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if name_of(func) in WAITING:
            raise RuntimeError(f"{func}: operation not permitted when stream is capturing")
        drawn_from = kwargs.get("generator")
        if drawn_from is not None and not any(is_same(drawn_from, known) for known in self.graph.generators):
            raise RuntimeError("Offset increment outside graph capture encountered unexpectedly.")
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in tree_leaves(value):
                    self.before.setdefault(tensor.data_ptr(), (tensor, tensor.clone()))
        result = func(*args, **kwargs)
        self.graph.calls.append((func, args, kwargs, tree_leaves(result)))
        return result

    def undo(self) -> None:
        with torch.inference_mode():
            for tensor, old in self.before.values():
                tensor.copy_(old)


class Impatient(TorchDispatchMode):
    """Stands for `torch.cuda.set_sync_debug_mode("error")`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if name_of(func) in WAITING:
            raise RuntimeError("called a synchronizing CUDA operation")
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def recording(graph: RecordedGraph, pool: object = None, stream: object = None) -> Iterator[None]:
    """Stands for `torch.cuda.graph`."""
    states = [generator.get_state() for generator in graph.generators]
    recorder = Recorder(graph)
    try:
        with recorder:
            yield
    finally:
        recorder.undo()
        for generator, state in zip(graph.generators, states, strict=True):
            generator.set_state(state)


class Stream:
    """Stands for `torch.cuda.Stream`: on one processor everything is in order."""

    def __init__(self, device: object = None) -> None: ...

    def wait_stream(self, other: object) -> None: ...


def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[RecordedGraph]:
    """Makes the CPU a device that can record; the graphs that were."""
    made: list[RecordedGraph] = []

    def make() -> RecordedGraph:
        made.append(RecordedGraph())
        return made[-1]

    entered: list[Impatient] = []

    def set_sync_debug_mode(mode: str) -> None:
        if mode == "error":
            entered.append(Impatient())
            entered[-1].__enter__()
        else:
            entered.pop().__exit__(None, None, None)

    monkeypatch.setattr("harness.capture.can_capture", lambda device: True)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_sync_debug_mode)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", make)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    return made
