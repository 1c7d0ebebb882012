"""One trial from start to end: encode, export, train, score, decode, measure, record."""

import contextlib
import math
import resource
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness import decoding, encoding, throughput
from harness.audits.findings import Finding
from harness.audits.live import check_decoys, check_published, check_siblings, check_untrained, probes_of
from harness.documents import visible
from harness.host.client import Host
from harness.host.sandbox import isolation
from harness.model import FrozenModel, shape_of
from harness.positions import Positions, Program, receive_positions
from harness.provenance import cpu_name, identity
from harness.ragged import Ragged
from harness.randomness import derived_seed
from harness.records import Audit, Checkpoint, CurvePoint, Drift, Mistake, Parameters, Record, Score, Seconds, Suites
from harness.submissions import Submission
from harness.task import Problems, suites, training_problems, validation_problems
from harness.track import Track
from harness.training import Batches, Trainer

MAX_MISTAKES = 10
NINETY_PERCENT = 0.9


class Progress(NamedTuple):
    """What a person at the terminal sees of a running trial."""

    phase: str
    step: int
    num_steps: int
    examples_per_second: float
    loss: float | None
    accuracy: float | None


def run_trial(
    submission: Submission,
    track: Track,
    digits: int,
    seed: int,
    device: torch.device,
    report: Callable[[Progress], None],
    fresh_seed: int | None = None,
) -> Record:
    """Trains and scores one submission once.

    Args:
        fresh_seed: of the suite `fresh`; drawn now unless an old trial is to be reproduced.

    Raises:
        SubmissionError: the submission broke its contract.
    """
    start = time.perf_counter()
    fresh_seed = secrets.randbelow(2**53) if fresh_seed is None else fresh_seed
    settings = submission.training(track.training)
    dropout = submission.manifest.hyperparameters.dropout
    dropout = track.model.dropout if dropout is None else dropout
    max_digits = track.max_digits(digits)
    _reset_peak_memory(device)

    report(Progress("encode", 0, settings.num_steps, 0.0, None, None))
    problems = suites(track, digits, fresh_seed)
    sets = {"train": training_problems(track, digits), **problems, **validation_problems(track, digits)}
    audit_rng = np.random.default_rng(secrets.randbits(63))
    probes = probes_of(problems, audit_rng)
    encoded = encoding.encode(
        submission,
        sets,
        max_digits=max_digits,
        shuffle_seed=secrets.randbits(63),
        prompt_probes=[*probes.prompts, *probes.texts()],
        answer_probes=probes.numbers,
    )
    probe_ids = dict(zip([*probes.prompts, *probes.texts()], encoded.prompt_probes.rows(), strict=True))
    findings = check_siblings(submission, encoded.vocabulary, max_digits, probes, probe_ids, audit_rng)
    data = {name: Batches.of(sequences, device) for name, sequences in encoded.sets.items()}
    pad_id, eos_id = encoded.vocabulary.pad_id, encoded.vocabulary.eos_id
    positions = export_positions_for(submission, track, data, max_digits=max_digits, seed=seed, device=device)
    model = FrozenModel(track.model, encoded.vocabulary.vocab_size, derived_seed(seed, "weights")).to(device)
    encode_s = time.perf_counter() - start

    trainer = Trainer(model, positions, data["train"], settings, dropout=dropout, pad_id=pad_id, seed=seed)
    beyond = {name: data[f"validation/{name}"] for name in _strata(data, "validation")}
    curve_data = data["test"].rows(0, track.evaluation.curve)
    curve, best = _train(trainer, curve_data, beyond, track, pad_id, eos_id, report)
    train_s = time.perf_counter() - start - encode_s

    report(Progress("score", settings.num_steps, settings.num_steps, 0.0, None, curve[-1].accuracy))
    drift = trainer.drift()
    answers = {name: _generate(model, positions, data[name], pad_id, eos_id) for name in problems}
    if best is not None:
        trainer.load(best.weights)
        for length in _strata(problems, "lengths"):
            answers[f"best/{length}"] = _generate(model, positions, data[f"lengths/{length}"], pad_id, eos_id)
    generated = [*answers.values(), encoded.answer_probes]
    *texts, decoys = encoding.decode(submission, generated, max_digits=max_digits, shuffle_seed=secrets.randbits(63))
    scored = {
        name: _score(problems[name.replace("best/", "lengths/")], got) for name, got in zip(answers, texts, strict=True)
    }
    curve_answers = problems["test"].answers()[: track.evaluation.curve]
    findings += check_untrained(submission.name, round(curve[0].accuracy * len(curve_answers)), curve_answers)
    findings += check_decoys(submission.name, probes.numbers, decoys)
    findings += check_published(submission.name, scored["test"], scored["fresh"])
    decode_s = time.perf_counter() - start - encode_s - train_s

    report(Progress("measure", settings.num_steps, settings.num_steps, 0.0, None, curve[-1].accuracy))
    rates = throughput.measure(trainer, data["test"], track, digits)
    return Record(
        **identity(submission, track, digits, seed, device_name=device_name(device), isolation=isolation()),
        status="ok",
        fresh_seed=fresh_seed,
        parameters=Parameters(
            model=sum(parameter.numel() for parameter in model.parameters()),
            positions=sum(parameter.numel() for parameter in positions.parameters()),
        ),
        suites=_suites(scored),
        best=best and _checkpoint(best, scored),
        drift=drift and Drift(**drift._asdict()),
        digit_accuracy=curve[-1].digit_accuracy,
        curve=curve,
        examples_to_90=next((point.examples for point in curve if point.accuracy >= NINETY_PERCENT), None),
        mistakes=_mistakes(problems["fresh"], texts[0]),
        audits=[_audit(finding) for finding in findings],
        throughput=rates,
        seconds=Seconds(encode=encode_s, train=train_s, decode=decode_s, total=time.perf_counter() - start),
        peak_memory_bytes=_peak_memory_bytes(device),
    ).sealed()


