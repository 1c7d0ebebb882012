"""Attacks on the machine: each succeeds without a sandbox, and is blocked at every level that this machine offers."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

import harness
from harness.errors import HostError, SubmissionError
from harness.host.client import Host
from harness.host.sandbox import Isolation, why_not
from harness.ragged import Ragged
from harness.submissions import Submission, read_folder

SOURCE = Path(__file__).with_name("attacks.py").read_text(encoding="utf-8")
NAMES = [
    line.removeprefix("def ").partition("(")[0]
    for line in SOURCE.splitlines()
    if line.startswith("def ") and not line.startswith(("def system_call", "def refused_for"))
]
MANIFEST = "title: Hostile\nauthors: [Mallory]\nsummary: Attacks the machine.\n"
LEVELS = [
    pytest.param(level, marks=pytest.mark.skipif(bool(why := why_not(level)), reason=f"{level}: {why}"), id=level.value)
    for level in (Isolation.STRONG, Isolation.MEDIUM)
]
NEED_ROOT = {
    "change_the_root",
    "count_the_processors_events",
    "handle_its_own_page_faults",
    "load_a_program_into_the_kernel",
    "open_a_setting_of_the_kernel_for_writing",
    "open_the_harness_for_writing",
    "open_torch_for_writing",
    "set_the_clock",
    "unmount",
}
"""Controls that only root can show: the kernel stops an ordinary user before there is a sandbox."""
NOT_EVERYWHERE = {
    "list_what_is_attached_to_a_key",
    "make_a_ring_for_io",
    "raise_its_limits",
    "reach_the_machine_below",
    "read_what_is_attached_to_a_key",
    "trace_the_harness",
}
"""What a kernel or a file system may be built without, and what root itself may lack in a container."""


def submission_of(root: Path, code: str, **more: str) -> Submission:
    folder = root / "submissions" / "hostile"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"submission.yaml": MANIFEST, "submission.py": code, **more}.items():
        (folder / name).write_text(content)
    found = read_folder(folder)
    assert isinstance(found, Submission), found
    return found


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """What the attacks reach for: files, sockets that listen on loopback, this very process."""
    root = tmp_path_factory.mktemp("victim")
    root.chmod(0o755)
    for name in ("key", "to_delete", "to_rename", "to_truncate", "results/record.json", "submissions/other"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("secret")
    with suppress(OSError):  # not every file system keeps attributes
        os.setxattr(root / "key", "user.origin", b"secret")
    abstract = f"harness-test-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as hidden,
    ):
        udp.bind(("127.0.0.1", 0))
        unix.bind(str(root / "socket"))
        hidden.bind("\0" + abstract)
        unix.listen()
        hidden.listen()
        yield {
            "folder": str(root),
            "harness": str(Path(harness.__file__).parent),
            "torch": torch.__file__,
            "parent": os.getpid(),
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "abstract": abstract,
        }


Outcomes = dict[Isolation, dict[str, str]]


@pytest.fixture(scope="module")
def outcomes(given: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What became of every attack, each in a host of its own; sandboxed first: some change what they reach for."""
    code = SOURCE.replace('"GIVEN HERE"', repr(json.dumps({**given, "names": NAMES})))
    submission = submission_of(tmp_path_factory.mktemp("hostile"), code)
    found: Outcomes = {}
    for level in (Isolation.STRONG, Isolation.MEDIUM, Isolation.NONE):
        if level is Isolation.NONE or why_not(level) is None:
            found[level] = {name: outcome(submission, number, level) for number, name in enumerate(NAMES)}
    return found


def outcome(submission: Submission, number: int, level: Isolation) -> str:
    with Host(submission, "answers", level=level) as host:
        (text,) = host.decode(Ragged.from_flat(np.array([number], np.int32), np.array([1], np.int32)))
    return text.partition(": ")[2]


def test_there_are_attacks_of_every_kind() -> None:
    assert len(NAMES) >= 70


