"""The SVG drawing: valid, readable (nothing overlaps or is cut off), complete, deterministic and fast."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netatlas.graph._drawing_labels import Words, describe, fit, shape_text, text_width
from netatlas.graph._drawing_layout import layout
from netatlas.graph._drawing_units import Panel, Unit, shortened, sized
from netatlas.graph.drawing import draw
from netatlas.graph.graph import Graph, Scope
from netatlas.graph.ops import ATTRIBUTE_COLUMN, ATTRIBUTES, OP_ID, OPERATORS

SVG = "{http://www.w3.org/2000/svg}"
FONT_SIZES = {
    "title": 18,
    "label": 12.5,
    "cls": 11.5,
    "subtitle": 11.5,
    "cost": 10,
    "shape": 10,
    "port": 10,
    "note": 10,
    "detail": 9.5,
}


def make(ops: list[str], edges: list[tuple[int, int]], scopes: list[str] | None = None, width: int = 8) -> Graph:
    """A small graph by operator names; every node has shape ``(1, width, 4, 4)``, convolutions are 3x3."""
    g = len(ops)
    attrs = np.zeros((g, len(ATTRIBUTES)), dtype=np.int32)
    for i, op in enumerate(ops):
        if op == "conv":
            for name, value in (("kernel_h", 3), ("kernel_w", 3), ("stride_h", 1), ("stride_w", 1), ("groups", 1)):
                attrs[i, ATTRIBUTE_COLUMN[name]] = value
    shape = np.zeros((g, 6), dtype=np.int64)
    shape[:, 2:] = (1, width, 4, 4)
    paths = scopes or [""] * g
    known = list(dict.fromkeys(paths))
    weighted = np.array([72 * width if op in ("conv", "linear") else 0 for op in ops], dtype=np.int64)
    return Graph(
        op=np.array([OP_ID[op] for op in ops], dtype=np.uint8), attrs=attrs, shape=shape, params=weighted, macs=weighted * 16,
        scope=np.array([known.index(p) for p in paths], dtype=np.int32),
        edges=np.array(sorted(edges, key=lambda e: (e[1], e[0])), dtype=np.int32).reshape(-1, 2),
        scopes=tuple(Scope(p, "") for p in known) or (Scope("", ""),),
    )  # fmt: skip


def chain(ops: list[str], **options: Any) -> Graph:
    return make(ops, [(i, i + 1) for i in range(len(ops) - 1)], **options)


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def boxes(root: ET.Element) -> list[tuple[float, float, float, float, str]]:
    """Left, top, right, bottom and classes of every unit on the page, transforms applied."""
    found: list[tuple[float, float, float, float, str]] = []

    def walk(element: ET.Element, dx: float, dy: float) -> None:
        if move := re.match(r"translate\((\S+) (\S+)\)", element.get("transform", "")):
            dx, dy = dx + float(move[1]), dy + float(move[2])
        if element.get("class", "").startswith("unit "):
            rect = element.find(f"{SVG}rect")
            assert rect is not None
            x, y = float(rect.get("x", 0)) + dx, float(rect.get("y", 0)) + dy
            found.append((x, y, x + float(rect.get("width", 0)), y + float(rect.get("height", 0)), element.get("class", "")))
        for child in element:
            walk(child, dx, dy)

    walk(root, 0.0, 0.0)
    return found


def texts(root: ET.Element) -> list[tuple[float, float, float, str]]:
    """Left, baseline, right and content of every text on the page."""
    found: list[tuple[float, float, float, str]] = []

    def walk(element: ET.Element, dx: float, dy: float, inside: str) -> None:
        if move := re.match(r"translate\((\S+) (\S+)\)", element.get("transform", "")):
            dx, dy = dx + float(move[1]), dy + float(move[2])
        inside += " " + element.get("class", "")
        if element.tag == f"{SVG}text":
            classes, text = element.get("class", "").split(), element.text or ""
            size = (
                8.5
                if " tag" in inside
                else 14
                if " sign" in inside
                else next((FONT_SIZES[c] for c in classes if c in FONT_SIZES), 11)
            )
            width = text_width(text, size, bold=bool({"bold", "label", "title", "times"} & set(classes)))
            x = float(element.get("x", 0)) + dx - (width / 2 if "middle" in classes else width if "end" in classes else 0)
            found.append((x, float(element.get("y", 0)) + dy, x + width, text))
        for child in element:
            walk(child, dx, dy, inside)

    walk(root, 0.0, 0.0, "")
    return found


def geometry_faults(svg: str) -> list[str]:
    """What is wrong with a drawing's geometry: overlapping boxes, text outside its box, anything outside the page."""
    root = parse(svg)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    units, faults = boxes(root), []
    for n, a in enumerate(units):
        if a[0] < 0 or a[1] < 0 or a[2] > width or a[3] > height:
            faults.append(f"outside the page: {a}")
        faults += [f"overlap: {a} {b}" for b in units[:n] if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]]
    for x0, y, x1, text in texts(root):
        if x0 < -0.5 or x1 > width + 0.5 or y < 0 or y > height:
            faults.append(f"cut off by the page: {text!r}")
        for left, top, right, bottom, _ in units:
            is_inside = left - 0.5 <= x0 and x1 <= right + 0.5 and top <= y <= bottom
            if not is_inside and x0 < right - 0.5 and left + 0.5 < x1 and top < y and y - 7 < bottom:
                faults.append(f"text {text!r} over a box at {left, top, right, bottom}")
    return faults


