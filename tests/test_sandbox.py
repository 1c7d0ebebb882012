"""The sandbox's filter, instruction by instruction, and what happens where there is no sandbox."""

import errno
import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from bad_folders import make_submission

from harness.errors import ExitCode, MachineError
from harness.host import lockdown, sandbox
from harness.host.client import Host
from harness.host.lockdown import ARCHITECTURES, REFUSED, system_call_filter
from harness.host.sandbox import Isolation, isolation, why_not

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
OWN_ID = 4242
ALLOWED = 0x7FFF0000
MACHINES = list(ARCHITECTURES)


def answer(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter answers, by running its program as the kernel would: 0 allowed, an errno, or -1 for a kill."""
    architecture = ARCHITECTURES[machine] if architecture is None else architecture
    data = struct.pack("<IIQ6Q", number, architecture, 0, *[*arguments, 0, 0, 0, 0, 0, 0][:6])
    program = list(struct.iter_unpack("<HBBI", system_call_filter(machine, OWN_ID)))
    place = value = 0
    while True:
        code, then, otherwise, operand = program[place]
        place += 1
        if code == 0x20:
            (value,) = struct.unpack_from("<I", data, operand)
        elif code == 0x06:
            return {ALLOWED: 0, 0x80000000: -1}.get(operand, operand & 0xFFFF)
        else:
            is_true = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
            place += then if is_true else otherwise


def number_of(name: str, machine: str) -> int:
    number = REFUSED[name][MACHINES.index(machine)]
    assert number is not None
    return number


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"no {header} here: install the kernel's headers for C")
    known = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()))
    tables = {**REFUSED, **lockdown.NO_SOCKETS, **lockdown.NO_PROCESSES}
    ours = {name: numbers[MACHINES.index(machine)] for name, numbers in tables.items()}
    ours |= {"clone": lockdown.CLONE[MACHINES.index(machine)], "clone3": lockdown.CLONE3[MACHINES.index(machine)]}
    ours |= {"ioctl": lockdown.IOCTL[MACHINES.index(machine)], "prlimit64": lockdown.PRLIMIT[MACHINES.index(machine)]}
    ours |= {"prctl": lockdown.PRCTL[MACHINES.index(machine)]}
    ours |= {"kill": lockdown.KILL[MACHINES.index(machine)], "tgkill": lockdown.TGKILL[MACHINES.index(machine)]}
    wrong = {
        name: (number, known[name]) for name, number in ours.items() if name in known and number != int(known[name])
    }
    assert wrong == {}
    absent = {name for name, number in ours.items() if number is not None and name not in known}
    younger_than_some_headers = {"fchmodat2", "memfd_secret", "process_madvise", "mount_setattr", "cachestat"}
    assert absent <= younger_than_some_headers | {"setxattrat", "removexattrat", "file_setattr", "open_tree_attr"}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", REFUSED)
def test_every_refused_call_is_answered_with_eperm(name: str, machine: str) -> None:
    number = REFUSED[name][MACHINES.index(machine)]
    if number is not None:
        assert answer(machine, number, 1, 2, 3) == errno.EPERM


@pytest.mark.parametrize(("machine", "read", "mmap", "futex"), [("x86_64", 0, 9, 202), ("aarch64", 63, 222, 98)])
def test_what_python_and_torch_need_is_allowed(machine: str, read: int, mmap: int, futex: int) -> None:
    assert [answer(machine, number, 1, 2, 3) for number in (read, mmap, futex)] == [0, 0, 0]


@pytest.mark.parametrize(("machine", "clone"), [("x86_64", 56), ("aarch64", 220)])
def test_a_thread_may_start_and_a_process_may_not(machine: str, clone: int) -> None:
    pthread_create, fork = 0x3D0F00, 0x1200011  # the flags that glibc passes
    assert answer(machine, clone, pthread_create) == 0
    assert answer(machine, clone, fork) == errno.EAGAIN
    assert answer(machine, 435) == errno.ENOSYS  # clone3: glibc falls back to clone, whose flags can be read


@pytest.mark.parametrize(("machine", "kill", "tgkill"), [("x86_64", 62, 234), ("aarch64", 129, 131)])
def test_a_process_may_signal_itself_alone(machine: str, kill: int, tgkill: int) -> None:
    assert answer(machine, kill, OWN_ID, 9) == answer(machine, tgkill, OWN_ID, OWN_ID, 6) == 0
    for other in (1, 0, 2**32 - 1, OWN_ID + 1):
        assert answer(machine, kill, other, 9) == answer(machine, tgkill, other, other, 6) == errno.EPERM


@pytest.mark.parametrize(("machine", "prlimit"), [("x86_64", 302), ("aarch64", 261)])
def test_a_process_may_ask_for_its_own_limits_alone(machine: str, prlimit: int) -> None:
    assert answer(machine, prlimit, 0, 7) == answer(machine, prlimit, OWN_ID, 7) == 0
    assert answer(machine, prlimit, 1, 7) == errno.EPERM


@pytest.mark.parametrize(("machine", "prctl"), [("x86_64", 157), ("aarch64", 167)])
def test_a_process_may_not_choose_to_outlive_its_parent(machine: str, prctl: int) -> None:
    set_death_signal, get_death_signal, set_name = 1, 2, 15
    assert answer(machine, prctl, set_death_signal, 0) == answer(machine, prctl, set_death_signal, 9) == errno.EPERM
    assert answer(machine, prctl, get_death_signal, 0) == answer(machine, prctl, set_name, 0) == 0


@pytest.mark.parametrize("machine", MACHINES)
def test_refused_controls_are_refused_whatever_the_upper_half_says_and_others_are_not(machine: str) -> None:
    column = MACHINES.index(machine)
    for call, controls in ((lockdown.FCNTL, lockdown.FCNTLS), (lockdown.IOCTL, lockdown.IOCTLS)):
        for control in controls.values():
            assert answer(machine, call[column], 1, control, 0) == errno.EPERM
            assert answer(machine, call[column], 1, control | 1 << 32, 0) == errno.EPERM
    assert answer(machine, lockdown.IOCTL[column], 1, 0x5401) == 0  # isatty
    duplicate, get_flags, set_flags = 0, 3, 4
    for control in (duplicate, get_flags, set_flags):
        assert answer(machine, lockdown.FCNTL[column], 1, control, 0) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="Python knows the numbers of the system that it runs on")
def test_the_controls_of_files_and_of_devices_are_those_that_python_knows_by_name() -> None:
    for controls, module in ((lockdown.FCNTLS, fcntl), (lockdown.IOCTLS, termios)):
        known = {name: getattr(module, name) for name in controls if hasattr(module, name)}
        assert known.keys() & {"F_SETOWN", "FIOASYNC"}
        assert {name: controls[name] for name in known} == known


def test_calls_of_another_architecture_kill_and_those_of_x32_and_of_the_future_are_refused() -> None:
    assert answer("x86_64", 0, architecture=0x40000003) == -1  # 32-bit calls, whose numbers mean others
    assert answer("x86_64", 0x40000000 | 59) == errno.EPERM
    assert answer("x86_64", 10_000) == answer("aarch64", 10_000) == errno.ENOSYS


@pytest.fixture
def nothing_offered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without bubblewrap and without Landlock, simulated: this kernel cannot be told to lose it."""
    isolation.cache_clear()
    monkeypatch.setattr(sandbox, "why_not", lambda level: f"no {level} here")
    yield
    isolation.cache_clear()


@pytest.mark.usefixtures("nothing_offered")
def test_without_a_sandbox_nothing_runs_and_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sandbox.TRUST, raising=False)
    with pytest.raises(
        MachineError, match=r"strong: no strong here; medium: no medium here.*--trust-submissions"
    ) as caught:
        isolation()
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.usefixtures("nothing_offered")
def test_trusted_submissions_run_without_a_sandbox_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sandbox.TRUST, "1")
    assert isolation() is Isolation.NONE


