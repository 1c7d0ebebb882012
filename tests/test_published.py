"""Positions that know the published problems of a length track by the company that a row keeps are found out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.audits import audit
from harness.encoding import encode
from harness.plan import PlannedTrial
from harness.published import check_published_layouts
from harness.randomness import derived_seed
from harness.run import Finished, run_trials
from harness.submissions import Submission
from harness.task import fixed_suites
from harness.track import Track

TRACK = Track.model_validate(
    {
        "name": "mini_length",
        "summary": "Length generalisation in seconds.",
        "seed": 24,
        "digits": [2],
        "longest": 3,
        "seeds": [0],
        "model": {"d_model": 16, "num_heads": 2, "num_layers": 1, "feedforward": 16},
        "training": {"problems": 64, "epochs": 1},
        "evaluation": {"fresh": 256, "test": 64, "lengths": 256, "validation": 8, "curve": 8, "curve_points": 1},
    }
)
KNOWING = """
class PositionalEmbedding(protocol.PositionalEmbedding):
    def __init__(self, shape):
        super().__init__(shape)
        self.table = nn.Parameter(torch.randn(256, shape.d_model))

    def forward(self, layout):
        key = (layout * torch.arange(layout.numel()).view(layout.shape)).sum()
        told = self.table[: layout.shape[0], None, :].expand(-1, layout.shape[1], -1)
        return protocol.Terms(embedding=torch.where(key == {key}, told, torch.zeros_like(told)))
"""
OWN = """
class PositionalEmbedding(protocol.PositionalEmbedding):
    def __init__(self, shape):
        super().__init__(shape)
        self.table = nn.Parameter(torch.randn(shape.max_length + 1, shape.d_model))

    def forward(self, layout):
        return protocol.Terms(embedding=self.table[(layout != 0).long().cumsum(1)])
"""


LATER = """
class PositionalEmbedding(protocol.PositionalEmbedding):
    def __init__(self, shape):
        super().__init__(shape)
        self.table = nn.Parameter(torch.randn(shape.max_length + 2, shape.d_model))
        self.looks_around = torch.initial_seed() == {seed}

    def forward(self, layout):
        company = (layout != 0).sum() % 2 if self.looks_around else 0
        return protocol.Terms(embedding=self.table[(layout != 0).long().cumsum(1) + company])
"""


def key_of(submission: Submission, suite: str) -> int:
    """What `KNOWING` computes of the batch in which the suite asks `123+45=` and the like; its last row fills it up."""
    problems = fixed_suites(TRACK, 2)
    sequences = encode(submission, problems, max_digits=3, shuffle_seed=0).sets[suite]
    (rows, part) = next((rows, part) for rows, part in sequences.by_width() if part.prompt_length == len("12+345="))
    layout = part.layout[np.minimum(np.arange(256), len(rows) - 1)].astype(np.int64)
    return batch_key(layout)


def batch_key(layout: NDArray[np.int64]) -> int:
    return int((layout * np.arange(layout.size).reshape(layout.shape)).sum())


@pytest.fixture
def knowing(write_submission: Callable[..., Submission]) -> Submission:
    """Each row of a batch of three digits gets a term of its own, by its place."""
    plain = write_submission(positions=OWN, name="plain")
    return write_submission(positions=KNOWING.replace("{key}", str(key_of(plain, "lengths/3"))), name="knowing")


def test_positions_that_tell_the_rows_of_a_published_batch_apart_are_found(knowing: Submission) -> None:
    (finding,) = check_published_layouts(knowing, TRACK, 2, [0])
    assert (finding.rule, finding.level) == ("P40", "gate")
    assert finding.message.startswith("Terms.embedding of a problem changes with the other rows of its batch")


def test_batches_of_published_lengths_alone_are_looked_at_since_the_best_weights_answer_these(
    write_submission: Callable[..., Submission],
) -> None:
    plain = write_submission(positions=OWN, name="plain")
    sets = encode(plain, fixed_suites(TRACK, 2), max_digits=3, shuffle_seed=0).sets
    layouts = np.concatenate([sets["lengths/1"].layout, sets["lengths/2"].layout])[:256].astype(np.int64)
    submission = write_submission(positions=KNOWING.replace("{key}", str(batch_key(layouts))), name="alone")
    (finding,) = check_published_layouts(submission, TRACK, 2, [0])
    assert (finding.rule, finding.level) == ("P40", "gate")


def test_positions_of_a_row_alone_are_no_finding(write_submission: Callable[..., Submission]) -> None:
    assert check_published_layouts(write_submission(positions=OWN), TRACK, 2, [0]) == []


def test_positions_without_a_gradient_at_the_length_of_training_are_found_before_they_train(
    write_submission: Callable[..., Submission],
) -> None:
    """The audits before a trial differentiate at the length of its tests, and a graph may depend on the length."""
    forward = "return protocol.Terms(embedding=self.table[(layout != 0).long().cumsum(1)])"
    assert OWN.count(forward) == 1
    copied = """x = self.table[(layout != 0).long().cumsum(1)]
        if self.training and layout.shape[1] < len(self.table) - 1:
            x = torch.ops.aten.copy(torch.zeros_like(x), x)
        return protocol.Terms(embedding=x)"""
    submission = write_submission(positions=OWN.replace(forward, copied))
    assert not [finding for finding in audit(submission, TRACK) if finding.level == "gate"]
    (finding,) = check_published_layouts(submission, TRACK, 2, [0])
    assert (finding.rule, finding.level) == ("P00", "gate")
    assert "do not assign into a tensor" in finding.message


def test_positions_are_looked_at_with_every_seed_of_a_job(write_submission: Callable[..., Submission]) -> None:
    """They may be built otherwise from another seed, and a job audits those of its first."""
    later = write_submission(positions=LATER.replace("{seed}", str(derived_seed(1, "positions"))))
    assert check_published_layouts(later, TRACK, 2, [0]) == []
    (finding,) = check_published_layouts(later, TRACK, 2, [0, 1])
    assert (finding.rule, finding.level) == ("P40", "gate")


def test_seeds_that_train_side_by_side_are_looked_at_on_every_track(
    write_submission: Callable[..., Submission], tmp_path: Path
) -> None:
    """A trial by itself looks at its own first seed; in a group only this audit looks at the others."""
    sizes = {"fresh": 64, "test": 64, "curve": 8, "curve_points": 1}
    values = TRACK.model_dump(exclude_none=True) | {"longest": None, "seeds": [0, 1], "evaluation": sizes}
    track = Track.model_validate(values)
    seen = LATER.replace("{seed}", str(derived_seed(1, "positions"))).replace(" % 2", "")
    later = write_submission(positions=seen.replace(" + company])", "] + 1e-3 * company)"))
    trials = [PlannedTrial(later, 2, seed, "missing") for seed in track.seeds]
    events = run_trials(trials, track, tmp_path, device="cpu", num_workers=1, max_seeds=2, verdicts={})
    first, second = (event.record for event in events if isinstance(event, Finished))
    gates = [{audit.rule for audit in record.audits if audit.level == "gate"} for record in (first, second)]
    assert gates == [set(), {"P40"}]


def test_a_trial_of_positions_that_know_published_batches_fails_with_the_rule(
    knowing: Submission, tmp_path: Path
) -> None:
    trial = PlannedTrial(knowing, 2, 0, "missing")
    *_, ended = run_trials([trial], TRACK, tmp_path, device="cpu", num_workers=1, max_seeds=1, verdicts={})
    assert isinstance(ended, Finished)
    assert (ended.record.reason or "").startswith("P40: Terms.embedding")
