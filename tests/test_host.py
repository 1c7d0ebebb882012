"""Hosts: whatever a submission does in its process, the harness gets one clear error and goes on."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from bad_folders import TINY, error_of, is_running, left_running, make_submission

from harness.audits import audit
from harness.errors import HostError, SubmissionError
from harness.host import client, zygote
from harness.host.budget import budget
from harness.host.client import MAX_OUTPUT_BYTES, Host
from harness.host.frames import DTYPES
from harness.host.sandbox import Isolation, isolation
from harness.submissions import Submission
from harness.trial import run_job

NUMBER = [1, 2]
OWN_ID = "import os\nreturn str(os.getpid())"


@pytest.fixture
def unsandboxed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds without a sandbox too; inside one, the submissions of these tests could not do what they do."""
    monkeypatch.setattr(client, "isolation", lambda: Isolation.NONE)


def decoded(submission: Submission, *, hash_seed: int = 0) -> str:
    """What the first id decodes to; entrants' code answers questions about its process this way."""
    with Host(submission, "answers", hash_seed=hash_seed) as host:
        return host.describe().texts[0]


def test_the_template_is_encoded_as_its_docstring_says(tmp_path: Path) -> None:
    with Host(make_submission(tmp_path), "prompts", max_digits=2) as host:
        vocabulary = host.describe()
        assert (vocabulary.vocab_size, vocabulary.pad_id, vocabulary.eos_id) == (14, 12, 13)
        assert vocabulary.texts == (*"0123456789+=", "", "")
        encoded = host.encode(["12+34=", "46"], vocabulary)
        assert encoded.rows() == [[1, 2, 10, 3, 4, 11], [4, 6]]
        assert host.decode(encoded) == ["12+34=", "46"]


def test_more_texts_than_a_frame_holds_come_back_in_order(tmp_path: Path) -> None:
    texts = [str(number) for number in range(20_000)]
    with Host(make_submission(tmp_path), "answers", max_digits=5) as host:
        assert host.decode(host.encode(texts, host.describe())) == texts


def test_every_role_is_a_process_of_its_own(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, decode=OWN_ID)
    with Host(submission, "prompts") as prompts, Host(submission, "answers") as answers:
        ids = {os.getpid(), int(prompts.describe().texts[0]), int(answers.describe().texts[0])}
    assert len(ids) == 3


@pytest.mark.skipif(isolation() is Isolation.NONE, reason="other processes of the machine make it vary anyway")
def test_the_id_of_a_host_does_not_count_what_the_one_before_it_started(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, decode=OWN_ID)
    ids = [int(decoded(submission)) for _ in range(12)]
    assert len({later - earlier for earlier, later in pairwise(ids)}) > 3


@pytest.mark.usefixtures("unsandboxed")
def test_a_trial_never_imports_the_submission_into_its_own_process(tmp_path: Path) -> None:
    log = tmp_path / "imported_in"
    top = f"import os\nwith open({str(log)!r}, 'a') as log:\n    print(os.getpid(), file=log)\n"
    (record,) = run_job(make_submission(tmp_path, top=top), TINY, 1, [0], torch.device("cpu"), lambda progress: None)
    assert record.status == "ok"
    imported_in = {int(line) for line in log.read_text().split()}
    assert len(imported_in) == 6  # prompts and answers, both again under another hash seed; positions, decode
    assert os.getpid() not in imported_in
    assert "submission" not in sys.modules


def test_the_hash_of_a_text_is_the_one_that_python_gives_it_under_that_hash_seed(tmp_path: Path) -> None:
    """In another run of the harness too, or a trial whose ids follow a set's order could not be repeated."""
    submission = make_submission(tmp_path, decode="return str(hash('x'))")
    for seed in (0, 1):
        done = subprocess.run(
            [sys.executable, "-c", "print(hash('x'))"],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": str(seed)},
        )
        assert decoded(submission, hash_seed=seed) == done.stdout.strip()


def test_a_host_does_not_get_the_secrets_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    question = [sys.executable, "-c", "import os; print(sorted(os.environ))"]
    assert "SECRET_TOKEN" in subprocess.run(question, capture_output=True, text=True, check=True).stdout
    seen = decoded(make_submission(tmp_path, decode="import os\nreturn str(sorted(os.environ))"), hash_seed=77)
    assert "PATH" in seen
    assert "SECRET_TOKEN" not in seen


