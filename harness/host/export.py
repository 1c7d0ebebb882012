"""The positions host's work: a module becomes graphs of operators and arrays, as JSON (the format: `harness/graph.py`).

Everything is built and exported twice, with different states of Python's and NumPy's generators but the same state of
torch's: what differs was drawn outside torch, and would be frozen into the graph.
"""

import contextlib
import io
import os
import random
import warnings
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from harness.host.frames import DTYPES, Frame
from harness.host.refusal import Refused, describe
from harness.protocol import ModelShape, PositionalEmbedding, Terms

MAX_STATE_ELEMENTS = 65_536
"""Most numbers in parameters and buffers together (rule P30); enough for a table of 512 positions of width 128."""

IGNORED_OPERATORS = ("aten._assert_tensor_metadata.default",)


def export_positions(module_class: type, request: dict[str, Any], folder: str) -> Frame:
    """Answers `{"shape": …, "seed": …, "programs": [[training, batch, length], …]}`."""
    first = _build_and_export(module_class, request, folder, python_seed=1)
    second = _build_and_export(module_class, request, folder, python_seed=2)
    _require_equal(first, second)
    return first


def _build_and_export(module_class: type, request: dict[str, Any], folder: str, python_seed: int) -> Frame:
    random.seed(python_seed)
    np.random.seed(python_seed)  # noqa: NPY002 - the legacy generator is the one a submission would draw from
    torch.manual_seed(request["seed"])
    if not issubclass(module_class, PositionalEmbedding):
        derive = "is no subclass of harness.protocol.PositionalEmbedding; derive it from that"
        raise Refused("P00", f"{module_class.__name__} {derive}")
    try:
        module = module_class(ModelShape(**request["shape"]))
    except Exception as error:
        raise Refused("P00", f"{module_class.__name__}(shape) raised: {describe(error, folder)}") from error
    if torch.initial_seed() != request["seed"]:
        remedy = "take `torch.manual_seed` out of __init__, since every trial seeds torch, and differently"
        raise Refused("P00", f"{module_class.__name__} seeds torch itself; {remedy}")
    _require_registered(module)
    if "dropout" in module._modules:
        remedy = "write `dropout = 0.1` in the class, and the harness applies it"
        raise Refused("P00", f"{module_class.__name__}.dropout is a module; it is a number in [0, 1): {remedy}")
    dropout = module.dropout
    if type(dropout) not in (int, float) or not 0 <= dropout < 1:
        raise Refused("P00", f"{module_class.__name__}.dropout is {dropout!r:.60}; a number in [0, 1) is allowed")
    programs: list[dict[str, Any]] = []
    state: dict[str, Tensor] = {}
    trainable: dict[str, bool] = {}
    for index, (training, batch, length) in enumerate(request["programs"]):
        exported, names = _export(module.train(training), batch, length, folder)
        described, tensors = _as_json(exported, index, folder)
        programs.append({"training": training, "batch": batch, "length": length, "terms": names, **described})
        for state_name, tensor in tensors.items():
            state[state_name] = tensor.detach().clone()
            trainable[state_name] = tensor.requires_grad
    arrays = {name: _as_array(name, tensor) for name, tensor in state.items()}
    if oversize := why_too_large(arrays, trainable):
        raise Refused("P30", oversize)
    message = {"dropout": float(dropout), "programs": programs, "trainable": trainable}
    return Frame(message, arrays)


TORCHS_OWN = frozenset(vars(nn.Module()))
"""Names under which torch keeps what is registered, and hooks."""


def _require_registered(module: PositionalEmbedding) -> None:
    """Refuses parameters and layers in Python's lists and dicts, where torch does not find them to train them."""
    registered = {id(one) for one in (*module.parameters(), *module.modules())}
    for owner in module.modules():
        for name, value in vars(owner).items():
            if name in TORCHS_OWN:
                continue
            for one in _held(value):
                if isinstance(one, (nn.Parameter, nn.Module)) and id(one) not in registered:
                    kind = nn.Parameter if isinstance(one, nn.Parameter) else nn.Module
                    holder = f"{type(owner).__name__}.{name}, a Python {type(value).__name__}, holds a {kind.__name__}"
                    raise Refused("P00", f"{holder}, which nothing would train; make it an nn.{kind.__name__}List")


