"""Linear probes: labels against integers, states against the model's own, answers against known ones."""

import numpy as np
import pytest
import torch
from bad_folders import TINY, make_submission, write_folder, write_tiny
from commands import harness, record_of, refused

from harness.commands.probe import as_text
from harness.engines.messages import Probed
from harness.model import NO_DROPOUT, FrozenModel
from harness.preparation import prepare
from harness.probe import accuracy, carries, states_of
from harness.records import Score
from harness.task import Split, UniformDigits, UniformLengths, draw, fixed_suites, training_problems
from harness.track import Track

CHANGES: dict[str, object] = {
    "digits": [2],
    "model": {"d_model": 16, "num_heads": 2, "num_layers": 3, "feedforward": 16},
    "evaluation": {"fresh": 300, "test": 300, "curve": 8, "curve_points": 1},
}
DEEP = Track.model_validate({**TINY.model_dump(mode="json", exclude_none=True), **CHANGES})


@pytest.mark.parametrize("law", [UniformDigits(6), UniformLengths(4)], ids=str)
def test_the_labels_are_the_carries_of_python_integers_and_whether_the_sum_is_longer(law) -> None:
    problems = draw(law, Split.TEST, count=500, track_seed=3)
    found = carries(problems)
    assert list(found) == [*(f"10^{column}" for column in range(1, problems.a.shape[1] + 1)), "longer"]
    for index, prompt in enumerate(problems.prompts()):
        a, b = map(int, prompt.rstrip("=").split("+"))
        for column in range(1, problems.a.shape[1] + 1):
            assert found[f"10^{column}"][index] == (a % 10**column + b % 10**column >= 10**column), prompt
        assert found["longer"][index] == (len(str(a + b)) > max(len(str(a)), len(str(b)))), prompt


def test_the_states_of_every_layer_are_those_that_a_model_of_so_many_layers_makes_its_logits_from(tmp_path) -> None:
    submission = make_submission(tmp_path)
    sets = {"train": training_problems(DEEP, 2), "test": fixed_suites(DEEP, 2)["test"]}
    trainer, data, _ = prepare(submission, DEEP, 2, 0, sets, torch.device("cpu"))
    test, model = data["test"], trainer.model
    states = states_of(trainer, test)
    assert states.shape == (DEEP.model.num_layers, len(test), test.answer_length, DEEP.model.d_model)
    batch = test.rows(44, 300)  # as many as a batch has, of two batches
    terms = trainer.positions.terms(batch.layout, training=False, generator=torch.Generator())
    for depth in range(1, DEEP.model.num_layers + 1):
        definition = DEEP.model.model_copy(update={"num_layers": depth})
        shallow = FrozenModel(definition, len(model.token_embedding), seed=0)
        own = model.state_dict()
        shallow.load_state_dict({name: own[name] for name in shallow.state_dict()})
        first = test.prompt_length - 1
        with torch.no_grad():
            logits = shallow(
                batch.token_ids[:, :-1], terms, first=first, dropout=NO_DROPOUT, embedding_dropout=NO_DROPOUT
            )
            read = model.norm(torch.from_numpy(states[depth - 1, 44:])) @ model.output_weight.T + model.output_bias
        torch.testing.assert_close(read, logits, rtol=0, atol=1e-5)


def test_a_probe_reads_a_direction_it_has_never_seen_noise_along_and_nothing_where_there_is_nothing() -> None:
    rng = np.random.default_rng(0)
    states, test = rng.standard_normal((2, 2000, 16), dtype=np.float32)
    direction = rng.standard_normal(16)
    told = accuracy(1000 * states + 5, states @ direction > 0, 1000 * test + 5, test @ direction > 0)
    assert told is not None
    assert told > 0.97
    guessed = accuracy(states, rng.random(2000) < 0.5, test, rng.random(2000) < 0.5)
    assert guessed == pytest.approx(0.5, abs=0.05)  # 4.5 standard deviations of 2000 guesses


def test_a_label_that_never_changes_is_not_probed() -> None:
    states = np.zeros((4, 2), np.float32)
    for label in (True, False):
        assert accuracy(states, np.full(4, label), states, np.array([True, False, True, False])) is None


def test_the_tables_have_a_line_a_layer_and_a_line_a_token() -> None:
    found = Probed(
        labels=["10^1", "longer"],
        commonest=[0.55, 0.6],
        untrained=[0.7, None],
        layers=[[0.8, 0.5], [0.9, 0.4]],
        positions=[[0.9, 0.4], [0.95, 1.0], [1.0, None]],
        num_fitted=2000,
        test=Score(correct=500, total=1000),
    )
    lines = [line.split("  ") for line in as_text(found, "mine").splitlines()]
    table = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert table[0] == ["mine: exact match 0.500 [0.469, 0.531] on test"]  # Wilson's interval of 500 of 1000
    assert ["layer 2, untrained", "0.700", "–"] in table
    assert [row for row in table if row[:1] == ["layer 2"]] == [["layer 2", "0.900", "0.400"]]
    assert table[-3:] == [
        ["at =", "0.900", "0.400"],
        ["after 1 token", "0.950", "1.000"],
        ["after 2 tokens", "1.000", "–"],
    ]


@pytest.mark.slow
def test_the_probed_model_is_the_recorded_one_and_another_number_of_digits_is_refused(tmp_path) -> None:
    write_folder(tmp_path, "one")
    write_folder(tmp_path, "dies", top="raise ValueError('no')")
    track = write_tiny(tmp_path / "deep.yaml", **CHANGES)
    assert harness(tmp_path, "run", "one", "--track", str(track)).returncode == 0
    done = harness(tmp_path, "probe", "one", "--track", str(track))
    assert done.returncode == 0, done.stderr
    record = record_of(tmp_path, "one", DEEP.name)
    assert record.suites is not None
    share = record.suites.test.correct / record.suites.test.total
    assert done.stdout.startswith(f"one on {DEEP.name}, 2 digits, seed 0: exact match {share:.3f} [")
    refused(
        harness(tmp_path, "probe", "one", "--track", str(track), "--digits", "7"),
        2,
        f"--digits 7: the track {DEEP.name} trains on 2; name one of these",
    )
    refused(harness(tmp_path, "probe", "dies", "--track", str(track)), 1, "ValueError: no")
