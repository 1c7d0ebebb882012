"""The outcome of one trial, and its record: answers are compared with sums, suite by suite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.audits.live import check_published, check_untrained
from harness.printable import visible
from harness.records import (
    Audit,
    Checkpoint,
    CurvePoint,
    Drift,
    Mistake,
    Parameters,
    Record,
    Score,
    Seconds,
    Suites,
    Throughput,
)
from harness.rules import Finding
from harness.task import Problems, strata

MAX_MISTAKES = 10
NINETY_PERCENT = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The outcome of one trial: what the model was asked and answered, how it learned, and what that cost."""

    problems: Mapping[str, Problems]
    """By suite: `fresh`, `test`, `edge`, `carry/0` …, `lengths/1` …, `fresh_lengths/11` …"""
    texts: Mapping[str, Sequence[str]]
    """The model's answers to each suite; `best/12` are the answers of the best weights to `lengths/12`."""
    curve: Sequence[CurvePoint]
    curve_problems: int
    """How many problems, the first of `test`, the curve is measured on."""
    best: tuple[int, float] | None
    """Step and accuracy of the weights that did best beyond the trained lengths; None in a track without those."""
    drift: Drift | None
    seen: float
    """Share of `fresh` whose ids are those of a trained problem (see `records.Record.seen`)."""
    parameters: Parameters
    throughput: Throughput
    seconds: Seconds
    peak_memory_bytes: int
    findings: Sequence[Finding]
    """What the audits inside the trial found."""


def record_of(outcome: Outcome, fresh_seed: int, identity: Mapping[str, Any]) -> Record:
    """The sealed record.

    Args:
        fresh_seed: the seed that the problems of `fresh` were drawn from.
        identity: the fields that were known before the trial, from `provenance.identity`.
    """
    scored = {suite: _score(outcome.problems[suite], outcome.texts[suite]) for suite in outcome.problems}
    fresh, curve = outcome.problems["fresh"], list(outcome.curve)
    curve_answers = outcome.problems["test"].answers()[: outcome.curve_problems]
    findings = [
        *outcome.findings,
        *check_untrained(round(curve[0].accuracy * len(curve_answers)), curve_answers),
        *check_published(scored, outcome.problems),
    ]
    record = Record(
        **identity,
        status="ok",
        fresh_seed=fresh_seed,
        parameters=outcome.parameters,
        suites=_suites(scored),
        best=outcome.best and _checkpoint(*outcome.best, outcome),
        drift=outcome.drift,
        seen=outcome.seen,
        digit_accuracy=curve[-1].digit_accuracy,
        curve=curve,
        examples_to_90=next((point.examples for point in curve if point.accuracy >= NINETY_PERCENT), None),
        mistakes=_mistakes(fresh, outcome.texts["fresh"]),
        audits=[audit_of(finding) for finding in findings],
        throughput=outcome.throughput,
        seconds=outcome.seconds,
        peak_memory_bytes=outcome.peak_memory_bytes,
    )
    return record.sealed()


def _score(problems: Problems, texts: Sequence[str]) -> Score:
    answers = problems.answers()
    return Score(correct=sum(map(str.__eq__, texts, answers)), total=len(answers))


def _suites(scored: Mapping[str, Score]) -> Suites:
    """Scores by suite; `carry/2` and `lengths/12`, say, are nested under `carry` and `lengths`."""
    nested = {
        suite: {stratum: scored[f"{suite}/{stratum}"] for stratum in strata(scored, suite)}
        for suite in ("carry", "lengths", "fresh_lengths")
    }
    return Suites(fresh=scored["fresh"], test=scored["test"], edge=scored["edge"], **nested)


def _checkpoint(step: int, accuracy: float, outcome: Outcome) -> Checkpoint:
    lengths = {
        length: _score(outcome.problems[f"lengths/{length}"], outcome.texts[f"best/{length}"])
        for length in strata(outcome.texts, "best")
    }
    return Checkpoint(step=step, validation_accuracy=accuracy, lengths=lengths)


def _mistakes(problems: Problems, texts: Sequence[str]) -> list[Mistake]:
    rows = zip(problems.prompts(), problems.answers(), texts, strict=True)
    wrong = [Mistake(prompt=prompt, answer=answer, got=got[:64]) for prompt, answer, got in rows if got != answer]
    return wrong[:MAX_MISTAKES]


def audit_of(finding: Finding) -> Audit:
    """A finding as records keep it: one printable line, since it may hold text that a submission decoded."""
    return Audit(rule=finding.rule, level=finding.level, seen=visible(finding.message)[:1000])