def _held(value: object) -> Iterator[object]:
    """What lists, tuples and dicts hold, however deep, but for `value` itself if it is none."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    for one in inside:
        yield one
        yield from _held(one)


def why_too_large(arrays: Mapping[str, NDArray[Any]], trainable: Mapping[str, bool]) -> str | None:
    """What exceeds `MAX_STATE_ELEMENTS`, if anything does."""
    if (size := num_numbers(arrays, trainable)) <= MAX_STATE_ELEMENTS:
        return None
    largest = max(arrays, key=lambda name: arrays[name].size)
    name, shape = largest.rpartition(" ")[2].removeprefix("module."), " x ".join(map(str, arrays[largest].shape))
    which = "a constant" if name.startswith("lifted_tensor") else f"`{name}`"
    held = f"parameters, buffers and constants hold {size} numbers (the largest, {which}, is {shape})"
    return f"{held}; at most {MAX_STATE_ELEMENTS} are allowed; shape.max_length rows of shape.d_model are enough"


def num_numbers(arrays: Mapping[str, NDArray[Any]], trainable: Mapping[str, bool]) -> int:
    """Counts the numbers in parameters and buffers; any other tensor is sent once per program, but counted once."""
    parameters = sum(array.size for name, array in arrays.items() if trainable.get(name))
    constants = [array for name, array in arrays.items() if not trainable.get(name)]
    return parameters + sum(
        {(array.shape, array.dtype.str, array.tobytes()): array.size for array in constants}.values()
    )


class _Recorder(nn.Module):
    """Calls the submission's module and returns the terms it uses as a tuple, noting their names."""

    def __init__(self, module: PositionalEmbedding, names: list[str]) -> None:
        super().__init__()
        self.module = module
        self.names = names

    def forward(self, layout: Tensor) -> tuple[Tensor, ...]:
        terms = self.module(layout)
        if not isinstance(terms, Terms):
            kind = "a tensor" if isinstance(terms, Tensor) else f"a {type(terms).__name__}"
            raise Refused("P00", f"forward returned {kind}; return harness.protocol.Terms")
        # Filled in place: torch.export restores attributes that forward assigns.
        self.names[:] = [name for name in Terms.__slots__ if getattr(terms, name) is not None]
        for name in self.names:
            if not isinstance(getattr(terms, name), Tensor):
                kind = type(getattr(terms, name)).__name__
                raise Refused("P00", f"Terms.{name} is of type {kind}; a float32 tensor or None is allowed")
        return tuple(getattr(terms, name) for name in self.names)


def _export(module: PositionalEmbedding, batch: int, length: int, folder: str) -> tuple[ExportedProgram, list[str]]:
    """The exported program, and the names of the terms that it returns, in order."""
    names: list[str] = []
    recorder = _Recorder(module, names)
    layout = torch.zeros(batch, length, dtype=torch.int64)
    try:
        # When torch cannot trace something, it prints the whole graph, which is not output of the submission.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # torch's own deprecations, which no entrant can fix
            exported = torch.export.export(recorder, (layout,), strict=False)
            if any(_is_mutating(node) for node in exported.graph.nodes):
                # `table[:, 0::2] = …` and the like become pure operators; values and gradients stay the same.
                exported = exported.run_decompositions({})
    except Refused:
        raise
    except Exception as error:
        raise Refused("P00", _why_not_exported(error, folder)) from error
    if exported.graph_signature.buffers_to_mutate:
        changed = ", ".join(
            name.removeprefix("module.") for name in exported.graph_signature.buffers_to_mutate.values()
        )
        raise Refused(
            "P00", f"forward changes {changed}: positions keep no state between calls; compute it from the layout"
        )
    return exported, names


