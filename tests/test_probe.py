"""Linear probes: labels against integers, states against the model's own, answers against known ones."""

import re

import numpy as np
import pytest
import torch
from bad_folders import TINY, make_submission, write_folder, write_tiny
from commands import harness_here, refused
from made_records import HARNESS, make_record, make_track, save_all
from made_records import make_submission as make_any

from harness import probe as probes
from harness.audits.recoverable import columns
from harness.commands import probe as probe_command
from harness.commands.probe import as_text
from harness.decoding import Decoder
from harness.examples import Examples
from harness.model import NO_DROPOUT, FrozenModel
from harness.preparation import Job, Prepared, prepare
from harness.probe import MIN_OF_A_KIND, States, accuracies, carries, probe, states_of
from harness.probe_report import ProbeReport
from harness.records import Score
from harness.submissions import Submission
from harness.task import Split, UniformDigits, UniformLengths, draw, fixed_suites, fresh_problems, training_problems
from harness.track import Track
from harness.training import Trainer, train
from harness.trial import run_job

CHANGES: dict[str, object] = {
    "digits": [2],
    "model": {"d_model": 16, "num_heads": 2, "num_layers": 3, "feedforward": 16},
    "evaluation": {"fresh": 300, "test": 300, "curve": 8, "curve_points": 1},
}
DEEP = Track.model_validate({**TINY.model_dump(mode="json", exclude_none=True), **CHANGES})
LARGE = DEEP.model_copy(update={"evaluation": DEEP.evaluation.model_copy(update={"fresh": 3000, "test": 2000})})
"""With nearly every pair of two digits that `fresh` and `test` can draw."""


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


def prepared(submission: Submission, track: Track, device: str = "cpu") -> Prepared:
    sets = {"train": training_problems(track, 2), "test": fixed_suites(track, 2)["test"]}
    return prepare(Job(submission, track, 2, [0], torch.device(device)), sets)


def test_the_states_of_a_layer_are_what_a_model_of_so_many_layers_makes_its_logits_from(tmp_path) -> None:
    trainer, data, _ = prepared(make_submission(tmp_path), DEEP)
    test, model = data["test"], trainer.model
    states = states_of(trainer, test)
    batch = test.rows(44, 300)  # as many as a batch has, of two batches
    terms = trainer.positions.terms(batch.layout, training=False, generator=torch.Generator())
    own, first = model.state_dict(), test.prompt_length - 1
    for depth in range(1, DEEP.model.num_layers + 1):
        definition = DEEP.model.model_copy(update={"num_layers": depth})
        shallow = FrozenModel(definition, len(model.token_embedding), seed=0)
        shallow.load_state_dict({name: own[name] for name in shallow.state_dict()})
        with torch.no_grad():
            logits = shallow(
                batch.token_ids[:, :-1], terms, first=first, dropout=NO_DROPOUT, embedding_dropout=NO_DROPOUT
            )

            def read(found: np.ndarray) -> torch.Tensor:
                return model.norm(torch.from_numpy(found)) @ model.output_weight.T + model.output_bias

            torch.testing.assert_close(read(states.at_equals[depth - 1, 44:]), logits[:, 0], rtol=0, atol=1e-5)
            if depth == DEEP.model.num_layers:
                torch.testing.assert_close(read(states.last[:, 44:]).transpose(0, 1), logits, rtol=0, atol=1e-5)


