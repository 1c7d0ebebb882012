"""Runs jobs in worker processes on this machine."""

import contextlib
import math
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.engines.messages import (
    Audited,
    AuditJob,
    Bug,
    Done,
    Failed,
    Probed,
    ProbeJob,
    Progressed,
    Recorded,
    Request,
    TrialJob,
    line_of,
    reply_in,
)
from harness.errors import ExitCode

MEMORY_SHARE = 0.75
"""Share of the available memory for all workers together; the rest is for their hosts and the system."""
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
CONTAINER_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Holds a quota and a period: microseconds of processor time allowed in each period, in microseconds; or `max`."""
MIN_MEMORY_BYTES = 6 << 30
"""Of each worker, however many there are: twice the 3.2 GB that `hints_random_fire` takes on the track `length`."""


@dataclass(frozen=True, slots=True)
class NamedJob:
    """One piece of work, and the name by which a person knows it."""

    name: str
    work: AuditJob | TrialJob | ProbeJob


@dataclass(frozen=True, slots=True)
class Event:
    """News of a job; the death of its worker is a `Failed` too."""

    job: NamedJob
    reply: Progressed | Audited | Recorded | Probed | Failed | Bug


def run_jobs(jobs: Iterable[NamedJob], num_workers: int) -> Generator[Event, None, None]:
    """Does the jobs, in order, at most `num_workers` at a time; yields their events as they come.

    Closing the iterator, or an exception in its consumer, kills the workers and what they started.

    Args:
        jobs: each is asked for when its turn has come.
    """
    due = iter(jobs)
    idle = [] if _kept is None else _kept
    dismiss(idle, keep=num_workers)
    memory = memory_of_a_worker(num_workers)
    busy: list[Worker] = []
    with selectors.DefaultSelector() as selector:

        def begin_next() -> None:
            """Gives the next job, if there is one, to an idle worker or to a new one."""
            if (job := next(due, None)) is None:
                return
            while idle and idle[-1].process.poll() is not None:  # it has died since its last job
                idle.pop().kill()
            worker = idle.pop() if idle else Worker()
            busy.append(worker)
            worker.begin(job, memory)
            selector.register(worker.output, selectors.EVENT_READ, worker)

        try:
            for _ in range(num_workers):
                begin_next()
            while selector.get_map():
                for key, _ in selector.select():
                    worker: Worker = key.data
                    yield from worker.read()
                    if worker.job is None:
                        selector.unregister(worker.output)
                        busy.remove(worker)
                        if worker.is_spent:
                            worker.kill()
                        else:
                            idle.append(worker)
                        begin_next()
        finally:
            dismiss(busy)
            if _kept is None:
                dismiss(idle)


@contextlib.contextmanager
def keeping_workers() -> Iterator[None]:
    """Keeps workers from one `run_jobs` to the next: loading torch and starting zygotes takes them seconds.

    Inside another of the kind, or inside `lending`, the workers are kept there.
    """
    if _kept is not None:
        yield
        return
    idle: list[Worker] = []
    try:
        with lending(idle):
            yield
    finally:
        dismiss(idle)


@contextlib.contextmanager
def lending(idle: list["Worker"]) -> Iterator[None]:
    """Jobs go to these workers first, and every worker without a job is put among them; the caller ends them."""
    global _kept
    before, _kept = _kept, idle
    try:
        yield
    finally:
        _kept = before


def num_cores() -> int:
    """The cores that this process may use: under `taskset` or in a container, fewer than there are."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # a container's share of time; "max" means all of it
        quota, period = map(int, CONTAINER_QUOTA.read_text(encoding="ascii").split())
        cores = min(cores, math.ceil(quota / period))
    return cores


def memory_of_a_worker(num_workers: int, meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes that each worker may take, so that all together leave the machine some.

    None where the system does not say how much memory there is (macOS).
    """
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        available = int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return None
    with contextlib.suppress(OSError, ValueError):  # a container's own limit; "max" means none
        available = min(available, int(CONTAINER_LIMIT.read_text(encoding="ascii")))
    return max(MIN_MEMORY_BYTES, int(MEMORY_SHARE * available / max(1, num_workers)))


class Worker:
    """One worker process and the job it is doing."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            # -P: a file called harness.py in the current folder must not be imported instead of ours.
            [sys.executable, "-P", "-m", "harness.engines.start", str(os.getpid())],
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the command line to handle
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._requests, self._events = self.process.stdin, self.process.stdout
        self.output = self._events.fileno()
        self.is_spent = False
        """Takes no further job: it has ended, or is about to."""
        self._unread = b""
        self.job: NamedJob | None = None

    def begin(self, job: NamedJob, memory: int | None) -> None:
        """Sends the worker a job, for which it may take `memory` bytes."""
        self.job = job
        with contextlib.suppress(BrokenPipeError):  # it has ended, as the end of its output will show
            self._requests.write(line_of(Request(job=job.work, memory=memory)).encode())

    def read(self) -> Iterator[Event]:
        """The events that have arrived.

        A worker that ended in the middle of a job leaves an error in its place; one that reports a bug ends itself.
        """
        chunk = os.read(self.output, 1 << 16)
        if not chunk:
            self.is_spent = True
            job, self.job = self.job, None
            if job is not None:
                code = self.process.wait()
                killed = code == -signal.SIGKILL
                ended = "was killed (SIGKILL), probably because memory ran out" if killed else f"ended with code {code}"
                perhaps = "" if killed else "if memory ran out, "
                message = f"the worker {ended}; {perhaps}run again with a smaller -j, or with more memory"
                exit_code = ExitCode.INCOMPLETE if killed else ExitCode.BUG
                yield Event(job, Failed(message=message, exit_code=exit_code, signal=-code if code < 0 else None))
            return
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        for line in lines:
            reply = reply_in(line)
            assert self.job is not None
            if not isinstance(reply, Done):
                yield Event(self.job, reply)
            if isinstance(reply, (Done, Bug)):
                self.job = None
            if isinstance(reply, Bug) or (isinstance(reply, Done) and reply.is_last):
                self.is_spent = True

    def kill(self) -> None:
        """Ends the worker and its process group; its hosts, which have groups of their own, die with it."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended by itself
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._requests.close()
        self._events.close()


_kept: list[Worker] | None = None
"""The workers without a job, inside `keeping_workers` or `lending`."""


def dismiss(workers: list[Worker], *, keep: int = 0) -> None:
    """Ends workers that have no job, and takes them out of the list, until `keep` of them are left."""
    while len(workers) > keep:
        workers.pop().kill()
