"""Recurring runs: the order they are read in, the search for many at once, mining on planted blocks, the table in the package."""

from __future__ import annotations

import itertools
import random

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netatlas.atlas import places
from netatlas.atlas.store import Store
from netatlas.graph.census import bounded_note, census, common_scope, mined_in
from netatlas.graph.census import places as places_of
from netatlas.graph.forms import LARGEST
from netatlas.graph.graph import MAX_RANK, Graph, Scope
from netatlas.graph.mined import mined
from netatlas.graph.mining import SHORTEST, mine, module_runs, named_like
from netatlas.graph.ops import ATTRIBUTES, OP_ID
from netatlas.graph.order import in_near_order
from netatlas.graph.runs import Trie, course_of, describe, from_text, to_text


def make(names, edges, scopes=None):
    """A graph of operators; scopes are ``(path, class)`` of every node."""
    g = len(names)
    table = list(dict.fromkeys(scopes or [("", "")]))
    edges = sorted(edges, key=lambda e: e[1])
    attrs = np.zeros((g, len(ATTRIBUTES)), dtype=np.int32)
    attrs[[n == "conv" for n in names], 1:3] = 3
    shape = np.ones((g, MAX_RANK), dtype=np.int64)
    zeros = np.zeros(g, dtype=np.int64)
    scope = np.array([table.index(s) for s in scopes] if scopes else zeros)
    return Graph(
        np.array([OP_ID[n] for n in names]),
        attrs,
        shape,
        zeros,
        zeros,
        scope,
        np.array(edges).reshape(-1, 2),
        tuple(Scope(*s) for s in table),
    )


def chain(names, scopes=None):
    return make(names, [(i, i + 1) for i in range(len(names) - 1)], scopes)


def shuffled(graph, rng):
    """The same graph with its nodes in a random topological order."""
    left, order, done = set(range(len(graph))), [], set()
    while left:
        ready = sorted(n for n in left if all(x in done for x in graph.inputs[n]))
        node = rng.choice(ready)
        order.append(node)
        done.add(node)
        left.remove(node)
    place = {node: i for i, node in enumerate(order)}
    edges = np.array(sorted(((place[a], place[b]) for a, b in graph.edges.tolist()), key=lambda e: e[1]))
    rows = np.array(order)
    return Graph(
        graph.op[rows],
        graph.attrs[rows],
        graph.shape[rows],
        graph.params[rows],
        graph.macs[rows],
        graph.scope[rows],
        edges,
        graph.scopes,
    )


@pytest.fixture(scope="module")
def stored():
    with Store.open(places.starter_path(), "r", immutable=True) as store:
        yield store


SAMPLE = [
    "timm/efficientnet_b0",
    "timm/resnet50",
    "timm/swin_tiny_patch4_window7_224",
    "torchvision/googlenet",
    "transformers/mixtral",
]


@pytest.mark.parametrize("entry_id", SAMPLE)
def test_mined_motifs_do_not_depend_on_the_order_of_nodes(entry_id, stored):
    graph = stored.graph(entry_id)
    counts = census(graph).mined
    assert counts
    for seed in range(2):
        assert census(shuffled(graph, random.Random(seed))).mined == counts


def test_equal_blocks_are_equal_runs_wherever_they_stand(stored):
    graph = stored.graph("transformers/llama")
    course = course_of(graph)
    runs = [course.run(a, b) for a, b, cls in module_runs(graph, course) if cls == "LlamaMLP"]
    assert len(runs) == 32
    assert len(set(runs)) == 1  # the two projections of the gate come in one order in every block


def test_a_cycle_is_refused():
    with pytest.raises(Exception, match="cyclic"):
        in_near_order(np.zeros(2, dtype=np.uint8), np.array([[0, 1], [1, 0]], dtype=np.int32))


