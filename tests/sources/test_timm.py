"""The timm source: architectures with counted costs, models with published results."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
timm = pytest.importorskip("timm", reason="needs the extra 'zoo'")

from netatlas.errors import SourceError
from netatlas.sources import _timm_results as results
from netatlas.sources.timm import TimmSource


@pytest.fixture(scope="module")
def efficientnet():
    return TimmSource().read("efficientnet_b0")


def test_every_architecture_of_timm_is_listed():
    assert TimmSource().names() == sorted(timm.list_models())


def test_an_architecture_has_counted_facts_with_their_origin(efficientnet):
    facts, origins = efficientnet[0].facts, efficientnet[0].origins
    assert (facts["params"], facts["macs"], facts["flops"]) == (5288548, 385814752, 2 * 385814752)
    assert (facts["input"], facts["input_size"], facts["outputs"], facts["dim"]) == ("1x3x224x224", 224, 1000, 1280)
    assert facts["family"] == "efficientnet"
    assert facts["task"] == ("image-classification",)
    assert origins["macs"] == "counted on the operator graph (export)"
    assert set(origins) >= set(facts) - {"source", "version", "traced_by"}


def test_models_follow_their_architecture(efficientnet):
    models = {m.id: m for m in efficientnet[1:]}
    assert "timm/efficientnet_b0.ra_in1k" in models
    facts = models["timm/efficientnet_b0.ra_in1k"].facts
    assert facts["top1"] == results.accuracy()["efficientnet_b0.ra_in1k"][facts["input_size"]]["top1"]
    assert facts["architecture"] == "timm/efficientnet_b0"
    assert facts["license"] == "apache-2.0"
    assert all(m.kind == "model" and m.graph is None for m in models.values())
    assert efficientnet[0].facts["models"] == len(models)


def test_accuracy_of_an_architecture_is_the_best_at_the_traced_size(efficientnet):
    rows = {m.title: results.accuracy().get(m.title, {}) for m in efficientnet[1:]}
    best = max(row[224]["top1"] for row in rows.values() if 224 in row)
    assert efficientnet[0].facts["top1"] == best
    assert "at 224 px" in efficientnet[0].origins["top1"]


def test_measured_facts_are_backed_by_evidence(efficientnet):
    for entry in efficientnet:
        backed = {e.fact for e in entry.evidence}
        measured = {name for name in (*results.ACCURACY, "cpu_ms", "gpu_throughput") if name in entry.facts}
        assert measured == backed


def test_costs_at_another_size_are_the_published_ones_or_unknown():
    entries = TimmSource().read("resnet18")
    for model in entries[1:]:
        if model.facts["input_size"] != entries[0].facts["input_size"]:
            assert "activations" not in model.facts
            if "macs" in model.facts:
                assert "rounded to 0.01 GMACs" in model.origins["macs"]


def test_unknown_name():
    with pytest.raises(SourceError, match=r"timm/resnet5O: cannot be built"):
        TimmSource().specimen("resnet5O")


def test_published_tables_are_complete():
    assert len(results.accuracy()) > 1200
    assert len(results.speed()) > 1200
    assert all(0 < row["top1"] <= 100 for rows in results.accuracy().values() for row in rows.values() if "top1" in row)
