"""A positional embedding as data: JSON from its host becomes an `fx.GraphModule` of allow-listed ATen operators.

A program is the module in one mode at one static shape. This one looks up `x + 1`, for a (64, 9) layout x, in a
parameter `table`:

    {"training": true, "batch": 64, "length": 9, "terms": ["embedding"],
     "nodes": [["p_table", "input", "table", "", [], {}],            placeholder of the state named "table"
               ["layout", "input", null, "", [], {}],                placeholder of the layout
               ["add", "call", "aten.add.Tensor", "submission.py, line 9, `x + 1`", [{"node": "layout"}, 1], {}],
               ["embedding", "call", "aten.embedding.default", "…", [{"node": "p_table"}, {"node": "add"}], {}]],
     "outputs": [{"node": "embedding"}]}

An argument is null, a bool, a number, a string, a list of arguments, or one of {"node": name}, {"dtype": "float32"} and
{"device": "layout"}, which stands for the trainer's device. Nothing in a program is evaluated or unpickled: names are
looked up in a list, and each operator's schema checks its arguments. A schema takes any int where a dtype belongs, so
dtypes are checked here.
"""

import operator
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils.flop_counter import FlopCounterMode

MAX_NODES = 2000
MAX_ELEMENTS = 1 << 26
"""Numbers in any one tensor of a program, 256 MiB of float32."""
MAX_TOTAL_ELEMENTS = 1 << 29
"""Numbers in all tensors of a program together, views included; FIRE on 256 rows of 63 tokens makes about 2**27."""
MAX_READ_ELEMENTS = 1 << 30
"""Numbers that all operators of a program read, views as large as they look: the sum of a number that was broadcast is
one number, and takes as long as any."""
MAX_PRODUCT_FLOPS = 1 << 34
"""Floating-point operations of all matrix products of a program together, some seconds on one core; FIRE on 256 rows of
63 tokens takes about 2**30."""
MAX_PARTS = 4096
"""Tensors that one operator may return."""
MAX_EINSUM = 2
"""Tensors of one einsum; with more, an intermediate can be larger than all inputs and the result."""
MAX_DEPTH = 8
"""How deep the lists of one argument may be nested; honest ones are one deep."""

DTYPES = {
    name: getattr(torch, name) for name in ("bool", "int8", "uint8", "int16", "int32", "int64", "float32", "float64")
}

OPERATORS = frozenset(
    name
    for names in (
        # elementwise
        "abs acos add addcdiv addcmul asin atan atan2 bitwise_and bitwise_not bitwise_or bitwise_xor ceil clamp clip "
        "clamp_max clamp_min copysign cos cosh div divide elu eq erf exp exp2 expm1 fill floor floor_divide fmod frac "
        "ge gelu gt hypot isfinite isinf isnan le leaky_relu lerp log log10 log1p log2 log_sigmoid logaddexp "
        "logical_and logical_not logical_or logical_xor logit lt masked_fill maximum minimum mul multiply ne neg "
        "pow reciprocal relu remainder round rsqrt rsub sigmoid sign silu sin sinc sinh softplus sqrt square sub "
        "subtract tan tanh threshold trunc where xlogy zero __and__ __or__ __xor__ __lshift__ __rshift__ "
        "bitwise_left_shift bitwise_right_shift",
        # reductions, scans, orders
        "all amax amin any argmax argmin argsort count_nonzero cummax cummin cumprod cumsum logcumsumexp "
        "logsumexp max mean min norm prod sort std sum topk var linalg_vector_norm searchsorted bucketize",
        # products and layers
        "addmm baddbmm bmm dot einsum embedding layer_norm linear log_softmax matmul mm mv outer softmax _softmax "
        "_log_softmax native_layer_norm",
        # creation
        "arange eye full full_like linspace logspace new_full new_ones new_zeros ones ones_like scalar_tensor "
        "tril_indices triu_indices zeros zeros_like",
        # shape and selection
        "_to_copy _unsafe_view alias broadcast_tensors broadcast_to cat chunk clone concat constant_pad_nd "
        "contiguous copy detach diag diag_embed diagonal diff expand expand_as flatten flip gather hstack index "
        "index_add index_copy index_put index_select lift_fresh_copy mT meshgrid movedim narrow pad permute repeat "
        "repeat_interleave reshape roll scatter scatter_add select select_scatter slice slice_scatter split "
        "split_with_sizes squeeze stack swapaxes t take_along_dim tile to transpose tril triu type_as unbind "
        "unflatten unfold unsqueeze view view_as vstack",
    )
    for name in names.split()
)
"""Allowed operators, by the name before the overload. All are pure: an overload that writes is always refused."""

