"""Widths of a network that must change together, and changing them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from fractions import Fraction

from netatlas.graph._sketch import Node, Sketch
from netatlas.graph.graph import MAX_RANK

FIXED = 0
"""The class of widths that never change: of inputs, outputs, and of tensors whose channels cannot be told from the graph."""

LAYERS = frozenset({"conv", "linear"})

_OPAQUE = frozenset({
    "matmul", "bilinear", "conv_transpose", "deform_conv", "linear_attention", "fft", "lstm", "gru", "rnn", "scan", "cumulative",
    "pixel_shuffle", "unfold", "fold", "grid_sample", "roi_align", "nms", "argmax", "topk", "sort", "triangle", "one_hot",
    "complex", "unknown",
})  # fmt: skip
"""Operators whose output channels do not follow from the channels of their inputs."""


class Widths:
    """Which tensors of a network share a width, so that all of them can be scaled by one factor.

    Convolutions and linear layers begin a new class; everything else carries on that of what it reads, a sum joins the classes of
    its terms, a concatenation scales as its parts do. What is not understood fixes the classes it touches.

    Attributes:
        out: Class of every node's output.
        axis: Where the channels of every node's output are; -1 where that is not known.
        reads: Class of what every convolution and linear layer reads.
    """

    def __init__(self, sketch: Sketch) -> None:
        self._sketch = sketch
        self._parent = [FIXED]
        self.out: dict[int, int] = {}
        self.axis: dict[int, int] = {}
        self.reads: dict[int, int] = {}
        for i, node in sketch.nodes.items():
            self.axis[i], self.out[i] = self._own(i, node)
        for i in sketch.outputs:
            self._join(self.out[i], FIXED)
        self._fix_shared()
        for found in (self.out, self.reads):
            for i, c in found.items():
                found[i] = self._find(c)

    def scalable(self) -> dict[int, list[int]]:
        """Nodes by class, for the classes that may be scaled."""
        found: dict[int, list[int]] = defaultdict(list)
        for i, c in self.out.items():
            if c != FIXED:
                found[c].append(i)
        return {c: nodes for c, nodes in found.items() if any(self._sketch.nodes[i].op in LAYERS for i in nodes)}

    def scale(self, classes: Collection[int], factor: Fraction) -> bool:
        """Scale all widths of some classes; whether that could be done, else nothing is changed."""
        changes = []
        for i, node in self._sketch.nodes.items():
            out, into = self.out[i] in classes, self.reads.get(i) in classes
            if not (out or into):
                continue
            new = self._scaled(i, node, factor if out else Fraction(1), factor if into else Fraction(1))
            if new is None:
                return False
            changes.append((node, new))
        for node, (shape, attrs, params, macs) in changes:
            node.shape, node.attrs, node.params, node.macs = shape, attrs, params, macs
        return bool(changes)

    # ------------------------------------------------------------ classes

    def _new(self) -> int:
        self._parent.append(len(self._parent))
        return len(self._parent) - 1

    def _find(self, c: int) -> int:
        while self._parent[c] != c:
            self._parent[c] = self._parent[self._parent[c]]
            c = self._parent[c]
        return c

    def _join(self, a: int, b: int) -> int:
        a, b = sorted((self._find(a), self._find(b)))
        self._parent[b] = a  # the smaller number stands for both, so what joins FIXED is fixed
        return a

    def _own(self, i: int, node: Node) -> tuple[int, int]:
        """Channel axis and class of a node whose inputs are known."""
        if node.op in LAYERS:
            return self._layer(i, node)
        if node.op == "embedding":
            return MAX_RANK - 1, self._new()
        if node.op == "attention":
            return self._attention(node)
        if not node.ins:
            return -1, FIXED
        if node.op in _OPAQUE:
            return self._fix(node)
        found = {axis for x in node.ins if (axis := self._carried(x, node)) is not None}
        if len(found) != 1 or -1 in found:
            return self._fix(node)
        axis = found.pop()
        own = self._new()
        for x in node.ins:
            if self._width(x) != 1 or node.shape[axis] == 1:  # a gate of one channel is spread over all of them
                own = self._join(own, self.out[x])
        return axis, own

    def _fix(self, node: Node) -> tuple[int, int]:
        for x in node.ins:
            self._join(self.out[x], FIXED)
        return -1, FIXED

    def _layer(self, i: int, node: Node) -> tuple[int, int]:
        own = self._new()
        if len(node.ins) != 1:
            self._fix(node)
            return node.channel_axis, own
        source, groups = node.ins[0], max(node.attr("groups"), 1)
        width = self._width(source)
        if width < 1 or node.reads * groups % width:
            self._fix(node)
            return node.channel_axis, FIXED if groups > 1 else own
        if groups > 1:
            return node.channel_axis, self._join(own, self.out[source])
        self.reads[i] = self.out[source]
        return node.channel_axis, own

    def _attention(self, node: Node) -> tuple[int, int]:
        if len(node.ins) < 3 or node.shape[-3] != node.attr("heads") or not node.attr("heads"):
            return self._fix(node)
        own = self._new()
        for x in node.ins[:3]:
            own = self._join(own, self.out[x])
        for x in node.ins[3:]:
            self._join(self.out[x], FIXED)
        return MAX_RANK - 1, own

    def _width(self, i: int) -> int:
        """Channels of an output, 0 where they are not known."""
        node, axis = self._sketch.nodes[i], self.axis[i]
        if axis < 0:
            return 0
        return node.shape[axis] * (node.attr("heads") if node.op == "attention" else 1)

    def _carried(self, x: int, node: Node) -> int | None:
        """Where the channels of an input are in the output: -1 where that is not known, ``None`` for a gate of one channel."""
        width, axis = self._width(x), self.axis[x]
        if width <= 1:
            return None if width else -1
        if node.shape[axis] == width:
            return axis
        same = [a for a, n in enumerate(node.shape) if n == width]
        if len(same) == 1:
            return same[0]
        is_part = node.shape[axis] > 1 and width % node.shape[axis] == 0 and node.op in ("mul", "add", "maximum", "minimum")
        return axis if node.op == "concat" or is_part else -1

    def _fix_shared(self) -> None:
        """Layers that share weights keep their widths, as does the first user of the weights, which is in the same module."""
        nodes = self._sketch.nodes
        modules = {nodes[i].scope for i in nodes if nodes[i].shared}
        for i, node in nodes.items():
            if node.shared or (node.scope in modules and node.params):
                self._join(self.out[i], FIXED)
                if i in self.reads:
                    self._join(self.reads[i], FIXED)

    # ------------------------------------------------------------ scaling

    def _scaled(self, i: int, node: Node, out: Fraction, into: Fraction) -> tuple[list[int], list[int], int, int] | None:
        shape, attrs = list(node.shape), list(node.attrs)
        groups = node.attr("groups")
        weights = others = Fraction(node.params)
        macs = Fraction(node.macs)
        if node.op in LAYERS:
            kernel = node.channels * node.reads * (node.area if node.op == "conv" else 1)
            if 0 < node.params < kernel:
                return None
            weights, others = Fraction(min(kernel, node.params)), Fraction(max(node.params - kernel, 0))
            depthwise = groups > 1 and node.reads == 1
            into = Fraction(1) if depthwise else out if groups > 1 else into
            if depthwise:
                scaled = groups * out
                if scaled.denominator > 1:
                    return None
                attrs[7] = int(scaled)
            weights, others, macs = weights * out * into, others * out, macs * out * into
            if (node.reads * into).denominator > 1 or (groups > 1 and not depthwise and node.channels * out % groups):
                return None
            total = weights + others
        elif node.op == "attention":
            return self._scaled_attention(node, out)
        else:
            width = node.shape[self.axis[i]]
            total = others * out if width and node.params % width == 0 else others
            if node.op == "group_norm" and groups and width * out % groups:
                return None
            macs *= out
        size = shape[self.axis[i]] * out
        if size.denominator > 1 or size < 1 or total.denominator > 1 or macs.denominator > 1:
            return None
        shape[self.axis[i]] = int(size)
        return shape, attrs, int(total), int(macs)

    @staticmethod
    def _scaled_attention(node: Node, out: Fraction) -> tuple[list[int], list[int], int, int] | None:
        """More heads where their number allows, as families of transformers grow, else wider ones."""
        shape, attrs, params, macs = list(node.shape), list(node.attrs), Fraction(node.params), node.macs * out
        by_heads = (node.attr("heads") * out).denominator == 1 and len(node.ins) == 3
        axis = -3 if by_heads else -1
        size = shape[axis] * out
        if by_heads:
            attrs[8] = int(size)
            params = params * out if node.params % node.attr("heads") == 0 else params
        if size.denominator > 1 or params.denominator > 1 or macs.denominator > 1:
            return None
        shape[axis] = int(size)
        return shape, attrs, int(params), int(macs)
