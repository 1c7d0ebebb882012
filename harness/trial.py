"""Trials from start to finish: encode, export, train, score, decode, measure, record.

The seeds of one submission at one number of digits share what they can, the encoded problems above all, and train side
by side; each gives the result that it would give alone.
"""

import math
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness import encoding, throughput
from harness.audits.live import check_again, check_answers_again, check_planted, check_siblings
from harness.audits.positions import check_blind, check_digits
from harness.audits.spelling import check_spelling
from harness.audits.tokens import check_counts
from harness.decoding import Decoder, Part, parts_of
from harness.encoding import PROBES
from harness.examples import Examples
from harness.host.client import Vocabulary
from harness.host.sandbox import isolation
from harness.outcome import Outcome, record_of
from harness.positions import Positions
from harness.preparation import (
    Job,
    ProblemsOfJob,
    draw_problems,
    encode_with_probes,
    export_positions,
    make_trainer,
)
from harness.processor import device_name, peak_memory_bytes, products, reset_peak_memory
from harness.provenance import identity
from harness.ragged import Ragged
from harness.records import CurvePoint, Parameters, Record, Seconds
from harness.rules import Finding
from harness.sequences import share_seen
from harness.submissions import Submission
from harness.task import Problems, strata
from harness.track import Track
from harness.training import Trainer, train


class Progress(NamedTuple):
    """What a person at the terminal sees of a running trial."""

    phase: str
    step: int
    num_steps: int
    examples_per_second: float = 0.0
    loss: float | None = None
    accuracy: float | None = None


Listener = Callable[[Progress], None]


def run_job(
    submission: Submission,
    track: Track,
    digits: int,
    seeds: Sequence[int],
    device: torch.device,
    report: Listener,
    fresh_seeds: Sequence[int] | None = None,
) -> list[Record]:
    """Trains and scores one submission at one number of digits: a trial for every seed, all of them side by side.

    Args:
        fresh_seeds: the seed of each trial's suite `fresh`; drawn here unless old trials are to be reproduced.

    Raises:
        SubmissionError: the submission broke its contract.
    """
    job = Job(submission, track, digits, seeds, device)
    fresh_seeds = [secrets.randbelow(2**53) for _ in seeds] if fresh_seeds is None else fresh_seeds
    num_steps = submission.training(track.training).num_steps
    reset_peak_memory(device)
    moments = [time.perf_counter()]

    report(Progress("encode", 0, num_steps))
    encoded = _encode(job, fresh_seeds)
    positions = export_positions(job, encoded.whole("train"), encoded.asked)
    findings = [*encoded.findings, *_layout_findings(job, encoded, positions)]
    vocabulary, train_data = encoded.vocabulary, encoded.whole("train")
    trainers = [
        make_trainer(job, vocabulary, train_data, own, seed) for own, seed in zip(positions, seeds, strict=True)
    ]
    pad_id, eos_id = vocabulary.pad_id, vocabulary.eos_id
    decoders = [Decoder(own.model, own.positions, pad_id=pad_id, eos_id=eos_id) for own in trainers]
    moments.append(time.perf_counter())

    curves, best = _train(job, encoded, trainers, decoders, report)
    moments.append(time.perf_counter())

    report(Progress("score", num_steps, num_steps))
    drifts = [trainer.drift() for trainer in trainers]
    texts, answer_findings = _answer(job, encoded, trainers, decoders, best)
    findings += answer_findings
    moments.append(time.perf_counter())

    peak = peak_memory_bytes(device)
    report(Progress("measure", num_steps, num_steps))
    # The speed is that of training one seed, however many were trained side by side.
    rates = throughput.measure(trainers[0], encoded.whole("test"), track, digits, encoded.speed)
    moments.append(time.perf_counter())

    seconds = _shared_evenly(moments, len(seeds))
    model_parameters = sum(parameter.numel() for parameter in trainers[0].model.parameters())
    machine = {"device_name": device_name(device), "products": products(device), "isolation": isolation()}
    records: list[Record] = []
    for index, (seed, fresh_seed) in enumerate(zip(seeds, fresh_seeds, strict=True)):
        own_parameters, drift, own_best = positions[index].parameters(), drifts[index], best[index]
        outcome = Outcome(
            problems={**encoded.problems.fresh[index], **encoded.problems.fixed},
            texts=texts[index],
            curve=curves[index],
            curve_problems=track.evaluation.curve,
            best=own_best and (own_best.step, own_best.accuracy),
            drift=drift,
            seen=encoded.seen[index],
            parameters=Parameters(model=model_parameters, positions=sum(each.numel() for each in own_parameters)),
            throughput=rates,
            seconds=seconds,
            peak_memory_bytes=peak,
            findings=findings,
        )
        records.append(record_of(outcome, fresh_seed, identity(submission, track, digits, seed, **machine)))
    return records


