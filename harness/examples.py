"""Problems as the model sees them, on the device where it computes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.sequences import Sequences


@dataclass(frozen=True, slots=True)
class Examples:
    """Sequences on the device, in order."""

    token_ids: Tensor
    """(N, L + 1) int64."""
    layout: Tensor
    """(N, L) int64 of `Kind`."""
    prompt_length: int

    @classmethod
    def of(cls, sequences: Sequences, device: torch.device) -> "Examples":
        token_ids, layout = torch.from_numpy(sequences.token_ids), torch.from_numpy(sequences.layout)
        return cls(token_ids.to(device, torch.int64), layout.to(device, torch.int64), sequences.prompt_length)

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def answer_length(self) -> int:
        """Columns of an answer, its EOS included."""
        return self.token_ids.shape[1] - self.prompt_length

    def rows(self, start: int, stop: int) -> "Examples":
        return Examples(self.token_ids[start:stop], self.layout[start:stop], self.prompt_length)

    @classmethod
    def concatenated(cls, parts: Sequence["Examples"]) -> "Examples":
        """The rows of sets of one shape, one after the other."""
        token_ids, layout = torch.cat([part.token_ids for part in parts]), torch.cat([part.layout for part in parts])
        return cls(token_ids, layout, parts[0].prompt_length)

    @property
    def shape(self) -> tuple[int, int]:
        """Columns of a prompt and of an answer; sets of one shape go through one recorded pass."""
        return self.prompt_length, self.answer_length

    def take(self, rows: Tensor) -> "Examples":
        """The given rows, (n,) int64."""
        return Examples(self.token_ids.index_select(0, rows), self.layout.index_select(0, rows), self.prompt_length)
