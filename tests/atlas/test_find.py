"""Find on a small atlas whose right answers are known by hand."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from netatlas.atlas.atlas import Atlas
from netatlas.atlas.store import Store
from netatlas.atlas.vectors import with_vectors
from netatlas.errors import QueryError, StoreError, UnknownIdError
from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.ops import ATTRIBUTES, OP_ID
from netatlas.records import Entry, Evidence


def chain(*ops):
    """A graph that runs these operators one after the other."""
    g = len(ops)
    ones, zeros = np.ones((g, MAX_RANK), dtype=np.int64), np.zeros(g, dtype=np.int64)
    edges = np.array([(i, i + 1) for i in range(g - 1)]).reshape(-1, 2)
    return Graph(
        np.array([OP_ID[o] for o in ops]), np.zeros((g, len(ATTRIBUTES)), dtype=np.int32), ones, zeros, zeros, zeros, edges
    )


CONV = ("input", "conv", "batch_norm", "relu", "conv", "batch_norm", "relu", "linear")
ATTN = ("input", "conv", "layer_norm", "attention", "linear", "gelu", "linear")


def entry(entry_id, family, ops, **facts):
    known = {"source": entry_id.split("/")[0], "family": family, "ops": tuple(sorted(set(ops) - {"input"})), "task": ("image-classification",),
             "modality": ("image",), **facts}  # fmt: skip
    return Entry(
        entry_id, "architecture", entry_id.split("/")[1], facts=known, origins=dict.fromkeys(known, "by hand"), graph=chain(*ops)
    )


ENTRIES = [
    entry("timm/resnet18", "resnet", CONV, params=11_689_512, macs=1_814_073_344, top1=71.5, year=2015, models=3),
    entry("timm/resnet50", "resnet", CONV * 2, params=25_557_032, macs=4_089_184_256, top1=80.9, year=2015, models=20),
    entry("torchvision/resnet50", "resnet", CONV * 2, params=25_557_032, macs=4_089_184_256, top1=80.8, year=2015, models=2),
    entry("timm/vit_tiny_patch16_224", "vit", ATTN, params=5_717_416, macs=1_253_683_200, top1=75.4, year=2020, models=1),
    entry("timm/vit_base_patch16_224", "vit", ATTN, params=86_567_656, macs=17_563_828_224, top1=85.1, year=2020, models=9),
    entry(
        "timm/efficientnet_b0",
        "efficientnet",
        (*CONV, "sigmoid", "mul"),
        params=5_288_548,
        macs=385_814_752,
        top1=77.7,
        year=2019,
        models=2,
    ),
    entry("timm/mobilenetv3_small_050", "mobilenetv3", (*CONV, "hardswish"), params=1_590_000, macs=24_000_000, year=2019),
    Entry(
        "timm/resnet50.a1_in1k",
        "model",
        "resnet50.a1_in1k",
        facts={
            "source": "timm",
            "family": "resnet",
            "architecture": "timm/resnet50",
            "top1": 80.2,
            "params": 25_557_032,
            "pretrain": ("a1", "in1k"),
            "ops": ("conv",),
        },
    ),  # fmt: skip
]


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas")
    with Store.open(folder / "small.atlas", "w") as store:
        store.put(ENTRIES)
        for encoder, vectors in with_vectors(ENTRIES).items():
            store.put_vectors(encoder, vectors)
    opened = Atlas.open(folder / "small.atlas", starter=False, cache=folder / "cache")
    yield opened
    opened.close()


def ids(hits):
    return [h.id for h in hits]


def test_names_find_their_architectures_first(atlas):
    assert ids(atlas.find("resnet50"))[:2] == ["timm/resnet50", "torchvision/resnet50"]
    assert ids(atlas.find("ResNet-50")) == ids(atlas.find("resnet50"))
    assert ids(atlas.find("vit tiny")) == ["timm/vit_tiny_patch16_224"]
    assert set(ids(atlas.find("vision transformer"))) == {"timm/vit_tiny_patch16_224", "timm/vit_base_patch16_224"}


def test_the_sentence_of_the_readme(atlas):
    hits = atlas.find("small image classifier without attention, under 6M params, above 75% top-1")
    assert ids(hits) == ["timm/efficientnet_b0"]
    assert hits.chips == ("no attention", "params < 6M", "top1 > 75 %", "task = image-classification")


def test_unknown_facts_are_not_zero(atlas):
    assert "timm/mobilenetv3_small_050" not in ids(atlas.find(where="top1 < 76"))
    kept = atlas.find(where="top1 < 76", unknown="keep")
    assert "timm/mobilenetv3_small_050" in ids(kept)
    hit = next(h for h in kept if h.id == "timm/mobilenetv3_small_050")
    assert any("top1 unknown" in reason for reason in hit.why)


@pytest.mark.parametrize("sort", ["top1", "-top1"])
def test_unknown_sorts_last(atlas, sort):
    assert ids(atlas.find(sort=sort))[-1] == "timm/mobilenetv3_small_050"


def test_sorting_and_limits(atlas):
    assert ids(atlas.find(sort="-top1", k=2)) == ["timm/vit_base_patch16_224", "timm/resnet50"]
    assert ids(atlas.find(sort="params", k=1)) == ["timm/mobilenetv3_small_050"]
    everything = atlas.find(k=0)
    assert (len(everything), everything.total) == (0, 7)
    assert len(atlas.find(k=1000)) == 7


def test_where_and_words_are_both_applied(atlas):
    assert ids(atlas.find("resnet", where="params < 20M")) == ["timm/resnet18"]
    assert ids(atlas.find("resnet under 20M params")) == ["timm/resnet18"]


def test_pareto(atlas):
    front = ids(atlas.find(pareto="top1,macs", sort="macs"))
    assert front == ["timm/efficientnet_b0", "timm/resnet50", "timm/vit_base_patch16_224"]


def test_kinds(atlas):
    assert all(h.kind == "architecture" for h in atlas.find("resnet50"))
    assert ids(atlas.find("resnet50", kind="model")) == ["timm/resnet50.a1_in1k"]
    assert "timm/resnet50.a1_in1k" in ids(atlas.find("resnet50", kind="any"))


def test_like_leaves_itself_out_and_prefers_the_same_cost(atlas):
    hits = atlas.find(like="timm/resnet50")
    assert ids(hits)[0] == "torchvision/resnet50"
    assert "timm/resnet50" not in ids(hits)
    assert hits[0].score == pytest.approx(1.0)
    assert ids(atlas.find(like="timm/vit_tiny_patch16_224"))[0] == "timm/vit_base_patch16_224"
    assert ids(atlas.find(like="timm/resnet50.a1_in1k"))[0] == "torchvision/resnet50"
    assert ids(atlas.find(like="timm/resnet50", where="params < 20M"))[0] == "timm/resnet18"


def test_like_an_entry_that_is_not_in_the_atlas(atlas):
    mine = entry("mine/net", "mine", CONV, params=11_689_512, macs=1_814_073_344)
    assert ids(atlas.find(like=mine))[0] == "timm/resnet18"


@pytest.mark.parametrize(
    "text", ["c++", "resnet-50", '"', "AND", "NEAR(", "*", "\0", "(a", "AND OR", "[a TO", "dtype'", "x" * 200_000, "", "   ", "名前", "🙂", "a" * 40 + " " * 50]
)  # fmt: skip
def test_any_text_gives_an_answer(atlas, text):
    atlas.find(text)


def test_misuse_is_one_clear_line(atlas):
    for options, message in (
        ({"where": "parms < 6M"}, "did you mean 'params'"),
        ({"where": "params < 10 ms"}, "params"),
        ({"where": "params < 1 / 0"}, "zero"),
        ({"sort": "acuracy"}, "accuracy"),
        ({"pareto": "family,top1"}, "family"),
        ({"kind": "modle"}, "unknown kind 'modle'"),
        ({"k": -1}, "k must be 0 or more, got -1"),
    ):
        with pytest.raises(QueryError, match=message) as caught:
            atlas.find("resnet", **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(UnknownIdError, match=r"did you mean timm/resnet50"):
        atlas.find(like="timm/resnet5O")


def test_json_has_null_for_unknown(atlas):
    found = json.loads(atlas.find("mobilenetv3").to_json())
    assert set(found) >= {"query", "where", "hits"}
    hit = found["hits"][0]
    assert set(hit) == {"id", "kind", "title", "score", "facts", "why"}
    assert hit["facts"]["params"] == 1_590_000
    assert hit["facts"]["top1"] is None
    assert hit["facts"]["latency_ms"] is None


def test_csv_is_safe_for_spreadsheets(tmp_path):
    hostile = Entry("mine/=cmd()", "architecture", "=cmd()", facts={"family": "=1+1", "params": 5, "ops": ("conv",)})
    with Store.open(tmp_path / "a.atlas", "w") as store:
        store.put([hostile])
    found = Atlas.open(tmp_path / "a.atlas", starter=False, cache=tmp_path / "cache").find()
    rows = list(csv.reader(io.StringIO(found.to_csv())))
    assert len(rows) == 2
    assert not any(cell.startswith("=") for cell in rows[1])


def test_tables_fit_the_terminal(atlas):
    for width in (40, 60, 80, 200):
        lines = atlas.find("resnet", where="year >= 2010 and heads > 0 or depth > 0 or params > 0").text(width).splitlines()
        assert all(len(line) <= width for line in lines if line.startswith(("id", "timm", "torchvision")))


def test_evidence_of_a_lower_layer_is_kept_above_it(atlas, tmp_path):
    above = Atlas((Store.open(atlas._layers[0].path, "r"),), tmp_path / "mine.atlas", tmp_path / "cache")
    above.add_evidence(
        "timm/resnet18", Evidence("latency_ms", 12.5, "median of 30", "netatlas measure", "a machine", date="2026-01-01")
    )
    layered = Atlas(
        (Store.open(tmp_path / "mine.atlas", "r"), Store.open(atlas._layers[0].path, "r")),
        tmp_path / "mine.atlas",
        tmp_path / "cache",
    )
    hits = layered.find(where="known(latency_ms) and latency_ms < 20")
    assert ids(hits) == ["timm/resnet18"]
    assert hits[0].facts["latency_ms"] == 12.5
    assert "netatlas measure" in layered.entry("timm/resnet18").origins["latency_ms"]
    with pytest.raises(UnknownIdError):
        layered.add_evidence("timm/nothing", Evidence("latency_ms", 1.0, "", ""))


def test_an_upper_layer_hides_the_same_id(atlas, tmp_path):
    with Store.open(tmp_path / "mine.atlas", "w") as store:
        store.put([entry("timm/resnet18", "resnet", CONV, params=1, macs=2)])
    layered = Atlas(
        (Store.open(tmp_path / "mine.atlas", "r"), Store.open(atlas._layers[0].path, "r")),
        tmp_path / "mine.atlas",
        tmp_path / "cache",
    )
    assert layered.entry("timm/resnet18").facts["params"] == 1
    assert len(layered) == len(ENTRIES)
    with pytest.raises(UnknownIdError, match="starter atlas"):
        layered.remove(["timm/resnet50"])
    assert layered.remove(["timm/resnet18"]) == ["timm/resnet18"]


def test_damaged_caches_are_rebuilt(atlas, tmp_path):
    store = Store.open(atlas._layers[0].path, "r")
    first = Atlas((store,), tmp_path / "x.atlas", tmp_path / "cache")
    assert len(first) == len(ENTRIES)
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    again = Atlas((store,), tmp_path / "x.atlas", tmp_path / "cache")
    assert ids(again.find("resnet50")) == ids(atlas.find("resnet50"))


def test_a_cache_that_cannot_be_written_is_done_without(atlas, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    opened = Atlas((Store.open(atlas._layers[0].path, "r"),), tmp_path / "x.atlas", blocked)
    assert ids(opened.find("resnet50")) == ids(atlas.find("resnet50"))


def test_nothing_to_search_is_said(tmp_path):
    with pytest.raises(StoreError, match="netatlas build"):
        Atlas.open(tmp_path / "none.atlas", starter=False)


def test_an_empty_atlas_answers(tmp_path):
    with Store.open(tmp_path / "empty.atlas", "w"):
        pass
    hits = Atlas.open(tmp_path / "empty.atlas", starter=False, cache=tmp_path / "cache").find("resnet")
    assert len(hits) == 0
    assert "nothing matched" in str(hits)
