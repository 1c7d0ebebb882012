"""The command `harness`, also as `python -m harness`."""

import sys


def main() -> None:
    """Imports the command line and runs it; Ctrl-C ends both in the same way."""
    try:
        from harness.cli import main as run  # not above, since Ctrl-C often comes while modules are imported

        run()
    except KeyboardInterrupt:
        from harness.errors import ExitCode

        sys.stderr.write("harness: interrupted\n")
        sys.exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    main()
