"""The task: which problems exist, who trains on them, and what their sums are.

A problem is `a+b=` and its answer the decimal sum: `57+68=` -> `125`. Operands are kept as digits, least significant
first (`57` with 3 columns is 7 5 0), and summed column by column, so that no integer type limits their size.

Problems come from a counter-based generator (SplitMix64; Steele, Lea & Flood 2014, "Fast splittable pseudorandom
number generators", fig. 14): the words of problem `index` are a function of the key and the index alone, so any slice
of a set can be drawn at once, on any machine, without state.

Train, test and fresh are disjoint as unordered pairs, because a keyed hash of {a, b} decides which set a pair belongs
to: eight tenths of all pairs can only be trained on, one tenth only be in `test` (and its carry and length suites),
one tenth only in `fresh`. The `edge` pairs are a fixed list that is in none of the three. The suite `lengths/1` is the
exception: there are only 100 pairs of one digit, so it holds all of them, trained or not.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import TrackError
from harness.track import Track

Digits = NDArray[np.uint8]
Words = NDArray[np.uint64]

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
DIGIT_PAIRS = np.stack(np.divmod(np.arange(100, dtype=np.uint8), np.uint8(10)), axis=1)
WITHOUT_CARRY = DIGIT_PAIRS[DIGIT_PAIRS.sum(axis=1) < 10]
WITH_CARRY = DIGIT_PAIRS[DIGIT_PAIRS.sum(axis=1) >= 10]
MAX_ATTEMPTS = 4096
"""Draws of one problem before its law is declared impossible; normally at least one in a hundred succeeds."""


class Split(Enum):
    """Which set a pair may be in; each value is the set's share of the hash's ten buckets."""

    TRAIN = range(0, 8)
    TEST = range(8, 9)
    FRESH = range(9, 10)


@dataclass(frozen=True, slots=True)
class Problems:
    """Problems in order. `a` and `b`: (N, columns) uint8, digits in 0-9, least significant first, then zeros."""

    a: Digits
    b: Digits

    def __len__(self) -> int:
        return len(self.a)

    def take(self, rows: NDArray[np.int64]) -> "Problems":
        return Problems(self.a[rows], self.b[rows])

    def prompts(self) -> list[str]:
        """`["57+68=", …]`"""
        return [f"{a}+{b}=" for a, b in zip(_texts(self.a), _texts(self.b), strict=True)]

    def answers(self) -> list[str]:
        """`["125", …]`"""
        return _texts(self._sums_and_carries()[0])

    def longest_chains(self) -> NDArray[np.int64]:
        """(N,): the number of columns in the longest chain of one carry, 0 without any carry.

        A column whose digits sum to 10 or more starts a chain, and each next column that sums to 9 extends it:
        `57+68=` -> 1 (the carries of 7+8 and of 5+6 are two chains), `47+53=` -> 2, `999+1=` -> 3.
        """
        column_sums = self.a + self.b
        running = np.zeros(len(self), np.int64)
        longest = np.zeros(len(self), np.int64)
        for column in range(column_sums.shape[1]):
            starts, passes = column_sums[:, column] > 9, column_sums[:, column] == 9
            running = np.where(starts, 1, np.where(passes & (running > 0), running + 1, 0))
            np.maximum(longest, running, out=longest)
        return longest

    def largest_alike(self, values: NDArray[np.integer[Any]], least: int = 0) -> NDArray[np.int64]:
        """(N,): the largest value of all problems with operands of the same lengths, and at least `least`.

        Lengths are as written: those of `57+168=` are 2 and 3.

        Args:
            values: (N,), one for each problem.
        """
        lengths, columns = (_lengths(self.a), _lengths(self.b)), self.a.shape[1]
        largest = np.full((columns + 1, columns + 1), least, np.int64)
        np.maximum.at(largest, lengths, values)
        return largest[lengths]

    def alike(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """(N,): a row for each problem; those whose operands have the same lengths get the same, drawn among theirs."""
        lots = rng.permutation(len(self))
        return np.argsort(lots)[self.largest_alike(lots)]

    def _sums_and_carries(self) -> tuple[Digits, Digits]:
        columns = self.a.shape[1]
        sums = np.zeros((len(self), columns + 1), np.uint8)
        carries = np.zeros((len(self), columns + 1), np.uint8)
        for column in range(columns):
            total = self.a[:, column] + self.b[:, column] + carries[:, column]
            sums[:, column] = total % 10
            carries[:, column + 1] = total // 10
        sums[:, columns] = carries[:, columns]
        return sums, carries


def _lengths(digits: Digits) -> NDArray[np.int64]:
    """(N,): how many digits each number is written with, 1 for a zero."""
    is_written = digits != 0
    is_written[:, 0] = True
    return digits.shape[1] - np.argmax(is_written[:, ::-1], axis=1)


class Law(Protocol):
    """How the operands of a problem are made from random words."""

    @property
    def num_words(self) -> int:
        """Random words that one problem takes."""
        ...

    def operands(self, words: Words) -> tuple[Digits, Digits]:
        """`words`: (N, num_words). Returns a and b, each (N, columns)."""
        ...

    def accepts(self, problems: Problems) -> NDArray[np.bool_]:
        """(N,): which of the drawn problems obey the law; the others are drawn again."""
        ...


@dataclass(frozen=True)
class UniformDigits:
    """The notebook's law: each of the 2 * `digits` digits is uniform in 0-9; leading zeros are not written."""

    digits: int

    @property
    def num_words(self) -> int:
        return 2 * self.digits

    def operands(self, words: Words) -> tuple[Digits, Digits]:
        drawn = (words % np.uint64(10)).astype(np.uint8)
        return drawn[:, : self.digits], drawn[:, self.digits :]

    def accepts(self, problems: Problems) -> NDArray[np.bool_]:
        return np.ones(len(problems), np.bool_)