ONLY_OVERLOAD = {"repeat_interleave": "self_int"}
"""The one overload that is allowed. Given repeats as a tensor, torch writes before it notices a negative one."""

PAD_MODES = ("constant", "reflect", "replicate")
"""Torch's `circular` copies, where one side is cut and the other padded, from memory that nothing was written to."""

LOOKUPS = {"embedding", "gather", "index", "index_select", "narrow", "select", "slice", "squeeze", "unsqueeze"}
"""Operators that take parts of a tensor without changing them."""

INSTEAD = {
    "numpy_T": "use .transpose(0, 1)",
    "item": "no Python number may come from a tensor: use torch.where and tensor arithmetic",
    "sym_size": "no size may depend on values: use torch.where instead of selecting with a mask",
    "nonzero": "no size may depend on values: use torch.where instead of selecting with a mask",
    "dropout": "set the class's `dropout`, or multiply by a mask from torch.bernoulli",
    "one_hot": "use (x[..., None] == torch.arange(n)).float()",
    "isin": "compare with == and use any",
    "nan_to_num": "use torch.where(x.isfinite(), x, other)",
    "scaled_dot_product_attention": "write it with torch.matmul and torch.softmax",
    "conv1d": "use unfold and torch.matmul",
    **dict.fromkeys(("hardtanh", "relu6"), "use torch.clamp"),
    **dict.fromkeys(("tensordot", "kron"), "use torch.matmul, or an einsum of two tensors"),
    **dict.fromkeys(("glu", "mish", "rms_norm"), "write it out, or use another activation or layer_norm"),
    **dict.fromkeys(
        ("empty", "normal", "multinomial", "randint_like"),
        "draw with torch.rand, torch.randn, torch.randint, torch.randperm or torch.bernoulli",
    ),
}
"""The remedy for operators that people try, by the name before the overload."""
ARITHMETIC = "use arithmetic, indexing and the reductions of torch"


class GraphError(ValueError):
    """A program that is refused; the message names the submission's line where one is known."""


def _rand_like(
    like: Tensor, *, generator: torch.Generator | None, dtype: torch.dtype | None = None, device: Any = None
) -> Tensor:
    return torch.rand(like.shape, generator=generator, dtype=dtype or like.dtype, device=device or like.device)


def _randn_like(
    like: Tensor, *, generator: torch.Generator | None, dtype: torch.dtype | None = None, device: Any = None
) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=dtype or like.dtype, device=device or like.device)


RANDOM: dict[str, Callable[..., Any]] = {
    "aten.rand.default": torch.ops.aten.rand.generator,
    "aten.randn.default": torch.ops.aten.randn.generator,
    "aten.randint.default": torch.ops.aten.randint.generator,
    "aten.randint.low": torch.ops.aten.randint.low_generator,
    "aten.randperm.default": torch.ops.aten.randperm.generator,
    "aten.bernoulli.default": torch.ops.aten.bernoulli.default,
    "aten.rand_like.default": _rand_like,
    "aten.randn_like.default": _randn_like,
}
"""Operators that draw, and what replaces them to draw from the trainer's generator: same seed, same numbers."""