def _is_mutating(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _why_not_exported(error: Exception, folder: str) -> str:
    """What torch.export says at length, as one line that names the place in the submission."""
    where, _, text = describe(error, folder).partition(": ")
    name = type(error).__name__
    if "DataDependent" in name or "data-dependent" in text:
        reason = "a Python number or branch depends on the values of the layout, which the graph cannot know"
        return f"{where}: {reason}; use tensor arithmetic (torch.where instead of if, no .item(), int() or bool())"
    if ".numpy()" in text:
        return f"{where}: a tensor was turned into a NumPy array, which cannot cross as a graph; compute with torch"
    if name == "TypeError" and "forward() missing" in text:
        return f"{where}: {text}; forward is called with the layout alone, positions never see the tokens"
    if "torch._C.Generator" in text:  # only in versions of torch that do not treat it as a constant; 2.13 does
        return f"{where}: {_cannot_cross('Generator')}"
    return f"{where}: {text}" if text else where


def _cannot_cross(kind: str) -> str:
    return f"forward uses a {kind}, which cannot cross; draw from torch's own generator"


def _as_json(exported: ExportedProgram, index: int, folder: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The graph of one program, and the state that it reads, by name."""
    inputs: dict[str, str | None] = {}
    tensors: dict[str, Tensor] = {}
    for spec in exported.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            inputs[spec.arg.name] = None
            continue
        target = str(spec.target)
        if spec.kind == InputKind.CONSTANT_TENSOR:  # numbered anew in every export, so named after its program
            name, value = f"constant {index} {target}", exported.constants[target]
        else:
            name = target.removeprefix("module.")
            value = exported.state_dict[target] if target in exported.state_dict else exported.constants[target]
        if not isinstance(value, Tensor):
            raise Refused("P00", _cannot_cross(type(value).__name__))
        inputs[spec.arg.name] = name
        tensors[name] = value
    nodes: list[list[Any]] = []
    outputs: list[Any] = []
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            nodes.append([node.name, "input", inputs[node.name], "", [], {}])
        elif node.op == "get_attr":
            continue  # the body of a block, which is refused where it is called
        elif isinstance(node.target, torch._ops.HigherOrderOperator):
            blocks = "a block under torch.no_grad, torch.cond or the like cannot cross"
            raise Refused("P00", f"{_line(node, folder)}: {blocks}; use .detach() and torch.where")
        elif node.op == "output":
            outputs = [_encode(output, node, folder) for output in node.args[0]]
        elif str(node.target) not in IGNORED_OPERATORS:
            args = [_encode(argument, node, folder) for argument in node.args]
            kwargs = {name: _encode(argument, node, folder) for name, argument in node.kwargs.items()}
            operator = "getitem" if node.target.__name__ == "getitem" else str(node.target)
            nodes.append([node.name, "call", operator, _line(node, folder), args, kwargs])
    return {"nodes": nodes, "outputs": outputs}, tensors


def _encode(argument: Any, node: Node, folder: str) -> Any:
    if isinstance(argument, Node):
        return {"node": argument.name}
    if isinstance(argument, (list, tuple)):
        return [_encode(item, node, folder) for item in argument]
    if isinstance(argument, torch.dtype):
        return {"dtype": str(argument).removeprefix("torch.")}
    if isinstance(argument, torch.device):
        if argument.type != "cpu":
            raise Refused("P00", f"{_line(node, folder)}: creates a tensor on {argument}; create it on layout.device")
        return {"device": "layout"}
    if isinstance(argument, (torch.layout, torch.memory_format)):
        return None
    if argument is None or isinstance(argument, (bool, int, float, str)):
        return argument
    raise Refused(
        "P00",
        f"{_line(node, folder)}: {argument!s:.60} is no number; sizes must not depend on values",
    )


def _line(node: Node, folder: str) -> str:
    """`submission.py, line 12, pos = …`: the last line of the submission that led to the node."""
    found = "forward"
    lines = (node.meta.get("stack_trace") or "").splitlines()
    for place, code in pairwise([*lines, ""]):
        if folder in place:
            file, line = place.split('"')[1], place.split("line ")[-1].split(",")[0]
            found = f"{os.path.relpath(file, folder)}, line {line}, `{code.strip()[:120]}`"
    return found


def _as_array(name: str, tensor: Tensor) -> np.ndarray:
    array = tensor.cpu().numpy()
    if array.dtype.name not in DTYPES:
        raise Refused("P00", f"{name} has dtype {tensor.dtype}; allowed: {', '.join(DTYPES)}")
    return array


def _require_equal(first: Frame, second: Frame) -> None:
    """Refuses two exports that differ.

    Raises:
        Refused: a number came from somewhere other than torch's generator; the message names its line where known.
    """
    for one, other in zip(first.message["programs"], second.message["programs"], strict=True):
        for node, twin in zip(one["nodes"], other["nodes"], strict=False):
            if node != twin:
                pairs = zip(_leaves(node[4:]), _leaves(twin[4:]), strict=False)
                frozen = next((value for value, again in pairs if value != again), node[2])
                raise Refused(
                    "P00",
                    f"{node[3]}: a number from outside torch became the constant {frozen!r:.40} "
                    "(exported again, it was another); draw with torch.randint or torch.rand",
                )
    for name, array in first.arrays.items():
        other_array = second.arrays.get(name)
        if other_array is None or not np.array_equal(array, other_array, equal_nan=array.dtype.kind == "f"):
            raise Refused("P00", f"`{name}` differs between two constructions; draw its values with torch's generator")
    if first.message != second.message:
        raise Refused("P00", "two exports differ; positions may not depend on anything but the shape and the layout")


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
