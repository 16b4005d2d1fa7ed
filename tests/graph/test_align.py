"""The alignment of two networks: planted edits are found, laws hold, bad input ends."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import EDITS, plant, words_of_edits
from small import chain, network

from netatlas.atlas import places
from netatlas.atlas.atlas import Atlas
from netatlas.errors import GraphError
from netatlas.graph import align as aligning
from netatlas.graph.align import align
from netatlas.graph.graph import Graph

starter = pytest.mark.skipif(places.starter_path() is None, reason="the starter atlas has not been built: run 'make atlas'")

NETWORKS = (
    "timm/resnet18", "timm/mobilenetv3_large_100", "timm/vit_tiny_patch16_224", "timm/convnext_atto", "torchvision/vgg11_bn",
    "transformers/bert",
)  # fmt: skip


@pytest.fixture(scope="module")
def atlas():
    with_starter = Atlas.open(None)
    yield with_starter
    with_starter.close()


def found_edits(a, b, alignment):
    changed = {i: {c.what for c in cs} for i, cs in alignment.changed.items()}
    return words_of_edits(a, b, alignment.only_a, alignment.only_b, changed)


def check_laws(found):
    """What holds for any two graphs."""
    ours, theirs = [i for i, _ in found.pairs], [j for _, j in found.pairs]
    assert sorted([*ours, *found.only_a]) == list(range(len(found.a)))
    assert sorted([*theirs, *found.only_b]) == list(range(len(found.b)))
    assert set(found.changed) <= set(found.changes) <= set(ours)
    assert 0 <= found.likeness <= 1
    assert found.is_same == (found.likeness == 1)


# ---------------------------------------------------------------- planted edits


@starter
@pytest.mark.parametrize("kind", EDITS)
def test_a_planted_edit_is_found_and_nothing_else(atlas, kind):
    right = wanted = told = 0
    for n, name in enumerate(NETWORKS):
        a = atlas.graph(name)
        planted, made = plant(a, [kind], np.random.default_rng(n))
        if not made:
            continue
        b = planted.built()
        want, got = words_of_edits(a, b, *planted.expected()), found_edits(a, b, align(a, b))
        right, wanted, told = right + sum((want & got).values()), wanted + sum(want.values()), told + sum(got.values())
    assert wanted, f"no network can take {kind}"
    assert (right / told, right / wanted) == (1.0, 1.0)


@starter
@pytest.mark.slow
def test_several_planted_edits_are_found_at_once(atlas):
    """Held-out seeds: precision and recall of changed, added and removed operators, over edits that may touch one another."""
    right = wanted = told = 0
    for name in NETWORKS:
        a = atlas.graph(name)
        for seed in range(1000, 1012):
            rng = np.random.default_rng(seed)
            planted, _ = plant(a, list(rng.choice(EDITS, size=3, replace=False)), rng)
            b = planted.built()
            want, got = words_of_edits(a, b, *planted.expected()), found_edits(a, b, align(a, b))
            right, wanted, told = right + sum((want & got).values()), wanted + sum(want.values()), told + sum(got.values())
    assert right / told >= 0.99
    assert right / wanted >= 0.98


def test_what_changed_is_told_by_name():
    before = network(
        ("input", [], (1, 8, 8, 8)), ("conv", None, (1, 16, 8, 8), {"kernel": 3, "params": 1152}, "a"), ("relu", None, (1, 16, 8, 8)),
        ("conv", None, (1, 16, 8, 8), {"kernel": 3, "params": 2304}, "b"), ("add", [3, 2], (1, 16, 8, 8)),
    )  # fmt: skip
    after = network(
        ("input", [], (1, 8, 8, 8)), ("conv", None, (1, 16, 8, 8), {"kernel": 5, "params": 3200}, "a"), ("silu", None, (1, 16, 8, 8)),
        ("conv", None, (1, 16, 8, 8), {"kernel": 3, "params": 2320}, "b"), ("add", [3, 2], (1, 16, 8, 8)),
    )  # fmt: skip
    found = align(before, after)
    assert found.counts() == Counter({("kernel", "3x3", "5x5"): 1, ("operator", "ReLU", "SiLU"): 1, ("bias", "no", "yes"): 1})
    assert found.pairs == tuple((i, i) for i in range(5))


def test_what_follows_from_a_change_is_no_change():
    def net(width):
        return network(
            ("input", [], (1, 8, 8, 8)), ("conv", None, (1, width, 8, 8), {"kernel": 3, "params": 72 * width}),
            ("batch_norm", None, (1, width, 8, 8), {"params": 2 * width}), ("relu", None, (1, width, 8, 8)),
            ("conv", None, (1, 8, 8, 8), {"kernel": 1, "params": 8 * width}),
        )  # fmt: skip

    found = align(net(16), net(24))
    assert found.counts() == Counter({("width", "16", "24"): 1})
    assert set(found.changes) == {1, 2, 3, 4}


def test_another_input_is_a_change_and_another_order_of_a_sum_is_none():
    def net(*producers):
        return network(("input", []), ("relu", [0]), ("gelu", [0]), ("sigmoid", [0]), ("add", producers), ("sub", (2, 3)))

    assert align(net(1, 2), net(2, 1)).is_same
    found = align(net(1, 2), net(1, 3))
    assert list(found.changed) == [4]
    assert [(c.what, c.before, c.after) for c in found.changed[4]] == [("inputs", "GELU", "Sigm")]
    swapped = network(*[("input", []), ("relu", [0]), ("gelu", [0]), ("sigmoid", [0]), ("add", (1, 2)), ("sub", (3, 2))])
    assert [(c.what, c.after) for c in align(net(1, 2), swapped).changed[5]] == [("inputs", "in another order")]


def test_axes_in_another_order_are_the_same_network_and_a_wider_one_is_not():
    def net(*shape):
        return network(("input", [], (1, 8, 4, 4)), ("mul", [0, 0], shape), ("relu", None, (1, 8, 4, 4)))

    found = align(net(1, 8, 4, 4), net(1, 4, 4, 8))
    assert found.is_same
    assert found.laid_out_otherwise == 1
    assert not align(net(1, 8, 4, 4), net(1, 8, 4, 5)).is_same


def test_branches_listed_in_another_order_find_each_other():
    a = network(("input", []), ("max_pool", [0]), ("linear", [0]), ("concat", (1, 2)))
    b = network(("input", []), ("linear", [0]), ("max_pool", [0]), ("concat", (2, 1)))
    found = align(a, b)
    assert not found.only_a
    assert not found.only_b
    assert dict(found.pairs) == {0: 0, 1: 2, 2: 1, 3: 3}
    assert found.is_same


def test_an_added_copy_is_a_whole_module():
    def net(copies):
        rows = [("input", [])]
        for n in range(copies):
            rows += [(op, None, (1, 8, 8, 8), {}, f"blocks.{n}.{op}") for op in ("conv", "batch_norm", "relu")]
            rows.append(("add", [len(rows) - 1, len(rows) - 4], (1, 8, 8, 8), {}, f"blocks.{n}"))
        return network(*rows)

    found = align(net(4), net(5))
    modules = {found.b.scopes[found.b.scope[j]].path.rpartition("blocks.")[2][0] for j in found.only_b}
    assert (len(found.only_b), len(modules)) == (4, 1)
    assert not found.changed


# ---------------------------------------------------------------- laws

CHAINS = st.lists(st.sampled_from(["conv", "relu", "silu", "batch_norm", "linear", "unknown", "add"]), max_size=14)


@given(CHAINS, CHAINS)
def test_laws(x, y):
    a, b = chain(*x), chain(*y)
    found, back = align(a, b), align(b, a)
    check_laws(found)
    assert found.is_same == (x == y)
    assert {(j, i) for i, j in back.pairs} == set(found.pairs)
    assert back.only_a == found.only_b
    assert Counter({(w, z, y): n for (w, y, z), n in back.counts().items()}) == found.counts()
    again = align(a, b)
    assert (again.pairs, again.changes) == (found.pairs, found.changes)


@given(CHAINS, st.integers(0, 2**16))
def test_a_network_is_itself(operators, seed):
    rng = np.random.default_rng(seed)
    rows = [("input", [])]
    for op in operators:
        rows.append((op, sorted({int(rng.integers(len(rows))) for _ in range(2 if op == "add" else 1)})))
    graph = network(*rows)
    found = align(
        graph, Graph(**{f: getattr(graph, f).copy() for f in ("op", "attrs", "shape", "params", "macs", "scope", "edges")})
    )
    assert found.is_same
    assert found.pairs == tuple((i, i) for i in range(len(graph)))


@settings(max_examples=20)
@given(CHAINS, CHAINS)
def test_bounded_alignment_keeps_the_laws_and_says_so(x, y):
    a, b = chain(*x), chain(*y)
    found = align(a, b, most_cells=1)
    check_laws(found)
    assert {(j, i) for i, j in align(b, a, most_cells=1).pairs} == set(found.pairs)
    different = min(len(a), len(b)) > 2 and x[1:] != y[1:] and x[:1] != y[:1] and x[-1:] != y[-1:]
    if different:
        assert "module by module" in found.notes[0]


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (network(), network()),
        (network(), chain("conv")),
        (chain(), chain()),
        (chain("linear"), chain("conv")),
        (chain("unknown", "unknown"), chain("unknown")),
        (network(("conv", []), ("relu", []), ("conv", [])), chain("conv", "relu")),
    ],
    ids=["both-empty", "one-empty", "one-node", "one-layer", "unknown-operators", "disconnected"],
)
def test_degenerate_graphs_align(a, b):
    check_laws(align(a, b))
    check_laws(align(b, a))


def test_giants_are_aligned_in_bounded_memory_and_colossi_refused(monkeypatch):
    rng = np.random.default_rng(0)
    kinds = ["conv", "relu", "linear", "gelu", "add", "unknown"]
    a, b = (chain(*rng.choice(kinds, n)) for n in (5200, 5400))
    found = align(a, b)
    check_laws(found)
    assert "module by module" in found.notes[0]
    monkeypatch.setattr(aligning, "MOST_OPERATORS", 100)
    with pytest.raises(GraphError, match=r"5,201 operators cannot be aligned, at most 100"):
        align(a, b)


# ---------------------------------------------------------------- without wiring


def layers(*rows):
    return network(*((op, [], (), {"params": params}, path) for op, params, path in rows))


def test_layers_of_a_file_pair_by_name_whatever_their_order():
    a = layers(("conv", 10, "b.conv"), ("batch_norm", 4, "b.bn1"), ("batch_norm", 4, "b.bn2"), ("conv", 30, "b.last"))
    b = layers(("batch_norm", 4, "b.bn2"), ("batch_norm", 4, "b.bn1"), ("conv", 30, "b.last"), ("conv", 12, "b.conv"))
    found = align(a, b)
    assert dict(found.pairs) == {0: 3, 1: 1, 2: 0, 3: 2}
    assert list(found.changed) == [0]


def test_layers_under_other_names_pair_by_content():
    a = layers(("conv", 10, "x.0"), ("batch_norm", 4, "x.1"), ("linear", 7, "x.2"))
    b = layers(("linear", 7, "head"), ("conv", 10, "stem"), ("batch_norm", 4, "norm"))
    assert align(a, b).is_same


def test_a_lone_layer_is_not_the_one_of_another_class():
    found = align(layers(("conv", 10, "x")), layers(("embedding", 10, "x")))
    assert (found.only_a, found.only_b) == ((0,), (0,))
