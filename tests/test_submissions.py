"""Folders and manifests: what is one, what is refused, and what moves the fingerprint; nothing is ever imported."""

import os
from pathlib import Path

import pytest
from made_records import make_submission
from pydantic import ValidationError

from harness.errors import SubmissionError, UsageError
from harness.hyperparameters import Hyperparameters
from harness.submissions import Broken, Submission, discover, loose_files, read_folder, same_code, select, the_one
from harness.track import TrainingDefinition

MANIFEST = "title: A title\nauthors: [Ada]\nsummary: One line.\n"
FROZEN = TrainingDefinition(problems=640, epochs=4)


def write_folder(root: Path, name: str = "one", manifest: str = MANIFEST, **files: str | bytes) -> Path:
    """A folder with `submission.yaml` and `files`, whose dots are spelt `_dot_` and slashes `_in_`."""
    folder = root / "submissions" / name
    folder.mkdir(parents=True)
    write(folder / "submission.yaml", manifest)
    for spelt, content in files.items():
        write(folder / spelt.replace("_dot_", ".").replace("_in_", "/"), content)
    return folder


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def read(folder: Path) -> Submission:
    found = read_folder(folder)
    assert isinstance(found, Submission), found
    return found


def fingerprint_of(folder: Path) -> str:
    found = read_folder(folder)
    assert isinstance(found, Submission), found
    return found.fingerprint


def refusal(folder: Path) -> str:
    found = read_folder(folder)
    assert isinstance(found, Broken)
    assert found.error.rule == "T00"
    assert str(found.error).isprintable()
    return found.error.message


def test_a_folder_with_a_manifest_and_code_is_a_submission_and_its_code_is_not_run(tmp_path):
    folder = write_folder(tmp_path, submission_dot_py=f"open({str(tmp_path / 'ran')!r}, 'w')")
    found = read(folder)
    assert (found.name, found.folder, found.division) == ("one", folder, "closed")
    assert found.manifest.tokenizer == "submission:Tokenizer"
    assert found.manifest.positions == "submission:PositionalEmbedding"
    assert not (tmp_path / "ran").exists()


def test_every_key_of_a_manifest_is_read(tmp_path):
    manifest = MANIFEST.replace("[Ada]", "[Ada, Élodie 🙂]") + (
        "tokenizer: parts.tokens:Pairs\npositions: parts:Rotated\nreference: https://arxiv.org/abs/2104.09864\n"
        "hyperparameters: {learning_rate: 8e-4, epochs: 2, warmup_steps: 10, weight_decay: 0, dropout: 0.1}\n"
    )
    found = read(write_folder(tmp_path, manifest=manifest)).manifest
    assert found.authors == ["Ada", "Élodie 🙂"]
    assert (found.tokenizer, found.positions) == ("parts.tokens:Pairs", "parts:Rotated")
    assert found.reference == "https://arxiv.org/abs/2104.09864"
    assert found.hyperparameters.set_values() == {
        "learning_rate": 8e-4,
        "epochs": 2,
        "warmup_steps": 10,
        "weight_decay": 0,
        "dropout": 0.1,
    }


@pytest.mark.parametrize("name", ["a", "a1_b", "x" * 40])
def test_names_of_lower_case_letters_digits_and_underscores_are_taken(tmp_path, name):
    assert read(write_folder(tmp_path, name)).name == name


