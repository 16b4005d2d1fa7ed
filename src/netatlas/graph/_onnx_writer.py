"""Writing a capture from ONNX operators: `Writer` holds the capture, `Call` is one operator with its inputs and attributes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netatlas.graph._onnx_guard import MAX_ELEMENTS
from netatlas.graph._onnx_values import FLOAT, Array, Shape, Value, of_array
from netatlas.graph.graph import Scope
from netatlas.graph.raw import Capture

_BUFFER = re.compile(
    r"(mask|running_mean|running_var|num_batches_tracked|moving_mean|moving_variance|inv_freq|position_ids|_index|anchors?)$"
)
"""Last parts of names that PyTorch and TensorFlow models give to tensors that are not trained."""

_MADE = re.compile(r"(^val_\d+|^onnx::|[Cc]onst|^lifted_tensor|^_tensor_constant|^scalar_tensor|^\d+$)")
"""Names that exporters give to tensors of their own making."""


class Writer:
    """Appends operators to a capture.

    Attributes:
        capture: What has been written.
        scope: Scope number given to the nodes that follow.
        buffers: Names of initializers that the file itself calls buffers or constants, with ``_`` for ``.``.
        trained: Names of initializers that the file itself calls parameters, likewise.
    """

    def __init__(self) -> None:
        self.capture = Capture(rung="onnx")
        self.scope = 0
        self.buffers: set[str] = set()
        self.trained: set[str] = set()
        self._scopes: dict[Scope, int] = {Scope("", ""): 0}
        self._cuts: dict[tuple[int, Any], Value] = {}
        self._cut_of: dict[int, tuple[int, Any]] = {}

    def enter(self, scope: Scope) -> None:
        """Give the nodes that follow to ``scope``."""
        if scope not in self._scopes:
            self._scopes[scope] = len(self.capture.scopes)
            self.capture.scopes.append(scope)
        self.scope = self._scopes[scope]

    def is_parameter(self, name: str, numel: int | None) -> bool:
        """Whether a floating point initializer is trained, judged by what the file says about its name.

        One number is a literal (``x * 0.5``) unless it has the name of a module's attribute; everything else is trained unless it
        is called like a buffer.
        """
        plain = name.replace(".", "_").lower()  # as torch.export spells its placeholders
        if plain in self.buffers or plain in self.trained:
            return plain in self.trained
        if _BUFFER.search(name.rsplit("::", 1)[-1].lower()):
            return False
        return numel != 1 or ("." in name and not _MADE.search(name))

    def is_made(self, name: str) -> bool:
        """Whether a tensor's name is one that exporters give to tensors of their own making."""
        return bool(_MADE.search(name)) and name.replace(".", "_").lower() not in self.trained

    def position(self, value: Value, trained: bool | None = None) -> int:
        """The node of ``value``; constants and initializers become nodes when something first reads them."""
        if value.node is None:
            is_trained = value.trained if trained is None else trained and bool(value.name)
            value.node = self.capture.add(
                "parameter" if is_trained else "constant",
                shape=value.shape or (),
                real=value.real,
                scope=self.scope,
                tensor=value.name,
            )
        return value.node

    def add(
        self, op: str, inputs: Sequence[int], shape: Shape | None, element: int, macs: int = 0, foreign: str = "", **attrs: Any
    ) -> Value:
        """Append an operator."""
        if shape is None:
            attrs["unsized"] = True
        elif math.prod(shape) > MAX_ELEMENTS or min(shape, default=0) < 0:
            raise ValueError(f"its output would have the shape {'x'.join(map(str, shape))}")
        if macs >= 2**62:
            raise ValueError("it would cost more than 2^62 multiply-accumulates")
        if any(isinstance(x, int) and not -(2**31) <= x < 2**31 for x in attrs.values()):
            raise ValueError("one of its attributes does not fit 32 bits")
        value = Value(shape, element)
        value.node = self.capture.add(
            op, list(inputs), shape=shape or (), real=value.real, attrs=attrs, macs=macs, scope=self.scope, foreign=foreign
        )
        return value

    def cut(self, source: int, key: Any, shape: Shape | None, element: int) -> Value:
        """A slice; equal cuts of one tensor are one node."""
        if (source, key) not in self._cuts:
            made = self._cuts[source, key] = self.add("slice", [source], shape, element, key=repr(key))
            self._cut_of[made.node or 0] = (source, key)
        return self._cuts[source, key]

    def cut_of(self, value: Value) -> tuple[int, Any] | None:
        """Source and cuts ``((axis, start, stop, step), ...)`` of a slice; ``None`` for anything else."""
        found = self._cut_of.get(value.node) if value.node is not None else None
        return found if found is not None and all(isinstance(x, tuple) and len(x) == 4 for x in found[1]) else None

    def foreign(self, name: str, inputs: Sequence[int], shape: Shape | None, element: int) -> Value:
        """An operator that the vocabulary does not have."""
        return self.add("unknown", inputs, shape, element, foreign=name)

    def finish(self, outputs: Sequence[int]) -> Capture:
        """The capture without nodes that no output depends on (inputs stay)."""
        self._absorb(outputs)
        reached = set(outputs)
        for i in range(len(self.capture.nodes) - 1, -1, -1):
            if i in reached:
                reached.update(self.capture.nodes[i].inputs)
        kept = [i for i, node in enumerate(self.capture.nodes) if i in reached or node.op == "input"]
        place = {old: new for new, old in enumerate(kept)}
        self.capture.nodes = [self.capture.nodes[i] for i in kept]
        for node in self.capture.nodes:
            node.inputs = [place[x] for x in node.inputs]
        self.capture.outputs = [place[i] for i in outputs]
        self.capture.unknown = dict(Counter(node.foreign for node in self.capture.nodes if node.op == "unknown"))
        return self.capture

    def _absorb(self, outputs: Sequence[int]) -> None:
        """Give norms that were written without weights the trained scale and shift that follow them."""
        nodes = self.capture.nodes
        bare = [i for i, node in enumerate(nodes) if node.attrs.pop("bare", False)]
        if not bare:
            return
        users: dict[int, list[int]] = {}
        for i, node in enumerate(nodes):
            for x in node.inputs:
                users.setdefault(x, []).append(i)
        for norm in bare:
            source, weights, last = nodes[norm].inputs[0], [], norm
            for op in ("mul", "add"):
                at = last
                while len(users.get(at, ())) == 1 and at not in outputs and nodes[users[at][0]].op == "view":
                    at = users[at][0]
                following = users[at][0] if len(users.get(at, ())) == 1 and at not in outputs else None
                others = [self._weight_below(x) for x in nodes[following].inputs if x != at] if following is not None else []
                if following is None or nodes[following].op != op or len(others) != 1 or others[0] is None:
                    break
                weights.append(others[0])
                last = following
            if last != norm:  # the last of them becomes the norm, since weights may be written after the first
                nodes[last].op, nodes[last].inputs, nodes[last].attrs = nodes[norm].op, [source, *weights], nodes[norm].attrs

    def _weight_below(self, i: int) -> int | None:
        """The parameter that node ``i`` is or views."""
        nodes = self.capture.nodes
        while nodes[i].op == "view":
            i = nodes[i].inputs[0]
        return i if nodes[i].op == "parameter" else None


