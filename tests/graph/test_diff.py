"""What the difference of two networks says: text, summary, data, drawing."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from small import chain, network

from netatlas.atlas import places
from netatlas.atlas.atlas import Atlas
from netatlas.errors import GraphError
from netatlas.graph._diff_rows import ONLY_B, joined
from netatlas.graph.diff import diff_graphs
from netatlas.graph.explain import counted, plural, sentence
from netatlas.graph.part import part
from netatlas.graph.weights import weights_only

starter = pytest.mark.skipif(places.starter_path() is None, reason="the starter atlas has not been built: run 'make atlas'")


@pytest.fixture(scope="module")
def atlas():
    with_starter = Atlas.open(None)
    yield with_starter
    with_starter.close()


@pytest.fixture(scope="module")
def between(atlas):
    return lambda a, b: diff_graphs(atlas.graph(a), atlas.graph(b), a, b)


def blocks(copies, op="relu", width=8):
    """Residual blocks of two convolutions, in modules."""
    shape = (1, width, 8, 8)
    rows = [("input", [], shape)]
    for n in range(copies):
        start = len(rows) - 1
        conv = {"kernel": 3, "params": 9 * width * width}
        rows += [
            ("conv", None, shape, conv, f"blocks.{n}.conv1"),
            ("batch_norm", None, shape, {"params": 2 * width}, f"blocks.{n}.bn"),
            (op, None, shape, {}, f"blocks.{n}.act"),
            ("conv", None, shape, conv, f"blocks.{n}.conv2"),
            ("add", [start + 4, start], shape, {}, f"blocks.{n}"),
        ]
    return network(*rows)


# ---------------------------------------------------------------- text


def test_the_same_network_is_said_in_one_line():
    found = diff_graphs(blocks(3), blocks(3), "x", "y")
    assert not found
    assert found.text().splitlines()[2:] == ["the same network: all 16 operators are equal and wired alike"]
    assert found.stat() == found.text()
    assert found.to_dict()["same"] is True
    assert found.to_dict()["changed"] == found.to_dict()["only_a"] == []


def test_more_blocks_are_one_line():
    found = diff_graphs(blocks(4), blocks(7), "x", "y")
    added = [line for line in found.text().splitlines() if line.startswith("+ ")]
    assert len(added) == 1
    assert added[0].startswith("+ blocks.")
    assert " x 3 " in added[0]
    assert "@@ stage 1: 8x8, 4 blocks vs 7 blocks, 8 wide @@" in found.text()


def test_a_change_in_every_block_is_told_once():
    found = diff_graphs(blocks(6), blocks(6, op="silu"), "x", "y").text()
    assert "blocks.0-5 x 6:" in found
    assert [line.split()[:3] for line in found.splitlines() if line.startswith(("- ", "+ "))] == [
        ["-", "act", "ReLU"],
        ["+", "act", "SiLU"],
    ]


def test_lines_are_cut_at_the_width_and_coloured():
    found = diff_graphs(blocks(4), blocks(6, op="gelu"), "x" * 90, "y")
    assert max(map(len, found.text(width=60).splitlines())) == 60
    assert max(map(len, found.text(width=0).splitlines())) > 90
    coloured = found.text(color=True)
    assert "\x1b[31m" in coloured
    assert "\x1b[32m" in coloured
    assert "\x1b" not in found.text()


@starter
def test_resnet18_and_34_differ_in_depth_alone(between):
    """He et al., CVPR 2016, table 1: 2, 2, 2, 2 against 3, 4, 6, 3 blocks."""
    found = between("timm/resnet18", "timm/resnet34")
    assert [stage.blocks for stage in found.stages] == [(2, 3), (2, 4), (2, 6), (2, 3), (0, 0)]
    assert [stage.width for stage in found.stages] == [(64, 64), (128, 128), (256, 256), (512, 512), (1000, 1000)]
    assert not found.alignment.changed
    assert not found.alignment.only_a
    assert len(found.alignment.only_b) == 8 * 7  # eight more blocks of two convolutions, two norms, two ReLUs and a sum
    assert not [line for line in found.text().splitlines()[1:] if line.startswith("-")]


@starter
def test_resnext_has_groups_and_twice_the_inner_width(between):
    """Xie et al., CVPR 2017, table 1."""
    counts = between("timm/resnet50", "timm/resnext50_32x4d").alignment.counts()
    assert counts[("groups", "1", "32")] == 16
    widths = {(before, after): n for (what, before, after), n in counts.items() if what == "width"}
    assert all(int(after) == 2 * int(before) for before, after in widths)
    assert sum(widths.values()) == 32
    assert {what for what, _, _ in counts} == {"groups", "width"}


@starter
def test_a_squeeze_beside_the_main_path_is_not_the_size_of_a_stage(between):
    """Hu et al., CVPR 2018: squeeze-and-excitation changes no resolution."""
    stages = between("timm/resnet50", "timm/seresnet50").stages
    assert [stage.size for stage in stages[:4]] == [(f"{n}x{n}", f"{n}x{n}") for n in (56, 28, 14, 7)]


@starter
def test_blocks_changed_alike_at_other_widths_refer_to_the_first(between):
    lines = between("timm/resnet50", "timm/resnext50_32x4d").text().splitlines()
    assert "  layer4.1-2 x 2  Bottleneck: as layer1.0-2 but for widths" in lines
    assert len(lines) < 40


@starter
def test_blocks_that_share_nothing_are_told_one_after_the_other(between):
    lines = between("timm/resnet50", "timm/convnext_tiny").text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("- layer2.1-3 x 3 "))
    assert lines[at + 1].startswith("+ stages.1.blocks.0-2 x 3 ")
    assert len(lines) < 45


@starter
def test_added_dense_layers_are_those_of_the_longer_stage(between):
    """Huang et al., CVPR 2017, table 1: 24 and 16 against 32 and 32 layers; the first ones equal what follows the shorter stage."""
    found = between("timm/densenet121", "timm/densenet169")
    assert [stage.blocks for stage in found.stages] == [(6, 6), (12, 12), (24, 32), (16, 32), (0, 0)]
    added = [row.label for row in joined(found.rows) if row.status == ONLY_B]
    assert added == ["features.denseblock3.denselayer25-32", "features.denseblock4.denselayer17-32"]


@starter
def test_a_layer_has_not_become_one_of_a_block_that_has_another_counterpart(between):
    found = between("timm/resnet50", "timm/convnext_tiny")
    lonely = [row for row in found.rows if not row.a and row.b]
    assert lonely
    assert all(line.sign == "+" for row in lonely for line in row.lines if line.is_layer)


@starter
def test_in_a_run_of_changes_what_went_stands_before_what_came(between):
    lines = between("transformers/bert", "transformers/gpt2").rows[2].lines
    run = [line.sign for line in lines[1 : next(n for n, line in enumerate(lines) if n and line.sign == " ")]]
    assert run == ["-"] * 4 + ["+"] * 2


@starter
def test_one_more_class_head_is_no_block(between):
    found = between("timm/deit_small_patch16_224", "timm/deit_small_distilled_patch16_224")
    assert [(s.name, s.blocks, s.layers) for s in found.stages] == [("stage 1", (12, 12), (49, 49)), ("head", (0, 0), (1, 2))]


@starter
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("timm/vit_small_patch16_224", "timm/deit_small_patch16_224"),
        ("torchvision/resnet50", "timm/resnet50"),
        ("torchvision/efficientnet_b0", "timm/efficientnet_b0"),
    ],
)
def test_one_design_by_two_libraries_is_the_same(between, a, b):
    assert between(a, b).is_same


@starter
def test_layout_is_no_difference(between):
    """transformers scales channels last, timm channels first; beside that only the number of classes differs."""
    assert between("transformers/convnext", "timm/convnext_tiny").alignment.counts() == {("width", "2", "1000"): 1}


@starter
@pytest.mark.parametrize("pair", [("timm/resnet50", "timm/convnext_tiny"), ("transformers/bert", "transformers/gpt2")])
def test_swapping_the_arguments_swaps_the_answer(atlas, pair):
    a, b = (atlas.graph(name) for name in pair)
    there, back = diff_graphs(a, b, "a", "b").summary(), diff_graphs(b, a, "b", "a").summary()
    assert there["operators"]["alike"] == back["operators"]["alike"]
    assert there["operators"]["only_a"] == back["operators"]["only_b"]
    assert there["forms"]["common"] == back["forms"]["common"]
    assert there["likeness"] == back["likeness"]
    assert diff_graphs(a, b).text() == diff_graphs(a, b).text()


# ---------------------------------------------------------------- parts


@starter
def test_a_block_is_the_same_wherever_it_stands(atlas):
    a, b = part(atlas.graph("timm/resnet50"), "layer3.1"), part(atlas.graph("timm/resnet101"), "layer3.20")
    assert diff_graphs(a, b).is_same
    assert [a.names.count("input"), len(a)] == [1, 11]
    assert int(a.params.sum()) == 2 * 1024 * 256 + 9 * 256 * 256 + 2 * (256 + 256 + 1024)


@starter
def test_a_small_part_is_told_operator_by_operator(atlas):
    a, b = (part(atlas.graph(n), "layer1.0") for n in ("timm/resnet50", "timm/resnext50_32x4d"))
    lines = diff_graphs(a, b).text().splitlines()
    assert [line[0] for line in lines if "conv2" in line] == ["-", "+"]


@starter
def test_an_unknown_module_names_the_nearest(atlas):
    with pytest.raises(GraphError, match=r"no module 'layer9': did you mean 'layer4'"):
        part(atlas.graph("timm/resnet50"), "layer9")


@starter
def test_weights_alone_hide_what_a_file_cannot_show(atlas):
    graph = atlas.graph("timm/resnet50")
    seen = weights_only(graph)
    assert not len(seen.edges)
    assert int(seen.params.sum()) == int(graph.params.sum())
    assert "Conv 1x1 0" not in diff_graphs(seen, weights_only(atlas.graph("timm/resnet101"))).text()


# ---------------------------------------------------------------- summary and data


@starter
def test_the_summary_has_forms_stages_and_changes(between):
    found = between("timm/resnet50", "timm/efficientnet_b0")
    text = found.stat()
    assert "* stage 1" in text
    assert "in common: " in text
    assert "more in timm/efficientnet_b0: 16 squeeze-excites" in text
    data = json.loads(json.dumps(found.to_dict()))
    counts = data["operators"]
    assert counts["alike"] + counts["changed"] + counts["only_a"] == data["a"]["operators"] == 175
    assert counts["alike"] + counts["changed"] + counts["only_b"] == data["b"]["operators"]
    assert len(data["changed"]) == counts["changed"]
    assert data["forms"]["more_b"]["squeeze_excite"] == [0, 16]
    assert sorted(i for p in data["parts"] for i in p["a"]) == list(range(175))


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        ("squeeze_excite", 16, "16 squeeze-excites"),
        ("bottleneck", 1, "1 bottleneck"),
        ("self_attention", 12, "12 x self attention"),
        ("mixture_of_experts", 49, "49 mixtures of experts"),
        ("reparameterised_branch", 2, "2 reparameterised branches"),
        ("residual", 19393, "19,393 residual connections"),
    ],
)
def test_counts_of_forms_read_as_words(name, count, words):
    assert plural(name, count) == words


def test_a_sentence_says_what_is_shared_and_what_is_not():
    ours, theirs = {"relu6": 35, "inverted_residual": 9, "conv": 52}, {"silu": 49, "inverted_residual": 16, "conv": 81}
    told = sentence(ours, theirs)
    assert told == "9 inverted residuals in common; SiLU for ReLU6, 7 more inverted residuals"
    assert sentence(theirs, ours).endswith("ReLU6 for SiLU, 7 fewer inverted residuals")
    assert sentence({"relu": 1}, {"gelu": 1}).startswith("nothing in common")


# ---------------------------------------------------------------- drawing


def drawn(found):
    text = found.svg()
    assert text == found.svg()
    return ElementTree.fromstring(text)


def nodes_of(root, statuses, side):
    """Graph nodes of boxes of a status, and where their column is."""
    found = []
    half = float(root.get("width")) / 2
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        if "part" in group.get("class", "").split():
            card = next(r for r in group.iter("{http://www.w3.org/2000/svg}rect"))
            if (float(card.get("x")) > half - 40) != bool(side):
                continue
            found += [
                g for g in group.iter() if set(g.get("class", "").split()) >= {"unit"} and statuses & set(g.get("class").split())
            ]
    return found


@starter
def test_the_drawing_colours_what_is_common_changed_and_alone(between):
    found = between("timm/resnet50", "timm/resnext50_32x4d")
    root = drawn(found)
    for side in (0, 1):
        assert nodes_of(root, {"same"}, side)
        assert nodes_of(root, {"changed"}, side)
        assert not nodes_of(root, {"only_a", "only_b"}, side)
    deeper = drawn(between("timm/resnet18", "timm/resnet34"))
    assert nodes_of(deeper, {"only_b"}, 1)
    assert not nodes_of(deeper, {"only_b", "only_a"}, 0)
    assert not nodes_of(deeper, {"changed"}, 0)


@starter
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("timm/resnet50", "timm/convnext_tiny"),
        ("timm/swin_tiny_patch4_window7_224", "timm/swinv2_tiny_window8_256"),
        ("timm/densenet121", "timm/densenet169"),
        ("timm/hrnet_w18", "timm/inception_v3"),
    ],
)
def test_nothing_is_drawn_outside_the_page(between, a, b):
    root = drawn(between(a, b))
    width, height = float(root.get("width")), float(root.get("height"))
    assert width <= 1700
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(rect.get("x", 0)) + float(rect.get("width")) <= width
        assert float(rect.get("y", 0)) + float(rect.get("height")) <= height


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (network(), chain("conv")),
        (chain(), chain("linear")),
        (chain("unknown"), chain("unknown", "unknown")),
        (network(("conv", []), ("relu", [])), chain("gelu")),
        (chain(*["relu", "unknown"] * 400), chain(*["conv", "unknown"] * 300)),
    ],
    ids=["empty", "one-node", "unknown", "disconnected", "long"],
)
def test_degenerate_networks_are_told_and_drawn(a, b):
    for x, y in ((a, b), (b, a)):
        found = diff_graphs(x, y, "x", "y")
        assert found.text()
        assert found.stat()
        assert json.dumps(found.to_dict())
        drawn(found)


def test_a_card_of_more_boxes_than_fit_says_so():
    rng = np.random.default_rng(0)
    found = diff_graphs(chain(*rng.choice(["conv", "linear", "embedding"], 60)), chain("conv"), "x", "y")
    assert "more operators" in found.svg()


def test_counted_leaves_forms_out_of_very_large_graphs(monkeypatch):
    from netatlas.graph import explain

    monkeypatch.setattr(explain, "LARGEST_COUNTED", 10)
    assert "residual" in counted(blocks(4))
    assert "residual" not in counted(blocks(4), bounded=True)
    assert "residual" in counted(blocks(1), bounded=True)
