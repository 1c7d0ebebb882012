"""CUDA graphs: work on a GPU, recorded once and replayed as one launch.

A step of the frozen model is hundreds of kernels of a few microseconds each, and launching them one by one from Python
takes longer than running them. Recorded work reads and writes tensors at fixed addresses, so nothing in it may be a
Python number that changes from one replay to the next. Pieces of work that do not depend on each other can be branches
of one recording, which run at the same time.
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
"""Runs before the recording, as torch's notes on CUDA graphs require: in them libraries allocate their workspaces."""

_log = logging.getLogger(__name__)


class Recording(Generic[T]):
    """Recorded work, replayed as one launch; its results are in the same tensors every time."""

    def __init__(self, graph: torch.cuda.CUDAGraph, work: Callable[[], T], result: T) -> None:
        # The graph holds addresses, not tensors: whatever the work uses must live as long as the graph.
        self._graph, self._work, self._result = graph, work, result

    def __call__(self) -> T:
        self._graph.replay()
        return self._result


def can_capture(device: torch.device) -> bool:
    """Whether work on this device can be recorded: on CUDA only.

    AMD's graphs, which torch offers under the same names, were never tried.
    """
    return device.type == "cuda" and torch.version.hip is None


def capture(
    work: Callable[[], T],
    device: torch.device,
    *,
    generators: Sequence[torch.Generator] = (),
    state: Sequence[Tensor] = (),
    pool: Any = None,
) -> Callable[[], T]:
    """`work` as a `Recording`, or `work` itself if the device cannot record, or if it waits for the device (logged).

    Args:
        work: returns tensors, if anything; every replay overwrites them.
        generators: the generators that `work` draws from.
        state: the tensors that `work` changes and reads again; the warm-up's changes to them are undone.
        pool: a memory pool to share with other graphs; none may be replayed while this one's results are in use.

    Raises:
        RuntimeError: the device failed, or the recording did; this process should end, since torch guarantees nothing
            about the state that a failed recording leaves behind.
    """
    if not can_capture(device):
        return work
    reason = _warm_up(work, device, generators, state)
    if reason is not None:
        _log.warning("not recorded as a CUDA graph (%s): its kernels are launched one by one, which is slower", reason)
        return work
    try:
        return _record(work, device, generators, pool)
    except HarnessError as error:  # it names a submission, which is not to blame
        raise RuntimeError(f"work that could be run could not be recorded: {error}") from error


def side_by_side(works: Sequence[Callable[[], object]], device: torch.device) -> Callable[[], None]:
    """All `works` as one function; none of them may write what another reads or writes.

    On a device that can record, each has a stream of its own. A recording then has a branch for each, and the kernels
    of all branches, most of which leave most of a GPU idle, run at the same time. Elsewhere the works run in turn.
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
        finally:  # also if one raises: what follows on this stream must not overlap with the others
            for branch in branches:
                current.wait_stream(branch)

    return run


@contextlib.contextmanager
def refusing_to_wait() -> Iterator[None]:
    """Makes whatever waits for the device inside the block raise a RuntimeError."""
    try:
        with warnings.catch_warnings():
            # Once per process torch warns that this check is a prototype, which may miss some waits.
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
    """Runs and undoes the work on the recording stream; returns torch's message if it waits for the device, else None.

    Waits are detected here, since a recording that is broken off leaves torch in a state that it does not guarantee.
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
    except (torch.AcceleratorError, torch.OutOfMemoryError):  # launching kernels one by one would not avoid these
        raise
    except (RuntimeError, HarnessError) as error:  # errors in a submission's operators are raised as ours
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
        torch.cuda.stream(torch.cuda.current_stream(device)),  # a failed recording would not restore it
        torch.cuda.graph(graph, pool=pool, stream=_stream(device)),
    ):
        result = work()
    return Recording(graph, work, result)


@cache
def _stream(device: torch.device, branch: int = 0) -> torch.cuda.Stream:
    """The stream on which all work is warmed up and recorded (0), or that of a branch, counted from 1.

    Streams are cached, to be few: libraries keep a workspace for every stream that they meet.
    """
    return torch.cuda.Stream(device)


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Collects Python's garbage before the block, not inside: a graph destroyed there would invalidate a recording."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Replayed(Generic[T]):
    """A function of tensors without side effects, recorded for each shape that it meets a second time.

    Its results stay valid until the next call, whatever its shape: the recordings share memory. A shape that comes
    only once is not worth a recording.
    """

    def __init__(self, function: Callable[..., T], device: torch.device) -> None:
        self._function, self._device = function, device
        self.can_record = can_capture(device)
        self._pool = torch.cuda.graph_pool_handle() if self.can_record else None
        self._runs: dict[tuple[torch.Size, ...], tuple[list[Tensor], Callable[[], T]] | None] = {}

    @property
    def is_recorded(self) -> bool:
        """Whether some shape came again, and every shape that did is replayed from a recording."""
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