def build(program: Any, state_names: Sequence[str], device: torch.device) -> fx.GraphModule:
    """The program as a module, which is called as `module(layout, generator, *state)` and returns a tuple of terms.

    Args:
        program: a host's JSON, not to be trusted.
        state_names: names of the state tensors, in the order in which the module takes them.
        device: where tensors are created.

    Raises:
        GraphError: the program is malformed or too large, holds an operator that is not on the list, or draws in
            evaluation.
    """
    try:
        nodes, outputs = program["nodes"], program["outputs"]
        if len(nodes) > MAX_NODES:
            raise GraphError(f"forward is {len(nodes)} operations; at most {MAX_NODES} are allowed")
        graph = fx.Graph()
        layout, generator = graph.placeholder("layout"), graph.placeholder("generator")
        state = {name: graph.placeholder(f"state_{index}") for index, name in enumerate(state_names)}
        known: dict[str, fx.Node] = {}
        for name, kind, target, line, args, kwargs in nodes:
            if kind == "input":
                known[name] = layout if target is None else state[target]
                continue
            values = [_decode(argument, known, device, line) for argument in args]
            named = {
                key: _decode(argument, known, device, line) for key, argument in kwargs.items() if key not in DROPPED
            }
            if target in RANDOM:
                if not program["training"]:
                    raise GraphError(f"{line}: {target} draws in evaluation too; draw only `if self.training`")
                named["generator"] = generator
            if target == "aten.pad.default" and (*values[2:3], named.get("mode", "constant"))[0] not in PAD_MODES:
                raise GraphError(f"{line}: pad may have the modes {', '.join(PAD_MODES)}; use cat for a circle")
            if target == "aten.einsum.default" and any(isinstance(a, list) and len(a) > MAX_EINSUM for a in values):
                raise GraphError(f"{line}: an einsum of more than {MAX_EINSUM} tensors; take them two at a time")
            function = _operator(target, line)
            if not named.keys() <= _keywords(function):
                raise GraphError(
                    f"{line}: {target} takes no {', '.join(map(repr, named.keys() - _keywords(function)))}"
                )
            if function is operator.getitem and [type(value) for value in values] != [fx.Node, int]:
                raise GraphError(f"{line}: getitem takes the results of an operator and which of them")
            _check_enumerations(function, values, named, line)
            _fix(function, values, named, device)
            known[name] = graph.call_function(function, tuple(values), named)
            known[name].meta["line"] = line
        graph.output(tuple(_decode(output, known, device, "forward") for output in outputs))
        return fx.GraphModule(torch.nn.Module(), graph)
    except GraphError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GraphError(f"a malformed program ({type(error).__name__}: {error})") from error


DROPPED = ("pin_memory", "layout", "memory_format")
"""Arguments about memory layout, which change no value."""


def output_shapes(
    module: fx.GraphModule, layout_shape: tuple[int, int], state: Sequence[Tensor]
) -> list[tuple[torch.Size, torch.dtype]]:
    """Shapes and dtypes of the terms, found on torch's `meta` device without computing a single number.

    Raises:
        GraphError: an operator refuses its arguments, tensors would exceed their limits, or an output is not a tensor.
    """
    layout = torch.zeros(layout_shape, dtype=torch.int64, device="meta")
    sizes = _Sizes(module)
    try:
        outputs = sizes.run(layout, None, *(tensor.detach().to("meta") for tensor in state))
    except GraphError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise GraphError(f"{sizes.line}: an operator refuses its arguments: {reason:.300}") from error
    for output in outputs:
        if not isinstance(output, Tensor):
            raise GraphError(f"an output is a {type(output).__name__}, not a tensor")
    return [(output.shape, output.dtype) for output in outputs]


def is_looked_up(module: fx.GraphModule, index: int) -> bool:
    """Whether the program uses state `index` as a table: takes rows or other parts of it and does nothing else."""
    (state,) = (node for node in module.graph.nodes if node.op == "placeholder" and node.name == f"state_{index}")
    return bool(state.users) and all(getattr(user.target, "_opname", "") in LOOKUPS for user in state.users)


def readings(module: fx.GraphModule, layout: Tensor, state: Sequence[Tensor]) -> list[tuple[str, Tensor]]:
    """All that parameters, draws and terms get to know of a layout: each tensor that enters them, with the line.

    Those are the tensors that the program computes from the layout and from constants alone, and uses in an operator
    that takes something else too, or returns. Layouts with equal readings have equal terms, whatever the parameters.

    Args:
        layout: (B, L) int64.
        state: as the module takes it; those that require no gradient are constants.
    """
    reader = _Reader(module, [tensor.requires_grad for tensor in state])
    with torch.no_grad():
        reader.run(layout, None, *state)
    return reader.found