def legend_families(root: ET.Element) -> set[str]:
    return {e.get("data-family", "") for e in root.iter(f"{SVG}g") if e.get("class", "").startswith("key ")}


@cache
def traced(name: str) -> Graph:
    timm = pytest.importorskip("timm")
    torch = pytest.importorskip("torch")
    from netatlas.graph.trace import trace

    with torch.device("meta"):
        module = timm.create_model(name).eval()
    return trace(module, (torch.empty(1, *module.default_cfg["input_size"], device="meta"),)).graph


FAST = ("resnet18", "efficientnet_b0", "vit_base_patch16_224", "swin_tiny_patch4_window7_224")
MORE = ("resnet50", "convnext_tiny", "densenet121", "inception_v3", "hrnet_w18", "mixer_b16_224", "mobilenetv3_large_100",
        "repvgg_a0", "coatnet_0_rw_224", "nasnetalarge", "regnety_032", "maxvit_tiny_tf_224")  # fmt: skip
NETWORKS = [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)]


@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks_are_drawn_without_a_fault(name: str) -> None:
    graph = traced(name)
    svg = draw(graph, name, "timm")
    assert geometry_faults(svg) == []
    root = parse(svg)
    units = [e for e in root.iter(f"{SVG}g") if e.get("class", "").startswith("unit ")]
    assert 3 <= len(units) <= 66
    seen = {e.get("class", "").split()[-1] for e in root.iter(f"{SVG}g") if e.get("class", "").startswith(("unit ", "tag "))}
    assert seen - {"more"} == legend_families(root)
    assert all(e.get("data-node") and e.find(f"{SVG}title") is not None for e in units)


@pytest.mark.parametrize(
    ("name", "repeats"),
    [("resnet18", [2, 2, 2, 2]), ("vit_base_patch16_224", [12]), ("swin_tiny_patch4_window7_224", [2, 2, 6, 2]),
     pytest.param("resnet50", [3, 4, 6, 3], marks=pytest.mark.slow)],
)  # fmt: skip
def test_repeated_blocks_are_drawn_once_with_their_number(name: str, repeats: list[int]) -> None:
    svg = draw(traced(name), name)
    drawn = [int(e.get("data-repeat", "1")) for e in parse(svg).iter(f"{SVG}g") if e.get("class") == "row"]
    assert [n for n in drawn if n > 1] == repeats
    assert re.findall(r">× (\d+)<", svg) == [str(n) for n in repeats]


