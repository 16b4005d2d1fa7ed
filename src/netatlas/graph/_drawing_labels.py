"""Words for operators, kernels, shapes and costs, shared by outlines and drawings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from netatlas.facts import format_count
from netatlas.graph.graph import Graph
from netatlas.graph.ops import ATTRIBUTE_COLUMN, FLAGS, OPERATORS

SHORT = {
    "batch_norm": "BN", "layer_norm": "LN", "group_norm": "GN", "instance_norm": "IN", "rms_norm": "RMS", "l2_norm": "L2",
    "local_response_norm": "LRN", "leaky_relu": "LReLU", "hardsigmoid": "HSigm", "hardswish": "HSwish", "quick_gelu": "QGELU",
    "sigmoid": "Sigm", "softmax": "Softmax", "log_softmax": "LogSoftmax",
}  # fmt: skip
"""Abbreviations of norms and activations that the field reads without thinking."""

SIGNS = {"add": "+", "mul": "×", "sub": "−", "div": "÷"}
"""Arithmetic drawn as a sign."""

CONVOLUTIONS = frozenset({"conv", "conv_transpose", "deform_conv"})
SPATIAL = CONVOLUTIONS | {"max_pool", "avg_pool", "lp_pool"}
_POOLED = frozenset({"global_avg_pool", "global_max_pool", "mean"})


def shape_text(shape: Sequence[int], times: str = "x") -> str:
    """``(1, 64, 56, 56)`` as ``"64x56x56"``: the batch of one is left out; ``""`` for a shape that is not known."""
    inner = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
    return times.join(str(n) for n in inner)


def params_text(params: int) -> str:
    """Parameters as people write them, ``"25.6M"``."""
    return format_count(params, letters="TBMk")


def macs_text(macs: int) -> str:
    """MACs as people write them, ``"4.09 GMAC"``."""
    return format_count(macs, "MAC") if macs else "0 MAC"


class Words:
    """A graph with what labels need, in plain Python lists for speed."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = graph.names
        self.families = [OPERATORS[i].family for i in graph.op.tolist()]
        self.attrs: list[list[int]] = graph.attrs.tolist()
        self.shapes = [tuple(x for x in row if x) for row in graph.shape.tolist()]
        self.numel: list[int] = graph.numel.tolist()
        self.params: list[int] = graph.params.tolist()
        self.macs: list[int] = graph.macs.tolist()
        self.inputs = graph.inputs
        self.users = graph.consumers

    def attr(self, node: int, name: str) -> int:
        return self.attrs[node][ATTRIBUTE_COLUMN[name]]

    def flag(self, node: int, name: str) -> bool:
        return bool(self.attr(node, "flags") & FLAGS[name])

    def kernel(self, node: int) -> tuple[int, ...]:
        return tuple(k for k in self.attrs[node][:3] if k)

    def stride(self, node: int) -> int:
        return max(self.attrs[node][3:6])

    def width(self, node: int) -> int:
        """Output channels of a convolution, output features of anything else; 0 for a scalar."""
        shape = self.shapes[node]
        axis = -1 - len(self.kernel(node)) if self.names[node] in CONVOLUTIONS else -1
        return shape[axis] if len(shape) >= -axis else 0

    def inner(self, node: int) -> int:
        """Input channels per group of a convolution, 0 when its MACs do not tell."""
        taps = self.numel[node]
        for k in self.kernel(node):
            taps *= k
        return self.macs[node] // taps if taps else 0

    def grouping(self, node: int) -> str:
        """``"dw"`` for a depthwise convolution, ``"g32"`` for 32 groups, else empty."""
        groups = self.attr(node, "groups")
        if self.names[node] not in CONVOLUTIONS or groups <= 1:
            return ""
        # groups = output channels: depthwise also when a traced cost is missing and inner() cannot tell
        return "dw" if self.inner(node) == 1 or groups == self.width(node) else f"g{groups}"

    def dilation(self, node: int) -> str:
        """``"d12"`` for a convolution or pool that skips between its taps, else empty."""
        dilation = self.attr(node, "dilation")
        return f"d{dilation}" if dilation > 1 and max(self.kernel(node), default=1) > 1 else ""

    def is_pointwise(self, node: int) -> bool:
        """A linear layer, or a convolution with kernel one over all channels."""
        name = self.names[node]
        return name == "linear" or (name == "conv" and max(self.kernel(node), default=1) == 1 and not self.grouping(node))

    def kernel_text(self, node: int, times: str = "x") -> str:
        return times.join(map(str, self.kernel(node)))

    def short(self, node: int) -> str:
        """``"BN"``, ``"ReLU"``, ``"Conv"``: the operator alone, abbreviated where the field does."""
        name = self.names[node]
        return SHORT.get(name) or OPERATORS[self.graph.op[node]].label

    def kind(self, node: int) -> str:
        """Operator with kernel and stride, no width: ``"Conv dw 3x3/2"``, ``"Linear"``, ``"Attention 12 heads"``."""
        name, words = self.names[node], [self.short(node)]
        if name in SPATIAL:
            stride = f"/{self.stride(node)}" if self.stride(node) > 1 else ""
            words += [self.grouping(node), self.kernel_text(node) + stride, self.dilation(node)]
        if name == "attention" and self.attr(node, "heads"):
            heads = self.attr(node, "heads")
            words += [f"{heads} head{'s' if heads > 1 else ''}"]
        return " ".join(w for w in words if w)

    def word(self, node: int) -> str:
        """`kind` with the output width of what has weights: ``"Conv 7x7/2 64"``."""
        wide = self.has_width(node) and self.width(node)  # of a checkpoint's layer it is not known
        return f"{self.kind(node)} {wide}" if wide else self.kind(node)

    def has_width(self, node: int) -> bool:
        """Whether the operator chooses the width of its output."""
        return self.names[node] in CONVOLUTIONS or self.names[node] in ("linear", "embedding", "bilinear")

    @cached_property
    def gates(self) -> dict[int, tuple[int, ...]]:
        """For each product that scales channels by a pooled vector (squeeze-excite and kin): nodes of the gate, pool first."""
        found = {}
        for node, name in enumerate(self.names):
            if name == "mul" and len(self.inputs[node]) == 2 and (chain := self._gate(node)):
                found[node] = chain
        return found

    def _gate(self, product: int) -> tuple[int, ...]:
        inputs = self.inputs[product]
        for gate in inputs:
            chain: list[int] = []
            node = gate
            while len(chain) < 8 and len(self.inputs[node]) == 1 and len(set(self.users[node])) == 1:
                chain.append(node)
                if self.names[node] in _POOLED:
                    layers = sum(self.names[i] in ("conv", "linear") for i in chain)
                    return tuple(reversed(chain)) if layers else ()
                if self.names[node] not in ("conv", "linear") and self.families[node] not in ("activation", "normalisation"):
                    break
                node = self.inputs[node][0]
        return ()


