"""What `strata` sees of a graph: idiom-free nodes and edges, and their tokens in four vocabularies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.ops import OPERATORS

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

VOCABULARIES = ("kind", "operator", "shaped", "sized")
"""``kind`` folds a pointwise convolution into a linear layer, all activations into one, all normalisations into one. ``operator``
is the exact operator with kernel, striding and grouping; ``shaped`` adds the ratio of output to input width and the flags of
attention; ``sized`` is the kind with widths in quarter octaves."""

_MOST_SOURCES = 64
"""A dropped node that would connect more producers than this to its consumers is kept, so that edges stay bounded."""

_DROPPED = frozenset({
    "input", "parameter", "view", "slice", "split", "pad", "flip", "roll", "repeat", "gather", "scatter", "compare", "where",
    "one_hot", "triangle", "random", "unknown", "rope", "unfold", "fold",
})  # fmt: skip
"""Operators that move or address numbers; which of them a network shows is a matter of who wrote it."""

_SCALAR = frozenset({"add", "sub", "mul", "div", "pow", "clamp"})
"""Arithmetic that is dropped when it has one input: scaling by a constant, a bias, a position table."""

_KINDS = {
    "matmul": "matmul", "softmax": "softmax", "log_softmax": "softmax", "sigmoid": "gate", "hardsigmoid": "gate", "add": "add",
    "sub": "add", "mul": "mul", "div": "mul", "global_avg_pool": "global_pool", "mean": "global_pool",
    "global_max_pool": "global_pool", "max": "global_pool",
} | dict.fromkeys((
    "exp", "log", "sin", "cos", "erf", "threshold", "clamp", "pow", "sqrt", "rsqrt", "abs", "neg", "sign", "round", "maximum",
    "minimum", "complex",
), "math")  # fmt: skip

_OWN_NAME = frozenset({"recurrence", "layout", "detection", "source", "random", "unknown"})
"""Families whose members are kinds of their own."""


def _kind(name: str, family: str) -> str:
    return _KINDS.get(name, name if family in _OWN_NAME else family)


_KIND_NAMES = sorted({_kind(op.name, op.family) for op in OPERATORS})
_KIND_OF = np.array([_KIND_NAMES.index(_kind(op.name, op.family)) for op in OPERATORS], dtype=np.int64)
_IS_CONVOLUTION = np.array([op.family == "convolution" for op in OPERATORS])
_IS_LINEAR = np.array([op.name in ("linear", "bilinear") for op in OPERATORS])
_IS_ATTENTION = np.array([op.family == "attention" for op in OPERATORS])
_LINEAR_KIND = _KIND_NAMES.index("linear")
_MATMUL = next(i for i, op in enumerate(OPERATORS) if op.name == "matmul")

_KINDS_OF_CONVOLUTION = 4
_POINTWISE, _DEPTHWISE, _GROUPED, _FULL = range(_KINDS_OF_CONVOLUTION)


def mix(values: npt.ArrayLike) -> Hashes:
    """splitmix64 of every value: hashes that are the same in every process and on every machine."""
    x = np.asarray(values).astype(np.uint64)
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


@dataclass(frozen=True)
class Layers:
    """Per node of a graph ``(g,)``: what weighted layers are and how wide.

    Attributes:
        convolution: Whether the node is a convolution of any kind.
        linear: Whether it is a linear layer.
        form: `_POINTWISE` ... `_FULL` for convolutions, `_POINTWISE` for others.
        inputs: Input channels; 0 for other nodes.
        outputs: Output channels; 0 for other nodes.
        kernel: Longest side of the kernel; 0 for nodes without.
        stride: Longest stride.
    """

    convolution: npt.NDArray[np.bool_]
    linear: npt.NDArray[np.bool_]
    form: Ints
    inputs: Ints
    outputs: Ints
    kernel: Ints
    stride: Ints


def layers(graph: Graph) -> Layers:
    """Widths from multiply-accumulates, so that they are the same for every way a layer was written."""
    convolution, linear = _IS_CONVOLUTION[graph.op], _IS_LINEAR[graph.op]
    sides = graph.attrs[:, :3].astype(np.int64)
    area = np.where(sides > 0, sides, 1).prod(axis=1)
    axis = np.where(convolution, MAX_RANK - 1 - (sides > 0).sum(axis=1), MAX_RANK - 1)
    weighted = convolution | linear
    outputs = np.where(weighted, graph.shape[np.arange(len(graph)), axis], 0)
    groups = np.maximum(graph.attr("groups").astype(np.int64), 1)
    per_group = np.where(weighted, graph.macs // np.maximum(graph.numel, 1) // np.where(convolution, area, 1), 0)
    stride = graph.attrs[:, 3:6].max(axis=1).astype(np.int64) if len(graph) else np.zeros(0, dtype=np.int64)
    pointwise = (area == 1) & (groups == 1) & (stride <= 1)
    form = np.where(
        ~convolution | pointwise, _POINTWISE, np.where(groups == 1, _FULL, np.where(per_group == 1, _DEPTHWISE, _GROUPED))
    )
    kernel = sides.max(axis=1) if len(graph) else np.zeros(0, dtype=np.int64)
    return Layers(convolution, linear, form, per_group * groups, outputs, kernel, stride)


def skeleton(graph: Graph) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """Nodes that are kept, the edges between them with dropped nodes bridged, and which of them saw rotary positions.

    Several edges between the same two nodes count once, so a fused query-key-value layer looks like three separate ones. A graph
    of which nothing would be left is kept whole.

    Returns:
        ``(n,)`` nodes in order, ``(e, 2)`` edges as positions in it, ``(n,)`` bool.
    """
    names, sources, params = graph.names, graph.inputs, graph.params.tolist()
    kept = [
        not (
            name in _DROPPED
            or (name in _SCALAR and len(set(sources[i])) <= 1 and not (params[i] and name == "mul"))
        )
        for i, name in enumerate(names)
    ]  # fmt: skip
    if not any(kept):
        kept = [True] * len(names)
    reach: list[frozenset[int]] = []
    edges: list[tuple[int, int]] = []
    rotary = np.zeros(len(names), dtype=bool)
    for i, name in enumerate(names):
        if not kept[i] and len(sources[i]) == 1:
            reach.append(frozenset(sources[i]) if kept[sources[i][0]] else reach[sources[i][0]])
            continue
        found: set[int] = set()
        for j in sources[i]:
            if kept[j]:
                found.add(j)
            else:
                found |= reach[j]
                rotary[i] |= names[j] == "rope"
        if not kept[i] and len(found) > _MOST_SOURCES:
            kept[i] = True
        if kept[i]:
            edges.extend((j, i) for j in found)
        reach.append(frozenset() if kept[i] else frozenset(found))
        rotary[i] &= name != "rope"
    nodes = np.flatnonzero(kept)
    place = np.zeros(len(names), dtype=np.int64)
    place[nodes] = np.arange(len(nodes))
    pairs = place[np.array(edges, dtype=np.int64).reshape(-1, 2)]
    return nodes, pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))], rotary[nodes]


def tokens(graph: Graph, seen: Layers, nodes: Ints, rotary: npt.NDArray[np.bool_]) -> dict[str, Hashes]:
    """A first label of every kept node ``(n,)``, by vocabulary."""
    form, kernel, strided = seen.form[nodes], seen.kernel[nodes], (seen.stride[nodes] > 1).astype(np.int64)
    op = graph.op[nodes].astype(np.int64)
    convolution, linear = seen.convolution[nodes], seen.linear[nodes]
    kind = np.where(convolution & (form == _POINTWISE), _LINEAR_KIND, _KIND_OF[op]) * _KINDS_OF_CONVOLUTION + form
    inputs, outputs = (np.log2(np.maximum(x[nodes], 1)) for x in (seen.inputs, seen.outputs))
    wide = (convolution | linear) & (form != _DEPTHWISE)
    ratio = np.where(wide, np.rint(2 * (outputs - inputs)).clip(-8, 8) + 9, 0).astype(np.int64)
    flags = np.where(_IS_ATTENTION[op], graph.attr("flags")[nodes].astype(np.int64), 0)
    exact = _join(op, kernel, strided, form * convolution, rotary.astype(np.int64))
    return {
        "kind": _join(kind),
        "operator": exact,
        "shaped": mix(exact ^ _join(ratio, flags)),
        "sized": _join(kind, kernel, np.rint(4 * inputs).astype(np.int64), np.rint(4 * outputs).astype(np.int64)),
    }


def _join(*columns: Ints) -> Hashes:
    """One hash of several small numbers per row."""
    label = mix(columns[0])
    for i, column in enumerate(columns[1:]):
        label = mix(label ^ mix(column + (i + 1) * 1_000_003))
    return label


_PLACES = 9
"""Where a network computes: attention, depthwise, grouped, pointwise or linear, small kernels, large kernels, matmul, other."""


def profile(graph: Graph, seen: Layers) -> npt.NDArray[np.float64]:
    """Square roots of the shares of multiply-accumulates and of parameters by kind of layer, ``(18,)``."""
    kind = np.where(_IS_ATTENTION[graph.op], 0, np.where(graph.op == _MATMUL, 6, 8))
    by_form = np.array([3, 1, 2, 4])[seen.form]
    kind = np.where(seen.convolution, np.where((by_form == 4) & (seen.kernel > 3), 5, by_form), kind)
    kind = np.where(seen.linear, 3, kind)
    return np.concatenate([_shares(kind, weights, _PLACES) for weights in (graph.macs, graph.params)])


STAGES = 12


def stages(graph: Graph, seen: Layers) -> npt.NDArray[np.float64]:
    """Square roots of the shares of multiply-accumulates by octave of resolution below the finest, ``(12,)``."""
    weights = np.where(seen.convolution | seen.linear, graph.macs, 0)
    if not weights.any():
        return np.zeros(STAGES)
    places = np.log2(np.maximum(graph.numel / np.maximum(seen.outputs, 1), 1))
    octave = np.rint(places[weights > 0].max() - places).clip(0, STAGES - 1).astype(np.int64)
    return _shares(octave, weights, STAGES)


def _shares(bins: Ints, weights: Ints, size: int) -> npt.NDArray[np.float64]:
    totals = np.bincount(bins, weights=weights.astype(np.float64), minlength=size)
    return np.asarray(np.sqrt(totals / max(totals.sum(), 1.0)))


def costs(graph: Graph) -> npt.NDArray[np.float32]:
    """Logarithms to base 2 of parameters, multiply-accumulates and nodes, ``(3,)``."""
    sizes = (float(graph.params.sum()), float(graph.macs.sum()), float(len(graph)))
    return np.asarray(np.log2(np.maximum(np.array(sizes), 1.0)), dtype=np.float32)
