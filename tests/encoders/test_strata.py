"""Strata: what it forgets, what it keeps, its bytes, and graphs that are out of the ordinary."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from test_encoder_contract import make

from netatlas.encoders._strata_canonical import plain, skeleton
from netatlas.encoders._strata_layers import layers
from netatlas.encoders._strata_packed import HEADER
from netatlas.encoders.strata import COMPONENTS, MOST_FEATURES, Strata
from netatlas.errors import ConfigError
from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.ops import ATTRIBUTES, OP_ID


def drawn(text, **counts):
    """A graph from ``"name: operator <- source source; ..."``; ``counts`` gives parameters by name."""
    rows = [row.split(":") for row in text.split(";")]
    names = [name.strip() for name, _ in rows]
    ops, edges = [], []
    for i, (_, right) in enumerate(rows):
        op, _, sources = right.partition("<-")
        ops.append(OP_ID[op.strip()])
        edges += [(names.index(s), i) for s in sources.split()]
    graph = make(ops, edges)
    params = np.array([counts.get(name, 0) for name in names])
    return Graph(graph.op, graph.attrs, graph.shape, params, graph.macs, graph.scope, graph.edges)


def ops_of(graph):
    found = skeleton(graph, layers(graph))
    names = {number: name for name, number in OP_ID.items()}
    return [names[i] for i in found.op.tolist()], {tuple(edge) for edge in found.edges.tolist()}


SEPARATE = "n: layer_norm; q: linear <- n; k: linear <- n; v: linear <- n; a: attention <- q k v; o: linear <- a"
FUSED = "n: layer_norm; f: linear <- n; q: slice <- f; k: slice <- f; v: view <- f; a: attention <- q k v; o: linear <- a"
GATED = "n: layer_norm; g: linear <- n; u: linear <- n; s: silu <- g; m: mul <- s u; o: linear <- m"
GATED_FUSED = "n: layer_norm; f: linear <- n; g: slice <- f; u: slice <- f; s: silu <- g; m: mul <- s u; o: linear <- m"
NORMED = (
    "n: layer_norm; q: linear <- n; k: linear <- n; v: linear <- n; x: rms_norm <- q; y: rms_norm <- k; a: attention <- x y v"
)


@pytest.mark.parametrize(("ours", "theirs"), [(SEPARATE, FUSED), (GATED, GATED_FUSED)])
def test_fused_and_separate_projections_are_one_design(ours, theirs):
    assert ops_of(drawn(ours)) == ops_of(drawn(theirs))


def test_projections_that_are_normed_before_they_meet_are_joined():
    assert ops_of(drawn(NORMED))[0] == ["layer_norm", "linear", "rms_norm", "rms_norm", "attention"]


def test_branches_that_meet_later_stay_apart():
    branches = "c: max_pool; a: linear <- c; b: linear <- c; x: batch_norm <- a; y: batch_norm <- b; r: relu <- x; z: add <- r y"
    assert ops_of(drawn(branches))[0].count("linear") == 2


def test_the_order_of_siblings_does_not_matter():
    """A reaches x, x reaches y; B reaches y, y reaches z; C reaches z: all three are one, whoever is looked at first."""
    for order in ("abc", "acb", "bac", "bca", "cab", "cba"):
        siblings = "; ".join(f"{name}: linear <- n" for name in order)
        text = f"n: layer_norm; {siblings}; x: relu <- a; y: add <- x b; z: mul <- y c"
        assert ops_of(drawn(text))[0].count("linear") == 1


def test_means_and_slices_are_what_they_stand_for():
    assert ops_of(drawn("c: max_pool; a: mean <- c; b: mean <- a; l: linear <- b"))[0] == [
        "max_pool",
        "global_avg_pool",
        "linear",
    ]
    merged = "x: layer_norm; a: slice <- x; b: slice <- x; c: concat <- a b; l: linear <- c"
    assert ops_of(drawn(merged))[0] == ["layer_norm", "linear"]


def test_a_token_beside_others_is_kept_but_plain_forgets_it():
    graph = drawn("p: parameter; x: max_pool; c: concat <- p x; n: layer_norm <- c; s: mul <- n; l: linear <- s", s=8)
    whole = skeleton(graph, layers(graph))
    assert len(whole.nodes) == 5
    assert [int(i) for i in plain(whole).op] == [OP_ID["max_pool"], OP_ID["layer_norm"], OP_ID["linear"]]
    assert {tuple(e) for e in plain(whole).edges.tolist()} == {(0, 1), (1, 2)}


def chain(n, ops=("conv", "batch_norm", "relu")):
    return make([OP_ID[ops[i % len(ops)]] for i in range(n)], list(pairwise(range(n))))


def test_a_deeper_sister_is_nearer_than_another_design_and_farther_than_a_twin():
    strata = Strata()
    asked, other = strata.encode(chain(30)), chain(30, ("layer_norm", "linear", "gelu"))
    near, far, strange = strata.similarities(asked, [strata.encode(g) for g in (chain(33), chain(90), other)])
    assert 1 > near > far > strange


@pytest.mark.parametrize(
    "graph",
    [
        make([OP_ID["linear"]], []),
        make([OP_ID["unknown"]] * 3, [(0, 1), (1, 2)]),
        make([OP_ID["conv"], OP_ID["relu"], OP_ID["linear"], OP_ID["gelu"]], [(0, 1), (2, 3)]),
        make([OP_ID["input"]], []),
    ],
    ids=["one node", "unknown operators only", "disconnected", "an input only"],
)
def test_graphs_out_of_the_ordinary(graph):
    strata = Strata()
    vector = strata.encode(graph)
    alike = strata.similarities(vector, [vector, strata.encode(chain(12))])
    assert alike[0] == pytest.approx(1.0)
    assert alike[1] < 0.5
    assert np.isfinite(strata.dense([vector])).all()


def wide(middle):
    """One node, 100,000 that read it, one that reads them all."""
    n = 100_000
    edges = np.stack([np.zeros(n - 2, dtype=np.int64), np.arange(1, n - 1)], axis=1)
    last = np.stack([np.arange(1, n - 1), np.full(n - 2, n - 1)], axis=1)
    zeros, ops = np.zeros(n, dtype=np.int64), np.full(n, OP_ID[middle])
    ops[0], ops[-1] = OP_ID["relu"], OP_ID["add"]
    attrs, shape = np.zeros((n, len(ATTRIBUTES)), np.int32), np.ones((n, MAX_RANK), np.int64)
    return Graph(ops, attrs, shape, zeros, zeros, zeros, np.concatenate([edges, last]))


@pytest.mark.parametrize("middle", ["linear", "relu", "view"])
def test_a_hundred_thousand_side_by_side(middle):
    """Quadratic time would take hours here."""
    strata = Strata()
    vector = strata.encode(wide(middle))
    assert len(vector) <= HEADER.itemsize + 4 * MOST_FEATURES
    assert strata.similarities(vector, [vector])[0] == pytest.approx(1.0)


def test_a_large_graph_is_sampled_and_says_so():
    rng = np.random.default_rng(0)
    ops = rng.integers(0, max(OP_ID.values()), 3000).tolist()
    strata = Strata()
    vector = strata.encode(make(ops, list(pairwise(range(3000)))))
    assert len(vector) == HEADER.itemsize + 4 * MOST_FEATURES
    assert np.frombuffer(vector, HEADER, count=1)["sampled"][0] == 1


def test_bytes_that_cannot_be_compared_are_refused():
    strata = Strata()
    good = strata.encode(chain(6))
    older = b"\x01" + good[1:]
    assert strata.is_current(good)
    for bad, why in ((good[:-3], "damaged"), (b"", "damaged"), (older, "of another version")):
        assert not strata.is_current(bad)
        with pytest.raises(ConfigError, match=rf"strata: vector 2 of 2 is {why}.*netatlas build"):
            strata.similarities(good, [good, bad])
    untaught = Strata(learned=False)
    assert not untaught.is_current(good)
    with pytest.raises(ConfigError, match="of another version"):
        untaught.similarities(untaught.encode(chain(6)), [good])


def test_what_is_left_out_has_no_say():
    everything, less = Strata(learned=False), Strata(learned=False, without=[c for c in COMPONENTS if c != "costs"])
    ours, theirs = (less.encode(g) for g in (chain(30), chain(33)))
    assert less.similarities(ours, [theirs])[0] == pytest.approx(less.components(ours, [theirs])["costs"][0])
    assert everything.components(ours, [ours])["stages"][0] == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="'colour' is no component"):
        Strata(without=["colour"])


def test_inner_products_of_short_vectors_follow_similarity():
    strata = Strata()
    vectors = [
        strata.encode(chain(n, ops))
        for ops in (("conv", "relu"), ("conv", "batch_norm", "relu"), ("linear", "gelu"))
        for n in (6, 12, 40)
    ]
    dense = strata.dense(vectors)
    assert np.linalg.norm(dense, axis=1) == pytest.approx(np.ones(9))
    for i, vector in enumerate(vectors):
        exact, short = strata.similarities(vector, vectors), dense @ dense[i]
        assert set(np.argsort(-exact)[:3]) == set(np.argsort(-short)[:3])


def test_training_is_the_same_every_time_and_needs_families():
    graphs = [chain(n) for n in range(6, 12)] + [chain(n, ("linear", "gelu")) for n in range(6, 12)]
    made = []
    for _ in range(2):
        strata = Strata()
        strata.fit(graphs, ["a"] * 6 + ["b"] * 6, seed=0)
        made.append((strata.weights.fusion.tolist(), [strata.encode(g) for g in graphs]))
    assert made[0] == made[1]
    assert sum(made[0][0]) == pytest.approx(1.0)
    for groups in (["a"] * 12, [str(i) for i in range(12)]):
        with pytest.raises(ConfigError, match="at least two families"):
            Strata().fit(graphs, groups, seed=0)
