"""The board: `leaderboard.md`, `leaderboard.html` and the plots, written from the records alone."""