def test_the_processes_from_which_hosts_of_both_compared_hash_seeds_are_forked_start_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zygote, "_zygotes", {})
    level = isolation()
    one = zygote.zygote_for(0, level)
    other = zygote._zygotes[1, level]
    try:
        assert one.is_running
        assert other.is_running
        assert zygote.zygote_for(1, level) is other
        other.close()
        assert zygote.zygote_for(0, level) is one
        assert zygote.zygote_for(1, level) is not other
    finally:
        for each in zygote._zygotes.values():
            each.close()


def members(group: int) -> list[int]:
    """Every process of the group at this moment."""
    found: list[int] = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            state, _, its_group = status.read_text().rpartition(")")[2].split()[:3]
            found += [int(status.parent.name)] * (int(its_group) == group and state not in "ZX")
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_zygote_that_is_closed_while_it_starts_leaves_no_process() -> None:
    """bubblewrap starts as two; in between, killing only the first left the second waiting for it for ever."""
    left: set[int] = set()
    for milliseconds in range(20):
        started = zygote.Zygote(0, isolation(), exports=False)
        time.sleep(milliseconds / 1000)
        started.close()
        left |= left_running(members(started._process.pid))
    assert left == set()


def test_a_host_sees_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    question = "import os, torch\nreturn repr((os.environ['CUDA_VISIBLE_DEVICES'], torch.cuda.is_available()))"
    assert decoded(make_submission(tmp_path, decode=question), hash_seed=78) == "('', False)"


def test_a_host_collects_garbage_though_its_zygote_has_imported_without(tmp_path: Path) -> None:
    question = "import gc\nreturn repr((gc.isenabled(), gc.get_freeze_count() > 100_000))"
    assert decoded(make_submission(tmp_path, decode=question)) == "(True, True)"


WARMING_UP = """
import torch
from harness.host.serve import warm_up
asked = []
torch.cuda.is_available = lambda: asked.append(1) or True  # stands for the question to a driver that has a GPU
warm_up(exports=True)
print(asked, torch.cuda.is_available())
"""


def test_a_zygote_asks_no_driver_before_it_forks() -> None:
    """What the driver opens for it every host would inherit; in a process of its own, since it stays that way."""
    command = [sys.executable, "-c", WARMING_UP]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | path)
    assert done.stdout.split() == ["[]", "False"]


@pytest.mark.usefixtures("unsandboxed")
def test_a_host_inherits_no_descriptor_but_its_own_pipes(tmp_path: Path) -> None:
    listed = """
import os
numbers = sorted(os.listdir('/proc/self/fd'), key=int)[:-1]  # the last is that of the listing
return ' '.join(os.readlink(f'/proc/self/fd/{number}').split(':')[0] for number in numbers)"""
    with (tmp_path / "answers.txt").open("w") as opened:
        os.set_inheritable(opened.fileno(), True)
        seen = decoded(make_submission(tmp_path, decode=listed)).split()
    assert seen == ["/dev/null", "pipe", "pipe", "pipe", "pipe"]  # stdin; output twice, requests, replies


@pytest.mark.usefixtures("unsandboxed")
def test_closing_a_host_kills_what_it_started(tmp_path: Path) -> None:
    start = "import subprocess\nreturn str(subprocess.Popen(['sleep', '600']).pid) if token_ids == [0] else ''"
    with Host(make_submission(tmp_path, decode=start), "answers") as host:
        grandchild = int(host.describe().texts[0])
        assert is_running(grandchild)
    assert left_running({grandchild}) == set()


def test_a_host_closed_before_it_was_asked_anything_is_gone_at_once(tmp_path: Path) -> None:
    submission = make_submission(tmp_path)
    decoded(submission)  # starts the zygote
    start = time.monotonic()
    for _ in range(5):
        Host(submission, "answers").close()
    assert time.monotonic() - start < 5 * zygote.REAP_S  # which is what it takes to give up waiting for each


