"""The block structure: every node in one place, repeats as the papers state them, robust to odd scopes, fast."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netatlas.graph.blocks import Block, outline, structure
from netatlas.graph.graph import Graph, Scope
from netatlas.graph.ops import ATTRIBUTES, OP_ID


def make(ops: list[str], edges: list[tuple[int, int]], scopes: list[str] | None = None, widths: list[int] | None = None) -> Graph:
    """A small graph by operator names and scope paths; weighted nodes have ten parameters and a hundred MACs."""
    g = len(ops)
    shape = np.zeros((g, 6), dtype=np.int64)
    shape[:, 3:] = (1, 5, 8)
    shape[:, 5] = widths or [8] * g
    paths = scopes or [""] * g
    known = list(dict.fromkeys(paths))
    weighted = np.array([op in ("conv", "linear") for op in ops], dtype=np.int64)
    return Graph(
        op=np.array([OP_ID[op] for op in ops], dtype=np.uint8), attrs=np.zeros((g, len(ATTRIBUTES)), dtype=np.int32), shape=shape,
        params=10 * weighted, macs=100 * weighted, scope=np.array([known.index(p) for p in paths], dtype=np.int32),
        edges=np.array(sorted(edges, key=lambda e: (e[1], e[0])), dtype=np.int32).reshape(-1, 2),
        scopes=tuple(Scope(p, "") for p in known) or (Scope("", ""),),
    )  # fmt: skip


def chain(ops: list[str], scopes: list[str] | None = None, widths: list[int] | None = None) -> Graph:
    return make(ops, [(i, i + 1) for i in range(len(ops) - 1)], scopes, widths)


def walk(block: Block) -> Iterator[Block]:
    yield block
    for child in block.children:
        yield from walk(child)


def repeats(root: Block) -> list[tuple[str, int]]:
    return [(b.label, b.repeat) for b in root.children if b.repeat > 1]


def check(graph: Graph, root: Block) -> None:
    """The laws of a structure: children partition their parent's pattern, copies are of one size, sums and order are right."""
    assert root.nodes == root.pattern == tuple(range(len(graph)))
    for block in walk(root):
        assert list(block.nodes) == sorted(set(block.nodes))
        assert set(block.pattern) <= set(block.nodes)
        assert block.params == int(graph.params[list(block.nodes)].sum())
        assert block.macs == int(graph.macs[list(block.nodes)].sum())
        assert block.repeat > 1 or block.pattern == block.nodes
        if block.children:
            assert sorted(i for c in block.children for i in c.nodes) == list(block.pattern)
            home = {i: n for n, c in enumerate(block.children) for i in c.nodes}
            assert all(home[x] <= home[i] for i in block.pattern for x in graph.inputs[i] if x in home), (
                "children in topological order"
            )


@cache
def traced(name: str) -> Graph:
    torch = pytest.importorskip("torch")
    from netatlas.graph.trace import trace

    if name.startswith("transformers/"):
        transformers = pytest.importorskip("transformers")
        config, auto, layers = _TRANSFORMERS[name]
        ids = torch.ones(1, 16, dtype=torch.long, device="meta")
        with torch.device("meta"):
            module = getattr(transformers, auto).from_config(getattr(transformers, config)(**layers)).eval()
        given_ = {"input_ids": ids, "use_cache": False} | ({"decoder_input_ids": ids} if "Seq2Seq" in auto else {})
        return trace(module, (), given_).graph
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        module = timm.create_model(name).eval()
    return trace(module, (torch.empty(1, *module.default_cfg["input_size"], device="meta"),)).graph


_TRANSFORMERS = {
    "transformers/llama": ("LlamaConfig", "AutoModelForCausalLM", {"num_hidden_layers": 32}),
    "transformers/t5": ("T5Config", "AutoModelForSeq2SeqLM", {"num_layers": 6}),
    "transformers/mamba2": ("Mamba2Config", "AutoModelForCausalLM", {"num_hidden_layers": 24}),
}

DEPTHS: dict[str, list[int]] = {
    "resnet18": [2, 2, 2, 2],
    "efficientnet_b0": [2, 2, 3, 3, 4],
    "vit_base_patch16_224": [12],
    "swin_tiny_patch4_window7_224": [2, 2, 6, 2],
    "resnet50": [3, 4, 6, 3],
    "convnext_tiny": [3, 3, 9, 3],
    "densenet121": [6, 12, 24, 16],
    "mixer_b16_224": [12],
    "mobilenetv3_large_100": [2, 3, 4, 2, 3],
    "regnety_032": [2, 5, 13],
    "coatnet_0_rw_224": [2, 3, 7, 2],
    "nasnetalarge": [5, 5, 5],
    "transformers/llama": [32],
    "transformers/t5": [6, 6],
    "transformers/mamba2": [24],
}
"""Depths of the stages as the papers (or the configurations) state them; stages of one block do not repeat."""

