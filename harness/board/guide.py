"""How to read the board, as Markdown: both pages show it."""

GUIDE = {
    "How to read this": """\
* **Exact match** is in per cent, on fresh problems, averaged over seeds. The small print is its 95 % interval:
  Wilson's for the counts, with the seeds pooled, and with several seeds also Student's over them. For a mean of several
  numbers of digits, Student's is computed in two ways, from each seed's mean and by adding up the variance between
  seeds within each number of digits: a failure at 6 digits in one seed and at 9 in another can cancel in the means. The
  interval shown reaches from the lowest of these bounds to the highest. All seeds train on the same problems in the
  same order, so it says nothing about another training set. If a scheme learns from few of its starts, five seeds may
  all miss those and the interval lies too low: look at *by seed*.
* **Fresh problems** are pairs of operands that are never trained on, in either order. With two digits there are only
  946 of them (477 if order is ignored), the same for every seed, and they repeat. Intervals refer to those pairs; for
  all sums of two digits the part that is due to problems is too narrow, by a factor of 1.7 to 2.2 with one seed and of
  3 to 4.5 with five. A format may write two pairs alike, as unordered column pairs do with `3+70` and `0+73`. **Ids
  seen** is the share of the fresh problems whose ids, prompt and answer, equal those of a trained problem; these test
  memory, not addition.
* **mean** is the average over the numbers of digits, and decides the rank. n digits means n uniform digits an
  operand, so some operands begin with 0 and are shorter. On a track with a *reach*, the mean is over the lengths
  beyond training. A good scheme may add the first two of these and none of the others, so *exact match by digits*
  (below the plots in leaderboard.md, in each card of leaderboard.html) shows each. There, n digits means that the
  longer operand has n: in half of the problems the other has n too, in the other half any number of digits up to n.
  In the column of the trained lengths, each operand's length is drawn evenly from them. *By seed* refers to the
  lengths that rank. Beyond training the problems are drawn when the trial starts; those of the best checkpoint are
  published, the same for everyone, and their intervals are narrower than those for all sums of that length.
* **Rank**: going down by score, a row opens a new rank if it is separated from the best row of the current one: p <
  0.05 in a test on the counts, with several seeds also in paired t-tests over them (of their means, and within each
  number of digits), and an interval of the difference that excludes 0. `=` marks a shared rank. A row may therefore
  not be separable from the best row of a rank above it, and two rows of one rank may be. The tests are not corrected
  for the number of rows. Ranks are a reading aid; `harness compare A B` compares any two rows. With fewer than 5 seeds
  a rank is provisional, marked †: a single seed shows the luck in drawing problems, but not in drawing initial
  weights, and near the point where a scheme begins to learn another seed can move a row by tens of points.
* **Encode ×**, **train ×**, **score ×**, **decode ×**: examples a second, as a ratio to the built-in reference,
  measured alternately with it; medians over the trials. Encoding passes texts through the sandbox on the machine's
  CPU, and is compared with a dictionary of characters outside any sandbox; with two or three digits there are few
  different answers, and the ratio is coarse: rows of one tokenizer differ up to threefold. Scoring is one pass over
  known answers; decoding generates them. Where rows were measured on several devices, *speeds on* tells each one's
  (on the page by a number, which the line below the table explains), and their ratios are not comparable.
* **Reach**: the largest length such that it and every smaller length have at least 90 % exact match with the final
  weights; its bounds are those of the lengths' intervals. Most sums of one digit were trained, and count. The best
  checkpoint is the evaluation with the highest mean over validation problems longer than any trained one: what early
  stopping with knowledge of them would have kept.
  **Rows trained**: of the first seed's largest positional table, how many rows ever received a gradient, how far
  (root mean square) those moved from their initial values, and how far the others did, which only weight decay moves.
* **Format** (rule T80, at 3 and 20 digits and at those of the track): *positional* formats write the digits down;
  *re-encodings* (binary, residues) change the task.
* **Closed** submissions train as the track says; **open** ones set hyper-parameters themselves and rank separately.
* **Examples to 90 %**: training examples at the first evaluation with at least 90 % exact match, the median over
  seeds. Evaluations are infrequent and use few problems, so it is coarse; – means that at least half of the seeds
  never got there. **Digit accuracy**: the share of answer tokens predicted correctly, given the correct ones before
  them, on the problems of those evaluations. Tokens are whatever the format makes them (single digits, several, or
  hints), so compare it within a format only. **Longest carry**: exact match on problems in which one carry goes from
  the units through every column: the units add up to ten or more and every other column to nine, as in 1 of 220
  million random sums of 9 digits (with two digits the suite has only 44 such pairs to draw from). Training contains
  hardly any of them, so they test for the rule, or for knowing this one pattern: each record also has the shorter
  chains, under `suites.carry`. **Edge**: exact match on zeros, powers of ten and nines.
* **State**: only rows in state *fresh*, which are up to date, rank (the word has nothing to do with fresh problems).
  *incomplete*: trials are missing. *stale*: the submission, the track or the harness has changed since. *refused*: an
  audit inside a trial found that the submission breaks a rule (`harness explain RULE`). *in review*: an audit found
  something that a person should look at. *hacked*: a maintainer has ruled so. *failed*: a trial or the folder failed.
  *unverified*: a record cannot be trusted, or the submission's folder is gone (put it back, or delete
  `results/TRACK/NAME`). *no sandbox*: a trial ran without one. *not run*: there is no record.
""",
    "Reproduce a row": """\
`harness reproduce NAME --track TRACK` repeats its trials on the problems that they drew. On the same device, with the
same torch version, everything but the speeds is the same to the bit (on a GPU only if the positions use no operator
whose sums CUDA adds in varying order, such as `gather`). On another processor sums are added in another order, and
training can amplify that: a score may move by as much as with another seed. `harness compare A B` compares two rows.
`harness leaderboard --check` says whether this page matches the records.
""",
}
"""By the heading of each section."""
PUBLISHED = "‡ beyond training, scored on published problems: its trials drew no fresh ones there"
"""Below a table in which a row's state has that mark."""
