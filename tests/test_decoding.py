"""Decoding: one forward pass against greedy generation, and the cache against computing everything anew."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_trainings import (
    EOS_ID,
    PAD_ID,
    TINY,
    VOCAB_SIZE,
    additions,
    fixed_positions,
    made_trainer,
    random_pairs,
    random_terms,
)
from torch import Tensor

from harness.decoding import EVALUATION_BATCH, Decoder, Forced, Part, by_shape
from harness.examples import Examples
from harness.model import NO_DROPOUT, FrozenModel
from harness.positions import Positions, Program
from harness.protocol import Terms
from harness.training import Trainer, train

WHOLE = [(a, b) for a in range(10) for b in range(10)]


@pytest.fixture(scope="module")
def half_trained() -> Trainer:
    """Knows some sums of two digits and not others."""
    trainer = made_trainer(additions(random_pairs(640)), steps=60, learning_rate=4e-3)
    train([trainer], 60, lambda *_: None)
    return trainer


def targets_of(data: Examples) -> list[list[int]]:
    return [row[: row.index(EOS_ID)] for row in data.token_ids[:, data.prompt_length :].tolist()]


def decoder_of(trainer: Trainer) -> Decoder:
    return Decoder(trainer.model, trainer.positions, pad_id=PAD_ID, eos_id=EOS_ID)


def generated(trainer: Trainer, data: Examples) -> list[list[int]]:
    return decoder_of(trainer).greedy(data).rows()


def forced_on(trainer: Trainer, data: Examples) -> Forced:
    return decoder_of(trainer).teacher_forced(data)


def test_greedy_decoding_is_right_exactly_where_teacher_forcing_is(half_trained: Trainer) -> None:
    data = additions(WHOLE)
    forced = forced_on(half_trained, data)
    is_right = [got == target for got, target in zip(generated(half_trained, data), targets_of(data), strict=True)]
    assert forced.is_right.tolist() == is_right
    assert 10 < sum(is_right) < 90


def test_digit_accuracy_is_the_share_of_answer_digits_predicted_after_the_right_prefix(half_trained: Trainer) -> None:
    data = additions(WHOLE[:60])
    right = total = 0
    for row in data.token_ids.tolist():
        for position in range(data.prompt_length, row.index(EOS_ID, data.prompt_length)):
            right += (
                next_token(half_trained.model, torch.tensor([row[:position]]), half_trained.positions) == row[position]
            )
            total += 1
    assert forced_on(half_trained, data).digit_accuracy == pytest.approx(right / total)
    assert 0 < right < total


def next_token(model: FrozenModel, prefix: Tensor, positions: Positions) -> int:
    """From the prefix alone, (1, P), with no cache and nothing behind it."""
    program = next(iter(positions._graphs))
    terms = positions.terms(torch.zeros(program[1:]).long(), training=program.training, generator=torch.Generator())
    cut = Terms(embedding=terms.embedding[:, : prefix.shape[1]]) if terms.embedding is not None else Terms()
    logits = model(prefix, cut, first=0, dropout=NO_DROPOUT, embedding_dropout=NO_DROPOUT)
    return int(logits[0, -1].argmax())


def cut_terms(terms: Terms, length: int) -> Terms:
    return Terms(
        embedding=None if terms.embedding is None else terms.embedding[:, :length],
        embedding_angles=None if terms.embedding_angles is None else terms.embedding_angles[:, :length],
        angles=None if terms.angles is None else terms.angles[:, :length],
        bias=None if terms.bias is None else terms.bias[..., :length, :length],
    )


def greedy_without_cache(model: FrozenModel, terms: Terms, prompts: Tensor, answer_length: int) -> list[list[int]]:
    sequences = prompts
    with torch.no_grad():
        for _ in range(answer_length):
            own = cut_terms(terms, sequences.shape[1])
            logits = model(sequences, own, first=0, dropout=NO_DROPOUT, embedding_dropout=NO_DROPOUT)
            sequences = torch.cat((sequences, logits[:, -1:].argmax(-1)), dim=1)
    answers = sequences[:, prompts.shape[1] :].tolist()
    return [row[: row.index(EOS_ID)] if EOS_ID in row else row for row in answers]


@pytest.mark.parametrize("used", [(), ("embedding",), ("embedding_angles",), ("angles",), ("bias",), "all"], ids=str)
@pytest.mark.parametrize("width", [2, 6])
def test_the_cache_changes_nothing(used: tuple[str, ...] | str, width: int) -> None:
    """Layouts of 9 and 21 positions: the longer passes the width to which attention is padded while it decodes."""
    data = additions(random_pairs(EVALUATION_BATCH, width=width), width=width)
    model = talkative_model()
    length = data.layout.shape[-1]
    drawn = random_terms(TINY, length, batch=EVALUATION_BATCH)
    names = Terms.__slots__ if used == "all" else used
    terms = Terms(**{name: getattr(drawn, name) for name in names})
    positions = fixed_positions(terms, [Program(False, EVALUATION_BATCH, length)])
    got = Decoder(model, positions, pad_id=PAD_ID, eos_id=EOS_ID).greedy(data).rows()
    expected = greedy_without_cache(model, terms, data.token_ids[:, : data.prompt_length], data.answer_length)
    assert got == expected
    assert len({tuple(row) for row in got}) > 20


def talkative_model() -> FrozenModel:
    """Far from ties, with answers that differ from prompt to prompt."""
    model = FrozenModel(TINY, VOCAB_SIZE, seed=0)
    with torch.no_grad():
        rng = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=rng)
        model.output_bias[EOS_ID] -= 2
    return model


def select(data: Examples, rows: list[int]) -> Examples:
    return data.take(torch.tensor(rows))


def test_a_row_is_decoded_the_same_alone_in_another_order_and_in_other_company(half_trained: Trainer) -> None:
    data = additions(WHOLE)
    together = generated(half_trained, data)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0)).tolist()
    assert generated(half_trained, select(data, order)) == [together[row] for row in order]
    for row in (0, 37, 99):
        assert generated(half_trained, select(data, [row])) == [together[row]]
    crowd = additions(random_pairs(300, seed=9) + WHOLE)  # more than one batch
    assert generated(half_trained, crowd)[300:] == together


def test_sets_answered_together_are_answered_as_each_alone(half_trained: Trainer) -> None:
    """One of them in two parts, of which one has a shape of its own and the other that of another set."""
    decoder, data = decoder_of(half_trained), additions(WHOLE)
    otherwise = Examples(data.token_ids[:30], data.layout[:30], data.prompt_length - 1)  # from the equals sign on
    odd, even = np.arange(1, 60, 2), np.arange(0, 60, 2)
    sets = {
        "in parts": [Part(odd, otherwise), Part(even, data.rows(70, 100))],
        "whole": [Part(np.arange(40), data.rows(0, 40))],
    }
    assert [[name for name, _ in group] for group in by_shape(sets).values()] == [["in parts"], ["in parts", "whole"]]
    together, shares = decoder.answers_by_set(sets), decoder.accuracies(sets)
    assert list(together) == list(shares) == list(sets)
    for name, parts in sets.items():
        expected, is_right = together[name].rows(), []
        for rows, examples in parts:
            assert [expected[row] for row in rows] == decoder.answers(examples).rows()
            is_right += decoder.teacher_forced(examples).is_right.tolist()
        assert shares[name] == sum(is_right) / len(is_right)
    assert 0.1 < shares["whole"] < 0.9


def test_scores_do_not_depend_on_the_batch_either(half_trained: Trainer) -> None:
    data = additions(WHOLE)
    order = list(range(99, -1, -1))
    forward, backward = (forced_on(half_trained, rows) for rows in (data, select(data, order)))
    assert np.array_equal(forward.is_right, backward.is_right[::-1])
    assert forward.digit_accuracy == backward.digit_accuracy


class Script:
    """Stands for a model: says the next tokens of a script, row by row, and counts what it was asked."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.script = torch.tensor(rows + [[EOS_ID] * len(rows[0])] * (EVALUATION_BATCH - len(rows)))
        self.output_bias = torch.zeros(VOCAB_SIZE)
        self.said = 0

    def prefill(self, token_ids: Tensor, terms: Terms, max_length: int) -> tuple[Tensor, list[object]]:
        return self._say(), []

    def extend(self, token_ids: Tensor, terms: Terms, position: int, cache: list[object]) -> Tensor:
        assert torch.equal(token_ids, self.script[:, self.said - 1])
        return self._say()

    def _say(self) -> Tensor:
        self.said += 1
        return F.one_hot(self.script[:, self.said - 1], VOCAB_SIZE).float()


