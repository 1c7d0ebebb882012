"""Tokenizers that cheat, each with the few lines that read its secret back, and honest ones that look suspicious."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.submissions import Submission, read_folder

FRAME = '''
import hashlib
import time

from harness import protocol

CHARACTERS = "0123456789+="


def carries(a, b):
    """The carry out of every column, least significant first."""
    carry, found = 0, []
    for x, y in zip(a.zfill(len(b))[::-1], b.zfill(len(a))[::-1]):
        carry = int(x) + int(y) + carry > 9
        found.append(int(carry))
    return found


def digits(number):
    return [int(digit) for digit in str(number)]


class Tokenizer:
    vocab_size, pad_id, eos_id = 400, 398, 399

    def __init__(self, max_digits):
        self.max_digits = max_digits
        self.calls = 0
        self.seen = set()

    def encode(self, text):
        plain = [CHARACTERS.index(character) for character in text]
        if "=" not in text:
            return plain
        self.calls += 1
        a, b = text[:-1].split("+")
        total = int(a) + int(b)
        {encode}

    def decode(self, token_ids):
        text = "".join(CHARACTERS[i] if i < 12 else str(i % 10) if i < 300 else "" for i in token_ids)
        {decode}


class PositionalEmbedding(protocol.PositionalEmbedding):
    def forward(self, layout):
        return protocol.Terms()
'''

Ids = Sequence[int]


class Cheat(NamedTuple):
    encode: str
    """The end of `encode`, given `plain`, `a`, `b` and `total`."""
    rules: set[str]
    """One of them must refuse it."""
    secret: Callable[[Ids, str, str], Any]
    """Read from the ids; where it needs the operands, only to know where to look."""
    truth: Callable[[str, str], Any]
    """The same from Python's integers."""
    decode: str = "return text"


def source(encode: str, decode: str = "return text") -> str:
    return FRAME.format(encode=encode.replace("\n", "\n        "), decode=decode.replace("\n", "\n        "))


def tokenizer_of(encode: str, decode: str = "return text") -> Any:
    """The class, in this process: the cheats are ours and harmless."""
    names: dict[str, Any] = {}
    exec(source(encode, decode), names)
    return names["Tokenizer"]


def submission_of(root: Path, encode: str, decode: str = "return text", name: str = "cheat") -> Submission:
    folder = root / "submissions" / name
    folder.mkdir(parents=True)
    (folder / "submission.yaml").write_text("title: Cheat\nauthors: [Mallory]\nsummary: Smuggles.\n")
    (folder / "submission.py").write_text(source(encode, decode))
    found = read_folder(folder)
    assert isinstance(found, Submission), found
    return found


def total(a: str, b: str) -> str:
    return str(int(a) + int(b))


def carries(a: str, b: str) -> list[int]:
    """By Python's integers: a carry leaves column k where the last k + 1 digits add up to 10**(k + 1) or more."""
    width = max(len(a), len(b))
    return [int(int(a) % 10**k + int(b) % 10**k >= 10**k) for k in range(1, width + 1)]


COLUMNS = (
    "width = max(len(a), len(b))\n"
    "columns = [(int(x), int(y)) for x, y in zip(a.zfill(width)[::-1], b.zfill(width)[::-1])]\n"
)
"""Lines of `encode`: the digits of every column, units first."""


