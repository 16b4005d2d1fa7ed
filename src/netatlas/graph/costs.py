"""Counting rules: parameters, multiply-accumulates, activations and peak memory.

One multiply-accumulate (MAC) is one multiplication with its addition; FLOPs are twice that. Counted are convolutions, linear
layers, matrix products (both products of an attention) and recurrent cells; biases, norms, activations, pooling, softmax,
interpolation and element-wise arithmetic are not, as in the published timm tables this is compared with. ``b`` is always 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netatlas.graph.ops import OP_ID, WEIGHTED

if TYPE_CHECKING:
    from netatlas.graph.graph import Graph

BYTES_PER_ELEMENT = 4
"""Activations are counted as float32."""

MOST_BROADCAST = 8
"""Axes an ellipsis of an einsum can stand for."""

_WRITES = (
    "conv",
    "conv_transpose",
    "deform_conv",
    "linear",
    "bilinear",
    "matmul",
    "attention",
    "linear_attention",
    "lstm",
    "gru",
    "rnn",
)


def conv_macs(out_shape: Sequence[int], weight_shape: Sequence[int]) -> int:
    """MACs of a convolution: every output element reads ``weight_shape[1:]`` (channels per group, kernel) once."""
    return math.prod(out_shape) * math.prod(weight_shape[1:])


def conv_transpose_macs(in_shape: Sequence[int], weight_shape: Sequence[int]) -> int:
    """MACs of a transposed convolution: every input element writes ``weight_shape[1:]`` once."""
    return math.prod(in_shape) * math.prod(weight_shape[1:])


def matmul_macs(out_shape: Sequence[int], inner: int) -> int:
    """MACs of a matrix product with inner dimension ``inner``; a linear layer has ``inner = in_features``."""
    return math.prod(out_shape) * inner


def attention_macs(query_shape: Sequence[int], key_length: int, value_dim: int) -> int:
    """MACs of both products of softmax attention, ``query_shape = (..., n, c)``; a causal mask does not reduce them."""
    *lead, n, c = query_shape
    return math.prod(lead) * n * key_length * (c + value_dim)


def recurrent_macs(steps: int, weight_numel: int) -> int:
    """MACs of a recurrent layer: every weight of its matrices is used once per step."""
    return steps * weight_numel


def einsum_macs(equation: str, shapes: Sequence[Sequence[int]]) -> int:
    """MACs of an einsum of two operands: the product of the sizes of all indices that occur.

    More operands are contracted from left to right, as `torch.einsum` does without an optimised path; one operand costs nothing.
    """
    left, _, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) < 2:
        return 0
    sizes: dict[str, int] = {}
    expanded = []
    for term, shape in zip(terms, shapes, strict=True):
        letters = _expand_ellipsis(term, len(shape))
        expanded.append(letters)
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    total, seen = 0, set(expanded[0])
    kept_later = [
        set().union(*map(set, expanded[i + 1 :]), set(_expand_ellipsis(result, MOST_BROADCAST + len(result))))
        for i in range(len(expanded))
    ]
    for i, letters in enumerate(expanded[1:], start=1):
        seen |= set(letters)
        total += math.prod(sizes.get(letter, 1) for letter in seen)
        seen &= kept_later[i]
    return total


def _expand_ellipsis(term: str, rank: int) -> list[str]:
    if "..." not in term:
        return list(term)
    head, tail = term.split("...")
    hidden = min(rank - len(head) - len(tail), MOST_BROADCAST)
    return [*head, *(f"…{hidden - i}" for i in range(hidden)), *tail]


def activations(graph: Graph) -> int:
    """Elements written by convolutions, linear layers, matrix products and attention."""
    wanted = np.isin(graph.op, [OP_ID[name] for name in _WRITES])
    return int(graph.numel[wanted].sum())


def peak_memory(graph: Graph) -> int:
    """Bytes of the largest set of activations alive at once when nodes run in stored order.

    An output lives from its own step to the last step that reads it; views cost nothing, nothing is computed in place.
    """
    last_use = np.arange(len(graph))
    if len(graph.edges):
        np.maximum.at(last_use, graph.edges[:, 0], graph.edges[:, 1])
    for node in graph.outputs:
        last_use[node] = len(graph) - 1
    change = np.zeros(len(graph) + 1, dtype=np.int64)
    np.add.at(change, np.arange(len(graph)), graph.numel)
    np.add.at(change, last_use + 1, -graph.numel)
    return int(np.cumsum(change).max(initial=0)) * BYTES_PER_ELEMENT


def depth(graph: Graph) -> int:
    """Layers with weights on the longest path from an input to an output, embeddings left out (ResNet-50 has 50)."""
    layered = (graph.params > 0) & np.isin(graph.op, [OP_ID[name] for name in WEIGHTED - {"embedding"}])
    longest = layered.astype(np.int64)
    for node, sources in enumerate(graph.inputs):
        if sources:
            longest[node] += max(longest[source] for source in sources)
    return int(longest.max(initial=0))