def describe(words: Words, nodes: Sequence[int]) -> str:
    """What some nodes are, in order: ``"Conv 1x1 64, 3x3 64, 1x1 256, BN, ReLU, add"``.

    Layers keep their order; neighbours of one kind drop the repeated word; norms, activations and the rest follow once each.
    """
    inside = set(nodes)
    gated = {
        i for product, chain in words.gates.items() if product in inside and inside.issuperset(chain) for i in (*chain, product)
    }
    layers: list[tuple[str, str]] = []
    once: dict[str, None] = {}
    excites = sum(i in words.gates and i in gated for i in nodes)
    for i in nodes:
        if i in gated or words.families[i] == "source":
            continue
        if words.families[i] in (
            "convolution",
            "linear",
            "attention",
            "recurrence",
            "lookup",
            "pooling",
            "spectral",
            "detection",
        ):
            head, _, rest = words.word(i).partition(" ")
            layers.append((head, rest))
        else:
            once[SIGNS.get(words.names[i], "") or words.short(i)] = None
    if excites:
        once = {"SE" if excites == 1 else f"{excites} SE": None, **once}
    return ", ".join([*_runs(layers), *once])


def _runs(layers: Sequence[tuple[str, str]]) -> list[str]:
    """Layers as words, equal neighbours counted: ``Conv 3x3 64`` twice becomes ``"2 Conv 3x3 64"``."""
    written: list[str] = []
    i, before = 0, ""
    while i < len(layers):
        n = 1
        while i + n < len(layers) and layers[i + n] == layers[i]:
            n += 1
        head, rest = layers[i]
        text = rest if head == before and rest and n == 1 else f"{head} {rest}".strip()
        written.append(f"{n} {text}" if n > 1 else text)
        before, i = head, i + n
    return written


_WIDTHS = {
    **dict.fromkeys("ijlI.,:;'|!` ·", 0.33), **dict.fromkeys("ftr()[]/-", 0.41), **dict.fromkeys("csvxyzkJ", 0.6),
    "m": 0.98, "w": 0.82,
    **dict.fromkeys("W%@", 1.0), "M": 0.87, **dict.fromkeys("ABEFKLPRSTVXYZ", 0.69), **dict.fromkeys("CDGHNOQU&", 0.79),
    **dict.fromkeys("×+−÷<>=~→#", 0.84), "…": 1.0,
}  # fmt: skip
"""Ems of characters in the widest of the usual sans fonts (DejaVu); digits and the other letters take 0.64."""


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Pixels that ``text`` takes at font size ``size``: an upper bound for the usual sans fonts, so that nothing is cut off."""
    ems = sum(_WIDTHS.get(c, 0.64 if c < "\u2e80" else 1.05) for c in text)
    return ems * size * (1.12 if bold else 1.0)


def fit(text: str, size: float, room: float, bold: bool = False) -> str:
    """``text``, or its longest beginning with an ellipsis that is at most ``room`` pixels wide."""
    if text_width(text, size, bold) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text_width(text[:middle].rstrip() + "…", size, bold) <= room else (low, middle - 1)
    return text[:low].rstrip(" ,") + "…" if low else ""
