"""What the weighted layers of a graph are and cost, for `strata`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.ops import OP_ID, OPERATORS

Ints = npt.NDArray[np.int64]

_IS_CONVOLUTION = np.array([op.family == "convolution" for op in OPERATORS])
_IS_LINEAR = np.array([op.name in ("linear", "bilinear") for op in OPERATORS])
_IS_ATTENTION = np.array([op.family == "attention" for op in OPERATORS])

FORMS = 4
POINTWISE, DEPTHWISE, GROUPED, FULL = range(FORMS)


@dataclass(frozen=True)
class Layers:
    """Per node of a graph ``(g,)``: what weighted layers are and how wide.

    Attributes:
        convolution: Whether the node is a convolution of any kind.
        linear: Whether it is a linear layer.
        form: `POINTWISE` ... `FULL` for convolutions, `POINTWISE` for others.
        inputs: Input channels; 0 for other nodes.
        outputs: Output channels; 0 for other nodes.
        kernel: Longest side of the kernel; 0 for nodes without.
        stride: Longest stride.
        transposed: Whether it is a transposed convolution.
    """

    convolution: npt.NDArray[np.bool_]
    linear: npt.NDArray[np.bool_]
    form: Ints
    inputs: Ints
    outputs: Ints
    kernel: Ints
    stride: Ints
    transposed: npt.NDArray[np.bool_]


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
        ~convolution | pointwise, POINTWISE, np.where(groups == 1, FULL, np.where(per_group == 1, DEPTHWISE, GROUPED))
    )
    kernel = sides.max(axis=1) if len(graph) else np.zeros(0, dtype=np.int64)
    return Layers(convolution, linear, form, per_group * groups, outputs, kernel, stride, graph.op == OP_ID["conv_transpose"])


_PLACES = 9
"""Where a network computes: attention, depthwise, grouped, pointwise or linear, small kernels, large kernels, matmul, other."""


def profile(graph: Graph, seen: Layers) -> npt.NDArray[np.float64]:
    """Square roots of the shares of multiply-accumulates and of parameters by kind of layer, ``(18,)``."""
    kind = np.where(_IS_ATTENTION[graph.op], 0, np.where(graph.op == OP_ID["matmul"], 6, 8))
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
