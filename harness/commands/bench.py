"""How fast this machine trains, scores and decodes, compared with the plain loop and with the arithmetic alone.

Everything is measured on the built-in reference, the frozen model at a character tokenizer's sequence lengths: no
submission's code runs. On a CPU the plain loop shares the memory and the matrix products that `processor.py` sets up,
which makes it faster than it would be by itself; `make bench` gives it a process of its own.
"""

import gc
import json
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.capture import Recording, can_capture
from harness.commands.plain_loop import Characters, PlainLoop, PlainModel
from harness.decoding import EVALUATION_BATCH, Decoder
from harness.files import write_atomically
from harness.processor import device_name, products
from harness.provenance import commit_and_changes
from harness.task import Split, UniformDigits, draw
from harness.throughput import reference_trainer, seconds
from harness.track import Track
from harness.training import Trainer, fast_step

ROUNDS = 15
WARM_UP_ROUNDS = 3
NUM_SEEDS = (1, 3, 8)
"""Trained side by side where a step can be recorded; elsewhere nothing would be gained by it."""
PEAK_SIZE = {"cuda": 8192, "cpu": 1024}
"""Width of the square matrices whose product's rate counts as the device's peak."""
FOLDER = Path("docs") / "performance"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One thing that was measured; times are medians, and every sample is kept."""

    work: str
    digits: int
    num_seeds: int
    how: str
    """`plain loop`, `launched one by one`, `recorded`, or `not recordable`: tried, and launched one by one."""
    samples_s: list[float]
    examples_per_second: float
    """Of all seeds together."""
    ratio: float | None
    """Examples per second over the plain loop's; None for the plain loop itself."""
    floor_share: float | None
    """The time that the step's matrix products would take at the device's peak, over the step's; None for all else."""
    peak_memory_bytes: int | None
    """Of the device, with nothing else on it; only for our training steps on a GPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    device: str
    driver: str | None
    torch: str
    python: str
    commit: str | None
    track: str
    products: str
    threads: int
    peak_flops: float
    """Floating point operations a second in a large float32 product."""
    rows: list[Row]

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    def as_markdown(self) -> str:
        driver = f", driver {self.driver}" if self.driver else ""
        lines = [
            f"# Speed on {self.device}",
            "",
            f"`harness bench --track {self.track} --report`: torch {self.torch}{driver}, Python {self.python}, commit "
            f"{self.commit or 'unknown'}; products by {self.products}, threads on the CPU: {self.threads}, "
            f"{self.peak_flops / 1e12:.3g} TFLOP/s in a large float32 product. Medians of {ROUNDS} rounds.",
            "The floor is the time that the matrix products alone would take at that rate.",
            "",
            "| work | digits | seeds | how | time | examples/s | beside the plain loop | floor / time | memory |",
            "|:--|--:|--:|:--|--:|--:|--:|--:|--:|",
        ]
        for row in self.rows:
            ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
            share = "–" if row.floor_share is None else f"{row.floor_share:.0%}"
            memory = "–" if row.peak_memory_bytes is None else f"{row.peak_memory_bytes / 2**20:.0f} MiB"
            lines.append(
                f"| {row.work} | {row.digits} | {row.num_seeds} | {row.how} | {1000 * median(row.samples_s):.3g} ms "
                f"| {row.examples_per_second:,.0f} | {ratio} | {share} | {memory} |"
            )
        return "\n".join(lines) + "\n"


def bench(track: Track, device: torch.device, tell: Callable[[str], None]) -> Report:
    """Measures training, scoring and decoding at every number of digits of the track.

    Args:
        tell: called with what is being measured.
    """
    peak = _peak_flops(device)
    rows: list[Row] = []
    for digits in track.digits:
        tell(f"{digits} digits")
        rows += _training(track, digits, device, peak)
        rows += _answering(track, digits, device)
    return Report(
        device=device_name(device),
        driver=_driver() if device.type == "cuda" else None,
        torch=torch.__version__,
        python=platform.python_version(),
        commit=commit_and_changes()[0],
        track=track.name,
        products=products(device),
        threads=torch.get_num_threads(),
        peak_flops=peak,
        rows=rows,
    )


def write(report: Report, root: Path) -> list[Path]:
    """Writes `docs/performance/<device>.md` and `.json`.

    Raises:
        MachineError: they could not be written.
    """
    folder = root / FOLDER
    name = "-".join("".join(c if c.isalnum() else " " for c in report.device.lower()).split())
    written = {folder / f"{name}.md": report.as_markdown(), folder / f"{name}.json": report.as_json()}
    for path, text in written.items():
        write_atomically(path, text)
    return list(written)


def _training(track: Track, digits: int, device: torch.device, peak: float) -> list[Row]:
    """A training step of the plain loop, and ours in every way that the device offers, measured in turn."""
    size = track.training.batch_size
    problems = draw(UniformDigits(digits), Split.TRAIN, count=8 * size, track_seed=track.seed)
    prompts, answers = problems.prompts(), problems.answers()
    plain, starts = _plain_loop(track, digits, device), cycle(range(0, len(problems), size))

    def plain_step() -> None:
        rows = slice(start := next(starts), start + size)
        plain.train_step(prompts[rows], answers[rows])

    ways: list[tuple[int, str, Callable[[], None], int | None]] = [(1, "plain loop", plain_step, None)]
    flops = _flops(reference_trainer(track, digits, device))
    make = partial(reference_trainer, track, digits, device)
    ways.append((1, "launched one by one", make().step, _peak_memory_bytes(lambda: make().step, device)))
    for num_seeds in NUM_SEEDS if can_capture(device) else ():
        record = partial(_recorded, make, num_seeds)
        step, memory = record(), _peak_memory_bytes(record, device)
        ways.append((num_seeds, _how(isinstance(step, Recording), device), step, memory))
    samples = _in_turn([work for _, _, work, _ in ways], device)
    plain_rate = size / median(samples[0])
    return [
        Row(
            work="training step",
            digits=digits,
            num_seeds=num_seeds,
            how=how,
            samples_s=own,
            examples_per_second=num_seeds * size / median(own),
            ratio=None if how == "plain loop" else num_seeds * size / median(own) / plain_rate,
            floor_share=None if how == "plain loop" else num_seeds * flops / peak / median(own),
            peak_memory_bytes=memory,
        )
        for (num_seeds, how, _, memory), own in zip(ways, samples, strict=True)
    ]


def _answering(track: Track, digits: int, device: torch.device) -> list[Row]:
    """One batch of answers: the plain loop generates them; ours scores them in one pass, or generates with a cache."""
    problems = draw(UniformDigits(digits), Split.TEST, count=EVALUATION_BATCH, track_seed=track.seed)
    prompts, plain = problems.prompts(), _plain_loop(track, digits, device)
    reference = reference_trainer(track, digits, device)
    # No id ends an answer: both sides generate every token.
    decoder = Decoder(reference.model, reference.positions, pad_id=reference.pad_id, eos_id=-1)
    data = reference.data.rows(0, EVALUATION_BATCH)
    ways: list[tuple[str, Callable[[], object]]] = [
        ("answers", lambda: plain.answer(prompts, num_tokens=digits + 2)),
        ("answers, scored", lambda: decoder.teacher_forced(data)),
        ("answers, generated", lambda: decoder.greedy(data)),
    ]
    samples = _in_turn([work for _, work in ways], device)  # its warm-up records the passes
    passes = (decoder.forced_pass, decoder.greedy_pass)
    hows = ["plain loop", *(_how(one.is_recorded, device) for one in passes)]
    return [
        Row(
            work=f"{EVALUATION_BATCH} {work}",
            digits=digits,
            num_seeds=1,
            how=how,
            samples_s=own,
            examples_per_second=EVALUATION_BATCH / median(own),
            ratio=None if how == "plain loop" else median(samples[0]) / median(own),
            floor_share=None,
            peak_memory_bytes=None,
        )
        for (work, _), how, own in zip(ways, hows, samples, strict=True)
    ]


def _how(is_recorded: bool, device: torch.device) -> str:
    """What became of work that is recorded where it can be."""
    if not can_capture(device):
        return "launched one by one"
    return "recorded" if is_recorded else "not recordable"


def _in_turn(ways: list[Callable[[], object]], device: torch.device) -> list[list[float]]:
    """Seconds of every round, for each of the ways; they take turns."""
    samples: list[list[float]] = [[] for _ in ways]
    for round_index in range(WARM_UP_ROUNDS + ROUNDS):
        for own, work in zip(samples, ways, strict=True):
            took = seconds(work, device)
            if round_index >= WARM_UP_ROUNDS:
                own.append(took)
    return samples


def _recorded(make: Callable[[], Trainer], num_seeds: int) -> Callable[[], None]:
    return fast_step([make() for _ in range(num_seeds)])


def _peak_memory_bytes(make_step: Callable[[], Callable[[], None]], device: torch.device) -> int | None:
    """The most that the device holds while a step is made and run, beyond what it held before; None on a CPU.

    If another step was made before, that leaves out what libraries keep for each stream from its first step on.
    """
    if device.type != "cuda":
        return None
    gc.collect()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step = make_step()
    for _ in range(WARM_UP_ROUNDS):
        step()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _plain_loop(track: Track, digits: int, device: torch.device) -> PlainLoop:
    model = PlainModel(track.model, Characters.vocab_size, max_length=4 * digits + 8).to(device)
    return PlainLoop(model, Characters(digits), track.training.learning_rate)


def _flops(trainer: Trainer) -> int:
    """Floating point operations in the matrix products of one step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        trainer.step()
    return counter.get_total_flops()


def _peak_flops(device: torch.device) -> float:
    size = PEAK_SIZE[device.type]
    one, other = torch.randn(2, size, size, device=device).unbind(0)
    (samples,) = _in_turn([lambda: torch.mm(one, other)], device)
    return 2 * size**3 / median(samples)


def _driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 else None