def test_trust_makes_no_sandbox_weaker(monkeypatch: pytest.MonkeyPatch) -> None:
    if all(why_not(level) for level in (Isolation.STRONG, Isolation.MEDIUM)):
        pytest.skip("this machine offers no sandbox")
    monkeypatch.setenv(sandbox.TRUST, "1")
    isolation.cache_clear()
    assert isolation() is not Isolation.NONE


def test_a_machine_without_bubblewrap_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    why_not.cache_clear()
    try:
        assert why_not(Isolation.STRONG) == "bubblewrap is not installed (`apt install bubblewrap`)"
    finally:
        why_not.cache_clear()


def test_bubblewrap_is_started_where_it_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the caller's path, which may lead elsewhere than that of hosts."""
    (tmp_path / "bwrap").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sandbox.command(Isolation.STRONG, {})[0] == str(tmp_path / "bwrap")


def test_a_machine_that_is_too_busy_to_say_gets_no_weaker_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_slow(command: list[str], **settings: object) -> None:
        raise subprocess.TimeoutExpired(command, sandbox.PROBE_S)

    why_not.cache_clear()
    monkeypatch.setattr(subprocess, "run", too_slow)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv(sandbox.TRUST, "1")
    isolation.cache_clear()
    with pytest.raises(MachineError, match=r"^no process could be locked down within 30 s; try again when .* busy$"):
        isolation()