@pytest.mark.parametrize(
    "name",
    ["A", "1a", "_a", "a-b", "a b", "a.b", "x" * 41, "é", "a\n", "a\nb", "a\x1b[31m", "<b>x", "a|b", "a::b", b"\xff"],
)
def test_other_names_are_refused_and_quoted_so_that_they_draw_nothing(tmp_path, name):
    folder = write_folder(tmp_path, os.fsdecode(name))
    assert "the folder's name is not a lower-case letter followed by up to 39 of a-z, 0-9 and _" in refusal(folder)
    shown = read_folder(folder).name
    assert shown.isprintable()
    assert len(shown) <= 60


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Müller", "'Müller'"),
        ("日本", "'日本'"),
        ("mu\u0308ller", "'mu\u0308ller'"),  # as macOS may write it
        ("a\u202eb", r"'a\u202eb'"),
        ("é\u200b\x1b", r"'é\u200b\x1b'"),
        ("é\u3164", r"'\xe9\u3164'"),
        ("é\ufe0f", r"'\xe9\ufe0f'"),
        ("e" + 4 * "\u0301", "'e" + 4 * r"\u0301" + "'"),
    ],
)
def test_a_name_is_shown_in_its_own_letters_unless_some_cannot_be_seen(tmp_path, name, shown):
    assert read_folder(write_folder(tmp_path, name)).name == shown


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("My Idea-2", "my_idea_2"),
        ("Ada.Lovelace", "ada_lovelace"),
        ("a" * 45, "a" * 40),
        ("1a", None),
        ("naïve", "naive"),
        ("日本", None),
    ],
)
def test_a_name_that_nearly_keeps_the_rules_is_answered_with_one_that_does(tmp_path, name, near):
    assert refusal(write_folder(tmp_path, name)).endswith(f"rename it, to {near} say" if near else "; rename it")


def test_a_file_that_cannot_be_read_breaks_its_folder_and_those_that_borrow_from_it(tmp_path, monkeypatch):
    """A stand-in for a file without the right to read it, since whoever runs the tests may be root."""
    lender = write_folder(tmp_path, "lender", submission_dot_py="class Tokenizer: pass")
    borrower = write_folder(tmp_path, "borrower", manifest=MANIFEST + "tokenizer: lender/submission:Tokenizer\n")
    read_bytes = Path.read_bytes

    def denied(path):
        if path == lender / "submission.py":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert "'submission.py' cannot be read: Permission denied; remove it or make it readable" in refusal(lender)
    assert "borrows from submissions/lender: 'submission.py' cannot be read" in refusal(borrower)


def test_a_folder_that_is_asked_for_alone_has_to_be_one_that_can_be_read(tmp_path):
    good = make_submission(tmp_path, "good")
    (tmp_path / "submissions" / "empty").mkdir()
    found = discover(tmp_path)
    assert the_one(found, "good") == good
    with pytest.raises(UsageError, match=r"submission\.yaml.*fix it first"):
        the_one(found, "empty")
    with pytest.raises(UsageError, match="gone"):
        the_one(found, "gone")


def test_a_missing_manifest_is_refused(tmp_path):
    folder = write_folder(tmp_path)
    (folder / "submission.yaml").unlink()
    assert refusal(folder) == "holds no submission.yaml; copy that of another folder, or start with `harness new`"


@pytest.mark.parametrize(
    ("instead", "remedy"),
    [
        ("submission.yml", "rename 'submission.yml'"),
        ("Submission.yaml", "rename 'Submission.yaml'"),
        ("nested/submission.yaml", "move everything in 'nested/' up into this folder"),
    ],
)
def test_a_manifest_under_another_name_or_too_deep_is_named(tmp_path, instead, remedy):
    folder = write_folder(tmp_path)
    (folder / instead).parent.mkdir(exist_ok=True)
    (folder / "submission.yaml").rename(folder / instead)
    assert refusal(folder) == f"holds no submission.yaml; {remedy}"


def test_a_folder_with_nothing_but_a_notebook_is_told_where_its_classes_belong(tmp_path):
    folder = tmp_path / "submissions" / "mine"
    folder.mkdir(parents=True)
    (folder / "Idea.ipynb").write_text("{}")
    remedy = "start with `harness new` and copy the classes from 'Idea.ipynb' into its submission.py"
    assert refusal(folder) == f"holds no submission.yaml; {remedy}"


def test_files_that_an_editor_or_the_system_left_are_passed_over(tmp_path):
    folder = write_folder(tmp_path)
    before = fingerprint_of(folder)
    (folder / ".DS_Store").write_bytes(b"\xff\x00")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "submission.py").write_text("other")
    assert fingerprint_of(folder) == before