def test_a_resnet_states_kernels_widths_shapes_and_costs() -> None:
    svg = draw(traced("resnet18"), "resnet18")
    for text in (
        ">7×7 conv /2<",
        ">3×3 conv<",
        ">64×56×56<",
        "11.7M params · 1.81 GMAC",
        "input 3×224×224".replace(" ", "  ", 1),
    ):
        assert text in svg, text
    assert 'class="wire skip"' in svg, "residual connections are arcs"


def test_attention_states_its_heads_and_squeeze_excite_is_a_side_box() -> None:
    assert ">12 heads<" in draw(traced("vit_base_patch16_224"))
    root = parse(draw(traced("efficientnet_b0")))
    by_class = boxes(root)
    gates = [b for b in by_class if b[4].startswith("unit gate")]
    assert len(gates) == 7
    signs = [b for b in by_class if b[4].startswith("unit sign")]
    assert all(any(s[0] > g[2] and s[3] < g[1] + 10 for s in signs) for g in gates), "the gate hangs below the main line"


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", 'a" onload="x', "]]>&\x00\x0b", "\ud800 lone", "long " * 400])
def test_hostile_titles_are_escaped(hostile: str) -> None:
    svg = draw(chain(["input", "conv", "relu"]), title=hostile, subtitle=hostile)
    root = parse(svg)
    assert "<script" not in svg
    assert not [e for e in root.iter() if "onload" in e.attrib or e.tag.endswith("script")]
    assert geometry_faults(svg) == []


def test_hostile_scopes_are_escaped() -> None:
    nasty = ['"><script>x</script>', "a.b" * 300, "\x01\x02", ".." * 40, "0"]
    ops = ["input", "conv", "relu", "conv", "relu"]
    svg = draw(chain(ops, scopes=nasty))
    parse(svg)
    assert "<script" not in svg
    assert geometry_faults(svg) == []


def test_empty_and_tiny_graphs() -> None:
    assert "an empty graph" in draw(make([], []))
    for ops in (["input"], ["relu"], ["conv"], ["embedding"], ["input", "relu"]):
        svg = draw(chain(ops), "tiny")
        assert geometry_faults(svg) == []
        assert len(boxes(parse(svg))) == len(ops)


def test_disconnected_parts_are_all_drawn() -> None:
    graph = make(["input", "conv", "input", "linear", "relu", "linear"], [(0, 1), (2, 3), (3, 4)])
    svg = draw(graph)
    assert geometry_faults(svg) == []
    drawn = {
        n for e in parse(svg).iter(f"{SVG}g") if e.get("class", "").startswith("unit ") for n in _nodes(e.get("data-node", ""))
    }
    assert drawn == set(range(6))


def _nodes(ranges: str) -> set[int]:
    spans = [part.split("-") for part in ranges.split()]
    return {i for span in spans for i in range(int(span[0]), int(span[-1]) + 1)}


@pytest.mark.parametrize("kind", ["same", "varied", "scoped"])
def test_five_thousand_nodes_take_bounded_time(kind: str) -> None:
    rng = np.random.default_rng(0)
    names = ["conv", "relu", "batch_norm", "linear", "add", "max_pool", "gelu"]
    ops = ["input", *["relu"] * 5000] if kind == "same" else [names[i] for i in rng.integers(0, len(names), 5000)]
    scopes = [f"stage{i // 500}.{i // 25 % 20}.m{i % 5}" for i in range(len(ops))] if kind == "scoped" else None
    graph = chain(ops, scopes=scopes)
    start = time.process_time()
    svg = draw(graph, kind)
    assert time.process_time() - start < 5
    assert geometry_faults(svg) == []
    assert len(boxes(parse(svg))) <= 66
    if kind == "same":
        assert ">× 5000<" in svg
    if kind == "varied":
        assert re.search(r"… [\d,]+ more", svg)


