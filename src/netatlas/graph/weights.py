"""What a checkpoint shows of a network: its layers with weights, in order, by operator, kernel and number of parameters."""

from __future__ import annotations

import numpy as np

from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.ops import ATTRIBUTES, OP_ID


def weights_only(graph: Graph) -> Graph:
    """``graph`` without what names and shapes of tensors cannot tell: wiring, strides, groups, heads, activations, output sizes.

    Nodes without parameters of their own are left out; those left have kernel and parameters, no edges and no shape.
    """
    kept = np.flatnonzero((graph.params > 0) & (graph.op != OP_ID["input"]))
    attrs = np.zeros((len(kept), len(ATTRIBUTES)), dtype=np.int32)
    attrs[:, :3] = graph.attrs[kept, :3]
    return Graph(
        op=graph.op[kept],
        attrs=attrs,
        shape=np.zeros((len(kept), MAX_RANK), dtype=np.int64),
        params=graph.params[kept],
        macs=np.zeros(len(kept), dtype=np.int64),
        scope=graph.scope[kept],
        edges=np.zeros((0, 2), dtype=np.int32),
        scopes=graph.scopes,
        total_params=graph.total_params,
    )
