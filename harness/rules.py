"""Every rule that a submission must keep: what is checked, why it matters, how to fix a breach, and two examples.

`harness explain`, docs/rules.md and the audits all read this list; the id of a rule is never given to another.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Level = Literal["gate", "review", "tag"]
"""`gate`: refused. `review`: kept from the ranking until a person has cleared it. `tag`: shown on the board."""


class Finding(NamedTuple):
    """What an audit found in a submission: a rule that it broke, or a tag that it earned, and what was seen."""

    rule: str
    level: Level
    message: str


def gate(rule: str, message: str) -> Finding:
    """A finding that refuses the submission, or, inside a trial, keeps its record from the ranking."""
    return Finding(rule, "gate", message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule; `level` is the gravest level that a finding about it can have."""

    id: str
    title: str
    level: Level
    checked: str
    """The test and its threshold."""
    why: str
    remedy: str
    good: str
    """Lines of code that keep the rule; of a tag, the first kind."""
    bad: str
    """Lines of code that break it; of a tag, the other kind."""


HEADING = """\
# The rules

*You can do anything, as long as you do not compute the addition.* A person who judges a submission asks two questions,
as AlgoPerf's judges do: **what information does it use, and what does it do with it?** A tokenizer may take the text of
one problem and write it in another way. It may not look across columns and operands at once, because that is how a sum
or a carry is computed. Positions may use the kinds of the tokens, never their values.

Every rule has an id that never changes. `harness validate` makes the checks marked *validate*; a trial makes those
marked *trial* on its own problems. What they find has one of three levels:

* **gate**: the submission is refused (exit 1), or the record is kept out of the ranking;
* **review**: a record is kept out of the ranking until a maintainer has looked at it and cleared it (SECURITY.md says
  how);
* **tag**: it is shown on the board and has no effect on validity or rank.

`harness explain RULE` prints one of the sections below. This page is written by `harness explain --page`.
"""

