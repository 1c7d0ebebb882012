"""Which trials go into one job, and what an audit says that its worker did not outlive."""

from pathlib import Path

import pytest
from bad_folders import make_submission

from harness.plan import PlannedTrial
from harness.run import Crashed, audit_all, stacks


@pytest.mark.parametrize(
    ("max_seeds", "expected"),
    [
        (1, ["a 3 [0]", "a 3 [1]", "a 3 [2]", "a 6 [0]", "b 3 [1]", "b 3 [2]"]),
        (2, ["a 3 [0, 1]", "a 3 [2]", "a 6 [0]", "b 3 [1, 2]"]),
        (8, ["a 3 [0, 1, 2]", "a 6 [0]", "b 3 [1, 2]"]),
    ],
)
def test_seeds_of_one_submission_at_one_number_of_digits_go_together(
    max_seeds: int, expected: list[str], tmp_path: Path
) -> None:
    one, other = make_submission(tmp_path, "a"), make_submission(tmp_path, "b")
    due = [(one, 3, 0), (one, 3, 1), (one, 3, 2), (one, 6, 0), (other, 3, 1), (other, 3, 2)]
    trials = [PlannedTrial(submission, digits, seed, "missing") for submission, digits, seed in due]
    found = [
        f"{stack[0].submission.name} {stack[0].digits} {[trial.seed for trial in stack]}"
        for stack in stacks(trials, max_seeds)
    ]
    assert found == expected


def test_a_graph_that_kills_its_worker_by_an_integer_division_breaks_a_rule(tmp_path: Path) -> None:
    smallest = "smallest = (layout.long() * 0 - 2**62) * 2"
    divided = 'torch.div(smallest, layout.long() * 0 - 1, rounding_mode="trunc")'
    forward = f"{smallest}\nreturn Terms(embedding=self.table[None, :length] + {divided}[..., None].float())"
    (verdict,) = audit_all([make_submission(tmp_path, "deadly", forward=forward)], 1)
    assert not isinstance(verdict, Crashed)
    ((rule, level, message),) = verdict[1]
    assert (rule, level) == ("P00", "gate")
    assert "of the smallest integer by -1; divide floats" in message
