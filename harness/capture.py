"""CUDA graphs: work on a GPU, recorded once and replayed as one launch.

A step of the frozen model is hundreds of kernels of a few microseconds, and to launch them one by one from Python takes
longer than they run. What is recorded reads and writes tensors that stay where they are, so nothing in it may be a
Python number that changes from one time to the next. Works that have nothing to do with each other can be branches of
one recording, which run at the same time.
"""

import contextlib
import gc
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from harness.errors import HarnessError

T = TypeVar("T")
NUM_WARM_UPS = 3
"""Runs before the recording, as torch's notes on CUDA graphs ask for: libraries allocate their workspaces in them."""

_log = logging.getLogger(__name__)


class Recording(Generic[T]):
    """Recorded work as one launch; its results are in the same tensors every time."""

    def __init__(self, graph: torch.cuda.CUDAGraph, work: Callable[[], T], result: T) -> None:
        # The graph holds addresses, not tensors: whatever the work uses must live as long as it does.
        self._graph, self._work, self._result = graph, work, result

    def __call__(self) -> T:
        self._graph.replay()
        return self._result


def can_capture(device: torch.device) -> bool:
    """Whether work on this device can be recorded: on CUDA; AMD's graphs, which torch reaches by the same names, were
    never tried."""
    return device.type == "cuda" and torch.version.hip is None


def capture(
    work: Callable[[], T],
    device: torch.device,
    *,
    generators: Sequence[torch.Generator] = (),
    state: Sequence[Tensor] = (),
    pool: Any = None,
) -> Callable[[], T]:
    """`work` as a `Recording`; `work` itself on a device that cannot record, or if it waits for it, which the log says.

    Args:
        work: returns tensors, if anything; every replay writes them anew.
        generators: that it draws from.
        state: the tensors that it changes and reads again; what the warm-up does to them is undone.
        pool: of the graphs that it may share memory with, none of which is then replayed while its results are in use.

    Raises:
        RuntimeError: the device failed, or the recording did; this process should end, since torch vouches for nothing
            that such a recording leaves behind.
    """
    if not can_capture(device):
        return work
    reason = _warm_up(work, device, generators, state)
    if reason is not None:
        _log.warning("not recorded as a CUDA graph (%s): its kernels are launched one by one, which is slower", reason)
        return work
    try:
        return _record(work, device, generators, pool)
    except HarnessError as error:  # its operators name a submission, which is not to blame
        raise RuntimeError(f"work that could be run could not be recorded: {error}") from error


def side_by_side(works: Sequence[Callable[[], object]], device: torch.device) -> Callable[[], None]:
    """The works as one; none may write what another reads or writes.

    On a device that can record, each has a stream of its own. A recording then has a branch for each, and their
    kernels, most of which leave most of a GPU idle, run at the same time. Elsewhere they run one after the other.
    """
    branches = [_stream(device, index + 1) for index in range(len(works))] if can_capture(device) else []

    def run() -> None:
        if not branches:
            for work in works:
                work()
            return
        current = torch.cuda.current_stream(device)
        try:
            for work, branch in zip(works, branches, strict=True):
                branch.wait_stream(current)
                with torch.cuda.stream(branch):
                    work()
        finally:  # also if one raises: what follows on this stream must not meet the others at work
            for branch in branches:
                current.wait_stream(branch)

    return run


@contextlib.contextmanager
def refusing_to_wait() -> Iterator[None]:
    """What waits for the device inside raises a RuntimeError."""
    try:
        with warnings.catch_warnings():
            # Once a process, torch says that this check is a prototype: it may miss some.
            warnings.filterwarnings("ignore", "Synchronization debug mode", UserWarning)
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _warm_up(
    work: Callable[[], T],
    device: torch.device,
    generators: Sequence[torch.Generator],
    state: Sequence[Tensor],
) -> str | None:
    """Runs the work on the stream of recordings and undoes it; None, or what torch says if it waits for the device.

    Waiting is looked for here, since a recording that is broken off leaves torch in a state that nobody vouches for.
    """
    before = [tensor.clone() for tensor in state]
    random_states = [rng.get_state() for rng in generators]
    stream, current = _stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    try:
        with torch.cuda.stream(stream):
            for _ in range(NUM_WARM_UPS - 1):
                work()
            return _why_it_waits(work)
    finally:
        current.wait_stream(stream)
        with torch.no_grad():
            for tensor, old in zip(state, before, strict=True):
                tensor.copy_(old)
        for rng, random_state in zip(generators, random_states, strict=True):
            rng.set_state(random_state)


def _why_it_waits(work: Callable[[], object]) -> str | None:
    try:
        with refusing_to_wait():
            work()
    except (torch.AcceleratorError, torch.OutOfMemoryError):  # would meet the work launched one by one as well
        raise
    except (RuntimeError, HarnessError) as error:  # a submission's operators give their errors a name of ours
        return str(error).partition("\n")[0]
    return None


def _record(
    work: Callable[[], T], device: torch.device, generators: Sequence[torch.Generator], pool: Any
) -> Recording[T]:
    graph = torch.cuda.CUDAGraph()
    for rng in generators:
        graph.register_generator_state(rng)
    with (
        _without_collection(),
        torch.cuda.stream(torch.cuda.current_stream(device)),  # which a broken recording does not come back to
        torch.cuda.graph(graph, pool=pool, stream=_stream(device)),
    ):
        result = work()
    return Recording(graph, work, result)


@cache
def _stream(device: torch.device, branch: int = 0) -> torch.cuda.Stream:
    """The one on which all works are warmed up and recorded, or that of a branch, counted from 1. Few, since libraries
    keep a workspace for every stream that they meet."""
    return torch.cuda.Stream(device)


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Python collects its garbage before, not inside: a graph that is destroyed there makes a recording invalid."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Replayed(Generic[T]):
    """A function of tensors that changes nothing else, recorded for each shape that it meets a second time.

    Its results hold until the next call, whatever the shape: the recordings share their memory. A shape that comes
    once is not worth one.
    """

    def __init__(self, function: Callable[..., T], device: torch.device) -> None:
        self._function, self._device = function, device
        self.can_record = can_capture(device)
        self._pool = torch.cuda.graph_pool_handle() if self.can_record else None
        self._runs: dict[tuple[torch.Size, ...], tuple[list[Tensor], Callable[[], T]] | None] = {}

    @property
    def is_recorded(self) -> bool:
        """Whether a shape came again, and every one that did is replayed."""
        runs = [again[1] for again in self._runs.values() if again is not None]
        return bool(runs) and all(isinstance(run, Recording) for run in runs)

    def __call__(self, *inputs: Tensor) -> T:
        shapes = tuple(tensor.shape for tensor in inputs)
        if not self.can_record or shapes not in self._runs:
            self._runs[shapes] = None
            return self._function(*inputs)
        recorded = self._runs[shapes]
        if recorded is None:
            own = [tensor.clone() for tensor in inputs]
            run = capture(lambda: self._function(*own), self._device, pool=self._pool)
            recorded = self._runs[shapes] = own, run
        own, run = recorded
        for tensor, given in zip(own, inputs, strict=True):
            tensor.copy_(given)
        return run()
