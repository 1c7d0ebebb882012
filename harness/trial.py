"""Trials from start to end: encode, export, train, score, decode, measure, record.

The seeds of one submission at one number of digits run side by side, in one training; on a CPU one at a time.
"""

import contextlib
import gc
import math
import resource
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness import encoding, throughput
from harness.audits.findings import Finding
from harness.audits.live import check_decoys, check_published, check_siblings, check_untrained, probes_of
from harness.decoding import EVALUATION_BATCH, Decoder
from harness.documents import visible
from harness.errors import SubmissionError
from harness.host.client import Host
from harness.host.sandbox import isolation
from harness.model import FrozenModel, shape_of
from harness.positions import Positions, Program, receive_positions
from harness.processor import give_back_memory, products
from harness.provenance import cpu_name, identity
from harness.randomness import derived_seed
from harness.records import Audit, Checkpoint, CurvePoint, Drift, Mistake, Parameters, Record, Score, Seconds, Suites
from harness.submissions import Submission
from harness.task import Problems, fixed_suites, fresh_problems, training_problems, validation_problems
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


def run_stack(
    submission: Submission,
    track: Track,
    digits: int,
    seeds: Sequence[int],
    device: torch.device,
    report: Callable[[Progress], None],
    fresh_seeds: Sequence[int] | None = None,
) -> list[Record]:
    """Trains and scores one submission at one number of digits: a trial for every seed, all of them side by side.

    Args:
        fresh_seeds: of each trial's suite `fresh`; drawn now unless old trials are to be reproduced.

    Raises:
        SubmissionError: the submission broke its contract.
    """
    start = time.perf_counter()
    fresh_seeds = [secrets.randbelow(2**53) for _ in seeds] if fresh_seeds is None else fresh_seeds
    settings, dropout = submission.training(track.training), submission.dropout(track.model)
    max_digits = track.max_digits(digits)
    _reset_peak_memory(device)

    report(Progress("encode", 0, settings.num_steps, 0.0, None, None))
    fresh = [fresh_problems(track, digits, own) for own in fresh_seeds]
    fixed = fixed_suites(track, digits)
    scored_sets = {**fixed, **{f"fresh/{index}": own for index, own in enumerate(fresh)}}
    sets = {"train": training_problems(track, digits), **scored_sets, **validation_problems(track, digits)}
    audit_rng = np.random.default_rng(secrets.randbits(63))
    probes = probes_of(scored_sets, audit_rng)
    encoded = encoding.encode(
        submission,
        sets,
        max_digits=max_digits,
        shuffle_seed=secrets.randbits(63),
        prompt_probes=[*probes.prompts, *probes.texts()],
        answer_probes=probes.numbers,
    )
    probe_ids = dict(zip([*probes.prompts, *probes.texts()], encoded.prompt_probes.rows(), strict=True))
    shared_findings = check_siblings(submission, encoded.vocabulary, max_digits, probes, probe_ids, audit_rng)
    data = {name: Batches.of([own], device) for name, own in encoded.sets.items() if not name.startswith("fresh/")}
    data["fresh"] = Batches.of([encoded.sets[f"fresh/{index}"] for index in range(len(seeds))], device)
    pad_id, eos_id = encoded.vocabulary.pad_id, encoded.vocabulary.eos_id
    positions = export_positions_for(submission, track, data, max_digits=max_digits, seeds=seeds, device=device)
    weight_seeds = [derived_seed(seed, "weights") for seed in seeds]
    model = FrozenModel(track.model, encoded.vocabulary.vocab_size, weight_seeds).to(device)
    encode_s = time.perf_counter() - start

    trainer = Trainer(model, positions, data["train"], settings, dropout=dropout, pad_id=pad_id, seeds=seeds)
    decoder = Decoder(model, positions, pad_id=pad_id, eos_id=eos_id)
    beyond = {name: data[f"validation/{name}"] for name in _strata(data, "validation")}
    curves, best = _train(trainer, decoder, data["test"].rows(0, track.evaluation.curve), beyond, track, report)
    train_s = time.perf_counter() - start - encode_s

    report(Progress("score", settings.num_steps, settings.num_steps, 0.0, None, None))
    drifts = trainer.drift()
    answers = {name: decoder.answers(data[name]) for name in ("fresh", *fixed)}
    if best is not None:
        trainer.load(best.weights)
        answers |= {f"best/{name}": decoder.answers(data[f"lengths/{name}"]) for name in _strata(fixed, "lengths")}
    generated = [own for by_seed in answers.values() for own in by_seed]
    *texts, decoys = encoding.decode(
        submission, [*generated, encoded.answer_probes], max_digits=max_digits, shuffle_seed=secrets.randbits(63)
    )
    shared_findings += check_decoys(submission.name, probes.numbers, decoys)
    decode_s = time.perf_counter() - start - encode_s - train_s

    report(Progress("measure", settings.num_steps, settings.num_steps, 0.0, None, None))
    alone = trainer
    if len(seeds) > 1:  # speed is that of one training, however many ran side by side
        model_of_one = FrozenModel(track.model, encoded.vocabulary.vocab_size, weight_seeds[:1]).to(device)
        alone = Trainer(
            model_of_one, positions[:1], data["train"], settings, dropout=dropout, pad_id=pad_id, seeds=seeds[:1]
        )
    rates = throughput.measure(alone, data["test"], track, digits)
    total_s, peak_memory_bytes = time.perf_counter() - start, _peak_memory_bytes(device)

    machine = {"device_name": device_name(device), "products": products(device), "isolation": isolation()}
    records: list[Record] = []
    for index, (seed, fresh_seed) in enumerate(zip(seeds, fresh_seeds, strict=True)):
        problems = {"fresh": fresh[index], **fixed}
        own_texts = dict(zip(answers, texts[index :: len(seeds)], strict=True))
        scored = {name: _score(problems[name.replace("best/", "lengths/")], got) for name, got in own_texts.items()}
        curve, drift = curves[index], drifts[index]
        curve_answers = fixed["test"].answers()[: track.evaluation.curve]
        findings = [
            *shared_findings,
            *check_untrained(submission.name, round(curve[0].accuracy * len(curve_answers)), curve_answers),
            *check_published(submission.name, scored["test"], scored["fresh"]),
        ]
        record = Record(
            **identity(submission, track, digits, seed, **machine),
            status="ok",
            fresh_seed=fresh_seed,
            parameters=Parameters(
                model=sum(parameter.numel() for parameter in model.parameters()) // len(seeds),
                positions=sum(parameter.numel() for parameter in positions[index].parameters()),
            ),
            suites=_suites(scored),
            best=best and _checkpoint(best, index, scored),
            drift=drift and Drift(**drift._asdict()),
            digit_accuracy=curve[-1].digit_accuracy,
            curve=curve,
            examples_to_90=next((point.examples for point in curve if point.accuracy >= NINETY_PERCENT), None),
            mistakes=_mistakes(fresh[index], own_texts["fresh"]),
            audits=[_audit(finding) for finding in findings],
            throughput=rates,
            seconds=Seconds(
                encode=encode_s / len(seeds),
                train=train_s / len(seeds),
                decode=decode_s / len(seeds),
                total=total_s / len(seeds),
            ),
            peak_memory_bytes=peak_memory_bytes,
        )
        records.append(record.sealed())
    return records


