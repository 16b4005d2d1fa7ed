"""Motifs of an atlas and of one network: counts, constraints, names, places, messages."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import netatlas
from netatlas.atlas import motif_counts, places
from netatlas.atlas import where as language
from netatlas.atlas.atlas import Atlas
from netatlas.atlas.motifs import of_atlas, of_graph
from netatlas.atlas.store import Store
from netatlas.atlas.vectors import with_vectors
from netatlas.cli.main import run
from netatlas.errors import QueryError, StoreError, UnknownIdError
from netatlas.graph.census import census
from netatlas.graph.forms import FORMS
from netatlas.graph.mined import mined
from netatlas.sources._describe import entry_of_graph

IDS = ("timm/resnet18", "timm/resnet50", "timm/mobilenetv2_100", "timm/efficientnet_b0", "timm/vit_tiny_patch16_224", "timm/swin_tiny_patch4_window7_224",
       "torchvision/resnet50")  # fmt: skip


@pytest.fixture(scope="module")
def entries():
    with Store.open(places.starter_path(), "r", immutable=True) as store:
        return [entry_of_graph(i, i.partition("/")[2], store.graph(i), "export") for i in IDS]


@pytest.fixture(scope="module")
def path(entries, tmp_path_factory):
    file = tmp_path_factory.mktemp("motifs") / "small.atlas"
    with Store.open(file, "w") as store:
        store.put(entries)
        for encoder, vectors in with_vectors(entries).items():
            store.put_vectors(encoder, vectors)
    return file


@pytest.fixture(scope="module")
def atlas(path, tmp_path_factory):
    opened = Atlas.open(path, starter=False, cache=tmp_path_factory.mktemp("cache"))
    yield opened
    opened.close()


def matching(atlas, text):
    found = language.parse(text).evaluate(atlas.derived.columns)
    return {atlas.ids[i] for i in found.true.nonzero()[0]}


def test_counts_are_those_of_the_graphs(atlas, entries):
    found = {row.id: row for row in of_atlas(atlas)}
    each = [census(entry.graph).counts for entry in entries]
    for name in (*FORMS, *mined()):
        counts = [c[name] for c in each if name in c]
        assert (name in found) == bool(counts)
        if counts:
            assert (found[name].architectures, found[name].occurrences) == (len(counts), sum(counts))


def test_the_most_widespread_come_first_and_small_counts_can_be_left_out(atlas):
    rows = of_atlas(atlas)
    assert [r.architectures for r in rows] == sorted((r.architectures for r in rows), reverse=True)
    assert {r.id for r in of_atlas(atlas, min_count=3)} == {r.id for r in rows if r.architectures >= 3}


def test_named_and_mined_are_all(atlas):
    named, both, found = (of_atlas(atlas, which=which) for which in ("named", "all", "mined"))
    assert all(not r.is_mined for r in named)
    assert all(r.is_mined and r.size for r in found)
    assert {r.id for r in named} | {r.id for r in found} == {r.id for r in both}


def test_where_chooses_what_is_counted(atlas):
    rows = {r.id: r for r in of_atlas(atlas, where="family = resnet")}
    assert rows["bottleneck"].architectures == 2
    assert "prenorm_block" not in rows
    assert rows["bottleneck"].families == {"resnet": 2}
    with pytest.raises(QueryError, match="parms"):
        of_atlas(atlas, where="parms < 3")


def test_one_motif_by_any_of_its_names(atlas):
    for name in ("inverted_residual", "Inverted Residual", "MBConv", "mobile inverted bottleneck"):
        (row,) = of_atlas(atlas, name=name)
        assert row.id == "inverted_residual"
        assert row.architectures == 2
    text = str(of_atlas(atlas, name="mbconv"))
    assert "2 of 7 architectures" in text
    assert "mobile inverted bottleneck" in text
    with pytest.raises(QueryError, match=r"unknown motif 'invertd residual'.*inverted residual"):
        of_atlas(atlas, name="invertd residual")


def test_an_atlas_without_counts_says_so(entries, tmp_path):
    with Store.open(tmp_path / "old.atlas", "w") as store:
        store.put(entries[:1])
    opened = Atlas.open(tmp_path / "old.atlas", starter=False, cache=tmp_path / "cache")
    with pytest.raises(StoreError, match="does not count motifs yet"):
        of_atlas(opened)
    opened.close()


def test_counts_survive_motifs_that_are_known_no_more():
    stored = [
        motif_counts.pack({"residual": 3, "of another day": 9}),
        motif_counts.pack({}),
        motif_counts.pack({"swiglu": 70_000}),
    ]
    table = motif_counts.unpack(stored)
    names = motif_counts.motif_names()
    assert table[0, names.index("residual")] == 3
    assert table.sum() == 3 + 70_000
    assert motif_counts.unpack([]).shape == (0, len(names))


class TestLanguage:
    def test_named_motifs_by_any_name(self, atlas):
        want = {"timm/mobilenetv2_100", "timm/efficientnet_b0"}
        for said in ("inverted residual", "inverted_residual", "'inverted residual'", '"Inverted-Residuals"', "MBConv"):
            assert matching(atlas, f"has_motif({said})") == want
        assert matching(atlas, "not has_motif(inverted residual)") == set(IDS) - want
        assert matching(atlas, "has_motif(inverted residual, SE)") == {"timm/efficientnet_b0"}
        assert matching(atlas, "motifs = mbconv") == want

    def test_mined_motifs_by_id(self, atlas, entries):
        for key in list(census(entries[1].graph).mined)[:5]:
            want = {e.id for e in entries if key in census(e.graph).mined}
            assert matching(atlas, f"has_motif({key})") == matching(atlas, f"HAS_MOTIF({key.upper()})") == want
            assert matching(atlas, f"motifs = {key}") == want
            assert matching(atlas, f"not has_motif({key})") == set(IDS) - want

    def test_the_canonical_text_reads_back(self):
        key = next(iter(mined()))
        for text in (f"has_motif({key})", f"not has_motif({key})", f"has_motif({key}) and params < 6000000"):
            assert str(language.parse(text)) == text
        assert language.parse("has_motif(mbconv)") == language.parse("has(inverted_residual)")
        assert language.chips(language.parse(f"has_motif({key}) and not has_motif(mbconv)")) == [
            f"with motif {key}",
            "no inverted residual",
        ]

    @pytest.mark.parametrize(
        ("text", "part"),
        [
            ("has_motif(invertd residual)", "did you mean 'inverted residual'"),
            ("has_motif(m00000)", "unknown motif 'm00000'"),
            ("has_motif()", "a word is needed"),
            ("has_motif", "goes in parentheses"),
            ("has_motif(" + "x" * 5_000 + ")", "unknown motif"),
            ("motifs = nonsense", "unknown motif 'nonsense'"),
            ("has_motf(mbconv)", "has_motif"),
        ],
    )
    def test_messages_name_the_nearest(self, text, part):
        with pytest.raises(QueryError) as error:
            language.parse(text)
        assert part in str(error.value)
        assert len(str(error.value)) < 400

    def test_in_words(self, atlas):
        from netatlas.atlas.find import find

        want = {"timm/mobilenetv2_100", "timm/efficientnet_b0"}
        for text in (
            "has motif inverted residual",
            "with the motif MBConv",
            "networks with inverted residuals",
            "with motif inverted residual",
        ):
            assert {hit.id for hit in find(atlas, text)} == want, text
        assert [hit.id for hit in find(atlas, "has motif inverted residual without squeeze-excite")] == ["timm/mobilenetv2_100"]
        assert want.isdisjoint(hit.id for hit in find(atlas, "without motif inverted residual", k=20))
        key = next(m.id for m in mined().values() if m.name == "bottleneck" and "Bottleneck" in m.modules)
        assert {hit.id for hit in find(atlas, f"with motif {key}")} == {"timm/resnet50", "torchvision/resnet50"}
        assert "timm/resnet50" not in {hit.id for hit in find(atlas, f"without motif {key}", k=20)}

    def test_asking_for_a_mined_motif_is_light(self):
        key = next(iter(mined()))
        script = f"import sys; from netatlas.atlas.where import parse; parse('has_motif({key})'); print([m for m in ('torch', 'netatlas.graph.forms', 'netatlas.graph.runs') if m in sys.modules])"
        assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"


class TestOfOneNetwork:
    def test_how_often_and_where(self, entries):
        graph = entries[1].graph
        rows = {r.id: r for r in of_graph("timm/resnet50", graph)}
        assert {name: row.occurrences for name, row in rows.items()} == census(graph).counts
        blocks = [f"layer{s}.{b}" for s, n in zip((1, 2, 3, 4), (3, 4, 6, 3), strict=True) for b in range(n)]
        assert rows["bottleneck"].places == dict.fromkeys(blocks, 1)
        assert all(sum(row.places.values()) == row.occurrences for row in rows.values())

    def test_what_occurs_seldom_can_be_left_out(self, entries):
        assert all(r.occurrences >= 16 for r in of_graph("x", entries[1].graph, min_count=16, which="named"))

    def test_python(self, path):
        assert netatlas.motifs("timm/resnet18", path=path)[0].occurrences >= 8
        assert netatlas.motifs("bottleneck", path=path).single
        with pytest.raises(QueryError, match="is one network"):
            netatlas.motifs("timm/resnet18", where="params < 6M", path=path)
        with pytest.raises(UnknownIdError, match="inverted residual"):
            netatlas.motifs("invertd residual", path=path)

    def test_a_live_module(self):
        torch = pytest.importorskip("torch")
        block = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        assert "prenorm_block" in {r.id for r in netatlas.motifs(block, inputs=(torch.randn(1, 5, 32),))}


class TestCommand:
    def test_list_network_and_motif(self, path, capsys):
        assert run(["--atlas", str(path), "motifs", "timm/resnet50", "--named"]) == 0
        out = capsys.readouterr().out
        assert "bottleneck" in out
        assert "layer1.0" in out
        assert run(["--atlas", str(path), "motifs", "timm/resnet50#layer1", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert {m["id"]: m["occurrences"] for m in found["motifs"]}["bottleneck"] == 3

    def test_exit_codes(self, path, capsys):
        assert run(["--atlas", str(path), "motifs", "timm/resnet18", "--min-count", "1000"]) == 1
        assert run(["--atlas", str(path), "motifs", "no such thing"]) in (1, 2)
        assert run(["--atlas", str(path), "motifs", "--min-count", "0"]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) <= 5
