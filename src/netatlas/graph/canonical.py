"""Captures to canonical graphs, and the hash under which equal networks are equal."""

from __future__ import annotations

import hashlib

import numpy as np

from netatlas.graph._draft import Draft, reduce
from netatlas.graph.graph import MAX_RANK, Graph, Scope
from netatlas.graph.ops import ATTRIBUTE_COLUMN, ATTRIBUTES, COMMUTATIVE, FLAGS, OP_ID, OPERATORS
from netatlas.graph.raw import Capture
from netatlas.graph.recognise import recognise


def canonicalize(capture: Capture) -> Graph:
    """The operator graph of a capture: weights folded into their operators, decomposed forms recognised, views and bookkeeping gone."""
    draft = reduce(capture)
    recognise(draft)
    return _assemble(draft, capture)


def _assemble(draft: Draft, capture: Capture) -> Graph:
    order = list(draft.alive())
    place = {i: n for n, i in enumerate(order)}
    g = len(order)
    attrs = np.zeros((g, len(ATTRIBUTES)), dtype=np.int32)
    shape = np.zeros((g, MAX_RANK), dtype=np.int64)
    params = np.zeros(g, dtype=np.int64)
    owned: set[str] = set()
    edges: list[tuple[int, int]] = []
    for n, i in enumerate(order):
        node = draft.nodes[i]
        for name, value in node.attrs.items():
            if name in ATTRIBUTE_COLUMN and isinstance(value, int):
                attrs[n, ATTRIBUTE_COLUMN[name]] = value
        fitted = _fit(node.shape)
        shape[n, MAX_RANK - len(fitted) :] = fitted
        own = list(dict.fromkeys(node.params))
        new = [p for p in own if p not in owned]
        params[n] = sum(draft.numel.get(p, 0) for p in new)
        owned.update(new)
        if len(new) < len(own):
            attrs[n, ATTRIBUTE_COLUMN["flags"]] |= FLAGS["shared"]
        edges.extend((place[x], n) for x in draft.ins(i))
    return Graph(
        op=np.array([OP_ID[draft.nodes[i].op] for i in order], dtype=np.uint8),
        attrs=attrs,
        shape=shape,
        params=params,
        macs=np.array([draft.nodes[i].macs for i in order], dtype=np.int64),
        scope=np.array(_used_scopes(draft, order)[0], dtype=np.int32),
        edges=np.array(edges, dtype=np.int32).reshape(-1, 2),
        scopes=tuple(capture.scopes[i] for i in _used_scopes(draft, order)[1]) or (Scope("", ""),),
        total_params=capture.total_params,
        unknown=dict(capture.unknown),
    )


def _used_scopes(draft: Draft, order: list[int]) -> tuple[list[int], list[int]]:
    """Scope of each node renumbered to those that are used, and the old numbers."""
    used = sorted({draft.nodes[i].scope for i in order})
    number = {old: new for new, old in enumerate(used)}
    return [number[draft.nodes[i].scope] for i in order], used


def _fit(shape: tuple[int, ...]) -> tuple[int, ...]:
    """At most `MAX_RANK` axes, leading ones multiplied together."""
    extra = len(shape) - MAX_RANK
    if extra <= 0:
        return shape
    lead = 1
    for n in shape[: extra + 1]:
        lead *= n
    return (lead, *shape[extra + 1 :])


def content_hash(graph: Graph) -> str:
    """32 hex digits that depend on operators, attributes, shapes, parameter counts and wiring, not on names, order or weights.

    Every node is hashed over the hashes of its inputs (inputs of commutative operators in any order), the graph over the sorted
    hashes of its nodes, so that two routes that list the same network in another order agree.
    """
    own = np.concatenate(
        [graph.op[:, None].astype(np.int64), graph.attrs.astype(np.int64), graph.shape, graph.params[:, None]], axis=1
    )
    rows = np.ascontiguousarray(own, dtype="<i8")
    commutative = {OP_ID[name] for name in COMMUTATIVE}
    digests: list[bytes] = []
    for node, sources in enumerate(graph.inputs):
        below = [digests[source] for source in sources]
        if int(graph.op[node]) in commutative:
            below.sort()
        digests.append(hashlib.blake2b(rows[node].tobytes() + b"".join(below), digest_size=16).digest())
    vocabulary = ",".join(op.name for op in OPERATORS).encode()
    return hashlib.blake2b(b"".join(sorted(digests)), digest_size=16, key=hashlib.md5(vocabulary).digest()).hexdigest()