def test_hosts_leave_no_descriptor_open(tmp_path: Path) -> None:
    good = make_submission(tmp_path, "good")
    dying = make_submission(tmp_path, "dying", decode="import os\nos._exit(0)")
    decoded(good)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        decoded(good)
        error_of(dying)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.usefixtures("unsandboxed")
@pytest.mark.parametrize("where", ["top", "init", "encode"])
def test_a_host_that_hangs_is_killed_at_its_deadline(tmp_path: Path, where: str) -> None:
    pid_file = tmp_path / "pid"
    hang = f"import os\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\nwhile True: pass"
    error = error_of(make_submission(tmp_path, **{where: hang}), deadline_s=1.0)
    assert isinstance(error, HostError)
    function = {"top": "<module>", "init": "__init__", "encode": "encode"}[where]
    seen = rf"gave no answer within 1 seconds, and was at submission\.py, line \d+, in {function}; look for an endless"
    assert re.search(seen, str(error))
    assert left_running({int(pid_file.read_text())}) == set()


def test_a_host_that_sleeps_at_its_deadline_says_where_inside_a_helper_of_its_own(tmp_path: Path) -> None:
    top = "import time\ndef helper():\n    time.sleep(600)\n"
    error = error_of(make_submission(tmp_path, top=top, encode="helper()"), deadline_s=1.0)
    assert "gave no answer within 1 seconds, and was at submission.py, line 3, in helper; look" in str(error)


def test_a_host_that_forges_where_it_hangs_cannot_draw_on_a_terminal(tmp_path: Path) -> None:
    top = """import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
def forge():
    while True:
        print('File "/tmp/harness-host-x/\\x1b[31m.py", line 1 in ::error::', flush=True)
        time.sleep(0.02)
"""
    error = error_of(make_submission(tmp_path, top=top, encode="forge()"), deadline_s=1.0)
    assert "gave no answer within 1 seconds; look for an endless loop" in str(error)


def test_a_host_that_trickles_an_answer_is_killed_at_its_deadline(tmp_path: Path) -> None:
    trickle = "import os, time\nwhile True:\n    print('.', end='', flush=True)\n    time.sleep(0.02)"
    assert "no answer within 1 seconds" in str(error_of(make_submission(tmp_path, encode=trickle), deadline_s=1.0))


def test_hosts_that_each_keep_their_deadline_share_one_budget(tmp_path: Path) -> None:
    sleeping = make_submission(tmp_path, encode="import time\ntime.sleep(0.4)\nreturn [1]")

    def ask_hosts() -> None:
        for _ in range(9):
            with Host(sleeping, "answers") as host:
                host.encode(["12"], host.describe())

    with budget("the audit", 1.0) as own, pytest.raises(SubmissionError) as caught:
        ask_hosts()
    assert caught.value.rule == "T00"
    assert caught.value.message.startswith("in the audit, waiting for its hosts took 1 seconds, the most that is")
    assert own.left_s <= 0
    with Host(sleeping, "answers") as host:  # outside there is none
        assert host.encode(["12"], host.describe()).rows() == [[1]]


def test_a_budget_is_not_used_up_by_what_is_no_waiting(tmp_path: Path) -> None:
    with budget("the audit", 60.0) as own, Host(make_submission(tmp_path), "answers") as host:
        host.describe()
        used = own.used_s
        time.sleep(0.3)
        assert own.used_s == used > 0


def test_an_audit_of_a_folder_that_sleeps_in_every_host_ends_in_a_gate(tmp_path: Path) -> None:
    sleeping = make_submission(tmp_path, top="import time\ntime.sleep(1)")
    with budget("the audit", 2.5):
        findings = audit(sleeping)
    assert [(finding.rule, finding.level) for finding in findings] == [("T00", "gate")]
    assert "waiting for its hosts took 2.5 seconds" in findings[0].message
    assert "remove what sleeps" in findings[0].message


@pytest.mark.parametrize("where", ["top", "encode"])
def test_a_megabyte_of_output_ends_a_host_and_is_not_kept(tmp_path: Path, where: str) -> None:
    printing = make_submission(tmp_path, **{where: "print('x' * 1_000_000)"})
    with Host(printing, "answers") as host:
        with pytest.raises(HostError, match="printed more than 64 KiB, which nobody sees; remove the") as caught:
            host.ask({"do": "encode", "texts": ["12"]})
        assert len(host.output) <= 2 * MAX_OUTPUT_BYTES
    assert len(str(caught.value)) < 300


