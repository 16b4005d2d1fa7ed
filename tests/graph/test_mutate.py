"""Random edits: networks stay networks, with sizes and costs that an independent count confirms."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netatlas.atlas.atlas import Atlas
from netatlas.errors import ConfigError, GraphError
from netatlas.graph._mutate_edits import GROUPS, _remove, _repeat, repeated
from netatlas.graph._mutate_width import Widths
from netatlas.graph._sketch import Sketch
from netatlas.graph.blocks import structure
from netatlas.graph.canonical import content_hash
from netatlas.graph.cells import draw, network
from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.mutate import KINDS, mutate, mutations
from netatlas.graph.serialize import from_bytes, to_bytes

NAMES = (
    "timm/resnet18", "timm/resnext50_32x4d", "timm/densenet121", "timm/mobilenetv3_small_100", "timm/vit_tiny_patch16_224",
    "timm/swin_tiny_patch4_window7_224", "timm/convnext_tiny", "timm/mixer_s16_224", "torchvision/googlenet", "transformers/bert",
    "transformers/albert", "transformers/mamba", "transformers/t5",
)  # fmt: skip


@pytest.fixture(scope="module")
def atlas():
    return Atlas.open(None)


def _graph(atlas: Atlas, name: str) -> Graph:
    known = atlas.with_graphs()
    return atlas.graph(name if name in known else next(i for i in known if i.startswith(name)))


@pytest.fixture(scope="module")
def graphs(atlas):
    return {name: _graph(atlas, name) for name in NAMES}


def _odd_layers(graph: Graph) -> set[str]:
    """Modules of convolutions and linear layers whose parameters and MACs do not follow from the shapes beside them."""
    odd = set()
    for i, op in enumerate(graph.names):
        if op not in ("conv", "linear") or len(graph.inputs[i]) != 1 or not graph.params[i]:
            continue
        kernel = [int(k) for k in graph.attrs[i, :3] if k]
        axis = -1 - (len(kernel) if op == "conv" else 0)
        source = graph.inputs[i][0]
        heads = int(graph.attr("heads")[source]) or 1
        out, given_ = int(graph.shape[i][axis]), int(graph.shape[source][axis]) * heads
        groups = max(int(graph.attr("groups")[i]), 1)
        weights = out * given_ // groups * int(np.prod(kernel, dtype=int)) if op == "conv" else out * given_
        if (
            given_ % groups
            or int(graph.params[i]) not in (weights, weights + out)
            or graph.macs[i] * out != graph.numel[i] * weights
        ):
            odd.add(re.sub(r"\d+", "#", graph.scopes[graph.scope[i]].path))
    return odd


@settings(max_examples=25)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**16), k=st.integers(1, 6))
def test_edits_keep_sizes_consistent(graphs, name, seed, k):
    graph = graphs[name]
    made = mutate(graph, k, np.random.default_rng(seed))
    assert _odd_layers(made) <= _odd_layers(graph)
    assert made.total_params is None or made.total_params - graph.total_params == made.params.sum() - graph.params.sum()
    assert [made.name(i) for i in made.outputs] == [graph.name(i) for i in graph.outputs]
    assert len(made.scopes) >= 1
    assert [made.node_shape(i) for i in made.outputs] == [graph.node_shape(i) for i in graph.outputs]
    assert set(made.scope.tolist()) == set(range(len(made.scopes)))
    assert content_hash(from_bytes(to_bytes(made))) == content_hash(made) != content_hash(graph)


@given(seed=st.integers(0, 2**16))
def test_the_same_state_gives_the_same_chain_and_fewer_edits_a_part_of_it(graphs, seed):
    graph = graphs["timm/resnet18"]
    chain = [m.graph for m in islice(mutations(graph, np.random.default_rng(seed)), 4)]
    hashes = [content_hash(g) for g in (graph, *chain)]
    assert len(set(hashes)) == 5
    for k, expected in enumerate(hashes):
        assert content_hash(mutate(graph, k, np.random.default_rng(seed))) == expected


def test_no_edits_change_nothing(graphs):
    for graph in graphs.values():
        assert mutate(graph, 0, np.random.default_rng(0)) is graph
        assert to_bytes(Sketch(graph).graph()) == to_bytes(graph)


@pytest.mark.parametrize(("small", "large"), [("tiny", "small"), ("small", "base")])
def test_twice_the_width_of_a_vision_transformer_is_its_published_sister(atlas, small, large):
    sketch = Sketch(atlas.graph(f"timm/vit_{small}_patch16_224"))
    widths = Widths(sketch)
    assert widths.scale(set(widths.scalable()), Fraction(2))
    assert content_hash(sketch.graph()) == content_hash(atlas.graph(f"timm/vit_{large}_patch16_224"))


def _with_depths(graph: Graph, wanted: dict[str, int]) -> Graph:
    for label, count in wanted.items():
        while True:
            blocks = {b.path or b.label: b for b in repeated(structure(graph))}
            block = next(b for path, b in blocks.items() if path == label)
            if block.repeat == count:
                break
            sketch = Sketch(graph)
            change = _repeat if block.repeat < count else _remove
            assert change(sketch, block.copies[-1], block)
            graph = sketch.graph()
    return graph


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("resnet18", "resnet34", {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}),
        ("resnet152", "resnet50", {"layer2": 4, "layer3": 6}),
        ("convnext_tiny", "convnext_small", {"stages.2.blocks": 27}),
    ],
)
def test_other_depths_are_published_sisters(atlas, one, other, wanted):
    made = _with_depths(atlas.graph(f"timm/{one}"), wanted)
    assert content_hash(made) == content_hash(atlas.graph(f"timm/{other}"))
    assert {s.path for s in made.scopes} == {s.path for s in atlas.graph(f"timm/{other}").scopes}


def test_every_kind_of_edit_happens_and_does_what_it_says(graphs):
    seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for seed in range(12):
        before = graphs["timm/mobilenetv3_small_100"]
        for found in islice(mutations(before, np.random.default_rng(seed)), 6):
            seen[found.kind].add(found.what.split()[0])
            same_nodes = len(found.graph) == len(before)
            assert same_nodes == (found.kind in ("width", "operator"))
            if found.kind == "operator":
                assert (found.graph.op != before.op).any() or "kernel" in found.what
            if found.kind == "width":
                assert (found.graph.op == before.op).all()
                assert (found.graph.shape != before.shape).any()
            before = found.graph
    assert all(seen.values())
    assert {"a", "an"} <= seen["block"]


def test_an_inserted_squeeze_excite_gates_what_it_squeezes(graphs):
    graph = graphs["timm/resnet18"]
    sketch = Sketch(graph)
    edit = next(e for e in GROUPS["block"] if e.__name__ == "squeeze_excite")
    assert edit(sketch, lambda: structure(graph), np.random.default_rng(0))
    made = sketch.graph()
    new = [i for i in range(len(made)) if made.scopes[made.scope[i]].cls == "SqueezeExcite"]
    assert [made.name(i) for i in new] == ["global_avg_pool", "conv", "relu", "conv", "sigmoid", "mul"]
    gated = made.inputs[new[0]][0]
    width, reduced = int(made.shape[gated][MAX_RANK - 3]), int(made.shape[new[1]][MAX_RANK - 3])
    assert made.inputs[new[-1]] == (gated, new[-2])
    assert reduced == max(width // 16, 4)
    assert made.params.sum() - graph.params.sum() == 2 * width * reduced + width + reduced
    assert made.macs.sum() - graph.macs.sum() == 2 * width * reduced


def test_shared_weights_are_never_removed_with_their_owner(graphs):
    graph = graphs["transformers/albert"]
    for seed in range(6):
        made = mutate(graph, 3, np.random.default_rng(seed))
        if (made.attr("flags") & 8).any():
            assert made.params.sum() > 0.1 * graph.params.sum()


def test_synthetic_cells_can_be_edited():
    rng = np.random.default_rng(0)
    graph = network(draw(rng), draw(rng), 8)
    assert len({content_hash(mutate(graph, k, np.random.default_rng(1))) for k in range(4)}) == 4


def test_what_cannot_be_edited_is_refused(graphs):
    with pytest.raises(ConfigError, match="k must be 0 or more, got -1"):
        mutate(graphs["timm/resnet18"], -1, np.random.default_rng(0))
    one = Graph(
        op=np.zeros(1), attrs=np.zeros((1, 11)), shape=np.ones((1, 6)), params=np.zeros(1), macs=np.zeros(1), scope=np.zeros(1),
        edges=np.zeros((0, 2)),
    )  # fmt: skip
    with pytest.raises(GraphError, match="no edit applies to a graph of 1 nodes"):
        mutate(one, 1, np.random.default_rng(0))
    assert mutate(one, 0, np.random.default_rng(0)) is one
