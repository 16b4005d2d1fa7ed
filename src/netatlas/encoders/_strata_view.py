"""The first labels that `strata` gives to the nodes of a skeleton, in four vocabularies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netatlas.encoders._strata_canonical import Skeleton
from netatlas.encoders._strata_layers import DEPTHWISE, FORMS, POINTWISE, Layers
from netatlas.graph.graph import Graph
from netatlas.graph.ops import OPERATORS

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

VOCABULARIES = ("kind", "operator", "shaped", "sized")
"""``kind`` folds a pointwise convolution into a linear layer, all activations into one, all normalisations into one. ``operator``
is the exact operator with kernel, striding and grouping; ``shaped`` adds the ratio of output to input width and the flags of
attention; ``sized`` is the kind with widths in quarter octaves."""

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
_IS_ATTENTION = np.array([op.family == "attention" for op in OPERATORS])
_LINEAR_KIND = _KIND_NAMES.index("linear")


def mix(values: npt.ArrayLike) -> Hashes:
    """splitmix64 of every value: hashes that are the same in every process and on every machine."""
    x = np.asarray(values).astype(np.uint64)
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


def tokens(graph: Graph, seen: Layers, found: Skeleton) -> dict[str, Hashes]:
    """A first label of every compared node ``(n,)``, by vocabulary."""
    nodes, op = found.nodes, found.op
    form, strided = seen.form[nodes], (seen.stride[nodes] > 1).astype(np.int64)
    weighted = (seen.convolution | seen.linear)[nodes]
    kernel = np.where(weighted & (form == POINTWISE), 0, seen.kernel[nodes])
    kind = _KIND_OF[op] * FORMS + form
    inputs, outputs = (np.log2(np.maximum(x, 1)) for x in (found.inputs, found.outputs))
    wide = weighted & (form != DEPTHWISE)
    ratio = np.where(wide, np.rint(2 * (outputs - inputs)).clip(-8, 8) + 9, 0).astype(np.int64)
    flags = np.where(_IS_ATTENTION[op], graph.attr("flags")[nodes].astype(np.int64), 0)
    dilated = ((graph.attr("dilation")[nodes] > 1) & (kernel > 1)).astype(np.int64)
    exact = _join(op, kernel, strided, form * weighted, found.rotary.astype(np.int64), dilated)
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