@pytest.mark.parametrize("name", NAMES)
def test_without_a_sandbox_the_attack_succeeds(name: str, outcomes: Outcomes) -> None:
    """The control: an attack that fails anyway would prove nothing of the sandbox."""
    if name in NEED_ROOT and os.getuid() != 0:
        pytest.skip("only root can show that this would succeed")
    if name in NOT_EVERYWHERE and outcomes[Isolation.NONE][name] != "succeeded":
        pytest.skip(f"this kernel does not offer it: {outcomes[Isolation.NONE][name]}")
    assert outcomes[Isolation.NONE][name] == "succeeded"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", NAMES)
def test_in_the_sandbox_the_attack_is_blocked(name: str, level: Isolation, outcomes: Outcomes) -> None:
    """Blocked by the kernel, which says so by one of its errors; not by a mistake in the attack."""
    blocked = ("PermissionError", "FileNotFoundError", "ProcessLookupError", "BlockingIOError", "OSError", "ValueError")
    assert outcomes[level][name].startswith((*blocked, "RuntimeError: can't start new thread"))


BY_THE_FILTER_ALONE = [
    "ask_which_mapped_pages_are_in_the_cache",
    "drop_mapped_pages_from_the_cache",
    "have_mapped_pages_dropped_first",
    "list_what_is_attached_to_a_key",
    "read_what_is_attached_to_a_key",
]
"""Where another layer would stop the attack too, or the kernel does nothing for a user who does not own the file."""


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", BY_THE_FILTER_ALONE)
def test_the_call_itself_is_refused_whatever_it_would_do(name: str, level: Isolation, outcomes: Outcomes) -> None:
    assert outcomes[level][name].startswith("PermissionError: [Errno 1] Operation not permitted")


LETHAL = {
    "a crash": ("import ctypes\nctypes.string_at(0)", "was killed by signal 11 before it answered"),
    "a stopped process": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "gave no answer within 2 seconds"),
    "an endless loop": ("while True: pass", "gave no answer within 2 seconds"),
    "an endless loop in C": ("import re\nre.match('(a*)*b', 'a' * 64)", "gave no answer within 2 seconds"),
    "signals ignored": (
        "import signal, time\nfor n in (1, 2, 3, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(99)",
        "gave no answer within 2 seconds",
    ),
    "exit code 0": ("import os\nos._exit(0)", "ended by itself with exit code 0 before it answered"),
    "deep recursion": ("def f(): f()\nf()", "RecursionError"),
    "a flood of output": ("while True: print('x' * 10000)", "printed more than 64 KiB"),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("attack", LETHAL)
def test_what_hangs_or_dies_ends_alone_with_its_reason(tmp_path: Path, attack: str, level: Isolation) -> None:
    code, reason = LETHAL[attack]
    submission = submission_of(tmp_path, code)
    with (
        pytest.raises((HostError, SubmissionError), match=reason),
        Host(submission, "answers", deadline_s=2.0, level=level) as host,
    ):
        host.describe()
    honest = submission_of(tmp_path / "honest", HONEST)
    with Host(honest, "answers", level=level) as host:
        assert host.describe().vocab_size == 14


HONEST = """
class Tokenizer:
    vocab_size, pad_id, eos_id = 14, 12, 13

    def __init__(self, max_digits):
        pass

    def encode(self, text):
        return ["0123456789+=".index(character) for character in text]

    def decode(self, token_ids):
        return "".join("0123456789+="[token_id] for token_id in token_ids if token_id < 12)
"""
SHADOWS = {
    "torch.py": "raise RuntimeError('not torch')",
    "numpy.py": "raise RuntimeError('not numpy')",
    "harness.py": "raise RuntimeError('not the harness')",
    "sitecustomize.py": "import os\nos._exit(3)",
    "usercustomize.py": "import os\nos._exit(3)",
    "evil.pth": "import os; os._exit(3)",
}


@pytest.mark.parametrize("level", LEVELS)
def test_modules_that_shadow_ours_and_files_that_python_runs_by_itself_have_no_effect(
    tmp_path: Path, level: Isolation
) -> None:
    code = f"import numpy, torch\nfrom harness.protocol import Kind\nassert torch.__version__\n{HONEST}"
    with Host(submission_of(tmp_path, code, **SHADOWS), "answers", level=level) as host:
        assert host.encode(["12"], host.describe()).rows() == [[1, 2]]


