"""What a person sees while trials run: bars on a terminal, plain lines elsewhere, both on stderr."""

import time
from types import TracebackType
from typing import Self

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.engines.messages import Progressed
from harness.terminal import messages, say

PLAIN_LINE_EVERY_S = 10.0
WIDE = 120
"""From this many columns on, bars and clocks fit beside the numbers."""
MAX_NAME = 27
"""Characters of a job's name on a narrower terminal."""


class Display:
    """Shows jobs as they run; a context manager."""

    def __init__(self, what: str, num_jobs: int) -> None:
        self._num_jobs, self._num_done = num_jobs, 0
        self._tasks: dict[str, TaskID] = {}
        self._last_line: dict[str, float] = {}
        self._progress: Progress | None = None
        if messages.is_terminal:
            is_wide = messages.width >= WIDE
            bar, clock = [BarColumn(bar_width=24)], [TimeElapsedColumn(), TextColumn("left")]
            self._progress = Progress(
                TextColumn("{task.description}"),
                *(bar if is_wide else []),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}", style="dim"),
                *(clock if is_wide else []),
                TimeRemainingColumn(elapsed_when_finished=False),
                console=messages,
                transient=True,
            )
            self._total = self._progress.add_task(f"[bold]{what}", total=num_jobs, note="")

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()

    def update(self, job: str, progress: Progressed) -> None:
        note = progress.phase
        if progress.phase == "train" and progress.loss is not None:
            note = f"{progress.examples_per_second:,.0f}/s, loss {progress.loss:.3f}, match {progress.accuracy:.3f}"
        if self._progress:
            if job not in self._tasks:
                name = job if len(job) <= MAX_NAME or messages.width >= WIDE else f"{job[: MAX_NAME - 8]}…{job[-7:]}"
                self._tasks[job] = self._progress.add_task(escape(name), total=progress.num_steps, note="")
            self._progress.update(self._tasks[job], completed=progress.step, note=escape(note))
        elif time.monotonic() - self._last_line.get(job, -PLAIN_LINE_EVERY_S) >= PLAIN_LINE_EVERY_S:
            self._last_line[job] = time.monotonic()
            say(f"{job}: step {progress.step} of {progress.num_steps}, {note}")

    def done(self, job: str, line: str, style: str = "", num_trials: int = 1) -> None:
        """Shows the end of a job, or of `num_trials` of its trials, as a line that stays."""
        self._num_done += num_trials
        if self._progress:
            if job in self._tasks:
                self._progress.remove_task(self._tasks.pop(job))
            self._progress.update(self._total, completed=self._num_done)
        say(f"[{self._num_done}/{self._num_jobs}] {line}", style)
