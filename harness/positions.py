"""A submission's positional embedding on the trainer's side: graphs and arrays, none of its Python."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from harness.errors import SubmissionError
from harness.graph import GraphError, build, is_looked_up, line_of, output_shapes, readings
from harness.host.client import Host
from harness.host.export import why_too_large
from harness.host.frames import Frame
from harness.protocol import ModelShape, Terms

MAX_TENSORS = 1000
"""Parameters, buffers and constants together; no worked submission has more than seven. Each is looked for in every
program, so that very many would take hours."""


class Program(NamedTuple):
    """The mode and the static shape for which a graph is requested."""

    training: bool
    batch: int
    length: int


class Positions(nn.Module):
    """The exported module: its trainable state as parameters, the rest as buffers, a graph for each program."""

    def __init__(
        self,
        state: dict[str, Tensor],
        trainable: set[str],
        graphs: Mapping[Program, Callable[..., tuple[Tensor, ...]]],
        names: Mapping[Program, tuple[str, ...]],
        dropout: float,
        tables: set[str],
    ) -> None:
        """Takes over what a host sent.

        Args:
            state: tensors by name, in the order in which the graphs take them.
            trainable: names of those that are trained.
            graphs: called as `graph(layout, generator, *state)`.
            names: the names of the terms that each graph returns.
            tables: names of the trained tensors that the graphs only take rows from.
        """
        super().__init__()
        self.dropout = dropout
        self._tables = [f"state_{index}" for index, name in enumerate(state) if name in tables]
        self._graphs = graphs
        self._names = names
        self._attributes: list[str] = []
        for index, (name, tensor) in enumerate(state.items()):
            attribute = f"state_{index}"
            self._attributes.append(attribute)
            if name in trainable:
                self.register_parameter(attribute, nn.Parameter(tensor))
            else:
                self.register_buffer(attribute, tensor)

    def tables(self) -> list[nn.Parameter]:
        """The trained tables, with a row for each position or distance."""
        return [self.get_parameter(attribute) for attribute in self._tables]

    def description(self) -> tuple[object, ...]:
        """What the seeds of a job must agree on: dropout, the terms of every program, each state tensor's shape."""
        state = {name: getattr(self, name) for name in self._attributes}
        shapes = [(name, tensor.shape, tensor.dtype, tensor.requires_grad) for name, tensor in state.items()]
        return self.dropout, tuple(sorted(self._names.items())), tuple(shapes)

    def terms(self, layout: Tensor, *, training: bool, generator: torch.Generator) -> Terms:
        """Terms for a (B, L) int64 layout of a shape that was exported; random ones draw from `generator`."""
        program = Program(training, *layout.shape)
        state = (getattr(self, attribute) for attribute in self._attributes)
        outputs = self._graphs[program](layout, generator, *state)
        return Terms(**dict(zip(self._names[program], outputs, strict=True)))

    def readings(self, layout: Tensor) -> list[tuple[str, Tensor]]:
        """What the parameters and the terms get to know of a (B, L) layout in evaluation (see `graph.readings`)."""
        graph = self._graphs[Program(False, *layout.shape)]
        assert isinstance(graph, _Graph), "the built-in reference is not audited"
        return graph.readings(layout, [getattr(self, attribute) for attribute in self._attributes])

    def try_out(self, layouts: Mapping[Program, Tensor]) -> None:
        """Computes the terms of each program for its layouts, (n, L) int64.

        Raises:
            SubmissionError: rule P00, with the line that fails on one of them.
        """
        for program, rows in layouts.items():
            num_batches = -(-len(rows) // program.batch)
            filled = rows[torch.arange(num_batches * program.batch) % len(rows)]
            for batch in filled.split(program.batch):
                with torch.no_grad():
                    self.terms(batch, training=program.training, generator=torch.Generator())


def receive_positions(
    host: Host,
    submission: str,
    shape: ModelShape,
    programs: Sequence[Program],
    *,
    seed: int,
    device: torch.device,
    layouts: Mapping[Program, Tensor] | None = None,
) -> Positions:
    """Asks the host to export its module, and rebuilds what it sends.

    Args:
        host: one with the role `positions`.
        seed: seeds torch's generator while the submission builds its parameters.
        layouts: by program, (n, L) int64; they are tried out on the CPU before anything is built on the device.

    Raises:
        SubmissionError: rule P00, or P30 if it is too large; the message names the line where one is known.
    """
    reply = host.export(asdict(shape), seed, programs)
    try:
        if layouts is not None:
            _rebuild(reply, submission, shape, programs, torch.device("cpu")).try_out(layouts)
        return _rebuild(reply, submission, shape, programs, device)
    except GraphError as error:
        raise SubmissionError(submission, "P00", str(error)[:1000]) from error


def _rebuild(
    reply: Frame, submission: str, shape: ModelShape, programs: Sequence[Program], device: torch.device
) -> Positions:
    described, dropout, marked = (reply.message.get(key) for key in ("programs", "dropout", "trainable"))
    if not isinstance(described, list) or len(described) != len(programs) or not isinstance(marked, dict):
        raise GraphError("the programs sent are not those that were asked for")
    if not isinstance(dropout, float) or not 0 <= dropout < 1:
        raise GraphError(f"dropout is {dropout!r:.40}; a number in [0, 1) is allowed")
    # Counted again: what the host says about itself is not believed.
    if oversize := why_too_large(reply.arrays, {name: marked.get(name) is True for name in reply.arrays}):
        raise SubmissionError(submission, "P30", oversize)
    if len(reply.arrays) > MAX_TENSORS:
        raise GraphError(f"positions hold {len(reply.arrays)} tensors; at most {MAX_TENSORS} are allowed")
    state = {name: torch.from_numpy(array.copy()).to(device) for name, array in reply.arrays.items()}
    trainable = {name for name in state if marked.get(name) is True}
    for name in trainable:
        if state[name].dtype != torch.float32:
            got = f"the parameter `{name}` has dtype {state[name].dtype}"
            raise GraphError(f"{got}; float32 is allowed: make it with .float()")
    graphs: dict[Program, Callable[..., tuple[Tensor, ...]]] = {}
    names: dict[Program, tuple[str, ...]] = {}
    tables = {name for name in trainable if state[name].dim() == 2}
    for program, sent in zip(programs, described, strict=True):
        if not isinstance(sent, dict) or [sent.get(field) for field in Program._fields] != list(program):
            raise GraphError("the programs sent are not those that were asked for")
        module = build(sent, list(state), device)
        names[program] = _checked_names(sent.get("terms"))
        shapes = output_shapes(module, (program.batch, program.length), list(state.values()))
        _check_shapes(names[program], shapes, program, shape)
        graphs[program] = _Graph(submission, module)
        tables -= {name for index, name in enumerate(state) if name in tables and not is_looked_up(module, index)}
    return Positions(state, trainable, graphs, names, dropout, tables)


class _Graph:
    """A graph as a function; errors that only real values show (a lookup outside a table) are the submission's."""

    def __init__(self, submission: str, module: fx.GraphModule) -> None:
        self._submission, self._module = submission, module

    def __call__(self, *inputs: Any) -> tuple[Tensor, ...]:
        with self._blaming():
            return self._module.forward(*inputs)

    def readings(self, layout: Tensor, state: Sequence[Tensor]) -> list[tuple[str, Tensor]]:
        with self._blaming():
            return readings(self._module, layout, state)

    @contextlib.contextmanager
    def _blaming(self) -> Iterator[None]:
        try:
            yield
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise
        except (IndexError, RuntimeError) as error:
            if str(error).startswith("CUDA error"):  # from a library: the device failed, perhaps in earlier work
                raise
            reason = f"{line_of(self._module, error)}: {str(error).splitlines()[0]}"
            remedy = "check it on layouts of every width"
            raise SubmissionError(self._submission, "P00", f"{reason[:1000]}; {remedy}") from error


def _checked_names(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not set(map(str, names)) <= set(Terms.__slots__) or len(set(names)) < len(names):
        raise GraphError(f"terms {names!r:.80}; allowed: {', '.join(Terms.__slots__)}")
    return tuple(names)


def _check_shapes(
    names: tuple[str, ...], outputs: list[tuple[torch.Size, torch.dtype]], program: Program, shape: ModelShape
) -> None:
    """Checks that every term has the contract's shape and dtype."""
    if len(outputs) != len(names):
        raise GraphError(f"{len(outputs)} tensors for {len(names)} terms")
    batch, length = {1, program.batch}, {program.length}
    allowed = {
        "embedding": (batch, length, {shape.d_model}),
        "embedding_angles": (batch, length, {shape.d_model // 2}),
        "angles": (batch, length, {shape.head_dim // 2}),
        "bias": (batch, {1, shape.num_heads}, length, length),
    }
    problems: list[str] = []
    for name, (size, dtype) in zip(names, outputs, strict=True):
        sizes = allowed[name]
        if len(size) != len(sizes) or any(got not in wanted for got, wanted in zip(size, sizes, strict=True)):
            wanted = ", ".join(" or ".join(map(str, sorted(wanted))) for wanted in sizes)
            got = f"Terms.{name} has shape {tuple(size)}; for a layout of {tuple(program[1:])} it must be ({wanted})"
            problems.append(f"{got}{_reshaping(size, sizes, program.length)}")
        if dtype != torch.float32:
            problems.append(f"Terms.{name} has dtype {dtype}; end with .float(), the contract asks for torch.float32")
    if problems:
        raise GraphError("; ".join(problems))


def _reshaping(size: torch.Size, sizes: tuple[set[int], ...], length: int) -> str:
    """What to do about a term of the wrong size, where one of the commonest mistakes made it."""
    if len(size) < len(sizes):
        return ": keep a first axis, of 1 or of the batch"
    if any(wanted == {length} and got != length for got, wanted in zip(size, sizes, strict=False)):
        return ": make tables `shape.max_length` long, and cut them to `layout.shape[1]`"
    return ""