@pytest.mark.gpu
def test_on_a_gpu_the_states_are_those_of_the_cpu(tmp_path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    submission = make_submission(tmp_path)
    one, other = (prepared(submission, DEEP, device) for device in ("cpu", "cuda"))
    for name in ("train", "test"):
        there, here = states_of(other.trainer, other.data[name]), states_of(one.trainer, one.data[name])
        np.testing.assert_allclose(there.at_equals, here.at_equals, rtol=0, atol=1e-4)
        np.testing.assert_allclose(there.last, here.last, rtol=0, atol=1e-4)


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_the_probed_training_is_that_of_a_trial_to_the_bit(tmp_path, averaging: float) -> None:
    training = {**DEEP.training.model_dump(), "averaging": averaging, "epochs": 3}
    track = Track.model_validate({**DEEP.model_dump(mode="json", exclude_none=True), "training": training})
    submission = make_submission(tmp_path)
    (record,) = run_job(submission, track, 2, [0], torch.device("cpu"), lambda progress: None)
    trainer, data, vocabulary = prepared(submission, track)
    losses: list[float] = []
    train([trainer], track.training.num_steps, lambda step, found: losses.extend(found or []))
    assert losses == [record.curve[-1].loss]
    decoder = Decoder(trainer.model, trainer.positions, pad_id=vocabulary.pad_id, eos_id=vocabulary.eos_id)
    forced = decoder.teacher_forced(data["test"].rows(0, track.evaluation.curve))
    assert forced.digit_accuracy == record.curve[-1].digit_accuracy > 0


def told_at(monkeypatch: pytest.MonkeyPatch, *, layer: int, token: int) -> None:
    """Makes states noise, but trained ones tell the carry into 10^1 in that layer, and `longer` after that token."""
    rng = np.random.default_rng(0)

    def made(trainer: Trainer, data: Examples) -> States:
        texts = ["".join(map(str, row)) for row in data.token_ids[:, : data.prompt_length].tolist()]
        size = (len(data), 16)
        at_equals = rng.standard_normal((3, *size)).astype(np.float32)
        last = rng.standard_normal((data.answer_length, *size)).astype(np.float32)
        if trainer.losses.any():  # after the training
            at_equals[layer, :, 0] += 100 * np.array([known[text][0] for text in texts])
            last[token, :, 0] += 100 * np.array([known[text][1] for text in texts])
        return States(at_equals, last)

    known: dict[str, tuple[bool, bool]] = {}
    for a in range(100):
        for b in range(100):
            ids = [12] * (6 - len(f"{a}+{b}=")) + ["0123456789+=".index(character) for character in f"{a}+{b}="]
            known["".join(map(str, ids))] = (a % 10 + b % 10 > 9, len(str(a + b)) > max(len(str(a)), len(str(b))))
    monkeypatch.setattr(probes, "states_of", made)


def test_what_the_states_tell_is_found_in_its_layer_and_after_its_token_and_nowhere_else(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_at(monkeypatch, layer=1, token=2)
    found = probe(make_submission(tmp_path), LARGE, 2, 0, torch.device("cpu"), lambda progress: None)
    assert found.labels == ["10^1", "10^2", "longer"]
    by_layer = np.array([found.trained, found.untrained], float)
    assert by_layer[0, 1, 0] > 0.98
    by_layer[0, 1, 0] = 0.5
    assert np.abs(by_layer[:, :, [0]] - 0.5).max() < 0.12
    by_token = np.array([found.trained_by_token[:3], found.untrained_by_token[:3]], float)
    assert by_token[0, 2, 2] > 0.98
    by_token[0, 2, 2] = 0.5
    assert np.abs(by_token[:, :, 2] - 0.5).max() < 0.12
    # A carry is a linear threshold of the digits; with one column below there is hardly more to it.
    assert found.digits[0] is not None
    assert found.digits[0] > 0.95
    assert found.test.total == LARGE.evaluation.test
    for line in (found.digits_passing, *found.trained_passing):
        assert [one is None for one in line] == [True, False, True]  # 10^1 has no column below; longer is no column


def test_probes_are_judged_on_problems_whose_ids_they_have_not_been_fitted_on(tmp_path) -> None:
    pairs = "a, b = (text.rstrip('=').split('+') + [''])[:2]\n"
    pairs += "return [CHARACTERS.index(c) for c in ('+'.join(sorted([a, b])) + '=' if b else a)]"
    found = probe(make_submission(tmp_path, encode=pairs), LARGE, 2, 0, torch.device("cpu"), lambda progress: None)
    fit, test = fresh_problems(LARGE, 2, 0), fixed_suites(LARGE, 2)["test"]
    kinds = [{tuple(sorted(prompt.rstrip("=").split("+"))) for prompt in one.prompts()} for one in (fit, test)]
    assert (found.num_fitted, found.num_judged) == (len(kinds[0]), len(kinds[1]))
    assert not kinds[0] & kinds[1]
    assert found.seen == 0


def test_a_probe_reads_a_direction_and_nothing_where_there_is_nothing_and_a_rare_carry_counts_as_much_as_none() -> None:
    rng = np.random.default_rng(0)
    states, test = rng.standard_normal((2, 2000, 16), dtype=np.float32)
    direction = rng.standard_normal(16)
    (told,) = accuracies(1000 * states + 5, 1000 * test + 5, {"x": states @ direction > 0}, {"x": test @ direction > 0})
    assert told is not None
    assert told > 0.97
    rare = {"x": rng.random(2000) < 0.05}, {"x": rng.random(2000) < 0.05}
    assert accuracies(states, test, *rare) == [pytest.approx(0.5, abs=0.15)]  # always "no" is right in 95 %


def test_a_label_with_too_few_of_a_kind_is_not_probed_and_neither_are_states_that_diverged() -> None:
    rng = np.random.default_rng(0)
    states = rng.standard_normal((200, 2), dtype=np.float32)
    enough, few = np.arange(200) < MIN_OF_A_KIND, np.arange(200) < MIN_OF_A_KIND - 1
    assert accuracies(states, states, {"x": few}, {"x": enough}) == [None]
    assert accuracies(states, states, {"x": enough}, {"x": few}) == [None]
    assert accuracies(states, states, {"x": enough}, {"x": enough})[0] is not None
    assert accuracies(states, states, {"x": enough}, {"x": enough}, {"x": few}) == [None]
    assert accuracies(states, states, {"x": enough}, {"x": enough}, {}) == [None]
    assert accuracies(np.full_like(states, np.nan), states, {"x": enough}, {"x": enough}) == [None]


FOUND = ProbeReport(
    labels=["10^1", "longer"],
    digits=[0.98, 0.96],
    untrained=[[0.6, 0.5], [0.7, None]],
    trained=[[0.8, 0.5], [0.9, 0.4]],
    digits_passing=[None, None],
    trained_passing=[[None, None], [None, None]],
    untrained_by_token=[[0.7, None], [0.71, 0.5], [0.72, None]],
    trained_by_token=[[0.9, 0.4], [0.95, 1.0], [1.0, None]],
    num_fitted=2000,
    num_judged=900,
    seen=0.25,
    test=Score(correct=500, total=1000),
)


def tables_of(text: str) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in text.splitlines()]


def test_the_tables_have_a_line_a_layer_and_two_a_token_and_none_of_what_no_problem_shows() -> None:
    text = as_text(FOUND, "mine", None)
    tables = tables_of(text)
    assert tables[0] == ["mine: exact match 0.500 [0.469, 0.531] on test"]  # Wilson's interval of 500 of 1000
    assert ["layer 2 untrained", "0.70", "–"] in tables
    assert next(row for row in tables if row[0] == "layer 2") == ["layer 2", "0.90", "0.40"]
    assert tables[-6:] == [
        ["at =", "0.90", "0.40"],
        ["at =, untrained", "0.70", "–"],
        ["after 1 token", "0.95", "1.00"],
        ["after 1 token, untrained", "0.71", "0.50"],
        ["after 2 tokens", "1.00", "–"],
        ["after 2 tokens, untrained", "0.72", "–"],
    ]
    assert "sum to nine" not in text
    shown = FOUND._replace(digits_passing=[None, 0.9], trained_passing=[[None, 0.8], [None, 0.7]])
    passing = as_text(shown, "mine", None).split("sum to nine")[1].split("\n\n")[1]
    assert tables_of(passing)[::2] == [["at =", "longer"], ["operands' digits", "0.90"], ["layer 2", "0.70"]]


def test_the_score_is_held_beside_that_of_the_record(tmp_path) -> None:
    record = make_record(make_any(tmp_path, "one"), make_track(digits=[3], seeds=[0]), 3, 0, 0.9)
    assert record.suites is not None
    assert (
        as_text(FOUND._replace(test=record.suites.test), "x", record)
        .splitlines()[0]
        .endswith("on test, as in its record")
    )
    was = record.suites.test
    assert f"on test, {was.correct} of {was.total} in its record" in as_text(FOUND, "x", record)


@pytest.mark.slow
def test_a_trial_is_probed_as_it_was_recorded_and_what_cannot_be_is_refused(tmp_path) -> None:
    write_folder(tmp_path, "one")
    write_folder(tmp_path, "dies", top="raise ValueError('no')")
    (tmp_path / "submissions" / "broken").mkdir()
    track = str(write_tiny(tmp_path / "deep.yaml", **CHANGES))
    assert harness_here(tmp_path, "run", "one", "--track", track).returncode == 0
    done = harness_here(tmp_path, "probe", "one", "--track", track)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"one on {DEEP.name}, 2 digits, seed 0: exact match ")
    assert " on test, as in its record\n" in done.stdout
    assert done.stderr.splitlines()[-1] == "[1/1] one: probed"
    trial = f"the track {DEEP.name} has"
    refused(harness_here(tmp_path, "probe", "one", "-t", track, "--digits", "7"), 2, f"--digits 7: {trial} 2; name one")
    refused(harness_here(tmp_path, "probe", "one", "-t", track, "--seed", "7"), 2, f"--seed 7: {trial} 0; name one")
    refused(harness_here(tmp_path, "probe", "broken", "-t", track), 2, "holds no submission.yaml", "fix it first")
    refused(harness_here(tmp_path, "probe", "dies", "-t", track), 1, "dies: breaks T00")


