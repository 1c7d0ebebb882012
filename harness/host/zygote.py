"""A process that has imported what every host needs and forks one for each request.

Importing torch takes a second and torch.export's machinery another; a trial starts around ten hosts, an audit dozens.
A host forked from here starts in milliseconds and is as fresh as a newly spawned one: no submission's code ever runs in
the zygote. Hosts inherit its PYTHONHASHSEED, so there is one zygote for each hash seed that is asked for. It runs
inside the namespaces of the sandbox, if there are any; a host locks itself down further before it imports anything.

The socket carries JSON in both directions, each message preceded by its length (macOS has no sockets that keep messages
apart); a request to start a host carries three descriptors as well (its requests, its replies, its output). Process ids
are those of the zygote's namespace, so it is the zygote that kills hosts.
"""

import atexit
import contextlib
import faulthandler
import gc
import json
import os
import resource
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import EngineError
from harness.host.huge_pages import use_huge_pages
from harness.host.lockdown import lock_down
from harness.host.sandbox import Isolation, command, environment, import_path, readable

LENGTH = struct.Struct("<I")
FOLDER_PREFIX = "harness-host-"
REAP_S = 1.0
"""Seconds that a host is given to end after it has closed its pipes."""
COMPARED = (0, 1)
"""Hash seeds: the default, and the one that audits compare it with."""
MAX_UNUSED_IDS = 64
"""Fewer process ids than this are used up before a host starts."""


