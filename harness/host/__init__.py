"""Where a submission's Python runs: a child process for each role, and the pipe that its answers come through."""