class _Reader(fx.Interpreter):
    """Computes what follows from a layout and constants alone, and keeps what anything else takes."""

    def __init__(self, module: fx.GraphModule, trained: Sequence[bool]) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self.found: list[tuple[str, Tensor]] = []
        unknown = {"generator", *(f"state_{index}" for index, is_trained in enumerate(trained) if is_trained)}
        self._known: set[fx.Node] = set()
        self._follows: set[fx.Node] = set()
        for node in module.graph.nodes:
            inputs = node.all_input_nodes
            if node.op == "output" or node.name in unknown or not self._known.issuperset(inputs):
                continue
            self._known.add(node)
            if node.name == "layout" or not self._follows.isdisjoint(inputs):
                self._follows.add(node)

    def run_node(self, n: fx.Node) -> Any:
        if n not in self._known and n.op != "placeholder":
            return None
        value = super().run_node(n)
        if n in self._follows and not self._known.issuperset(n.users):
            self.found += [(n.meta.get("line", "forward"), tensor) for tensor in _tensors([value])]
        return value


def line_of(module: fx.GraphModule, error: Exception) -> str:
    """The submission's line behind the operator of `module` that raised `error`."""
    called = {(frame.line or "").partition(" = ")[0] for frame in traceback.extract_tb(error.__traceback__)}
    return next((node.meta["line"] for node in module.graph.nodes if node.name in called), "forward")


class _Sizes(fx.Interpreter):
    """Runs a graph on `meta` tensors, where huge ones cost nothing, and refuses those that are too large."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False  # it would end up in our messages
        self.line = "forward"
        self.num_elements = self.num_read = 0
        self.products = FlopCounterMode(display=False)

    def run_node(self, n: fx.Node) -> Any:
        self.line = n.meta.get("line", self.line)
        return super().run_node(n)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = _on_meta(args), dict(zip(kwargs, _on_meta(kwargs.values()), strict=True))
        read = _tensors([*args, *kwargs.values()])
        self.num_read += sum(tensor.numel() for tensor in read)
        if self.num_read > MAX_READ_ELEMENTS:
            raise GraphError(
                f"{self.line}: the operators of forward up to here read {self.num_read} numbers; at most "
                f"{MAX_READ_ELEMENTS} are allowed"
            )
        parts = [max(tensor.shape, default=0) for tensor in read] if target in SPLITTING else []
        if target is torch.ops.aten.chunk.default:  # of a dimension of no rows, torch makes as many as it is asked for
            parts += [each for each in (*args, *kwargs.values()) if isinstance(each, int)]
        if max(parts, default=0) > MAX_PARTS:
            raise GraphError(f"{self.line}: {target} may give no more than {MAX_PARTS} tensors")
        with self.products:
            result = super().call_function(target, args, kwargs)
        if (flops := self.products.get_total_flops()) > MAX_PRODUCT_FLOPS:
            made = f"the matrix products of forward up to here take {flops} floating-point operations"
            raise GraphError(f"{self.line}: {made}; at most {MAX_PRODUCT_FLOPS} are allowed")
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if not isinstance(tensor, Tensor):
                raise GraphError(f"{self.line}: {target} gives a {type(tensor).__name__}, not a tensor")
            self.num_elements += max(1, tensor.numel())
            if tensor.numel() > MAX_ELEMENTS or self.num_elements > MAX_TOTAL_ELEMENTS:
                made = f"{target} makes {tensor.numel()} numbers, forward {self.num_elements} up to here"
                raise GraphError(f"{self.line}: {made}; at most {MAX_ELEMENTS} and {MAX_TOTAL_ELEMENTS} are allowed")
        return result


SPLITTING = frozenset(
    getattr(packet, overload)
    for packet in (torch.ops.aten.unbind, torch.ops.aten.split, torch.ops.aten.chunk)
    for overload in packet.overloads()
)
"""Operators that return many tensors, which takes time and memory even on `meta`."""


def _on_meta(arguments: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(torch.device("meta") if isinstance(value, torch.device) else value for value in arguments)


def _tensors(arguments: Sequence[Any]) -> list[Tensor]:
    """The tensors among the arguments, and in their lists."""
    found: list[Tensor] = []
    for value in arguments:
        found += [value] if isinstance(value, Tensor) else _tensors(value) if isinstance(value, (list, tuple)) else []
    return found


def _check_enumerations(function: Callable[..., Any], values: list[Any], named: dict[str, Any], line: str) -> None:
    """Refuses a number where torch takes a member of an enumeration: those it does not have make it read at random."""
    if not isinstance(function, torch._ops.OpOverload):
        return
    for index, argument in enumerate(function._schema.arguments):
        value = values[index] if index < len(values) else named.get(argument.name)
        allowed = next((kind for name, kind in ENUMERATIONS.items() if name in str(argument.real_type)), None)
        if allowed is not None and not isinstance(value, (allowed, type(None))):
            raise GraphError(f"{line}: {function} takes no {value!r:.20} as its {argument.name}")


ENUMERATIONS = {"ScalarType": torch.dtype, "MemoryFormat": torch.memory_format, "Layout": torch.layout}
"""Types of torch's schemas that are ints to Python, and what a value of each has to be."""