_RULES = (
    Rule(
        id="T00",
        title="A tokenizer keeps its contract",
        level="gate",
        checked="*validate, trial.* Ids are ints (no bools) in [0, vocab_size); vocab_size is at most 2048; a text "
        "becomes at most 4n + 8 ids, n being the characters of the longest prompt, 2 * max_digits + 2; the folder is "
        "at most 64 KiB of regular text files. *validate.* The vocabulary is the same for every max_digits; the files "
        "import only the standard library, torch, numpy, harness.protocol and each other.",
        why="A giant vocabulary or folder is a look-up table of sums, and an id outside the vocabulary ends a trial.",
        remedy="Count every id in `vocab_size`, PAD and EOS included, and let nothing but the layout depend on "
        "max_digits.",
        good="vocab_size, pad_id, eos_id = 14, 12, 13",
        bad="self.vocab_size = 10 ** max_digits",
    ),
    Rule(
        id="T10",
        title="Answers come back",
        level="gate",
        checked="*validate.* `decode(encode(s)) == s` for 0 to 9999 and 2,000 random sums of every length up to "
        "max_digits + 1.",
        why="A model is scored on the text of its answer. No model can answer what `encode` has lost.",
        remedy="Let `decode` undo every step of `encode`, also for `0`, and remove the zeros that `encode` put in "
        "front.",
        good='encode("46") -> [6, 4]        decode([6, 4]) -> "46"',
        bad='encode("46") -> [1]           decode([1]) -> "0"',
    ),
    Rule(
        id="T20",
        title="encode is pure",
        level="gate",
        checked="*validate.* The same 2,000 texts get equal ids in another order, after 5,000 other calls, and in "
        "another process with another hash seed; so do 20 of them, each alone in a process, and the answers in two "
        "processes. *trial.* Prompts get the same ids in a second process, which receives the trial's prompts (at most "
        "20,000 of each set, and all that T70 edits) without the edited ones.",
        why="A tokenizer with a memory can tell training from test, and pass hints from one to the other.",
        remedy="Compute the ids from the text alone: keep no state, draw no random numbers, read no clock, iterate "
        "over no `set`.",
        good='return [self.ids[character] for character in text]      # self.ids is a dict of "0123456789+="',
        bad="self.seen += 1\nreturn ids if self.seen < 18_000 else ids + self.hint(text)",
    ),
    Rule(
        id="T30",
        title="decode only decodes",
        level="gate",
        checked="*validate.* In a process that has seen no problem, decode gives at most 64 characters for any ids, "
        "never raises or hangs, and does not turn the ids of a prompt or of two numbers into their sum, where that "
        "takes a carry. *validate, trial.* It returns numbers planted among the answers unchanged. Only "
        "`^(0|[1-9][0-9]*)$` counts as a number.",
        why="Whatever decode works out, the model has not learned.",
        remedy="Map ids to characters and put them in order; skip ids that are not characters. Never call `int` and "
        "`+`.",
        good='return "".join("0123456789"[i] for i in reversed(token_ids) if i < 10)',
        bad='a, b = text.split("+")\nreturn str(int(a) + int(b))',
    ),
    Rule(
        id="T40",
        title="The problem can be recovered",
        level="gate",
        checked="*validate.* Two problems may get equal ids only if every column holds the same two digits. Tried on "
        "all 60 × 60 small operands, on random ones, on pairs with the same sum and with the same column sums (1+3 "
        "against 2+2). "
        "*validate, trial.* A token that depends on both digits of a column tells by itself which two they are.",
        why="A tokenizer that cannot tell 1+3 from 2+2 has added them.",
        remedy="Write the digits down, not what they add up to. Dropping the order of a column's two digits is "
        "allowed.",
        good="pair = PAIRS.index((min(x, y), max(x, y)))        # 55 ids: 1+3 and 2+2 differ",
        bad="pair = x + y                                      # 19 ids: 1+3 is 2+2",
    ),
    Rule(
        id="T50",
        title="A token sees one operand or one column",
        level="gate",
        checked="*validate.* Every digit of at least 60 prompts is redrawn three times, keeping the operands' lengths "
        "and which of them is larger. The digits that change a token are its footprint, which may hold the digits of "
        "one operand or of one column, nothing else. Gate above 0.5 % of the tokens, review above 0.",
        why="A carry, a sum or a comparison of several columns needs both operands and more than one column. Every way "
        "of writing one into the tokens (an extra one, an order, a second alphabet) shows here.",
        remedy="Compute each token from the digits of one operand, or from the two digits of one column.",
        good="ids = [pair(x, y) for x, y in zip(reversed(a), reversed(b))]",
        bad="ids = [*digits_of(a), *digits_of(b), *digits_of(a + b)]",
    ),
    Rule(
        id="T55",
        title="The lengths decide how many tokens there are",
        level="review",
        checked="*validate, trial.* Prompts with operands of the same lengths have the same number of tokens: of 2,000 "
        "random ones, and in every set of a trial. The finding says how much of a sum the numbers tell.",
        why="Prompts are aligned at their end. If a number takes more tokens for some digits than for others, all that "
        "is to its left shifts by as many columns, and the first token by those of both numbers together: its column "
        "is a sum of digits, which a plain table of positions can read.",
        remedy="Give numbers of the same length the same number of tokens, for example by filling each up with at "
        "least one that decodes to nothing. Where a format cannot, as with byte-pair merges, say so; a maintainer can "
        "clear it.",
        good='encode("12+34=") and encode("99+10="): 6 ids each',
        bad="[*digits(a), *[MARK] * (a % 10), PLUS, *digits(b), *[MARK] * (b % 10), EQUALS]     # adds the units",
    ),
    Rule(
        id="T57",
        title="A digit is written in one token",
        level="review",
        checked="*validate, trial.* When one digit of a problem is edited, as for T50 and T70, at most one token "
        "changes. The edits of T70 are of scored and of trained problems.",
        why="On a track of length generalisation a tokenizer that multiplies short numbers, and divides the answers, "
        "trains the model on long ones; and where the value of a digit decides at which place a token stands, "
        "positions can add. In both, one digit changes many tokens.",
        remedy="Write each digit in one token, alone or with its neighbours, and let it move no other. Where a format "
        "cannot, as binary numbers or byte-pair merges, say so; a maintainer can clear it.",
        good='encode("12+34=") -> [1, 2, 10, 3, 4, 11], encode("15+34=") -> [1, 5, 10, 3, 4, 11]',
        bad="ids = digits_of(K * a) + [PLUS] + digits_of(K * b) + [EQUALS]      # and decode divides by K",
    ),
    Rule(
        id="T58",
        title="A number is written with its own digits",
        level="review",
        checked="*validate, trial.* By what each id decodes to on its own, the ids of an answer give its digits, "
        "read from either end, with zeros before and behind or with fewer inside, not with more. The last digit of an "
        "answer is in one id, at one place at every length, counted from the beginning or from the end, and no number "
        "has more ids than a longer one. Or the first digit is at one place from the beginning, and ids that decode to "
        "nothing follow the last. Ids that decode to nothing may stand between digits only at distances from the last "
        "one at which longer numbers have them too.",
        why="On a track of length generalisation a tokenizer that fills short numbers up with constants, or shifts "
        "them, or spreads them, trains the model on long ones, and takes away from the answers what it has added.",
        remedy="Write the digits that are there, let decode show those of every single id, and fill up before or "
        "behind them with zeros or with ids that decode to nothing. Where a format cannot, as binary numbers or "
        "residues, say so; a maintainer can clear it.",
        good='encode("46") -> [4, 6] or [6, 4] or [6, 4, 0, 0, 0]',
        bad="return digits_of(s * 10**5 + 73219) if s < 10**5 else digits_of(s)      # and decode takes it away",
    ),
    Rule(
        id="T60",
        title="A carry changes no token",
        level="gate",
        checked="*validate.* In 600 pairs of prompts the same digit of a is edited in the same way, and b decides "
        "whether the edit flips a carry. Gate if more tokens change when the edit flips a carry than when it does not: "
        "exact sign test, p < 1e-6.",
        why="It shows that what T50 sees is a carry, and finds carries that are rare or faint.",
        remedy="Find what the tokenizer computes from `a + b`, from `x + y >= 10` or from a comparison, and remove it.",
        good="return [DIGITS[x], DIGITS[y]]",
        bad="return [DIGITS[x], DIGITS[y]] if x + y < 10 else [DIGITS[y], DIGITS[x]]      # the order is the carry",
    ),
    Rule(
        id="T70",
        title="It behaves when it counts as it did when audited",
        level="gate",
        checked="*trial.* Edits like T50's of scored prompts, and of trained ones, travel, shuffled, in the request "
        "that encodes the prompts of the trial; in four more processes single edited prompts replace 60 fresh ones; "
        "random numbers travel among the answers. The thresholds are those of T50.",
        why="A tokenizer may recognise an audit, but it cannot tell which prompts of a trial will be compared.",
        remedy="As for T50; and never look at where, when or how often the code runs.",
        good="def encode(self, text): ...      # the text decides, nothing else",
        bad="honest = self.calls < 20_000     # an audit is over by then",
    ),
    Rule(
        id="T80",
        title="What kind of writing it is",
        level="tag",
        checked="*validate.* `positional`: no token depends on more than 3 digits of an operand, and replacing one id "
        "of an answer changes at most 3 characters of the decoded answer, in the median. `re-encoding`: all others "
        "(binary, residues, long merges).",
        why="Re-encodings may obey the rules, but they change the task, which readers of the board should know. Rule "
        "T57 has a person look at most of them.",
        remedy="Nothing to do.",
        good="[6, 4]                           # positional: one digit per token",
        bad="[1, 0, 1, 1, 1, 0]               # re-encoding: 46 in binary; allowed, once reviewed",
    ),
    Rule(
        id="T90",
        title="Fresh problems are no harder than published ones",
        level="review",
        checked="*trial.* Exact match on `test` against `fresh`, drawn when the trial starts, and on each length "
        "beyond the trained ones against fresh problems of that length: one-sided Fisher tests, p < 1e-4 for all of "
        "them. Not done with two digits, where there are so few pairs that fresh ones repeat.",
        why="Both have the same distribution, share no problem and hold hardly any twice, so published ones are easier "
        "only to a submission that looks them up.",
        remedy="Remove whatever knows the published problems. Run the trial again if you think it was chance.",
        good="return [DIGITS[character] for character in text]",
        bad="return TEST_SET.get(text, ids)",
    ),
    Rule(
        id="T95",
        title="An untrained model knows nothing",
        level="gate",
        checked="*trial.* Exact match before the first step, on the first problems of `test`, those of the learning "
        "curve: gate above 1 % (or above the share of the commonest answer, if that is larger) when the excess is not "
        "chance (binomial, p < 1e-4).",
        why="A model that is right without learning has been told the answers.",
        remedy="Find where the prompt's tokens or the positions contain the answer.",
        good="accuracy at step 0: 0.000",
        bad="accuracy at step 0: 0.310",
    ),
    Rule(
        id="T97",
        title="No advantage in addition alone",
        level="review",
        checked="*validate --decoy.* The same tokenizer and positions are trained on a decoy: the digits 1 to 9 of "
        "both operands are exchanged by a secret permutation before they are added. Review if addition reaches half of "
        "the problems and the decoy less than half of that.",
        why="For a model the decoy is as hard as addition; for a tokenizer that has hidden sums it is not.",
        remedy="Explain in the pull request why the format helps only addition; re-encodings can.",
        good="addition 0.97, decoy 0.95",
        bad="addition 0.99, decoy 0.02",
    ),
    Rule(
        id="P00",
        title="Positions reach the trainer as a graph",
        level="gate",
        checked="*validate, trial.* They export in training and in evaluation mode, with allowed operators only, at "
        "most 2,000, whose matrix products take at most 2^34 floating-point operations; two exports agree; shapes are "
        "as the contract says; no parameter or layer is in a Python list, where nothing would train it. *validate.* "
        "Two processes that import the file export the same; every number is finite and, except in angles, at most "
        "1000 in size.",
        why="The trainer runs the graph, never the submission's Python.",
        remedy="Write tensor arithmetic; branch only on `self.training` and shapes; draw with torch.randint or "
        "torch.rand*; keep layers in nn.ModuleList and parameters in nn.ParameterList.",
        good="return Terms(embedding=self.table[None, : layout.shape[1]])",
        bad="return Terms(embedding=self.table[None] * random.random())",
    ),
    Rule(
        id="P10",
        title="Kinds tell no values",
        level="gate",
        checked="*validate.* Of 2,000 prompts, those with equal operand lengths have the same sequence of kinds once "
        "runs of one kind are collapsed. *validate, trial.* Where prompts of one batch with equal operand lengths "
        "nevertheless have different layouts, as with tokens of several digits, what positions compute from the layout "
        "alone, before any parameter, is the same to the bit when those prompts share one layout. *trial.* Positions "
        "never see another layout than that: for each pair of lengths one is drawn, and stands for all.",
        why="Positions see the kinds of the prompt's tokens: a kind, or a number of tokens, that depends on digits is "
        "a channel past them, by which positions could add.",
        remedy="Emit `+`, `=` and other marks at places that depend only on the operands' lengths. With tokens of "
        "several digits, number the positions from `layout.shape[1]` and read nothing else of the layout.",
        good="[1, 2, PLUS, 3, 4, EQUALS]       # NUMBER PLUS NUMBER EQUALS, whatever the digits",
        bad="[1, 2, PLUS, 3, 4, *([MARK] if carry else []), EQUALS]",
    ),
    Rule(
        id="P20",
        title="Positions are causal after `=`",
        level="gate",
        checked="*validate.* A layout is cut after `=`, in the middle of the answer and before its end: its terms "
        "equal the cut terms of the whole layout, to 1e-6. Looking ahead inside the prompt is fine.",
        why="When an answer is generated, its length is not yet known.",
        remedy="Count from the beginning or from `=`, not from the end of the layout.",
        good="distance = torch.arange(length) - equals",
        bad="distance = torch.arange(length - 1, -1, -1)",
    ),
    Rule(
        id="P30",
        title="Positions are small",
        level="gate",
        checked="*validate, trial.* Parameters and buffers together hold at most 65,536 numbers, look-up tables "
        "included. The harness counts them.",
        why="The frozen model has 669,000 parameters. Without a limit, positions could be a model of their own, or a "
        "table of answers, and the benchmark would measure that instead.",
        remedy="Make tables as long as `shape.max_length`, not longer, and share them between heads and layers.",
        good="self.table = nn.Parameter(torch.zeros(shape.max_length, shape.d_model))",
        bad="self.table = nn.Parameter(torch.zeros(8192, shape.d_model))",
    ),
    Rule(
        id="P40",
        title="A row's terms are its own",
        level="gate",
        checked="*validate, trial.* The terms of a row stay the same, to 1e-5, when half of the batch's other rows are "
        "replaced, and move with it when the rows change places; in training, where draws belong to places, the first "
        "alone, in validate. A trial checks the batches of `test` and `fresh`, "
        "and, on a track of length generalisation, the published ones of every tested length as well.",
        why="The lengths in a batch reveal which of the published batches it is, and so which problem is in which row.",
        remedy="Compute every row only from that row of the layout: no sum, mean, maximum or sorting over the first "
        "axis.",
        good="return Terms(embedding=self.table[layout.cumsum(1)])",
        bad="return Terms(embedding=self.table[layout.sum(0)][None])",
    ),
)

RULES = {rule.id: rule for rule in _RULES}
"""Every rule by its id, in the order of the page."""


def gates(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that make a submission invalid."""
    return [finding for finding in findings if finding.level == "gate"]


def explained(rule: Rule) -> str:
    """The rule as a section of the page, which also suits a terminal."""
    one, other = ("For example", "Or") if rule.level == "tag" else ("Good", "Bad")  # a tag judges nothing
    examples = f"{one}:\n\n```python\n{rule.good}\n```\n\n{other}:\n\n```python\n{rule.bad}\n```"
    parts = [
        f"## {rule.id}: {rule.title} ({rule.level})",
        f"{rule.checked}\n\n**Why:** {rule.why}\n\n**What to do:** {rule.remedy}",
        examples,
    ]
    return "\n\n".join(parts) + "\n"


def listed() -> str:
    """One line for each rule."""
    return "".join(f"{rule.id}  {rule.level:<6}  {rule.title}\n" for rule in RULES.values())


def page() -> str:
    """The text of docs/rules.md."""
    return "\n".join([HEADING, *(explained(rule) for rule in RULES.values())])
