"""Twins under edits, and groups of one block at several depths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netatlas.atlas.atlas import Atlas
from netatlas.encoders.base import ENCODERS
from netatlas.evaluation.nar import depth, twins
from netatlas.evaluation.nar.collections import Item, family_of
from netatlas.evaluation.nar.protocols import Task, find_protocol, make_task, similarities, task
from netatlas.graph.canonical import content_hash
from netatlas.graph.costs import depth as layers_deep
from netatlas.graph.mutate import mutate

SOME = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet50d", "vgg11", "vgg16", "vgg11_bn", "densenet121", "densenet169",
    "convnext_tiny", "convnext_small", "mobilenetv3_small_100", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224",
)  # fmt: skip


@pytest.fixture(scope="module")
def atlas():
    return Atlas.open(None)


@pytest.fixture(scope="module")
def items(atlas):
    facts = atlas.facts([f"timm/{name}" for name in SOME])
    return [Item(i, atlas.graph(i), family_of(i, str(f["module"])), frozenset({str(f["family"])})) for i, f in facts.items()]


def _task(items, origins=3, edits=4):
    rng = np.random.default_rng(0)
    chains = [twin for origin in items[:origins] for twin in twins.twins_of(origin, rng, edits)]
    every = [*items, *chains]
    return make_task(
        "twins/test", [], every, range(len(items), len(every)), lambda a, b: b.id == twins.origin_of(a)[0],
        among=lambda a, b: not b.id.startswith("twin/"),
    )  # fmt: skip


def test_twins_are_nested_chains_of_edits(items):
    chain = twins.twins_of(items[0], np.random.default_rng(5), 4)
    assert [twins.origin_of(twin) for twin in chain] == [(items[0].id, k) for k in range(1, 5)]
    for k, twin in enumerate(chain, start=1):
        assert content_hash(twin.graph) == content_hash(mutate(items[0].graph, k, np.random.default_rng(5)))


def test_a_perfect_encoder_gets_perfect_figures(items):
    found = _task(items)
    assert all(not found.items[i].id.startswith("twin/") for row in found.gallery for i in row)
    alike = []
    for q, others in zip(found.queries, found.gallery, strict=True):
        origin, edits = twins.origin_of(found.items[q])
        alike.append(np.array([1.0 - 0.01 * edits if found.items[i].id == origin else 0.2 for i in others]))
    figures = twins.further(found, alike)
    assert figures["R@1 1 edits"] == figures["R@1 3 edits"] == figures["R@1 1-3 edits"] == 1.0
    assert figures["spearman"] == pytest.approx(1.0)
    assert figures["spearman low"] == pytest.approx(1.0)


def test_ties_and_wrong_orders_cost(items):
    found = _task(items)
    blind = twins.further(found, [np.ones(len(others)) for others in found.gallery])
    names = sorted(item.id for item in items)
    asked = [twins.origin_of(found.items[q])[0] for q in found.queries]
    assert blind["R@1 1-3 edits"] == pytest.approx(np.mean([name == names[0] for name in asked]))
    assert blind["spearman"] == 0.0
    backwards = []
    for q, others in zip(found.queries, found.gallery, strict=True):
        backwards.append(np.full(len(others), 0.1 * twins.origin_of(found.items[q])[1]))
    assert twins.further(found, backwards)["spearman"] == pytest.approx(-1.0)


def test_wl_finds_few_edits_and_distance_grows(items):
    found = _task(items, origins=len(items), edits=3)
    figures = twins.further(found, similarities(found, ENCODERS.build("wl"), 0))
    assert figures["R@10 1-3 edits"] == 1.0
    assert figures["spearman"] > 0.6


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=20))
def test_rank_correlation_is_scipys(pairs):
    stats = pytest.importorskip("scipy.stats")
    a, b = ([float(x) for x in side] for side in zip(*pairs, strict=True))
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert twins.spearman(a, b) == 0.0
    else:
        assert twins.spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_groups_are_depths_of_one_block(atlas, items):
    modules = {item.id: str(atlas.facts([item.id])[item.id]["module"]) for item in items}
    found = [[item.id.removeprefix("timm/") for _, item in members] for members in depth.groups(items, modules)]
    assert sorted(found) == sorted(
        [["resnet34", "resnet18"], ["resnet101", "resnet50"], ["vgg16", "vgg11"], ["densenet169", "densenet121"],
         ["convnext_small", "convnext_tiny"]]
    )  # fmt: skip


@pytest.mark.slow
def test_depth_task_of_the_whole_atlas_is_sane(atlas):
    found: Task = task("P4", 0, atlas)
    assert len(found.queries) >= 100
    assert found.skipped == 0
    asked = {found.items[q].family for q in found.queries}
    assert not asked & {item.family for item in found.training}
    for q, others, wanted in zip(found.queries, found.gallery, found.relevant, strict=True):
        own = layers_deep(found.items[q].graph)
        assert all(layers_deep(found.items[i].graph) < own for i in wanted)
        assert q not in others
    names = {
        found.items[q].id: {found.items[i].id for i in wanted} for q, wanted in zip(found.queries, found.relevant, strict=True)
    }
    assert names["timm/resnet34"] == {"timm/resnet18"}
    assert "timm/resnet50" in names["timm/resnet200"]


@pytest.mark.slow
def test_twins_task_of_a_thinned_atlas_is_sane(atlas):
    found = task("twins", 0, atlas, limit=60)
    again = task("twins", 0, atlas, limit=60)
    assert [i.id for i in found.items] == [i.id for i in again.items]
    assert [content_hash(found.items[q].graph) for q in found.queries] == [
        content_hash(again.items[q].graph) for q in again.queries
    ]
    assert len(found.queries) == 10 * len({twins.origin_of(found.items[q])[0] for q in found.queries})
    assert all(len(wanted) == 1 for wanted in found.relevant)
    asked = {found.items[q].family for q in found.queries}
    assert not asked & {item.family for item in found.training}
    assert find_protocol("TWINS").further is twins.further