FAST = ("resnet18", "efficientnet_b0", "vit_base_patch16_224", "swin_tiny_patch4_window7_224")
NETWORKS = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in DEPTHS]


def stage_depths(root: Block) -> list[int]:
    """Repeats of the outermost repeated blocks, in order."""
    found = []
    for child in root.children:
        found += [child.repeat] if child.repeat > 1 else stage_depths(child)
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_are_as_deep_as_the_paper_says(name: str) -> None:
    graph = traced(name)
    root = structure(graph)
    check(graph, root)
    if name == "nasnetalarge":
        assert [b.repeat for b in root.children if b.repeat > 1] == DEPTHS[name]
    else:
        assert stage_depths(root) == DEPTHS[name]
    lines = outline(graph).splitlines()
    assert max(map(len, lines)) <= 100
    assert 3 <= len(lines) <= 100


@pytest.mark.parametrize("name", ["resnet18", "vit_base_patch16_224", "swin_tiny_patch4_window7_224"])
def test_stages_are_found_without_scopes(name: str) -> None:
    graph = traced(name)
    bare = dataclasses.replace(graph, scope=np.zeros(len(graph), dtype=np.int32), scopes=(Scope("", ""),))
    root = structure(bare)
    check(bare, root)
    assert stage_depths(root) == DEPTHS[name]


@pytest.mark.slow
def test_dense_layers_are_found_without_scopes() -> None:
    graph = traced("densenet121")
    bare = dataclasses.replace(graph, scope=np.zeros(len(graph), dtype=np.int32), scopes=(Scope("", ""),))
    assert stage_depths(structure(bare)) == [6, 12, 24, 16]


def test_an_outline_says_what_a_reader_looks_for() -> None:
    lines = outline(traced("resnet18")).splitlines()
    assert " ".join(lines[0].split()) == "stem Conv 7x7/2 64, MaxPool 3x3/2, BN, ReLU 64x56x56 9.54k 118 MMAC"
    assert lines[1].startswith("layer1 x 2")
    assert "BasicBlock: 2 Conv 3x3 64, BN, ReLU, +" in lines[1]
    assert "head" in lines[-1]
    assert len({line.rfind("MAC") for line in lines}) == 1, "columns are aligned"


def test_the_first_block_of_a_stage_is_told_apart() -> None:
    layer2 = next(b for b in structure(traced("resnet18")).children if b.label == "layer2")
    assert layer2.cls == "BasicBlock"
    assert layer2.varies == "first: stride 2, + Conv 1x1/2"
    assert layer2.shape_in == (1, 64, 56, 56)
    assert layer2.shape_out == (1, 128, 28, 28)
    assert not layer2.parallel


def test_exact_copies_do_not_vary() -> None:
    scopes = ["", *[f"net.{i // 3}.{'abc'[i % 3]}" for i in range(12)]]
    graph = chain(["input", *["conv", "relu", "linear"] * 4], scopes)
    block = structure(graph).children[-1]
    assert (block.label, block.repeat, block.varies) == ("net", 4, "")


def test_widths_that_change_end_a_stage() -> None:
    scopes = [f"blocks.{i // 3}.{'abc'[i % 3]}" for i in range(18)]
    graph = chain(["conv", "gelu", "linear"] * 6, scopes, [8] * 9 + [16] * 9)
    assert [n for _, n in repeats(structure(graph))] == [3, 3]


def test_a_module_called_twice_appears_twice_and_in_order() -> None:
    ops = ["input", "conv", "relu", "linear", "linear", "relu", "conv", "relu", "linear", "linear"]
    scopes = ["", "a.conv", "a.act", "b.one", "b.two", "act", "a.conv", "a.act", "b.one", "b.two"]
    graph = chain(ops, scopes)
    root = structure(graph)
    check(graph, root)
    found = [(b.label, b.nodes) for b in root.children[1:]]
    assert found == [
        ("a", (1, 2)),
        ("b", (3, 4)),
        ("act", (5,)),
        ("a", (6, 7)),
        ("b", (8, 9)),
    ]


def test_a_shared_layer_that_loops_is_a_repeat() -> None:
    scopes = ["", *[f"group.{part}" for _ in range(12) for part in ("query", "attention", "out", "norm")]]
    graph = chain(["input", *["linear", "attention", "linear", "layer_norm"] * 12], scopes)
    root = structure(graph)
    check(graph, root)
    assert 12 in stage_depths(root)