class Call:
    """One operator to write.

    Attributes:
        op: Its ONNX name.
        inputs: Its inputs; ``None`` for optional ones that are left out.
        a: Attributes by name.
        opset: Version of its operator set.
        outputs: How many outputs the node names.
        aten: PyTorch operator it was exported from, such as ``"aten.embedding.default"``, or ``""``.
        unfold: Puts back the batch norm that the exporter folded into it, given its own output; ``None`` when there was none.
        domain: Its operator domain.
    """

    def __init__(
        self,
        writer: Writer,
        op: str,
        inputs: Sequence[Value | None],
        attributes: Mapping[str, Any],
        opset: int,
        outputs: int,
        aten: str = "",
    ) -> None:
        self.writer = writer
        self.op = op
        self.inputs = list(inputs)
        self.a = attributes
        self.opset = opset
        self.outputs = outputs
        self.aten = aten
        self.unfold: Callable[[Value], Value] | None = None
        self.domain = ""

    def get(self, i: int) -> Value | None:
        """Input ``i``, ``None`` where it is left out."""
        return self.inputs[i] if i < len(self.inputs) else None

    def need(self, i: int) -> Value:
        """Input ``i``.

        Raises:
            ValueError: It is left out.
        """
        value = self.get(i)
        if value is None:
            raise ValueError(f"input {i} is missing")
        return value

    def shape(self, i: int = 0) -> Shape | None:
        """Shape of input ``i``."""
        return self.need(i).shape

    def ints(self, name: str, i: int | None = None) -> tuple[int, ...] | None:
        """Integers given as an attribute (older operator sets) or as input ``i`` (newer ones); ``None`` when neither is known."""
        if name in self.a:
            value = self.a[name]
            return tuple(int(x) for x in value) if isinstance(value, (list, tuple)) else (int(value),)
        value = self.get(i) if i is not None else None
        return value.ints() if value is not None else None

    def number(self, name: str, i: int | None = None) -> float | None:
        """A number given as an attribute or as input ``i``; ``None`` when neither is known."""
        if name in self.a:
            return float(self.a[name])
        value = self.get(i) if i is not None else None
        return value.scalar if value is not None else None

    def present(self, *skip: int) -> list[Value]:
        """All inputs that are given, those at positions ``skip`` left out."""
        return [x for i, x in enumerate(self.inputs) if x is not None and i not in skip]

    def write(
        self, op: str, inputs: Sequence[Value], shape: Shape | None, *, element: int | None = None, macs: int = 0, **attrs: Any
    ) -> Value:
        """Append an operator; ``element`` defaults to the type of the first input."""
        if element is None:
            element = inputs[0].element if inputs else FLOAT
        positions = [self.writer.position(x) for x in inputs]
        return self.writer.add(op, positions, shape, element, macs, self.op, **attrs)

    def weighted(
        self,
        op: str,
        inputs: Sequence[Value],
        weights: Sequence[Value | None],
        shape: Shape | None,
        *,
        macs: int = 0,
        **attrs: Any,
    ) -> Value:
        """Append an operator with weights, whatever their element type; a bias that is nothing but zeros is none."""
        given = [w for w in weights if w is not None and not (w.zero and not w.trained)]
        element = inputs[0].element if inputs[0].real else FLOAT
        positions = [*(self.writer.position(x) for x in inputs), *(self.weight(w) for w in given)]
        return self.writer.add(op, positions, shape, element, macs, self.op, **attrs)

    def weight(self, value: Value) -> int:
        """Node of a weight: the initializer itself where ``value`` is another view of it."""
        root = value.root or value
        return self.writer.position(root, trained=True if root.node is None else None)

    def view(self, value: Value, shape: Shape | None, key: Any = None, *, element: int | None = None) -> Value:
        """Append another view of ``value``."""
        grown = shape is not None and value.shape is not None and math.prod(shape) > math.prod(value.shape)
        attrs: dict[str, Any] = {"repeat": True} if grown else {}
        attrs |= {"key": repr(key)} if key is not None else {}
        found = self.write("view", [value], shape, element=element, **attrs)
        if not grown and (value.root or value.trained):
            found.root = value.root or value
        return found

    def constant(self, array: Array) -> Value:
        """A value that is known."""
        return of_array(array)

    def unknown(self, shape: Shape | None = None, element: int = FLOAT) -> Value:
        """Write this operator as one the vocabulary does not have."""
        return self.writer.foreign(self.op, [self.writer.position(x) for x in self.present()], shape, element)


Result = Value | list[Value]
Handler = Callable[[Call], Result]
HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Decorator: the function writes the ONNX operators of these names, whatever their domain."""

    def add(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return add