@pytest.mark.parametrize("level", LEVELS)
def test_what_lies_in_a_folder_beside_its_digested_files_reaches_no_host(tmp_path: Path, level: Isolation) -> None:
    """Byte code is no part of the digest, so it must not be importable either."""
    submission = submission_of(
        tmp_path,
        f"import os\nSEEN = sorted(os.listdir(os.path.dirname(__file__)))\n{HONEST}".replace(
            'return "".join', 'return str(SEEN) if list(token_ids) == [0] else "".join'
        ),
        **{"README.md": "words"},
    )
    cache = submission.folder / "__pycache__"
    cache.mkdir()
    (cache / "hidden.cpython-311.pyc").write_bytes(b"x")
    with Host(submission, "answers", level=level) as host:
        assert host.describe().texts[0] == "['submission.py']"


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_is_left_of_a_host_not_even_its_files(tmp_path: Path, level: Isolation) -> None:
    where = f"import os\nSEEN = os.path.dirname(__file__)\n{HONEST}".replace(
        'return "".join', 'return SEEN if list(token_ids) == [0] else "".join'
    )
    asking = f"import os\n{HONEST}".replace(
        'return "".join', 'return str(os.path.exists(SEEN)) if list(token_ids) == [0] else "".join'
    )
    with Host(submission_of(tmp_path / "one", where), "answers", level=level) as host:
        folder = host.describe().texts[0]
    assert folder.startswith("/tmp/harness-host-")
    assert not Path(folder).exists()
    with Host(submission_of(tmp_path / "two", f"SEEN = {folder!r}\n{asking}"), "answers", level=level) as host:
        assert host.describe().texts[0] == "False"


@pytest.mark.parametrize("level", LEVELS)
def test_no_host_runs_as_root_or_with_a_capability(tmp_path: Path, level: Isolation) -> None:
    code = "import os\nSEEN = f'{os.getresuid()} {os.getresgid()} {os.getgroups()}'\n" + HONEST.replace(
        'return "".join', 'return SEEN if list(token_ids) == [0] else "".join'
    )
    with Host(submission_of(tmp_path, code), "answers", level=level) as host:
        seen = host.describe().texts[0]
    if os.getuid() == 0:
        assert seen == "(65534, 65534, 65534) (65534, 65534, 65534) []"
    assert "(0," not in seen


MOST = {"CPU": 300, "NPROC": 256, "NOFILE": 256, "FSIZE": 0, "CORE": 0, "MEMLOCK": 0, "MSGQUEUE": 0}
"""Seconds, threads, descriptors, and bytes of what no host needs at all."""


@pytest.mark.parametrize("level", LEVELS)
def test_a_host_is_held_by_every_limit_and_cannot_lift_one(tmp_path: Path, level: Isolation) -> None:
    asked = f"import resource\nSEEN = [resource.getrlimit(getattr(resource, 'RLIMIT_' + n)) for n in {list(MOST)}]\n"
    code = asked + HONEST.replace('return "".join', 'return repr(SEEN) if list(token_ids) == [0] else "".join')
    with Host(submission_of(tmp_path, code), "answers", level=level) as host:
        seen = dict(zip(MOST, json.loads(host.describe().texts[0].translate({40: 91, 41: 93})), strict=True))
    assert all(soft == hard for soft, hard in seen.values())
    assert {name for name, (_, hard) in seen.items() if not 0 <= hard <= MOST[name]} == set()


@pytest.mark.skipif(bool(why_not(Isolation.STRONG)), reason=f"strong: {why_not(Isolation.STRONG)}")
def test_at_the_strong_level_a_host_does_not_learn_the_machines_name(tmp_path: Path) -> None:
    code = "import os\nSEEN = os.uname().nodename\n" + HONEST.replace(
        'return "".join', 'return SEEN if list(token_ids) == [0] else "".join'
    )
    seen: list[str] = []
    for level in (Isolation.NONE, Isolation.STRONG):
        with Host(submission_of(tmp_path, code), "answers", level=level) as host:
            seen.append(host.describe().texts[0])
    assert seen[0] == os.uname().nodename != seen[1]
