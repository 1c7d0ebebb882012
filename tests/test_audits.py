"""The audits: each rule catches a folder that breaks it, and passes its honest twin."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_folders import MANIFEST, make_submission, write_folder
from cheats.sources import COLUMNS, submission_of
from gallery import NAMES, with_distinct
from made_records import make_track

import harness.audits
from harness import encoding
from harness.audits import audit
from harness.audits.imports import check_imports
from harness.audits.positions import check_positions
from harness.audits.tokens import _each_with_one_changed, check_purity, check_tokenizer, judge_decode
from harness.commands.new import TEMPLATE, start_submission
from harness.errors import SubmissionError
from harness.host.client import Host, Role
from harness.rules import Finding, gate
from harness.submissions import Submission, read_folder
from harness.task import Split, UniformDigits, draw

SUBMISSIONS = Path(__file__).parents[1] / "submissions"


def read(folder: Path) -> Submission:
    found = read_folder(folder)
    assert isinstance(found, Submission), found
    return found


@pytest.mark.parametrize("folder", [TEMPLATE, SUBMISSIONS / "reversed_randomised"], ids=lambda folder: folder.name)
def test_no_audit_finds_anything_in_the_template_or_in_positions_that_draw(folder: Path) -> None:
    assert audit(read(folder)) == [Finding("T80", "tag", "positional")]


@pytest.mark.parametrize("name", with_distinct("tokenizer"))
def test_no_audit_finds_anything_in_a_worked_tokenizer(name: str) -> None:
    assert check_tokenizer(read(SUBMISSIONS / name)) == [Finding("T80", "tag", "positional")]


@pytest.mark.parametrize("name", with_distinct("positions"))
def test_no_audit_finds_anything_in_worked_positions(name: str) -> None:
    assert list(check_positions(read(SUBMISSIONS / name))) == []


def test_no_worked_submission_imports_what_is_not_allowed() -> None:
    assert {name for name in NAMES if list(check_imports(read(SUBMISSIONS / name)))} == set()


def test_what_is_found_alike_at_several_widths_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alike, other = gate("P40", "alike"), gate("P40", "another")
    monkeypatch.setattr(harness.audits, "check_tokenizer", lambda *_: [])
    monkeypatch.setattr(harness.audits, "check_positions", lambda *_: [alike, gate("P40", "alike"), other])
    assert audit(make_submission(tmp_path, "one")) == [alike, other]


def test_a_tokenizer_that_several_submissions_use_is_looked_at_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    monkeypatch.setattr(harness.audits, "check_tokenizer", lambda submission, _: looked.append(submission.name) or [])
    monkeypatch.setattr(harness.audits, "check_positions", lambda *_: [])
    make_submission(tmp_path, "lender")
    borrowed = MANIFEST.replace("tokenizer: submission:", "tokenizer: lender/submission:")
    for name in ("one", "other"):
        write_folder(tmp_path, name, manifest=borrowed, top=f"NAME = {name!r}")
    for name in ("one", "lender", "other", "lender"):
        audit(read(tmp_path / "submissions" / name))
    assert looked == ["one", "lender"]  # whose errors name no other folder
    audit(read(tmp_path / "submissions" / "one"), make_track(digits=[4]))
    (tmp_path / "submissions" / "lender" / "submission.py").write_text("# changed")
    audit(read(tmp_path / "submissions" / "other"))
    assert looked == ["one", "lender", "one", "other"]


def test_a_new_submission_is_valid_as_it_stands_and_so_is_a_copy_of_it(tmp_path: Path) -> None:
    start_submission(tmp_path, "first", None)
    for name, like in (("second", "first"), ("third", None)):
        submission = read_folder(start_submission(tmp_path, name, like))
        assert isinstance(submission, Submission)
        assert [finding.level for finding in check_tokenizer(submission)] == ["tag"]
        assert submission.manifest.title == name.capitalize()


def test_each_answer_gets_one_id_of_another_answer_of_its_length_unless_it_has_none() -> None:
    rows = [[1, 2], [1, 3], [4, 3], [1, 2], [5], [6, 7, 8], [6, 7, 8]]
    seen: set[tuple[int, ...]] = set()
    for seed in range(50):
        changed = _each_with_one_changed(rows, np.random.default_rng(seed))
        for row, other in zip(rows[:4], changed[:4], strict=True):
            (place,) = [index for index in range(2) if row[index] != other[index]]
            assert other[place] in {one[place] for one in rows[:4]}
        assert changed[4:] == rows[4:]
        seen.add(tuple(changed[0]))
    assert seen == {(1, 3), (4, 2)}


NINES, ODD = range(9, 209, 10), range(1, 41, 2)
NUMBERS = [str(number) for number in (*NINES, *ODD)]
PAIRS = [f"{a}+{b}=" for a, b in zip(NINES, ODD, strict=True)]
"""Each has a carry."""
SUMS = [str(a + b) for a, b in zip(NINES, ODD, strict=True)]
HONEST = {"answers": NUMBERS, "prompts": PAIRS, "both": ["121"] * 20, "garbage": ["7" * 64, ""]}
"""What an honest decoder writes; a text of 64 characters is still allowed."""


def judged(**texts: list[str]) -> list[str]:
    findings = judge_decode(NUMBERS, PAIRS, [[5, 5], [6, 6]], HONEST | texts)
    assert {(finding.rule, finding.level) for finding in findings} <= {("T30", "gate")}
    return [finding.message for finding in findings]


def test_an_honest_decoder_breaks_no_rule() -> None:
    assert judged() == []


def test_a_decoder_that_forgets_a_number_without_its_encoder_is_found_and_the_first_such_number_shown() -> None:
    (message,) = judged(answers=["9", "19", "0", "0", *NUMBERS[4:]])
    assert message.startswith("decode of the ids of '29' is '0' in a process that has not encoded it")


def test_a_decoder_that_makes_more_than_64_characters_of_garbage_is_found_and_its_ids_shown() -> None:
    (message,) = judged(garbage=["", "7" * 65])
    assert message.startswith("decode([6, 6]) gives 65 characters; at most 64 are allowed")


@pytest.mark.parametrize(("part", "what"), [("prompts", "a prompt"), ("both", "two numbers")])
def test_a_decoder_that_adds_is_found_but_not_one_that_hits_a_sum_in_one_of_twenty(part: str, what: str) -> None:
    others = HONEST[part]
    assert judged(**{part: [*others[:19], SUMS[19]]}) == []
    (message,) = judged(**{part: [*others[:18], *SUMS[18:]]})
    expected = f"decode of the ids of {what}, '189+37=', is the sum '226' in 2 of 20 cases with a carry"
    assert message.startswith(expected)


def test_sums_without_a_carry_may_come_out_of_digits_that_are_only_written_together() -> None:
    pairs = ["0+4=", "20+3=", "1+0=", "300+21="]
    texts = {"answers": [], "prompts": ["4", "23", "1", "321"], "both": ["04", "23", "1", "321"], "garbage": []}
    assert judge_decode([], pairs, [], texts) == []


def test_what_one_part_breaks_is_told_beside_what_the_others_do() -> None:
    messages = judged(answers=["0", *NUMBERS[1:]], garbage=["7" * 65, ""], prompts=SUMS, both=SUMS)
    shown = ["ids of '9' is '0'", "decode([5, 5]) gives 65", "ids of a prompt, '9+1='", "ids of two numbers, '9+1='"]
    assert [part in message for part, message in zip(shown, messages, strict=True)] == [True] * 4


BAD_TOKENIZERS = {
    "a vocabulary that grows with max_digits": (
        {"init": "self.vocab_size = 14 + max_digits"},
        "T00",
        "vocab_size is 17 at max_digits 3 and 34 at 20; the vocabulary must not depend on max_digits",
    ),
    "an id that changes its meaning with max_digits": (
        {
            "init": "self.eleven = '=' if max_digits < 10 else ''",
            "decode": "return ''.join([*CHARACTERS[:11], self.eleven, '', ''][i] for i in token_ids)",
        },
        "T00",
        "an id decodes differently at two max_digits",
    ),
    "an encoder that forgets all but three digits": (
        {"encode": "return [CHARACTERS.index(character) for character in text[:3]]"},
        "T10",
        "decode(encode('1000')) is '100' at max_digits 3, and",
    ),
    "an encoder that says the same of everything": ({"encode": "return [1]"}, "T10", "decode(encode('0')) is '1'"),
    "a decoder that writes leading zeros": (
        {"decode": "return ''.join(CHARACTERS[i] for i in token_ids if i < 12).zfill(2)"},
        "T10",
        "decode(encode('0')) is '00'",
    ),
    "prompts that change after 4000 calls": (
        {
            "init": "self.calls = 0",
            "encode": "self.calls += '=' in text\nids = [CHARACTERS.index(c) for c in text]\n"
            "return ids if self.calls < 4000 else ids[::-1]",
        },
        "T20",
        "after other texts, in another order; keep no state",
    ),
    "a second call that is longer": (
        {
            "init": "self.seen = set()",
            "encode": "ids = [CHARACTERS.index(c) for c in text]\n"
            "if text in self.seen and '=' in text:\n    ids += [0]\nself.seen.add(text)\nreturn ids",
        },
        "T20",
        "after other texts, in another order",
    ),
    "ids in the order of a set": (
        {
            "init": "self.order = ''.join({*CHARACTERS})",
            "encode": "return [self.order.index(character) for character in text]",
            "decode": "return ''.join(self.order[i] for i in token_ids if i < 12)",
        },
        "T20",
        "in another process; keep no state, draw no random numbers, depend on the order of no set",
    ),
    "answers drawn at random": (
        {
            "init": "self.vocab_size = 15",
            "encode": "import os\nids = [CHARACTERS.index(c) for c in text]\n"
            "return ids if '=' in text else ids + [14] * (os.urandom(1)[0] % 2)",
            "decode": "return ''.join(CHARACTERS[i] for i in token_ids if i < 12)",
        },
        "T20",
        "in another process; keep no state",
    ),
    "ids drawn at random": (
        {
            "encode": "import random\nids = [CHARACTERS.index(c) for c in text]\n"
            "if '=' in text:\n    random.shuffle(ids)\nreturn ids"
        },
        "T20",
        "in another process",
    ),
}


@pytest.mark.parametrize("case", BAD_TOKENIZERS)
def test_the_tokenizer_audits_catch(tmp_path: Path, case: str) -> None:
    bodies, rule, expected = BAD_TOKENIZERS[case]
    submission = make_submission(tmp_path, **bodies)
    findings = check_tokenizer(submission)
    assert {finding.rule for finding in findings} == {rule}
    assert {finding.level for finding in findings} == {"gate"}
    assert expected in " | ".join(finding.message for finding in findings)


def test_an_audit_also_looks_where_the_trials_are_that_are_to_be_run(tmp_path: Path) -> None:
    """A tokenizer is told max_digits: this one writes column sums at two digits, and column pairs everywhere else."""
    columns = COLUMNS + "return [20 + (x + y if self.max_digits == 2 else 100 + 10 * x + y) for x, y in columns] + [11]"
    submission = submission_of(tmp_path, columns)
    assert [finding.rule for finding in audit(submission)] == ["T80"]
    assert "T40" in {finding.rule for finding in audit(submission, make_track(digits=[2])) if finding.level == "gate"}


def test_the_hosts_of_prompts_and_answers_are_never_there_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    present: list[str] = []
    together: list[list[str]] = []

    class Watched(Host):
        def __init__(self, submission: Submission, role: Role, **options: Any) -> None:
            super().__init__(submission, role, **options)
            self.role = role
            present.append(role)
            together.append(sorted(present))

        def close(self) -> None:
            super().close()
            present.remove(self.role)

    monkeypatch.setattr(encoding, "Host", Watched)
    problems = draw(UniformDigits(2), Split.TRAIN, count=5, track_seed=1)
    encoding.encode(make_submission(tmp_path), {"train": problems}, max_digits=2, shuffle_seed=0)
    assert together == [["prompts"], ["answers"]]


def test_a_set_is_harmless_where_its_order_is_not_used(tmp_path: Path) -> None:
    """The honest twin of `ids in the order of a set`."""
    submission = make_submission(
        tmp_path,
        init="self.order = ''.join(sorted({*CHARACTERS}))",
        encode="return [self.order.index(character) for character in text]",
        decode="return ''.join(self.order[i] for i in token_ids if i < 12)",
    )
    assert [finding.level for finding in check_tokenizer(submission)] == ["tag"]


def test_a_cache_is_no_state_that_matters(tmp_path: Path) -> None:
    """The honest twin of `a second call that is longer`."""
    submission = make_submission(
        tmp_path,
        init="self.seen = {}",
        encode="return self.seen.setdefault(text, [CHARACTERS.index(character) for character in text])",
    )
    with Host(submission, "prompts", max_digits=3) as host:
        vocabulary = host.describe()
    assert list(check_purity(submission, vocabulary, 3)) == []


TABLE = "table = self.table[None, :length]\n"
BAD_POSITIONS = {
    "too few dimensions": (
        "return Terms(embedding=self.table[:length])",
        "Terms.embedding has shape (12, 128); for a layout",
    ),
    "another width": (TABLE + "return Terms(embedding=table[:, :, :5])", "has shape (1, 12, 5)"),
    "another batch": (TABLE + "return Terms(embedding=table.expand(2, -1, -1))", "it must be (1 or 64, 12, 128)"),
    "float64": (TABLE + "return Terms(embedding=table.double())", "has dtype torch.float64; end with .float()"),
    "integers": (TABLE + "return Terms(embedding=table.long())", "has dtype torch.int64; end with .float()"),
    "another device": (
        TABLE + "return Terms(embedding=table.to('meta'))",
        "creates a tensor on meta; create it on layout.device",
    ),
    "a GPU": (TABLE + "return Terms(embedding=table.cuda())", "submission.py, line 41"),
    "NaN": (
        TABLE + "return Terms(embedding=table * 0 / 0)",
        "in training, holds NaN or infinity; look for a division by zero",
    ),
    "NaN in evaluation alone": (
        TABLE + "return Terms(embedding=table if self.training else table.log())",
        "in evaluation, holds NaN or infinity",
    ),
    "huge numbers": (
        TABLE + "return Terms(embedding=table + 1e4)",
        "is 1e+04 in size; at most 1000 is allowed, scale it",
    ),
    "a tensor": ("return self.table[None, :length]", "forward returned a tensor; return harness.protocol.Terms"),
    "nothing": ("pass", "forward returned a NoneType; return harness.protocol.Terms; does it end"),
    "a number": (
        "return Terms(embedding=1.0)",
        "Terms.embedding is of type float; a float32 tensor or None is allowed",
    ),
    "Python's random": (
        TABLE + "import random\nreturn Terms(embedding=table + random.random())",
        "draw with torch.randint or torch.rand",
    ),
    "a loop over the layout, whose graph torch prints when it gives up": (
        "rows = []\nfor row in layout.tolist():\n    count, places = 0, []\n    for kind in row:\n"
        "        count = count + 1 if kind == 1 else 0\n        places.append(count)\n    rows.append(places)\n"
        "return Terms(embedding=self.table[torch.tensor(rows)])",
        "depends on the values of the layout",
    ),
    "a branch on the layout": (
        TABLE + "return Terms(embedding=table if layout[0, 0] == 0 else -table)",
        "depends on the values of the layout",
    ),
    "raises": ("raise LookupError('gone')", "submission.py, line 40, in forward: LookupError: gone"),
    "state": ("self.table.data += 1\nreturn Terms()", "RuntimeError"),
}


@pytest.mark.parametrize("case", BAD_POSITIONS)
def test_the_position_audit_catches_and_tells_once(tmp_path: Path, case: str) -> None:
    forward, expected = BAD_POSITIONS[case]
    submission = make_submission(tmp_path, forward=forward)
    try:
        (finding,) = check_positions(submission, [3, 4])
    except SubmissionError as error:
        finding = gate(error.rule, error.message)
    assert (finding.rule, finding.level) == ("P00", "gate")
    assert expected in finding.message


@pytest.mark.parametrize(
    "scale", ["random.random()", "time.time() % 1", "len(os.urandom(9)) * os.urandom(1)[0]", "hash('x') % 97 / 97"]
)
def test_what_is_drawn_when_the_file_is_imported_is_found_by_a_second_process(tmp_path: Path, scale: str) -> None:
    drawn = {"top": f"import os, random, time\nSCALE = {scale}"}
    submission = make_submission(tmp_path, forward="return Terms(embedding=SCALE * self.table[None, :length])", **drawn)
    (finding,) = check_positions(submission, [3])
    assert (finding.rule, finding.level) == ("P00", "gate")
    assert "two processes that import the file build other positions from the same seed" in finding.message


def test_tables_that_torch_draws_are_the_same_in_a_second_process(tmp_path: Path) -> None:
    drawn = {
        "top": "import random\nimport torch\nNOISE = torch.randn(64, 128)\nRNG = random.Random(3)\nSCALE = RNG.random()"
    }
    forward = """
