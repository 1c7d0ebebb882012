"""Tracks: the built-in ones load, wrong ones are refused with line and remedy, every number moves the fingerprint."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_records import make_track
from pydantic import BaseModel

from harness.errors import TrackError, UsageError
from harness.track import BUILT_IN, ModelDefinition, Track, TrainingDefinition, built_in_names, load_track

GOOD = """\
name: mine
summary: A track of the tests.
seed: 1
digits: [2]
seeds: [0]
training: {problems: 640, epochs: 2}
evaluation: {fresh: 10, test: 10}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def refusal(file: Path, text: str | bytes) -> str:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TrackError) as caught:
        load_track(str(file))
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    return message.removeprefix(f"{file}: ")


def test_there_are_the_tracks_that_people_know():
    assert built_in_names() == ["length", "notebook", "quick", "quick-length", "quick-seeds", "smoke", "standard"]


@pytest.mark.parametrize("name", built_in_names())
def test_every_built_in_track_loads_under_its_files_name(name):
    assert load_track(name).name == name
    assert load_track(str(BUILT_IN / f"{name}.yaml")) == load_track(name)


@pytest.mark.parametrize("name", built_in_names())
def test_every_built_in_track_freezes_the_notebooks_model_and_optimiser(name):
    track = load_track(name)
    model = track.model
    assert (model.d_model, model.num_heads, model.head_dim, model.num_layers, model.feedforward) == (128, 16, 8, 8, 64)
    assert (track.training.learning_rate, track.training.weight_decay) == (8e-4, 0.01)
    # Batch size, warm-up, cool-down; the notebook's rate is constant.
    expected = {"quick": (32, 50, 300), "quick-seeds": (32, 50, 300)}
    expected |= {"length": (64, 200, 23800), "quick-length": (64, 100, 2599)}
    training = track.training
    assert (training.batch_size, training.warmup_steps, training.cooldown_steps) == expected.get(name, (64, 0, 0))
    assert model.dropout == (0.1 if name == "notebook" else 0.0)


def test_the_notebook_track_trains_and_tests_on_the_notebooks_64000_problems():
    track = load_track("notebook")
    assert (track.training.problems, track.evaluation.test) == (57_600, 6_400)
    assert (track.training.epochs, track.training.batch_size, track.training.num_steps) == (4, 64, 3600)


def test_standard_is_the_notebook_without_dropout():
    standard, notebook = load_track("standard").model_dump(), load_track("notebook").model_dump()
    differing = {key for key in standard if standard[key] != notebook[key]}
    assert differing == {"name", "summary", "model"}
    assert standard["model"] == notebook["model"] | {"dropout": 0.0}


def test_a_trial_of_quick_seeds_is_a_trial_of_quick():
    quick, seeds = load_track("quick"), load_track("quick-seeds")
    assert (quick.fingerprint, quick.digits) == (seeds.fingerprint, seeds.digits)
    assert (quick.seeds, seeds.seeds) == ([0], [0, 1, 2, 3, 4])


def test_only_smoke_is_not_ranked():
    assert [name for name in built_in_names() if not load_track(name).ranked] == ["smoke"]


