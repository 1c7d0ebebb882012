"""Code of a hostile submission: every function is one attack that returns if it succeeds and raises if it is blocked.

It runs as the tokenizer of a submission: id n decodes to what became of the n-th attack. `GIVEN` is what the test made
for it to reach for. Everything here is harmless where it succeeds, since the controls run it without a sandbox: loopback
only, files of the test's own, system settings opened and never written, processes, memory and time bounded.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

GIVEN = json.loads("GIVEN HERE")
HERE, HARNESS, TORCH = GIVEN["folder"], GIVEN["harness"], GIVEN["torch"]
PARENT = GIVEN["parent"]
libc = ctypes.CDLL(None, use_errno=True)


def system_call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def refused_for_its_arguments(number, *arguments):
    """A call that reaches the kernel's own checks has not been blocked."""
    try:
        system_call(number, *arguments)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            raise


# reading


def read_a_key():
    Path(HERE, "key").read_text()


def read_a_key_by_its_descriptor():
    os.read(os.open(f"{HERE}/key", os.O_RDONLY | os.O_NOFOLLOW), 100)


def read_a_key_through_a_link_made_here():
    link = Path(f"/tmp/link-{os.getpid()}")
    link.symlink_to(f"{HERE}/key")
    try:
        link.read_text()
    finally:
        link.unlink()


def read_what_is_attached_to_a_key():
    os.getxattr(f"{HERE}/key", "user.origin")


def list_what_is_attached_to_a_key():
    os.listxattr(f"{HERE}/key")


def read_the_results():
    Path(HERE, "results", "record.json").read_text()


def list_the_other_submissions():
    assert os.listdir(f"{HERE}/submissions")


def read_the_list_of_users():
    Path("/etc/passwd").read_text()


def read_the_environment_of_the_harness():
    Path(f"/proc/{PARENT}/environ").read_bytes()


def open_the_memory_of_the_harness():
    os.close(os.open(f"/proc/{PARENT}/mem", os.O_RDONLY))


def list_the_processes():
    assert [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def read_the_folders_of_other_hosts():
    others = [name for name in os.listdir("/tmp") if name.startswith("harness-host-")]
    assert any(os.listdir(f"/tmp/{name}") for name in others if os.access(f"/tmp/{name}", os.R_OK))


def ask_for_a_handle_of_a_file():
    refused_for_its_arguments(
        303, -100, f"{HERE}/key".encode(), ctypes.create_string_buffer(200), ctypes.byref(ctypes.c_int()), 0
    )


# writing


def write_a_result():
    Path(HERE, "results", "forged.json").write_text("{}")


def change_a_result_in_place():
    os.close(os.open(f"{HERE}/results/record.json", os.O_WRONLY))


def delete_a_file():
    Path(HERE, "to_delete").unlink()


def rename_a_file():
    os.rename(f"{HERE}/to_rename", f"{HERE}/renamed")


def make_a_file_executable():
    os.chmod(f"{HERE}/key", 0o700)


def change_the_time_of_a_file():
    os.utime(f"{HERE}/key", (0, 0))


def truncate_a_file():
    os.truncate(f"{HERE}/to_truncate", 0)


def link_a_file():
    os.link(f"{HERE}/key", f"{HERE}/linked")


def open_the_harness_for_writing():
    os.close(os.open(f"{HARNESS}/trial.py", os.O_WRONLY))


def open_torch_for_writing():
    os.close(os.open(TORCH, os.O_WRONLY))


def rewrite_its_own_code():
    with Path(__file__).open("a") as file:
        file.write("\n")


def leave_a_file_for_the_next_host():
    path = Path(f"/tmp/left-{os.getpid()}")
    path.write_text("x")
    path.unlink()


def fill_shared_memory():
    path = Path(f"/dev/shm/left-{os.getpid()}")
    path.write_text("x")
    path.unlink()


def make_a_pipe_in_a_folder():
    os.mkfifo(f"{HERE}/pipe")


def open_a_setting_of_the_kernel_for_writing():
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))


def make_memory_that_is_a_file():
    os.close(os.memfd_create("x"))


def make_memory_that_outlives_the_process():
    system_call(31, system_call(29, 0, 4096, 0o600 | 0o1000), 0, None)


def make_a_queue_that_outlives_the_process():
    system_call(71, system_call(68, 0, 0o600 | 0o1000), 0, None)


def send_to_a_queue_that_somebody_else_made():
    refused_for_its_arguments(69, 0, 0, 0, 0)  # msgsnd


def ask_for_somebody_elses_memory():
    refused_for_its_arguments(31, 0, 0, 0)  # shmctl


def make_semaphores_that_outlive_the_process():
    system_call(66, system_call(64, 0, 1, 0o600 | 0o1000), 0, 0, None)


# the network


def connect_by_tcp():
    socket.create_connection(("127.0.0.1", GIVEN["tcp"]), timeout=2).close()


def listen_on_tcp():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))


def send_by_udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.sendto(b"x", ("127.0.0.1", GIVEN["udp"]))


def connect_to_a_unix_socket():
    with socket.socket(socket.AF_UNIX) as connecting:
        connecting.connect(f"{HERE}/socket")


def connect_to_an_abstract_socket():
    with socket.socket(socket.AF_UNIX) as connecting:
        connecting.connect("\0" + GIVEN["abstract"])


def talk_to_the_kernel_by_netlink():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


def reach_the_machine_below():
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()


def make_a_pair_of_sockets():
    for one in socket.socketpair():
        one.close()


def make_a_ring_for_io():
    os.close(system_call(425, 4, ctypes.create_string_buffer(120)))


# words for another host, on a file that both may read


