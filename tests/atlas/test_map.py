"""The map: places, new entries beside the old ones, and the page."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra 'map'")

from test_find import ENTRIES, entry

from netatlas.atlas import layout
from netatlas.atlas.atlas import Atlas
from netatlas.atlas.layout import STORED_AS, beside, lay_out, stored_places
from netatlas.atlas.map import draw_map
from netatlas.atlas.store import Store
from netatlas.atlas.vectors import with_vectors
from netatlas.cli.main import run
from netatlas.errors import QueryError

HOSTILE = "</script><script>alert(1)</script>"


def write(path, entries):
    with Store.open(path, "w") as store:
        store.put(entries)
        for encoder, vectors in with_vectors(entries).items():
            store.put_vectors(encoder, vectors)


@pytest.fixture
def atlas(tmp_path):
    write(tmp_path / "small.atlas", ENTRIES)
    with_cache = Atlas.open(tmp_path / "small.atlas", starter=False, cache=tmp_path / "cache")
    yield with_cache
    with_cache.close()


def page_data(html):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', html, re.DOTALL).group(1))


def clusters(groups=3, members=30):
    label = np.repeat(np.arange(groups), members)
    noise = np.random.default_rng(0).uniform(0, 0.1, (groups * members, groups * members))
    return label, np.where(label[:, None] == label, 0.9, 0.1) + noise


def test_what_is_alike_lies_together():
    label, alike = clusters()
    places = lay_out(alike)
    apart = np.linalg.norm(places[:, None] - places, axis=-1)
    same = label[:, None] == label
    assert apart[same].max() < apart[~same].min()
    assert np.abs(places).max() == pytest.approx(100, rel=1e-5)


def test_a_layout_is_the_same_every_time():
    _, alike = clusters()
    np.testing.assert_array_equal(lay_out(alike), lay_out(alike))


@pytest.mark.parametrize("m", [0, 1, 2, 3, 4, 5])
def test_few_architectures_have_places_too(m):
    places = lay_out(np.eye(m))
    assert places.shape == (m, 2)
    assert np.isfinite(places).all()


def test_models_are_not_drawn(atlas):
    assert draw_map(atlas).ids == sorted(e.id for e in ENTRIES if e.kind == "architecture")


def test_new_entries_are_placed_beside_their_relatives_and_nothing_moves(atlas, tmp_path):
    before = draw_map(atlas)
    twin = entry("mine/resnet50_copy", "resnet", ("input", "conv", "batch_norm", "relu", "conv", "batch_norm", "relu", "linear") * 2,
                 params=25_557_032, macs=4_089_184_256)  # fmt: skip
    write(tmp_path / "small.atlas", [*ENTRIES, twin])
    with_twin = Atlas.open(tmp_path / "small.atlas", starter=False, cache=tmp_path / "cache")
    after = draw_map(with_twin)
    at = {i: tuple(xy) for i, xy in zip(after.ids, after.places.tolist(), strict=True)}
    assert {i: at[i] for i in before.ids} == dict(zip(before.ids, map(tuple, before.places.tolist()), strict=True))
    assert [after.ids[n] for n in after.placed_now] == ["mine/resnet50_copy"]
    nearest = min((i for i in before.ids), key=lambda i: np.hypot(at[i][0] - at[twin.id][0], at[i][1] - at[twin.id][1]))
    assert nearest in ("timm/resnet50", "torchvision/resnet50")
    with_twin.close()


def test_beside_stays_in_one_neighbourhood():
    known = {"a": (0.0, 0.0), "b": (2.0, 0.0), "far": (100.0, 0.0)}
    x, y = beside({"a": 0.9, "b": 0.9, "far": 0.9}, known)
    assert (x, y) == (1.0, 0.0)
    assert beside({}, known) == (0.0, 0.0)


def test_a_damaged_cache_is_made_anew(atlas, tmp_path):
    first = draw_map(atlas).places
    (tmp_path / "cache" / "map.npz").write_bytes(b"PK\x03\x04 torn")
    np.testing.assert_array_equal(draw_map(atlas).places, first)


def test_the_page_holds_all_data_and_loads_nothing(atlas):
    html = draw_map(atlas).to_html("macs")
    data = page_data(html)
    assert data["color"] == "macs"
    assert data["columns"]["macs"]["values"][data["ids"].index("timm/resnet18")] == 1_814_073_344
    assert data["columns"]["top1"]["values"][data["ids"].index("timm/mobilenetv3_small_050")] is None
    assert not re.search(r"""(?:src|href)\s*=|https?://|@import|url\(""", html.replace(json.dumps(data), ""))


