"""The board: `leaderboard.md` and its plots, written from the records alone."""

from harness.board.rendering import render

__all__ = ["render"]
