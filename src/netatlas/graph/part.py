"""A module of a network as a graph of its own."""

from __future__ import annotations

import numpy as np

from netatlas.errors import GraphError, did_you_mean
from netatlas.graph.graph import Graph, Scope
from netatlas.graph.ops import ATTRIBUTES, OP_ID


def part(graph: Graph, path: str) -> Graph:
    """The operators of the module at ``path``, with an input for every tensor it reads from outside.

    Modules inside are named from ``path`` on, so that the same block compares equal wherever it stands.

    Raises:
        GraphError: The network has no module there; the message names the nearest.
    """
    inside = np.array([s.path == path or s.path.startswith(f"{path}.") for s in graph.scopes], dtype=bool)
    kept = np.flatnonzero(inside[graph.scope]) if len(graph) else np.zeros(0, dtype=np.int64)
    if not len(kept):
        names = {".".join(s.path.split(".")[:n]) for s in graph.scopes for n in range(1, s.path.count(".") + 2) if s.path}
        raise GraphError(f"no module {path!r}{did_you_mean(path, names)}")
    own = set(kept.tolist())
    outer = sorted({x for i in kept.tolist() for x in graph.inputs[i]} - own)
    place = {old: new for new, old in enumerate([*outer, *kept.tolist()])}
    edges = [(place[x], place[i]) for i in kept.tolist() for x in graph.inputs[i]]
    n = len(outer)
    root = len(graph.scopes)
    scopes = tuple(Scope(s.path[len(path) + 1 :] if inside[k] else s.path, s.cls) for k, s in enumerate(graph.scopes))
    return Graph(
        op=np.concatenate([np.full(n, OP_ID["input"], dtype=np.uint8), graph.op[kept]]),
        attrs=np.concatenate([np.zeros((n, len(ATTRIBUTES)), dtype=np.int32), graph.attrs[kept]]),
        shape=np.concatenate([graph.shape[outer], graph.shape[kept]]),
        params=np.concatenate([np.zeros(n, dtype=np.int64), graph.params[kept]]),
        macs=np.concatenate([np.zeros(n, dtype=np.int64), graph.macs[kept]]),
        scope=np.concatenate([np.full(n, root, dtype=np.int32), graph.scope[kept]]),
        edges=np.array(edges, dtype=np.int32).reshape(-1, 2),
        scopes=(*scopes, Scope("", "")),
    )