def test_what_lies_beside_the_folders_is_named(tmp_path):
    write_folder(tmp_path)
    for name in ("anna.zip", "loose.py", ".hidden", "README.md"):
        (tmp_path / "submissions" / name).write_bytes(b"PK")
    assert loose_files(tmp_path) == ["anna.zip", "loose.py"]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("title: A title\n", "", "`title` is missing; allowed keys: title, authors, summary, tokenizer, positions"),
        ("authors: [Ada]\n", "", "`authors` is missing; allowed keys:"),
        ("summary: One line.\n", "", "`summary` is missing; allowed keys:"),
        ("[Ada]", "[Ada]\nscore: 1.0", "line 3: unknown key `score`; allowed: title, authors"),
        (
            "[Ada]",
            "[Ada]\nhyperparameters: {batch_size: 1}",
            "line 3: unknown key `hyperparameters.batch_size`; allowed:",
        ),
        ("[Ada]", "[]", "line 2: `authors`: List should have at least 1 item"),
        ("[Ada]", "Ada", "line 2: `authors`: Input should be a valid list; put it in brackets, [like this], got 'Ada'"),
        ("[Ada]", "[3]", "line 2: `authors.0`: Input should be a valid string; put it in quotes, got 3"),
        ("[Ada]", '["Ada\\nEve"]', "line 2: `authors.0`: holds a line break or a control character"),
        ("A title", '""', "line 1: `title`: String should have at least 1 character"),
        ("A title", "x" * 81, "line 1: `title`: String should have at most 80 characters"),
        ("A title", '"\\e[31mred"', "line 1: `title`: holds a line break or a control character"),
        ("A title", '"two\\nlines"', "line 1: `title`: holds a line break or a control character"),
        ("A title", '"\\u202Eright to left"', "line 1: `title`: holds a line break or a control character"),
        ("A title", '"\\u2028"', "line 1: `title`: holds a line break or a control character"),
        ("One line.", '"\\a"', "line 3: `summary`: holds a line break or a control character"),
        ("One line.", "x" * 401, "line 3: `summary`: String should have at most 400 characters"),
        (
            "One line.",
            "x\ntokenizer: os.system",
            "line 4: `tokenizer`: should be module:Class, such as submission:Characters, or",
        ),
        (
            "One line.",
            "x\ntokenizer: ../evil:T",
            "line 4: `tokenizer`: should be module:Class, such as submission:Characters, or",
        ),
        ("One line.", "x\npositions: 'a:B;c'", "line 4: `positions`: should be module:Class, such as"),
        (
            "One line.",
            "x\nreference: javascript:alert(1)",
            "line 4: `reference`: should be an address that begins with",
        ),
        (
            "One line.",
            'x\nreference: "https://x\\e[31m"',
            "line 4: `reference`: should be an address that begins with",
        ),
        (
            "One line.",
            "x\nreference: 'https://x\"><script>'",
            "line 4: `reference`: should be an address that begins with",
        ),
        (
            "One line.",
            "x\nhyperparameters: {learning_rate: 2}",
            "line 4: `hyperparameters.learning_rate`: Input should be",
        ),
        ("One line.", "x\nhyperparameters: {epochs: 0}", "line 4: `hyperparameters.epochs`: Input should be greater"),
        ("One line.", "x\nhyperparameters: {epochs: 1.5}", "line 4: `hyperparameters.epochs`: Input should be a valid"),
        ("One line.", "x\nhyperparameters: {dropout: 1}", "line 4: `hyperparameters.dropout`: Input should be less"),
    ],
)
def test_a_wrong_manifest_is_refused_with_line_and_remedy(tmp_path, old, new, what):
    assert old in MANIFEST
    message = refusal(write_folder(tmp_path, manifest=MANIFEST.replace(old, new)))
    assert message.startswith("submission.yaml: line ")
    assert what in message


def test_html_in_a_title_is_text_that_the_boards_escape(tmp_path):
    title = "<script>alert(1)</script> | **x**"
    assert read(write_folder(tmp_path, manifest=MANIFEST.replace("A title", title))).manifest.title == title


