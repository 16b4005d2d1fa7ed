"""Blocks in graphs, against networkx and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_patterns import chain, graph

from netatlas.errors import GraphError
from netatlas.graph.pool import Pool, pool_of
from netatlas.graph.subgraphs import block, containing, occurrences

pytest.importorskip("rustworkx", reason="needs the extra 'structure'")


def residual(blocks):
    """Convolution, norm and activation with an addition around them, ``blocks`` times."""
    ops, edges, last = ["input"], [], 0
    for _ in range(blocks):
        n = len(ops)
        ops += ["conv", "batch_norm", "relu", "add"]
        edges += [(last, n), (n, n + 1), (n + 1, n + 2), (n + 2, n + 3), (last, n + 3)]
        last = n + 3
    return graph(ops, edges)


def test_a_block_is_found_wherever_it_stands():
    pool = Pool.of([("one", residual(1)), ("plain", chain("input", "conv", "batch_norm", "relu")), ("four", residual(4))])
    assert containing(pool, block(residual(1))).found.tolist() == [True, False, True]
    assert sorted(min(p) for p in occurrences(pool_of(residual(4)), block(residual(1))).places) == [1, 5, 9, 13]


def test_an_edge_more_among_its_nodes_is_another_block():
    inner = graph(["input", "conv", "batch_norm", "relu", "add"], [(0, 1), (1, 2), (2, 3), (3, 4), (1, 4)])
    assert containing(Pool.of([("outer", residual(1)), ("inner", inner)]), block(residual(1))).found.tolist() == [True, False]


def test_one_node_larger_than_any_graph_and_nothing():
    pool = Pool.of([("one", residual(1)), ("two", residual(2))])
    assert containing(pool, block(chain("input", "conv"))).found.tolist() == [True, True]
    assert containing(pool, block(chain("input", "lstm"))).found.tolist() == [False, False]
    assert not containing(pool, block(residual(300))).found.any()
    assert not containing(Pool.of([]), block(residual(1))).found.size
    with pytest.raises(GraphError, match="this one has 0"):
        block(chain("input", "unknown", "unknown"))
    with pytest.raises(GraphError, match="this one has 2,001"):
        block(chain("input", *["relu"] * 2001))


def test_what_takes_too_long_is_given_up_and_named():
    result = containing(Pool.of([("slow", residual(4))]), block(residual(2)), seconds=-1.0)
    assert result.gave_up == ("slow",)
    assert not result.found.any()


@given(st.data())
def test_equals_an_induced_subgraph_check_of_networkx(data):
    networkx = pytest.importorskip("networkx", reason="networkx comes with torch")
    from networkx.algorithms.isomorphism import DiGraphMatcher

    def draw(low, high):
        n = data.draw(st.integers(low, high))
        ops = data.draw(st.lists(st.sampled_from(["conv", "add"]), min_size=n, max_size=n))
        pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] < e[1])
        return graph(ops, data.draw(st.lists(pairs, max_size=12)) if n > 1 else [])

    host, small = draw(1, 8), draw(1, 4)

    def nx(g):
        made = networkx.DiGraph()
        degree = np.bincount(g.edges[:, 1], minlength=len(g))
        for i, name in enumerate(g.names):
            made.add_node(i, label=(name, int(degree[i])))
        made.add_edges_from(g.edges.tolist())
        return made

    expected = DiGraphMatcher(nx(host), nx(small), node_match=lambda a, b: a == b).subgraph_is_isomorphic()
    assert bool(containing(pool_of(host), block(small)).found[0]) == expected
    assert bool(occurrences(pool_of(host), block(small)).places) == expected


def test_a_search_that_was_ended_says_that_there_may_be_more_places() -> None:
    pool, wanted = pool_of(residual(6)), block(residual(1))
    assert occurrences(pool, wanted).complete
    cut = occurrences(pool, wanted, limit=2)
    assert len(cut.places) == 2
    assert not cut.complete
    late = occurrences(pool, wanted, seconds=-1.0)
    assert not late.places
    assert not late.complete
