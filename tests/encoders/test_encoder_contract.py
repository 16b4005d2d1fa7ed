"""Contracts of every registered encoder: relabelled nodes, determinism, similarity."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netatlas.encoders.base import ENCODERS, Trainable
from netatlas.encoders.wl import WLHistogram
from netatlas.errors import ConfigError
from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.ops import ATTRIBUTES, NUM_OPERATORS, OP_ID

CONV, RELU, ADD = OP_ID["conv"], OP_ID["relu"], OP_ID["add"]


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


@functools.cache
def built(name):
    """The encoder with its default parameters; one that comes untrained is trained on a few small graphs of two families."""
    encoder = ENCODERS.build(name)
    try:
        encoder.encode(make([CONV], []))
    except ConfigError:
        assert isinstance(encoder, Trainable)
        chains = [make([CONV, RELU] * n, [(i, i + 1) for i in range(2 * n - 1)]) for n in range(2, 6)]
        forks = [
            make([CONV, *[RELU] * n, ADD], [(0, i) for i in range(1, n + 1)] + [(i, n + 1) for i in range(1, n + 1)])
            for n in range(2, 6)
        ]
        encoder.fit([*chains, *forks], ["chain"] * 4 + ["fork"] * 4, seed=0)
    return encoder


@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_the_order_of_nodes_does_not_matter(graph, seed):
    ops, edges = graph
    order = other_order(ops, edges, np.random.default_rng(seed))
    for name in ENCODERS:
        encoder = built(name)
        assert encoder.encode(make(ops, edges)) == encoder.encode(make(ops, edges, order))


@given(graph=graphs())
def test_a_graph_is_most_like_itself(graph):
    for name in ENCODERS:
        encoder = built(name)
        vector = encoder.encode(make(*graph))
        assert encoder.similarities(vector, [vector])[0] == pytest.approx(1.0)


@given(a=graphs(), b=graphs())
def test_similarity_is_symmetric_and_bounded(a, b):
    for name in ENCODERS:
        encoder = built(name)
        x, y = encoder.encode(make(*a)), encoder.encode(make(*b))
        there, back = encoder.similarities(x, [y])[0], encoder.similarities(y, [x])[0]
        assert there == pytest.approx(back)
        assert 0.0 <= there <= 1.0


@given(items=st.lists(graphs(most=6), min_size=1, max_size=6), query=graphs(most=6))
def test_many_at_once_equal_one_by_one(items, query):
    for name in ENCODERS:
        encoder = built(name)
        vectors, asked = [encoder.encode(make(*item)) for item in items], encoder.encode(make(*query))
        one_by_one = [encoder.similarities(asked, [v])[0] for v in vectors]
        assert encoder.similarities(asked, vectors) == pytest.approx(one_by_one)


def test_vectors_are_the_same_in_every_process():
    script = (
        "import sys; sys.path.insert(0, 'tests/encoders'); from test_encoder_contract import built, make; from netatlas.encoders.base import ENCODERS\n"
        "for name in ENCODERS: print(built(name).encode(make([3, 5, 7], [(0, 1), (1, 2)])).hex())"
    )
    here = [built(name).encode(make([3, 5, 7], [(0, 1), (1, 2)])).hex() for name in ENCODERS]
    for seed in ("0", "1"):
        env = {"PYTHONHASHSEED": seed, "PATH": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        there = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
        assert there.split() == here


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


@pytest.mark.parametrize("vocabulary", ["operators", "coarse"])
def test_binary_wl_is_the_cosine_of_sets(vocabulary):
    """Against the definition: shared labels over the root of the product of the two sizes."""
    encoder = WLHistogram(rounds=1, vocabulary=vocabulary, weighting="binary")
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (
            make([CONV, RELU, RELU, ADD], [(i, j) for j in range(4) for i in range(j) if rng.random() < 0.5]) for _ in range(2)
        )
        x, y = encoder.encode(a), encoder.encode(b)
        ours, theirs = ({v[i : i + 4] for i in range(0, len(v), 6)} for v in (x, y))
        assert encoder.similarities(x, [y])[0] == pytest.approx(len(ours & theirs) / np.sqrt(len(ours) * len(theirs)))


def test_wl_names_what_it_does_not_know():
    with pytest.raises(ConfigError, match=r"wl: no vocabulary 'course' .*did you mean 'coarse'"):
        WLHistogram(vocabulary="course")


@pytest.mark.parametrize("name", ["gcn", "gat", "nar"])
def test_an_untrained_encoder_says_so(name):
    with pytest.raises(ConfigError, match=f"{name}: not trained yet; call fit first"):
        ENCODERS.build(name).encode(make([CONV], []))


@pytest.mark.parametrize("name", ["gcn", "nar"])
def test_training_needs_two_groups(name):
    with pytest.raises(ConfigError, match="at least two groups, got \\['a'\\]"):
        ENCODERS.build(name).fit([make([CONV], [])] * 2, ["a", "a"], seed=0)
    with pytest.raises(ConfigError, match="2 graphs but 1 groups"):
        ENCODERS.build(name).fit([make([CONV], [])] * 2, ["a"], seed=0)


@pytest.mark.parametrize("name", ["gcn", "gat", "nar", "gnn"])
def test_the_seed_decides_the_weights(name):
    def trained(seed):
        encoder = ENCODERS.build(name)
        chains = [make([CONV, RELU] * n, [(i, i + 1) for i in range(2 * n - 1)]) for n in range(2, 6)]
        encoder.fit(chains, ["a", "a", "b", "b"], seed=seed)
        return [encoder.encode(graph) for graph in chains]

    assert trained(0) == trained(0)
    assert trained(0) != trained(1)