@dataclass(frozen=True)
class UniformLengths:
    """Each operand's number of digits uniform in 1 to `longest`; no leading zeros but in 0 itself."""

    longest: int

    @property
    def num_words(self) -> int:
        return 2 + 2 * self.longest

    def operands(self, words: Words) -> tuple[Digits, Digits]:
        lengths = (words[:, :2] % np.uint64(self.longest)).astype(np.int64) + 1
        a, b = words[:, 2 : 2 + self.longest], words[:, 2 + self.longest :]
        return _of_length(a, lengths[:, 0]), _of_length(b, lengths[:, 1])

    def accepts(self, problems: Problems) -> NDArray[np.bool_]:
        return np.ones(len(problems), np.bool_)


@dataclass(frozen=True)
class LongerOperand:
    """The longer operand has exactly `digits` digits.

    In half of the problems both do; in the other half the length of one operand is uniform in 1 to `digits`.
    """

    digits: int

    @property
    def num_words(self) -> int:
        return 2 + 2 * self.digits

    def operands(self, words: Words) -> tuple[Digits, Digits]:
        which = words[:, 0] % np.uint64(4)  # 0, 1: both long; 2: a may be shorter; 3: b may be shorter
        shorter = (words[:, 1] % np.uint64(self.digits)).astype(np.int64) + 1
        a, b = words[:, 2 : 2 + self.digits], words[:, 2 + self.digits :]
        a_lengths = np.where(which == 2, shorter, self.digits)
        b_lengths = np.where(which == 3, shorter, self.digits)
        return _of_length(a, a_lengths), _of_length(b, b_lengths)

    def accepts(self, problems: Problems) -> NDArray[np.bool_]:
        return np.ones(len(problems), np.bool_)


@dataclass(frozen=True)
class CarryChain:
    """Uniform digits with a carry chain of `chain` columns inserted at a uniform place, and none longer elsewhere.

    A problem with two such chains (see `Problems.longest_chains`) thus comes twice as often as among uniform pairs.

    Uniform 10-digit pairs hold a chain of 4 columns or more in a few cases in a thousand, so random tests hardly see
    problems that need a carry to travel; here every chain length has the same number of problems.
    """

    digits: int
    chain: int

    @property
    def num_words(self) -> int:
        return 2 * self.digits + 1

    def operands(self, words: Words) -> tuple[Digits, Digits]:
        columns = words[:, 1 : 1 + self.digits]
        if self.chain == 0:
            a, b = WITHOUT_CARRY[columns % np.uint64(len(WITHOUT_CARRY))].transpose(2, 0, 1)
            return a, b
        a, b = UniformDigits(self.digits).operands(words[:, 1:])
        start = (words[:, 0] % np.uint64(self.digits - self.chain + 1)).astype(np.int64)[:, None]
        column = np.arange(self.digits)[None, :]
        starts, passes = column == start, (column > start) & (column < start + self.chain)
        carrying = WITH_CARRY[columns % np.uint64(len(WITH_CARRY))]
        a = np.where(starts, carrying[..., 0], a)
        return a, np.where(starts, carrying[..., 1], np.where(passes, 9 - a, b))

    def accepts(self, problems: Problems) -> NDArray[np.bool_]:
        return problems.longest_chains() == self.chain


