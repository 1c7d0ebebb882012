"""What this run has begun, told to other runs on the same results, so that runs at the same time share the work.

They may be two terminals, a run for each of several GPUs, or machines of a cluster with a common disk: each run claims
what it begins, and passes over what another has claimed.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

FILE = ".claims"
"""In the folder of a track's results, while something runs; it is empty. A claim is a lock on one of its bytes, whose
place follows from the name; the system drops it when the process ends, however that ends."""
LARGEST_OFFSET = 2**63 - 1


class Claims:
    """The claims of this process in one folder; a context manager, at whose end they are given up.

    On a disk without locks everything can be claimed, and runs at the same time do the same work twice.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._file = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The file goes if no other run has a claim in it, which is so if every byte can be locked. Where somebody has
        # removed it, there may be another in its place, with claims of others.
        if self._is_current() and self._lock(start=0, length=0) and self._is_current():
            self._path.unlink(missing_ok=True)
        self._file.close()

    def take(self, names: Sequence[str]) -> bool:
        """Whether all `names` are this process's from now on; if another process has one of them, none is."""
        while True:
            mine = list(takewhile(lambda name: self._lock(start=_offset(name), length=1), names))
            if self._is_current():
                break
            # Whoever took the file away held every byte, so that this process has no claim yet that it could lose here.
            self._file.close()
            self._file = self._opened()
        if len(mine) < len(names):
            self.release(mine)
        return len(mine) == len(names)

    def release(self, names: Sequence[str]) -> None:
        """Gives up the claims of this process to `names`."""
        for name in names:
            with contextlib.suppress(OSError):  # a disk without locks
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _offset(name))

    def _opened(self) -> BinaryIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)  # somebody may have removed the results meanwhile
        return self._path.open("ab")

    def _is_current(self) -> bool:
        """Whether the open file is the one that other runs find."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def _lock(self, start: int, length: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
        except OSError as refusal:
            return refusal.errno not in {errno.EACCES, errno.EAGAIN}
        return True


def _offset(name: str) -> int:
    """The byte that stands for a name; practically no two names share one."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % LARGEST_OFFSET