def test_a_little_output_does_no_harm_and_loses_its_control_characters(tmp_path: Path) -> None:
    noisy = make_submission(tmp_path, top="print('\\x1b[31mred\\x07\\r', 'ok\\u202e', flush=True)")
    with Host(noisy, "answers") as host:
        assert host.encode(["12"], host.describe()).rows() == [NUMBER]
        assert host.output == "[31mred ok\n"


def test_an_error_message_is_one_line_without_control_characters(tmp_path: Path) -> None:
    message = str(error_of(make_submission(tmp_path, encode="raise ValueError('\\x1b[2Jgone\\u202e\\x9b')")))
    assert "gone" in message
    assert "submission.py, line 25, in encode: ValueError" in message
    assert message.isprintable()
    lines = "class Forged(Exception):\n    def __str__(self): return 'a\\n::error::b'\nraise Forged"
    forged = make_submission(tmp_path, "forging", encode=lines)
    assert "\n" not in str(error_of(forged))


ENDINGS = {
    "sys.exit": ("import sys\nsys.exit(0)", "the code called exit (0); remove the call"),
    "os._exit": ("import os\nos._exit(0)", "ended by itself with exit code 0 before it answered"),
    "sigkill": ("import os\nos.kill(os.getpid(), 9)", "was killed by signal 9 before it answered"),
    "abort": ("import os\nos.abort()", "was killed by signal 6 before it answered"),
    "interrupt": ("raise KeyboardInterrupt", "ended by itself with exit code 1 before it answered"),
}