def test_a_good_file_is_a_track_with_the_defaults_of_the_frozen_model(file):
    file.write_text(GOOD)
    assert load_track(str(file)) == make_track(
        seed=1,
        digits=[2],
        seeds=[0],
        training=TrainingDefinition(problems=640, epochs=2),
        evaluation={"fresh": 10, "test": 10},
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        (
            "digits: [2]",
            "digit: [2]",
            4,
            "unknown key `digit`; did you mean `digits`? allowed: name, summary, ranked, seed, digits, longest",
        ),
        ("epochs: 2", "epochs: 2, optimizer: sgd", 6, "unknown key `training.optimizer`; allowed: problems, epochs"),
        ("seed: 1\n", "", 1, "`seed` is missing; allowed keys: name"),
        ("digits: [2]", "digits: [0]", 4, "`digits.0`: Input should be greater than or equal to 1, got 0"),
        ("digits: [2]", "digits: [51]", 4, "`digits.0`: Input should be less than or equal to 50, got 51"),
        ("digits: [2]", "digits: []", 4, "`digits`: List should have at least 1 item"),
        (
            "digits: [2]",
            "digits: 2",
            4,
            "`digits`: Input should be a valid list; put it in brackets, [like this], got 2",
        ),
        ("digits: [2]", "digits: [2.5]", 4, "`digits.0`: Input should be a valid integer, got 2.5"),
        ("digits: [2]", "digits: [true]", 4, "`digits.0`: Input should be a valid integer, got True"),
        ("digits: [2]", "digits: [3, 2, 3]", 4, "`digits`: names one twice; a trial is stored once, got [3, 2, 3]"),
        ("seeds: [0]", "seeds: [1, 1]", 5, "`seeds`: names one twice; a trial is stored once, got [1, 1]"),
        ("seeds: [0]", "seeds: [-1]", 5, "`seeds.0`: Input should be greater than or equal to 0, got -1"),
        ("seed: 1\n", "seed: 9223372036854775808\n", 3, "`seed`: Input should be less than 9223372036854775808"),
        ("epochs: 2", "epochs: -1", 6, "`training.epochs`: Input should be greater than or equal to 1, got -1"),
        ("problems: 640", "problems: 1000000000", 6, "`training.problems`: Input should be less than or equal to 1"),
        ("problems: 640", "problems: 650", 6, "every step has the same shape, so choose 640, say"),
        ("problems: 640", "problems: 10", 6, "every step has the same shape, so choose 64, say"),
        ("epochs: 2", "epochs: 2, learning_rate: 0", 6, "learning_rate`: Input should be greater than 0, got 0"),
        (
            "epochs: 2",
            "epochs: 2, learning_rate: fast",
            6,
            "Input should be a valid number; write it with a digit before the point",
        ),
        ("fresh: 10", "fresh: 0", 7, "`evaluation.fresh`: Input should be greater than or equal to 1, got 0"),
        ("fresh: 10", "fresh: 10, lengths: 5", None, "`longest`, `evaluation.lengths` and `evaluation.validation` go"),
        (
            "fresh: 10",
            "fresh: 10, validation: 5",
            None,
            "`longest`, `evaluation.lengths` and `evaluation.validation` go",
        ),
        (
            "epochs: 2",
            "epochs: 2, warmup_steps: 10, cooldown_steps: 11",
            6,
            "warmup_steps 10 and cooldown_steps 11 are more than the 20 steps that there are",
        ),
        ("seed: 1\n", "seed: 1\nlongest: 1\n", None, "longest 1 is below digits 2; test at least what is trained"),
        ("seed: 1\n", "seed: 1\nmodel: {num_heads: 3}\n", 4, "choose d_model a multiple of 2 * num_heads"),
        ("seed: 1\n", "seed: 1\nmodel: {dropout: 1.0}\n", 4, "`model.dropout`: Input should be less than 1, got 1.0"),
        ("digits: [2]", "digits: &two [2]\nseeds: *two", 5, "aliases are not allowed; write the value out"),
        ("seeds: [0]", "seeds: [0]\nseeds: [1]", 6, "the key 'seeds' appears twice; keep one"),
        ("seed: 1\n", "seed:1\n", "3 to 4", "expected ':'; a line is a key, a colon, a space and a value"),
        (
            "seed: 1\n",
            "summary: a: b\n",
            3,
            "not allowed here; put text that holds a colon in quotes, and a space after",
        ),
        ("seed: 1\n", "\tseed: 1\n", 3, "cannot start any token; write spaces, not a tab"),
        ("seeds: [0]", "seeds: [0", "5 to 6", "not the YAML that is read here: expected ',' or ']'"),
        (
            "name: mine",
            "name: Mine!",
            1,
            "`name`: should be a lower-case letter and up to 39 of a-z, 0-9, _ and -, got",
        ),
        ("name: mine", "name: ../mine", 1, "`name`: should be a lower-case letter and"),
        ("tests.", 'tests.\n  "quoted"\nseed: 2', 5, "the key 'seed' appears twice; keep one"),
        ("A track of the tests.", '"\\e[31m"', 2, "`summary`: holds a line break or a control character"),
    ],
)
def test_a_wrong_file_is_refused_with_the_line_and_the_remedy(file, old, new, line, what):
    assert old in GOOD
    message = refusal(file, GOOD.replace(old, new, 1))
    place = "^" if line is None else rf"\blines? {line}: .*?"  # the whole, rather than a key, has no line of its own
    assert re.search(place + re.escape(what), message)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (GOOD + "#" * 16_384, "is larger than 16 KiB; keep it to the keys that are allowed"),
        (GOOD.replace("tests", "t\u00e9sts").encode("latin-1"), "is not UTF-8 text (byte 36); save it as UTF-8"),
        (
            "- name: mine\n",
            "holds a list, no keys; write one `key: value` per line; allowed keys: name, summary, ranked",
        ),
        ("", "is empty; write one `key: value` per line; allowed keys: name, summary, ranked, seed"),
        ("name: !!python/object/apply:os.getcwd []\n", "line 1: not the YAML that is read here: the tag"),
    ],
)
def test_a_file_that_is_no_page_of_keys_is_refused_with_what_to_do(file, text, what):
    assert refusal(file, text).startswith(what)


