"""The operator vocabulary: one canonical name per thing a network does, whatever library wrote it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Operator:
    """One canonical operator.

    Attributes:
        name: Lower case with underscores.
        family: Convolution, linear, attention, ...; ``has(family)`` asks for any member.
        label: Short name for drawings and tables.
    """

    name: str
    family: str
    label: str


_FAMILIES: dict[str, str] = {
    "source": "input parameter",
    "convolution": "conv conv_transpose deform_conv",
    "linear": "linear bilinear matmul",
    "lookup": "embedding",
    "attention": "attention linear_attention",
    "position": "rope",
    "recurrence": "lstm gru rnn scan cumulative",
    "normalisation": "batch_norm layer_norm group_norm instance_norm rms_norm l2_norm local_response_norm",
    "activation": "relu relu6 leaky_relu prelu elu selu gelu quick_gelu silu mish sigmoid hardsigmoid hardswish tanh "
    "softplus softsign softmax log_softmax clamp threshold exp log erf sin cos",
    "pooling": "max_pool avg_pool global_avg_pool global_max_pool adaptive_pool lp_pool",
    "arithmetic": "add sub mul div pow sqrt rsqrt abs neg sign round maximum minimum where compare complex",
    "reduction": "mean sum max min prod var norm argmax topk sort logsumexp",
    "layout": "concat pad roll flip upsample pixel_shuffle gather scatter unfold fold grid_sample repeat one_hot triangle "
    "slice split view",
    "spectral": "fft",
    "detection": "nms roi_align",
    "random": "random",
    "unknown": "unknown",
}

_LABELS = {
    "conv": "Conv", "conv_transpose": "ConvT", "deform_conv": "DeformConv", "linear": "Linear", "matmul": "MatMul",
    "embedding": "Embedding", "attention": "Attention", "linear_attention": "LinearAttention", "rope": "RoPE", "lstm": "LSTM",
    "gru": "GRU", "rnn": "RNN", "batch_norm": "BatchNorm", "layer_norm": "LayerNorm", "group_norm": "GroupNorm",
    "instance_norm": "InstanceNorm", "rms_norm": "RMSNorm", "l2_norm": "L2Norm", "local_response_norm": "LRN", "relu": "ReLU",
    "relu6": "ReLU6", "leaky_relu": "LeakyReLU", "prelu": "PReLU", "elu": "ELU", "selu": "SELU", "gelu": "GELU",
    "quick_gelu": "QuickGELU", "silu": "SiLU", "mish": "Mish", "global_avg_pool": "GlobalAvgPool", "global_max_pool":
    "GlobalMaxPool", "max_pool": "MaxPool", "avg_pool": "AvgPool", "add": "Add", "sub": "Sub", "mul": "Mul", "fft": "FFT",
    "nms": "NMS", "roi_align": "RoIAlign",
}  # fmt: skip

OPERATORS: tuple[Operator, ...] = tuple(
    Operator(name, family, _LABELS.get(name, name.replace("_", " ").title().replace(" ", "")))
    for family, names in _FAMILIES.items()
    for name in names.split()
)
"""All operators; a graph stores the position in this tuple, so new ones go to the end of their family only with a new format version."""

OP_ID: dict[str, int] = {op.name: i for i, op in enumerate(OPERATORS)}
"""Operator number by name."""

FAMILIES: tuple[str, ...] = tuple(_FAMILIES)

NUM_OPERATORS = len(OPERATORS)

VIEWS = frozenset({"view", "slice", "split"})
"""Operators that only rename or cut memory; captures carry them, canonical graphs do not."""

COMMUTATIVE = frozenset({"add", "mul", "maximum", "minimum"})
"""Operators whose inputs may be swapped without changing the network."""

WEIGHTED = frozenset({"conv", "conv_transpose", "deform_conv", "linear", "bilinear", "embedding", "lstm", "gru", "rnn"})
"""Operators that count as a layer when they carry parameters."""

ATTRIBUTES = (
    "kernel_d", "kernel_h", "kernel_w", "stride_d", "stride_h", "stride_w", "dilation", "groups", "heads", "axis", "flags",
)  # fmt: skip
"""Integer attributes of a node, the columns of `Graph.attrs`; zero where an attribute does not apply.

One- and two-dimensional convolutions and pools use the last columns (``kernel_w``; ``kernel_h`` and ``kernel_w``). ``flags`` is a
sum of `FLAGS`.
"""

ATTRIBUTE_COLUMN = {name: i for i, name in enumerate(ATTRIBUTES)}

FLAGS = {"causal": 1, "biased": 2, "bidirectional": 4, "shared": 8, "cross": 16, "grouped_query": 32, "windowed": 64,
         "standardised": 128}  # fmt: skip
"""Bits of the ``flags`` attribute: causal mask, additive attention bias or mask, bidirectional recurrence, parameters owned by an
earlier node, keys from another sequence than queries, fewer key heads than query heads, attention within windows, weights normalised
before use."""


def op_names(ids: np.ndarray) -> list[str]:
    """Operator names of an array of operator numbers ``(g,)``."""
    return [OPERATORS[i].name for i in ids.tolist()]
