"""ONNX files to captures, in the vocabulary that traces of PyTorch modules use, so that both routes meet.

A file holds shapes beside the weights, so neither weights nor external data are read, and nothing is executed.
What is decided here:

- Functions of the model are written out in place.
- ``If`` with a condition that is known takes that branch; otherwise the branch with more nodes is taken, the *else* branch
  when both have as many. The bodies of ``Loop`` and ``Scan`` are written out once, their costs counted once, and each result
  passes through a ``scan`` node, so that ``has(scan)`` finds them.
- Floating point initializers are parameters unless the file (or their name) says they are buffers, masks or running statistics.
- Exporters fold batch normalisation into the convolution before it. Where the file shows that this was done (the marks of
  PyTorch's exporters), the normalisation is put back, its scale counted as a parameter, and a note says so.
"""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netatlas.errors import MissingExtraError, SourceError
from netatlas.graph import _onnx_guard as guard
from netatlas.graph import _onnx_marks as marks
from netatlas.graph._onnx_ops import table
from netatlas.graph._onnx_values import FLOAT, INT64, MOST_ELEMENTS, Shape, Value, evaluate, of_array
from netatlas.graph._onnx_writer import Call, Writer
from netatlas.graph.graph import Scope
from netatlas.graph.ops import WEIGHTED
from netatlas.graph.raw import Capture

DIMS: Mapping[str, int] = {"batch": 1, "past": 0, "height": 224, "width": 224, "sequence": 128}
"""Sizes for axes that a file leaves open, by a word that their name contains; see `capture_onnx`."""

MOST_NESTED = 24
"""Functions and subgraphs within one another."""

INCOMPLETE = "costs are incomplete"
"""How the note begins that says that multiply-accumulates and activations are not those of the network."""

_COSTLY = WEIGHTED | {"matmul", "attention", "linear_attention", "unknown"}
_PLAIN_DOMAINS = frozenset(
    {"", "ai.onnx", "com.microsoft", "com.microsoft.nchwc", "org.pytorch.aten", "ai.onnx.preview", "ai.onnx.ml"}
)
_UNFOLDABLE = frozenset({"Conv", "ConvTranspose", "FusedConv"})