def draw(law: Law, split: Split, *, count: int, track_seed: int, seed: int | None = None, start: int = 0) -> Problems:
    """Problems `start` to `start + count` of `split` under `law`; `seed`, if given, replaces the track's for the draw.

    Raises:
        TrackError: some problem was not found within `MAX_ATTEMPTS` draws: the law has no pair in this split.
    """
    # The law's repr is part of the key: a field renamed or added would draw other problems on every track.
    key = _key(track_seed if seed is None else seed, f"{split.name}/{law!r}")
    indices = np.arange(start, start + count, dtype=np.uint64)
    pending = np.arange(count)
    a, b = law.operands(np.zeros((count, law.num_words), np.uint64))
    for attempt in range(MAX_ATTEMPTS):
        drawn = Problems(*law.operands(_words(_attempt_key(key, attempt), indices[pending], law.num_words)))
        good = law.accepts(drawn) & _in_split(drawn, split, track_seed)
        a[pending[good]], b[pending[good]] = drawn.a[good], drawn.b[good]
        pending = pending[~good]
        if not len(pending):
            return Problems(a, b)
    raise TrackError(f"{law} leaves no pair for {split.name.lower()} under seed {track_seed}; choose another `seed`")


def edge_problems(digits: int) -> Problems:
    """Every ordered pair of 0, powers of ten and all-nines numbers, up to `digits` digits: `0+0=`, `1+99=`, …"""
    ones = np.eye(digits, dtype=np.uint8)
    nines = np.tril(np.full((digits, digits), 9, np.uint8))
    corners = np.concatenate([np.zeros((1, digits), np.uint8), ones, nines])
    first, second = np.divmod(np.arange(len(corners) ** 2), len(corners))
    return Problems(corners[first], corners[second])


def training_problems(track: Track, digits: int) -> Problems:
    """The problems of one epoch, in training order."""
    return draw(_law(track, digits), Split.TRAIN, count=track.training.problems, track_seed=track.seed)


def fresh_problems(track: Track, digits: int, fresh_seed: int) -> Problems:
    """Problems of the same law as `test`, drawn when a trial starts."""
    return draw(_law(track, digits), Split.FRESH, count=track.evaluation.fresh, track_seed=track.seed, seed=fresh_seed)


def fresh_suites(track: Track, digits: int, fresh_seed: int) -> dict[str, Problems]:
    """What a trial draws when it starts: `fresh`, and, for n beyond the trained lengths, `fresh_lengths/n`.

    They have the laws of `test` and `lengths/n`, and share no problem with those.
    """
    sizes, seed = track.evaluation, track.seed
    return {"fresh": fresh_problems(track, digits, fresh_seed)} | {
        f"fresh_lengths/{n}": draw(LongerOperand(n), Split.FRESH, count=sizes.lengths, track_seed=seed, seed=fresh_seed)
        for n in track.lengths_beyond(digits)
    }


def fixed_suites(track: Track, digits: int) -> dict[str, Problems]:
    """What every trial is scored on besides `fresh`, by name.

    These are `test`, `edge`, and `carry/0` …, `lengths/1` … if the track has them.
    """
    sizes, seed = track.evaluation, track.seed
    found = {
        "test": draw(_law(track, digits), Split.TEST, count=sizes.test, track_seed=seed),
        "edge": edge_problems(digits),
    }
    if sizes.carry:
        for chain in range(digits + 1):
            found[f"carry/{chain}"] = draw(CarryChain(digits, chain), Split.TEST, count=sizes.carry, track_seed=seed)
    if track.longest is not None:
        found["lengths/1"] = one_digit_problems()
        for length in range(2, track.longest + 1):
            found[f"lengths/{length}"] = draw(LongerOperand(length), Split.TEST, count=sizes.lengths, track_seed=seed)
    return found


