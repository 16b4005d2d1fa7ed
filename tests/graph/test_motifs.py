"""Motifs: the published counts, the splitter's fixed cases, laws of every cut, Re-Pair against a slow oracle."""

from __future__ import annotations

import itertools
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netatlas.errors import ConfigError, GraphError
from netatlas.graph._repair import repair
from netatlas.graph.motifs import CUTS, Contexts, macro_graph, motifs, node_types, split_runs, subgraph_nodes
from netatlas.graph.order import Wiring, in_order


def wiring(label, edges):
    return Wiring(
        np.array(label, dtype=np.uint8), np.array(edges, dtype=np.int32).reshape(-1, 2), np.arange(len(label), dtype=np.int64)
    )


def by_appearance(edges, op=lambda name: 0):
    """Nodes numbered by first appearance in an edge list, as the authors do."""
    number = {}
    for name in (name for edge in edges for name in edge):
        number.setdefault(name, len(number))
    return wiring([op(name) for name in number], [(number[a], number[b]) for a, b in edges])


# The cell of the authors' test, as sources of its eight operators: 0 and 1 are the two inputs, 2.. the sums before.
NORMAL = ((1, 0), (2, 1), (0, 3), (1, 4))
REDUCTION = ((1, 0), (1, 2), (3, 2), (0, 1))


def cell_edges(cell):
    """Edges of one cell in row order of its adjacency: inputs, then per step two operators and their sum, then the output."""
    place = {0: 0, 1: 1} | {2 + step: 4 + 3 * step for step in range(4)}
    edges = []
    for step, sources in enumerate(cell):
        ops = (2 + 3 * step, 3 + 3 * step)
        edges += [(place[s], op) for s, op in zip(sources, ops, strict=True)]
        edges += [(op, 4 + 3 * step) for op in ops] + [(4 + 3 * step, 14)]
    return sorted(edges)


