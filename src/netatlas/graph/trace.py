"""Any `nn.Module` to an operator graph, without weights: a ladder of tracers, of which the first that works is recorded.

1. ``export``: `torch.export` on fake tensors, the full ATen graph with composite operators kept (``linear``, ``layer_norm``, ...).
2. ``dispatch``: the module is run once on its own device, meta included, under a dispatch mode that writes down what it calls.
3. ``dispatch-cpu``: the same on the CPU with random numbers, for modules that look at values; small networks only.
"""

from __future__ import annotations

import copy
import functools
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netatlas.errors import MissingExtraError, TraceError
from netatlas.graph.aten import Recorder, Ref
from netatlas.graph.canonical import canonicalize
from netatlas.graph.graph import Graph, Scope
from netatlas.graph.raw import Capture

if TYPE_CHECKING:
    import torch
    from torch import nn

MOST_CPU_PARAMETERS = 100_000_000
"""Networks larger than this are not run with real numbers: a trace must not need gigabytes."""


@dataclass(frozen=True)
class Traced:
    """A graph and how it was made: ``rung`` is ``"export"``, ``"dispatch"`` or ``"dispatch-cpu"``."""

    graph: Graph
    rung: str


def trace(module: nn.Module, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Traced:
    """The canonical operator graph of one forward pass of ``module`` in eval mode.

    The module is left as it was: training flags, gradients, hooks and random state.

    Args:
        module: On any device; on ``meta`` nothing is allocated, whatever its size.
        args: Positional example inputs, on the module's device.
        kwargs: Keyword example inputs.

    Raises:
        TraceError: No rung of the ladder could run it; the message has the first error in one line.
        MissingExtraError: torch is not installed.
    """
    capture = capture_module(module, args, kwargs)
    return Traced(canonicalize(capture), capture.rung)


def capture_module(module: nn.Module, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Capture:
    """The capture behind `trace`, before anything is recognised."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError("tracing a PyTorch module", "torch") from None
    first_error: Exception | None = None
    with _evaluated(module):
        for rung in (_export, _dispatch, _dispatch_cpu):
            try:
                with torch.no_grad(), torch.random.fork_rng(devices=[]), _quiet():
                    capture = rung(_shadow(module), tuple(args), dict(kwargs or {}))
            except Exception as error:  # whatever a foreign forward raises: the next rung may do
                first_error = first_error or error
                continue
            capture.total_params = sum(p.numel() for p in module.parameters())
            return capture
    assert first_error is not None
    raise TraceError(f"cannot trace {type(module).__name__}: {_first_line(first_error)}", reason=type(first_error).__name__)


@contextmanager
def _evaluated(module: nn.Module) -> Iterator[None]:
    """Eval mode inside, every submodule's own training flag outside."""
    import torch

    flags = {m: m.training for m in module.modules()}
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused encoder layer hides its operators
    module.eval()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for m, training in flags.items():
            m.training = training


def _shadow(module: nn.Module) -> nn.Module:
    """A copy that shares every tensor: what a forward pass caches or changes on itself stays in the copy."""
    shared = {id(t): t for t in (*module.parameters(), *module.buffers())}
    try:
        return copy.deepcopy(module, shared)
    except Exception:  # an attribute that cannot be copied, such as a lock: trace the module itself
        return module


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch prints and logs when an export fails, which is the whole graph: the next rung may work."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else "no message"
    return f"{type(error).__name__}: {text[:300]}"


# ---------------------------------------------------------------- torch.export


def _export(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Capture:
    import torch

    with _no_stack_traces():
        program = torch.export.export(module, args, kwargs, strict=False)
    walk = _FxWalk()
    names = {x.name: x for x in _input_names(program)}
    tied = {name: id(p) for name, p in module.named_parameters(remove_duplicate=False)}
    environment: dict[Any, Any] = {}
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        value = node.meta.get("val")
        spec = names.get(node.name)
        if not isinstance(value, torch.Tensor):
            environment[node] = value
        elif spec is None or spec.kind == "USER_INPUT":
            environment[node] = walk.leaf("input", value)
        elif spec.kind == "PARAMETER":
            environment[node] = walk.leaf("parameter", value, str(tied.get(spec.target, spec.target)))
        else:
            environment[node] = walk.leaf("constant", value, spec.target or node.name)
    outputs = walk.run(program.graph_module, environment)
    capture = walk.recorder.finish([x for x in walk.flat(outputs) if isinstance(x, Ref)])
    capture.rung, capture.scopes = "export", walk.scopes
    return capture


@contextmanager
def _no_stack_traces() -> Iterator[None]:
    """A quarter of the time of an export goes into source lines for every node, which we do not read."""
    from torch.fx import config

    before = getattr(config, "do_not_emit_stack_traces", None)  # newer than the oldest torch we support
    if before is not None:
        config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        if before is not None:
            config.do_not_emit_stack_traces = before


@dataclass(frozen=True)
class _Named:
    name: str
    kind: str
    target: str


def _input_names(program: Any) -> list[_Named]:
    return [
        _Named(spec.arg.name, spec.kind.name, spec.target or "")
        for spec in program.graph_signature.input_specs
        if hasattr(spec.arg, "name")
    ]


class _FxWalk:
    """Feeds the calls of an FX graph to a recorder, submodules of higher-order operators included."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.scopes: list[Scope] = [Scope("", "")]
        self._scope_of: dict[tuple[str, str], int] = {}

    def leaf(self, op: str, value: torch.Tensor, name: str = "") -> Ref:
        shape, real = _dims(value), _is_real(value)
        node = self.recorder.capture.add(op, shape=shape, real=real, tensor=name)
        return Ref(node, shape, real)

    def flat(self, value: Any) -> Iterator[Any]:
        if isinstance(value, (list, tuple)):
            for x in value:
                yield from self.flat(x)
        else:
            yield value

    def run(self, graph_module: Any, environment: dict[Any, Any]) -> Any:
        """Walk the nodes; returns what the graph returns, tensors as `Ref`."""
        import torch
        from torch.fx.node import map_arg

        for node in graph_module.graph.nodes:
            if node.op == "output":
                return map_arg(node.args[0], lambda n: environment.get(n))
            if node.op == "get_attr":
                value: Any = graph_module
                for part in node.target.split("."):
                    value = getattr(value, part)
                environment[node] = self.leaf("constant", value, node.target) if isinstance(value, torch.Tensor) else value
            elif node.op == "call_function":
                args = _lookup(node.args, environment)
                kwargs = _lookup(node.kwargs, environment)
                self.recorder.scope = self._scope(node.meta.get("nn_module_stack"))
                environment[node] = self._call(node, args, kwargs)
        return None

    def _call(self, node: Any, args: Any, kwargs: Any) -> Any:
        import operator

        import torch

        if node.target is operator.getitem:
            value = args[0]
            return value[args[1]] if isinstance(value, (list, tuple)) else value
        submodules = [i for i, x in enumerate(args) if isinstance(x, torch.fx.GraphModule)]
        if submodules:
            return self._higher_order(args, submodules)
        outs = [_out(x) for x in self.flat(node.meta.get("val")) if isinstance(x, torch.Tensor)]
        if not isinstance(node.target, torch._ops.OpOverload):
            return (
                node.meta.get("val")
                if not outs
                else self.recorder.call(getattr(node.target, "__name__", "?"), {str(i): x for i, x in enumerate(args)}, outs)
            )
        if not outs and "val" in node.meta and not isinstance(node.meta["val"], (list, tuple, type(None))):
            return node.meta["val"]  # a number, such as sym_size
        result = self.recorder.call(_packet(node.target), _bind(node.target, args, kwargs), outs)
        single_list = isinstance(node.meta.get("val"), (list, tuple)) and isinstance(result, Ref)
        return [result] if single_list else result

    def _higher_order(self, args: Any, submodules: list[int]) -> Any:
        """Autocast and grad-mode wrappers are looked through; of the branches of a condition the longest is taken."""
        chosen = max(submodules, key=lambda i: len(args[i].graph.nodes))
        rest = args[submodules[-1] + 1 :]
        operands = list(rest[0]) if len(rest) == 1 and isinstance(rest[0], (list, tuple)) else list(rest)
        placeholders = [n for n in args[chosen].graph.nodes if n.op == "placeholder"]
        outputs = self.run(args[chosen], dict(zip(placeholders, operands, strict=False)))
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]

    def _scope(self, stack: Mapping[str, Any] | None) -> int:
        if not stack:
            return 0
        path, cls = list(stack.values())[-1]
        cls = cls if isinstance(cls, str) else cls.__qualname__
        key = (path.partition("@")[0], cls.rpartition(".")[2])
        if key not in self._scope_of:
            self._scope_of[key] = len(self.scopes)
            self.scopes.append(Scope(*key))
        return self._scope_of[key]


def _lookup(value: Any, environment: Mapping[Any, Any]) -> Any:
    import torch

    if isinstance(value, torch.fx.Node):
        return environment.get(value)
    if isinstance(value, (list, tuple)):
        return [_lookup(x, environment) for x in value]
    if isinstance(value, dict):
        return {key: _lookup(x, environment) for key, x in value.items()}
    return value


# ---------------------------------------------------------------- running it under a dispatch mode


def _dispatch(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Capture:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    recorder = Recorder()
    known: dict[int, Ref] = {}
    alive: list[Any] = []  # keeps ids from being reused while we look tensors up by them
    scopes: list[Scope] = [Scope("", "")]

    def learn(tensor: torch.Tensor, op: str, name: str = "") -> Ref:
        node = recorder.capture.add(op, shape=_dims(tensor), real=_is_real(tensor), tensor=name)
        known[id(tensor)] = Ref(node, _dims(tensor), _is_real(tensor))
        alive.append(tensor)
        return known[id(tensor)]

    def reference(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return known[id(value)] if id(value) in known else learn(value, "constant", str(id(value)))
        if isinstance(value, (list, tuple)):
            return [reference(x) for x in value]
        return value

    class Recording(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            tensors = [x for x in _flat(result) if isinstance(x, torch.Tensor)]
            bound = _bind(func, [reference(x) for x in args], {k: reference(x) for k, x in (kwargs or {}).items()})
            recorded = recorder.call(_packet(func), bound, [_out(x) for x in tensors])
            made = [recorded] if isinstance(recorded, Ref) else list(recorded or [])
            for tensor, ref in zip(tensors, made, strict=False):
                known[id(tensor)] = ref
                alive.append(tensor)
            return result

    for parameter in module.parameters():
        learn(parameter, "parameter", str(id(parameter)))
    for value in _flat([*args, *kwargs.values()]):
        if isinstance(value, torch.Tensor):
            learn(value, "input")
    with _scoped(module, recorder, scopes), Recording():
        outputs = module(*args, **kwargs)
    found = [known[id(x)] for x in _flat(outputs) if isinstance(x, torch.Tensor) and id(x) in known]
    capture = recorder.finish(found)
    capture.rung, capture.scopes = "dispatch", scopes
    return capture


@contextmanager
def _scoped(module: nn.Module, recorder: Recorder, scopes: list[Scope]) -> Iterator[None]:
    """Hooks that keep the recorder's scope at the module that is running; removed again afterwards."""
    stack = [0]
    handles = []

    def enter(number: int) -> Any:
        def hook(*_: Any) -> None:
            stack.append(number)
            recorder.scope = number

        return hook

    def leave(*_: Any) -> None:
        stack.pop()
        recorder.scope = stack[-1]

    for path, child in module.named_modules():
        scopes.append(Scope(path, type(child).__name__))
        handles.append(child.register_forward_pre_hook(enter(len(scopes) - 1)))
        handles.append(child.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _dispatch_cpu(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Capture:
    import torch

    size = sum(p.numel() for p in module.parameters())
    if size > MOST_CPU_PARAMETERS:
        raise TraceError(f"needs real numbers, and {size:,} parameters are too many to run", reason="data-dependent")
    generator = torch.Generator().manual_seed(0)

    def materialise(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_meta:
            made = torch.ones(value.shape, dtype=value.dtype)
            made = made.normal_(0, 0.02, generator=generator) if value.is_floating_point() else made
            return torch.nn.Parameter(made, requires_grad=False) if isinstance(value, torch.nn.Parameter) else made
        if isinstance(value, (list, tuple)):
            return type(value)(materialise(x) for x in value)
        if isinstance(value, dict):
            return {key: materialise(x) for key, x in value.items()}
        return value

    tensors = {
        id(t): materialise(t) for t in (*module.parameters(), *module.buffers())
    }  # by identity, so that tied ones stay tied
    capture = _dispatch(copy.deepcopy(module, tensors), materialise(args), materialise(kwargs))
    capture.rung = "dispatch-cpu"
    return capture


# ---------------------------------------------------------------- tensors and schemas


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for x in value:
            yield from _flat(x)
    elif hasattr(value, "to_tuple"):
        yield from _flat(value.to_tuple())
    elif value is not None:
        yield value


def _dims(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape with sizes that depend on data counted as their hint, or 1."""
    sizes = []
    for size in tensor.shape:
        hint = size if isinstance(size, int) else getattr(getattr(size, "node", None), "hint", None)
        sizes.append(int(hint) if hint is not None else 1)
    return tuple(sizes)


def _is_real(tensor: torch.Tensor) -> bool:
    return bool(tensor.is_floating_point() or tensor.is_complex())


def _out(tensor: torch.Tensor) -> Ref:
    return Ref(-1, _dims(tensor), _is_real(tensor))


@functools.lru_cache(maxsize=4096)
def _schema(func: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((a.name, a.default_value) for a in func._schema.arguments)


@functools.lru_cache(maxsize=4096)
def _packet(func: Any) -> str:
    name: str = func._schema.name.partition("::")[2]
    return name


def _bind(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments by schema name, defaults filled in."""
    bound: dict[str, Any] = dict(_schema(func))
    bound.update({name: value for (name, _), value in zip(_schema(func), args, strict=False)})
    bound.update(kwargs)
    return bound
