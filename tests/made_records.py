"""Submissions, tracks and records for the tests of the paper side, made with the harness's own models."""

from pathlib import Path

import yaml

from harness.records import (
    Environment,
    Fingerprints,
    Mistake,
    Parameters,
    Record,
    Score,
    Suites,
    Throughput,
    save,
)
from harness.submissions import Submission, read_folder
from harness.track import EvaluationDefinition, Track, TrainingDefinition

HARNESS = "0123456789abcdef"


def make_track(**changes: object) -> Track:
    values: dict[str, object] = {
        "name": "mine",
        "summary": "A track of the tests.",
        "seed": 7,
        "digits": [3, 6],
        "seeds": [0, 1],
        "training": TrainingDefinition(problems=640, epochs=1),
        "evaluation": EvaluationDefinition(fresh=1000, test=1000, carry=100),
    }
    return Track.model_validate(values | changes)


def make_submission(
    root: Path, name: str, *, title: str = "A title", open_division: bool = False, code: str | None = None
) -> Submission:
    folder = root / "submissions" / name
    folder.mkdir(parents=True)
    lines = [f"title: {title!r}", "authors: [Ada]", "summary: One line."]
    if open_division:
        lines.append("hyperparameters: {learning_rate: 0.001}")
    (folder / "submission.yaml").write_text("\n".join(lines) + "\n")
    if code is not None:
        (folder / "submission.py").write_text(code)
    found = read_folder(folder)
    if not isinstance(found, Submission):
        raise found.error
    return found


THROUGHPUT = Throughput(
    encode_examples_per_second=60_000,
    train_examples_per_second=400,
    score_examples_per_second=2000,
    decode_examples_per_second=200,
    encode_ratio=0.25,
    train_ratio=1.25,
    score_ratio=0.75,
    decode_ratio=0.5,
)


def make_record(
    submission: Submission, track: Track, digits: int, seed: int, right: float, **changes: object
) -> Record:
    """An `ok` record with `right` (a share) of every suite right; `changes` replace its keys."""

    def score(total: int) -> Score:
        return Score(correct=round(right * total), total=total)

    sizes = track.evaluation

    values: dict[str, object] = {
        "submission": submission.name,
        "track": track.name,
        "digits": digits,
        "seed": seed,
        "status": "ok",
        "division": submission.division,
        "isolation": "strong",
        "fingerprints": Fingerprints(submission=submission.fingerprint, track=track.fingerprint, harness=HARNESS),
        "fresh_seed": 1000 + seed,
        "environment": Environment(device="Some CPU", torch="2.13.0", python="3.11.2", commit="abc", dirty=False),
        "parameters": Parameters(model=668_942, positions=0),
        "suites": Suites(
            fresh=score(sizes.fresh),
            test=score(sizes.test),
            edge=score((1 + 2 * digits) ** 2),  # pairs of 0, the powers of ten and the numbers of nines
            carry={str(chain): score(sizes.carry) for chain in range(digits + 1 if sizes.carry else 0)},
            lengths={
                str(length): score(100 if length == 1 else sizes.lengths)
                for length in range(1, (track.longest or 0) + 1)
            },
            fresh_lengths={str(length): score(sizes.lengths) for length in track.lengths_beyond(digits)},
        ),
        "seen": 0.125,
        "digit_accuracy": right,
        "examples_to_90": 12_800 if right >= 0.9 else None,
        "mistakes": [Mistake(prompt="57+68=", answer="125", got="115")],
        "throughput": THROUGHPUT,
    }
    return Record.model_validate(values | changes)


def with_lengths(record: Record, lengths: dict[str, Score]) -> Record:
    """The record with other scores by length, the same on published and on fresh problems."""
    assert record.suites is not None
    fresh = {length: score for length, score in lengths.items() if int(length) > record.digits}
    suites = record.suites.model_copy(update={"lengths": lengths, "fresh_lengths": fresh})
    return record.model_copy(update={"suites": suites})


def make_failure(submission: Submission, track: Track, digits: int, seed: int, reason: str) -> Record:
    nothing = {
        "suites": None,
        "seen": None,
        "digit_accuracy": None,
        "examples_to_90": None,
        "mistakes": [],
        "throughput": None,
    }
    return make_record(submission, track, digits, seed, 0, status="failed", reason=reason, **nothing)


def make_trials(submission: Submission, track: Track, right: float, **changes: object) -> list[Record]:
    """Every trial of the track."""
    return [
        make_record(submission, track, digits, seed, right, **changes)
        for digits in track.digits
        for seed in track.seeds
    ]


def save_all(root: Path, records: list[Record], below: str = "") -> None:
    for record in records:
        save(record, root / "results" / below)


def save_track(root: Path, track: Track) -> None:
    """Its definition where `run` keeps that of a track which is not built in."""
    folder = root / "results" / track.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "track.yaml").write_text(yaml.safe_dump(track.model_dump(exclude_none=True)))
