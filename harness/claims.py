"""What this run has begun, told to other runs on the same results, so that runs at the same time share the work.

They may be two terminals, a run for each of several GPUs, or machines of a cluster with a common disk: each run claims
what it begins, and passes over what another has claimed.
"""

import contextlib
import errno
import fcntl
import hashlib
from pathlib import Path
from types import TracebackType
from typing import Self

FILE = ".claims"
"""In the folder of a track's results, and empty. A claim is a lock on one of its bytes, whose place follows from the
name; the system drops it when the process ends, however that ends. The file is never removed: whoever did that could
take it away from a run that has just opened it, and two runs would then claim in different files, as they do when
somebody removes the folder while one of them is at work."""
LARGEST_OFFSET = 2**63 - 1


class Claims:
    """The claims of this process in one folder; a context manager, at whose end they are given up.

    On a disk without locks everything can be claimed, and runs at the same time do the same work twice.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / FILE).open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()  # which drops the locks

    def take(self, name: str) -> bool:
        """Whether `name` is this process's from now on; False if another process has it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(name))
        except OSError as refusal:
            return refusal.errno not in {errno.EACCES, errno.EAGAIN}
        return True

    def release(self, name: str) -> None:
        """Gives up this process's claim to `name`, if it has one."""
        with contextlib.suppress(OSError):  # a disk without locks
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _offset(name))


def _offset(name: str) -> int:
    """The byte that stands for a name; practically no two names share one."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % LARGEST_OFFSET