def capture_onnx(path: str | os.PathLike[str], dims: Mapping[str, int] | None = None) -> Capture:
    """The operators of the ONNX model in ``path``.

    Args:
        path: The ``.onnx`` file. External data beside it is never opened.
        dims: Sizes of symbolic axes by name, such as ``{"sequence_length": 512}``. Others are chosen so: the first axis and
            names with ``batch`` 1; names with ``past`` 0 (empty cache); sums such as ``past + sequence`` are added up; names with
            ``height`` or ``width`` and the spatial axes of images 224; everything else 128. The capture's notes list what was
            chosen.

    Returns:
        A capture with ``rung="onnx"``; ``notes`` says what was assumed, put back or not known.

    Raises:
        SourceError: The file cannot be read, is damaged, hostile, cyclic or too large; one line says where.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise MissingExtraError("reading ONNX files", "onnx") from None
    label = str(Path(path))
    model, notes = guard.load_model(path)
    try:
        return _Importer(label, model, dict(dims or {}), notes).run()
    except (UnicodeDecodeError, RecursionError) as error:
        raise _refuse(label, f"damaged ONNX model: {error}") from error


class _Importer:
    """Walks a model once and writes its capture."""

    def __init__(self, label: str, model: Any, dims: dict[str, int], notes: list[str]) -> None:
        self.label = label
        self.model = model
        self.dims = dims
        self.notes = notes
        self.writer = Writer()
        self.handlers = table()
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self.opsets = {x.domain: int(x.version) for x in model.opset_import}
        self.chosen: dict[str, int] = {}
        self.restored = 0
        self.visited = 0
        self.conditional: list[str] = []
        self.looped: list[str] = []
        self.copies: dict[str, Value] = {}

    def run(self) -> Capture:
        graph = self.model.graph
        if graph.sparse_initializer:
            self.notes.append(f"{len(graph.sparse_initializer)} sparse initializers are counted as dense constants")
        self._read_marks(graph)
        scope: MutableMapping[str, Value] = {}
        self._initializers(graph, scope)
        self._inputs(graph, scope)
        self._walk(graph.node, scope, self._declared(graph), self.opsets, 0)
        outputs = [self.writer.position(self._output(graph, scope, x.name)) for x in graph.output]
        if not outputs:
            raise _refuse(self.label, "the graph has no outputs")
        capture = self.writer.finish(outputs)
        capture.total_params = _count_parameters(capture)
        capture.notes = [*self.notes, *self._remarks(capture)]
        return capture

    def _remarks(self, capture: Capture) -> list[str]:
        found = []
        if self.chosen:
            found.append("open axes taken as " + ", ".join(f"{name}={size}" for name, size in self.chosen.items()))
        if self.restored:
            found.append(f"{self.restored} batch norms that the exporter had folded into convolutions were put back")
        if self.conditional:
            found.append(f"If with an open condition, larger branch taken: {_few(self.conditional)}")
        if self.looped:
            found.append(f"loop bodies counted once: {_few(self.looped)}")
        unsized = [node.op for node in capture.nodes if node.attrs.pop("unsized", False) and node.real]
        if any(op in _COSTLY for op in unsized):
            found.append(f"{INCOMPLETE}: {sum(op in _COSTLY for op in unsized)} layers have no known shape")
        return found

    # ------------------------------------------------------------ the graph's own tensors

    def _read_marks(self, graph: Any) -> None:
        """Which initializers PyTorch's exporter calls parameters (``p_``), buffers (``b_``) and constants (``c_``)."""
        for node in graph.node:
            for kind, name in marks.placeholders(node):
                (self.writer.trained if kind == "p" else self.writer.buffers).add(name)

    def _initializers(self, graph: Any, scope: MutableMapping[str, Value]) -> None:
        for tensor in graph.initializer:
            scope[tensor.name] = self._tensor(tensor, tensor.name)
        for sparse in graph.sparse_initializer:
            shape = guard.check_shape(self.label, sparse.values.name, sparse.dims)
            scope[sparse.values.name] = Value(shape, int(sparse.values.data_type), name=sparse.values.name, fixed=True)

    def _tensor(self, tensor: Any, name: str) -> Value:
        """An initializer or the content of a ``Constant``."""
        shape = guard.check_shape(self.label, name, tensor.dims)
        value = Value(shape, int(tensor.data_type), name=name)
        value.array = self._content(tensor, shape)
        value.zero = value.array is not None and value.array.dtype.kind in "fiub" and not value.array.any()
        value.trained = value.real and self.writer.is_parameter(name, value.numel)
        value.fixed = not value.trained
        return value

    def _content(self, tensor: Any, shape: Shape) -> Any:
        from onnx import numpy_helper

        size = int(np.prod(shape, dtype=np.int64)) if shape else 1
        if tensor.data_location == 1 or size > MOST_ELEMENTS or tensor.data_type in (0, 8):
            return None
        if size and not any(len(getattr(tensor, key)) for key in _CONTENTS):
            return None  # left out as too long
        try:
            array = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise _refuse(self.label, f"tensor '{tensor.name}' of shape {shape} cannot be read: {error}") from error
        return array if array.dtype.kind in "fiubc" else array.astype(np.float32)

    def _inputs(self, graph: Any, scope: MutableMapping[str, Value]) -> None:
        for info in graph.input:
            if info.name in scope:  # before IR version 4, initializers are listed as inputs too
                continue
            shape, element = self._declared_type(info, is_input=True)
            value = Value(shape, element)
            value.node = self.writer.capture.add("input", shape=shape or (), real=value.real, tensor=info.name)
            scope[info.name] = value

    def _declared(self, graph: Any) -> dict[str, Any]:
        return {info.name: info for info in [*graph.value_info, *graph.output]}

    def _declared_type(self, info: Any, is_input: bool = False) -> tuple[Shape | None, int]:
        kind = info.type.WhichOneof("value")
        if kind != "tensor_type":
            return None, FLOAT
        tensor = info.type.tensor_type
        if not tensor.HasField("shape"):
            return None, int(tensor.elem_type)
        sizes = [
            self._size(dim, i, len(tensor.shape.dim), int(tensor.elem_type), info.name, is_input)
            for i, dim in enumerate(tensor.shape.dim)
        ]
        if any(n is None for n in sizes):
            return None, int(tensor.elem_type)
        return guard.check_shape(self.label, info.name, [n for n in sizes if n is not None]), int(tensor.elem_type)

    def _size(self, dim: Any, axis: int, rank: int, element: int, owner: str, is_input: bool) -> int | None:
        """Size of a declared axis; axes of inputs that are open get the size `capture_onnx` documents."""
        if dim.WhichOneof("value") == "dim_value" and (dim.dim_value > 0 or not is_input):
            return int(dim.dim_value)
        name = str(dim.dim_param)
        if name in self.dims:
            return self.dims[name]
        if not is_input:
            return self.chosen.get(name)
        size = _default_size(name, axis, rank, Value(element=element).real, self.dims)
        self.chosen[name or f"{owner}[{axis}]"] = size
        return size

    def _output(self, graph: Any, scope: Mapping[str, Value], name: str) -> Value:
        if name not in scope:
            raise _refuse(self.label, f"output '{name}' of the graph is produced by no node")
        value = scope[name]
        return value if value.items is None else (value.items or [Value(fixed=True)])[0]

    # ------------------------------------------------------------ nodes

    def _walk(
        self,
        nodes: Sequence[Any],
        scope: MutableMapping[str, Value],
        declared: Mapping[str, Any],
        opsets: Mapping[str, int],
        depth: int,
    ) -> None:
        if depth > MOST_NESTED:
            raise _refuse(self.label, f"functions or subgraphs nested more than {MOST_NESTED} deep", "too large")
        self.visited += len(nodes)
        if self.visited > guard.MAX_NODES:
            raise _refuse(self.label, f"more than {guard.MAX_NODES:,} nodes with functions written out; refused", "too large")
        ordered, late = guard.execution_order(
            self.label, list(nodes), scope, scope.maps[0] if isinstance(scope, ChainMap) else scope
        )
        if late is not None:
            self.notes.append(f"nodes were not in order; sorted (first: {late})")
        for node in ordered:
            outer = self.writer.scope
            if (found := marks.node_scope(node)) is not None:
                self.writer.enter(found)
            results = self._node(node, scope, opsets, depth)
            for name, value in zip(node.output, results, strict=False):
                if name:
                    scope[name] = self._complete(name, value, declared)
            for name in node.output[len(results) :]:
                if name:
                    raise _refuse(self.label, f"node {guard.node_name(node)} has more outputs than its operator")
            if depth:
                self.writer.scope = outer

    def _complete(self, name: str, value: Value, declared: Mapping[str, Any]) -> Value:
        """Take a shape that could not be inferred from the declarations of the file."""
        if value.shape is None and value.items is None and name in declared:
            value.shape, _ = self._declared_type(declared[name])
            if value.shape is not None and value.node is not None and self.writer.capture.nodes[value.node].op != "scan":
                self.writer.capture.nodes[value.node].shape = value.shape
                self.writer.capture.nodes[value.node].attrs.pop("unsized", None)
        return value

    def _node(self, node: Any, scope: MutableMapping[str, Value], opsets: Mapping[str, int], depth: int) -> list[Value]:
        inputs = self._renamed(node, [scope[name] if name else None for name in node.input])
        while inputs and inputs[-1] is None:
            inputs.pop()
        function = self.functions.get((node.domain, node.op_type))
        try:
            if function is not None:
                return self._function(function, node, inputs, depth)
            if node.op_type in ("If", "Loop", "Scan") and node.domain in ("", "ai.onnx"):
                return self._control(node, inputs, scope, opsets, depth)
            attributes = self._attributes(node)
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                return [self._constant(node, attributes)]
            return self._operator(node, inputs, attributes, opsets)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, AssertionError) as error:
            if isinstance(error, UnicodeDecodeError):
                raise
            what = f"attribute {error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
            raise _refuse(self.label, f"node {guard.node_name(node)}: {what[:300]}", "malformed node") from error

    def _operator(
        self, node: Any, inputs: list[Value | None], attributes: dict[str, Any], opsets: Mapping[str, int]
    ) -> list[Value]:
        call = Call(
            self.writer, node.op_type, inputs, attributes, opsets.get(node.domain, 1), len(node.output), marks.aten_operator(node)
        )
        handler = self.handlers.get(node.op_type) if node.domain in _PLAIN_DOMAINS else None
        if handler is None:
            first = call.unknown()
            result: Value | list[Value] = [first, *(call.view(first, None, i) for i in range(1, len(node.output)))]
        else:
            if node.op_type == "Identity" and inputs and inputs[0] is not None:
                inputs[0] = self._own_copy(inputs[0], node.output[0])
                call.inputs[0] = inputs[0]
            self._restore_bias(node, call)
            call.domain = node.domain
            if node.op_type in _UNFOLDABLE and marks.is_folded(node):
                call.unfold = lambda out: self._unfold(node, call, out)
            result = handler(call)
        results = result if isinstance(result, list) else [result]
        if all(x is None or x.fixed for x in inputs) and inputs and node.op_type not in ("Identity", "Dropout"):
            self._fold(node.op_type, call, results)
        return results

    def _renamed(self, node: Any, inputs: list[Value | None]) -> list[Value | None]:
        """Vectors under the names the exported program gave them.

        PyTorch's newer exporter, too, stores tensors of equal content once. Its marks on a node still name what the program read
        there, in the order of arguments.
        """
        if node.op_type == "BatchNormalization":  # its running statistics are no parameters
            return [*inputs[:1], *self._renamed_vectors(node, inputs[1:3]), *inputs[3:]]
        return self._renamed_vectors(node, inputs)

    def _renamed_vectors(self, node: Any, inputs: list[Value | None]) -> list[Value | None]:
        vectors = [i for i, x in enumerate(inputs) if x is not None and x.trained and x.name and len(x.shape or (0, 0)) == 1]
        names = [name for _, name in marks.placeholders(node, "p")] if vectors else []
        plain = {i: marks.plain_name(x.name) for i in vectors if (x := inputs[i]) is not None}
        strangers = [
            i for i in vectors if plain[i] not in names and (x := inputs[i]) is not None and not self.writer.is_made(x.name)
        ]
        free = [name for name in names if name not in plain.values()]
        for i, name in zip(reversed(strangers), reversed(free), strict=False):
            value = inputs[i]
            assert value is not None
            if name not in self.copies:
                self.copies[name] = Value(
                    value.shape, value.element, array=value.array, name=f"p_{name}", trained=True, zero=value.zero
                )
            if self.copies[name].shape == value.shape:
                inputs[i] = self.copies[name]
        return inputs

    def _restore_bias(self, node: Any, call: Call) -> None:
        """Put back a bias that the exporter dropped because its values happened to be zeros."""
        if node.op_type not in ("Conv", "Gemm") or len(call.inputs) != 2 or "FuseBatchNorm" in (rule := marks.rewritten_by(node)):
            return
        weight = call.inputs[1]
        names = [name for _, name in marks.placeholders(node, "p") if name.endswith("_bias")]
        if "RemoveOptionalBias" in rule and len(names) == 1 and weight is not None and weight.shape:
            size = weight.shape[1 if node.op_type == "Gemm" and not call.a.get("transB") else 0]
            call.inputs.append(Value((size,), weight.element, name=f"p_{names[0]}", trained=True))

    def _own_copy(self, value: Value, name: str) -> Value:
        """PyTorch's exporter stores tensors of equal content once and copies them to the names of the others by ``Identity``.

        Untrained biases and norms are all alike, which does not make them shared, and convolutions folded with untrained norms
        may be all zeros; other matrices that are equal are tied.
        """
        if value.trained and value.name and (value.name.startswith("onnx::Conv") or sum(n > 1 for n in value.shape or ()) < 2):
            return Value(value.shape, value.element, array=value.array, name=name, trained=True, zero=value.zero)
        return value

    def _fold(self, op: str, call: Call, results: list[Value]) -> None:
        """What follows from constants alone is a constant: it becomes a node only when something reads it."""
        for i, value in enumerate(results):
            if value.items is not None or value in call.inputs:
                continue
            value.node, value.fixed, value.root = None, True, None
            size = value.numel
            if i or len(results) > 1 or (size is not None and size > MOST_ELEMENTS) or (size is None and op != "NonZero"):
                continue
            arrays = [None if x is None else x.array for x in call.inputs]
            if value.array is None and all(x is None or x.array is not None for x in call.inputs):
                value.array = evaluate(op, arrays, call.a)
                if value.array is not None:
                    value.shape = tuple(value.array.shape)
            first = call.get(0)
            if value.array is not None:
                value.zero = value.array.dtype.kind in "fiub" and not value.array.any()
            elif op in _KEEP_ZERO and first is not None:
                value.zero = first.zero

    def _unfold(self, node: Any, call: Call, result: Value) -> Value:
        """Put back the batch norm that was folded into a convolution: the bias is its shift, its scale went into the weights."""
        weight, bias = call.need(1), call.get(2)
        if result.node is None or weight.shape is None or (bias is not None and not bias.name):
            return result
        written = self.writer.capture.nodes[result.node]
        written.inputs = written.inputs[:2]
        outer = self.writer.scope
        if weight.name.endswith(".weight") and not weight.name.startswith("onnx::"):
            self.writer.enter(Scope(weight.name.removesuffix(".weight"), ""))
            written.scope = self.writer.scope
            self.writer.scope = outer
        channels = result.shape[1:2] if result.shape is not None else weight.shape[:1]
        owner = f"{node.output[0]} (folded norm)"
        scale = Value(channels, weight.element, name=f"{owner}.weight", trained=True)
        if bias is None or bias.zero:  # an untrained norm shifts by nothing, and exporters drop a bias of zeros
            bias = Value(channels, weight.element, name=f"{owner}.bias", trained=True)
        self.restored += 1
        return call.weighted("batch_norm", [result], [scale, bias], result.shape)

    # ------------------------------------------------------------ functions and subgraphs

    def _function(self, function: Any, node: Any, inputs: list[Value | None], depth: int) -> list[Value]:
        given = {a.name: a for a in node.attribute}
        inner: dict[str, Value] = {}
        for i, name in enumerate(function.input):
            value = inputs[i] if i < len(inputs) else None
            if value is not None:
                inner[name] = value
        missing = set(function.input) - set(inner)
        nodes = [_bound(x, given, {a.name: a for a in function.attribute_proto}, missing) for x in function.node]
        opsets = {x.domain: int(x.version) for x in function.opset_import}
        self._walk(nodes, inner, {}, opsets, depth + 1)
        for name in function.output:
            if name not in inner:
                raise ValueError(f"output '{name}' of the function is produced by no node")
        return [inner[name] for name in function.output]

    def _control(
        self, node: Any, inputs: list[Value | None], scope: MutableMapping[str, Value], opsets: Mapping[str, int], depth: int
    ) -> list[Value]:
        bodies = {a.name: a.g for a in node.attribute if a.HasField("g")}
        if node.op_type == "If":
            branch = self._branch(node, inputs[0], bodies)
            inner = self._body(branch, {}, scope, opsets, depth)
            return [self._output(branch, inner, x.name) for x in branch.output]
        body = bodies["body"]
        self.looped.append(guard.node_name(node))
        arguments, states = self._loop_arguments(node, body, inputs)
        inner = self._body(body, arguments, scope, opsets, depth)
        finals = [self._output(body, inner, x.name) for x in body.output][1 if node.op_type == "Loop" else 0 :]
        steps = self._steps(node, inputs, states)
        results = []
        for i, value in enumerate(finals):
            shape = value.shape if i < states or value.shape is None or steps is None else (steps, *value.shape)
            place = self.writer.position(value)
            results.append(
                self.writer.add(
                    "scan", [place], shape if i < states or steps is not None else None, value.element, 0, node.op_type
                )
            )
        return results

    def _branch(self, node: Any, condition: Value | None, bodies: Mapping[str, Any]) -> Any:
        then, other = bodies["then_branch"], bodies["else_branch"]
        known = condition.scalar if condition is not None else None
        if known is not None:
            return then if known else other
        self.conditional.append(guard.node_name(node))
        return then if len(then.node) > len(other.node) else other

    def _body(
        self, graph: Any, arguments: dict[str, Value], scope: MutableMapping[str, Value], opsets: Mapping[str, int], depth: int
    ) -> MutableMapping[str, Value]:
        guard.check_text(self.label, (x.name for x in (*graph.input, *graph.output, *graph.initializer, *graph.value_info)))
        inner: MutableMapping[str, Value] = ChainMap({}, scope)
        self._initializers(graph, inner)
        inner.update(arguments)
        self._walk(graph.node, inner, self._declared(graph), opsets, depth + 1)
        return inner

    def _loop_arguments(self, node: Any, body: Any, inputs: list[Value | None]) -> tuple[dict[str, Value], int]:
        """Inputs of a loop's body by name, and how many states it carries."""
        names = [x.name for x in body.input]
        if node.op_type == "Loop":
            given: list[Value | None] = [Value((), INT64), Value((), 9), *inputs[2:]]
            states = len(names) - 2
            for value in given[:2]:
                assert value is not None
                value.node = self.writer.position(Value(value.shape, value.element, fixed=True))
        else:
            scanned = next((int(a.i) for a in node.attribute if a.name == "num_scan_inputs"), 0)
            states = len(names) - scanned
            given = [*inputs[:states], *(self._element(x) for x in inputs[states:])]
        if len(given) < len(names) or any(x is None for x in given[: len(names)]):
            raise ValueError(f"its body takes {len(names)} inputs, {len(given)} are given")
        return {name: value for name, value in zip(names, given, strict=False) if value is not None}, states

    def _element(self, value: Value | None) -> Value | None:
        if value is None or value.shape is None:
            return value
        return self.writer.cut(self.writer.position(value), "scan element", value.shape[1:], value.element)

    def _steps(self, node: Any, inputs: list[Value | None], states: int) -> int | None:
        if node.op_type == "Loop":
            trips = inputs[0].scalar if inputs and inputs[0] is not None else None
            return int(trips) if trips is not None and 0 <= trips < 2**31 else None
        scanned = inputs[states] if len(inputs) > states else None
        return scanned.shape[0] if scanned is not None and scanned.shape else None

    # ------------------------------------------------------------ attributes

    def _attributes(self, node: Any) -> dict[str, Any]:
        return {a.name: self._attribute(a, node) for a in node.attribute}

    def _attribute(self, a: Any, node: Any) -> Any:
        kind = int(a.type)
        if kind == 4:  # TENSOR
            return a.t if node.op_type == "Constant" else self._content(a.t, tuple(a.t.dims))
        if kind == 3:
            return a.s.decode("utf-8", "replace")
        if kind == 8:
            return [s.decode("utf-8", "replace") for s in a.strings]
        return {1: a.f, 2: a.i, 6: list(a.floats), 7: list(a.ints)}.get(kind)

    def _constant(self, node: Any, attributes: Mapping[str, Any]) -> Value:
        if "value" in attributes:
            value = self._tensor(attributes["value"], node.output[0])
            value.trained, value.fixed = False, True
            if value.numel == 1 or not value.real:
                value.name = ""
            return value
        for key, kind in (
            ("value_float", np.float32),
            ("value_floats", np.float32),
            ("value_int", np.int64),
            ("value_ints", np.int64),
        ):
            if key in attributes:
                return of_array(np.array(attributes[key], dtype=kind))
        return Value(None, 8, fixed=True)


