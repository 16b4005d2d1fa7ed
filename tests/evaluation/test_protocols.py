"""Protocols: nothing that is asked for was learned from, no label can be read off a graph, distractors are what they claim."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from small_atlas import SmallAtlas

from netatlas.encoders.base import ENCODERS
from netatlas.errors import ConfigError
from netatlas.evaluation.nar.collections import ONE_DESIGN, TWINS, family_of, genotypes, library
from netatlas.evaluation.nar.measure import OPPONENT, build
from netatlas.evaluation.nar.protocols import find_protocol, make_task, protocols, score, similarities, task, thin
from netatlas.graph.coarse import coarse, coarse_hash
from netatlas.graph.graph import Scope
from netatlas.registry import Spec

ATLAS = SmallAtlas()
EVERY = [(p.name, split) for p in protocols().values() for split in range(p.splits)]


def drawn(name, split=0):
    return task(name, split, ATLAS, limit=60)


@pytest.mark.parametrize("name", ["P1", "P2", "P3", "P5"])
def test_the_protocols_of_the_sheet_are_there(name):
    assert find_protocol(name.lower()).name == name
    assert find_protocol("P2").splits == 3


@pytest.mark.parametrize(("name", "split"), [pair for pair in EVERY if pair[0] in ("P1", "P2", "P3", "P5")])
def test_laws_of_every_task(name, split):
    found = drawn(name, split)
    assert found.queries
    assert sum(found.weights) == pytest.approx(1)
    assert len(found.queries) == len(found.gallery) == len(found.relevant) == len(found.weights)
    for q, others, wanted in zip(found.queries, found.gallery, found.relevant, strict=True):
        assert q not in others
        assert wanted
        assert wanted <= set(others)
        assert len(set(others)) == len(others)
    ids = [item.id for item in found.items]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", ["P1", "P2", "P3", "P5"])
def test_no_label_can_be_read_off_a_graph(name):
    found = drawn(name)
    for item in (*found.training, *found.items):
        assert item.graph.scopes == (Scope("", ""),)
        assert not item.graph.scope.any()
        assert not item.graph.unknown
    assert any("Secret" in repr(ATLAS.graph(i).scopes) for i in ATLAS.with_graphs())  # there was something to take out


@pytest.mark.parametrize("split", range(3))
def test_p2_learns_from_no_family_that_is_asked_for(split):
    found = drawn("P2", split)
    learned, asked = {i.family for i in found.training}, {i.family for i in found.items}
    assert not learned & asked
    assert len(learned | asked) == len({i.family for i in library(ATLAS, "timm")})
    assert not {i.id for i in found.training} & {i.id for i in found.items}
    for q, wanted in zip(found.queries, found.relevant, strict=True):
        assert wanted == {i for i, item in enumerate(found.items) if item.family == found.items[q].family and i != q}


def test_p2_draws_different_splits_and_the_same_one_twice():
    families = [frozenset(i.family for i in drawn("P2", split).training) for split in range(3)]
    assert len(set(families)) > 1
    assert [i.id for i in drawn("P2", 1).items] == [i.id for i in drawn("P2", 1).items]


def test_p3_asks_across_libraries_both_ways_with_equal_weight():
    found = drawn("P3")
    for q, others, wanted in zip(found.queries, found.gallery, found.relevant, strict=True):
        asks = found.items[q].id.partition("/")[0]
        assert all(found.items[i].id.partition("/")[0] != asks for i in others)
        assert all(found.items[i].designs & found.items[q].designs for i in wanted)
    share = Counter()
    for q, weight in zip(found.queries, found.weights, strict=True):
        share[found.items[q].id.partition("/")[0]] += weight
    assert share == {"timm": pytest.approx(0.5), "transformers": pytest.approx(0.5)}
    asked = {design for q in found.queries for design in found.items[q].designs}
    assert asked == {"resnet", "vit"}
    assert not any(item.designs & (asked | TWINS) for item in found.training)
    assert not any(item.id == "transformers/bert" for item in found.items)


def test_p1_knows_the_families_but_not_the_queries():
    found = drawn("P1")
    asked = {found.items[q].id for q in found.queries}
    assert not asked & {i.id for i in found.training}
    assert len({found.items[q].family for q in found.queries} & {i.family for i in found.training}) > 4


def test_duplicates_are_one_item():
    ids = [item.id for item in library(ATLAS, "timm")]
    assert "timm/chain_2" in ids
    assert "timm/chain_2_again" not in ids
    assert len({coarse_hash(item.graph) for item in library(ATLAS, "timm")}) == len(ids)


def test_labels_come_from_module_and_name():
    assert family_of("timm/tf_efficientnet_b0", "timm.models.efficientnet") == "efficientnet:efficientnet"
    assert family_of("timm/vit_base_patch16_224", "timm.models.vision_transformer") == "vision_transformer:vit"
    assert set(ONE_DESIGN) <= TWINS


def test_p5_distractors_have_the_same_operations_at_every_depth():
    found = drawn("P5")
    by_id = {item.id: item for item in found.items}
    seen = 0
    for item_id, item in by_id.items():
        number, depth = item_id.split("/")[1].partition(".")[0], item_id.rpartition("/")[2]
        original = by_id[f"darts/{number}.0/{depth}"]
        assert Counter(item.graph.names) == Counter(original.graph.names)
        assert Counter(coarse(item.graph).names) == Counter(coarse(original.graph).names)
        if item is not original:
            seen += 1
            assert coarse_hash(item.graph) != coarse_hash(original.graph)
    assert seen == 2 * len(by_id) // 3
    for q, wanted in zip(found.queries, found.relevant, strict=True):
        assert {found.items[i].id.rpartition("/")[0] for i in wanted} == {found.items[q].id.rpartition("/")[0]}
        assert len(wanted) == 2
    learned = {coarse_hash(i.graph) for i in found.training}
    assert not learned & {coarse_hash(i.graph) for i in found.items}


def test_p5_blinds_histograms_and_not_wl():
    found = drawn("P5")
    blind, sees = (
        np.dot(score(found, similarities(found, build(Spec("wl", {**OPPONENT.params, "rounds": r})), 0))["map@20"], found.weights)
        for r in (0, 1)
    )
    assert blind < 0.3
    assert sees > 0.97


def test_rewired_copies_are_all_different():
    items = genotypes(5, 4, np.random.default_rng(0), depths=(4,))
    assert len(items) == 25
    assert len({coarse_hash(item.graph) for item in items if item.family.startswith("0.")}) == 5
    with pytest.raises(ConfigError, match="no 2 different rewirings .* at 2 layers"):  # both layers are reduction cells
        genotypes(1, 2, np.random.default_rng(0), depths=(2,))


class Chance:
    """Vectors that know nothing."""

    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)

    def encode(self, graph):
        return self._rng.normal(size=16).astype("<f4").tobytes()

    def similarities(self, query, vectors):
        q = np.frombuffer(query, dtype="<f4")
        return np.array([q @ np.frombuffer(v, dtype="<f4") for v in vectors], dtype=np.float64)


def test_random_vectors_score_as_shuffled_rankings():
    """Invariant 9: at the level of permutations, on every protocol's own gallery sizes."""
    found = drawn("P2")
    vectors = np.mean([np.mean(score(found, similarities(found, Chance(s), 0))["map@20"]) for s in range(60)])
    rng = np.random.default_rng(0)
    shuffled = np.mean([np.mean(score(found, [rng.random(len(o)) for o in found.gallery])["map@20"]) for _ in range(60)])
    assert vectors == pytest.approx(shuffled, rel=0.1)


