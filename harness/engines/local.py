"""Runs jobs in worker processes on this machine."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import ExitCode


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work; `payload` is what `worker.py` reads, `name` what a person reads."""

    name: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a job said: `kind` is progress, record, findings, error or bug. An error that is the death of the
    worker has the signal that killed it."""

    job: Job
    kind: str
    values: dict[str, Any]


def run(jobs: Sequence[Job], num_workers: int) -> Iterator[Event]:
    """Does the jobs, in order, at most `num_workers` at a time; yields their events as they come.

    Closing the iterator, or an exception in its consumer, kills the workers and what they started.
    """
    waiting = deque(jobs)
    workers: list[_Worker] = []
    with selectors.DefaultSelector() as selector:

        def hire() -> None:
            if waiting:
                workers.append(_Worker(waiting.popleft()))
                selector.register(workers[-1].output, selectors.EVENT_READ, workers[-1])

        try:
            for _ in range(num_workers):
                hire()
            while selector.get_map():
                for key, _ in selector.select():
                    worker: _Worker = key.data
                    yield from worker.read()
                    if worker.job is None and waiting and not worker.is_spent:
                        worker.begin(waiting.popleft())
                    elif worker.job is None:
                        selector.unregister(worker.output)
                        worker.kill()
                        if worker.is_spent:
                            hire()
        finally:
            for worker in workers:
                worker.kill()


class _Worker:
    """One worker process and the job it is doing."""

    def __init__(self, job: Job) -> None:
        self.process = subprocess.Popen(
            # -P: a file called harness.py where the command runs is not ours to import.
            [sys.executable, "-P", "-m", "harness.engines.worker", str(os.getpid())],
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
        self.begin(job)

    def begin(self, job: Job) -> None:
        self.job: Job | None = job
        with contextlib.suppress(BrokenPipeError):  # it has ended; the end of its output says so
            self._requests.write(json.dumps(job.payload).encode() + b"\n")

    def read(self) -> Iterator[Event]:
        """The events that have arrived. A worker that ended in the middle of a job leaves an error in its place; one
        that reports a bug ends itself."""
        chunk = os.read(self.output, 1 << 16)
        if not chunk:
            self.is_spent = True
            job, self.job = self.job, None
            if job is not None:
                code = self.process.wait()
                message = f"the worker ended with code {code}; if memory ran out, run again with a smaller -j"
                yield Event(job, "error", {"message": message, "exit_code": ExitCode.BUG, "signal": -code})
            return
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        for line in lines:
            values = json.loads(line)
            kind = values.pop("event")
            assert self.job is not None
            if kind != "done":
                yield Event(self.job, kind, values)
            if kind in ("done", "bug"):
                self.job = None
            if kind == "bug":
                self.is_spent = True

    def kill(self) -> None:
        """Ends the worker and its group; its hosts, which have groups of their own, die with it."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended by itself
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._requests.close()
        self._events.close()
