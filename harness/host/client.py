"""The parent's side of a host: starts it, asks it, enforces the deadline and the caps, and ends it.

A host is one process for one role of one submission. None of its answers is trusted: sizes, types, ranges and
lengths are checked here, whatever the child claims to have checked.
"""

import contextlib
import os
import re
import selectors
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from harness.errors import EngineError, HostError, SubmissionError
from harness.host.budget import Budget, budget_in_force
from harness.host.frames import (
    LENGTHS,
    MAX_DECODED_CHARACTERS,
    MAX_FRAME_BYTES,
    MAX_VOCAB_SIZE,
    Frame,
    FrameError,
    frame_size,
    pack,
    unpack,
)
from harness.host.lockdown import MAX_CPU_S
from harness.host.remedies import remedied
from harness.host.sandbox import Isolation, isolation
from harness.host.zygote import FOLDER_PREFIX, zygote_for
from harness.ragged import Ragged
from harness.rules import RULES
from harness.submissions import Submission

Role = Literal["prompts", "answers", "decode", "positions"]

OUT_OF_BOUNDS = {signal.SIGKILL, signal.SIGXCPU}
"""The signals that the system sends to a process that used up its processor time, or when memory runs out."""
DEADLINE_S = 60.0
"""Seconds allowed for one answer, import and construction included in the first; honest hosts take about one."""
PROGRAMS_PER_DEADLINE = 8
"""Graphs that are exported within one deadline; a track of length generalisation asks for dozens. A graph of 2,000
operators, the most that is allowed, takes about two seconds, and is exported twice."""
TRACEBACK_S = 1.0
"""Seconds that a process which missed its deadline is given to print where it is."""
FRAME_OF_SUBMISSION = re.compile(
    rf'File "[^"\n]*/{FOLDER_PREFIX}[^/"\n]+/([\w/]+\.py)", line (\d+) in ([\w<>]+)\n'.encode()
)
"""The innermost is the first in what faulthandler prints."""
MAX_OUTPUT_BYTES = 64 * 1024
MAX_TEXTS_PER_FRAME = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """What a tokenizer says about itself before it has seen any text; `texts[i]` is what id i decodes to on its own."""

    vocab_size: int
    pad_id: int
    eos_id: int
    texts: tuple[str, ...]


