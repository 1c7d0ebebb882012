"""The child's side of the sandbox: a process locks itself down before it imports a stranger's code.

Three layers of the kernel, each of which leaks when it stands alone (SECURITY.md): limits on what may be used, Landlock
on what may be opened, and a system call filter (seccomp) on what may be asked for. All three are permanent, for the
process and for whatever it starts. The system calls go through ctypes alone: this runs in every host, and a dependency
would have to be trusted as much as the kernel. `system_calls.py` says which calls the filter refuses.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.host.system_calls import ARCHITECTURES, system_call_filter

MAX_MEMORY_BYTES = 3 << 30
"""Address space beyond what the process has when it is locked down; importing torch alone maps gigabytes."""
MAX_CPU_S = 300
MAX_THREADS = 256
"""Counted per user, so for all hosts of this machine together."""
MAX_DESCRIPTORS = 256

READABLE_FILES = ("/proc/cpuinfo", "/proc/meminfo", "/dev/urandom", "/dev/random", "/etc/ld.so.cache")
"""Without /proc/cpuinfo torch picks other kernels, and a loss changes in its sixth digit."""

PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC = 1, 1

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
ABI_VERSION = 1
READ_FILE, WRITE_FILE, READ_DIR = 1 << 2, 1 << 1, 1 << 3
RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights over files each version of Landlock knows; from the fifth on, sixteen."""
TCP_RIGHTS, SCOPES = 0b11, 0b11
"""Bind and connect (version 4); abstract Unix sockets and signals (version 6)."""


class LockdownError(Exception):
    """The kernel refused a layer, so nothing may be imported in this process."""


def lock_down(folder: Path, readable: Sequence[str]) -> None:
    """Locks this process down for good.

    Args:
        folder: the submission's, which may be read.
        readable: other folders that may be read: the interpreter's and those it imports from.

    Raises:
        LockdownError: this machine lacks a layer.
    """
    if platform.machine() not in ARCHITECTURES or sys.platform != "linux":
        raise LockdownError(f"there is no system call filter for {sys.platform} on {platform.machine()}")
    _limit()
    if _libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise LockdownError(f"no_new_privs: {os.strerror(ctypes.get_errno())}")
    _restrict_files([str(folder), *readable])
    _filter_system_calls()


def landlock_version() -> int:
    """The version of Landlock; 0 where the kernel has none, or does not enable it."""
    return max(0, int(_libc().syscall(LANDLOCK_CREATE_RULESET, None, 0, ABI_VERSION)))


def _limit() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = {
        resource.RLIMIT_AS: used + MAX_MEMORY_BYTES,
        resource.RLIMIT_CPU: MAX_CPU_S,
        resource.RLIMIT_NPROC: MAX_THREADS,
        resource.RLIMIT_NOFILE: MAX_DESCRIPTORS,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for limit, value in limits.items():
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def _restrict_files(readable: Sequence[str]) -> None:
    version = landlock_version()
    if version == 0:
        raise LockdownError("the kernel has no Landlock, or it is not among its security modules")
    rights = (1 << RIGHTS_BY_ABI.get(version, 16)) - 1
    handled = struct.pack("<Q", rights)
    if version >= 4:
        handled += struct.pack("<Q", TCP_RIGHTS)
    if version >= 6:
        handled += struct.pack("<Q", SCOPES)
    ruleset = _checked(_libc().syscall(LANDLOCK_CREATE_RULESET, handled, len(handled), 0), "Landlock")
    allowed = [(path, READ_FILE | READ_DIR) for path in readable]
    allowed += [(path, READ_FILE) for path in READABLE_FILES] + [("/dev/null", READ_FILE | WRITE_FILE)]
    for path, wanted in allowed:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        beneath = struct.pack("<Qi", wanted if Path(path).is_dir() else wanted & ~READ_DIR, opened)
        _checked(_libc().syscall(LANDLOCK_ADD_RULE, ruleset, 1, beneath, 0), f"Landlock on {path}")
        os.close(opened)
    _checked(_libc().syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0), "Landlock")
    os.close(ruleset)


def _filter_system_calls() -> None:
    program = system_call_filter(platform.machine(), os.getpid())
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    number = {"x86_64": 317, "aarch64": 277}[platform.machine()]
    if _libc().syscall(number, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, header) != 0:
        # A positive answer is the id of a thread that could not be given the filter.
        raise LockdownError(f"seccomp: {os.strerror(ctypes.get_errno())}")


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise LockdownError(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
