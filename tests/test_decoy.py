"""The decoy task: addition of exchanged digits, as hard for a model and no use to a hidden sum."""

from pathlib import Path

import numpy as np
import pytest
from bad_folders import MANIFEST, make_submission
from cheats.sources import HONEST, submission_of

from harness import decoy
from harness.decoy import check_decoy, decoy_of, judged
from harness.records import Score
from harness.submissions import Submission, read_folder
from harness.task import Digits, Split, UniformDigits, draw
from harness.track import Track

EXCHANGED = str.maketrans("0123456789", "0314256978")


def test_the_decoy_keeps_the_prompts_and_adds_what_they_become_when_the_digits_are_exchanged() -> None:
    problems = draw(UniformDigits(6), Split.TRAIN, count=200, track_seed=1)
    permutation = np.array([int(digit) for digit in "0314256978"], np.uint8)
    made = decoy_of(problems, permutation)
    assert made.prompts() == problems.prompts()
    for prompt, answer in zip(made.prompts(), made.answers(), strict=True):
        a, b = prompt.rstrip("=").translate(EXCHANGED).split("+")
        assert answer == str(int(a) + int(b))


@pytest.mark.parametrize(("addition", "decoyed", "is_found"), [(99, 2, True), (99, 60, False), (40, 1, False)])
def test_only_an_advantage_in_addition_alone_is_found(addition: int, decoyed: int, is_found: bool) -> None:
    scores = [Score(correct=correct, total=100) for correct in (addition, decoyed)]
    findings = judged(*scores)
    assert [(finding.rule, finding.level) for finding in findings] == [("T97", "review")] * is_found


@pytest.mark.parametrize(("own", "trained"), [("{epochs: 4}", 2), ("{epochs: 1}", 1), ("{dropout: 0.1}", 2)])
def test_a_folder_of_more_epochs_than_the_decoys_track_has_is_trained_for_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, trained: int
) -> None:
    asked: list[int] = []

    def score(submission: Submission, track: Track, permutation: Digits) -> Score:
        asked.append(submission.training(track.training).epochs)
        return Score(correct=0, total=1)

    monkeypatch.setattr(decoy, "_score", score)
    submission = make_submission(tmp_path, manifest=f"{MANIFEST}hyperparameters: {own}\n")
    assert check_decoy(submission, np.random.default_rng(0)) == []
    assert asked == [trained, trained]


SMALL = Track.model_validate(
    {
        "name": "small",
        "summary": "Two digits, few problems: enough to copy a hidden sum, too little to learn addition.",
        "seed": 1,
        "digits": [2],
        "seeds": [0],
        "model": {"d_model": 32, "num_heads": 4, "num_layers": 2, "feedforward": 32},
        "training": {"problems": 6400, "epochs": 2, "batch_size": 64, "learning_rate": 3e-3},
        "evaluation": {"fresh": 50, "test": 300, "curve": 50, "curve_points": 1},
    }
)
ABSOLUTE = """
class PositionalEmbedding(protocol.PositionalEmbedding):
    def __init__(self, shape):
        import torch
        super().__init__(shape)
        self.table = torch.nn.Parameter(torch.randn(shape.max_length, shape.d_model))

    def forward(self, layout):
        return protocol.Terms(embedding=self.table[None, : layout.shape[1]])
"""


@pytest.mark.slow
def test_hidden_sums_help_with_addition_and_not_with_the_decoy(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoy, "load_track", lambda name: SMALL)
    sums = "return ([0, 0, 0] + [20 + digit for digit in digits(total)])[-3:] + [11]"
    for name, encode, rules in (("cheat", sums, ["T97"]), ("honest", HONEST["characters"], [])):
        submission = submission_of(tmp_path, encode, name=name)
        file = submission.folder / "submission.py"
        file.write_text(file.read_text() + ABSOLUTE)
        again = read_folder(submission.folder)
        assert isinstance(again, Submission)
        found = check_decoy(again, np.random.default_rng(0))
        assert [finding.rule for finding in found] == rules