@given(st.lists(st.sampled_from(["conv", "relu", "add", "concat", "linear", "batch_norm"]), min_size=1, max_size=14), st.data())
def test_the_search_for_many_runs_finds_what_comparing_every_place_finds(names, data):
    edges = [(data.draw(st.integers(0, i - 1)), i) for i in range(1, len(names)) for _ in range(data.draw(st.integers(0, 2)))]
    course = course_of(make(names, sorted(set(edges))))
    spans = [(a, b) for a in range(len(course)) for b in range(a + 1, min(a + 5, len(course)) + 1)]
    chosen = data.draw(st.lists(st.sampled_from(spans), max_size=6)) if spans else []
    runs = {to_text(course.run(a, b)): course.run(a, b) for a, b in chosen}
    naive = sorted((key, a, b) for key, steps in runs.items() for a, b in spans if course.run(a, b) == steps)
    assert sorted(Trie(runs).find(course)) == naive
    for key, found in Trie(runs).apart(course).items():
        assert all(left[1] <= right[0] for left, right in itertools.pairwise(found))
        assert len(found) >= 1
        assert from_text(key) == runs[key]


def test_descriptions_fold_repetitions_and_show_branches():
    assert describe(from_text("conv3:0 norm:1 act:1 conv3:1 norm:1 act:1 add:0,1")) == "(conv 3x3 → norm → act) × 2 → + input"
    assert describe(from_text("linear:0 act:1 linear:0 mul:1,2 linear:1")) == "linear → act | linear → mul → linear"
    assert describe(from_text("act:0")) == "act"


def planted(blocks, seed, tail=0):
    """A network of ``blocks`` modules of five operators between random others."""
    rng = random.Random(seed)
    names, edges, scopes = ["input", "conv"], [(0, 1)], [("", "Net"), ("", "Net")]
    for b in range(blocks):
        start = len(names) - 1
        for name in ("conv", "batch_norm", "gelu", "conv", "add"):
            names.append(name)
            scopes.append((f"blocks.{b}", "Planted"))
            edges.append((len(names) - 2, len(names) - 1))
        edges.append((start, len(names) - 1))
        names.append(rng.choice(["max_pool", "softmax", "concat"]))
        scopes.append(("", "Net"))
        edges.append((len(names) - 2, len(names) - 1))
    return make(
        names + ["linear"] * tail,
        edges + [(len(names) - 1 + i, len(names) + i) for i in range(tail)],
        scopes + [("", "Net")] * tail,
    )


def test_mining_finds_a_planted_block_with_its_counts():
    graphs = [planted(2 + i % 3, i, tail=i) for i in range(9)]
    families = [f"family{i % 3}" for i in range(9)]
    found = mine(iter(graphs), families, most=10)
    best = found[0]
    assert to_text(best.steps) == "conv3:0 norm:1 act:1 conv3:1 add:0,1"
    assert best.modules == {"Planted": sum(2 + i % 3 for i in range(9))}
    assert best.occurrences == sum(2 + i % 3 for i in range(9))
    assert len(best.architectures) == 9
    assert best.families == dict.fromkeys(set(families), 3)
    assert best.scoped == 1.0
    again = mine(iter(graphs), families, most=10)
    assert [f.steps for f in again] == [f.steps for f in found]


def test_what_one_family_has_alone_is_no_motif():
    assert mine((planted(3, i) for i in range(9)), ["one"] * 9) == []


def test_no_graph_no_motif():
    assert mine(iter(()), []) == []
    assert named_like([], lambda i: chain(["conv"])) == []


@pytest.mark.parametrize(
    "graph",
    [chain(["conv"]), make([], []), chain(["input"]), make(["conv", "conv", "relu"], []), chain(["view", "unknown", "view"])],
    ids=["one node", "no node", "an input", "disconnected", "nothing known"],
)
def test_small_and_broken_graphs_have_a_census(graph):
    found = census(graph)
    assert found.note == ""
    assert set(found.mined) == set(mined_in(graph)) == set()
    assert places_of(graph).keys() == found.counts.keys()