def darts(layers=20, normal=NORMAL, reduction=REDUCTION):
    edges = [("input", "conv"), ("conv", "norm")]
    out = ["norm", "norm"]
    for layer in range(layers):
        cell = reduction if layer in (layers // 3, 2 * layers // 3) else normal
        names = {0: out[-2], 1: out[-1]} | {i: (layer, i) for i in range(2, 15)}
        edges += [(names[a], names[b]) for a, b in cell_edges(cell)]
        out.append((layer, 14))
    return [*edges, (out[-1], "pool"), ("pool", "linear")]


def counts(graph, **options):
    cut = motifs(graph, **options)
    lengths = Counter(len(m.nodes) for m in cut)
    return (
        len(graph.edges), len(graph.label), int(node_types(graph).max()) + 1, len(cut), len({m.types for m in cut}),
        len(macro_graph(graph, cut)), dict(sorted(lengths.items())),
    )  # fmt: skip


def test_the_published_darts_network():
    assert counts(by_appearance(darts())) == (404, 265, 25, 64, 11, 88, {1: 2, 2: 24, 3: 17, 6: 2, 8: 19})


def autograd_edges(output):
    """The autograd graph as the authors list it: what leads to a function before the function, parameters as leaves."""
    edges, seen, keep = [], set(), []

    def walk(function):
        if function in seen:
            return
        seen.add(function)
        keep.append(function)  # an id is unique only while its object lives
        name = f"{type(function).__name__}-{id(function)}"
        if hasattr(function, "variable"):
            edges.append((f"leaf-{id(function.variable)}", name))
        for before, _ in function.next_functions:
            if before is not None:
                walk(before)
                edges.append((f"{type(before).__name__}-{id(before)}", name))

    walk(output.grad_fn)
    return edges


def cleaned(edges):
    for useless in ("AccumulateGrad", "TBackward"):
        after = []
        for a, b in edges:
            if useless not in a and useless not in b:
                after.append((a, b))
            if useless in b:
                after += [(a, q) for p, q in edges if p == b]
        edges = after
    produced = {b for _, b in edges}
    return [(a, b) for a, b in edges if a in produced]


def test_the_published_mobilenet():
    torchvision = pytest.importorskip("torchvision", reason="needs the extra 'zoo'")
    import torch

    model = torchvision.models.mobilenet_v3_small(weights=None).train()
    edges = autograd_edges(model(torch.zeros(2, 3, 224, 224, requires_grad=True)))
    assert (len(edges), len({name for edge in edges for name in edge})) == (459, 445)
    assert counts(by_appearance(cleaned(edges)))[:6] == (171, 157, 5, 14, 7, 15)


@pytest.mark.parametrize(
    ("seq", "runs"),
    [
        ([0, 1, 0, 1, 2, 0, 1, 0, 1], [[0, 1, 0, 1], [2], [0, 1, 0, 1]]),
        ([0, 1, 2] * 4, [[0, 1, 2] * 4]),
        ([0, 0, 1, 1] * 3, [[0, 0, 1, 1] * 3]),
        (range(6), [[0, 1, 2, 3, 4, 5]]),
        ([7, 7], [[7, 7]]),
        ([7], [[7]]),
        ([], []),
    ],
)
def test_splitter(seq, runs):
    assert split_runs(seq) == runs


@given(seq=st.lists(st.integers(0, 4), max_size=60))
def test_splitter_keeps_the_sequence(seq):
    runs = split_runs(seq)
    assert [t for run in runs for t in run] == seq
    assert all(runs)


def residual(k):
    """Stem (conv, norm, act), k residual blocks, pool, linear: n = 7k + 5."""
    conv, norm, act, add, pool, linear = range(6)
    label, edges = [conv, norm, act], [(0, 1), (1, 2)]
    for _ in range(k):
        start = len(label)
        label += [conv, norm, act, conv, norm, add, act]
        edges += [(i - 1, i) for i in range(start, start + 7)] + [(start - 1, start + 5)]
    edges += [(len(label) - 1, len(label)), (len(label), len(label) + 1)]
    return wiring([*label, pool, linear], sorted(edges, key=lambda e: (e[1], e[0])))


@pytest.mark.parametrize("k", range(2, 11))
def test_offsets_alone_swallow_residual_blocks(k):
    """The paper's keys give two motifs for every depth; with operators the motifs grow with it."""
    graph = residual(k)
    assert len(graph) == 7 * k + 5
    assert len(motifs(graph)) == 2
    lengths = Counter(len(m.nodes) for m in motifs(graph, use_ops=True))
    assert lengths == Counter({6: k - 1, 1: k}) + Counter({7: 1, 4: 1})


@st.composite
def graphs(draw, most=20):
    g = draw(st.integers(1, most))
    label = draw(st.lists(st.integers(0, 3), min_size=g, max_size=g))
    edges = [(a, b) for b in range(g) for a in range(max(0, b - 4), b) if draw(st.booleans())]
    return wiring(label, edges)


@given(graph=graphs(), cut=st.sampled_from(CUTS), rounds=st.integers(1, 3), use_ops=st.booleans())
def test_laws_of_every_cut(graph, cut, rounds, use_ops):
    cut = motifs(graph, cut, rounds=rounds, use_ops=use_ops, size=3, count=4)
    assert np.concatenate([m.nodes for m in cut]).tolist() == list(range(len(graph)))
    contexts = Contexts(graph)
    edges = graph.edges.tolist()
    for m in cut:
        run = set(m.nodes.tolist())
        assert m.edges.tolist() == [i for i, (a, b) in enumerate(edges) if a in run or b in run]
        nodes = run | {x for i in m.edges for x in edges[i]}
        assert subgraph_nodes(graph.edges, m).tolist() == sorted(nodes)
        assert contexts.around(m).tolist() == [i for i, (a, b) in enumerate(edges) if a in nodes or b in nodes]
    shared = [(i, j) for j in range(len(cut)) for i in range(j) if set(cut[i].edges) & set(cut[j].edges)]
    assert sorted(map(tuple, macro_graph(graph, cut).tolist())) == sorted(shared)


@given(graph=graphs(), use_ops=st.booleans())
def test_types(graph, use_ops):
    """Against the definition; more rounds only split types, and the order of edges in the list does not matter."""
    edges = graph.edges.tolist()
    keys = [
        (tuple(sorted((b - a for a, b in edges if b == i), reverse=True)), int(graph.label[i]) if use_ops else 0)
        for i in range(len(graph))
    ]
    first = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    coarse = node_types(graph, use_ops=use_ops).tolist()
    assert coarse == [first[key] for key in keys]
    fine = node_types(graph, rounds=2, use_ops=use_ops).tolist()
    assert len(set(zip(fine, coarse, strict=True))) == len(set(fine))
    shuffled = wiring(graph.label, [edges[i] for i in np.random.default_rng(0).permutation(len(edges))])
    assert node_types(shuffled, use_ops=use_ops).tolist() == coarse


def slow_repair(seq, longest):
    symbols, length, newest = list(seq), dict.fromkeys(seq, 1), max(seq, default=0)
    while True:
        found = {}
        for pair in set(itertools.pairwise(symbols)):
            i = count = 0
            while i < len(symbols) - 1:
                hit = (symbols[i], symbols[i + 1]) == pair
                i, count = i + 1 + hit, count + hit
            if count >= 2 and length[pair[0]] + length[pair[1]] <= longest:
                found[pair] = count
        if not found:
            return [length[s] for s in symbols]
        best = min(found, key=lambda pair: (-found[pair], pair))
        newest += 1
        length[newest] = length[best[0]] + length[best[1]]
        i, joined = 0, []
        while i < len(symbols):
            hit = i < len(symbols) - 1 and (symbols[i], symbols[i + 1]) == best
            joined.append(newest if hit else symbols[i])
            i += 1 + hit
        symbols = joined


@given(seq=st.lists(st.integers(0, 3), max_size=50), longest=st.sampled_from([2, 5, 16]))
def test_repair_equals_the_slow_one(seq, longest):
    assert repair(seq, longest) == slow_repair(seq, longest)


def test_repair_finds_the_block():
    assert repair([9, *[0, 1, 2, 3, 4] * 6, 8], longest=5) == [1, 5, 5, 5, 5, 5, 5, 1]


def test_large_graphs_stay_cheap():
    """100,000 nodes: seconds, where comparing motifs pairwise would take hours."""
    graph = residual(14_285)
    began = time.process_time()
    for cut in CUTS:
        macro_graph(graph, motifs(graph, cut, use_ops=True, rounds=2))
    assert time.process_time() - began < 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cut": "frequnt"}, r"no cut named 'frequnt' \(there are: .*\): did you mean 'frequent'"),
        ({"rounds": 0}, "rounds must be 1 or more, got 0"),
        ({"cut": "nodes", "size": 0}, "size and count must be 1 or more, got 0 and 22"),
    ],
)
def test_misuse_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        motifs(residual(2), **options)


