"""Texts travel through hosts of their own, in an order that tells nothing, and come back as sequences of one width."""

from pathlib import Path
from typing import Any

import pytest
from bad_folders import make_submission

from harness import encoding
from harness.encoding import encode
from harness.errors import SubmissionError
from harness.host.client import Host
from harness.task import Problems, Split, UniformDigits, draw


class Noting(Host):
    """A host that notes what it is sent."""

    sent: list[list[str]]

    def encode(self, texts: Any, *arguments: Any) -> Any:
        Noting.sent.append(list(texts))
        return super().encode(texts, *arguments)


def problems(digits: int, split: Split = Split.TRAIN, count: int = 40) -> Problems:
    return draw(UniformDigits(digits), split, count=count, track_seed=1, seed=1)


def test_a_host_sees_each_text_once_and_not_which_of_them_are_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "Host", Noting)
    submission = make_submission(tmp_path)
    sets = {"train": problems(2), "test": problems(2, Split.TEST)}
    orders: list[list[str]] = []
    for shuffle_seed in (1, 2):
        Noting.sent = []
        encode(submission, sets, max_digits=2, shuffle_seed=shuffle_seed)
        prompts, answers = Noting.sent
        assert sorted(prompts) == sorted({*sets["train"].prompts(), *sets["test"].prompts()})
        assert sorted(answers) == sorted({*sets["train"].answers(), *sets["test"].answers()})
        orders.append(prompts)
    assert sorted(orders[0]) == sorted(orders[1])
    trained = set(sets["train"].prompts())
    for order in orders:
        # Of the half sent first, as many are trained on as of the other, give or take three standard deviations of 2.3.
        first = order[: len(order) // 2]
        assert abs(sum(text in trained for text in first) - len(trained) * len(first) / len(order)) < 7
        assert order != sorted(order)
    assert orders[0] != orders[1]


def test_longer_problems_of_validation_do_not_widen_what_is_trained(tmp_path: Path) -> None:
    submission = make_submission(tmp_path)
    alone = encode(submission, {"train": problems(2)}, max_digits=5, shuffle_seed=0)
    beside = {"train": problems(2), "validation/5": problems(5), "lengths/5": problems(5)}
    together = encode(submission, beside, max_digits=5, shuffle_seed=0)
    assert together.sets["train"].layout.tolist() == alone.sets["train"].layout.tolist()
    assert together.sets["validation/5"].length > together.sets["train"].length


def test_hosts_that_describe_two_vocabularies_are_found(tmp_path: Path) -> None:
    """Process ids of two hosts are less than a hundred apart."""
    varying = make_submission(tmp_path, top="import os\n", init="self.vocab_size = 14 + os.getpid() % 1000")
    with pytest.raises(SubmissionError, match="T20: two processes describe two vocabularies; make vocab_size"):
        encode(varying, {"train": problems(2)}, max_digits=2, shuffle_seed=0)
