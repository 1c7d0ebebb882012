"""The sandbox's filter, instruction by instruction, and what happens where there is no sandbox."""

import errno
import fcntl
import os
import re
import socket
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
from harness.host import lockdown, sandbox, system_calls
from harness.host.client import Host
from harness.host.sandbox import Isolation, isolation, why_not
from harness.host.system_calls import ARCHITECTURES, REFUSED, system_call_filter

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
    tables = {**REFUSED, **system_calls.NO_SOCKETS, **system_calls.NO_PROCESSES}
    ours = {name: numbers[MACHINES.index(machine)] for name, numbers in tables.items()}
    ours |= {
        "clone": system_calls.CLONE[MACHINES.index(machine)],
        "clone3": system_calls.CLONE3[MACHINES.index(machine)],
    }
    ours |= {
        "ioctl": system_calls.IOCTL[MACHINES.index(machine)],
        "prlimit64": system_calls.PRLIMIT[MACHINES.index(machine)],
    }
    ours |= {
        "prctl": system_calls.PRCTL[MACHINES.index(machine)],
        "madvise": system_calls.MADVISE[MACHINES.index(machine)],
    }
    ours |= {"kill": system_calls.KILL[MACHINES.index(machine)], "tgkill": system_calls.TGKILL[MACHINES.index(machine)]}
    wrong = {
        name: (number, known[name]) for name, number in ours.items() if name in known and number != int(known[name])
    }
    assert wrong == {}
    absent = {name for name, number in ours.items() if number is not None and name not in known}
    younger_than_some_headers = {"fchmodat2", "memfd_secret", "process_madvise", "mount_setattr", "cachestat"}
    younger_than_some_headers |= {"setxattrat", "getxattrat", "listxattrat", "removexattrat"}
    younger_than_some_headers |= {"file_setattr", "open_tree_attr", "statmount", "listmount"}
    assert absent <= younger_than_some_headers


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
    for call, controls in ((system_calls.FCNTL, system_calls.FCNTLS), (system_calls.IOCTL, system_calls.IOCTLS)):
        for control in controls.values():
            assert answer(machine, call[column], 1, control, 0) == errno.EPERM
            assert answer(machine, call[column], 1, control | 1 << 32, 0) == errno.EPERM
    assert answer(machine, system_calls.IOCTL[column], 1, 0x5401) == 0  # isatty
    duplicate, get_flags, set_flags = 0, 3, 4
    for control in (duplicate, get_flags, set_flags):
        assert answer(machine, system_calls.FCNTL[column], 1, control, 0) == 0


@pytest.mark.parametrize(("machine", "madvise"), [("x86_64", 28), ("aarch64", 233)])
def test_memory_may_be_given_back_and_no_page_be_dropped_that_others_share(machine: str, madvise: int) -> None:
    cold, pageout = 20, 21
    for advice in (cold, pageout):
        assert answer(machine, madvise, 0, 4096, advice) == errno.EPERM
        assert answer(machine, madvise, 0, 4096, advice | 1 << 32) == errno.EPERM  # the kernel reads an int
    dontneed, free, hugepage = 4, 8, 14  # what malloc and torch ask for
    assert [answer(machine, madvise, 21, 20, advice) for advice in (dontneed, free, hugepage)] == [0, 0, 0]


@pytest.mark.skipif(sys.platform != "linux", reason="Python knows the numbers of the system that it runs on")
def test_the_controls_of_files_and_of_devices_are_those_that_python_knows_by_name() -> None:
    for controls, module in ((system_calls.FCNTLS, fcntl), (system_calls.IOCTLS, termios)):
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
        raise subprocess.TimeoutExpired(command, sandbox.REHEARSAL_S)

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


DOCKER = """acct add_key bpf clock_adjtime clock_settime delete_module finit_module init_module ioperm iopl kcmp
kexec_file_load kexec_load keyctl mount move_pages open_by_handle_at perf_event_open personality pivot_root
process_vm_readv process_vm_writev ptrace quotactl reboot request_key setns settimeofday swapoff swapon syslog umount2
unshare userfaultfd io_uring_setup io_uring_enter io_uring_register fanotify_init name_to_handle_at adjtimex"""
"""Of https://docs.docker.com/engine/security/seccomp/ and the profile itself, what newer kernels still have."""
LANDLOCK_ALLOWS = """chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat
setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr setxattrat removexattrat file_setattr flock
truncate creat mknod mknodat"""
"""Of landlock(7), "Filesystem actions", and what of it the first version leaves open or newer kernels add."""
ATTACHED = "getxattr lgetxattr fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat"
MOUNT_API = "open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick mount_setattr chroot"
OF_OTHER_PROCESSES = """pidfd_open pidfd_getfd pidfd_send_signal process_madvise tkill sched_setaffinity sched_setparam
sched_setscheduler sched_setattr setpriority ioprio_set migrate_pages execve execveat"""
SHARED = """shmget shmat shmctl shmdt msgget msgsnd msgrcv msgctl semget semop semtimedop semctl mq_open memfd_create
memfd_secret fadvise64 readahead preadv2 cachestat mincore inotify_init inotify_init1"""