@pytest.mark.parametrize("where", ["top", "init", "encode"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_submission_that_ends_its_process_is_told_so(tmp_path: Path, where: str, ending: str) -> None:
    code, expected = ENDINGS[ending]
    assert expected in str(error_of(make_submission(tmp_path, **{where: code})))


@pytest.mark.usefixtures("unsandboxed")
def test_a_submission_that_kills_its_process_group_is_told_so(tmp_path: Path) -> None:
    killing = make_submission(tmp_path, encode="import os\nos.killpg(0, 9)")
    assert "was killed by signal 9 before it answered" in str(error_of(killing))


def test_a_submission_that_closes_its_pipes_and_stays_is_told_so(tmp_path: Path) -> None:
    closing = make_submission(tmp_path, encode="import os, time\nos.closerange(0, 256)\ntime.sleep(600)")
    assert "closed its pipe without an answer" in str(error_of(closing))


@pytest.mark.usefixtures("unsandboxed")
def test_a_submission_that_kills_the_process_it_came_from_harms_nobody_else(tmp_path: Path) -> None:
    killing = make_submission(tmp_path, "killing", encode="import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(600)")
    assert "a submission may not end other processes" in str(error_of(killing))
    assert decoded(make_submission(tmp_path, "next_one", decode="return 'well'")) == "well"


FORGERIES = {
    "garbage": "b'\\xff' * 64",
    "zeros": "bytes(64)",
    "oversize": "struct.pack('<II', 2**31, 0)",
    "no JSON": "struct.pack('<II', 4, 0) + b'\\x80abc'",
    "nested": "struct.pack('<II', 60000, 0) + b'[' * 60000",
    "another answer": '(lambda t: struct.pack(\'<II\', len(t), 0) + t)(b\'{"texts": ["1"], "arrays": []}\')',
    "error that is none": "(lambda t: struct.pack('<II', len(t), 0) + t)(b'{\"error\": 5, \"arrays\": []}')",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_reply_is_an_error_of_its_host(tmp_path: Path, forgery: str) -> None:
    write = f"""
import os, stat, struct
for number in range(3, 64):
    try:
        os.write(number, {FORGERIES[forgery]})
    except OSError:
        pass
os._exit(0)"""
    assert isinstance(error_of(make_submission(tmp_path, encode=write)), HostError)
    assert decoded(make_submission(tmp_path, "next_one", decode="return 'well'")) == "well"


def test_a_forged_encoding_is_checked_by_the_receiver(tmp_path: Path) -> None:
    """The child's own checks replaced: ids out of range, negative, PAD, and lengths that do not add up."""
    for name, ids, lengths, expected in (
        ("range", [1, 99], [1, 1], "vocab_size is 14 but encode('12') gave id 99"),
        ("negative", [-5, 1], [1, 1], "gave id -5"),
        ("pad", [12, 1], [1, 1], "holds pad_id 12"),
        ("sum", [1, 1, 1], [1, 1], "sent lengths that do not fit 2 texts and 3 ids"),
        ("lengths", [1], [2, -1], "sent lengths that do not fit 2 texts and 1 ids"),
        ("count", [1], [1], "sent lengths that do not fit 2 texts"),
    ):
        top = f"""
import numpy as np
import harness.host.serve as serve
serve._encode = lambda *_: serve.Frame(
    {{}}, {{"ids": np.array({ids}, np.int32), "lengths": np.array({lengths}, np.int32)}})
"""
        assert expected in str(error_of(make_submission(tmp_path, name, top=top))), name


@pytest.mark.parametrize("dtype", sorted(set(DTYPES) - {"int32"}))
def test_forged_ids_of_another_dtype_are_refused(tmp_path: Path, dtype: str) -> None:
    top = f"""
import numpy as np
import harness.host.serve as serve
serve._encode = lambda *_: serve.Frame({{}}, {{"ids": np.ones(2, "{dtype}"), "lengths": np.ones(2, np.int32)}})
"""
    assert "sent an encoding without ids and lengths" in str(error_of(make_submission(tmp_path, top=top)))


PARENT = """
import sys
from pathlib import Path
from harness.host.client import Host
from harness.host.sandbox import Isolation
from harness.submissions import read_folder
with Host(read_folder(Path(sys.argv[1])), "answers", level=Isolation.NONE) as host:
    print(host.describe().texts[0], flush=True)
    sys.stdin.read()
"""


def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    answer = """
import os, subprocess
if token_ids != [0]:
    return ''
return f"{os.getpid()} {os.getppid()} {subprocess.Popen(['sleep', '600']).pid}" """
    folder = make_submission(tmp_path, decode=answer).folder
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", PARENT, folder], text=True, **pipes) as parent:
        assert parent.stdout is not None
        host, zygote, grandchild = map(int, parent.stdout.readline().split())
        assert all(map(is_running, (host, zygote, grandchild)))
        parent.send_signal(signal.SIGKILL)
    assert left_running({host, zygote, grandchild}) == set()


def test_a_verbose_tokenizer_at_a_hundred_digits_fits_its_frames(tmp_path: Path) -> None:
    encode = 'return [token_id for c in text for token_id in ["0123456789+=".index(c)] * 4]'
    decode = 'return "".join("0123456789+="[token_id] for token_id in list(token_ids)[::4] if token_id < 12)'
    texts = [str(10**99 + number) for number in range(9000)]
    submission = make_submission(tmp_path, encode=encode, decode=decode)
    with Host(submission, "answers", max_digits=100) as host:
        assert host.decode(host.encode(texts, host.describe())) == texts


LIMITED = """
import resource, sys
from pathlib import Path
from harness.host.client import Host
from harness.submissions import read_folder
_, hard = resource.getrlimit(resource.RLIMIT_DATA)
resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, hard))
with Host(read_folder(Path(sys.argv[1])), "answers") as host:
    print(host.describe().texts[0] == str((hard, hard)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are limited on Linux alone")
def test_a_host_does_not_inherit_the_limit_of_the_worker_that_starts_it(tmp_path: Path) -> None:
    asked = "import resource\nreturn str(resource.getrlimit(resource.RLIMIT_DATA))"
    command = [sys.executable, "-c", LIMITED, str(make_submission(tmp_path, decode=asked).folder)]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | path)
    assert done.stdout.split() == ["True"]


def test_a_host_does_not_learn_whose_command_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USER", "LOGNAME", "MAIL", "PATH"):
        monkeypatch.setenv(name, f"/home/ada:{os.environ.get(name, '')}")
    question = "import os\nreturn repr(dict(os.environ))"
    seen = decoded(make_submission(tmp_path, decode=question), hash_seed=79)
    assert "PATH" in seen
    assert "ada" not in seen
