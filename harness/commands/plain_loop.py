"""The yardstick of speed: the loop that a user would otherwise write, with torch's own modules and nothing clever.

`nn.TransformerEncoder` under a causal mask made anew in every forward pass, every batch tokenised in Python, logits at
every position, greedy decoding that runs the whole sequence again for each token.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.protocol import Tokenizer
from harness.track import ModelDefinition


class Characters:
    """One id a character: `12+34=` -> 1 2 10 3 4 11; the tokenizer of the built-in reference."""

    vocab_size, pad_id, eos_id = 14, 12, 13

    def __init__(self, max_digits: int) -> None: ...

    def encode(self, text: str) -> list[int]:
        return ["0123456789+=".index(character) for character in text]

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join("0123456789+="[token_id] for token_id in token_ids if token_id < 12)


class PlainModel(nn.Module):
    """Token embedding, sinusoidal table, torch's encoder, a linear head; logits (B, L, V)."""

    def __init__(self, definition: ModelDefinition, vocab_size: int, max_length: int) -> None:
        super().__init__()
        self.scale = math.sqrt(definition.d_model)
        self.embedding = nn.Embedding(vocab_size, definition.d_model)
        layer = nn.TransformerEncoderLayer(
            definition.d_model,
            definition.num_heads,
            definition.feedforward,
            definition.dropout,
            batch_first=True,
        )
        self.encoder = nn.TransformerEncoder(
            layer, definition.num_layers, norm=nn.LayerNorm(definition.d_model), enable_nested_tensor=False
        )
        self.head = nn.Linear(definition.d_model, vocab_size)
        rates = 10000.0 ** (-torch.arange(0, definition.d_model, 2) / definition.d_model)
        angles = torch.arange(max_length)[:, None] * rates
        self.register_buffer("table", torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1))

    def forward(self, token_ids: Tensor) -> Tensor:
        length = token_ids.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=token_ids.device)
        x = self.embedding(token_ids) * self.scale + self.get_buffer("table")[:length]
        return self.head(self.encoder(x, mask=mask, is_causal=True))


class PlainLoop:
    """Trains and scores on texts, on the model's device."""

    def __init__(self, model: PlainModel, tokenizer: Tokenizer, learning_rate: float) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)

    def train_step(self, prompts: Sequence[str], answers: Sequence[str]) -> None:
        """One optimiser step on texts, tokenised here and now."""
        self.train_on(self.prompt_ids(prompts), self.answer_ids(answers))

    def train_on(self, prompt_ids: Tensor, answer_ids: Tensor) -> None:
        """One optimiser step on (B, P) and (B, A) int64."""
        self.model.train()
        token_ids = torch.cat((prompt_ids, answer_ids), dim=1)
        self.optimizer.zero_grad()
        logits = self.model(token_ids[:, :-1])[:, prompt_ids.shape[1] - 1 :]
        loss = F.cross_entropy(logits.flatten(0, 1), answer_ids.flatten(), ignore_index=self.tokenizer.pad_id)
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def answer(self, prompts: Sequence[str], num_tokens: int) -> list[str]:
        """Greedy answers; for every token the sequence is run again from its beginning."""
        self.model.eval()
        token_ids = self.prompt_ids(prompts)
        prompt_length = token_ids.shape[1]
        for _ in range(num_tokens):
            token_ids = torch.cat((token_ids, self.model(token_ids)[:, -1:].argmax(dim=-1)), dim=1)
        return [self._text(row) for row in token_ids[:, prompt_length:].tolist()]

    def _text(self, token_ids: list[int]) -> str:
        end = token_ids.index(self.tokenizer.eos_id) if self.tokenizer.eos_id in token_ids else len(token_ids)
        return self.tokenizer.decode(token_ids[:end])

    def prompt_ids(self, texts: Sequence[str]) -> Tensor:
        rows = [self.tokenizer.encode(text) for text in texts]
        width = max(map(len, rows))
        return self._on_device([[self.tokenizer.pad_id] * (width - len(row)) + row for row in rows])

    def answer_ids(self, texts: Sequence[str]) -> Tensor:
        rows = [[*self.tokenizer.encode(text), self.tokenizer.eos_id] for text in texts]
        width = max(map(len, rows))
        return self._on_device([row + [self.tokenizer.pad_id] * (width - len(row)) for row in rows])

    def _on_device(self, rows: list[list[int]]) -> Tensor:
        return torch.tensor(rows).to(self.model.head.weight.device)