def test_a_title_cannot_leave_its_script(tmp_path):
    hostile = entry("mine/" + HOSTILE, "resnet", ("input", "conv"), params=1, macs=1)
    write(tmp_path / "hostile.atlas", [*ENTRIES, hostile])
    opened = Atlas.open(tmp_path / "hostile.atlas", starter=False, cache=tmp_path / "cache")
    html = draw_map(opened).to_html()
    assert HOSTILE not in html
    assert "mine/" + HOSTILE in page_data(html)["ids"]
    opened.close()


def test_constraints_mark(atlas):
    drawn = draw_map(atlas, where="params < 6M")
    assert {drawn.ids[n] for n in drawn.matched} == {
        "timm/vit_tiny_patch16_224", "timm/efficientnet_b0", "timm/mobilenetv3_small_050",
    }  # fmt: skip


@pytest.mark.parametrize(("color", "said"), [("famly", "did you mean 'family'"), ("latency_ms", "no architecture has it")])
def test_a_colour_that_cannot_be_shown_is_named(atlas, color, said):
    with pytest.raises(QueryError, match=said):
        draw_map(atlas, color=color if color == "latency_ms" else "family").to_html(color)


def test_an_atlas_without_graphs_has_no_map(tmp_path):
    write(tmp_path / "empty.atlas", [e for e in ENTRIES if e.kind == "model"])
    opened = Atlas.open(tmp_path / "empty.atlas", starter=False, cache=tmp_path / "cache")
    with pytest.raises(QueryError, match="nothing to draw"):
        draw_map(opened)
    opened.close()


def test_the_command_writes_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("netatlas.atlas.places.starter_path", lambda: None)
    write(tmp_path / "small.atlas", ENTRIES)
    out = tmp_path / "map.html"
    assert run(["--atlas", str(tmp_path / "small.atlas"), "map", "--color", "year", "--out", str(out)]) == 0
    assert "7 architectures" in capsys.readouterr().out
    assert page_data(out.read_text())["color"] == "year"
    assert run(["--atlas", str(tmp_path / "small.atlas"), "map", "--out", str(tmp_path / "none" / "map.html")]) != 0
    assert "cannot write" in capsys.readouterr().err


def test_places_that_the_atlas_carries_are_not_made_again(tmp_path, monkeypatch):
    write(tmp_path / "a.atlas", ENTRIES)
    with_places = Atlas.open(tmp_path / "a.atlas", starter=False, cache=tmp_path / "cache")
    packed = stored_places(with_places)
    with_places.close()
    with Store.open(tmp_path / "a.atlas", "w") as store:
        store.put_vectors(STORED_AS, packed)
    monkeypatch.setattr(layout, "lay_out", lambda alike: pytest.fail("laid out again"))
    again = Atlas.open(tmp_path / "a.atlas", starter=False, cache=tmp_path / "empty")
    drawn = draw_map(again, tell=pytest.fail)
    again.close()
    assert drawn.places.tobytes() == b"".join(packed[i] for i in drawn.ids)


def test_a_layout_that_takes_time_says_so(atlas):
    told = []
    draw_map(atlas, tell=told.append)
    draw_map(atlas, tell=told.append)
    assert told == [f"laying out {len(draw_map(atlas))} architectures, once; later they stay where they are"]