noise = torch.randn(length, 128, device=layout.device) if self.training else NOISE[:length]
return Terms(embedding=SCALE * (self.table[:length] + noise)[None])"""
    submission = make_submission(tmp_path, forward=forward, **drawn)
    assert [finding.message for finding in check_positions(submission, [3])] == []


def test_positions_that_count_from_the_end_are_not_causal(tmp_path: Path) -> None:
    backwards = "return Terms(embedding=self.table[torch.arange(length - 1, -1, -1, device=layout.device)][None])"
    findings = list(check_positions(make_submission(tmp_path, forward=backwards)))
    assert {finding.rule for finding in findings} == {"P20"}
    assert "do not count from the end" in findings[0].message


def test_positions_that_count_from_the_beginning_are_causal(tmp_path: Path) -> None:
    forwards = "return Terms(embedding=self.table[torch.arange(length, device=layout.device)][None])"
    assert list(check_positions(make_submission(tmp_path, forward=forwards))) == []


def test_positions_of_a_row_that_follow_the_other_rows_or_its_place_are_refused(tmp_path: Path) -> None:
    others = "return Terms(embedding=self.table[None, :length] * layout[:, 0].float().mean())"
    in_training = f"if not self.training:\n    return Terms(embedding=self.table[None, :length])\n{others}"
    for name, forward in (("others", others), ("in_training", in_training)):
        finding, *_ = check_positions(make_submission(tmp_path, name, forward=forward), [3])
        assert (finding.rule, "changes with the other rows of its batch" in finding.message) == ("P40", True)
    place = "return Terms(embedding=self.table[torch.arange(layout.shape[0]) % 7][:, None].expand(-1, length, -1))"
    (finding,) = check_positions(make_submission(tmp_path, "place", forward=place), [3])
    assert (finding.rule, "changes with its place in the batch" in finding.message) == ("P40", True)


def test_who_assigns_into_a_slice_is_told_what_to_do_instead(tmp_path: Path) -> None:
    forward = """
