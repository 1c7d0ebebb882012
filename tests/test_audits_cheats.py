"""Cheats are refused and honest designs are not; every cheat first shows that it has something to hide."""

import os
from pathlib import Path

import numpy as np
import pytest
from cheats.sources import CHEATS, HONEST, submission_of, tokenizer_of

from harness.audits.tokens import MAX_DIGITS, check_tokenizer, judge_prompts
from harness.rules import Finding

NUM_SEEDS = int(os.environ.get("AUDIT_SEEDS", "1"))
"""Draws of the audits for every honest design; the release check takes 50."""
PROMPT_RULES = ("T40", "T50", "T60")
PROMPT_CHEATS = [name for name, cheat in CHEATS.items() if not cheat.rules.isdisjoint(PROMPT_RULES)]
ONE_EACH = {next(name for name in PROMPT_CHEATS if rule in CHEATS[name].rules) for rule in PROMPT_RULES}
THROUGH_A_HOST = [name for name in CHEATS if name in ONE_EACH or name not in PROMPT_CHEATS]


@pytest.mark.parametrize("name", CHEATS)
def test_the_secret_of_the_cheat_can_be_read_from_its_ids(name: str) -> None:
    """The positive control: what the cheat hides is right, by Python's integers."""
    cheat = CHEATS[name]
    rng = np.random.default_rng(1)
    tokenizer = tokenizer_of(cheat.encode, cheat.decode)(3)
    tokenizer.calls = 4000
    for _ in range(300):
        a, b = (str(number) for number in rng.integers(0, 1000, 2))
        tokenizer.encode(f"{a}+{b}=")
        ids = tokenizer.encode(f"{a}+{b}=")
        assert cheat.secret(ids, a, b) == cheat.truth(a, b), (a, b, ids)


@pytest.mark.parametrize("name", THROUGH_A_HOST)
def test_validate_refuses_the_cheat(tmp_path: Path, name: str) -> None:
    """Through a host; of the cheats of the prompts one for each rule, as all are tried without one below."""
    cheat = CHEATS[name]
    findings = check_tokenizer(submission_of(tmp_path, cheat.encode, cheat.decode))
    gates = {finding.rule for finding in findings if finding.level == "gate"}
    assert gates & cheat.rules, findings


def found_in(encode: str, max_digits: int, seed: int) -> list[Finding]:
    """What one draw of the audits finds in the prompts that the lines of `encode` write."""
    tokenizer = tokenizer_of(encode)(max_digits)
    return judge_prompts(max_digits, seed, lambda texts: [tokenizer.encode(text) for text in texts])[1]


FOR_A_PERSON = {"merges in each number": {"T55", "T57"}, "binary": {"T55", "T57"}, "residues": {"T57"}}
"""Honest designs in which digits decide how many tokens a number takes, or one digit several tokens."""


@pytest.mark.parametrize("name", HONEST)
def test_no_draw_of_the_audits_finds_anything_in_an_honest_design(name: str) -> None:
    for seed in range(NUM_SEEDS):
        for max_digits in MAX_DIGITS:
            findings = found_in(HONEST[name], max_digits, seed)
            assert {finding.level for finding in findings} <= {"review"}
            assert {finding.rule for finding in findings} == FOR_A_PERSON.get(name, set())


ONE_DIGIT_IN_SEVERAL_TOKENS = {
    "short numbers as long ones": "k = 73 if max(len(a), len(b)) <= self.max_digits // 2 else 1\n"
    "return digits(k * int(a)) + [10] + digits(k * int(b)) + [11]",
    "short numbers twice": "n = 2 if max(len(a), len(b)) <= self.max_digits // 2 else 1\n"
    "return [CHARACTERS.index(c) for c in n * a + '+' + n * b + '=']",
    "places that add the units": "x, y = int(a[-1]), int(b[-1])\n"
    "return [300] * x + digits(a) + [301] * (18 - x - y) + digits(b) + [300] * y + [11]",
}
"""By these a track of length generalisation would be trained on the lengths that it tests, or positions could add."""


@pytest.mark.parametrize("name", ONE_DIGIT_IN_SEVERAL_TOKENS)
def test_every_draw_of_the_audits_finds_a_digit_that_moves_several_tokens(name: str) -> None:
    for seed in range(NUM_SEEDS):
        for max_digits in MAX_DIGITS:
            findings = found_in(ONE_DIGIT_IN_SEVERAL_TOKENS[name], max_digits, seed)
            assert "T57" in {finding.rule for finding in findings}


@pytest.mark.parametrize("name", PROMPT_CHEATS)
def test_every_draw_of_the_audits_finds_a_cheat_of_the_prompts(name: str) -> None:
    for seed in range(NUM_SEEDS):
        found: set[str] = set()
        for max_digits in MAX_DIGITS:
            found |= {finding.rule for finding in found_in(CHEATS[name].encode, max_digits, seed)}
        assert found & CHEATS[name].rules