def test_graphs_without_edges_and_without_nodes():
    assert [m.nodes.tolist() for m in motifs(wiring([1], []))] == [[0]]
    for cut in CUTS:
        assert motifs(wiring([], []), cut) == []
    assert macro_graph(wiring([], []), []).shape == (0, 2)


@given(graph=graphs(12), seed=st.integers(0, 2**16))
def test_the_order_is_decided_by_structure(graph, seed):
    rng = np.random.default_rng(seed)
    moved = rng.permutation(len(graph))  # in_order asks for no topological order
    label = np.empty_like(graph.label)
    label[moved] = graph.label
    a, b = in_order(graph.label, graph.edges), in_order(label, moved[graph.edges].reshape(-1, 2).astype(np.int32))
    assert a.label.tolist() == b.label.tolist()
    assert a.edges.tolist() == b.edges.tolist()
    assert (a.edges[:, 0] < a.edges[:, 1]).all()
    assert a.label.tolist() == graph.label[a.node].tolist()
    there = {(int(a.node[x]), int(a.node[y])) for x, y in a.edges.tolist()}
    assert there == set(map(tuple, graph.edges.tolist()))


def test_order_keeps_branches_together_and_refuses_cycles():
    conv, add = 0, 1  # two branches of three nodes: no order that hops between them
    fork = in_order(
        np.array([conv] * 7 + [add], dtype=np.uint8), np.array([(0, 1), (0, 4), (1, 2), (4, 5), (2, 3), (5, 6), (3, 7), (6, 7)])
    )
    assert fork.node.tolist() in ([0, 1, 2, 3, 4, 5, 6, 7], [0, 4, 5, 6, 1, 2, 3, 7])
    with pytest.raises(GraphError, match="graph is cyclic: 2 of 3 nodes"):
        in_order(np.zeros(3, dtype=np.uint8), np.array([(0, 1), (1, 2), (2, 1)]))
