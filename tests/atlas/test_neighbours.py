"""The approximate index: candidates that hold what an exact comparison finds, with and without constraints."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from netatlas.atlas import neighbours as neighbours_module
from netatlas.atlas import vectors
from netatlas.atlas.atlas import Atlas
from netatlas.atlas.neighbours import Neighbours, located
from netatlas.encoders.base import ENCODERS
from netatlas.encoders.wl import WLHistogram
from netatlas.errors import ConfigError, MissingExtraError
from netatlas.graph.mutate import mutate

ASKED = (
    "timm/resnet50",
    "timm/vit_base_patch16_224",
    "timm/mobilenetv3_large_100",
    "transformers/bert",
    "timm/swin_tiny_patch4_window7_224",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One cache for the module, so that indexes are built once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def large(monkeypatch, cache):
    """The starter atlas, taken for a large one: 60 candidates of 2,132."""
    monkeypatch.setattr(vectors, "EXACT_UP_TO", 1_000)
    monkeypatch.setattr(vectors, "CANDIDATES", 60)
    monkeypatch.setattr(vectors, "ENOUGH", 30)
    return Atlas.open(None, cache=cache)


def _ids(hits):
    return [hit.id for hit in hits]


@pytest.mark.parametrize(
    "options", [{}, {"where": "params < 20M"}, {"unlike": "timm/resnext50_32x4d"}, {"where": "year >= 2021"}]
)
def test_candidates_hold_what_an_exact_comparison_finds(large, monkeypatch, options):
    found = {i: large.find(like=i, **options) for i in ASKED if i in large.derived.columns.row}
    assert len(found) >= 4
    for hits in found.values():
        assert not hits.notes or any("compared exactly with" in note for note in hits.notes)
    monkeypatch.undo()
    recall = [len({*_ids(large.find(like=i, **options))} & {*_ids(hits)}) / len(hits) for i, hits in found.items()]
    assert np.mean(recall) >= 0.98


def test_a_constraint_that_drops_all_candidates_widens_the_search(large, monkeypatch):
    options = {"like": "timm/resnet50", "where": "not has(conv)"}
    hits = large.find(**options)
    assert not any("compared exactly" in note for note in hits.notes)
    monkeypatch.undo()
    assert hits
    assert _ids(hits) == _ids(large.find(**options))


def test_relatives_are_found_by_candidates(large, monkeypatch):
    entry = large.entry("timm/resnet50")
    found = vectors.relatives(large, entry)
    monkeypatch.undo()
    assert found == vectors.relatives(large, entry)


def test_the_index_is_kept_and_a_torn_one_is_built_again(large, tmp_path):
    known = large.vectors(vectors.DEFAULT)
    first = Atlas.open(None, cache=tmp_path).neighbours(vectors.DEFAULT)
    folder = next(tmp_path.glob(f"neighbours-{vectors.DEFAULT}-*"))
    again = Atlas.open(None, cache=tmp_path).neighbours(vectors.DEFAULT)
    some = sorted(known)[::97]
    assert again.vectors(some) == [known[i] for i in some] == first.vectors(some)
    assert again.near(known[some[3]], [5e6, 1e9], 20) == first.near(known[some[3]], [5e6, 1e9], 20)
    assert again.get("no/such") is None
    assert [large.derived.columns.ids[row] for row in again.rows.tolist()] == list(again.ids)
    (folder / "starts.npy").write_bytes(b"")
    assert Atlas.open(None, cache=tmp_path).neighbours(vectors.DEFAULT).vectors(some) == first.vectors(some)
    shutil.rmtree(folder / "index")
    assert Atlas.open(None, cache=tmp_path).neighbours(vectors.DEFAULT).vectors(some) == first.vectors(some)


def test_without_faiss_all_projections_are_compared(large, monkeypatch, tmp_path):
    def missing(name):
        if name == "faiss-ivf":
            raise MissingExtraError("the faiss index", "faiss")
        return build(name)

    build = neighbours_module.INDEXES.build
    monkeypatch.setattr(neighbours_module.INDEXES, "build", missing)
    hits = Atlas.open(None, cache=tmp_path).find(like="timm/resnet50")
    assert sum("netatlas[faiss] is quicker" in note for note in hits.notes) == 1


@pytest.mark.parametrize("name", ["wl", "strata"])
def test_dense_vectors_follow_similarities(name):
    """Between networks and their edits, and across designs."""
    atlas, encoder = Atlas.open(None), ENCODERS.build(name)
    graphs = [atlas.graph(i) for i in atlas.with_graphs()[::90]]
    stored = [encoder.encode(mutate(g, k, np.random.default_rng(k))) for g in graphs if len(g) < 400 for k in (0, 2)]
    dense = encoder.dense(stored)
    exact = np.stack([encoder.similarities(v, stored) for v in stored])
    np.testing.assert_allclose(np.linalg.norm(dense, axis=1), 1.0, rtol=1e-5)
    off = ~np.eye(len(stored), dtype=bool)
    assert np.corrcoef((dense @ dense.T)[off], exact[off])[0, 1] > 0.9


def test_dense_vectors_of_wl_err_as_random_projections_do():
    atlas, encoder = Atlas.open(None), WLHistogram()
    stored = [encoder.encode(atlas.graph(i)) for i in atlas.with_graphs()[::40]]
    dense = encoder.dense(stored)
    exact = np.stack([encoder.similarities(v, stored) for v in stored])
    error = (dense @ dense.T - exact)[~np.eye(len(stored), dtype=bool)]
    assert np.sqrt(np.mean(error**2)) < 1.5 / np.sqrt(dense.shape[1])


def test_an_encoder_without_dense_vectors_has_no_index():
    class Other(WLHistogram):
        def dense(self, vectors):
            return None

    with pytest.raises(ConfigError, match="no approximate index"):
        located(Other(), [b""], [[1.0, 1.0]])


def test_an_index_of_nothing_finds_nothing():
    near = Neighbours.build(WLHistogram(), {}, {}, {})
    assert len(near) == 0
    assert near.near(b"", [1.0, 1.0], 5) == []


def test_costs_are_near_as_in_likeness():
    """Inner products of the cost part against ``exp(-|ln ratio|)``, which is what likeness takes for closeness."""
    sizes = np.exp(np.linspace(np.log(1e6), np.log(1e8), 25))
    costs = [[size, size] for size in sizes] + [[np.nan, np.nan]]
    places = located(WLHistogram(), [b""] * len(costs), costs)
    found = (places @ places.T)[:-1, :-1] / vectors.COST_WEIGHT
    exact = np.exp(-np.abs(np.log(sizes)[:, None] - np.log(sizes)))
    assert np.abs(found - exact).mean() < 0.05
    np.testing.assert_array_equal(places[-1], 0.0)