@pytest.mark.parametrize("family", [DOCKER, LANDLOCK_ALLOWS, ATTACHED, MOUNT_API, OF_OTHER_PROCESSES, SHARED])
def test_no_call_drops_out_of_the_list_of_refused_ones_by_itself(family: str) -> None:
    """The other tests run over the list, and would not miss one."""
    assert set(family.split()) - set(REFUSED) == set()


@pytest.mark.parametrize("machine", MACHINES)
def test_no_older_and_no_newer_call_is_a_way_round_one_that_is_filtered_by_its_arguments(machine: str) -> None:
    emptying, openat2, newest_known, unknown = 0o1000, 437, 469, 470  # Linux 6.17 ends with file_setattr
    assert answer(machine, openat2, 3, 0, 0) == errno.ENOSYS  # its flags lie behind a pointer
    assert [answer(machine, number) for number in (newest_known, unknown)] == [errno.EPERM, errno.ENOSYS]
    if machine == "x86_64":
        opening, fork, vfork = 2, 57, 58
        assert answer(machine, opening, 0, emptying) == errno.EPERM
        assert answer(machine, opening, 0, 0) == 0
        assert answer(machine, fork) == answer(machine, vfork) == errno.EAGAIN


@pytest.mark.skipif(sys.platform != "linux", reason="Python knows the numbers of the system that it runs on")
@pytest.mark.parametrize("machine", MACHINES)
def test_of_what_python_can_ask_of_an_open_file_only_what_concerns_the_file_alone_is_allowed(machine: str) -> None:
    own = {"F_DUPFD", "F_DUPFD_CLOEXEC", "F_GETFD", "F_SETFD", "F_GETFL", "F_SETFL", "F_GETOWN", "F_GETSIG"}
    own |= {"F_GETPIPE_SZ", "F_SETPIPE_SZ", "F_ADD_SEALS", "F_GET_SEALS", "F_DUPFD_QUERY"}
    controls = {name: getattr(fcntl, name) for name in dir(fcntl) if re.match("F_(DUP|GET|SET|OFD|ADD|NOTIFY)", name)}
    number = system_calls.FCNTL[MACHINES.index(machine)]
    assert {name for name, control in controls.items() if answer(machine, number, 1, control) == 0} <= own
    assert {"F_SETLKW", "F_OFD_SETLK", "F_SETLEASE", "F_GETLEASE", "F_NOTIFY"} <= controls.keys()
    hints_of_an_inode = range(1035, 1039)  # which Python knows by name from 3.13 on
    assert {answer(machine, number, 1, control) for control in hints_of_an_inode} == {errno.EPERM}


@pytest.mark.parametrize("machine", MACHINES)
def test_devices_cannot_be_asked_to_type_to_change_a_file_or_to_signal(machine: str) -> None:
    """By the kernel's _IOW(type, number, size); the others have no formula (asm-generic/ioctls.h, sockios.h)."""

    def writing(kind: str, number: int, size: int) -> int:
        return 1 << 30 | size << 16 | ord(kind) << 8 | number

    set_flags, set_attributes = writing("f", 2, 8), writing("X", 32, 28)  # a long, a struct fsxattr
    type_a_letter, of_a_console, asynchronous, own_a_file, own_a_socket = 0x5412, 0x541C, 0x5452, 0x8901, 0x8902
    number = system_calls.IOCTL[MACHINES.index(machine)]
    for control in (set_flags, set_attributes, type_a_letter, of_a_console, asynchronous, own_a_file, own_a_socket):
        assert answer(machine, number, 1, control) == errno.EPERM, hex(control)