def test_interleaved_branches_are_kept_together() -> None:
    ops = ["input", "conv", "conv", "relu", "relu", "conv", "conv", "concat"]
    edges = [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7), (6, 7)]
    scopes = ["", "left.a", "right.a", "left.b", "right.b", "left.c", "right.c", ""]
    graph = make(ops, edges, scopes, [8, 8, 4, 8, 4, 8, 4, 8])
    root = structure(graph)
    check(graph, root)
    assert [b.nodes for b in root.children if len(b.nodes) == 3] == [(1, 3, 5), (2, 4, 6)]


def test_copies_side_by_side_are_said_to_be_parallel() -> None:
    ops = ["input", *["linear", "gelu", "linear"] * 4, "concat"]
    edges = [(0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (0, 10), (10, 11), (11, 12)]
    edges += [(3, 13), (6, 13), (9, 13), (12, 13)]
    scopes = ["", *[f"experts.{i}.{p}" for i in range(4) for p in ("up", "act", "down")], ""]
    experts = next(b for b in structure(make(ops, edges, scopes)).children if b.repeat > 1)
    assert (experts.label, experts.repeat, experts.parallel) == ("experts", 4, True)


def test_parameters_of_tied_layers_are_called_shared() -> None:
    graph = chain(["input", "conv", "relu", "linear", "relu", "linear"], ["", "a.x", "a.y", "b.x", "b.y", "tied"])
    flags = graph.attrs.copy()
    flags[5, ATTRIBUTES.index("flags")] = 8
    params = graph.params.copy()
    params[5] = 0
    tied = dataclasses.replace(graph, attrs=flags, params=params)
    assert outline(tied).splitlines()[-1].split()[-3:-1] == ["shared", "100"]


def test_empty_and_tiny_graphs() -> None:
    assert structure(make([], [])).nodes == ()
    assert outline(make([], [])) == ""
    for ops in (["input"], ["relu"], ["input", "conv"]):
        graph = chain(ops)
        check(graph, structure(graph))
        assert len(outline(graph).splitlines()) == sum(op != "input" for op in ops)


def test_disconnected_parts_are_all_there() -> None:
    graph = make(["input", "conv", "input", "linear", "relu"], [(0, 1), (2, 3), (3, 4)], ["", "a", "", "b.x", "b.y"])
    check(graph, structure(graph))


@pytest.mark.parametrize("kind", ["same", "random", "periodic", "deep"])
def test_long_chains_take_bounded_time(kind: str) -> None:
    names = ["conv", "relu", "batch_norm", "linear", "add", "gelu"]
    rng = np.random.default_rng(1)
    picked = {"same": [1], "periodic": [0, 2, 1, 3]}.get(kind) or rng.integers(0, 6, 5000).tolist()
    ops = ["input", *(names[picked[i % len(picked)]] for i in range(5000))]
    scopes = ["", *(".".join(["m"] * (i % 300)) for i in range(5000))] if kind == "deep" else None
    graph = chain(ops, scopes)
    start = time.process_time()
    root = structure(graph)
    assert time.process_time() - start < 5
    check(graph, root)
    if kind == "same":
        assert 5000 in stage_depths(root)
    if kind == "periodic":
        assert max(b.repeat for b in walk(root)) >= 1249


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    g = draw(st.integers(1, 40))
    ops = draw(st.lists(st.sampled_from(["conv", "relu", "linear", "add", "attention", "mul"]), min_size=g, max_size=g))
    paths = ["", "a", "a.0", "a.0.x", "a.1.x", "a.1", "b", "b.c", "b.c.d", "b.0"]
    scopes = draw(st.lists(st.sampled_from(paths), min_size=g, max_size=g))
    pairs = draw(st.lists(st.tuples(st.integers(0, g - 1), st.integers(0, g - 1)), max_size=60, unique=True))
    return make(ops, [(a, b) for a, b in pairs if a < b], scopes)


@settings(deadline=None, max_examples=150)
@given(networks())
def test_any_scopes_and_wiring_give_a_partition_in_order(graph: Graph) -> None:
    root = structure(graph)
    check(graph, root)
    assert structure(graph) == root
    assert all(len(line) <= 100 for line in outline(graph).splitlines())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["conv", "relu", "linear", "gelu", "attention"]), min_size=5, max_size=9), st.integers(3, 9))
def test_what_is_written_n_times_is_found_n_times(pattern: list[str], n: int) -> None:
    scopes = [f"layers.{i}.m{j}.op" for i in range(n) for j in range(len(pattern))]
    root = structure(chain(["input", *pattern * n, "sub"], ["", *scopes, ""]))
    covered = Counter({b.repeat * len(b.pattern): 1 for b in walk(root) if b.repeat > 1})
    assert max(covered) == n * len(pattern)
