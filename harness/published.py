"""Audits positions on published problems, which everyone knows beforehand, and for every seed (P00, P10, P40).

A trial audits the positions of its first seed on the batches of `test` and `fresh` (P10 on all that is fresh, with
every seed). That leaves two gaps. Published problems beyond the trained lengths come in every trial in the same order
and in the same batches: positions that let one row see others could recognise a batch by its lengths, and each row's
sum by its place. And positions may be built differently from another seed.
"""

import secrets
from collections.abc import Sequence

import numpy as np
import torch

from harness.audits.positions import check_blind, check_gradient
from harness.decoding import by_shape, parts_of
from harness.preparation import Job, draw_problems, encode_with_probes, export_positions
from harness.rules import Finding
from harness.submissions import Submission
from harness.track import Track

CPU = torch.device("cpu")


def check_published_layouts(submission: Submission, track: Track, digits: int, seeds: Sequence[int]) -> list[Finding]:
    """P00, P10 and P40 for every seed's positions, on published and fresh problems in the batches that a trial scores.

    Those are the problems of one shape together: of all sets, and of `lengths/…` alone. Returns one finding at most.

    Args:
        digits: the number of digits of the trials.
        seeds: the seeds of one job's trials.

    Raises:
        SubmissionError: the submission broke its contract.
    """
    job = Job(submission, track, digits, seeds, CPU)
    problems = draw_problems(job, [secrets.randbelow(2**53) for _ in seeds])
    encoded, _ = encode_with_probes(job, problems)
    parts = {name: parts_of(own, CPU) for name, own in encoded.sets.items()}
    (trained,) = parts.pop("train")
    positions = export_positions(job, trained.examples, [part.examples for own in parts.values() for part in own])
    batch = trained.examples.layout[: track.training.batch_size]
    for own in positions:  # the audits before a trial know the length of its tests, and not that of its training
        if findings := list(check_gradient(own, batch)):
            return findings
    rng = np.random.default_rng(secrets.randbits(63))
    scored = ["fresh/0", *problems.fixed]
    lengths = [name for name in problems.fixed if name.startswith("lengths/")]
    together, alone = (by_shape({name: parts[name] for name in names}) for names in (scored, lengths))
    others = [group for shape, group in alone.items() if len(group) < len(together[shape])]  # else it is the same group
    for group in [*together.values(), *others]:
        prompts = [prompt for name, part in group for prompt in problems.scored[name].take(part.rows).prompts()]
        layouts = torch.cat([part.examples.layout for _, part in group])
        for own in positions:
            if findings := list(check_blind(own, prompts, layouts, rng)):
                return findings
    return []
