"""A process that has imported what every host needs and forks one for each request.

Importing torch takes a second and torch.export's machinery another; a trial starts four hosts and an audit four more.
A host forked from here starts in milliseconds and is as fresh as one that was spawned: no submission's code ever runs
in the zygote. Hosts inherit its PYTHONHASHSEED, so there is one zygote for each hash seed that is asked for.

The socket carries JSON in both directions; a request to start a host carries three descriptors as well (its requests,
its replies, its output).
"""

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness.errors import EngineError

MAX_MESSAGE_BYTES = 64 * 1024
REAP_S = 1.0
"""Seconds that a host which closed its pipes is given to end."""


class Zygote:
    """The parent's handle on a zygote process.

    Args:
        hash_seed: PYTHONHASHSEED of its hosts.
        exports: whether it also warms torch.export up, for hosts of the role `positions`.
    """

    def __init__(self, hash_seed: int, *, exports: bool) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        settings = {"path": [path for path in sys.path if path], "socket": theirs.fileno(), "exports": exports}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(Path(__file__).with_name("bootstrap.py")), json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd="/",
                env=_environment(hash_seed),
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def start(self, settings: dict[str, Any], descriptors: tuple[int, int, int]) -> int:
        """Forks a host and returns its process id, which is its process group too."""
        return self._ask({"start": settings}, descriptors)

    def exit_code(self, process_id: int) -> int | None:
        """The exit code of a host (negative: the signal that killed it); None if it runs, or was asked for before."""
        return self._ask({"wait": process_id}, ())

    def close(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _ask(self, request: dict[str, Any], descriptors: tuple[int, ...]) -> Any:
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
            answer = self._socket.recv(MAX_MESSAGE_BYTES)
        except OSError:
            answer = b""
        if not answer:
            self.close()
            raise EngineError("the process that starts hosts has ended; run again, and report it if it recurs")
        return json.loads(answer)


_zygotes: dict[int, Zygote] = {}


def zygote_for(hash_seed: int) -> Zygote:
    """The one zygote of this process for a hash seed, a new one if the last has died; it ends with this process."""
    zygote = _zygotes.get(hash_seed)
    if zygote is None or not zygote.is_running:
        zygote = _zygotes[hash_seed] = Zygote(hash_seed, exports=hash_seed == 0)  # others are only asked to encode
        atexit.register(zygote.close)
    return zygote


def run(descriptor: int, *, exports: bool) -> None:
    """The zygote's own loop, until its parent closes the socket or ends; then its hosts end with all they started."""
    from harness.host.serve import serve, warm_up

    warm_up(exports=exports)
    own_id = os.getpid()
    hosts: set[int] = set()
    with socket.socket(fileno=descriptor) as parent, contextlib.suppress(ConnectionError):
        try:
            while True:
                message, descriptors, _, _ = socket.recv_fds(parent, MAX_MESSAGE_BYTES, 3)
                if not message:
                    return
                request = json.loads(message)
                if "wait" in request:
                    hosts.discard(request["wait"])
                    parent.send(json.dumps(_reap(request["wait"])).encode())
                    continue
                process_id = os.fork()
                if process_id == 0:
                    parent.detach()
                    os.close(descriptor)
                    _become_host({**request["start"], "parent": own_id}, descriptors, serve)
                hosts.add(process_id)
                for received in descriptors:
                    os.close(received)
                parent.send(json.dumps(process_id).encode())
        finally:
            for process_id in hosts:
                kill_group(process_id)


def _become_host(settings: dict[str, Any], descriptors: list[int], serve: Any) -> None:
    """In the forked child: a session of its own, output to the pipe, and never back into the zygote's loop."""
    status = 1
    try:
        os.setsid()
        requests, replies, output = descriptors
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        serve({**settings, "requests": requests, "replies": replies})
        status = 0
    finally:
        os._exit(status)


def _reap(process_id: int) -> int | None:
    deadline = time.monotonic() + REAP_S
    with contextlib.suppress(ChildProcessError):  # reaped when it was asked for before
        while time.monotonic() < deadline:
            ended, status = os.waitpid(process_id, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
    return None


def kill_group(process_id: int) -> None:
    """Kills a host with everything it started in its group; a host just forked may not lead its group yet."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended; macOS says so with the second
            kill(process_id, signal.SIGKILL)


def _environment(hash_seed: int) -> dict[str, str]:
    """What a host may know of the machine: where programs are, and that it has one core."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": str(hash_seed),
    }
