"""Programs of this folder that run in processes of their own and do what they are asked, a line at a time."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


class Asked:
    """Such a process, from outside; a context manager.

    Args:
        program: beside this file.
        threads: of torch in it.
    """

    def __init__(self, program: str, *arguments: str, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name(program)), *arguments, str(threads)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Asked":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def send(self, work: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{work}\n")
        self._process.stdin.flush()

    def receive(self) -> float:
        """The seconds that it took, once it is done."""
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())

    def seconds(self, work: str) -> float:
        self.send(work)
        return self.receive()


def serve(works: dict[str, Callable[[], object]]) -> None:
    """The program's side: does what each line of stdin names, and answers with the seconds that it took."""
    for line in sys.stdin:
        began = time.perf_counter()
        works[line.strip()]()
        sys.stdout.write(f"{time.perf_counter() - began}\n")
        sys.stdout.flush()