def _fix(function: Callable[..., Any], values: list[Any], named: dict[str, Any], device: torch.device) -> None:
    """Sets what a program may not choose: the device of each tensor, and that gradients are dense."""
    fixed = {"device": device, "sparse": False, "sparse_grad": False}
    if isinstance(function, torch._ops.OpOverload):
        for index, argument in enumerate(function._schema.arguments):
            if argument.name in fixed and index < len(values):
                values[index] = fixed[argument.name]
            elif argument.name in fixed:
                named[argument.name] = fixed[argument.name]


def _operator(name: str, line: str) -> Callable[..., Any]:
    if name == "getitem":
        return operator.getitem
    if name in RANDOM:
        return RANDOM[name]
    library, _, rest = name.partition(".")
    packet, _, overload = rest.partition(".")
    if library != "aten" or packet not in OPERATORS:
        raise GraphError(f"{line}: the operator {name} is not allowed; {INSTEAD.get(packet, ARITHMETIC)}")
    if overload.startswith("prim_"):  # their schemas call a dtype or a device any int, so that no value can be checked
        raise GraphError(f"{line}: the operator {name} is not allowed; convert with .to(dtype)")
    if overload != ONLY_OVERLOAD.get(packet, overload):
        allowed = ONLY_OVERLOAD[packet]
        raise GraphError(f"{line}: the operator {name} is not allowed; of {packet} only {allowed} is")
    found = getattr(getattr(torch.ops.aten, packet), overload, None)
    if not isinstance(found, torch._ops.OpOverload) or found._schema.is_mutable:
        raise GraphError(f"{line}: the operator {name} writes or does not exist; use one that returns its result")
    if not {str(each.type) for each in found._schema.returns} <= {"Tensor", "List[Tensor]"}:
        raise GraphError(f"{line}: the operator {name} computes with Python's numbers; use one that returns a tensor")
    return found


def _keywords(function: Callable[..., Any]) -> set[str]:
    """Keywords that a call may use: they end up in generated code, so only known names are allowed."""
    if isinstance(function, torch._ops.OpOverload):
        return {argument.name for argument in function._schema.arguments}
    return set() if function is operator.getitem else {"generator", "dtype", "device"}


def _decode(argument: Any, known: dict[str, fx.Node], device: torch.device, line: str, depth: int = 0) -> Any:
    if isinstance(argument, dict):
        ((kind, value),) = argument.items()
        if kind == "node":
            return known[value]
        if kind == "dtype":
            if value not in DTYPES:
                raise GraphError(f"{line}: no tensor may have the dtype {value!s:.20}; allowed: {', '.join(DTYPES)}")
            return DTYPES[value]
        if kind == "device":
            return device
        raise GraphError(f"an argument of kind {kind!r:.20}")
    if isinstance(argument, list):
        if depth == MAX_DEPTH:
            raise GraphError(f"lists within lists, deeper than {MAX_DEPTH}")
        return [_decode(item, known, device, line, depth + 1) for item in argument]
    return argument