sines = torch.zeros(1, length, 128)
sines[:, :, 0::2] = torch.sin(self.table[None, :length, 0::2])
return Terms(embedding=sines)"""
    findings = list(check_positions(make_submission(tmp_path, forward=forward), [3]))
    assert {finding.rule for finding in findings} == {"P00"}
    assert "put it together with torch.stack or torch.cat" in findings[0].message


def test_a_term_that_there_is_not_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    findings = audit(make_submission(tmp_path, forward="return Terms(rotation=self.table)"))
    assert findings[-1].rule == "P00"
    assert findings[-1].message.endswith("; Terms has embedding, embedding_angles, angles and bias, no others")


@pytest.mark.parametrize(
    ("embedding", "said"),
    [
        ("(self.table // 0.001 * 0.001)[None, :length]", "the terms have no gradient: derivative for aten::floor_di"),
    ],
)
def test_terms_that_cannot_be_trained_are_refused_before_they_are(tmp_path: Path, embedding: str, said: str) -> None:
    (finding,) = check_positions(make_submission(tmp_path, forward=f"return Terms(embedding={embedding})"), [3])
    assert (finding.rule, finding.level) == ("P00", "gate")
    assert said in finding.message


def test_positions_may_look_ahead_inside_the_prompt(tmp_path: Path) -> None:
    """Counted from `=`, as every answer position knows where that is."""
    from_equals = """