def test_the_same_graph_gives_the_same_bytes() -> None:
    graph = traced("efficientnet_b0")
    assert draw(graph, "x") == draw(graph, "x")


def test_light_and_dark_and_a_fixed_size() -> None:
    svg = draw(chain(["input", "conv", "relu"]), "x")
    root = parse(svg)
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    assert "prefers-color-scheme:dark" in svg
    assert "url(" not in svg
    assert "href" not in svg


def test_every_family_has_a_colour() -> None:
    from netatlas.graph._drawing_style import INK

    assert {op.family for op in OPERATORS} <= set(INK)


def test_words_of_operators() -> None:
    graph = chain(["input", "conv", "batch_norm", "relu", "conv", "conv"], width=16)
    words = Words(graph)
    assert words.word(1) == "Conv 3x3 16"
    assert describe(words, range(6)) == "3 Conv 3x3 16, BN, ReLU"
    assert shape_text((1, 16, 4, 4)) == "16x4x4"
    assert shape_text(()) == ""


@given(st.text(max_size=60), st.floats(0, 400))
def test_fitted_text_fits_and_begins_like_the_text(text: str, room: float) -> None:
    short = fit(text, 11, room)
    assert not short or text_width(short, 11) <= room
    assert text.startswith(short.removesuffix("…").rstrip()) or short == text


@st.composite
def panels(draw_: st.DrawFn) -> Panel:
    count = draw_(st.integers(1, 24))
    kinds = st.sampled_from([("op", "conv"), ("sign", "+"), ("gate", "SE"), ("op", "a long operator name")])
    units = tuple(
        sized(Unit(kind, "convolution", (i,), title)) for i, (kind, title) in enumerate(draw_(st.tuples(*[kinds] * count)))
    )
    pairs = [(a, b) for b in range(count) for a in range(b)]
    edges = draw_(st.lists(st.sampled_from(pairs), unique=True, max_size=40)) if pairs else []
    read = {b for _, b in edges}
    some = st.sets(st.integers(0, count - 1), min_size=1, max_size=3)
    starts = [i for i in range(count) if i not in read]
    main = (
        draw_(st.lists(st.sampled_from(starts), unique=True)) if starts else []
    )  # the others read nothing, as learned positions do
    entries = {"": tuple(sorted(main)), "encoder": tuple(sorted(draw_(some)))} if main else {}
    exits = {i for i in range(count) if i not in {a for a, _ in edges}} | draw_(some)
    return Panel(units, tuple(sorted(edges, key=lambda e: (e[1], e[0]))), tuple(entries.items()), tuple(sorted(exits)))


@settings(deadline=None, max_examples=150)
@given(panels())
def test_no_layout_puts_a_box_over_another_or_an_edge_backwards(made: Panel) -> None:
    plan = layout(made)
    for n, a in enumerate(plan.places):
        assert a.x >= 0
        assert a.y >= 0
        assert a.x + a.w <= plan.width + 0.1
        assert a.y + a.h <= plan.height + 0.1
        for b in plan.places[:n]:
            assert a.x + a.w <= b.x or b.x + b.w <= a.x or a.y + a.h <= b.y or b.y + b.h <= a.y
    for a, b in made.edges:
        assert plan.places[a].x + plan.places[a].w < plan.places[b].x
    assert len(plan.paths) == len(made.edges) + sum(len(users) for _, users in made.entries) + len(made.exits)


@settings(deadline=None, max_examples=80)
@given(panels(), st.integers(3, 12))
def test_shortening_keeps_every_node_and_the_order(made: Panel, most: int) -> None:
    short = shortened(made, most)
    assert len(short.units) <= max(most, min(len(made.units), most))
    assert sorted(i for u in short.units for i in u.nodes) == list(range(len(made.units)))
    assert all(a < b for a, b in short.edges)