def test_hyperparameters_open_the_division_and_none_leave_it_closed(tmp_path):
    for name, manifest, division in (
        ("one", MANIFEST + "hyperparameters: {dropout: 0.0}\n", "open"),
        ("two", MANIFEST + "hyperparameters: {}\n", "closed"),
    ):
        assert read(write_folder(tmp_path, name, manifest)).division == division


def test_a_training_takes_what_the_submission_sets_and_keeps_the_rest(tmp_path):
    set_itself = "hyperparameters: {epochs: 2, learning_rate: 0.01, dropout: 0.3}\n"
    training = read(write_folder(tmp_path, manifest=MANIFEST + set_itself)).training(FROZEN)
    assert training == TrainingDefinition(problems=640, epochs=2, learning_rate=0.01)
    assert training.num_steps == 640 // 64 * 2


def test_a_closed_submission_trains_exactly_as_the_track_says(tmp_path):
    assert make_submission(tmp_path, "one").training(FROZEN) == FROZEN


def test_more_epochs_than_the_track_gives_are_refused(tmp_path):
    greedy = read(write_folder(tmp_path, manifest=MANIFEST + "hyperparameters: {epochs: 5}\n"))
    with pytest.raises(SubmissionError, match=r"T00: hyperparameters\.epochs is 5, the track \w+ 4"):
        greedy.training(FROZEN)


def test_hyperparameters_cannot_be_changed_once_read():
    with pytest.raises(ValidationError):
        Hyperparameters().epochs = 3


def test_a_symbolic_link_in_place_of_a_folder_is_refused(tmp_path):
    folder = write_folder(tmp_path)
    (folder.parent / "two").symlink_to(folder)
    assert refusal(folder.parent / "two") == "is a symbolic link; put the folder itself into submissions/"


@pytest.mark.parametrize("target", ["/etc/passwd", "submission.yaml", "missing", ".", "/"])
def test_a_symbolic_link_inside_a_folder_is_refused(tmp_path, target):
    folder = write_folder(tmp_path)
    (folder / "link").symlink_to(target)
    assert refusal(folder) == "'link' is not a regular file; only text files and folders are allowed"


