"""Small networks written down operator by operator."""

from __future__ import annotations

import numpy as np

from netatlas.graph.graph import Graph, Scope
from netatlas.graph.ops import ATTRIBUTES, OP_ID


def network(*rows):
    """A graph of ``(operator, producers, shape, attributes, path)`` rows; what is left out is empty.

    Producers are row numbers; ``None`` is the row before.
    """
    edges, scopes = [], {"": 0}
    count = len(rows)
    attrs, shape = np.zeros((count, len(ATTRIBUTES)), np.int32), np.zeros((count, 6), np.int64)
    params, scope = np.zeros(count, np.int64), np.zeros(count, np.int32)
    for n, row in enumerate(rows):
        _, producers, size, given, path = (*row, *(None, (1, 8, 8, 8), {}, "")[len(row) - 1 :])
        before = ([n - 1] if n else []) if producers is None else producers
        edges += [(x, n) for x in before]
        shape[n, 6 - len(size) :] = size
        for name, value in given.items():
            if name == "kernel":
                attrs[n, 1:3] = value
            elif name == "params":
                params[n] = value
            else:
                attrs[n, ATTRIBUTES.index(name)] = value
        scope[n] = scopes.setdefault(path, len(scopes))
    return Graph(
        op=np.array([OP_ID[row[0]] for row in rows], np.uint8), attrs=attrs, shape=shape, params=params, macs=np.zeros(count),
        scope=scope, edges=np.array(edges, np.int32).reshape(-1, 2), scopes=tuple(Scope(path, "") for path in scopes),
    )  # fmt: skip


def chain(*operators, shape=(1, 8, 8, 8)):
    """Operators one after the other, behind an input."""
    return network(("input", [], shape), *((op, None, shape) for op in operators))
