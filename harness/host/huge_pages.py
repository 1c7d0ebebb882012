"""Huge pages for the memory that hosts inherit, since what a fork costs is the copy of the page table.

A zygote has 250 MB of its own, whose table takes some 60,000 entries; in pages of 2 MB it takes few.
"""

import contextlib
import ctypes
import sys
from pathlib import Path

MADV_COLLAPSE = 25
"""Since Linux 6.1; see madvise(2). Older kernels refuse it, and forks stay slower."""


def use_huge_pages() -> None:
    """Moves this process's private memory into huge pages, as far as the kernel can; does nothing outside Linux."""
    if sys.platform != "linux":
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    with contextlib.suppress(OSError):  # /proc may not be there
        # Bytes: each line ends in the path of a library, which need not be UTF-8.
        for mapping in Path("/proc/self/maps").read_bytes().split(b"\n")[:-1]:
            addresses, permissions, _, _, file, *_ = mapping.split()
            if permissions == b"rw-p" and file == b"0":
                start, end = (int(address, 16) for address in addresses.split(b"-"))
                madvise(start, end - start, MADV_COLLAPSE)
