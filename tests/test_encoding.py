"""Texts travel through hosts of their own, in an order that tells nothing, and come back as sequences."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_folders import make_submission

from harness import encoding
from harness.audits.prompts import operand_lengths
from harness.encoding import encode
from harness.errors import SubmissionError
from harness.host.client import Host
from harness.task import LongerOperand, Problems, Split, UniformDigits, draw


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


def test_longer_prompts_are_as_wide_as_their_operands_need_and_never_narrower_than_trained_ones(tmp_path: Path) -> None:
    """In characters; and answers have the room of the longest, wherever that of training is not enough."""
    longer = {f"lengths/{n}": draw(LongerOperand(n), Split.TEST, count=60, track_seed=1) for n in (2, 4, 5)}
    sets = encode(make_submission(tmp_path), {"train": problems(2), **longer}, max_digits=5, shuffle_seed=0).sets
    trained, seen = len("12+34="), set()
    for name, own in longer.items():
        for rows, part in sets[name].by_width():
            assert {max(trained, len(own.prompts()[row])) for row in rows} == {part.prompt_length}
            assert part.answer_length == (4 if name == "lengths/2" else 7)
            seen.add(part.prompt_length)
    assert seen == set(range(trained, len("12345+67890=") + 1))


def test_digits_do_not_move_the_width_of_a_longer_prompt(tmp_path: Path) -> None:
    """A tokenizer that writes a 7 as two tokens: a problem without any is as wide as the others of its lengths."""
    doubling = "return [token_id for c in text for token_id in ['0123456789+='.index(c)] * (1 + (c == '7'))]"
    submission = make_submission(tmp_path, encode=doubling)
    longer = {f"lengths/{n}": draw(LongerOperand(n), Split.TEST, count=200, track_seed=1) for n in (3, 4)}
    sets = encode(submission, {"train": problems(2), **longer}, max_digits=4, shuffle_seed=0).sets
    for name, own in longer.items():
        widths: dict[tuple[int, ...], set[int]] = {}
        needed: dict[tuple[int, ...], set[int]] = {}
        for prompt, width in zip(own.prompts(), sets[name].widths.tolist(), strict=True):
            lengths = operand_lengths(prompt)
            widths.setdefault(lengths, set()).add(width)
            needed.setdefault(lengths, {sets["train"].prompt_length}).add(len(prompt) + prompt.count("7"))
        assert widths == {lengths: {max(own)} for lengths, own in needed.items()}
        assert max(map(len, needed.values())) > 3
    # What else is drawn moves nothing: a published problem is asked in one width, by itself and beside other seeds.
    sevens = np.full((1, 3), 7, np.uint8)
    beside = {**longer, "fresh_lengths/3/0": Problems(sevens, sevens)}
    again = encode(submission, {"train": problems(2), **beside}, max_digits=4, shuffle_seed=0).sets
    assert all(again[name].widths.tolist() == sets[name].widths.tolist() for name in longer)
    assert max(again["fresh_lengths/3/0"].widths) > max(sets["lengths/3"].widths)


def test_hosts_that_describe_two_vocabularies_are_found(tmp_path: Path) -> None:
    """Process ids of two hosts are less than a hundred apart."""
    varying = make_submission(tmp_path, top="import os\n", init="self.vocab_size = 14 + os.getpid() % 1000")
    with pytest.raises(SubmissionError, match="T20: two processes describe two vocabularies; make vocab_size"):
        encode(varying, {"train": problems(2)}, max_digits=2, shuffle_seed=0)