class _Encoded(NamedTuple):
    """The problems of all seeds, and what the tokenizer made of them."""

    problems: ProblemsOfJob
    written: dict[str, list[Part]]
    """Every set of `problems`, on the device."""
    data: dict[str, list[Part]]
    """The same as positions get to see it (`_sharing_layouts`)."""
    vocabulary: Vocabulary
    seen: list[float]
    """For each seed, the share of its `fresh` whose ids are those of a trained problem (`records.Record.seen`)."""
    planted: dict[str, list[int]]
    """An audit's numbers and their ids, which are sent to be decoded among the generated ones."""
    speed: encoding.Speed
    findings: list[Finding]

    @property
    def asked(self) -> list[Examples]:
        """What the models are evaluated on, as it was written."""
        return [part.examples for name, parts in self.written.items() if name != "train" for part in parts]

    def whole(self, name: str) -> Examples:
        """A set within the trained lengths, as positions get to see it."""
        (part,) = self.data[name]
        return part.examples


def _encode(job: Job, fresh_seeds: Sequence[int]) -> _Encoded:
    submission, problems, rng = job.submission, draw_problems(job, fresh_seeds), _unpredictable()
    encoded, probes = encode_with_probes(job, problems)
    sets, prompts = problems.sets, encoded.prompts
    probed = dict(zip(probes.texts(), prompts[PROBES].rows(), strict=True))
    findings = check_siblings(probes, probed)
    findings += check_counts([(own, prompts[name]) for name, own in sets.items()])
    texts = {name: (own.prompts(), prompts[name]) for name, own in sets.items()}
    answers = {name: (own.answers(), encoded.answers[name]) for name, own in sets.items()}
    numbers = {PROBES: (probes.numbers, encoded.answers[PROBES])}
    findings += check_spelling(encoded.vocabulary, answers | numbers)
    originals = {prompt: probed[prompt] for prompt in probes.prompts}
    findings += check_again(submission, encoded.vocabulary, job.max_digits, texts, originals, rng)
    findings += check_answers_again(submission, encoded.vocabulary, job.max_digits, answers, rng)
    written = {name: parts_of(own, job.device) for name, own in encoded.sets.items()}
    return _Encoded(
        problems=problems,
        written=written,
        data={name: _sharing_layouts(sets[name], own, rng) for name, own in written.items()},
        vocabulary=encoded.vocabulary,
        seen=[share_seen(encoded.sets[f"fresh/{index}"], encoded.sets["train"]) for index in range(len(fresh_seeds))],
        planted=dict(zip(probes.numbers, encoded.answers[PROBES].rows(), strict=True)),
        speed=encoded.speed,
        findings=findings,
    )


def _unpredictable() -> np.random.Generator:
    """Draws what no submission may foresee."""
    return np.random.default_rng(secrets.randbits(63))


def _sharing_layouts(problems: Problems, parts: Sequence[Part], rng: np.random.Generator) -> list[Part]:
    """Gives all problems with the same pair of operand lengths one layout, drawn among theirs.

    So positions never see what digits move, whatever a batch is made of. Such problems have equal widths, hence are in
    the same part. Where the lengths alone decide the layout, as in most formats, nothing changes.
    """
    sharing: list[Part] = []
    for rows, examples in parts:
        alike = problems.take(rows).alike(rng)
        shared = examples.layout[torch.from_numpy(alike).to(examples.layout.device)]
        is_same = torch.equal(shared, examples.layout)
        sharing.append(Part(rows, examples if is_same else replace(examples, layout=shared)))
    return sharing


def _layout_findings(job: Job, encoded: _Encoded, positions: Sequence[Positions]) -> list[Finding]:
    """Findings about the layouts of `test` and of the first seed's `fresh`, and about those of all that was drawn."""
    rng = _unpredictable()
    fixed, fresh = encoded.problems.fixed, encoded.problems.fresh
    for suite, problems in (("test", fixed["test"]), ("fresh/0", fresh[0]["fresh"])):
        for rows, examples in encoded.written[suite]:
            if found := list(check_blind(positions[0], problems.take(rows).prompts(), examples.layout, rng)):
                return found
    for index, own in enumerate(fresh):
        for suite, problems in own.items():
            for rows, examples in encoded.written[f"{suite}/{index}"]:
                prompts = problems.take(rows).prompts()
                if found := list(check_digits(positions[index], prompts, examples.layout, rng)):
                    return found
    return []


