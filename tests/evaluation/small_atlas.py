"""An atlas of a few small networks with families, for protocols."""

from __future__ import annotations

import numpy as np

from netatlas.graph.graph import MAX_RANK, Graph, Scope
from netatlas.graph.ops import ATTRIBUTES, OP_ID

BLOCKS = {
    "chain": ["conv", "relu"], "normed": ["conv", "batch_norm", "relu"], "double": ["conv", "conv", "relu"],
    "pooled": ["conv", "max_pool", "relu"], "mixer": ["linear", "softmax", "linear"], "gated": ["linear", "mul"],
    "attending": ["attention", "linear"], "deep": ["conv", "batch_norm", "conv", "relu"],
}  # fmt: skip


def stack(family, depth):
    """``depth`` blocks of the family, every second with a skip."""
    names, edges = ["input", "conv"], [(0, 1)]
    for block in range(depth):
        start = len(names) - 1
        for name in BLOCKS[family]:
            names.append(name)
            edges.append((len(names) - 2, len(names) - 1))
        if block % 2:
            names.append("add")
            edges += [(start, len(names) - 1), (len(names) - 2, len(names) - 1)]
    names.append("linear")
    edges.append((len(names) - 2, len(names) - 1))
    g, edges = len(names), sorted(edges, key=lambda e: e[1])
    zeros = np.zeros(g, dtype=np.int64)
    return Graph(
        np.array([OP_ID[n] for n in names]), np.zeros((g, len(ATTRIBUTES)), dtype=np.int32), np.ones((g, MAX_RANK), dtype=np.int64),
        zeros, zeros, zeros, np.array(edges), scopes=(Scope("model", f"Secret{family.title()}"),),
    )  # fmt: skip


class SmallAtlas:
    """Just enough of an `Atlas`: timm with eight families of five depths, two of which transformers wrote as well."""

    def __init__(self):
        self._graphs, self._facts = {}, {}
        for number, family in enumerate(BLOCKS):
            for depth in range(2, 7):
                self._put(f"timm/{family}_{depth}", stack(family, depth), family=_design(number, family), module=f"m.{family}")
        for design, family in (("resnet", "chain"), ("vit", "mixer")):
            self._put(f"transformers/{design}", stack(family, 7), family=design, module="m.x", input="pixel_values 1x3x224x224")
        self._put("transformers/bert", stack("gated", 3), family="bert", module="m.y", input="input_ids 1x128")
        self._put("timm/chain_2_again", stack("chain", 2), family="resnet", module="m.chain")  # a duplicate

    def _put(self, entry_id, graph, **facts):
        self._graphs[entry_id], self._facts[entry_id] = graph, facts

    def with_graphs(self):
        return sorted(self._graphs)

    def facts(self, ids):
        return {i: self._facts[i] for i in ids}

    def graph(self, entry_id):
        return self._graphs[entry_id]


def _design(number, family):
    return {"chain": "resnet", "mixer": "vit"}.get(family, f"design{number}")