def test_queries_without_anything_to_find_are_counted():
    items = library(ATLAS, "timm")[:7]  # five of one family and two of the next
    lone = make_task("X/0", (), [*items[:5], items[5]], range(6), lambda a, b: a.family == b.family)
    assert (len(lone.queries), lone.skipped) == (5, 1)


def test_thin_keeps_whole_families():
    items = library(ATLAS, "timm")
    few = thin(items, 20)
    assert len(few) <= 20
    assert all(n > 1 for n in Counter(i.family for i in few).values())
    assert thin(items, None) == items


def test_a_trained_encoder_sees_training_graphs_and_families_alone(monkeypatch):
    given = {}
    real = ENCODERS.build("gnn")

    class Spy(type(real)):
        def __init__(self):
            pass

        def fit(self, graphs, groups, *, seed):
            given.update(graphs=list(graphs), groups=list(groups), seed=seed)

        def encode(self, graph):
            return real.encode(graph)

        def similarities(self, query, vectors):
            return real.similarities(query, vectors)

    found = drawn("P2", 1)
    similarities(found, Spy(), 7)
    assert given["seed"] == 7
    assert given["groups"] == [i.family for i in found.training]
    asked = {id(i.graph) for i in found.items}
    assert not any(id(g) in asked for g in given["graphs"])


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [("P22", 0, "no protocol 'P22' .*did you mean 'P2'"), ("P2", 3, "P2 has splits 0 to 2, got 3"), ("P2", -1, "got -1")],
)
def test_misuse_is_named(name, split, message):
    with pytest.raises(ConfigError, match=message):
        task(name, split, ATLAS)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "split"), [("P2", 0), ("P2", 1), ("P2", 2), ("P3", 0)])
def test_on_the_starter_atlas_no_family_of_training_is_asked_for(name, split):
    from netatlas.atlas.atlas import Atlas

    found = task(name, split, Atlas.open(None))
    asked = [found.items[q] for q in found.queries]
    assert len(asked) > 150
    if name == "P2":
        assert not {i.family for i in found.training} & {i.family for i in found.items}
    else:  # an item has the designs of its duplicates too; what counts are those by which something is found
        shared = [
            found.items[q].designs & found.items[i].designs
            for q, wanted in zip(found.queries, found.relevant, strict=True)
            for i in wanted
        ]
        assert not {design for i in found.training for design in i.designs} & frozenset().union(*shared)
    assert not {coarse_hash(i.graph) for i in found.training} & {coarse_hash(i.graph) for i in asked}