class _Best(NamedTuple):
    """The weights of a seed at the point where it did best beyond the trained lengths, the last if tied."""

    step: int
    accuracy: float
    weights: Tensor


def _train(
    job: Job, encoded: _Encoded, trainers: Sequence[Trainer], decoders: Sequence[Decoder], report: Listener
) -> tuple[list[list[CurvePoint]], list[_Best | None]]:
    """Trains; returns each seed's learning curve, and its best weights beyond the trained lengths, if any."""
    evaluation, settings = job.track.evaluation, trainers[0].settings
    num_steps, batch_size = settings.num_steps, settings.batch_size
    curve_data = encoded.whole("test").rows(0, evaluation.curve)
    beyond = {length: encoded.data[f"validation/{length}"] for length in strata(encoded.data, "validation")}
    curves: list[list[CurvePoint]] = [[] for _ in trainers]
    best: list[_Best | None] = [None for _ in trainers]
    start = time.perf_counter()

    def note(step: int, losses: list[float] | None) -> None:
        for index, (trainer, decoder) in enumerate(zip(trainers, decoders, strict=True)):
            forced = decoder.teacher_forced(curve_data)
            lengths = decoder.accuracies(beyond)
            if lengths:
                best[index] = _better(best[index], step, float(np.mean(list(lengths.values()))), trainer)
            point = CurvePoint(
                step=step,
                examples=step * batch_size,
                loss=losses[index] if losses is not None and math.isfinite(losses[index]) else None,
                accuracy=float(forced.is_right.mean()),
                digit_accuracy=forced.digit_accuracy,
                lengths=lengths,
            )
            curves[index].append(point)
        rate = step * batch_size * len(trainers) / (time.perf_counter() - start)
        loss = sum(losses) / len(losses) if losses is not None and all(map(math.isfinite, losses)) else None
        accuracy = sum(curve[-1].accuracy for curve in curves) / len(curves)
        report(Progress("train", step, num_steps, rate, loss, accuracy))

    train(trainers, max(1, num_steps // evaluation.curve_points), note)
    return curves, best


def _better(best: _Best | None, step: int, accuracy: float, trainer: Trainer) -> _Best:
    if best is not None and accuracy < best.accuracy:
        return best
    return _Best(step, accuracy, trainer.weights())


def _answer(
    job: Job,
    encoded: _Encoded,
    trainers: Sequence[Trainer],
    decoders: Sequence[Decoder],
    best: Sequence[_Best | None],
) -> tuple[list[dict[str, list[str]]], list[Finding]]:
    """Each seed's texts by suite, those of the best weights under `best/`; the trainers then hold the best weights."""
    problems = encoded.problems
    fixed = {suite: encoded.data[suite] for suite in problems.fixed}
    lengths = {f"best/{length}": encoded.data[f"lengths/{length}"] for length in strata(problems.fixed, "lengths")}
    answers: list[dict[str, Ragged]] = []
    for index, (trainer, decoder, own_best) in enumerate(zip(trainers, decoders, best, strict=True)):
        own = decoder.answers_by_set({"fresh": encoded.data[f"fresh/{index}"], **fixed})
        # By themselves, so that the batches of the suites above are the same on every track and in every record.
        longer = {suite: encoded.data[f"{suite}/{index}"] for suite in problems.fresh[index] if suite != "fresh"}
        own |= decoder.answers_by_set(longer)
        if own_best is not None:
            trainer.load(own_best.weights)
            own |= decoder.answers_by_set(lengths)
        answers.append(own)
    *texts, planted = encoding.decode(
        job.submission,
        [*(ids for own in answers for ids in own.values()), Ragged.of(list(encoded.planted.values()))],
        max_digits=job.max_digits,
        shuffle_seed=secrets.randbits(63),
    )
    decoded = iter(texts)
    by_seed = [{suite: next(decoded) for suite in own} for own in answers]
    return by_seed, list(check_planted(list(encoded.planted), planted))


def _shared_evenly(moments: Sequence[float], num_seeds: int) -> Seconds:
    """From the clock at the start and after each phase; the last phase, measuring, counts in the total only."""
    encode, train, decode, _ = (float(span) / num_seeds for span in np.diff(moments))
    return Seconds(encode=encode, train=train, decode=decode, total=(moments[-1] - moments[0]) / num_seeds)