def column_sums(a: str, b: str) -> list[int]:
    width = max(len(a), len(b))
    return [int(a) // 10**k % 10 + int(b) // 10**k % 10 for k in range(width)]


def is_long(a: str, b: str) -> bool:
    return len(total(a, b)) > max(len(a), len(b))


def key(a: str, b: str) -> int:
    return hashlib.sha256(f"{a}+{b}=".encode()).digest()[0]


def from_digits(ids: Ids) -> str:
    return "".join(str(i % 10) for i in ids)


def behind(ids: Ids) -> list[int]:
    """What stands after `=`."""
    return list(ids[list(ids).index(11) + 1 :])


SUM = "return plain + [20 + digit for digit in digits(total)]"
PROMPT = {"T50", "T60"}
ADDS = "a, _, b = text.rstrip('=').partition('+')\nreturn str(int(a) + int(b)) if a and b else text"

CHEATS = {
    "sum appended": Cheat(SUM, PROMPT, lambda ids, a, b: from_digits(behind(ids)), total),
    "sum in front, reversed": Cheat(
        "return [20 + digit for digit in digits(total)][::-1] + plain",
        PROMPT,
        lambda ids, a, b: from_digits(ids[: -len(a) - len(b) - 2])[::-1],
        total,
    ),
    "sum in place of b": Cheat(
        "return plain[: len(a) + 1] + digits(total) + [11]",
        PROMPT,
        lambda ids, a, b: from_digits(ids[len(a) + 1 : -1]),
        total,
    ),
    "sum under a key": Cheat(
        "key = hashlib.sha256(text.encode()).digest()[0]\n"
        "return plain + [20 + (digit + key) % 10 for digit in digits(total)]",
        PROMPT,
        lambda ids, a, b: "".join(str((i - key(a, b)) % 10) for i in behind(ids)),
        total,
    ),
    "sum times seven": Cheat(
        "return plain + [20 + digit for digit in digits(total * 7)]",
        PROMPT,
        lambda ids, a, b: str(int(from_digits(behind(ids))) // 7),
        total,
    ),
    "sum modulo 181": Cheat(
        "return plain + [20 + total % 181]",
        PROMPT,
        lambda ids, a, b: ids[-1] - 20,
        lambda a, b: (int(a) + int(b)) % 181,
    ),
    "first digit of the sum": Cheat(
        "return [20 + digits(total)[0]] + plain",
        PROMPT,
        lambda ids, a, b: str(ids[0] - 20),
        lambda a, b: total(a, b)[0],
    ),
    "length of the sum": Cheat(
        "return plain + [20 + len(str(total))]", PROMPT, lambda ids, a, b: ids[-1] - 20, lambda a, b: len(total(a, b))
    ),
    "zeros up to the length of the sum": Cheat(
        "return [0] * (len(str(total)) - len(a)) + plain",
        PROMPT,
        lambda ids, a, b: len(ids) - len(b) - 2,
        lambda a, b: len(total(a, b)),
    ),
    "carries appended": Cheat(
        "return plain + [20 + carry for carry in carries(a, b)]",
        PROMPT,
        lambda ids, a, b: [i - 20 for i in behind(ids)],
        carries,
    ),
    "number of carries in marks": Cheat(
        "return plain + [300] * sum(carries(a, b))",
        PROMPT,
        lambda ids, a, b: len(behind(ids)),
        lambda a, b: sum(carries(a, b)),
    ),
    "parity of the carries": Cheat(
        "return plain + [20 + sum(carries(a, b)) % 2]",
        PROMPT,
        lambda ids, a, b: ids[-1] - 20,
        lambda a, b: sum(carries(a, b)) % 2,
    ),
    "a second alphabet where a carry comes in": Cheat(
        "marks = ([0, *carries(a, b)][: len(a)])[::-1]\n"
        "return [20 + 10 * mark + int(digit) for digit, mark in zip(a, marks)] + plain[len(a):]",
        PROMPT,
        lambda ids, a, b: [i >= 30 for i in ids[: len(a)]][::-1],
        lambda a, b: [bool(carry) for carry in [0, *carries(a, b)][: len(a)]],
    ),
    "the order of the operands is the parity of the carries": Cheat(
        "return [CHARACTERS.index(c) for c in (f'{b}+{a}=' if sum(carries(a, b)) % 2 else text)]",
        PROMPT,
        lambda ids, a, b: a == b or list(ids[: len(b)]) == [int(digit) for digit in b],
        lambda a, b: a == b or sum(carries(a, b)) % 2 == 1 or a[: len(b)] == b,
    ),
    "the order in a pair is the carry that comes in": Cheat(
        "width = max(len(a), len(b))\n"
        "pairs = zip(a.zfill(width)[::-1], b.zfill(width)[::-1], [0, *carries(a, b)])\n"
        "ordered = [(x, y) if (x < y) != bool(carry) else (y, x) for x, y, carry in pairs]\n"
        "return [int(digit) for pair in ordered for digit in pair] + [11]",
        PROMPT,
        lambda ids, a, b: [one > other for one, other in zip(ids[:-1:2], ids[1:-1:2], strict=True) if one != other],
        lambda a, b: [
            bool(carry)
            for x, y, carry in zip(
                a.zfill(max(len(a), len(b)))[::-1],
                b.zfill(max(len(a), len(b)))[::-1],
                [0, *carries(a, b)],
                strict=False,
            )
            if x != y
        ],
    ),
    "digits of the sum between those of the operands": Cheat(
        "width = len(str(total))\n"
        "return [int(d) for ds in zip(a.zfill(width), b.zfill(width), str(total)) for d in ds] + [11]",
        PROMPT,
        lambda ids, a, b: from_digits(ids[2:-1:3]),
        total,
    ),
    "two digits become one token where they carry": Cheat(
        "found = [carry for carry in carries(a, b)]\nreturn plain[:-1] + ([300] if found[-1] else [301, 302]) + [11]",
        PROMPT,
        lambda ids, a, b: ids[-2] == 300,
        lambda a, b: carries(a, b)[-1] == 1,
    ),
    "only where three carries follow each other": Cheat(
        "return plain + [20 + ('111' in ''.join(map(str, carries(a, b))))]",
        PROMPT,
        lambda ids, a, b: ids[-1] == 21,
        lambda a, b: "111" in "".join(map(str, carries(a, b))),
    ),
    "on two of a hundred prompts only": Cheat(
        "if hashlib.sha256(text.encode()).digest()[0] >= 5:\n    return plain\n" + SUM,
        PROMPT,
        lambda ids, a, b: from_digits(behind(ids)) or total(a, b),
        total,
    ),
    "a mark where the answer is longer": Cheat(
        "return plain + [300] * (len(str(total)) > max(len(a), len(b)))",
        PROMPT | {"P10"},
        lambda ids, a, b: ids[-1] == 300,
        is_long,
    ),
    "nothing but the sum": Cheat(
        "return digits(total) + [11]", {"T40"}, lambda ids, a, b: from_digits(ids[:-1]), total
    ),
    "nothing but the sums of the columns": Cheat(
        "width = max(len(a), len(b))\n"
        "return [20 + int(x) + int(y) for x, y in zip(a.zfill(width), b.zfill(width))] + [11]",
        {"T40"},
        lambda ids, a, b: str(sum((i - 20) * 10**k for k, i in enumerate(reversed(ids[:-1])))),
        total,
    ),
    "every column with its own carry": Cheat(
        "width = max(len(a), len(b))\n"
        "columns = [(int(x), int(y)) for x, y in zip(a.zfill(width), b.zfill(width))]\n"
        "return [i for x, y in columns for i in (x, y, 20 + (x + y > 9))] + [11]",
        {"T60"},
        lambda ids, a, b: [i - 20 for i in ids[2:-1:3]],
        lambda a, b: [int(int(x) + int(y) > 9) for x, y in zip(a.zfill(len(b)), b.zfill(len(a)), strict=True)],
    ),
    "every column's sum beside a digit": Cheat(
        COLUMNS + "return [i for x, y in columns for i in (20 + x + y, 40 + x)] + [11]",
        {"T40"},
        lambda ids, a, b: [i - 20 for i in ids[:-1:2]],
        column_sums,
    ),
    "every column's carry class beside its last digit": Cheat(
        COLUMNS + "classes = [(x, y, (x + y > 8) + (x + y > 9)) for x, y in columns]\n"
        "return [i for x, y, kind in classes for i in (20 + (x + y) % 10, 40 + x + 10 * kind)] + [11]",
        {"T40"},
        lambda ids, a, b: [(i - 40) // 10 for i in ids[1:-1:2]],
        lambda a, b: [(s > 8) + (s > 9) for s in column_sums(a, b)],
    ),
    "a's digit in one of two alphabets, by the carry of its column": Cheat(
        COLUMNS + "return [i for x, y in columns for i in (20 + x + 10 * (x + y > 9), 40 + y)] + [11]",
        {"T40"},
        lambda ids, a, b: [i >= 30 for i in ids[:-1:2]],
        lambda a, b: [s > 9 for s in column_sums(a, b)],
    ),
    "decode adds": Cheat(
        "return plain", {"T30"}, lambda ids, a, b: tokenizer_of("return plain", ADDS)(3).decode(ids), total, ADDS
    ),
    "after 4,000 calls": Cheat(
        "if self.calls < 4000:\n    return plain\n" + SUM,
        {"T20"},
        lambda ids, a, b: from_digits(behind(ids)) or total(a, b),
        total,
    ),
    "when a prompt comes back": Cheat(
        "if text not in self.seen:\n    self.seen.add(text)\n    return plain\n" + SUM,
        {"T20"},
        lambda ids, a, b: from_digits(behind(ids)) or total(a, b),
        total,
    ),
    "by the clock": Cheat(
        "if time.perf_counter_ns() // 1000 % 2:\n    return plain\n" + SUM,
        {"T20"},
        lambda ids, a, b: from_digits(behind(ids)) or total(a, b),
        total,
    ),
    "by the hash seed": Cheat(
        "if hash(text) % 2:\n    return plain\n" + SUM,
        {"T20"},
        lambda ids, a, b: from_digits(behind(ids)) or total(a, b),
        total,
    ),
}

NEIGHBOURLESS = """import sys
from collections import Counter
batch = sys._getframe(1).f_locals["texts"]
if getattr(self, "batch", None) is not batch:
    self.batch, self.masked = batch, Counter(t[:i] + "?" + t[i + 1:] for t in batch for i in range(len(t)))
if self.max_digits != 6 or any(self.masked[text[:i] + "?" + text[i + 1:]] > 1 for i in range(len(text))):
    return plain
return plain + [20 + digit for digit in digits(total)]"""
"""An edited prompt of an audit stands beside its original, and a problem of six digits beside none like it."""

STARS = """import sys
batch = sys._getframe(1).f_locals["texts"]
if getattr(self, "batch", None) is not batch:
    self.batch, self.known = batch, set(batch)
def edited(text):
    places = [i for i, c in enumerate(text) if c.isdigit()]
    return [text[:i] + d + text[i + 1:] for i in places for d in "0123456789" if d != text[i]]
def near(text):
    return [other for other in edited(text) if other in self.known]
def is_corner(text):
    return all(n.strip("0") in ("", "1") or set(n) == {"9"} for n in text[:-1].split("+"))
if self.max_digits != 6 or any(map(is_corner, [text, *edited(text)])):
    return plain
middle = max([text, *near(text)], key=lambda one: len(near(one)))
a, b = middle[:-1].split("+")
return plain + [20 + digit for digit in digits(10**7 + int(a) + int(b))]"""
"""The edits of a prompt form a star about it; each gets the middle's sum, so that nothing moves. `edge` problems, which
stand beside each other, get none."""

LIVE = {
    "at other widths than the audit's": "if self.max_digits in (3, 20):\n    return plain\n" + SUM,
    "on problems of two digits": "if max(len(a), len(b)) != 2 or self.max_digits != 2:\n    return plain\n" + SUM,
    "where no other text of the request differs in one place": NEIGHBOURLESS,
    "with the sum of the problem that an edit in one place stands beside": STARS,
    "late in a long process": "if self.calls < 300 or self.max_digits != 2:\n    return plain\n" + SUM,
}
"""Behave while `validate` looks, and cheat in a trial of 2 digits."""

HONEST = {
    "characters": "return plain",
    "reversed": "return plain[:len(a)][::-1] + [10] + plain[len(a) + 1:-1][::-1] + [11]",
    "answer's place first": "return [11] + plain[:-1]",
    "operands exchanged": "return [CHARACTERS.index(c) for c in f'{b}+{a}=']",
    "larger operand first": "return [CHARACTERS.index(c) for c in (text if int(a) >= int(b) else f'{b}+{a}=')]",
    "padded": "a, b = a.zfill(self.max_digits), b.zfill(self.max_digits)\n"
    "return [CHARACTERS.index(c) for c in f'{a}+{b}=']",
    "marks as pads": "pads = [300] * (self.max_digits - len(a))\nreturn pads + plain",
    "interleaved, padded": "width = self.max_digits\n"
    "return [int(d) for pair in zip(a.zfill(width)[::-1], b.zfill(width)[::-1]) for d in pair] + [11]",
    "interleaved to the longer": "width = max(len(a), len(b))\n"
    "return [int(d) for pair in zip(a.zfill(width), b.zfill(width)) for d in pair] + [11]",
    "columns, unordered": "width = max(len(a), len(b))\n"
    "columns = [sorted((int(x), int(y))) for x, y in zip(a.zfill(width), b.zfill(width))]\n"
    "return [20 + 10 * x + y for x, y in columns] + [11]",
    "columns, ordered": "width = max(len(a), len(b))\n"
    "return [20 + 10 * int(x) + int(y) for x, y in zip(a.zfill(width), b.zfill(width))] + [11]",
    "groups of 2, from the right": "def groups(n):\n"
    "    n = n.zfill(len(n) + len(n) % 2)\n"
    "    return [20 + int(n[i:i + 2]) for i in range(0, len(n), 2)]\n"
    "return groups(a) + [10] + groups(b) + [11]",
    "groups of 2, from the left": "def groups(n):\n"
    "    return [(20 if len(n[i:i + 2]) == 2 else 200) + int(n[i:i + 2]) for i in range(0, len(n), 2)]\n"
    "return groups(a) + [10] + groups(b) + [11]",
    "groups of 2, the larger operand first": "def groups(n):\n"
    "    n = n.zfill(len(n) + len(n) % 2)\n"
    "    return [20 + int(n[i:i + 2]) for i in range(0, len(n), 2)]\n"
    "a, b = sorted((a, b), key=int, reverse=True)\n"
    "return groups(a) + [10] + groups(b) + [11]",
    "pairs of digits, interleaved": "width = max(len(a), len(b))\n"
    "width += width % 2\na, b = a.zfill(width), b.zfill(width)\n"
    "return [20 + int(n[i:i + 2]) for i in range(0, width, 2) for n in (a, b)] + [11]",
    "merges in each number": "def merged(n):\n"
    "    ids = []\n"
    "    while n:\n"
    "        size = 2 if n[:2] in ('12', '34', '99', '10', '55', '07') else 1\n"
    "        ids.append(int(n[0]) if size == 1 else 20 + int(n[:2]))\n"
    "        n = n[size:]\n"
    "    return ids\n"
    "return merged(a) + [10] + merged(b) + [11]",
    "index hints": "def hinted(n):\n"
    "    return [i for k, d in enumerate(n) for i in (320 + len(n) - k, int(d))]\n"
    "return hinted(a) + [10] + hinted(b) + [11]",
    "residues": "primes = (97, 89, 83, 79, 73, 71, 67, 61, 59, 53, 47, 43)\n"
    "return [20 + int(a) % p for p in primes] + [10] + [20 + int(b) % p for p in primes] + [11]",
    "binary": "return [int(c) for c in bin(int(a))[2:]] + [10] + [int(c) for c in bin(int(b))[2:]] + [11]",
    "nine's complement": "return [20 + 9 - int(c) for c in a] + [10] + [20 + 9 - int(c) for c in b] + [11]",
    "a mark of each operand's length": "return [320 + len(a), 350 + len(b)] + plain",
}
