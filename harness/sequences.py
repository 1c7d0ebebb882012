"""Sequences of a trial: ids and kinds as the model sees them, with all prompts ending at the same column."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.host.client import Vocabulary
from harness.protocol import Kind
from harness.ragged import Ragged


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequences:
    """N problems, tokenised: `PAD … PAD prompt answer EOS PAD …`."""

    token_ids: NDArray[np.int32]
    """(N, prompt_length + answer_length): the last column is only ever a target."""
    layout: NDArray[np.int8]
    """(N, length) of `Kind`, for the columns that are inputs."""
    prompt_length: int
    widths: NDArray[np.int64]
    """(N,): in how many columns the model reads each prompt, some of its PADs included.

    The `prompt_length - width` columns before them hold PADs alone, and the model does not see them.
    """

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def answer_length(self) -> int:
        """Columns of an answer, its EOS included."""
        return self.token_ids.shape[1] - self.prompt_length

    @property
    def length(self) -> int:
        """Columns that are inputs: all but the last."""
        return self.token_ids.shape[1] - 1

    def by_width(self) -> list[tuple[NDArray[np.int64], "Sequences"]]:
        """For each width, the rows of its problems here, and these problems without the columns before it."""
        parts: list[tuple[NDArray[np.int64], Sequences]] = []
        for width in np.unique(self.widths).tolist():
            rows, first = np.flatnonzero(self.widths == width), self.prompt_length - width
            part = Sequences(
                token_ids=self.token_ids[rows, first:],
                layout=self.layout[rows, first:],
                prompt_length=width,
                widths=self.widths[rows],
            )
            parts.append((rows, part))
        return parts


def share_seen(sequences: Sequences, trained: Sequences) -> float:
    """The share of the sequences, in [0, 1], whose prompt and answer ids equal those of a trained one.

    Two different problems may have the same ids: unordered column pairs write `3+70` and `0+73` alike. Both sets must
    have been assembled to the same widths.
    """
    rows = [row.tobytes() for row in sequences.token_ids]
    seen = set(rows).intersection(row.tobytes() for row in trained.token_ids)
    return sum(row in seen for row in rows) / len(rows)


def assemble(
    prompts: Ragged, answers: Ragged, vocabulary: Vocabulary, *, widths: NDArray[np.int64], answer_length: int
) -> Sequences:
    """Sequences of the given widths, (N,) for the prompts; `answer_length` includes EOS."""
    prompt_length = int(widths.max())
    answer_ids = answers.right_padded(answer_length, vocabulary.pad_id)
    answer_ids[np.arange(len(answers)), answers.lengths] = vocabulary.eos_id
    prompt_ids = prompts.left_padded(prompt_length, vocabulary.pad_id)
    layout = np.full((len(prompts), prompt_length + answer_length - 1), Kind.ANSWER, np.int8)
    layout[:, :prompt_length] = kinds(vocabulary)[prompt_ids]
    return Sequences(
        token_ids=np.concatenate([prompt_ids, answer_ids], axis=1),
        layout=layout,
        prompt_length=prompt_length,
        widths=widths,
    )


def kinds(vocabulary: Vocabulary) -> NDArray[np.int8]:
    """(vocab_size,): the `Kind` of each id in a prompt, from the text that it decodes to on its own."""
    return np.array(
        [_kind(token_id, text, vocabulary.pad_id) for token_id, text in enumerate(vocabulary.texts)], np.int8
    )


def _kind(token_id: int, text: str, pad_id: int) -> Kind:
    if token_id == pad_id:
        return Kind.PAD
    if any(character in "0123456789" for character in text):
        return Kind.NUMBER
    if "+" in text:
        return Kind.PLUS
    return Kind.EQUALS if "=" in text else Kind.OTHER
