"""CUDA graphs: work on a GPU, recorded once and replayed as one launch.

A step of the frozen model is hundreds of kernels of a few microseconds, and to launch them one by one from Python takes
longer than they run. What is recorded reads and writes tensors that stay where they are, so nothing in it may be a
Python number that changes from one time to the next.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from harness.errors import HarnessError

T = TypeVar("T")
NUM_WARM_UPS = 3
"""Runs before the recording, as torch's notes on CUDA graphs ask for: libraries allocate their workspaces in them."""

_log = logging.getLogger(__name__)


def can_capture(device: torch.device) -> bool:
    """Whether work on this device can be recorded: on CUDA; AMD's graphs, which torch reaches by the same names, were
    never tried."""
    return device.type == "cuda" and torch.version.hip is None


def capture(
    work: Callable[[], T],
    device: torch.device,
    generators: Sequence[torch.Generator] = (),
    state: Callable[[], Sequence[Tensor]] = list,
) -> Callable[[], T]:
    """`work` as one launch; `work` itself where the device cannot record it, or fails to, which the log says.

    Args:
        work: returns tensors, if anything; every replay writes them anew.
        generators: that it draws from.
        state: the tensors that it changes and reads again, those that it makes when it first runs behind the others.
            What the runs of the warm-up do to them is undone: the old values are put back, and zeros into the new.
    """
    if not can_capture(device):
        return work
    try:
        return _record(work, device, generators, state)
    except (RuntimeError, HarnessError) as error:  # a submission's operators give their errors a name of ours
        reason = str(error).partition("\n")[0]
        _log.warning("not recorded as a CUDA graph (%s): its kernels are launched one by one, which is slower", reason)
        return work


def _record(
    work: Callable[[], T],
    device: torch.device,
    generators: Sequence[torch.Generator],
    state: Callable[[], Sequence[Tensor]],
) -> Callable[[], T]:
    before = [tensor.clone() for tensor in state()]
    random_states = [rng.get_state() for rng in generators]
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    try:
        with torch.cuda.stream(stream):
            for _ in range(NUM_WARM_UPS):
                work()
        torch.cuda.current_stream(device).wait_stream(stream)
    finally:
        _put_back(state(), before)
        for rng, random_state in zip(generators, random_states, strict=True):
            rng.set_state(random_state)
    for rng in generators:
        graph.register_generator_state(rng)
    with torch.cuda.graph(graph, stream=stream):
        result = work()

    def replay() -> T:
        graph.replay()
        return result

    return replay


def _put_back(now: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for index, tensor in enumerate(now):
            if index < len(before):
                tensor.copy_(before[index])
            else:
                tensor.zero_()


class Replayed(Generic[T]):
    """A function of tensors that change nothing else, recorded for each shape that it meets a second time.

    Its results hold until the next call. A shape that comes once is not worth the recording.
    """

    def __init__(self, function: Callable[..., T], device: torch.device) -> None:
        self._function, self._device = function, device
        self._runs: dict[tuple[torch.Size, ...], tuple[list[Tensor], Callable[[], T]] | None] = {}

    def __call__(self, *inputs: Tensor) -> T:
        shapes = tuple(tensor.shape for tensor in inputs)
        if not can_capture(self._device) or shapes not in self._runs:
            self._runs[shapes] = None
            return self._function(*inputs)
        recorded = self._runs[shapes]
        if recorded is None:
            own = [tensor.clone() for tensor in inputs]
            recorded = self._runs[shapes] = own, capture(lambda: self._function(*own), self._device)
        own, run = recorded
        for tensor, given in zip(own, inputs, strict=True):
            tensor.copy_(given)
        return run()
