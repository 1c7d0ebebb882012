"""The child's side: builds the one class its role needs and answers requests until the pipe closes.

This code is ours but the process is not to be trusted: once a submission has been imported here, it can change anything
in it. So the checks below only make errors readable; whoever receives an answer checks it again.
"""

import contextlib
import ctypes
import dataclasses
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from harness.host.frames import (
    LENGTHS,
    MAX_DECODED_CHARACTERS,
    MAX_VOCAB_SIZE,
    Frame,
    frame_size,
    pack,
    unpack,
)
from harness.host.lockdown import lock_down
from harness.host.refusal import Refused, describe


def serve(settings: dict[str, Any]) -> None:
    """Answers requests on the two pipe ends that `settings` names, for the role it names.

    The first request brings the submission's files; before it is answered, the process is locked down, unless the level
    is `none`.
    """
    die_with_parent(settings["parent"])
    folder = settings["folder"]
    requests = os.fdopen(settings["requests"], "rb")
    replies = os.fdopen(settings["replies"], "wb")
    _write_files(Path(folder), _next(requests))
    if settings["level"] != "none":
        lock_down(Path(folder), settings["readable"])
    replies.write(pack(Frame({"isolation": settings["level"]})))
    replies.flush()
    sys.path.insert(0, folder)
    answer: Callable[[Frame], Frame] | None = None
    while request := _next(requests):
        try:
            if answer is None:
                answer = _positions(settings) if settings["role"] == "positions" else _tokens(settings)
            reply = pack(answer(request))
        except Refused as error:
            reply = pack(Frame({"error": {"rule": error.rule, "message": str(error)}}))
        except (Exception, SystemExit) as error:
            rule = "P00" if settings["role"] == "positions" else "T00"
            reply = pack(Frame({"error": {"rule": rule, "message": describe(error, folder)}}))
        replies.write(reply)
        replies.flush()


def _next(requests: BinaryIO) -> Frame | None:
    header = requests.read(LENGTHS.size)
    return unpack(header + requests.read(frame_size(header) - LENGTHS.size)) if header else None


def _write_files(folder: Path, request: Frame | None) -> None:
    """Writes the digested files and nothing else: whatever else the folder holds never reaches a host."""
    for name, content in request.message["files"].items() if request else ():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="")


def load_class(entry_point: str, folder: str, rule: str) -> type:
    """The class that `module:Class` names inside `folder`."""
    module_name, _, class_name = entry_point.partition(":")
    if not (Path(folder) / Path(*module_name.split("."))).with_suffix(".py").is_file():
        remedy = "; leave out .py" if module_name.endswith(".py") else ""
        got = f"submission.yaml names {entry_point}, but there is no {module_name.replace('.', '/')}.py"
        raise Refused(rule, got + remedy)
    module = importlib.import_module(module_name)
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [value for value in vars(module).values() if isinstance(value, type)]
        own = [value.__name__ for value in classes if value.__module__ == module_name]
        others = f" (but {', '.join(own):.200})" if own else ", nor any other"
        remedy = "write it, or name another in submission.yaml"
        raise Refused(rule, f"{module_name}.py defines no class {class_name}{others}; {remedy}")
    return found


def die_with_parent(parent_id: int) -> None:
    """Makes this process end with its parent, however that ends.

    On Linux by SIGKILL; elsewhere, a process that reads ends when its pipe closes.
    """
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_id:  # the parent ended before it could be watched
        os._exit(1)


def warm_up(*, exports: bool) -> None:
    """Imports what submissions import, so that no forked host waits for it; with `exports`, also exports a module."""
    import torch

    from harness.protocol import ModelShape, PositionalEmbedding, Terms

    # torch.export asks torch whether there is CUDA, and torch asks the driver. That would open /dev/nvidia*, which
    # every host would inherit past Landlock, and a forked host that took CUDA to be available would fail to use it.
    torch.cuda.is_available = lambda: False
    torch.set_num_threads(1)
    if not exports:
        return
    from harness.host.export import export_positions

    class WarmUp(PositionalEmbedding):
        def forward(self, layout: torch.Tensor) -> Terms:
            return Terms()

    shape = ModelShape(d_model=4, num_heads=1, head_dim=4, num_layers=1, max_digits=1, max_length=2)
    export_positions(
        WarmUp, {"shape": dataclasses.asdict(shape), "seed": 0, "programs": [[True, 2, 2]]}, "/nonexistent"
    )


