"""Token sequences of different lengths, kept as one array."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ragged:
    """N sequences: `token_ids` (N, W) int32, right-padded with -1 to the longest; `lengths` (N,) int32."""

    token_ids: NDArray[np.int32]
    lengths: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def from_flat(cls, flat: NDArray[np.int32], lengths: NDArray[np.int32]) -> "Ragged":
        """From the sequences laid end to end in `flat`, which has `lengths.sum()` ids."""
        token_ids = np.full((len(lengths), int(lengths.max(initial=0))), -1, np.int32)
        token_ids[np.arange(token_ids.shape[1]) < lengths[:, None]] = flat
        return cls(token_ids, lengths)

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "Ragged":
        lengths = np.array([len(row) for row in rows], np.int32)
        return cls.from_flat(np.array([token_id for row in rows for token_id in row], np.int32), lengths)

    @classmethod
    def concatenate(cls, parts: Sequence["Ragged"]) -> "Ragged":
        flat = np.concatenate([part.flat() for part in parts]) if parts else np.zeros(0, np.int32)
        lengths = np.concatenate([part.lengths for part in parts]) if parts else np.zeros(0, np.int32)
        return cls.from_flat(flat, lengths)

    def flat(self) -> NDArray[np.int32]:
        """The sequences laid end to end."""
        return self.token_ids[self.token_ids >= 0]

    def take(self, indices: NDArray[np.int64]) -> "Ragged":
        return Ragged(self.token_ids[indices], self.lengths[indices])

    def rows(self) -> list[list[int]]:
        return [row[:length] for row, length in zip(self.token_ids.tolist(), self.lengths.tolist(), strict=True)]

    def left_padded(self, width: int, fill: int) -> NDArray[np.int32]:
        """(N, width), every sequence ending in the last column."""
        padded = np.full((len(self), width), fill, np.int32)
        padded[np.arange(width) >= width - self.lengths[:, None]] = self.flat()
        return padded

    def right_padded(self, width: int, fill: int) -> NDArray[np.int32]:
        """(N, width), every sequence beginning in the first column."""
        padded = np.full((len(self), width), fill, np.int32)
        padded[np.arange(width) < self.lengths[:, None]] = self.flat()
        return padded
