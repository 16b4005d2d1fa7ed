"""The coarse graph against its definition on graphs drawn at random."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from netatlas.graph.coarse import COARSE, coarse, coarse_hash
from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.ops import ATTRIBUTES, OP_ID


def make(names, edges):
    g = len(names)
    zeros = np.zeros(g, dtype=np.int64)
    moved = sorted(edges, key=lambda e: e[1])
    return Graph(
        np.array([OP_ID[n] for n in names]), np.zeros((g, len(ATTRIBUTES)), dtype=np.int32), np.ones((g, MAX_RANK), dtype=np.int64),
        zeros, zeros, zeros, np.array(moved).reshape(-1, 2),
    )  # fmt: skip


@given(names=st.lists(st.sampled_from(["conv", "relu", "view", "rope", "input"]), min_size=1, max_size=9), data=st.data())
def test_an_edge_is_a_path_through_what_was_dropped(names, data):
    pairs = [(a, b) for b in range(len(names)) for a in range(b)]
    edges = [pair for pair in pairs if data.draw(st.booleans())]
    found = coarse(make(names, edges))
    kept = [i for i, n in enumerate(names) if n in ("conv", "relu")]
    assert found.node.tolist() == kept
    assert found.names == [{"conv": "conv", "relu": "act"}[names[i]] for i in kept]

    def reached(node):
        for _, after in (e for e in edges if e[0] == node):
            yield from [after] if after in kept else reached(after)

    expected = {(kept.index(a), kept.index(b)) for a in kept for b in reached(a)}
    assert set(map(tuple, found.edges.tolist())) == expected
    assert len(found.edges) == len(expected)
    assert (np.diff(found.edges[:, 1]) >= 0).all()


def test_hash_sees_wiring_and_not_bookkeeping():
    plain = make(["input", "conv", "relu", "linear"], [(0, 1), (1, 2), (2, 3)])
    viewed = make(["input", "conv", "view", "gelu", "view", "linear"], [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)])
    skipped = make(["input", "conv", "relu", "linear"], [(0, 1), (1, 2), (2, 3), (1, 3)])
    assert coarse_hash(plain) == coarse_hash(viewed) == coarse_hash(coarse(plain))
    assert coarse_hash(plain) != coarse_hash(skipped)


def test_twelve_classes_and_a_graph_of_none_of_them():
    assert len(COARSE) == 12
    assert len(coarse(make(["input", "view"], [(0, 1)]))) == 0
    assert coarse_hash(make(["input"], []))