@st.composite
def anything(draw):
    """A graph of any operators with any attributes and shapes, most of which no network has."""
    g = draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    favoured = [
        "conv",
        "linear",
        "attention",
        "add",
        "mul",
        "concat",
        "layer_norm",
        "relu",
        "softmax",
        "topk",
        "gather",
        "matmul",
        "softplus",
        "exp",
    ]
    names = [rng.choice(favoured) if rng.random() < 0.7 else rng.choice(list(OP_ID)) for _ in range(g)]
    edges = sorted(((int(rng.integers(0, i)), i) for i in range(1, g) for _ in range(rng.integers(0, 4))), key=lambda e: e[1])
    attrs = rng.integers(0, 4, (g, len(ATTRIBUTES)))
    shape = rng.integers(0, 6, (g, MAX_RANK)) * (rng.random((g, 1)) < 0.8)  # some are single numbers
    numbers = [rng.integers(0, 3000, g) for _ in range(2)]
    return Graph(
        np.array([OP_ID[n] for n in names]), attrs, shape, *numbers, np.zeros(g, dtype=int), np.array(edges).reshape(-1, 2)
    )


@hypothesis.settings(max_examples=300)
@given(anything())
def test_no_graph_breaks_a_recogniser(graph):
    assert {name: len(found) for name, found in places_of(graph).items()} == census(graph).counts


def test_a_large_graph_is_looked_at_in_part_and_says_so():
    names = ["input", *["conv", "batch_norm", "relu"] * 33_333]
    graph = chain(names)
    found = census(graph)
    assert found.note == bounded_note(graph) == f"motifs were counted in the first {LARGEST:,} of 100,000 operators"
    one = next(key for key, motif in mined().items() if motif.text == "conv3:0 norm:1 act:1")
    assert found.mined[one] == (LARGEST - 1) // 3


class TestTable:
    """The table of mined motifs in the package."""

    def test_it_is_what_it_says(self):
        table = mined()
        assert len(table) >= 150
        assert len({motif.text for motif in table.values()}) == len(table)
        for key, motif in table.items():
            assert key.startswith("m")
            assert len(key) == 6
            assert len(motif.steps) >= SHORTEST
            assert to_text(motif.steps) == motif.text
            assert motif.families >= 2
            assert motif.architectures >= 6
            assert motif.description
            assert motif.examples

    def test_its_examples_have_it(self, stored):
        rng = random.Random(1)
        for motif in rng.sample(list(mined().values()), 20):
            assert motif.id in mined_in(stored.graph(motif.examples[0])), motif

    def test_it_knows_the_blocks_of_the_field(self):
        by_module = {cls: motif for motif in reversed(mined().values()) for cls in motif.modules}
        assert by_module["Bottleneck"].name == "bottleneck"
        assert by_module["InvertedResidual"].name == "inverted_residual"
        assert by_module["SqueezeExcite"].name == "squeeze_excite"
        assert by_module["LlamaDecoderLayer"].name == "prenorm_block"
        assert {"swiglu", "convnext_block", "basic_block", "feed_forward", "postnorm_block"} <= {
            motif.name for motif in mined().values()
        }

    def test_a_network_has_what_its_paper_repeats(self, stored):
        counts = census(stored.graph("timm/resnet50")).mined
        bottleneck = next(m for m in mined().values() if m.name == "bottleneck" and "Bottleneck" in m.modules)
        assert counts[bottleneck.id] == 12  # 16 less the four with a projection


def test_the_common_scope_of_nodes():
    graph = chain(["conv", "relu", "conv"], [("a.b.c", "X"), ("a.b.d", "Y"), ("a.b.c", "X")])
    assert common_scope(graph, [0, 1]) == "a.b"
    assert common_scope(graph, [0, 2]) == "a.b.c"
    assert common_scope(graph, [1]) == "a.b.d"
