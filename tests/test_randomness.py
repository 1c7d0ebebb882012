"""Seeds: one generator for each named use."""

import hashlib

import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.randomness import derived_seed, generator

SEEDS, USES = st.integers(0, 2**63), st.text(max_size=20)


def test_a_seed_is_the_first_63_bits_of_a_sha256() -> None:
    digest = hashlib.sha256(b"7/dropout").digest()
    assert derived_seed(7, "dropout") == int.from_bytes(digest[:8], "little") // 2


@given(SEEDS, SEEDS, USES, USES)
def test_seeds_differ_unless_seed_and_use_are_the_same(seed: int, other: int, use: str, another: str) -> None:
    got = derived_seed(seed, use)
    assert 0 <= got < 2**63
    assert (got == derived_seed(other, another)) == ((seed, use) == (other, another))


def test_a_generator_repeats_for_its_use_and_shares_nothing_with_another() -> None:
    draws = [torch.rand(1000, generator=generator(0, use)) for use in ("layers", "layers", "dropout")]
    assert torch.equal(draws[0], draws[1])
    assert abs(float(torch.corrcoef(torch.stack(draws[1:]))[0, 1])) < 0.15


def test_drawing_leaves_torchs_own_generator_alone() -> None:
    before = torch.get_rng_state()
    torch.rand(10, generator=generator(0, "layers"))
    assert torch.equal(torch.get_rng_state(), before)