_KEEP_ZERO = frozenset(
    {"Expand", "Cast", "CastLike", "Reshape", "Identity", "Tile", "Unsqueeze", "Squeeze", "Transpose", "Slice"}
)
_CONTENTS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def _refuse(label: str, message: str, reason: str = "damaged file") -> SourceError:
    return guard.refusal(f"{label}: {message}", reason)


def _few(names: Sequence[str], shown: int = 3) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _default_size(name: str, axis: int, rank: int, is_real: bool, dims: Mapping[str, int]) -> int:
    """Size of an axis that is left open, by the words of its name, then by its place."""
    lowered = name.lower()
    if "+" in lowered:
        return sum(dims.get(part.strip(), _default_size(part.strip(), 1, rank, is_real, dims)) for part in name.split("+"))
    if "total" in lowered:
        return DIMS["sequence"]
    for word, size in DIMS.items():
        if word in lowered:
            return size
    if axis == 0:
        return DIMS["batch"]
    return DIMS["height"] if rank == 4 and is_real and axis >= 2 else DIMS["sequence"]


def _count_parameters(capture: Capture) -> int:
    sizes = {node.tensor: int(np.prod(node.shape, dtype=object)) for node in capture.nodes if node.op == "parameter"}
    return sum(sizes.values())


def _bound(node: Any, given: Mapping[str, Any], defaults: Mapping[str, Any], missing: set[str]) -> Any:
    """A copy of a function's node with attribute references and omitted inputs resolved."""
    if not any(a.ref_attr_name for a in node.attribute) and not missing.intersection(node.input):
        return node
    found = type(node)()
    found.CopyFrom(node)
    del found.attribute[:]
    for a in node.attribute:
        source = given.get(a.ref_attr_name) or defaults.get(a.ref_attr_name) if a.ref_attr_name else a
        if source is not None:
            new = found.attribute.add()
            new.CopyFrom(source)
            new.name = a.name
    for i, name in enumerate(found.input):
        if name in missing:
            found.input[i] = ""
    return found
