"""The parent's side of the sandbox: which level this machine offers, and how a zygote is started at it.

| level | namespaces (bubblewrap) | Landlock, system call filter, limits |
|---|---|---|
| strong | yes | yes |
| medium | no | yes |
| none | no | no; only with `--trust-submissions`, and never ranked |

A level counts as offered if a process could actually be locked down at it; nothing is inferred from version numbers.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import harness
from harness.errors import MachineError

TRUST = "HARNESS_TRUST_SUBMISSIONS"
"""Set in the environment by `--trust-submissions`, for the workers too."""
NOBODY = 65534
SCRATCH = "/tmp"
SCRATCH_BYTES = 64 << 20
REHEARSAL_S = 30.0


class Isolation(StrEnum):
    STRONG = "strong"
    MEDIUM = "medium"
    NONE = "none"


@cache
def isolation() -> Isolation:
    """The strongest level that this machine offers.

    Raises:
        MachineError: it offers none, and nobody said that the submissions are trusted; or it is too busy to say.
    """
    problems: list[str] = []
    for level in (Isolation.STRONG, Isolation.MEDIUM):
        problem = why_not(level)
        if problem is None:
            return level
        problems.append(f"{level}: {problem}")
    if os.environ.get(TRUST) == "1":
        return Isolation.NONE
    raise MachineError(
        f"there is no sandbox for the submissions here ({'; '.join(problems)}); install bubblewrap on a Linux of 2021 "
        "or later, or, if you trust every one of them with your files, say so with --trust-submissions"
    )


@cache
def why_not(level: Isolation) -> str | None:
    """Why no process can be locked down at that level, or None if one just was.

    Raises:
        MachineError: the machine is too busy to say.
    """
    if sys.platform != "linux":
        return f"{sys.platform} has no Landlock"
    if level is Isolation.STRONG and shutil.which("bwrap") is None:
        return "bubblewrap is not installed (`apt install bubblewrap`)"
    settings = {"path": import_path(), "level": level, "rehearse": True, "readable": readable()}
    try:
        done = subprocess.run(
            command(level, settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=REHEARSAL_S,
            env=environment(hash_seed=0),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        # No reason to take a weaker sandbox: the same machine offers this one a minute later.
        message = f"no process could be locked down within {REHEARSAL_S:g} s; try again when the machine is less busy"
        raise MachineError(message) from error
    except OSError as error:
        return str(error)
    if done.returncode == 0 and done.stdout.strip() == "locked down":
        return None
    said = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
    said = "".join(character for character in said if character.isprintable())[:200]
    if level is Isolation.MEDIUM and os.getuid() == 0:
        return f"without bubblewrap, an unprivileged user must be able to read {sys.base_prefix}: {said}"
    return said


def command(level: Isolation, settings: dict[str, object]) -> list[str]:
    """The command line of a zygote at that level."""
    bootstrap = Path(__file__).with_name("bootstrap.py")
    # Not -I, which would ignore PYTHONHASHSEED as well; of the caller's environment nothing is passed on anyway.
    python = [sys.executable, "-P", "-s", str(bootstrap), json.dumps(settings)]
    return [*_bubblewrap(), *python] if level is Isolation.STRONG else python


def environment(hash_seed: int) -> dict[str, str]:
    """What a host may know of the machine: where programs are, and that it has one core and no GPU."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "USER": "nobody",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONHASHSEED": str(hash_seed),
    }


def import_path() -> list[str]:
    return [path for path in sys.path if path]


def readable() -> list[str]:
    """The folders a host may read: the system's, the interpreter's, its packages', and the harness's own code."""
    found = ["/usr", "/lib", "/lib32", "/lib64", "/bin", sys.base_prefix, sys.prefix, *_package_folders()]
    there = [Path(path) for path in found if Path(path).exists()]
    return list(dict.fromkeys(map(str, [*there, *(path.resolve() for path in there)])))


def _package_folders() -> list[str]:
    """The folders of Python's own modules, of torch and numpy (perhaps in a user's own folder), and of the harness."""
    paths = sysconfig.get_paths()
    found = [find_spec(name) for name in ("torch", "numpy")]
    packages = [str(Path(spec.origin).parents[1]) for spec in found if spec and spec.origin]
    return [paths["stdlib"], paths["purelib"], paths["platlib"], *packages, str(Path(harness.__file__).parent)]


def _bubblewrap() -> list[str]:
    """bubblewrap's part of the command line: new namespaces and a root that holds what can be read and nothing else."""
    program = shutil.which("bwrap") or "bwrap"  # found here, since it is started with the hosts' PATH
    arguments = [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    arguments += ["--hostname", "host"]
    arguments += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if os.getuid() == 0:
        # The real root makes the mounts and gives up root inside (bootstrap.py): in a user namespace of its own it
        # would remain the owner of /proc/sys, and an unprivileged user could not look into /root, where Python may lie.
        arguments += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        arguments += ["--unshare-user", "--disable-userns", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    # These come first, since what is bound next may lie below /tmp, in a checkout there, say.
    arguments += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
    arguments += ["--perms", "1777", "--size", str(SCRATCH_BYTES), "--tmpfs", SCRATCH]
    made: set[str] = {"/", SCRATCH}
    bound: set[str] = set()
    for path in sorted(readable()):
        if any(path.startswith(f"{other}/") for other in bound):
            continue
        for parent in reversed(Path(path).parents):
            if str(parent) not in made:
                arguments += ["--perms", "0755", "--dir", str(parent)]
                made.add(str(parent))
        is_link = Path(path).is_symlink()
        arguments += ["--symlink", str(Path(path).readlink()), path] if is_link else ["--ro-bind", path, path]
        made.add(path)
        bound.add(path)
    if Path("/etc/ld.so.cache").exists():
        arguments += ["--perms", "0755", "--dir", "/etc", "--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--"]
