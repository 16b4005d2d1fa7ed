"""Work: what the operators of a graph ask of a machine, as a short vector of sums and counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netatlas.graph.costs import BYTES_PER_ELEMENT, depth, peak_memory
from netatlas.graph.graph import Graph
from netatlas.graph.ops import OP_ID, OPERATORS

Floats = npt.NDArray[np.float64]

COMPUTE = ("pointwise", "spatial", "grouped", "depthwise", "linear", "matmul", "attention", "recurrent")
"""Classes of operators that multiply: convolutions by kernel and groups, linear layers, products of activations, recurrent cells."""

TRAFFIC = (
    "norm_batch",
    "norm_other",
    "act_cheap",
    "act_dear",
    "softmax",
    "pool",
    "arithmetic",
    "reduction",
    "layout",
    "lookup",
    "other",
)
"""Classes of operators that mostly move memory."""

CLASSES = COMPUTE + TRAFFIC

SUMS = tuple(
    [f"{name}.macs" for name in COMPUTE]
    + [f"{name}.weights" for name in COMPUTE]
    + [f"{name}.bytes" for name in CLASSES]
    + [f"{name}.count" for name in CLASSES]
)
"""Columns that add up over nodes: MACs, bytes of weights, bytes read and written as activations, and how many nodes."""

SIZES = ("params", "peak_memory", "depth", "input", "output", "widest", "largest", "bound", "unknown", "classifier")
"""Columns of the whole: parameters, peak bytes, layers in a row, elements of inputs and outputs, most channels, largest activation
in bytes, microseconds on a nominal machine (every operator bound by arithmetic or by memory), operators that are not in the
vocabulary, and 1 where one image goes in and one vector comes out."""

_SMALLEST_IMAGE = 32
"""Pixels a side."""

COLUMNS: tuple[str, ...] = SUMS + SIZES
"""What a vector of `work` holds, in this order."""

STORED_AS = "work"
"""Name under which the vectors table keeps a vector."""

_STORED = np.dtype("<f4")
_DEAR = ("gelu", "quick_gelu", "silu", "mish", "sigmoid", "tanh", "elu", "selu", "softplus", "exp", "log", "erf", "sin", "cos")
_LAYOUT_FREE = ("input", "parameter", "view", "slice", "split")

_PEAK, _BANDWIDTH, _LAUNCH = 100e3, 20e3, 2.0
"""A nominal machine for the roofline: MACs and bytes a microsecond, microseconds an operator. Only its proportions matter."""


def _classes() -> npt.NDArray[np.int64]:
    """Class of every operator by its number, -1 for those that cost nothing; convolutions are sorted out by `_convolutions`."""
    by_family = {
        "convolution": "spatial", "linear": "linear", "lookup": "lookup", "attention": "attention", "position": "arithmetic",
        "recurrence": "recurrent", "normalisation": "norm_other", "activation": "act_cheap", "pooling": "pool", "arithmetic": "arithmetic",
        "reduction": "reduction", "layout": "layout",
    }  # fmt: skip
    by_name = {
        "batch_norm": "norm_batch",
        "matmul": "matmul",
        "bilinear": "matmul",
        "softmax": "softmax",
        "log_softmax": "softmax",
    }
    by_name |= dict.fromkeys(_DEAR, "act_dear") | {"cumulative": "reduction", "scan": "recurrent"}
    found = [by_name.get(op.name, by_family.get(op.family, "other")) for op in OPERATORS]
    return np.array([-1 if op.name in _LAYOUT_FREE else CLASSES.index(c) for op, c in zip(OPERATORS, found, strict=True)])


_CLASS_OF = _classes()
_CONVOLUTIONS = np.array([OP_ID["conv"], OP_ID["conv_transpose"], OP_ID["deform_conv"]])


def node_classes(graph: Graph) -> npt.NDArray[np.int64]:
    """Position in `CLASSES` of every node ``(g,)``, -1 for inputs, bare parameters and views."""
    found = _CLASS_OF[graph.op]
    conv = np.isin(graph.op, _CONVOLUTIONS)
    groups = graph.attr("groups")
    kernel = np.maximum(graph.attr("kernel_d"), 1) * np.maximum(graph.attr("kernel_h"), 1) * np.maximum(graph.attr("kernel_w"), 1)
    # Work per output element tells depthwise from grouped: a depthwise convolution reads one channel.
    per_element = graph.macs / np.maximum(graph.numel, 1)
    found[conv & (groups <= 1) & (kernel == 1)] = CLASSES.index("pointwise")
    found[conv & (groups > 1)] = CLASSES.index("grouped")
    found[conv & (groups > 1) & (per_element <= 1.01 * kernel)] = CLASSES.index("depthwise")
    return found


def node_bytes(graph: Graph) -> Floats:
    """Bytes of activations that every node reads and writes ``(g,)``, float32; weights are not among them."""
    moved: Floats = graph.numel.astype(np.float64)
    if len(graph.edges):
        carried = np.where(graph.op == OP_ID["parameter"], 0, graph.numel)[graph.edges[:, 0]]
        moved += np.bincount(graph.edges[:, 1], weights=carried, minlength=len(graph))
    return moved * BYTES_PER_ELEMENT


def work(graph: Graph) -> Floats:
    """What a forward pass at batch 1 asks of a machine: ``(len(COLUMNS),)``, all finite and not negative.

    Linear in nodes and edges; a graph of 100,000 nodes takes about a tenth of a second.
    """
    kind, moved = node_classes(graph), node_bytes(graph)
    weights = graph.params.astype(np.float64) * BYTES_PER_ELEMENT
    real = kind >= 0

    def total(values: npt.NDArray[np.generic], classes: int) -> Floats:
        sums = np.bincount(kind[real], weights=np.asarray(values, dtype=np.float64)[real], minlength=len(CLASSES))
        return np.asarray(sums[:classes], dtype=np.float64)  # counted as integers where there is no node

    sums = [
        total(graph.macs, len(COMPUTE)), total(weights, len(COMPUTE)), total(moved, len(CLASSES)), total(np.ones(len(graph)), len(CLASSES)),
    ]  # fmt: skip
    return np.concatenate([*sums, _sizes(graph, real, moved + weights)])


def pack(vector: Floats) -> bytes:
    """A vector of `work` as the atlas stores it, little-endian float32."""
    return vector.astype(_STORED).tobytes()


def unpack(data: bytes) -> Floats | None:
    """A stored vector; ``None`` when another version of netatlas wrote it."""
    return np.frombuffer(data, dtype=_STORED).astype(np.float64) if len(data) == _STORED.itemsize * len(COLUMNS) else None


def _sizes(graph: Graph, real: npt.NDArray[np.bool_], moved: Floats) -> Floats:
    inputs = graph.op == OP_ID["input"]
    numel = graph.numel
    channels = np.where(graph.shape[:, -3] > 0, graph.shape[:, -3], graph.shape[:, -1])
    bound = np.maximum(graph.macs / _PEAK, moved / _BANDWIDTH) + _LAUNCH
    params = graph.total_params if graph.total_params is not None else int(graph.params.sum())
    return np.array(
        [
            params, peak_memory(graph), depth(graph), numel[inputs].sum(), numel[list(graph.outputs)].sum(), channels.max(initial=0),
            BYTES_PER_ELEMENT * numel.max(initial=0), bound[real].sum(), np.count_nonzero(graph.op == OP_ID["unknown"]),
            is_classifier(graph),
        ],
        dtype=np.float64,
    )  # fmt: skip


def is_classifier(graph: Graph) -> bool:
    """Whether one image goes in and one vector comes out, which is all that the graph tells of an image classifier."""
    images = graph.shape[graph.op == OP_ID["input"]]
    results = graph.shape[list(graph.outputs)]
    if len(images) != 1 or len(results) != 1:
        return False
    channels, height, width = images[0, -3:].tolist()
    return 1 <= channels <= 4 and min(height, width) >= _SMALLEST_IMAGE and int(np.count_nonzero(results[0] > 1)) <= 1