@pytest.mark.skipif(lockdown.landlock_version() < 6, reason="this kernel's Landlock knows neither sockets nor signals")
def test_landlock_holds_files_sockets_and_signals_by_itself(tmp_path: Path) -> None:
    """Without the filter, which would refuse all of it first: a layer that leaks is noticed before the other does."""
    (tmp_path / "kept").write_text("kept")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as hidden:
        hidden.bind(f"\0harness-test-{os.getpid()}")
        hidden.listen()
        given = [str(tmp_path / "kept"), str(tcp.getsockname()[1]), f"harness-test-{os.getpid()}", str(os.getpid())]
        seen = [
            subprocess.run(
                [sys.executable, "-c", LANDLOCK_ALONE, locked, *given],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            ).stdout.split()
            for locked in ("", "locked")
        ]
    assert seen[0] == ["0"] * 6
    assert seen[1] == [str(number) for number in (13, 13, 13, 13, 1, 1)]  # EACCES; EPERM


LANDLOCK_ALONE = """
import ctypes, os, socket, sys
from harness.host import lockdown
locked, file, port, abstract, parent = sys.argv[1:]
sockets = [socket.socket(), socket.socket(), socket.socket(socket.AF_UNIX)]
if locked:
    ctypes.CDLL(None).prctl(lockdown.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    lockdown._restrict_files([])
for attempt in (
    lambda: os.close(os.open(file, os.O_RDONLY)),
    lambda: os.truncate(file, 2),
    lambda: sockets[0].connect(("127.0.0.1", int(port))),
    lambda: sockets[1].bind(("127.0.0.1", 0)),
    lambda: sockets[2].connect(chr(0) + abstract),
    lambda: os.kill(int(parent), 0),
):
    try:
        attempt()
    except OSError as error:
        print(error.errno)
    else:
        print(0)
"""


@pytest.mark.skipif(bool(why_not(Isolation.STRONG)), reason=f"strong: {why_not(Isolation.STRONG)}")
def test_bubblewrap_by_itself_gives_namespaces_and_a_root_of_its_own_and_nothing_to_write_to() -> None:
    """Before Landlock and the filter are there: what they would refuse as well."""
    command = sandbox.command(Isolation.STRONG, {})
    command = [*command[: command.index("--") + 1], sys.executable, "-I", "-c", LOOKING_AROUND]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=sandbox.environment(0))
    *namespaces, written, size, processes = done.stdout.splitlines()
    kinds = ("pid", "net", "ipc", "uts", "cgroup", "mnt")
    assert not {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds} & set(namespaces)
    assert len(set(namespaces)) == len(kinds)
    assert written == "['/tmp']"
    assert int(size) == 64 << 20
    assert int(processes) <= 2


LOOKING_AROUND = """
import os
for kind in ("pid", "net", "ipc", "uts", "cgroup", "mnt"):
    print(os.readlink(f"/proc/self/ns/{kind}"))
written = []
for folder in ("/", "/dev", "/usr", "/proc/sys/kernel", "/tmp"):
    name = "core_pattern" if folder == "/proc/sys/kernel" else "left"
    try:
        with open(f"{folder}/{name}", "r+" if name == "core_pattern" else "w"):
            written.append(folder)
    except OSError:
        pass
print(written)
room = os.statvfs("/tmp")
print(room.f_blocks * room.f_frsize)
print(sum(name.isdigit() for name in os.listdir("/proc")))
"""


def test_bubblewrap_gets_namespaces_no_capabilities_and_nothing_to_write_to() -> None:
    arguments = sandbox.command(Isolation.STRONG, {})
    for option in ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--die-with-parent", "--new-session"):
        assert option in arguments
    pairs = set(pairwise(arguments))
    assert {("--cap-drop", "ALL"), ("--remount-ro", "/"), ("--remount-ro", "/dev")} <= pairs


def test_an_ordinary_user_gets_a_user_namespace_in_which_no_other_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test that root runs cannot do for real."""
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    arguments = sandbox.command(Isolation.STRONG, {})
    assert {"--unshare-user", "--disable-userns"} <= set(arguments)
    assert {("--uid", "65534"), ("--gid", "65534"), ("--cap-drop", "ALL")} <= set(pairwise(arguments))
    assert "--cap-add" not in arguments


@pytest.mark.usefixtures("nothing_offered")
@pytest.mark.parametrize("value", ["", "0", "no"])
def test_only_the_one_value_that_the_option_sets_is_trust(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sandbox.TRUST, value)
    with pytest.raises(MachineError):
        isolation()