def export_positions_for(
    submission: Submission,
    track: Track,
    data: dict[str, Batches],
    *,
    max_digits: int,
    seeds: Sequence[int],
    device: torch.device,
) -> list[Positions]:
    """Each seed's positional embedding, for the training batch and for the evaluation batch of every width."""
    lengths = {name: batches.layout.shape[-1] for name, batches in data.items()}
    programs = [Program(True, track.training.batch_size, lengths["train"])]
    programs += [Program(False, EVALUATION_BATCH, length) for length in sorted(set(lengths.values()))]
    shape = shape_of(track.model, max_digits=max_digits, max_length=max(lengths.values()))
    exported: list[Positions] = []
    for seed in seeds:
        own_seed = derived_seed(seed, "positions")
        with Host(submission, "positions", max_digits=max_digits) as host:
            exported.append(receive_positions(host, submission.name, shape, programs, seed=own_seed, device=device))
    if len({own.description() for own in exported}) > 1:
        message = "another seed gives other terms, dropout or parameters; let __init__ draw initial values alone"
        raise SubmissionError(submission.name, "P00", message)
    return exported


def device_name(device: torch.device) -> str:
    """`CPU: …`, or what the driver calls the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


class _Best(NamedTuple):
    """The weights of every seed at the point where it did best beyond the trained lengths."""

    steps: list[int]
    accuracies: list[float]
    weights: Tensor


def _train(
    trainer: Trainer,
    decoder: Decoder,
    curve_data: Batches,
    beyond: dict[str, Batches],
    track: Track,
    report: Callable[[Progress], None],
) -> tuple[list[list[CurvePoint]], _Best | None]:
    """Each seed's learning curve to the end, and its best weights on `beyond` (by length) unless that is empty."""
    num_seeds, num_steps, batch_size = len(trainer.positions), trainer.settings.num_steps, trainer.settings.batch_size
    curves: list[list[CurvePoint]] = [[] for _ in range(num_seeds)]
    best: _Best | None = None
    start = time.perf_counter()

    def note(step: int, losses: list[float] | None) -> None:
        nonlocal best
        forced = decoder.teacher_forced(curve_data)
        accuracies = forced.is_right.mean(axis=1).tolist()
        lengths = {length: decoder.teacher_forced(batches).is_right.mean(axis=1) for length, batches in beyond.items()}
        if lengths:
            best = _better(best, step, np.mean(list(lengths.values()), axis=0).tolist(), trainer)
        for index, curve in enumerate(curves):
            loss = losses[index] if losses is not None and math.isfinite(losses[index]) else None
            point = CurvePoint(
                step=step,
                examples=step * batch_size,
                loss=loss,
                accuracy=accuracies[index],
                digit_accuracy=forced.digit_accuracy[index],
                lengths={length: float(shares[index]) for length, shares in lengths.items()},
            )
            curve.append(point)
        rate = step * batch_size * num_seeds / (time.perf_counter() - start)
        loss = sum(losses) / num_seeds if losses is not None and all(map(math.isfinite, losses)) else None
        report(Progress("train", step, num_steps, rate, loss, sum(accuracies) / num_seeds))

    trainer.run(max(1, num_steps // track.evaluation.curve_points), note)
    return curves, best


def _better(best: _Best | None, step: int, accuracies: list[float], trainer: Trainer) -> _Best:
    """Each seed at the later of two points where it did equally well."""
    if best is None:
        return _Best([step] * len(accuracies), accuracies, trainer.weights())
    is_better = [now >= before for now, before in zip(accuracies, best.accuracies, strict=True)]
    return _Best(
        [step if better else before for better, before in zip(is_better, best.steps, strict=True)],
        [max(pair) for pair in zip(accuracies, best.accuracies, strict=True)],
        trainer.renewed(best.weights, is_better),
    )


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


def _checkpoint(best: _Best, index: int, scored: dict[str, Score]) -> Checkpoint:
    lengths = {length: scored[f"best/{length}"] for length in _strata(scored, "best")}
    return Checkpoint(step=best.steps[index], validation_accuracy=best.accuracies[index], lengths=lengths)


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
    """What the trial before left is given back first, or it would count for this one."""
    gc.collect()
    give_back_memory()
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