def export_positions_for(
    submission: Submission, track: Track, data: dict[str, Batches], *, max_digits: int, seed: int, device: torch.device
) -> Positions:
    """The positional embedding, for the training batch and for the evaluation batch of every width."""
    lengths = {name: batches.layout.shape[1] for name, batches in data.items()}
    programs = [Program(True, track.training.batch_size, lengths["train"])]
    programs += [Program(False, decoding.EVALUATION_BATCH, length) for length in sorted(set(lengths.values()))]
    shape = shape_of(track.model, max_digits=max_digits, max_length=max(lengths.values()))
    with Host(submission, "positions", max_digits=max_digits) as host:
        return receive_positions(
            host, submission.name, shape, programs, seed=derived_seed(seed, "positions"), device=device
        )


def device_name(device: torch.device) -> str:
    """`CPU: …`, or what the driver calls the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


class _Best(NamedTuple):
    """The weights that did best beyond the trained lengths."""

    step: int
    accuracy: float
    weights: Tensor


def _train(
    trainer: Trainer,
    curve_data: Batches,
    beyond: dict[str, Batches],
    track: Track,
    pad_id: int,
    eos_id: int,
    report: Callable[[Progress], None],
) -> tuple[list[CurvePoint], _Best | None]:
    """Trains to the end; the learning curve, and the best weights on `beyond` (by length) unless it is empty."""
    curve: list[CurvePoint] = []
    best: _Best | None = None
    num_steps, batch_size = trainer.settings.num_steps, trainer.settings.batch_size
    every = max(1, num_steps // track.evaluation.curve_points)
    start = time.perf_counter()

    def forced_on(batches: Batches) -> decoding.Forced:
        return decoding.teacher_forced(trainer.model, trainer.positions, batches, pad_id=pad_id, eos_id=eos_id)

    def note(step: int, loss: float | None) -> None:
        nonlocal best
        forced = forced_on(curve_data)
        lengths = {length: float(forced_on(batches).is_right.mean()) for length, batches in beyond.items()}
        if lengths:
            mean = sum(lengths.values()) / len(lengths)
            best = _Best(step, mean, trainer.weights()) if best is None or mean >= best.accuracy else best
        loss = loss if loss is not None and math.isfinite(loss) else None
        accuracy = float(forced.is_right.mean())
        curve.append(
            CurvePoint(
                step=step,
                examples=step * batch_size,
                loss=loss,
                accuracy=accuracy,
                digit_accuracy=forced.digit_accuracy,
                lengths=lengths,
            )
        )
        rate = step * batch_size / (time.perf_counter() - start)
        report(Progress("train", step, num_steps, rate, loss, accuracy))

    trainer.run(every, note)
    return curve, best


def _generate(model: FrozenModel, positions: Positions, data: Batches, pad_id: int, eos_id: int) -> Ragged:
    """The model's greedy answers. Where the teacher-forced argmax is right all along they are the right ids; only the
    others have to be decoded token by token."""
    forced = decoding.teacher_forced(model, positions, data, pad_id=pad_id, eos_id=eos_id)
    targets = data.token_ids[:, data.prompt_length :].cpu().numpy().astype(np.int32)
    lengths = (targets == eos_id).argmax(axis=1).astype(np.int32)
    answers = Ragged.from_flat(targets[np.arange(targets.shape[1]) < lengths[:, None]], lengths)
    wrong = np.flatnonzero(~forced.is_right)
    if len(wrong) == 0:
        return answers
    rows = torch.from_numpy(wrong).to(data.token_ids.device)
    decoded = decoding.greedy(
        model, positions, Batches(data.token_ids[rows], data.layout[rows], data.prompt_length), eos_id=eos_id
    )
    together = Ragged.concatenate([answers, decoded])
    source = np.arange(len(answers))
    source[wrong] = len(answers) + np.arange(len(wrong))
    return together.take(source)


def _score(problems: Problems, texts: list[str]) -> Score:
    answers = problems.answers()
    return Score(correct=sum(map(str.__eq__, texts, answers)), total=len(answers))


def _suites(scored: dict[str, Score]) -> Suites:
    """Scores by suite; `carry/2` and `lengths/12` go below their heading."""
    nested = {
        suite: {stratum: scored[f"{suite}/{stratum}"] for stratum in _strata(scored, suite)}
        for suite in ("carry", "lengths")
    }
    return Suites(fresh=scored["fresh"], test=scored["test"], edge=scored["edge"], **nested)


def _checkpoint(best: _Best, scored: dict[str, Score]) -> Checkpoint:
    lengths = {length: scored[f"best/{length}"] for length in _strata(scored, "best")}
    return Checkpoint(step=best.step, validation_accuracy=best.accuracy, lengths=lengths)


def _strata(sets: Mapping[str, object], suite: str) -> list[str]:
    """What stands behind the `/` in the names of that suite's sets."""
    return [name.partition("/")[2] for name in sets if name.startswith(f"{suite}/")]


def _mistakes(problems: Problems, texts: list[str]) -> list[Mistake]:
    rows = zip(problems.prompts(), problems.answers(), texts, strict=True)
    wrong = [Mistake(prompt=prompt, answer=answer, got=got[:64]) for prompt, answer, got in rows if got != answer]
    return wrong[:MAX_MISTAKES]


def _audit(finding: Finding) -> Audit:
    """What was seen may hold text that a submission decoded: one printable line of it is kept."""
    return Audit(rule=finding.rule, level=finding.level, seen=visible(finding.message)[:1000])


def _reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        with contextlib.suppress(OSError):  # a container may forbid it; the peak is then that of the worker so far
            Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_bytes(device: torch.device) -> int:
    """Of the GPU's memory, or of this process since `_reset_peak_memory` (elsewhere than on Linux, since it began)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
