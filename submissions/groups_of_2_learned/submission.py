"""Digits in groups of two or three, aligned at the units (Singh and Strouse, 2024, arXiv:2402.14903)."""

from collections.abc import Sequence

from harness.protocol import Tokenizer


class RightAlignedGroups(Tokenizer):
    """Numbers are cut into groups of `size` digits from the right; a group is one token, its value.

    In groups of 2, `957+8=` is the groups 9, 57, `+` and 8: 9 57 100 8 101. Its answer `965` -> 9 65. A group that does
    not come first stands for all its digits, so 9 5 is the number 905. In groups of 3 the same problem is 957 1000 8
    1001. The ids of `+`, `=`, PAD and EOS follow those of the groups.
    """

    size: int

    def __init_subclass__(cls) -> None:
        cls.plus_id = 10**cls.size
        cls.equals_id, cls.pad_id, cls.eos_id = cls.plus_id + 1, cls.plus_id + 2, cls.plus_id + 3
        cls.vocab_size = cls.plus_id + 4

    def __init__(self, max_digits: int) -> None:
        """Groups need no widths: `max_digits` is not used."""

    def encode(self, text: str) -> list[int]:
        if "=" not in text:
            return self.groups(text)
        a, b = text.removesuffix("=").split("+")
        return [*self.groups(a), self.plus_id, *self.groups(b), self.equals_id]

    def decode(self, token_ids: Sequence[int]) -> str:
        signs = {self.plus_id: "+", self.equals_id: "="}
        texts: list[str] = []
        for token_id in token_ids:
            if token_id < self.plus_id:
                texts.append(str(token_id).zfill(self.size) if texts else str(token_id))
            else:
                texts.append(signs.get(token_id, ""))
        return "".join(texts)

    def groups(self, number: str) -> list[int]:
        """Values of the groups, the most significant first: `1957` in groups of 2 is 19 57."""
        ends = range(len(number), 0, -self.size)
        return [int(number[max(0, end - self.size) : end]) for end in reversed(ends)]


class GroupsOfTwo(RightAlignedGroups):
    size = 2


class GroupsOfThree(RightAlignedGroups):
    size = 3
