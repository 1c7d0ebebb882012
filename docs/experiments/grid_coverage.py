"""How often the grid's 95 % intervals hold the truth: `python docs/experiments/grid_coverage.py`.

Takes the scores of the grid of `quick-seeds` for the whole truth: a start is one of its pair's five, drawn with
replacement. Simulates grids of five such starts, 2,000 problems each, and counts in how many of them an interval holds
what the grid has without any luck. The second line is for
the grid without column pairs.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.cross import grid_of, rows_of_cross
from harness.fingerprint import harness_fingerprint
from harness.ranking.effects import Effects, main_effects
from harness.ranking.statistics import Counts, Estimate
from harness.submissions import discover
from harness.terminal import put
from harness.track import load_track

TOKENIZERS = ["column_pairs_learned", "reversed_learned", "characters_learned"]
POSITIONS = ["rope", "abacus", "alibi", "t5", "learned", "fire", "sinusoidal", "nope"]
GRIDS, SEEDS, PROBLEMS, WITHOUT_LUCK = 400, 5, 2000, 10**9


def main() -> None:
    found, track, harness = discover(Path.cwd()), load_track("quick-seeds"), harness_fingerprint()
    for tokenizers in (TOKENIZERS, TOKENIZERS[1:]):
        grid = grid_of(found, tokenizers, [f"reversed_{name}" for name in POSITIONS])
        rows = rows_of_cross(grid, found, track, Path("results"), harness)
        starts = np.array([[row.counts.shares[:, 0] for row in line if row.counts] for line in rows])
        rng = np.random.default_rng(0)
        truth = [one.value for one in intervals(starts.mean(axis=2, keepdims=True), WITHOUT_LUCK)]
        held = np.zeros(len(truth))
        for _ in range(GRIDS):
            drawn = rng.choice(starts.shape[2], size=(*starts.shape[:2], SEEDS))
            shares = rng.binomial(PROBLEMS, np.take_along_axis(starts, drawn, axis=2)) / PROBLEMS
            held += [one.low <= true <= one.high for one, true in zip(intervals(shares, PROBLEMS), truth, strict=True)]
        names = ["by tokenizers", "by positions", "interplay", *(one.name for one in grid.tokenizers + grid.positions)]
        put("; ".join(f"{name} {share:.2f}" for name, share in zip(names, held / GRIDS, strict=True)))


def intervals(shares: NDArray[np.float64], total: int) -> list[Estimate]:
    """`shares`: (tokenizers, positions, seeds)."""
    cells = [[[[round(share * total)] for share in cell] for cell in line] for line in shares.tolist()]
    found = main_effects([[Counts.of(cell, [[total]] * len(cell)) for cell in line] for line in cells])
    assert isinstance(found, Effects)
    explained = [found.explained_by_rows, found.explained_by_columns, found.interplay]
    return [*explained, *filter(None, found.rows + found.columns)]


if __name__ == "__main__":
    main()
