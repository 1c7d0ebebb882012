"""The first lines of a worker: while it loads torch, so do the processes that will fork its hosts."""

import contextlib
import gc
import sys

from harness.errors import MachineError
from harness.host.sandbox import isolation
from harness.host.serve import die_with_parent
from harness.host.zygote import zygote_for


def main() -> None:
    """Loads torch and does the jobs that come on stdin."""
    die_with_parent(int(sys.argv[1]))
    with contextlib.suppress(MachineError):  # there is no sandbox, as the first job will say
        zygote_for(0, isolation())
    # What is imported stays; looking for garbage among its million objects would take a fifth of the time.
    gc.disable()
    from harness.engines import worker

    gc.freeze()
    gc.enable()
    worker.main()


if __name__ == "__main__":
    main()