def _tokens(settings: dict[str, Any]) -> Callable[[Frame], Frame]:
    tokenizer_class = load_class(settings["entry_point"], settings["folder"], "T00")
    with _named_call(settings, f"{tokenizer_class.__name__}(max_digits={settings['max_digits']})"):
        tokenizer = tokenizer_class(settings["max_digits"])

    def answer(request: Frame) -> Frame:
        if request.message["do"] == "describe":
            return _describe_vocabulary(tokenizer, settings)
        if request.message["do"] == "encode":
            return _encode(tokenizer, request.message["texts"], settings)
        return _decode(tokenizer, request, settings)

    return answer


def _describe_vocabulary(tokenizer: Any, settings: dict[str, Any]) -> Frame:
    numbers: dict[str, int] = {}
    for name in ("vocab_size", "pad_id", "eos_id"):
        value = getattr(tokenizer, name, None)
        if type(value) is not int:
            raise Refused("T00", f"{name} is {value!r:.60}; the contract asks for an int")
        numbers[name] = value
    texts = [
        _decoded(tokenizer, [token_id], settings) for token_id in range(min(numbers["vocab_size"], MAX_VOCAB_SIZE))
    ]
    return Frame({**numbers, "texts": texts})


def _encode(tokenizer: Any, texts: list[str], settings: dict[str, Any]) -> Frame:
    encoded: list[list[int]] = []
    for text in texts:
        with _named_call(settings, f"encode({text!r})"):
            token_ids = tokenizer.encode(text)
        if not isinstance(token_ids, list):
            raise Refused(
                "T00", f"encode({text!r}) returned {type(token_ids).__name__}; the contract asks for list[int]"
            )
        for token_id in token_ids:
            if type(token_id) is not int or not -(2**31) <= token_id < 2**31:
                kind = type(token_id).__name__
                raise Refused(
                    "T00", f"encode({text!r}) holds {token_id!r:.40} of type {kind}; ids are ints in [0, vocab_size)"
                )
        encoded.append(token_ids)
    lengths = np.array([len(token_ids) for token_ids in encoded], np.int32)
    flat = np.array([token_id for token_ids in encoded for token_id in token_ids], np.int32)
    return Frame({}, {"ids": flat, "lengths": lengths})


def _decode(tokenizer: Any, request: Frame, settings: dict[str, Any]) -> Frame:
    token_ids, lengths = request.arrays["ids"].tolist(), request.arrays["lengths"].tolist()
    texts: list[str] = []
    start = 0
    for length in lengths:
        one = token_ids[start : start + length]
        texts.append(_decoded(tokenizer, one, settings))
        start += length
    return Frame({"texts": texts})


def _decoded(tokenizer: Any, token_ids: list[int], settings: dict[str, Any]) -> str:
    with _named_call(settings, f"decode({token_ids})"):
        text = tokenizer.decode(token_ids)
    call = f"decode({token_ids})"
    if not isinstance(text, str):
        raise Refused("T30", f"{call:.200} returned {text!r:.60}; the contract asks for a str")
    if len(text) > MAX_DECODED_CHARACTERS:
        limit = f"at most {MAX_DECODED_CHARACTERS} are allowed; let an id stand for a few characters"
        raise Refused("T30", f"{call:.200} returned {len(text)} characters; {limit}")
    return text


@contextlib.contextmanager
def _named_call(settings: dict[str, Any], call: str) -> Iterator[None]:
    """Names, in the error, the call in which the submission raised it."""
    try:
        yield
    except Refused:
        raise
    except (Exception, SystemExit) as error:
        raise Refused("T00", f"{call:.200} raised: {describe(error, settings['folder'])}") from error


def _positions(settings: dict[str, Any]) -> Callable[[Frame], Frame]:
    # torch.export takes a second to import: only the host that exports pays for it.
    from harness.host.export import export_positions

    module_class = load_class(settings["entry_point"], settings["folder"], "P00")
    return lambda request: export_positions(module_class, request.message, settings["folder"])
