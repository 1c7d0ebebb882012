"""How commands end before their time: interrupted, killed, without a reader, by an error that nobody foresaw."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bad_folders import descendants, left_running, worker_below, write_folder, write_tiny
from commands import harness_here, record_of

from harness import cli


def test_an_interrupt_keeps_what_finished_ends_every_process_and_the_next_call_goes_on(tmp_path: Path) -> None:
    track = str(write_tiny(tmp_path / "tiny.yaml", seeds=list(range(5))))
    write_folder(tmp_path, "first")
    command = [sys.executable, "-m", "harness", "-C", str(tmp_path), "run", "-t", track, "-j", "1"]
    folder = tmp_path / "results" / "tiny" / "first"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 60
        while not list(folder.glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        started = descendants(running.pid)
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=20)
    assert running.returncode == 130, stderr
    assert stderr.splitlines()[-1].startswith("harness: interrupted; every trial that had finished is saved")
    assert stdout == ""
    assert "Traceback" not in stderr
    assert len(started) >= 2  # a worker and its zygote
    assert left_running(started) == set()
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    assert 1 <= len(kept) < 5
    resumed = harness_here(tmp_path, "run", "-t", track, "-j", "1")
    assert resumed.returncode == 0, resumed.stderr
    assert f"{5 - len(kept)} trials to run, {len(kept)} up to date" in resumed.stderr
    assert {path: path.read_bytes() for path in kept} == kept


def test_an_interrupt_while_modules_are_still_imported_ends_as_a_later_one_does(tmp_path: Path) -> None:
    """Ctrl-C at a moment that is always the same: a module that the command line imports sends it."""
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-P", "-m", "harness", "list"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "harness: interrupted\n")


def test_an_interrupted_validation_tells_what_it_has_found(tmp_path: Path) -> None:
    write_folder(tmp_path, "first", encode="return [0]")
    write_folder(tmp_path, "second", top="import time\ntime.sleep(600)")
    command = [sys.executable, "-m", "harness", "-C", str(tmp_path), "validate", "-j", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert running.stderr.readline().startswith("[1/2] first: breaks ")
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=20)
    assert running.returncode == 130, stderr
    assert stdout.startswith("submissions/first: ")
    assert "second" not in stdout
    assert stderr.splitlines()[-1] == "harness: interrupted"


@pytest.mark.parametrize("with_hosts", [True, False], ids=["at-work", "starting"])
def test_a_command_that_is_killed_leaves_no_process_whatever_its_worker_does(tmp_path: Path, with_hosts: bool) -> None:
    write_folder(tmp_path, "one", top="import time\ntime.sleep(600)")
    command = [sys.executable, "-m", "harness", "-C", str(tmp_path), "run", "-t", "smoke"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        worker = worker_below(running.pid, with_hosts=with_hosts)
        started = descendants(running.pid)
        running.kill()
    assert worker in started
    assert left_running(started, within_s=20) == set()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(13, "Permission denied", "results/x"), 4, "results/x cannot be used: Permission denied; make"),
        (OSError(28, "No space left on device"), 4, "the output cannot be used: No space left on device; make room"),
        (ZeroDivisionError("by design"), 70, "this is a bug in the harness; please report it with the lines above"),
    ],
)
def test_an_error_that_no_verb_foresaw_has_an_exit_code_of_its_own(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Raised in place of a verb: no known input leads to the second, and as root nothing to the first."""

    def verb() -> None:
        raise error

    monkeypatch.setattr(cli, "app", verb)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    told = capfd.readouterr().err
    assert said in told.replace("\n", " ")
    assert ("Traceback" in told) == (code == 70)


def test_a_reader_of_progress_that_leaves_early_costs_no_record(tmp_path: Path) -> None:
    write_folder(tmp_path, "one")
    command = [sys.executable, "-m", "harness", "-C", str(tmp_path), "run", "-t", str(write_tiny(tmp_path / "t.yaml"))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        running.stderr.close()
        assert running.wait(timeout=120) == 0
    assert record_of(tmp_path, "one", "tiny", 1).status == "ok"


@pytest.mark.parametrize(
    ("rerun", "then"),
    [
        ([], "goes on from there"),
        (["--rerun", "failed"], "goes on from there"),
        (["--rerun", "all"], "begins again with the first"),
        (["--rerun=all"], "begins again with the first"),
    ],
)
def test_an_interrupted_run_says_what_the_same_command_would_do(rerun: list[str], then: str, tmp_path: Path) -> None:
    write_folder(tmp_path, "one", top="import time\ntime.sleep(600)")
    command = [sys.executable, "-m", "harness", "-C", str(tmp_path), "run", "-t", "smoke", *rerun]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        worker_below(running.pid, with_hosts=False)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=20)
    assert running.returncode == 130
    assert stderr.splitlines()[-1].endswith(f"is saved, and the same command {then}")


def test_hosts_start_though_every_stream_of_the_command_is_closed(tmp_path: Path) -> None:
    write_folder(tmp_path, "good")
    command = [sys.executable, "-m", "harness", "-C", str(tmp_path), "validate", "good"]
    closing = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]
    assert subprocess.run(closing, timeout=120).returncode == 0


def test_a_command_whose_output_nobody_reads_ends_as_a_broken_pipe_does_and_gives_no_verdict() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "harness", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        command.stdout.close()
        _, complaint = command.communicate(timeout=60)
    assert command.returncode == 128 + signal.SIGPIPE
    assert complaint == b""
