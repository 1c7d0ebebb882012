"""Tokenises the problems of a trial: prompts in one host, answers in another, so that neither sees both."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from harness.errors import SubmissionError
from harness.host.client import Host, Vocabulary
from harness.ragged import Ragged
from harness.sequences import Sequences, assemble
from harness.submissions import Submission
from harness.task import Problems

LONGER = ("lengths/", "validation/", "fresh_lengths/")
"""How the names of sets begin that may hold longer operands than the trained ones."""
PROBES = "probes"
"""The name of the set that holds an audit's texts."""
TEXTS_PER_ROUND = 2048
"""Texts that are sent, and timed, together."""
CHARACTERS = {character: index for index, character in enumerate("0123456789+=")}
"""The reference for speed: a character tokenizer in this process, without a host."""


class Round(NamedTuple):
    """Seconds per text: the submission's, with the pipe to its host and the checks of its ids, and the reference's."""

    own: float
    reference: float


class Speed(NamedTuple):
    """The speed of encoding; an example is a prompt and an answer."""

    examples_per_second: float
    ratio: float
    """Relative to the reference, which encodes the same texts, alternating with the host."""

    @classmethod
    def of(cls, prompts: Sequence[Round], answers: Sequence[Round]) -> "Speed":
        """From the median over each host's rounds; the first is a warm-up, left out if there are others."""
        hosts = [rounds[1:] or rounds for rounds in (prompts, answers)]
        own = sum(median(each.own for each in rounds) for rounds in hosts)
        reference = sum(median(each.reference for each in rounds) for rounds in hosts)
        return cls(1 / own, reference / own)


@dataclass(frozen=True, slots=True)
class Encoded:
    vocabulary: Vocabulary
    sets: dict[str, Sequences]
    prompts: dict[str, Ragged]
    """Ids of the prompts of every set; those of an audit are under `PROBES`."""
    answers: dict[str, Ragged]
    """The same of the answers."""
    speed: Speed


def encode(
    submission: Submission,
    sets: Mapping[str, Problems],
    *,
    max_digits: int,
    shuffle_seed: int,
    prompt_probes: Sequence[str] = (),
    answer_probes: Sequence[str] = (),
) -> Encoded:
    """Tokenises every set of problems.

    Prompts are padded to the longest outside `LONGER`, so that a position means the same in training and in test. A
    longer prompt is padded only to the longest prompt of its set whose operands have the same lengths: padding all to
    one width would test a model on more PADs than it was trained with, and with none the width would tell digits.

    Args:
        sets: problems by name.
        max_digits: what the tokenizer is built with, as the contract says.
        shuffle_seed: seeds the order in which texts are sent, so that it does not tell a host which are trained on.
        prompt_probes: an audit's prompts, sent shuffled among those of `sets`; their ids are returned separately.
        answer_probes: an audit's numbers, sent among the answers in the same way.

    Raises:
        SubmissionError: the tokenizer broke its contract.
    """
    prompts = {name: problems.prompts() for name, problems in sets.items()}
    answers = {name: problems.answers() for name, problems in sets.items()}
    rng = np.random.default_rng(shuffle_seed)
    # One after the other: hosts that never run at the same time cannot talk to each other.
    with Host(submission, "prompts", max_digits=max_digits) as host:
        vocabulary = host.describe()
        prompt_ids, prompt_rounds = _encode_unique(host, {**prompts, PROBES: list(prompt_probes)}, vocabulary, rng)
    with Host(submission, "answers", max_digits=max_digits) as host:
        if host.describe() != vocabulary:
            message = "two processes describe two vocabularies; make vocab_size, pad_id, eos_id and decode constant"
            raise SubmissionError(submission.name, "T20", message)
        answer_ids, answer_rounds = _encode_unique(host, {**answers, PROBES: list(answer_probes)}, vocabulary, rng)
    trained = max(_longest(prompt_ids[name]) for name in sets if not name.startswith(LONGER))
    answer_lengths = _answer_lengths({name: answer_ids[name] for name in sets})
    sequences = {
        name: assemble(
            prompt_ids[name],
            answer_ids[name],
            vocabulary,
            widths=problems.largest_alike(prompt_ids[name].lengths, least=trained),
            answer_length=answer_lengths[name],
        )
        for name, problems in sets.items()
    }
    return Encoded(vocabulary, sequences, prompt_ids, answer_ids, Speed.of(prompt_rounds, answer_rounds))


def _answer_lengths(answers: Mapping[str, Ragged]) -> dict[str, int]:
    """For every set the columns of an answer, EOS included: as trained, or, where that is not enough, as the longest.

    What follows an answer changes nothing in a causal model, and the fewer shapes there are, the fewer batches.
    """
    needed = {name: _longest(ids) + 1 for name, ids in answers.items()}
    trained = max(length for name, length in needed.items() if not name.startswith(LONGER))
    return {name: trained if length <= trained else max(needed.values()) for name, length in needed.items()}


def decode(
    submission: Submission, generated: Sequence[Ragged], *, max_digits: int, shuffle_seed: int
) -> list[list[str]]:
    """Texts of generated ids, in the order given; the host sees each distinct answer once, shuffled."""
    together = Ragged.concatenate(generated)
    unique, inverse = np.unique(together.token_ids, axis=0, return_inverse=True)
    order = np.random.default_rng(shuffle_seed).permutation(len(unique))
    lengths = (unique >= 0).sum(axis=1).astype(np.int32)
    with Host(submission, "decode", max_digits=max_digits) as host:
        shuffled = host.decode(Ragged(unique, lengths).take(order))
    texts = np.empty(len(unique), dtype=object)
    texts[order] = shuffled
    decoded = texts[inverse.reshape(-1)].tolist()
    ends = np.cumsum([len(part) for part in generated])
    return [decoded[end - len(part) : end] for end, part in zip(ends, generated, strict=True)]


def _encode_unique(
    host: Host, texts: Mapping[str, list[str]], vocabulary: Vocabulary, rng: np.random.Generator
) -> tuple[dict[str, Ragged], list[Round]]:
    """Sends each distinct text once, in random order, and gives every set the rows of its texts."""
    unique, inverse = np.unique(
        np.concatenate([np.array(part, dtype=str) for part in texts.values()]), return_inverse=True
    )
    order = rng.permutation(len(unique))
    rows = np.empty(len(unique), np.int64)
    rows[order] = np.arange(len(unique))
    encoded, rounds = _encode_clocked(host, unique[order].tolist(), vocabulary)
    ends = np.cumsum([len(part) for part in texts.values()])
    by_set = {
        name: encoded.take(rows[inverse[end - len(part) : end]])
        for end, (name, part) in zip(ends, texts.items(), strict=True)
    }
    return by_set, rounds


def _encode_clocked(host: Host, texts: Sequence[str], vocabulary: Vocabulary) -> tuple[Ragged, list[Round]]:
    """Encodes and times texts that the host sees for the first time: it could remember one that came again."""
    parts: list[Ragged] = []
    rounds: list[Round] = []
    for start in range(0, len(texts), TEXTS_PER_ROUND):
        part = texts[start : start + TEXTS_PER_ROUND]
        moments = [time.perf_counter()]
        parts.append(host.encode(part, vocabulary))
        moments.append(time.perf_counter())
        Ragged.of([[CHARACTERS[character] for character in text] for text in part])
        moments.append(time.perf_counter())
        rounds.append(Round(*(np.diff(moments) / len(part)).tolist()))
    return Ragged.concatenate(parts), rounds


def _longest(rows: Ragged) -> int:
    return int(rows.lengths.max())
