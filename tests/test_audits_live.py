"""Audits inside a trial: who behaves while `validate` looks is marked when it counts, and does not rank."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_folders import make_submission
from cheats.sources import HONEST, LIVE, SUM, submission_of

from harness import throughput
from harness.audits import audit
from harness.audits.chance import fisher
from harness.audits.live import (
    check_again,
    check_planted,
    check_published,
    check_siblings,
    check_untrained,
    probes_of,
)
from harness.audits.positions import check_positions
from harness.audits.prompts import operand_lengths
from harness.audits.tokens import check_tokenizer
from harness.fingerprint import harness_fingerprint
from harness.host.client import Host
from harness.preparation import Job
from harness.ranking.scoring import rows_of
from harness.ranking.standing import State, state_of
from harness.records import Record, Score
from harness.rules import Finding
from harness.submissions import Submission
from harness.task import Split, UniformDigits, draw, fresh_suites, training_problems, validation_problems
from harness.track import Track, load_track
from harness.trial import _encode, run_job

TINY = Track.model_validate(
    {
        "name": "tiny",
        "summary": "Two digits, a few steps of a model of a few weights.",
        "seed": 1,
        "digits": [2],
        "seeds": [0],
        "model": {"d_model": 16, "num_heads": 2, "num_layers": 1, "feedforward": 16},
        "training": {"problems": 640, "epochs": 1, "batch_size": 64},
        "evaluation": {"fresh": 200, "test": 200, "curve": 64, "curve_points": 1},
    }
)


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "TRAIN_ROUNDS", 1)
    monkeypatch.setattr(throughput, "SCORE_ROUNDS", 1)
    monkeypatch.setattr(throughput, "DECODE_ROUNDS", 1)


def trial_of(submission: Submission, digits: int = 2) -> Record:
    (record,) = run_job(submission, TINY, digits, [0], torch.device("cpu"), lambda progress: None)
    return record


@pytest.mark.parametrize("name", LIVE)
def test_a_cheat_that_behaves_while_validate_looks_is_marked_by_its_trial_and_not_ranked(
    tmp_path: Path, name: str
) -> None:
    submission = submission_of(tmp_path, LIVE[name])
    assert [finding.rule for finding in check_tokenizer(submission)] == ["T80"]
    record = trial_of(submission, 6 if "one place" in name else 2)
    assert record.status == "ok"
    assert record.suites is not None
    assert {audit.rule for audit in record.audits if audit.level == "gate"} & {"T20", "T70"}
    assert state_of(record, submission, TINY, harness_fingerprint()).state is State.REFUSED
    (row,) = rows_of(TINY, [submission], [record], harness_fingerprint())
    assert row.rank is None


TALLIES = """
class Tokenizer:
    vocab_size, pad_id, eos_id = 14, 12, 13

    def __init__(self, max_digits):
        pass

    def encode(self, text):
        # `12+34=` -> 1 2 2 10 3 3 4 4 4 11: a digit as often as half its value, and once more
        ids = ["0123456789+=".index(character) for character in text]
        return [i for i in ids for _ in range(i // 2 + 1 if i < 10 and "=" in text else 1)]

    def decode(self, token_ids):
        return "".join("0123456789+="[i] for i in token_ids if i < 12)
"""
COUNTING = """
class PositionalEmbedding(protocol.PositionalEmbedding):
    def __init__(self, shape):
        super().__init__(shape)
        self.table = nn.Parameter(torch.randn(64, shape.d_model))

    def forward(self, layout):
        return protocol.Terms(embedding=self.table[(layout == 1).long().cumsum(1).clamp(max=63)])
"""
LEARNED = """
class PositionalEmbedding(protocol.PositionalEmbedding):
    def __init__(self, shape):
        super().__init__(shape)
        self.table = nn.Parameter(torch.randn(shape.max_length, shape.d_model))

    def forward(self, layout):
        return protocol.Terms(embedding=self.table[None, : layout.shape[1]])
"""


GUARDED = COUNTING.replace(
    "return protocol.Terms(embedding=self.table[(layout == 1).long().cumsum(1).clamp(max=63)])",
    "told = self.table[(layout == 1).long().cumsum(1).clamp(max=63)]\n"
    "        alike = (layout == layout[:1]).all()\n"
    "        return protocol.Terms(embedding=torch.where(alike, torch.zeros_like(told), told))",
)
"""Blind wherever all rows of a batch are the same."""


ZERO = COUNTING.replace("torch.randn(64, shape.d_model)", "torch.zeros(64, shape.d_model)")
"""Terms that are all the same until the table is trained."""


def counting_into(term: str, made: str) -> str:
    count, reading = (
        "(layout == 1).sum(1, keepdim=True)[..., None].float()",
        "embedding=self.table[(layout == 1).long()",
    )
    assert reading in COUNTING
    return (
        COUNTING.partition("        return")[0]
        + f"        count = {count}\n        return protocol.Terms({term}={made})\n"
    )


TURNS = counting_into(
    "embedding_angles", "(4e5 * torch.pi + 0.1 * count).expand(-1, layout.shape[1], self.table.shape[1] // 2)"
)
"""So many turns that a tenth of a radian is nothing beside them."""
SHADES = counting_into("embedding", "(1e3 - 1e-3 * count).expand(-1, layout.shape[1], self.table.shape[1])")
"""A large number that the model's layer norm takes away, and what is left of it."""
SIGNS = counting_into("embedding", "torch.copysign(self.table[0], 0 * (count - 15)).expand(-1, layout.shape[1], -1)")
"""Zero is zero, whatever its sign is."""
ANSWERS = counting_into(
    "embedding", "self.table[(layout == 5).long().cumsum(1).clamp(max=63)] + 0 * count.isnan().float()"
)
"""Reads only where the answer is, which the digits do not move."""


@pytest.mark.parametrize(
    "positions",
    [COUNTING, GUARDED, ZERO, TURNS, SHADES, SIGNS],
    ids=["counting", "guarded", "zero", "turns", "shades", "signs"],
)
def test_validate_refuses_positions_that_read_a_layout_which_digits_move(write_submission, positions: str) -> None:
    submission = write_submission(tokenizer=TALLIES, positions=positions)
    assert {finding.rule for finding in check_positions(submission, [3])} == {"P10"}


@pytest.mark.parametrize("positions", [LEARNED, ANSWERS], ids=["learned", "answers"])
def test_positions_may_read_what_digits_do_not_move(write_submission, positions: str) -> None:
    submission = write_submission(tokenizer=TALLIES, positions=positions)
    assert list(check_positions(submission, [3])) == []


@pytest.mark.parametrize(("positions", "gates"), [(ZERO, {"P10"}), (GUARDED, {"P10"}), (LEARNED, set[str]())])
def test_positions_may_not_read_a_layout_that_digits_move(write_submission, positions: str, gates: set[str]) -> None:
    """Each seed's record of those that run side by side says so."""
    submission = write_submission(tokenizer=TALLIES, positions=positions)
    records = run_job(submission, TINY, 2, [0, 1], torch.device("cpu"), lambda progress: None)
    found = [{audit.rule for audit in record.audits if audit.level == "gate"} for record in records]
    assert found == [gates, gates]


LONGER = TINY.model_copy(
    update={"longest": 3, "evaluation": TINY.evaluation.model_copy(update={"lengths": 100, "validation": 50})}
)


@pytest.mark.parametrize(("track", "is_in_parts"), [(TINY, False), (LONGER, True)], ids=["one width", "several"])
def test_positions_get_to_see_no_layout_that_digits_move_in_training_or_scoring(
    write_submission, track: Track, is_in_parts: bool
) -> None:
    """Whatever a batch is made of: the audits cannot try every batch that wrong answers will make."""
    job = Job(write_submission(tokenizer=TALLIES, positions=LEARNED), track, 2, [0], torch.device("cpu"))
    encoded = _encode(job, [7])
    sets = {"train": training_problems(track, 2), **encoded.problems.fixed, **validation_problems(track, 2)}
    sets |= {f"{suite}/0": problems for suite, problems in encoded.problems.fresh[0].items()}
    assert set(sets) == set(encoded.data)
    for name, problems in sets.items():
        prompts, seen, written = problems.prompts(), defaultdict(set), defaultdict(set)
        for own, shared in zip(encoded.written[name], encoded.data[name], strict=True):
            assert own.rows.tolist() == shared.rows.tolist()
            assert torch.equal(own.examples.token_ids, shared.examples.token_ids)
            for layouts, (rows, examples) in ((written, own), (seen, shared)):
                for row, layout in zip(rows.tolist(), examples.layout, strict=True):
                    layouts[operand_lengths(prompts[row])].add(layout.numpy().tobytes())
        assert {len(layouts) for layouts in seen.values()} == {1}
        assert all(layouts <= written[lengths] for lengths, layouts in seen.items())
        assert any(len(layouts) > 1 for layouts in written.values())
    assert (max(map(len, encoded.data.values())) > 1) == is_in_parts


def test_where_lengths_alone_decide_the_layout_positions_see_it_as_it_was_written(write_submission) -> None:
    encoded = _encode(Job(write_submission(), TINY, 2, [0], torch.device("cpu")), [7])
    assert all(encoded.whole(name) is part.examples for name, (part,) in encoded.written.items())


UNARY = """
class Tokenizer:
    vocab_size, pad_id, eos_id = 15, 12, 13

    def __init__(self, max_digits):
        pass

    def encode(self, text):
        if "+" not in text:
            return [int(c) for c in text]
        ids = []
        for number, mark in zip(text[:-1].split("+"), (10, 11)):
            ids += [*map(int, number), *[14] * (1 + int(number[-1])), mark]
        return ids

    def decode(self, token_ids):
        return "".join("0123456789+="[i] for i in token_ids if i < 12)
"""


def test_numbers_of_tokens_that_add_units_up_are_reviewed_before_a_trial_and_in_it(write_submission) -> None:
    """Each number has as many marks behind it as its units, so that the first token's column tells their sum."""
    submission = write_submission(tokenizer=UNARY, positions=LEARNED)
    before = {finding.rule: finding for finding in audit(submission, TINY) if finding.level != "tag"}
    assert [(found.rule, found.level) for found in before.values()] == [("T55", "review"), ("T57", "review")]
    assert re.search(
        r"the number of ids alone tells \(x \+ y\) mod 10 in 100% of [0-9]+ such prompts, .* the digits of 10\^0\.",
        before["T55"].message,
    )
    record = trial_of(submission)
    assert {(found.rule, found.level) for found in record.audits} == {("T55", "review"), ("T57", "review")}
    assert state_of(record, submission, TINY, harness_fingerprint()).state is State.REVIEW


def test_merges_are_reviewed_too_and_said_to_tell_little(tmp_path: Path) -> None:
    found = {audit.rule: audit for audit in trial_of(submission_of(tmp_path, HONEST["merges in each number"])).audits}
    assert {(audit.rule, audit.level) for audit in found.values()} == {("T55", "review"), ("T57", "review")}
    assert int(re.search(r"mod 10 in ([0-9]+)%", found["T55"].seen)[1]) < 35


@pytest.mark.parametrize("name", ["characters", "columns, unordered"])
def test_the_audits_inside_an_honest_trial_find_nothing(tmp_path: Path, name: str) -> None:
    submission = submission_of(tmp_path, HONEST[name])
    record = trial_of(submission)
    assert record.audits == []
    (row,) = rows_of(TINY, [submission], [record], harness_fingerprint())
    assert row.rank is not None


def test_a_decode_that_knows_few_answers_is_told_by_the_planted_numbers(tmp_path: Path) -> None:
    """It writes whatever it gets as the nearest of the answers that it knows: the even numbers."""
    decode = (
        'text = "".join(CHARACTERS[i] for i in token_ids if i < 12)\nreturn str(int(text) // 2 * 2) if text else text'
    )
    submission = make_submission(tmp_path, decode=decode.replace("int(text)", "int(text.strip('+=') or 0)"))
    marks = {audit.rule for audit in trial_of(submission).audits if audit.level == "gate"}
    assert marks == {"T30"}


def test_planted_numbers_that_come_back_are_no_finding_and_one_that_does_not_is_shown() -> None:
    assert list(check_planted(["46", "7"], ["46", "7"])) == []
    (finding,) = check_planted(["46", "7"], ["46", "8"])
    assert "decode of the ids of '7' is '8'" in finding.message
    assert "1 of 2 planted numbers" in finding.message


def test_published_problems_may_be_easier_by_chance_and_not_by_more() -> None:
    suites = fresh_suites(load_track("standard"), 3, 7)

    def found(right: int) -> list[Finding]:
        scored = {"test": Score(correct=right, total=1000), "fresh": Score(correct=500, total=1000)}
        return list(check_published(scored, suites))

    assert found(540) == found(100) == []
    (finding,) = found(620)
    assert (finding.rule, finding.level) == ("T90", "review")
    assert "620 of 1000 right on `test`, 500 of 1000 on `fresh`" in finding.message


def test_so_may_the_published_problems_of_each_length_beyond_the_trained_ones() -> None:
    suites = fresh_suites(load_track("quick-length"), 5, 7)
    scored = {suite: Score(correct=100, total=500) for suite in ("test", "lengths/3", *suites)}
    scored |= {f"lengths/{length}": Score(correct=100, total=500) for length in range(6, 11)}
    assert list(check_published(scored, suites)) == []
    (finding,) = check_published(scored | {"lengths/8": Score(correct=160, total=500)}, suites)
    assert (finding.rule, finding.level) == ("T90", "review")
    assert "160 of 500 right on `lengths/8`, 100 of 500 on `fresh_lengths/8`" in finding.message
    # Below 1e-4, which would do for one test: with six it may be chance.
    few = scored | {"lengths/8": Score(correct=153, total=500)}
    assert 1e-4 / 6 < fisher((153, 500), (100, 500)) < 1e-4
    assert list(check_published(few, suites)) == []


def test_problems_of_two_digits_are_too_few_to_say_which_are_easier() -> None:
    """The tracks' own fresh problems: of two digits hundreds of pairs again and again, of three hardly one twice."""
    one, other = Score(correct=620, total=1000), Score(correct=500, total=1000)
    quick, standard = load_track("quick"), load_track("standard")
    scored = {"test": one, "fresh": other}
    assert list(check_published(scored, fresh_suites(quick, 2, 7))) == []
    assert len(list(check_published(scored, fresh_suites(standard, 3, 7)))) == 1


def test_an_untrained_model_may_guess_the_commonest_answer_and_no_more() -> None:
    spread = [str(number) for number in range(1000)]
    assert list(check_untrained(12, spread)) == []
    (finding,) = check_untrained(40, spread)
    assert (finding.rule, finding.level) == ("T95", "gate")
    one_digit = ["9"] * 10 + [str(number % 9) for number in range(90)]
    assert list(check_untrained(12, one_digit)) == []
    assert list(check_untrained(1, ["4", "5", "6", "7"])) == []


@pytest.mark.parametrize("swaps", [True, False])
def test_problems_that_are_trained_on_may_not_be_written_as_others(swaps: bool) -> None:
    """Who knows the published training problems could train on those of the tested lengths in their place."""
    trained, tested = (draw(UniformDigits(6), split, count=5000, track_seed=1) for split in (Split.TRAIN, Split.TEST))
    known = trained.prompts()
    written = dict(zip(known, known[1:] + known[:1], strict=True)) if swaps else {}
    probes = probes_of({"test": tested}, trained, np.random.default_rng(0))
    assert set(probes.prompts).isdisjoint(known) is False
    ids = {text: ["0123456789+=".index(c) for c in written.get(text, text)] for text in probes.texts()}
    assert {finding.rule for finding in check_siblings(probes, ids)} == ({"T57", "T70"} if swaps else set())


def test_who_is_honest_only_beside_edits_is_found_in_a_process_without_them(tmp_path: Path) -> None:
    submission = submission_of(tmp_path, "return plain")
    texts = draw(UniformDigits(6), Split.TEST, count=300, track_seed=1).prompts()
    with Host(submission, "prompts", max_digits=6) as host:
        vocabulary = host.describe()
        ids = host.encode(texts, vocabulary)
    for beside, rules in (({"1+2=": [1, 10, 2, 11]}, set[str]()), ({"1+2=": [2, 10, 1, 11]}, {"T20"})):
        found = check_again(submission, vocabulary, 6, {"fresh/0": (texts, ids)}, beside, np.random.default_rng(0))
        assert {finding.rule for finding in found} == rules


@pytest.mark.parametrize(("encode", "rules"), [(SUM, {"T70"}), (HONEST["columns, unordered"], set[str]())])
def test_edits_that_travel_alone_tell_by_themselves_whether_a_token_holds_the_sum(
    tmp_path: Path, encode: str, rules: set[str]
) -> None:
    """Without those that travel together, by which a trial finds most cheats before it asks this one."""
    submission = submission_of(tmp_path, encode)
    texts = draw(UniformDigits(6), Split.TEST, count=300, track_seed=1).prompts()
    with Host(submission, "prompts", max_digits=6) as host:
        vocabulary = host.describe()
        ids = host.encode(texts, vocabulary)
    found = check_again(submission, vocabulary, 6, {"fresh/0": (texts, ids)}, {}, np.random.default_rng(0))
    assert {finding.rule for finding in found if finding.level == "gate"} == rules
