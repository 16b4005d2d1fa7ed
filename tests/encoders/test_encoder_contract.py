"""Contracts of every registered encoder: relabelled nodes, determinism, similarity."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netatlas.encoders.base import ENCODERS
from netatlas.encoders.wl import WLHistogram
from netatlas.errors import ConfigError
from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.ops import ATTRIBUTES, NUM_OPERATORS


def make(ops, edges, order=None):
    """A graph of these operators with its nodes stored in another topological order."""
    g = len(ops)
    order = list(range(g)) if order is None else order
    place = {node: i for i, node in enumerate(order)}
    moved = sorted(((place[a], place[b]) for a, b in edges), key=lambda e: e[1])
    zeros = np.zeros(g, dtype=np.int64)
    shape = np.ones((g, MAX_RANK), dtype=np.int64)
    attrs = np.zeros((g, len(ATTRIBUTES)), dtype=np.int32)
    return Graph(np.array([ops[n] for n in order]), attrs, shape, zeros, zeros, zeros, np.array(moved).reshape(-1, 2))


@st.composite
def graphs(draw, most=12):
    g = draw(st.integers(1, most))
    ops = draw(st.lists(st.integers(0, NUM_OPERATORS - 1), min_size=g, max_size=g))
    pairs = [(a, b) for b in range(g) for a in range(b)]
    edges = [pair for pair in pairs if draw(st.booleans())]
    return ops, edges


def other_order(ops, edges, rng):
    """A random topological order."""
    left, done, order = set(range(len(ops))), set(), []
    while left:
        ready = sorted(n for n in left if all(a in done for a, b in edges if b == n))
        node = ready[rng.integers(len(ready))]
        order.append(node)
        done.add(node)
        left.remove(node)
    return order


@pytest.fixture(params=list(ENCODERS))
def encoder(request):
    return ENCODERS.build(request.param)


@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_the_order_of_nodes_does_not_matter(graph, seed):
    ops, edges = graph
    order = other_order(ops, edges, np.random.default_rng(seed))
    for name in ENCODERS:
        encoder = ENCODERS.build(name)
        assert encoder.encode(make(ops, edges)) == encoder.encode(make(ops, edges, order))


@given(graph=graphs())
def test_a_graph_is_most_like_itself(graph):
    for name in ENCODERS:
        encoder = ENCODERS.build(name)
        vector = encoder.encode(make(*graph))
        assert encoder.similarities(vector, [vector])[0] == pytest.approx(1.0)


@given(a=graphs(), b=graphs())
def test_similarity_is_symmetric_and_bounded(a, b):
    for name in ENCODERS:
        encoder = ENCODERS.build(name)
        x, y = encoder.encode(make(*a)), encoder.encode(make(*b))
        there, back = encoder.similarities(x, [y])[0], encoder.similarities(y, [x])[0]
        assert there == pytest.approx(back)
        assert 0.0 <= there <= 1.0


@given(items=st.lists(graphs(most=6), min_size=1, max_size=6), query=graphs(most=6))
def test_many_at_once_equal_one_by_one(items, query):
    for name in ENCODERS:
        encoder = ENCODERS.build(name)
        vectors, asked = [encoder.encode(make(*item)) for item in items], encoder.encode(make(*query))
        one_by_one = [encoder.similarities(asked, [v])[0] for v in vectors]
        assert encoder.similarities(asked, vectors) == pytest.approx(one_by_one)


def test_vectors_are_the_same_in_every_process(encoder):
    script = (
        "import sys; sys.path.insert(0, 'tests/encoders'); from test_encoder_contract import make; from netatlas.encoders.base import ENCODERS;"
        f"print(ENCODERS.build({encoder.name!r}).encode(make([3, 5, 7], [(0, 1), (1, 2)])).hex())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed, "PATH": ""}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("0", "1")
    }
    assert seen == {encoder.encode(make([3, 5, 7], [(0, 1), (1, 2)])).hex()}


def test_wl_tells_wirings_apart_that_histograms_do_not():
    chain, fork = make([3, 5, 5, 7], [(0, 1), (1, 2), (2, 3)]), make([3, 5, 5, 7], [(0, 1), (0, 2), (1, 3), (2, 3)])
    histogram, refined = WLHistogram(rounds=0), WLHistogram(rounds=1)
    assert histogram.similarities(histogram.encode(chain), [histogram.encode(fork)])[0] == pytest.approx(1.0)
    assert refined.similarities(refined.encode(chain), [refined.encode(fork)])[0] < 0.9


def test_wl_agrees_with_networkx_on_equality():
    networkx = pytest.importorskip("networkx", reason="comes with the extra 'torch'")

    def digest(graph):
        other = networkx.DiGraph(graph.edges.tolist())
        other.add_nodes_from((n, {"op": str(graph.op[n])}) for n in range(len(graph)))
        return networkx.weisfeiler_lehman_graph_hash(other.to_undirected(), node_attr="op", iterations=2)

    rng = np.random.default_rng(0)
    made = [make([3, 5, 5, 7], [(a, b) for b in range(4) for a in range(b) if rng.random() < 0.5]) for _ in range(60)]
    for a in made[:20]:
        for b in made[20:40]:
            if WLHistogram().encode(a) == WLHistogram().encode(b):
                assert digest(a) == digest(b)


def test_negative_rounds_are_refused():
    with pytest.raises(ConfigError, match="rounds must be 0 or more, got -1"):
        WLHistogram(rounds=-1)