class Zygote:
    """The parent's handle on a zygote process.

    Args:
        hash_seed: PYTHONHASHSEED of its hosts.
        level: of the sandbox around it and its hosts.
        exports: whether it also warms torch.export up, for hosts of the role `positions`.
    """

    def __init__(self, hash_seed: int, level: Isolation, *, exports: bool) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        settings = {
            "path": import_path(),
            "level": level,
            "socket": theirs.fileno(),
            "exports": exports,
            "readable": readable(),
        }
        with theirs:
            self._process = subprocess.Popen(
                command(level, settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd="/",
                env=environment(hash_seed),
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def start(self, settings: dict[str, Any], descriptors: tuple[int, int, int]) -> int:
        """Forks a host and returns its process id in the zygote's namespace."""
        return self._ask({"start": settings}, descriptors)

    def exit_code(self, process_id: int) -> int | None:
        """A host's exit code (negative: the signal that killed it); None if it still runs or was asked about before."""
        return self._ask({"wait": process_id}, ())

    def ask_for_traceback(self, process_id: int) -> None:
        """Makes a host print its Python traceback, whatever it is doing."""
        self._ask({"traceback": process_id}, ())

    def kill(self, process_id: int) -> None:
        """Kills a host with everything it started, waits for it, and removes its files."""
        self._ask({"kill": process_id}, ())

    def close(self) -> None:
        self._socket.close()
        if self.is_running:
            # Its group, since bubblewrap starts as two processes, of which the second only later dies with the first.
            kill_group(self._process.pid)
        self._process.wait()

    def _ask(self, request: dict[str, Any], descriptors: tuple[int, ...]) -> Any:
        try:
            _send(self._socket, request, descriptors)
            answer, _ = _receive(self._socket)
        except OSError as error:
            self.close()
            message = "the process that starts hosts has ended; if memory ran out, run again with a smaller -j"
            raise EngineError(message) from error
        return answer


_zygotes: dict[tuple[int, Isolation], Zygote] = {}


def zygote_for(hash_seed: int, level: Isolation) -> Zygote:
    """This process's zygote for a hash seed and a level, a new one if the last has died; it ends with this process."""
    # Both are needed sooner or later, and this way they get ready at the same time.
    for needed in COMPARED if hash_seed in COMPARED else (hash_seed,):
        zygote = _zygotes.get((needed, level))
        if zygote is None or not zygote.is_running:
            # Hosts with other hash seeds are only asked to encode.
            zygote = _zygotes[needed, level] = Zygote(needed, level, exports=needed in COMPARED)
            atexit.register(zygote.close)
    return _zygotes[hash_seed, level]


def rehearse(readable: list[str]) -> None:
    """Locks this process down as a host would be, and says so; if anything is missing, ends with a message instead."""
    lock_down(Path("/usr"), readable)
    os.write(1, b"locked down\n")


def run(settings: dict[str, Any]) -> None:
    """Runs the zygote's loop until its parent closes the socket or ends; then its hosts end with all they started."""
    gc.disable()  # what is imported stays; looking for garbage among its million objects takes a quarter of the time
    from harness.host.serve import warm_up

    if sys.platform == "linux":  # the worker's memory limit is not meant for hosts, which set their own
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    warm_up(exports=settings["exports"])
    gc.freeze()  # nor do hosts look there, which would copy the pages that they share
    gc.enable()
    use_huge_pages()
    own_id = os.getpid()
    hosts: dict[int, str] = {}  # their folders, by process id
    with socket.socket(fileno=settings["socket"]) as parent, contextlib.suppress(ConnectionError):
        try:
            while True:
                request, descriptors = _receive(parent)
                answer: int | None = None
                if "wait" in request:
                    answer = _reap(request["wait"])
                elif "traceback" in request:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(request["traceback"], signal.SIGUSR1)
                elif "kill" in request:
                    kill_group(request["kill"])
                    _reap(request["kill"])
                    shutil.rmtree(hosts.pop(request["kill"], ""), ignore_errors=True)
                else:
                    own = {name: settings[name] for name in ("level", "readable")}
                    answer, folder = _fork_host({**request["start"], **own, "parent": own_id}, descriptors, parent)
                    hosts[answer] = folder
                _send(parent, answer)
        finally:
            for process_id, folder in hosts.items():
                kill_group(process_id)
                shutil.rmtree(folder, ignore_errors=True)


def _send(connection: socket.socket, message: Any, descriptors: tuple[int, ...] = ()) -> None:
    content = json.dumps(message).encode()
    unsent = LENGTH.pack(len(content)) + content
    if descriptors:
        unsent = unsent[socket.send_fds(connection, [unsent], descriptors) :]
    connection.sendall(unsent)


def _receive(connection: socket.socket) -> tuple[Any, list[int]]:
    """The next message and its descriptors, which come with its first byte.

    Raises:
        ConnectionError: the other side has closed.
    """
    content, descriptors, expected = b"", list[int](), LENGTH.size
    while len(content) < expected:
        chunk, received, _, _ = socket.recv_fds(connection, expected - len(content), 3)
        if not chunk:
            raise ConnectionError("closed")
        content, descriptors = content + chunk, descriptors + received
        if len(content) == LENGTH.size:
            expected += LENGTH.unpack(content)[0]
    return json.loads(content[LENGTH.size :]), descriptors


def _fork_host(settings: dict[str, Any], descriptors: list[int], parent: socket.socket) -> tuple[int, str]:
    """Forks a host; returns its process id and its folder. The host closes what only the zygote may use."""
    _use_up_process_ids()
    folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
    try:
        process_id = os.fork()
    except OSError:
        shutil.rmtree(folder)
        raise
    if process_id == 0:
        os.close(parent.detach())
        _become_host({**settings, "folder": folder}, descriptors)
    for received in descriptors:
        os.close(received)
    return process_id, folder


def _use_up_process_ids() -> None:
    """Uses up a random number of ids, so that a host's own does not count the threads that the host before it started.

    Each goes to a process that finds no program to run and ends at once: unlike a fork, this copies none of the
    zygote's memory, and it leaves nothing running.
    """
    for _ in range(secrets.randbelow(MAX_UNUSED_IDS)):
        with contextlib.suppress(OSError):
            os.posix_spawn("/nonexistent", ["nothing"], {})


def _become_host(settings: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Turns the forked child into a host: its own session, output to the pipe, never back into the zygote's loop."""
    status = 1
    try:
        from harness.host.serve import serve  # the zygote has loaded it

        os.setsid()
        requests, replies, output = descriptors
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=False)
        serve({**settings, "requests": requests, "replies": replies})
        status = 0
    except BaseException:
        traceback.print_exc()  # into the output pipe: the parent reports its last line
    finally:
        os._exit(status)


def _reap(process_id: int) -> int | None:
    deadline = time.monotonic() + REAP_S
    with contextlib.suppress(ChildProcessError):  # an earlier request has reaped it
        while time.monotonic() < deadline:
            ended, status = os.waitpid(process_id, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
    return None


def kill_group(process_id: int) -> None:
    """Kills a process with everything in its process group, which a host just forked may not lead yet."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended; macOS raises the second
            kill(process_id, signal.SIGKILL)