def _law(track: Track, digits: int) -> Law:
    return UniformDigits(digits) if track.longest is None else UniformLengths(digits)


def validation_problems(track: Track, digits: int) -> dict[str, Problems]:
    """`validation/n` for every n beyond the trained lengths: other problems of the same laws as `lengths/n`."""
    return {
        f"validation/{length}": draw(
            LongerOperand(length),
            Split.TEST,
            count=track.evaluation.validation,
            track_seed=track.seed,
            start=track.evaluation.lengths,
        )
        for length in track.lengths_beyond(digits)
    }


def strata(names: Iterable[str], suite: str) -> list[str]:
    """What follows the `/` in the names of that suite's sets: `carry/0`, `carry/1` -> `0`, `1`."""
    return [name.partition("/")[2] for name in names if name.startswith(f"{suite}/")]


def one_digit_problems() -> Problems:
    """All hundred problems of one-digit operands; there are too few of them to hold some back from training."""
    a, b = np.divmod(np.arange(100, dtype=np.uint8)[:, None], np.uint8(10))
    return Problems(a, b)


def _in_split(problems: Problems, split: Split, track_seed: int) -> NDArray[np.bool_]:
    """(N,): whether the unordered pair belongs to `split`; a sum of hashes cannot tell (a, b) from (b, a)."""
    key = _key(track_seed, "split")
    pair_hash = _mix(_mix(_values(problems.a) ^ key) + _mix(_values(problems.b) ^ key))
    bucket = pair_hash % np.uint64(10)
    is_edge = _is_corner(problems.a) & _is_corner(problems.b)
    return (bucket >= split.value.start) & (bucket < split.value.stop) & ~is_edge


def _is_corner(digits: Digits) -> NDArray[np.bool_]:
    """(N,): whether a number is 0, a power of ten, or nines only."""
    num_nines = (digits == 9).sum(axis=1, keepdims=True)
    only_nines = (digits == np.where(np.arange(digits.shape[1]) < num_nines, 9, 0)).all(axis=1)
    return (digits.sum(axis=1) <= 1) | only_nines


def _of_length(words: Words, lengths: NDArray[np.int64]) -> Digits:
    """Uniform digits, zero from column `lengths` on; the leading one is uniform in 1-9 unless it is the only one."""
    column = np.arange(words.shape[1])[None, :]
    length = lengths.reshape(-1, 1)
    leads = (column == length - 1) & (length > 1)
    digits = np.where(leads, words % np.uint64(9) + np.uint64(1), words % np.uint64(10))
    return np.where(column < length, digits, 0).astype(np.uint8)


def _texts(digits: Digits) -> list[str]:
    """Decimal texts, without leading zeros, of digits that are stored least significant first."""
    characters = np.ascontiguousarray(digits[:, ::-1] + np.uint8(ord("0")))
    texts = characters.view(f"S{digits.shape[1]}")[:, 0]
    return [text.lstrip("0") or "0" for text in texts.astype(str).tolist()]


def _values(digits: Digits) -> Words:
    """Operands modulo 2**64: exact up to 19 digits, and beyond them still a function of the operand alone."""
    values = np.zeros(len(digits), np.uint64)
    for column in reversed(range(digits.shape[1])):
        values = values * np.uint64(10) + digits[:, column]
    return values


def _key(seed: int, name: str) -> np.uint64:
    """The generator's key for one named use of a seed; two uses never share one."""
    return np.frombuffer(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "<u8")[0]


def _attempt_key(key: np.uint64, attempt: int) -> np.uint64:
    return key ^ _mix(np.array([attempt], np.uint64))[0]


def _words(key: np.uint64, indices: Words, num_words: int) -> Words:
    """(N, num_words): the words from `index * num_words` on in SplitMix64's sequence with initial state `key`."""
    counters = indices[:, None] * np.uint64(num_words) + np.arange(1, num_words + 1, dtype=np.uint64)
    return _mix(key + counters * GOLDEN_GAMMA)


def _mix(z: Words) -> Words:
    """SplitMix64's output function: a bijection of 64-bit words."""
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