@pytest.mark.parametrize("name", built_in_names())
def test_a_built_in_name_is_refused_to_another_definition_and_granted_to_the_same(file, name):
    message = refusal(file, GOOD.replace("name: mine", f"name: {name}"))
    assert message == f"the name '{name}' is taken by a built-in track; choose another `name`"
    file.write_text((BUILT_IN / f"{name}.yaml").read_text())
    assert load_track(str(file)) == load_track(name)


def test_an_unknown_name_is_refused_with_those_that_there_are():
    with pytest.raises(
        UsageError,
        match=r"no track 'quack'; built in: length, notebook, quick, .*quick-seeds, smoke, standard; or give the path",
    ):
        load_track("quack")


def test_a_missing_file_is_refused_with_the_names_that_there_are(tmp_path):
    with pytest.raises(UsageError, match=r"no track file at .*gone\.yaml; built in: length, notebook"):
        load_track(str(tmp_path / "gone.yaml"))


def test_a_folder_and_a_path_that_escapes_are_no_tracks(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    for name in (str(tmp_path / "folder.yaml"), "../tracks/quick", ""):
        with pytest.raises(UsageError):
            load_track(name)


def changes_of(model: BaseModel) -> list[dict[str, Any]]:
    """One change of each field, as nested updates."""
    found: list[dict[str, Any]] = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            found += [{name: value.model_copy(update=change)} for change in changes_of(value)]
        else:
            found.append({name: _other(value)})
    return found


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return [*value, 9]
    if isinstance(value, str):
        return value + " changed"
    return 20 if value is None else value + 1


LENGTHS = {"digits": [3], "longest": 8, "evaluation": {"fresh": 10, "test": 10, "lengths": 5, "validation": 5}}
CHANGES = [(track, change) for track in (make_track(), make_track(**LENGTHS)) for change in changes_of(track)]


@pytest.mark.parametrize(
    ("track", "change"), CHANGES, ids=[str(next(iter(change.items())))[:70] for _, change in CHANGES]
)
def test_the_fingerprint_moves_with_every_number_and_not_with_names_or_the_list_of_trials(track: Track, change):
    (name,) = change
    moves = track.model_copy(update=change).fingerprint != track.fingerprint
    assert moves == (name not in {"name", "summary", "ranked", "digits", "seeds"})


def test_every_field_of_a_track_was_changed_in_the_test_above():
    assert len(changes_of(make_track())) == 7 + 5 + 8 + 7


def test_length_tracks_are_others_than_when_every_prompt_was_as_wide_as_the_widest_of_its_suite():
    then = {"length": "82658c930c5e7469", "quick-length": "932f851e6c4a0e7f", "quick": "3cb7b06c537f74d8"}
    assert {name for name, fingerprint in then.items() if load_track(name).fingerprint == fingerprint} == {"quick"}


def test_built_in_tracks_differ_in_their_fingerprints():
    assert len({load_track(name).fingerprint for name in built_in_names()}) == 6


def test_a_fingerprint_is_the_same_however_the_file_is_written(file):
    file.write_text(GOOD)
    plain = load_track(str(file)).fingerprint
    lines = GOOD.replace("{problems: 640, epochs: 2}", "{epochs: 2, batch_size: 64, problems: 640}").splitlines()
    file.write_text("\n".join(["# the same", *reversed(lines)]))
    assert load_track(str(file)).fingerprint == plain


@pytest.mark.parametrize(("digits", "longest", "largest"), [(3, None, 3), (10, 20, 20), (10, 10, 10)])
def test_a_tokenizer_is_told_the_largest_number_of_digits_that_it_will_meet(digits, longest, largest):
    lengths = 5 if longest else 0
    evaluation = {"fresh": 10, "test": 10, "lengths": lengths, "validation": lengths}
    assert make_track(digits=[digits], longest=longest, evaluation=evaluation).max_digits(digits) == largest


@pytest.mark.parametrize(("d_model", "num_heads", "head_dim"), [(128, 16, 8), (8, 1, 8), (4, 2, 2)])
def test_a_head_has_an_equal_share_of_the_width(d_model, num_heads, head_dim):
    assert ModelDefinition(d_model=d_model, num_heads=num_heads).head_dim == head_dim


def test_what_a_track_is_written_as_reads_back_equal(file):
    for name in built_in_names():
        values = load_track(name).model_dump(mode="json") | {"name": "copy"}
        file.write_text(yaml.safe_dump(values))
        assert load_track(str(file)) == load_track(name).model_copy(update={"name": "copy"})