equals = (layout == 3).long().argmax(dim=1, keepdim=True)
distance = torch.arange(length, device=layout.device) - equals
return Terms(embedding=self.table[distance.abs()])"""
    assert list(check_positions(make_submission(tmp_path, forward=from_equals))) == []


def test_a_term_at_some_lengths_only_is_refused(tmp_path: Path) -> None:
    sometimes = "return Terms(embedding=self.table[None, :length]) if length % 2 else Terms()"
    findings = list(check_positions(make_submission(tmp_path, forward=sometimes)))
    assert {finding.rule for finding in findings} == {"P20"}
    assert "is returned at one length and not at another" in findings[0].message


def test_an_error_of_a_host_is_a_finding_of_its_rule(tmp_path: Path) -> None:
    (finding,) = audit(make_submission(tmp_path, encode="return [99]"))
    assert (finding.rule, finding.level) == ("T00", "gate")
    assert finding.message.startswith("vocab_size is 14 but encode('0') gave id 99")


BAD_FILES = {
    "unknown keys": (
        "submission.yaml",
        b"title: T\nauthors: [A]\nsummary: S\ncolour: red\n",
        "line 4: unknown key `colour`",
    ),
    "not YAML": ("submission.yaml", b"title: [\n", "line 2: not the YAML that is read here"),
    "too large": ("submission.yaml", b"#" * 20_000, "is larger than 16 KiB"),
    "an alias": (
        "submission.yaml",
        b"title: &a T\nauthors: [*a]\nsummary: S\n",
        "line 2: not the YAML that is read here: aliases",
    ),
    "a key that draws": ("submission.yaml", b'"\\e[31m\\n::error::": 1\n', "unknown key"),
    "no manifest": ("submission.yaml", None, "holds no submission.yaml"),
    "a tag": ("submission.yaml", b"title: !!python/object/apply:os.getcwd []\n", "line 1: not the YAML"),
    "bytes": ("data.bin", b"\xff\xfe", "'data.bin' is not UTF-8 text"),
    "65 KiB": ("data.txt", b"x" * 65 * 1024, "holds more than 64 KiB, with 'data.txt'"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_folder_that_cannot_be_read_is_broken_by_rule_t00_in_one_line(tmp_path: Path, case: str) -> None:
    name, content, expected = BAD_FILES[case]
    folder = write_folder(tmp_path, "entry")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    broken = read_folder(folder)
    assert not isinstance(broken, Submission)
    assert isinstance(broken.error, SubmissionError)
    assert broken.error.rule == "T00"
    assert expected in broken.error.message
    assert str(broken.error).isprintable()
