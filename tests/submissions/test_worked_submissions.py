"""What the contract asks of every submission, held by the worked ones."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gallery import NAMES, RANDOMISED, TRAINED
from torch import Tensor

from harness.protocol import Kind, PositionalEmbedding, Terms, Tokenizer

SUBMISSIONS = Path(__file__).parents[2] / "submissions"
FIELDS = ("embedding", "embedding_angles", "angles", "bias")

every_submission = pytest.mark.parametrize("name", NAMES)
TokenizerOf = Callable[..., Tokenizer]
PositionsOf = Callable[..., PositionalEmbedding]


def tensors(terms: Terms) -> dict[str, Tensor]:
    found = {field: getattr(terms, field) for field in FIELDS}
    return {field: tensor for field, tensor in found.items() if tensor is not None}


def seeded_terms(module: PositionalEmbedding, layout: Tensor, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return tensors(module(layout))


def equal(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return some.keys() == others.keys() and all(torch.equal(some[field], others[field]) for field in some)


def test_every_worked_submission_is_there_and_says_what_it_is_about() -> None:
    for name in NAMES:
        title, _, paragraph = (SUBMISSIONS / name / "README.md").read_text(encoding="utf-8").partition("\n\n")
        assert title.startswith("# ")
        assert "expect" in paragraph.lower(), name
        assert re.search(r"arXiv:[0-9]{4}\.[0-9]{5}|\]\([^)]+\)|no paper that we know of", paragraph), (
            f"{name}: its source"
        )
        assert re.search(r"`[^`]*[^`a-z_][^`]*`", paragraph), f"{name}: a formula, or an example of the format"


def test_a_piece_of_code_lies_in_one_folder_only() -> None:
    classes = [
        line.partition("(")[0]
        for path in SUBMISSIONS.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("class ") and path.parts[-2] in NAMES
    ]
    assert len(classes) == len(set(classes))


@every_submission
@pytest.mark.parametrize("max_digits", [2, 3, 9, 20])
def test_decode_inverts_encode_for_small_numbers_and_sums_of_every_length(
    name: str, max_digits: int, tokenizer_of: TokenizerOf
) -> None:
    tokenizer = tokenizer_of(name, max_digits=max_digits)
    rng = random.Random(max_digits)
    lengths = [length for length in range(1, max_digits + 2) for _ in range(20)]
    sums = [rng.randrange(10 ** (length - 1), 10**length) for length in lengths] + [2 * 10**max_digits - 2]
    for text in map(str, [*range(1000), *sums]):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@every_submission
def test_ids_are_plain_ints_of_the_vocabulary_without_pad_and_eos(name: str, tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of(name, max_digits=9)
    allowed = set(range(tokenizer.vocab_size)) - {tokenizer.pad_id, tokenizer.eos_id}
    for text in ("0+0=", "999999999+1=", "1265+54323=", "0", "1999999998"):
        token_ids = tokenizer.encode(text)
        assert all(type(token_id) is int for token_id in token_ids)
        assert set(token_ids) <= allowed


@every_submission
def test_a_prompt_is_digits_then_signs_whatever_its_digits(name: str, tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of(name, max_digits=3)
    texts = {tuple(tokenizer.decode([i]) for i in tokenizer.encode(prompt)) for prompt in ("123+45=", "908+70=")}
    kinds = {tuple("d" if text.isdigit() else text for text in prompt) for prompt in texts}
    assert len(texts) == 2
    assert len(kinds) == 1
    assert [text for text in kinds.pop() if text not in ("d", "")] == ["+", "="]


@every_submission
def test_decode_turns_any_ids_into_a_short_text(name: str, tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of(name, max_digits=20)
    rng = random.Random(0)
    for length in range(22):
        for _ in range(50):
            assert len(tokenizer.decode(rng.choices(range(tokenizer.vocab_size), k=length))) <= 64
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode([tokenizer.pad_id, tokenizer.eos_id]) == ""


@every_submission
def test_the_vocabulary_does_not_depend_on_the_number_of_digits(name: str, tokenizer_of: TokenizerOf) -> None:
    def vocabulary(max_digits: int) -> tuple[int, int, int, list[str]]:
        tokenizer = tokenizer_of(name, max_digits=max_digits)
        texts = [tokenizer.decode([token_id]) for token_id in range(tokenizer.vocab_size)]
        return tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id, texts

    assert vocabulary(1) == vocabulary(2) == vocabulary(20)


@every_submission
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 7), (2, 31)])
def test_terms_have_the_shapes_of_the_contract_for_any_layout(
    name: str, training: bool, batch: int, length: int, positions_of: PositionsOf
) -> None:
    module = positions_of(name, max_digits=9, max_length=31).train(training)
    shapes = {
        "embedding": (length, 128),
        "embedding_angles": (length, 64),
        "angles": (length, 4),
        "bias": (16, length, length),
    }
    layouts = [torch.full((batch, length), kind) for kind in Kind] + [torch.randint(len(Kind), (batch, length))]
    for layout in layouts:
        terms = tensors(module(layout))
        assert bool(terms) == (name != "reversed_nope")
        for field, tensor in terms.items():
            assert tensor.dtype == torch.float32
            assert tensor.isfinite().all()
            assert tensor.shape[0] in (1, batch)
            assert tensor.shape[1:] == shapes[field]


@every_submission
def test_terms_of_a_layout_cut_in_the_answer_are_the_cut_of_the_terms(
    name: str, tokenizer_of: TokenizerOf, positions_of: PositionsOf, layout_of: Callable[..., Tensor]
) -> None:
    prompts = ["123+45=", "1+2=", "98765+98765="]
    layout = layout_of(tokenizer_of(name, max_digits=5), prompts, answer_length=7)
    module = positions_of(name, max_digits=5, max_length=layout.shape[1]).eval()
    whole = tensors(module(layout))
    for length in range(layout.shape[1] - 7, layout.shape[1]):
        for field, tensor in tensors(module(layout[:, :length])).items():
            cut = whole[field][..., :length, :length] if field == "bias" else whole[field][:, :length]
            assert torch.equal(tensor, cut)


@every_submission
def test_only_randomised_positions_differ_between_seeds_and_only_in_training(
    name: str, positions_of: PositionsOf
) -> None:
    module = positions_of(name, max_digits=20, max_length=9)
    layout = torch.tensor([[0, 1, 1, 2, 1, 3, 5, 5, 5]] * 4)
    evaluated = seeded_terms(module.eval(), layout, seed=0)
    assert equal(evaluated, seeded_terms(module, layout, seed=1))
    trained = seeded_terms(module.train(), layout, seed=0)
    assert equal(trained, seeded_terms(module, layout, seed=0))
    draws = [seeded_terms(module, layout, seed) for seed in range(8)]
    assert all(equal(draw, evaluated) for draw in draws) == (name not in RANDOMISED)


@every_submission
def test_gradients_reach_every_parameter_where_there_are_any(name: str, positions_of: PositionsOf) -> None:
    module = positions_of(name, max_digits=2, max_length=9)
    parameters = list(module.parameters())
    assert bool(parameters) == (name in TRAINED)
    if parameters:
        torch.manual_seed(0)
        terms = tensors(module(torch.tensor([[0, 1, 1, 2, 1, 3, 5, 5, 5]])))
        torch.stack([tensor.square().sum() for tensor in terms.values()]).sum().backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in parameters)


@every_submission
@pytest.mark.parametrize("training", [True, False])
def test_the_exported_graph_gives_the_terms_of_the_module(name: str, training: bool, positions_of: PositionsOf) -> None:
    class AsDict(torch.nn.Module):
        def __init__(self, module: PositionalEmbedding) -> None:
            super().__init__()
            self.module = module

        def forward(self, layout: Tensor) -> dict[str, Tensor]:
            return tensors(self.module(layout))

    module = positions_of(name, max_digits=2, max_length=9).train(training)
    layout = torch.tensor([[0, 1, 1, 2, 1, 3, 5, 5, 5], [1, 1, 2, 1, 1, 3, 5, 5, 5]])
    exported = torch.export.export(AsDict(module), (torch.zeros_like(layout),), strict=False)
    torch.manual_seed(5)
    replayed = exported.module()(layout)
    assert equal(replayed, seeded_terms(module, layout, seed=5))