def test_a_carry_is_passed_on_where_the_digits_of_a_column_with_one_below_sum_to_nine() -> None:
    problems = draw(UniformDigits(4), Split.TEST, count=300, track_seed=3)
    found = probes._passing(problems)
    assert list(found) == ["10^2", "10^3", "10^4"]
    for index, prompt in enumerate(problems.prompts()):
        a, b = map(int, prompt.rstrip("=").split("+"))
        for power in (2, 3, 4):
            column = 10 ** (power - 1)
            assert found[f"10^{power}"][index] == (a // column % 10 + b // column % 10 == 9), prompt


def test_an_answer_goes_on_until_as_many_tokens_are_read_as_it_has_digits(tmp_path) -> None:
    _, data, vocabulary = prepared(make_submission(tmp_path), DEEP)
    num_digits = np.array([len(answer) for answer in fixed_suites(DEEP, 2)["test"].answers()])
    assert set(num_digits) == {2, 3}
    for num_read in range(4):
        goes_on = probes._goes_on(data["test"], num_read, (vocabulary.pad_id, vocabulary.eos_id))
        assert (goes_on == (num_read <= num_digits)).all()


def test_a_judged_problem_is_seen_if_its_ids_are_those_of_a_trained_one(tmp_path) -> None:
    """Unordered pairs of digits, column by column, of which a trained problem may have the same ids."""
    pairs = "a, b = (text.rstrip('=').split('+') + [''])[:2]\nwidth = max(len(a), len(b)) if b else 0\n"
    pairs += "told = ''.join(x for pair in zip(a.zfill(width), b.zfill(width)) for x in sorted(pair)) + '='\n"
    pairs += "return [CHARACTERS.index(character) for character in (told if b else a)]"
    track = LARGE.model_copy(update={"training": LARGE.training.model_copy(update={"problems": 2000})})
    found = probe(make_submission(tmp_path, encode=pairs), track, 2, 0, torch.device("cpu"), lambda progress: None)
    sets = (training_problems(track, 2), fresh_problems(track, 2, 0), fixed_suites(track, 2)["test"])
    trained, fitted, test = ({columns(prompt) for prompt in one.prompts()} for one in sets)
    judged = test - fitted
    assert found.num_judged == len(judged)
    assert 0 < found.seen == pytest.approx(len(judged & trained) / len(judged))


def test_a_record_of_other_code_is_not_held_beside_a_probe(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    track, one = make_track(digits=[3], seeds=[0]), make_any(tmp_path, "one")
    record = make_record(one, track, 3, 0, 0.9)
    save_all(tmp_path, [record])
    for fingerprint, expected in ((HARNESS, record.sealed()), ("another harness", None)):
        monkeypatch.setattr(probe_command, "harness_fingerprint", lambda fingerprint=fingerprint: fingerprint)
        assert probe_command._record(one, track, tmp_path / "results", 3, 0) == expected
