"""The torchvision source against the counts torchvision publishes with its weights."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision", reason="needs the extra 'zoo'")

from netatlas.graph.ops import OP_ID
from netatlas.sources.torchvision import TorchvisionSource

SOURCE = TorchvisionSource()
FAST = ("resnet18", "regnet_y_400mf", "fcn_resnet50", "googlenet", "r3d_18", "vit_b_16")


def frozen(architecture):
    """Parameters that become constants when a detector is built with its weights, which freeze the batch norms of the backbone."""
    if "detection" not in architecture.facts["module"]:
        return 0
    graph = architecture.graph
    return int(graph.params[graph.op == OP_ID["batch_norm"]].sum())


def check(name):
    architecture, *models = SOURCE.read(name)
    default = torchvision.models.get_model_weights(name).DEFAULT
    same = [m for m in models if m.facts["input_size"] == architecture.facts["input_size"]]
    assert {architecture.facts["params"], architecture.facts["params"] - frozen(architecture)} & {
        m.facts["params"] for m in models
    }
    published = {round(m.facts["macs"] / 1e9, 3) for m in same}
    if "rcnn" in name:  # the second stage costs what the first proposes: with random weights nothing, published with 1,000 boxes
        assert architecture.facts["macs"] / 1e9 <= max(published) + 0.001
    elif published and not name.startswith("raft"):  # published for fewer refinement steps than a forward pass makes by default
        assert round(architecture.facts["macs"] / 1e9, 3) in published
    assert architecture.facts["unknown_ops"] == 0
    assert int(architecture.graph.params.sum()) <= architecture.facts["params"]
    assert default.meta["num_params"] in {m.facts["params"] for m in models}


def test_every_architecture_is_listed():
    assert SOURCE.names() == sorted(torchvision.models.list_models())


@pytest.mark.parametrize("name", FAST)
def test_counts_are_the_published_ones(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in torchvision.models.list_models() if n not in FAST])
def test_counts_of_all_others(name):
    check(name)


def test_detectors_are_traced_by_running_them():
    architecture = SOURCE.read("ssdlite320_mobilenet_v3_large")[0]
    assert architecture.facts["traced_by"] == "dispatch-cpu"
    assert architecture.facts["task"] == ("object-detection",)
    assert architecture.facts["input_size"] == 320
