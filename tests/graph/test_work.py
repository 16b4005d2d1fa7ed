"""The work of a graph against sums made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.ops import ATTRIBUTE_COLUMN, ATTRIBUTES, OP_ID
from netatlas.graph.work import COLUMNS, COMPUTE, TRAFFIC, node_classes, pack, unpack, work


def graph(nodes, edges):
    """Nodes as ``(operator, shape, params, macs, attributes)``."""
    attrs = np.zeros((len(nodes), len(ATTRIBUTES)), dtype=np.int32)
    shape = np.zeros((len(nodes), MAX_RANK), dtype=np.int64)
    for i, (_, size, _, _, given) in enumerate(nodes):
        shape[i, MAX_RANK - len(size) :] = size
        for name, value in given.items():
            attrs[i, ATTRIBUTE_COLUMN[name]] = value
    return Graph(
        np.array([OP_ID[n[0]] for n in nodes]), attrs, shape, np.array([n[2] for n in nodes], dtype=np.int64),
        np.array([n[3] for n in nodes], dtype=np.int64), np.zeros(len(nodes)), np.array(edges).reshape(-1, 2),
    )  # fmt: skip


# 3x3 convolution 3 -> 8 on 32x32, depthwise 3x3, grouped 3x3 in 2 groups, 1x1 to 16, ReLU, global pooling, linear to 10
TINY = graph(
    [
        ("input", (1, 3, 32, 32), 0, 0, {}),
        ("conv", (1, 8, 32, 32), 216, 221_184, {"kernel_h": 3, "kernel_w": 3, "groups": 1}),
        ("conv", (1, 8, 32, 32), 72, 73_728, {"kernel_h": 3, "kernel_w": 3, "groups": 8}),
        ("conv", (1, 8, 32, 32), 288, 294_912, {"kernel_h": 3, "kernel_w": 3, "groups": 2}),
        ("conv", (1, 16, 32, 32), 128, 131_072, {"kernel_h": 1, "kernel_w": 1, "groups": 1}),
        ("relu", (1, 16, 32, 32), 0, 0, {}),
        ("global_avg_pool", (1, 16, 1, 1), 0, 0, {}),
        ("linear", (1, 10), 170, 160, {}),
    ],
    [(i, i + 1) for i in range(7)],
)


def test_sums_equal_those_made_by_hand():
    found = dict(zip(COLUMNS, work(TINY).tolist(), strict=True))
    assert found["spatial.macs"] == 3 * 3 * 3 * 8 * 32 * 32
    assert found["depthwise.macs"] == 3 * 3 * 8 * 32 * 32
    assert found["grouped.macs"] == 3 * 3 * 4 * 8 * 32 * 32
    assert found["pointwise.macs"] == 8 * 16 * 32 * 32
    assert found["linear.macs"] == 160
    assert found["spatial.weights"] == 4 * 216
    assert found["spatial.bytes"] == 4 * (3 + 8) * 1024  # reads the image, writes eight maps
    assert found["act_cheap.bytes"] == 4 * (16 + 16) * 1024
    assert found["pool.bytes"] == 4 * (16 * 1024 + 16)
    assert found["linear.bytes"] == 4 * (16 + 10)
    assert sum(found[f"{name}.count"] for name in COMPUTE + TRAFFIC) == 7
    assert (found["params"], found["input"], found["output"], found["depth"]) == (874, 3072, 10, 5)
    assert found["classifier"] == 1
    assert found["unknown"] == 0


def test_classes_add_up_to_the_graph():
    found = dict(zip(COLUMNS, work(TINY).tolist(), strict=True))
    assert sum(found[f"{name}.macs"] for name in COMPUTE) == TINY.macs.sum()
    assert sum(found[f"{name}.weights"] for name in COMPUTE) == 4 * TINY.params.sum()
    assert (node_classes(TINY) < 0).tolist() == [True] + [False] * 7


def test_a_detector_and_a_text_model_are_no_classifiers():
    text = graph([("input", (1, 128), 0, 0, {}), ("embedding", (1, 128, 64), 640, 0, {})], [(0, 1)])
    maps = graph(
        [("input", (1, 3, 64, 64), 0, 0, {}), ("conv", (1, 21, 64, 64), 63, 63 * 4096, {"kernel_h": 1, "kernel_w": 1})], [(0, 1)]
    )
    column = COLUMNS.index("classifier")
    assert work(text)[column] == 0
    assert work(maps)[column] == 0


@pytest.mark.parametrize("operator", ["input", "linear", "unknown", "nms"])
def test_one_node(operator):
    found = work(graph([(operator, (1, 4), 20, 16, {})], []))
    assert found.shape == (len(COLUMNS),)
    assert np.isfinite(found).all()
    assert (found >= 0).all()


def test_a_hundred_thousand_nodes_are_a_sum_like_any_other():
    g = 100_000
    shape = np.ones((g, MAX_RANK), dtype=np.int64)
    many = Graph(
        np.full(g, OP_ID["relu"]), np.zeros((g, len(ATTRIBUTES))), shape, np.zeros(g), np.zeros(g), np.zeros(g),
        np.stack([np.arange(g - 1), np.arange(1, g)], axis=1),
    )  # fmt: skip
    found = dict(zip(COLUMNS, work(many).tolist(), strict=True))
    assert found["act_cheap.count"] == g
    assert found["act_cheap.bytes"] == 4 * (2 * g - 1)


def test_stored_vectors_come_back_and_other_versions_do_not():
    np.testing.assert_allclose(unpack(pack(work(TINY))), work(TINY), rtol=1e-6)
    assert unpack(pack(work(TINY))[:-4]) is None