def test_a_host_that_cannot_lock_itself_down_imports_nothing(tmp_path: Path) -> None:
    """A zygote told to let its hosts read what Landlock cannot be asked for: the layer fails, and the host ends."""
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, str(make_submission(tmp_path, top="raise SystemExit('imported')").folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "a host could not lock itself down" in done.stderr
    assert "imported" not in done.stderr


BROKEN = """
import sys
import termios
from pathlib import Path
from harness.host import zygote
from harness.host.client import Host
from harness.submissions import read_folder
from itertools import pairwise
zygote.readable = lambda: ["/dev/null/not/a/folder"]
Host(read_folder(Path(sys.argv[1])), "answers")
"""


def test_every_level_gives_the_same_encoding(tmp_path: Path) -> None:
    submission = make_submission(tmp_path)
    levels = [level for level in Isolation if level is Isolation.NONE or why_not(level) is None]
    encoded = []
    for level in levels:
        with Host(submission, "prompts", max_digits=2, level=level) as host:
            encoded.append(host.encode(["12+34=", "5+6="], host.describe()).rows())
    assert encoded == [[[1, 2, 10, 3, 4, 11], [5, 10, 6, 11]]] * len(levels)


@pytest.mark.parametrize(("machine", "numbers"), [("x86_64", (129, 297)), ("aarch64", (138, 240))])
def test_queued_signals_too_go_to_the_own_process_alone(machine: str, numbers: tuple[int, int]) -> None:
    """rt_sigqueueinfo and rt_tgsigqueueinfo."""
    for number in numbers:
        assert answer(machine, number, OWN_ID, 9) == 0
        assert answer(machine, number, 1, 9) == errno.EPERM


@pytest.mark.parametrize(("machine", "openat"), [("x86_64", 257), ("aarch64", 56)])
def test_a_file_that_may_only_be_read_cannot_be_emptied_by_opening_it(machine: str, openat: int) -> None:
    assert answer(machine, openat, 3, 0, 0o1000) == errno.EPERM
    assert answer(machine, openat, 3, 0, 0) == 0


def test_no_call_drops_out_of_the_list_of_refused_ones_by_itself() -> None:
    """The other tests run over the list, and would not miss one."""
    assert {"ptrace", "mount", "bpf", "io_uring_setup", "process_vm_writev", "fchmodat2", "setxattr"} <= set(REFUSED)


def test_bubblewrap_gets_namespaces_no_capabilities_and_nothing_to_write_to() -> None:
    arguments = sandbox.command(Isolation.STRONG, {})
    for option in ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--die-with-parent", "--new-session"):
        assert option in arguments
    pairs = set(pairwise(arguments))
    assert {("--cap-drop", "ALL"), ("--remount-ro", "/"), ("--remount-ro", "/dev")} <= pairs
