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
from functools import cache
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

    def start(self, settings: dict[str, Any], descriptors: tuple[int, int, int]) -> int:
        """Forks a host and returns its process id, which is its process group too."""
        request = json.dumps({"start": settings}).encode()
        self._exchange(lambda: socket.send_fds(self._socket, [request], descriptors))
        return self._answer()

    def exit_code(self, process_id: int) -> int | None:
        """The exit code of a host that ended (negative: the signal that killed it), None if it has not."""
        self._exchange(lambda: self._socket.send(json.dumps({"wait": process_id}).encode()))
        return self._answer()

    def close(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _exchange(self, send: Any) -> None:
        try:
            send()
        except OSError as error:
            raise EngineError(
                "the process that starts hosts has ended; run again, and report it if it recurs"
            ) from error

    def _answer(self) -> Any:
        answer = self._socket.recv(MAX_MESSAGE_BYTES)
        if not answer:
            raise EngineError("the process that starts hosts has ended; run again, and report it if it recurs")
        return json.loads(answer)


@cache
def zygote_for(hash_seed: int) -> Zygote:
    """The one zygote of this process for a hash seed; it ends with this process."""
    zygote = Zygote(hash_seed, exports=hash_seed == 0)  # another hash seed is only ever asked to encode
    atexit.register(zygote.close)
    return zygote


def run(descriptor: int, *, exports: bool) -> None:
    """The zygote's own loop, until its parent closes the socket or ends."""
    from harness.host.serve import die_with_parent, serve, warm_up

    die_with_parent()
    warm_up(exports=exports)
    with socket.socket(fileno=descriptor) as parent:
        while True:
            message, descriptors, _, _ = socket.recv_fds(parent, MAX_MESSAGE_BYTES, 3)
            if not message:
                return
            request = json.loads(message)
            if "wait" in request:
                parent.send(json.dumps(_reap(request["wait"])).encode())
                continue
            process_id = os.fork()
            if process_id == 0:
                parent.detach()
                os.close(descriptor)
                _become_host(request["start"], descriptors, serve)
            for received in descriptors:
                os.close(received)
            parent.send(json.dumps(process_id).encode())


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
    while time.monotonic() < deadline:
        ended, status = os.waitpid(process_id, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def kill_group(process_id: int) -> None:
    """Kills a host with everything it started in its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended; macOS says so with the second
        os.killpg(process_id, signal.SIGKILL)


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
