"""Search by structure on a small atlas whose right answers are known by hand."""

from __future__ import annotations

import csv
import dataclasses
import io

import numpy as np
import pytest

from netatlas.atlas.atlas import Atlas
from netatlas.atlas.examples import combined, examples_in
from netatlas.atlas.store import Store
from netatlas.atlas.structure import layer_likeness
from netatlas.atlas.vectors import with_vectors
from netatlas.errors import GraphError, QueryError, UnknownIdError
from netatlas.graph.graph import MAX_RANK, Graph, Scope
from netatlas.graph.ops import ATTRIBUTES, OP_ID
from netatlas.records import Entry

BLOCK = ("conv", "batch_norm", "relu")


def chain(*ops, params=None):
    g = len(ops)
    scopes = (Scope("", "Net"), *(Scope(f"blocks.{(i - 1) // 3}", "Block") for i in range(1, g)))
    return Graph(
        np.array([OP_ID[o] for o in ops]), np.zeros((g, len(ATTRIBUTES)), np.int32), np.ones((g, MAX_RANK), np.int64),
        np.zeros(g, np.int64) if params is None else np.array(params), np.zeros(g, np.int64), np.arange(g),
        np.array([(i, i + 1) for i in range(g - 1)]).reshape(-1, 2), scopes,
    )  # fmt: skip


GRAPHS = {
    "timm/resnet50": chain("input", *BLOCK * 4, params=[0, *(9, 2, 0) * 4]),
    "timm/resnet18": chain("input", *BLOCK * 2, params=[0, *(9, 2, 0) * 2]),
    "timm/vit_tiny_patch16_224": chain("input", "conv", "layer_norm", "attention", "linear", "gelu", "linear"),
    "timm/handmade": chain("input", "linear", "matmul", "mul", "softmax", "matmul", "linear"),
}


@pytest.fixture
def atlas(tmp_path):
    entries = [
        Entry(i, "architecture", i, facts={"source": "timm", "params": 1000 * n, "ops": tuple(sorted(set(g.names) - {"input"}))}, graph=g)
        for n, (i, g) in enumerate(GRAPHS.items(), 1)
    ]  # fmt: skip
    model = Entry("timm/resnet50.a1", "model", "a1", facts={"source": "timm", "architecture": "timm/resnet50"})
    with Store.open(tmp_path / "a.atlas", "w") as store:
        store.put([*entries, model])
        for encoder, vectors in with_vectors(entries).items():
            store.put_vectors(encoder, vectors)
    return Atlas.open(tmp_path / "a.atlas", starter=False, cache=tmp_path / "cache")


def ids(hits):
    return [h.id for h in hits]


def test_a_pattern_filters_and_names_places(atlas):
    hits = atlas.find(pattern="conv -> norm -> act")
    assert set(ids(hits)) == {"timm/resnet50", "timm/resnet18"}
    why = {h.id: h.why[0] for h in hits}
    assert why["timm/resnet50"] == "conv -> norm -> act at blocks.0, 3 more"
    assert hits.chips == ("path conv -> norm -> act",)
    assert ids(atlas.find(pattern="conv -> norm -> act", where="params > 1500")) == ["timm/resnet18"]
    assert ids(atlas.find(pattern="conv -> norm -> act", kind="model")) == ["timm/resnet50.a1"]
    assert ids(atlas.find(pattern=["conv", "attention"])) == ["timm/vit_tiny_patch16_224"]
    assert len(atlas.find(pattern="lstm")) == 0
    assert next(csv.DictReader(io.StringIO(hits.to_csv())))["why"].startswith("conv -> norm")


def test_written_out_and_fused_attention(atlas):
    assert set(ids(atlas.find(pattern="matmul -> * -> softmax"))) == {"timm/vit_tiny_patch16_224", "timm/handmade"}


def test_a_block(atlas):
    pytest.importorskip("rustworkx", reason="needs the extra 'structure'")
    hits = atlas.find(contains=[("b", GRAPHS["timm/resnet50"], "blocks.1")])
    assert set(ids(hits)) == {"timm/resnet50", "timm/resnet18"}
    assert {h.id: h.why[0] for h in hits}["timm/resnet18"] == "has b at blocks.0, 1 more"
    with pytest.raises(GraphError, match="this one has 0"):
        atlas.find(contains=[("b", chain("input", "unknown"), None)])