def test_a_manifest_that_is_a_symbolic_link_is_refused(tmp_path):
    folder = write_folder(tmp_path)
    (folder / "submission.yaml").rename(tmp_path / "elsewhere.yaml")
    (folder / "submission.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    assert "'submission.yaml' is not a regular file" in refusal(folder)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    folder = write_folder(tmp_path)
    os.mkfifo(folder / "pipe")
    assert refusal(folder) == "'pipe' is not a regular file; only text files and folders are allowed"


def test_64_kib_are_taken_and_a_byte_more_is_refused(tmp_path):
    room = 64 * 1024 - len(MANIFEST)
    assert read(write_folder(tmp_path, "one", a_dot_py="#" * (room - 1), b_in_c_dot_py="#"))
    message = refusal(write_folder(tmp_path, "two", a_dot_py="#" * (room - 1), b_in_c_dot_py="##"))
    assert message.startswith("holds more than 64 KiB, with 'b/c.py'; keep only the code")


def test_a_huge_file_is_refused_by_its_size_without_being_read(tmp_path):
    folder = write_folder(tmp_path)
    with (folder / "weights.txt").open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room on the disk, and would take all memory
    assert "holds more than 64 KiB" in refusal(folder)


def test_64_files_are_taken_and_one_more_is_refused(tmp_path):
    folder = write_folder(tmp_path, **{f"f{number}_dot_py": "" for number in range(63)})
    assert read(folder)
    write(folder / "one_more.py", "")
    assert refusal(folder) == "holds more than 64 files, with 'submission.yaml'; keep only the code"


@pytest.mark.parametrize("content", [b"\x80\x04\x95", b"\xff\xfe", b"PK\x03\x04\xff"])
def test_a_binary_file_is_refused(tmp_path, content):
    message = refusal(write_folder(tmp_path, weights_dot_bin=content))
    assert message == "'weights.bin' is not UTF-8 text; save it as UTF-8, or remove it if it is not text"


def test_a_hostile_file_name_is_quoted_in_the_refusal(tmp_path):
    folder = write_folder(tmp_path)
    write(folder / "\x1b[31m\n::error::.bin", b"\xff")
    assert refusal(folder).startswith(r"'\x1b[31m\n::error::.bin' is not UTF-8 text")


def test_a_file_name_that_is_no_text_does_not_hide_the_other_submissions(tmp_path):
    folder = write_folder(tmp_path)
    write_folder(tmp_path, "two")
    write(folder / os.fsdecode(b"\xff.py"), "")
    assert [entry.name for entry in discover(tmp_path)] == ["one", "two"]


def test_a_folder_that_cannot_be_read_to_its_end_is_refused_and_does_not_hide_the_others(tmp_path):
    folder = write_folder(tmp_path)
    write_folder(tmp_path, "two")
    here = os.open(folder, os.O_RDONLY)
    for _ in range(20):  # paths longer than the system takes: permissions would not stop root
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    first, second = discover(tmp_path)
    assert isinstance(first, Broken)
    assert "cannot be read: File name too long; remove it" in first.error.message
    assert len(first.error.message) < 200
    assert isinstance(second, Submission)


def fingerprint(root: Path, name: str, **files: str | bytes) -> str:
    return read_folder(write_folder(root / name, **files)).fingerprint


def test_the_fingerprint_is_of_names_and_contents_and_not_of_the_folders_place(tmp_path):
    files = {"submission_dot_py": "x = 1\n", "parts_in_tokens_dot_py": "y = 2\n"}
    assert fingerprint(tmp_path, "here", **files) == fingerprint(tmp_path, "there", **files)


def test_the_fingerprint_moves_with_any_byte(tmp_path):
    content = b"x = 1\n"
    texts = [content] + [content[:at] + b"#" + content[at + 1 :] for at in range(len(content))] + [content + b"\n", b""]
    found = {fingerprint(tmp_path, str(number), code_dot_py=text) for number, text in enumerate(texts)}
    assert len(found) == len(texts)


def test_the_fingerprint_moves_with_any_name_and_with_what_lies_where(tmp_path):
    variants: list[dict[str, str]] = [
        {},
        {"a_dot_py": ""},
        {"b_dot_py": ""},
        {"a_dot_py": "", "b_dot_py": ""},
        {"a_in_b_dot_py": ""},
        {"a_dot_py": "1", "b_dot_py": "2"},
        {"a_dot_py": "2", "b_dot_py": "1"},
        {"a_dot_py": "12", "b_dot_py": ""},
        {"a_dot_py": "", "b_dot_py": "12"},
        {"a_dot_py": "1b.py2"},
        {"a_dot_py": "4/b.py/0/"},
    ]
    assert len({fingerprint(tmp_path, str(number), **files) for number, files in enumerate(variants)}) == len(variants)


def test_the_fingerprint_moves_with_what_of_the_manifest_can_move_a_score(tmp_path):
    lines = [
        "",
        "tokenizer: submission:Other\n",
        "positions: submission:Other\n",
        "hyperparameters: {epochs: 2}\n",
        "hyperparameters: {epochs: 3}\n",
    ]
    folders = [write_folder(tmp_path, f"n{number}", manifest=MANIFEST + line) for number, line in enumerate(lines)]
    assert len({read(folder).fingerprint for folder in folders}) == len(lines)


def test_words_for_people_move_no_fingerprint_and_reach_no_host(tmp_path):
    one = read(write_folder(tmp_path, "one", README_dot_md="An idea."))
    two = read(write_folder(tmp_path, "two", manifest=MANIFEST.replace("A title", "Another"), README_dot_md="Better."))
    assert one.fingerprint == two.fingerprint
    assert dict(one.tokenizer.files) == dict(one.positions.files) == {}


def test_a_class_can_be_borrowed_from_another_folder_whose_code_then_counts(tmp_path):
    lender = write_folder(tmp_path, "lender", tokens_dot_py="x = 1\n", README_dot_md="Words.")
    manifest = MANIFEST + "tokenizer: lender/tokens:Pairs\n"
    borrower = read(write_folder(tmp_path, "borrower", manifest=manifest, submission_dot_py="y = 1\n"))
    assert (borrower.tokenizer.folder, borrower.tokenizer.entry_point) == (lender, "tokens:Pairs")
    assert dict(borrower.tokenizer.files) == {"tokens.py": b"x = 1\n"}
    assert (borrower.positions.folder, borrower.positions.entry_point) == (
        tmp_path / "submissions" / "borrower",
        "submission:PositionalEmbedding",
    )
    assert dict(borrower.positions.files) == {"submission.py": b"y = 1\n"}
    write(lender / "README.md", "Other words.")
    assert read(borrower.folder).fingerprint == borrower.fingerprint
    write(lender / "tokens.py", "x = 2\n")
    assert read(borrower.folder).fingerprint != borrower.fingerprint


def test_a_lender_need_not_be_a_whole_submission_but_its_files_keep_the_rules(tmp_path):
    manifest = MANIFEST + "positions: lender/parts:Table\n"
    borrower = write_folder(tmp_path, "borrower", manifest=manifest)
    assert refusal(borrower) == (
        "submission.yaml: `positions` borrows from submissions/lender, and there is no such folder; "
        "copy it in, or name one of `harness list`"
    )
    lender = tmp_path / "submissions" / "lender"
    lender.symlink_to(borrower)
    assert "there is no such folder" in refusal(borrower)
    lender.unlink()
    write(lender / "parts.py", b"\xff")
    assert "`positions` borrows from submissions/lender: 'parts.py' is not UTF-8 text" in refusal(borrower)
    write(lender / "parts.py", "z = 1\n")
    assert dict(read(borrower).positions.files) == {"parts.py": b"z = 1\n"}


@pytest.mark.parametrize("entry_point", ["../one/submission:Tokenizer", "/submission:Tokenizer", "a/b/c:D", "A/b:C"])
def test_a_class_is_borrowed_by_a_folders_name_and_not_by_a_path(tmp_path, entry_point):
    assert "`tokenizer`: " in refusal(write_folder(tmp_path, manifest=MANIFEST + f"tokenizer: {entry_point}\n"))


def test_byte_code_caches_move_no_fingerprint(tmp_path):
    folder = write_folder(tmp_path, submission_dot_py="x = 1\n")
    before = read(folder).fingerprint
    write(folder / "__pycache__" / "submission.cpython-311.pyc", b"\xa7\r\r\n")
    write(folder / "parts" / "__pycache__" / "tokens.cpython-311.pyc", b"\xa7\r\r\n" + bytes(100_000))
    assert read(folder).fingerprint == before


def test_discover_finds_folders_by_name_and_passes_over_files_and_hidden_ones(tmp_path):
    for name in ("b", "a", "Bad", ".hidden", "__pycache__"):
        write_folder(tmp_path, name)
    write(tmp_path / "submissions" / "README.md", "")
    found = discover(tmp_path)
    assert [(entry.name, type(entry)) for entry in found] == [("'Bad'", Broken), ("a", Submission), ("b", Submission)]


def test_discover_says_where_submissions_should_be(tmp_path):
    with pytest.raises(UsageError, match=r"no folder .*/submissions; run where `submissions/` is, or give"):
        discover(tmp_path)
    (tmp_path / "submissions").mkdir()
    with pytest.raises(UsageError, match=r"submissions holds no folder; start one with `harness new NAME`"):
        discover(tmp_path)


def test_folders_with_the_same_code_and_settings_are_named_together_whatever_they_say_of_themselves(tmp_path):
    write_folder(tmp_path, "one", submission_dot_py="X = 1\n")
    write_folder(tmp_path, "copy", MANIFEST.replace("Ada", "Ben"), submission_dot_py="X = 1\n", README_dot_md="Mine")
    write_folder(tmp_path, "tuned", MANIFEST + "hyperparameters: {dropout: 0.2}\n", submission_dot_py="X = 1\n")
    write_folder(tmp_path, "other", submission_dot_py="X = 2\n")
    write_folder(tmp_path, "broken", "title: 3\n")
    write_folder(tmp_path, "broken_too", "title: 3\n")
    write_folder(tmp_path, "windows", submission_dot_py="X = 1\r\n")
    assert same_code(discover(tmp_path)) == [["copy", "one", "windows"]]


def test_two_long_names_that_are_none_stay_two(tmp_path):
    names = {"An idea " + "of mine " * 9 + end for end in ("one", "two")}
    for name in names:
        write_folder(tmp_path, name)
    shown = {entry.name for entry in discover(tmp_path)}
    assert len(shown) == 2
    assert all(len(name) <= 60 and name.startswith("'An idea of mine") for name in shown)


def test_select_keeps_the_order_of_the_folders_and_takes_all_where_none_is_named(tmp_path):
    found = [make_submission(tmp_path, name) for name in ("a", "b", "c")]
    assert select(list(found), []) == found
    assert [entry.name for entry in select(list(found), ["c", "a", "c"])] == ["a", "c"]


def test_select_names_every_unknown_name_and_those_that_there_are(tmp_path):
    with pytest.raises(UsageError) as caught:
        select([make_submission(tmp_path, "b"), make_submission(tmp_path, "a")], ["x", "a", "\x1by"])
    assert str(caught.value) == r"no submissions 'x', '\x1by'; there are: a, b"


def test_of_many_submissions_an_unknown_name_is_told_twelve(tmp_path):
    found = [make_submission(tmp_path, f"s{number:02}") for number in range(15)]
    with pytest.raises(UsageError, match=r"there are: s00, .*, s11, and 3 more \(`harness list`\)$"):
        select(list(found), ["nobody"])


def test_a_name_may_be_a_path_as_a_shell_completes_it_and_a_misspelt_one_gets_its_neighbours(tmp_path):
    found = [make_submission(tmp_path, "reversed_rope"), make_submission(tmp_path, "padded_learned")]
    assert select(found, ["submissions/reversed_rope/"]) == found[:1]
    with pytest.raises(UsageError, match=r"no submission 'reversed_roep'; did you mean reversed_rope\? there are"):
        select(found, ["submissions/reversed_roep"])


def test_a_file_of_a_folder_is_answered_with_the_name_of_the_folder(tmp_path):
    found = [make_submission(tmp_path, "reversed_rope"), make_submission(tmp_path, "padded_learned")]
    for path in ("reversed_rope/submission.py", str(tmp_path / "submissions" / "reversed_rope" / "submission.yaml")):
        with pytest.raises(UsageError, match=r"did you mean reversed_rope\? there are"):
            select(list(found), [path])


def test_a_name_is_not_answered_with_one_that_only_ends_alike(tmp_path):
    with pytest.raises(UsageError, match="no submission 's02_no_eos'; there are: s21_no_super"):
        select([make_submission(tmp_path, "s21_no_super")], ["s02_no_eos"])


def test_a_folder_can_be_named_by_the_path_that_leads_to_it_from_here(tmp_path, monkeypatch):
    found = [make_submission(tmp_path / "class", name) for name in ("one", "two")]
    (tmp_path / "link").symlink_to(tmp_path / "class")
    for here, path in (
        (tmp_path, "class/submissions/two/"),
        (tmp_path, "link/submissions/two"),
        (tmp_path / "class" / "submissions", "./two"),
        (tmp_path / "class" / "submissions" / "two", "."),
    ):
        monkeypatch.chdir(here)
        assert select(list(found), [path]) == found[1:]
    with pytest.raises(UsageError, match="no submission 'elsewhere/submissions/two'; did you mean two"):
        select(list(found), ["elsewhere/submissions/two"])


def test_a_link_that_leads_to_itself_names_no_folder(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=r"no submission '.*loop'; there are: one"):
        select([make_submission(tmp_path, "one")], [str(tmp_path / "loop")])


def test_a_folder_whose_name_breaks_the_rules_can_be_named_all_the_same(tmp_path):
    (tmp_path / "submissions" / "MyIdea").mkdir(parents=True)
    (broken,) = discover(tmp_path)
    assert select([broken], ["MyIdea"]) == [broken]