def leave_a_lock_on_a_file():
    with open(TORCH, "rb") as file:
        fcntl.fcntl(file, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 12345, 1, 0))


def ask_who_has_locked_a_file():
    with open(TORCH, "rb") as file:
        fcntl.fcntl(file, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 12345, 1, 0))


def lock_a_whole_file():
    with open(TORCH, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)


def drop_a_file_from_the_cache():
    with open(TORCH, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 4096, os.POSIX_FADV_DONTNEED)


def ask_what_is_in_the_cache():
    with open(TORCH, "rb") as file:
        os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_HIPRI)


def drop_mapped_pages_from_the_cache():
    with open(TORCH, "rb") as file, mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_READ) as pages:
        pages.madvise(21)  # MADV_PAGEOUT


def have_mapped_pages_dropped_first():
    with open(TORCH, "rb") as file, mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_READ) as pages:
        pages.madvise(20)  # MADV_COLD


def ask_which_mapped_pages_are_in_the_cache():
    with open(TORCH, "rb") as file:
        pages = mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_COPY)
    start = ctypes.byref(ctypes.c_char.from_buffer(pages))
    system_call(27, start, ctypes.c_size_t(4096), ctypes.create_string_buffer(1))  # mincore


def watch_a_folder():
    os.close(system_call(294, 0))


# other processes


def signal_the_harness():
    os.kill(PARENT, 0)


def signal_the_process_it_came_from():
    os.kill(os.getppid(), 0)


def have_the_kernel_signal_the_harness():
    fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, PARENT)  # with O_ASYNC, at the next byte


def have_the_kernel_signal_a_thread_of_the_harness():
    fcntl.fcntl(os.pipe()[0], 15, struct.pack("ii", 0, PARENT))  # F_SETOWN_EX


def choose_which_signal_the_kernel_sends():
    fcntl.fcntl(os.pipe()[0], fcntl.F_SETSIG, 9)


def have_the_kernel_signal_the_harness_by_ioctl():
    refused_for_its_arguments(16, os.pipe()[0], 0x8901, struct.pack("i", PARENT))  # FIOSETOWN, which pipes have not


def ask_for_signals_by_ioctl():
    fcntl.ioctl(os.pipe()[0], 0x5452, struct.pack("i", 0))  # FIOASYNC


def signal_everybody():
    os.kill(-1, 0)


def signal_a_thread_of_another_process():
    system_call(200, PARENT, 0)


def hold_the_harness_by_a_descriptor():
    os.close(os.pidfd_open(PARENT))


def read_the_memory_of_the_harness():
    refused_for_its_arguments(310, PARENT, None, 0, None, 0, 0)


def trace_the_harness():
    system_call(101, 0x4206, PARENT, 0, 0)  # seized, not stopped; let go when this process ends


def read_the_limits_of_the_harness():
    resource.prlimit(PARENT, resource.RLIMIT_NOFILE)


def pin_the_harness_to_a_core():
    os.sched_setaffinity(PARENT, os.sched_getaffinity(PARENT))


def outlive_the_process_that_forked_it():
    system_call(157, 1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG, nothing


def renice_the_harness():
    os.setpriority(os.PRIO_PROCESS, PARENT, os.getpriority(os.PRIO_PROCESS, PARENT))


def fork():
    process_id = os.fork()
    if process_id == 0:
        os._exit(0)
    os.waitpid(process_id, 0)


def fork_a_hundred():
    children = []
    try:
        for _ in range(100):
            children.append(os.fork())
            if children[-1] == 0:
                time.sleep(0.2)
                os._exit(0)
    finally:
        for child in children:
            os.waitpid(child, 0)


def run_a_program():
    subprocess.run(["/bin/true"], check=True)


def become_a_program():
    try:
        os.execv("/nonexistent/program", ["x"])
    except FileNotFoundError:
        pass


def start_five_hundred_threads():
    end = threading.Event()
    threads = [threading.Thread(target=end.wait, daemon=True) for _ in range(500)]
    try:
        for thread in threads:
            thread.start()
    finally:
        end.set()


# the machine


def take_four_gigabytes():
    mmap.mmap(-1, 4 << 30).close()


def raise_its_limits():
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, 1 << 40))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 41, 1 << 41))


def unmount():
    refused_for_its_arguments(166, b"/nonexistent", 0)


def change_the_root():
    os.chroot("/")


def load_a_program_into_the_kernel():
    refused_for_its_arguments(321, 5, None, 0)


def count_the_processors_events():
    refused_for_its_arguments(298, None, 0, -1, -1, 0)


def handle_its_own_page_faults():
    os.close(system_call(323, 0))


def look_at_the_kernels_keys():
    system_call(250, 0, -3, 0)


def ask_for_another_personality():
    system_call(135, 0xFFFFFFFF)


def set_the_clock():
    refused_for_its_arguments(227, 12345, None)


def enter_a_namespace_of_its_own():
    system_call(272, 0x10000000)


ATTACKS = [globals()[name] for name in GIVEN["names"]]


class Tokenizer:
    vocab_size = len(ATTACKS) + 2
    pad_id = len(ATTACKS)
    eos_id = len(ATTACKS) + 1

    def __init__(self, max_digits):
        pass

    def encode(self, text):
        return [0]

    def decode(self, token_ids):
        """`name: succeeded`, or what blocked it."""
        if len(token_ids) != 1 or token_ids[0] >= len(ATTACKS):
            return ""
        attack = ATTACKS[token_ids[0]]
        try:
            attack()
        except BaseException as error:
            return f"{attack.__name__}: {type(error).__name__}: {error}"[:200]
        return f"{attack.__name__}: succeeded"