def decoded(script: list[list[int]]) -> tuple[list[list[int]], int]:
    """What is decoded from the script, and how many tokens were asked for."""
    model = Script(script)
    data = additions(random_pairs(len(script), width=2), width=2)  # room for 3 digits and EOS
    positions = fixed_positions(Terms(), [Program(False, EVALUATION_BATCH, 9)])
    padded = data.take(torch.arange(EVALUATION_BATCH).clamp(max=len(script) - 1))
    decoder = Decoder(model, positions, pad_id=PAD_ID, eos_id=EOS_ID)  # type: ignore[arg-type]
    return decoder.greedy(padded).rows()[: len(script)], model.said


def test_what_follows_eos_is_ignored() -> None:
    assert decoded([[5, EOS_ID, 7, 7], [1, 2, 3, EOS_ID], [EOS_ID, 1, 1, 1]]) == ([[5], [1, 2, 3], []], 4)


def test_decoding_stops_once_every_row_has_said_eos() -> None:
    assert decoded([[5, EOS_ID, 7, 7], [EOS_ID, 2, 3, 4]]) == ([[5], []], 2)


def test_an_answer_without_eos_ends_where_its_room_does() -> None:
    assert decoded([[5, 6, 7, 8], [1, EOS_ID, 2, 2]]) == ([[5, 6, 7, 8], [1]], 4)
