"""Weisfeiler-Lehman histograms of operator graphs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netatlas.encoders.base import ENCODERS, Encoder
from netatlas.errors import ConfigError, did_you_mean
from netatlas.graph.coarse import coarse
from netatlas.graph.graph import Graph
from netatlas.graph.ops import ATTRIBUTE_COLUMN

VOCABULARIES, WEIGHTINGS = ("operators", "coarse"), ("log", "binary")

_FEATURE = np.dtype([("label", "<u4"), ("count", "<u2")])

DIM = 256
"""Dimensions of `WLHistogram.dense`, to which labels are hashed with signs (Weinberger et al., ICML 2009, arXiv:0902.2206)."""

_PLACES = 2
"""Dimensions a label is written to; with one, two frequent labels that meet would spoil a vector."""


@ENCODERS.register("wl")
class WLHistogram(Encoder):
    """Counts of the labels that ``rounds`` of Weisfeiler-Lehman refinement give to the nodes, all rounds together.

    A node's first label is its operator, for convolutions with kernel and kind (pointwise, depthwise, grouped, full); each round
    hashes it with the sorted labels of its inputs and of its consumers. Shervashidze et al., "Weisfeiler-Lehman Graph Kernels",
    JMLR 12 (2011), with directed neighbourhoods. Widths and resolutions are not seen. O(rounds * e).

    Similarity is the cosine of log(1 + count), so a network and its deeper sister are near but not equal.

    Args:
        rounds: Refinements after the first labels.
        vocabulary: ``operators`` as above, or ``coarse``: the twelve classes of `graph.coarse`, everything else bridged.
        weighting: ``log`` as above, or ``binary``: a label counts once, however often it occurs.

    Raises:
        ConfigError: ``rounds`` is negative, or a name is unknown.
    """

    name = "wl"

    def __init__(self, *, rounds: int = 2, vocabulary: str = "operators", weighting: str = "log") -> None:
        if rounds < 0:
            raise ConfigError(f"wl: rounds must be 0 or more, got {rounds}")
        for what, value, allowed in (("vocabulary", vocabulary, VOCABULARIES), ("weighting", weighting, WEIGHTINGS)):
            if value not in allowed:
                raise ConfigError(f"wl: no {what} {value!r} (there are: {', '.join(allowed)}){did_you_mean(value, allowed)}")
        self.rounds, self.vocabulary, self.weighting = rounds, vocabulary, weighting

    def encode(self, graph: Graph) -> bytes:
        counts = refined(graph, self.rounds, self.vocabulary)
        features = np.array(sorted((label, min(n, 65535)) for label, n in counts.items()), dtype=_FEATURE)
        return features.tobytes()

    def similarities(self, query: bytes, vectors: Sequence[bytes]) -> npt.NDArray[np.float64]:
        asked = np.frombuffer(query, dtype=_FEATURE)
        if not len(vectors):
            return np.zeros(0)
        owner = _owners(vectors)
        every = np.frombuffer(b"".join(vectors), dtype=_FEATURE)
        weights, ours = self._weights(every["count"]), self._weights(asked["count"])
        place = np.searchsorted(asked["label"], every["label"]).clip(max=max(len(asked) - 1, 0))
        known = asked["label"][place] == every["label"] if len(asked) else np.zeros(len(every), dtype=bool)
        products = np.where(known, weights * ours[place] if len(asked) else 0.0, 0.0)
        dots, norms = (np.bincount(owner, weights=x, minlength=len(vectors)) for x in (products, weights**2))
        scale = np.sqrt(norms * float((ours**2).sum()))
        alike = np.divide(dots, scale, out=np.zeros(len(vectors)), where=scale > 0).clip(0.0, 1.0)
        return np.where((norms == 0) & (len(asked) == 0), 1.0, alike)  # two graphs of nothing coarse are the same

    def dense(self, vectors: Sequence[bytes]) -> npt.NDArray[np.float32]:
        every = np.frombuffer(b"".join(vectors), dtype=_FEATURE)
        owner, weights = _owners(vectors), self._weights(every["count"])
        found = np.zeros(len(vectors) * DIM)
        labels = every["label"].astype(np.uint64)
        for place in range(_PLACES):
            code = (labels + np.uint64(place << 32)) * np.uint64(0x9E3779B97F4A7C15)  # the product's high bits are mixed best
            sign = np.where(code >> np.uint64(63), 1.0, -1.0)
            cell = owner * DIM + ((code >> np.uint64(40)) % np.uint64(DIM)).astype(np.int64)
            found += np.bincount(cell, weights=sign * weights, minlength=len(found))
        made = found.reshape(len(vectors), DIM)
        return np.asarray(made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12), dtype=np.float32)

    def _weights(self, counts: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
        return np.ones(len(counts)) if self.weighting == "binary" else np.log1p(counts.astype(np.float64))


def refined(graph: Graph, rounds: int, vocabulary: str) -> Counter[int]:
    """How often each label occurs, those of all rounds together.

    Args:
        graph: The graph.
        rounds: Refinements after the first labels.
        vocabulary: Of `VOCABULARIES`.
    """
    labels, inputs, consumers = _coarse_view(graph) if vocabulary == "coarse" else _view(graph)
    counts = Counter(labels)
    for _ in range(rounds):
        labels = [
            _hash(label, *sorted(labels[i] for i in inputs[node]), -1, *sorted(labels[i] for i in consumers[node]))
            for node, label in enumerate(labels)
        ]
        counts.update(labels)
    return counts


def _owners(vectors: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """Which vector every feature belongs to.

    Sums over them run within a vector, so that a similarity does not depend on what else is compared: equal vectors tie exactly.
    """
    return np.repeat(np.arange(len(vectors)), [len(v) // _FEATURE.itemsize for v in vectors])


def _view(graph: Graph) -> tuple[list[int], Sequence[Sequence[int]], Sequence[Sequence[int]]]:
    """First labels, producers and consumers of every node."""
    return _first_labels(graph), graph.inputs, graph.consumers


def _coarse_view(graph: Graph) -> tuple[list[int], Sequence[Sequence[int]], Sequence[Sequence[int]]]:
    seen = coarse(graph)
    inputs: list[list[int]] = [[] for _ in range(len(seen))]
    consumers: list[list[int]] = [[] for _ in range(len(seen))]
    for source, target in seen.edges.tolist():
        inputs[target].append(source)
        consumers[source].append(target)
    return [_hash(label) for label in seen.label.tolist()], inputs, consumers


def _first_labels(graph: Graph) -> list[int]:
    columns = [ATTRIBUTE_COLUMN[name] for name in ("kernel_d", "kernel_h", "kernel_w")]
    groups = graph.attr("groups").tolist()
    kernels = graph.attrs[:, columns].tolist()
    labels = []
    for node, name in enumerate(graph.names):
        if name == "conv":
            channels = graph.node_shape(node)[1:2]
            kind = 0 if groups[node] <= 1 else 1 if (groups[node],) == channels else 2
            labels.append(_hash(int(graph.op[node]), kind, *kernels[node]))
        else:
            labels.append(_hash(int(graph.op[node])))
    return labels


def _hash(*values: int) -> int:
    """A 32-bit label that is the same in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(repr(values).encode(), digest_size=4).digest(), "little")