class Host:
    """One child process; a context manager, so that it ends whatever happens.

    Args:
        submission: whose code runs.
        role: what it is asked to do; a process of one role never sees what one of another role is given.
        max_digits: passed to the tokenizer, as the contract says.
        hash_seed: PYTHONHASHSEED of the process; audits compare two.
        deadline_s: seconds for one answer.
        level: of the sandbox; by default the strongest that this machine offers.
    """

    def __init__(
        self,
        submission: Submission,
        role: Role,
        *,
        max_digits: int = 1,
        hash_seed: int = 0,
        deadline_s: float | None = None,
        level: Isolation | None = None,
    ) -> None:
        self._submission = submission
        self._role = role
        self._max_digits = max_digits
        self._deadline_s = DEADLINE_S if deadline_s is None else deadline_s
        self._output = bytearray()
        self._holds_code = False
        """Whether the submission's files have been handed over: until then, no trouble is the submission's fault."""
        self._part = part = submission.positions if role == "positions" else submission.tokenizer
        self._level = level = isolation() if level is None else level
        settings = {
            "role": role,
            "entry_point": part.entry_point,
            "max_digits": max_digits,
        }
        self._zygote = zygote_for(hash_seed, level)
        request_read, self._requests = os.pipe()
        self._replies, reply_write = os.pipe()
        self._output_pipe, output_write = os.pipe()
        theirs = (request_read, reply_write, output_write)
        self._process_id: int | None = None
        try:
            self._process_id = self._zygote.start(settings, theirs)
        except BaseException:
            self._close_pipes()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        for descriptor in (self._requests, self._replies, self._output_pipe):
            os.set_blocking(descriptor, False)
        files = {name: content.decode() for name, content in part.files.items()}
        try:
            self._open(files, level)
        except BaseException:
            self.close()
            raise

    def _open(self, files: dict[str, str], level: Isolation) -> None:
        """Hands the files over; the answer comes before any of them is imported, so it can be trusted."""
        try:
            reported = self.ask({"do": "open", "files": files}).message.get("isolation")
        except HostError as error:
            raise EngineError(f"a host could not lock itself down: {error.message}; run `harness doctor`") from error
        if reported != level:
            raise EngineError(f"a host says that it is at isolation {reported!r:.40} where {level} was asked for")
        self._holds_code = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kills the process with everything it started, and waits for it."""
        if self._process_id is not None:
            with contextlib.suppress(EngineError):  # its zygote has died, and the host with it
                self._zygote.kill(self._process_id)
            self._process_id = None
            self._close_pipes()

    def _close_pipes(self) -> None:
        for descriptor in (self._requests, self._replies, self._output_pipe):
            os.close(descriptor)

    @property
    def output(self) -> str:
        """What the process has printed so far, control characters removed."""
        return "".join(c for c in self._output.decode("utf-8", "replace") if c.isprintable() or c == "\n")

    def ask(
        self, message: dict[str, Any], arrays: dict[str, NDArray[Any]] | None = None, *, num_deadlines: int = 1
    ) -> Frame:
        """The host's answer to `message`, which may take `num_deadlines` times the seconds of one answer.

        Raises:
            SubmissionError: the code broke the contract, and the child could say where.
            HostError: the process died, hung, flooded its output or broke the wire format.
            EngineError: no fault of the submission: the host could not lock itself down, or its zygote has ended.
        """
        try:
            reply = unpack(self._exchange(pack(Frame(message, arrays or {})), num_deadlines * self._deadline_s))
        except FrameError as error:
            raise self._host_error(f"sent {error}") from error
        error = reply.message.get("error")
        if error is not None:
            if not isinstance(error, dict):
                raise self._host_error("sent a malformed error")
            text, rule = str(error.get("message"))[:1000], str(error.get("rule"))
            raise self._breach(rule if rule in RULES else "T00", remedied(text, self._part.files))
        return reply

    def describe(self) -> Vocabulary:
        """The tokenizer's vocabulary; asked for before any text is sent, so that it cannot depend on any.

        Raises:
            SubmissionError: it is not one that rule T00 allows; and whatever `ask` raises, as in the methods below.
        """
        message = self.ask({"do": "describe"}).message
        size, pad_id, eos_id = (message.get(name) for name in ("vocab_size", "pad_id", "eos_id"))
        if type(size) is not int or type(pad_id) is not int or type(eos_id) is not int:
            raise self._host_error("sent a vocabulary that is not ints")
        if not 2 <= size <= MAX_VOCAB_SIZE:
            raise self._breach("T00", f"vocab_size is {size}; 2 to {MAX_VOCAB_SIZE} ids are allowed")
        for name, value in (("pad_id", pad_id), ("eos_id", eos_id)):
            if not 0 <= value < size:
                raise self._breach("T00", f"{name} is {value}; ids must be in [0, {size}). Count your special tokens")
        if pad_id == eos_id:
            raise self._breach(
                "T00", f"pad_id and eos_id are both {pad_id}; an answer's end must differ from its padding"
            )
        texts = self._texts(message.get("texts"), size)
        return Vocabulary(vocab_size=size, pad_id=pad_id, eos_id=eos_id, texts=tuple(texts))

    def encode(self, texts: Sequence[str], vocabulary: Vocabulary) -> Ragged:
        """Token ids of each text, checked against the vocabulary and the length that rule T00 allows."""
        parts: list[Ragged] = []
        for batch in _batches(texts, self._max_ids(texts)):
            encoded = self._received(self.ask({"do": "encode", "texts": batch}).arrays, batch)
            self._check_ids(batch, encoded, vocabulary)
            parts.append(encoded)
        return Ragged.concatenate(parts)

    def decode(self, sequences: Ragged) -> list[str]:
        """Text of each sequence of ids."""
        decoded: list[str] = []
        for batch in _batches(range(len(sequences)), max(1, int(sequences.lengths.max(initial=0)))):
            part = sequences.take(np.array(batch))
            message = self.ask({"do": "decode"}, {"ids": part.flat(), "lengths": part.lengths}).message
            decoded += self._texts(message.get("texts"), len(batch))
        return decoded

    def export(self, shape: dict[str, int], seed: int, programs: Sequence[Sequence[int]]) -> Frame:
        """The positional embedding as graphs and arrays (the format: `harness/graph.py`), which nobody has checked.

        Args:
            shape: the fields of `protocol.ModelShape`.
            seed: seeds torch's generator while the submission builds its parameters.
            programs: for each graph whether it is for training, the batch and the length.
        """
        message = {"do": "export", "shape": shape, "seed": seed, "programs": [list(program) for program in programs]}
        return self.ask(message, num_deadlines=-(-len(programs) // PROGRAMS_PER_DEADLINE))

    def _check_ids(self, texts: list[str], encoded: Ragged, vocabulary: Vocabulary) -> None:
        ids, size = encoded.token_ids, vocabulary.vocab_size
        present = np.arange(ids.shape[1]) < encoded.lengths[:, None]
        for row, column in np.argwhere(present & ((ids < 0) | (ids >= size)))[:1]:
            got = f"vocab_size is {size} but encode({texts[row]!r}) gave id {ids[row, column]}"
            remedy = "Count your special tokens" if ids[row, column] >= size else "The first id is 0"
            raise self._breach("T00", f"{got}; ids must be in [0, vocab_size). {remedy}")
        for name, special in (("pad_id", vocabulary.pad_id), ("eos_id", vocabulary.eos_id)):
            for row, _ in np.argwhere(ids == special)[:1]:
                got = f"encode({texts[row]!r}) holds {name} {special}"
                raise self._breach("T00", f"{got}; the harness adds it, leave it out")

    def _exchange(self, request: bytes, deadline_s: float) -> bytes:
        """Sends `request` and returns the bytes of one frame; the time it takes is charged to the budget, if any."""
        own, start = budget_in_force(), time.monotonic()
        allowed_s = deadline_s if own is None else min(deadline_s, own.left_s)
        try:
            return self._send_and_receive(request, start + allowed_s)
        except TimeoutError as error:
            if own is not None and allowed_s < deadline_s:
                raise self._out_of(own) from error
            seen = f"gave no answer within {deadline_s:g} seconds{self._where()}"
            remedy = "look for an endless loop, or for code that is slow in every call"
            raise self._host_error(f"{seen}; {remedy}") from error
        finally:
            if own is not None:
                own.used_s += time.monotonic() - start

    def _send_and_receive(self, request: bytes, end: float) -> bytes:
        """Sends `request` and returns the answer, reading what the process prints meanwhile.

        Raises:
            TimeoutError: the answer has not come by `end`, on the monotonic clock.
        """
        unsent, reply, expected = memoryview(request), bytearray(), LENGTHS.size
        with selectors.DefaultSelector() as selector:
            selector.register(self._requests, selectors.EVENT_WRITE)
            selector.register(self._replies, selectors.EVENT_READ)
            selector.register(self._output_pipe, selectors.EVENT_READ)
            while len(reply) < expected:
                ready = selector.select(max(0.0, end - time.monotonic()))
                if not ready:
                    raise TimeoutError
                for key, _ in ready:
                    if key.fd == self._requests:
                        unsent = self._write_some(unsent)
                        if not unsent:
                            selector.unregister(self._requests)
                    elif key.fd == self._output_pipe:
                        if not self._read_output():
                            selector.unregister(self._output_pipe)
                    else:
                        chunk = os.read(self._replies, min(expected - len(reply), 1 << 20))
                        if not chunk:
                            raise self._host_error(self._death())
                        reply += chunk
                        if len(reply) == LENGTHS.size:
                            expected = frame_size(bytes(reply))
        return bytes(reply)

    def _where(self) -> str:
        """`, and was at submission.py, line 25, in encode`: what the process says of itself when asked by a signal."""
        assert self._process_id is not None
        before, end = len(self._output), time.monotonic() + TRACEBACK_S
        with contextlib.suppress(EngineError, HostError), selectors.DefaultSelector() as selector:
            selector.register(self._output_pipe, selectors.EVENT_READ)
            self._zygote.ask_for_traceback(self._process_id)
            while selector.select(max(0.0, end - time.monotonic())) and self._read_output():
                if frame := FRAME_OF_SUBMISSION.search(self._output, before):
                    file, line, function = (part.decode() for part in frame.groups())
                    return f", and was at {file}, line {line}, in {function}"
        return ""

    def _write_some(self, unsent: memoryview) -> memoryview:
        """Sends a part and returns the rest; nothing if the other end is closed, which the reply pipe then reports."""
        try:
            return unsent[os.write(self._requests, unsent[:65536]) :]
        except BrokenPipeError:
            return unsent[:0]

    def _out_of(self, own: Budget) -> SubmissionError:
        used = f"in {own.what}, waiting for its hosts took {own.allowed_s:g} seconds, the most that is allowed"
        remedy = "make the code that runs at import, in __init__, encode and decode faster, and remove what sleeps"
        return self._breach("T00", f"{used} (the last was the {self._role} host); {remedy}")

    def _read_output(self) -> bool:
        """Keeps what was printed; returns False at the end of the output."""
        chunk = os.read(self._output_pipe, 65536)
        self._output += chunk
        if len(self._output) > MAX_OUTPUT_BYTES:
            raise self._host_error(
                f"printed more than {MAX_OUTPUT_BYTES // 1024} KiB, which nobody sees; remove the print calls"
            )
        return bool(chunk)

    def _death(self) -> str:
        """Says how the process ended, once its reply pipe has reached its end.

        Raises:
            EngineError: the zygote has ended too, which no submission can bring about from inside a sandbox.
        """
        assert self._process_id is not None
        try:
            code = self._zygote.exit_code(self._process_id)
        except EngineError:
            if self._level is not Isolation.NONE:
                raise
            return "died with the process that had started it; a submission may not end other processes"
        if code is None:
            return "closed its pipe without an answer"
        ended = f"was killed by signal {-code}" if code < 0 else f"ended by itself with exit code {code}"
        while self._output_ready() and self._read_output():
            pass
        last = self.output.strip().splitlines()[-1:]
        printed = f" (it printed: {last[0][:200]})" if last else ""
        remedy = "; a submission may not end its process" if self._holds_code else ""
        if -code in OUT_OF_BOUNDS:
            remedy += f", nor use more than {MAX_CPU_S} s of processor time or the memory that is left"
        return f"{ended} before it answered{remedy}{printed}"

    def _output_ready(self) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._output_pipe, selectors.EVENT_READ)
            return bool(selector.select(0.0))

    def _received(self, arrays: dict[str, NDArray[Any]], texts: list[str]) -> Ragged:
        """The sequences in an answer; lengths are checked before memory is allocated for them."""
        ids, lengths = arrays.get("ids"), arrays.get("lengths")
        if ids is None or lengths is None or ids.dtype != np.int32 or lengths.dtype != np.int32 or ids.ndim != 1:
            raise self._host_error("sent an encoding without ids and lengths")
        if lengths.shape != (len(texts),) or (lengths < 0).any() or int(lengths.sum(dtype=np.int64)) != len(ids):
            raise self._host_error(f"sent lengths that do not fit {len(texts)} texts and {len(ids)} ids")
        allowed = self._max_ids(texts)
        for index in np.flatnonzero((lengths < 1) | (lengths > allowed))[:1]:
            got = f"encode({texts[index]!r}) gave {lengths[index]} ids"
            raise self._breach(
                "T00", f"{got}; 1 to {allowed} (4 per character of the longest prompt, and 8 more) are allowed"
            )
        return Ragged.from_flat(ids, lengths)

    def _max_ids(self, texts: Sequence[str]) -> int:
        """Most ids that a text may become (rule T00); a padded answer can be as long as the longest prompt."""
        longest_prompt = 2 * self._max_digits + 2
        return 4 * max([longest_prompt, *(len(text) for text in texts)]) + 8

    def _texts(self, texts: object, count: int) -> list[str]:
        if not isinstance(texts, list) or len(texts) != count:
            raise self._host_error(f"did not send the {count} texts it was asked for")
        if not all(isinstance(text, str) and len(text) <= MAX_DECODED_CHARACTERS for text in texts):
            raise self._host_error(f"sent text that is not a str of at most {MAX_DECODED_CHARACTERS} characters")
        try:
            "".join(texts).encode()
        except UnicodeEncodeError as error:
            got = f"decode returned half of a surrogate pair, {error.object[error.start]!r}"
            raise self._breach("T30", f"{got}; return text that can be written as UTF-8") from error
        return texts

    def _host_error(self, what: str) -> HostError:
        rule = "P00" if self._role == "positions" else "T00"
        return HostError(self._submission.name, rule, self._located(f"the {self._role} host {what}"))

    def _breach(self, rule: str, message: str) -> SubmissionError:
        return SubmissionError(self._submission.name, rule, self._located(message))

    def _located(self, message: str) -> str:
        """The message, with the folder that the code lies in if that is not the submission's own."""
        lender = self._part.folder.name
        is_borrowed = self._holds_code and lender != self._submission.folder.name
        return f"in the borrowed submissions/{lender}: {message}" if is_borrowed else message


def _batches(items: Sequence[Any], max_ids: int) -> Iterator[list[Any]]:
    """Parts of `items` that fill half a frame at most, with `max_ids` ids of four bytes for every item."""
    size = max(1, min(MAX_TEXTS_PER_FRAME, MAX_FRAME_BYTES // 2 // (4 * max_ids)))
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