def test_unlike_moves_away(atlas):
    assert ids(atlas.find(like="timm/resnet50"))[0] == "timm/resnet18"
    assert ids(atlas.find(unlike="timm/resnet50"))[-1] == "timm/resnet18"
    both = atlas.find(like=["timm/vit_tiny_patch16_224", "timm/handmade"], unlike="timm/resnet50")
    assert ids(both) == ["timm/resnet18"]
    with pytest.raises(UnknownIdError):
        atlas.find(unlike="timm/nothing")


def test_scores_of_examples_by_hand():
    a, b, far = np.array([1.0, 0.5, -1.0]), np.array([0.0, 0.5, 1.0]), np.array([0.5, 0.0, 0.0])
    np.testing.assert_allclose(combined([a, b], [], 3), [0.5, 0.5, -1])
    np.testing.assert_allclose(combined([a], [far], 3), [(1 + 0.25) / 1.5, (0.5 + 0.5) / 1.5, -1])
    np.testing.assert_allclose(combined([], [far], 3), [0.5, 1, 1])


@pytest.mark.parametrize(
    ("text", "rest", "like", "unlike"),
    [
        ("like resnet50 but under 5M params", "under 5M params", ("timm/resnet50",), ()),
        ("similar to timm/resnet18 without attention", "without attention", ("timm/resnet18",), ()),
        ("small nets like ResNet-50, unlike resnet18", "small nets", ("timm/resnet50",), ("timm/resnet18",)),
        ("not like resnet 50", "", (), ("timm/resnet50",)),
        ("looks like a transformer", "looks like a transformer", (), ()),
        ("like nothing known", "like nothing known", (), ()),
        ("like", "like", (), ()),
    ],
)
def test_examples_in_words(atlas, text, rest, like, unlike):
    found = examples_in(text, atlas)
    assert (found.text, found.like, found.unlike) == (rest, like, unlike)


def test_an_example_in_words_is_shown_back(atlas):
    hits = atlas.find("like resnet50 but under 2500 params")
    assert ids(hits) == ["timm/resnet18"]
    assert "like timm/resnet50" in hits.chips
    assert hits.query == "like resnet50 but under 2500 params"


def test_a_checkpoint_is_compared_by_its_layers(atlas):
    scores = layer_likeness(atlas, chain("conv", "batch_norm", "conv", "batch_norm", params=[9, 2, 9, 2]))
    assert scores["timm/resnet18"] == 1.0
    assert scores["timm/resnet50"] == 0.5  # 4 of 8 layers and 22 of 44 parameters
    assert scores["timm/handmade"] == 0.0


def test_the_cache_follows_the_atlas(atlas, tmp_path):
    assert len(atlas.pools()[0]) == 4
    (cached,) = (tmp_path / "cache").glob("graphs-*")
    (cached / "row.npy").write_bytes(b"torn")
    assert len(atlas.pools()[0]) == 4
    with Store.open(tmp_path / "a.atlas", "w") as store:
        store.put([Entry("timm/new", "architecture", "new", facts={"source": "timm"}, graph=chain("input", "lstm"))])
    again = Atlas.open(tmp_path / "a.atlas", starter=False, cache=tmp_path / "cache")
    assert ids(again.find(pattern="recurrence")) == ["timm/new"]
    assert len(list((tmp_path / "cache").glob("graphs-*"))) == 1


def test_an_unknown_operator_is_refused(atlas):
    with pytest.raises(QueryError, match="did you mean 'softmax'"):
        atlas.find(pattern="matmul -> sofmax")


def with_unknown(graph, count):
    return dataclasses.replace(graph, unknown={"weird::Frob": count})


def test_an_example_of_unknown_operators_alone_is_refused(atlas):
    strange = Entry("onnx/strange", "architecture", "strange", graph=with_unknown(chain("input", "unknown", "unknown"), 2))
    with pytest.raises(QueryError, match=r"none of the 2 operators of onnx/strange is known \(weird::Frob\)"):
        atlas.find(like=strange)


def test_an_example_with_many_unknown_operators_says_so(atlas):
    strange = Entry("onnx/strange", "architecture", "strange", graph=with_unknown(chain("input", *BLOCK, "unknown"), 1))
    assert atlas.find(like=strange).notes == (
        "1 of the 4 operators of onnx/strange are unknown (weird::Frob) and count as one and the same",
    )
    little = Entry("onnx/little", "architecture", "little", graph=with_unknown(chain("input", *BLOCK * 2, "unknown"), 1))
    assert atlas.find(like=little).notes == ()
