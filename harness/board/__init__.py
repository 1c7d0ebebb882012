"""The board: `leaderboard.md`, `leaderboard.html` and the plots, written from the records alone."""

from harness.board.rendering import render

__all__ = ["render"]
