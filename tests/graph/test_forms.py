"""Named forms on real networks whose papers say how many there are."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm", reason="needs the extra 'zoo'")

from netatlas.graph import costs
from netatlas.graph.forms import FORMS, form_nodes, forms
from netatlas.graph.trace import trace
from netatlas.sources.timm import TimmSource

EXPECTED = {
    "resnet50": {"bottleneck": 16, "residual": 16, "convolution_stem": 1},
    "efficientnet_b0": {"squeeze_excite": 16, "inverted_residual": 15, "depthwise_conv": 16, "residual": 9},
    "vit_tiny_patch16_224": {
        "self_attention": 12,
        "transformer_block": 12,
        "patch_embedding": 1,
        "class_token": 1,
        "position_embedding": 1,
    },
    "swin_tiny_patch4_window7_224": {"window_attention": 10, "relative_position_bias": 12, "transformer_block": 12},
    "convnext_atto": {"large_kernel_conv": 12, "layer_scale": 12, "separable_conv": 12, "patch_embedding": 1},
    "mixer_s32_224": {"token_mixing_mlp": 8},
    "repvgg_a0": {"reparameterised_branch": 22},
    "densenet121": {"dense_connection": 58},
    "xcit_nano_12_p16_224": {"self_attention": 14},
    "resnetv2_50x1_bit": {"weight_standardisation": 53},
    "convnextv2_atto": {"global_response_norm": 12},
    "eca_resnet33ts": {"channel_attention": 10},
}
ABSENT = {
    "resnet50": {"squeeze_excite", "self_attention", "depthwise_conv", "gated_linear_unit", "dense_connection"},
    "vit_tiny_patch16_224": {"cross_attention", "window_attention", "gated_linear_unit", "causal_attention", "depthwise_conv"},
    "efficientnet_b0": {"gated_linear_unit", "dense_connection", "self_attention"},
    "densenet121": {"residual", "unet_skip"},
}


@pytest.fixture(scope="module")
def graphs():
    found = {}

    def get(name):
        if name not in found:
            specimen = TimmSource().specimen(name)
            found[name] = trace(specimen.module, specimen.args).graph
        return found[name]

    return get


@pytest.mark.parametrize("name", EXPECTED)
def test_counts(name, graphs):
    found = forms(graphs(name))
    assert {form: found.get(form, 0) for form in EXPECTED[name]} == EXPECTED[name]


@pytest.mark.parametrize("name", ABSENT)
def test_absent(name, graphs):
    assert not ABSENT[name] & set(forms(graphs(name)))


@pytest.mark.parametrize(("name", "depth"), [("resnet50", 50), ("densenet121", 121)])
def test_depth_is_the_number_in_the_name(name, depth, graphs):
    assert costs.depth(graphs(name)) == depth


def test_nodes_of_a_form_are_its_count(graphs):
    graph = graphs("efficientnet_b0")
    counted = forms(graph)
    assert all(len(form_nodes(graph, name)) == counted.get(name, 0) for name in FORMS)


def test_sequence_forms():
    transformers = pytest.importorskip("transformers", reason="needs the extra 'zoo'")
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=100
    )
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    graph = trace(model, (), {"input_ids": torch.zeros(1, 16, dtype=torch.long, device="meta"), "use_cache": False}).graph
    found = forms(graph)
    assert {name: found.get(name) for name in ("gated_linear_unit", "grouped_query_attention", "causal_attention", "transformer_block")} == {
        "gated_linear_unit": 2, "grouped_query_attention": 2, "causal_attention": 2, "transformer_block": 2,
    }  # fmt: skip
    assert graph.op_counts()["rms_norm"] == 5
    assert graph.op_counts()["rope"] == 4
    assert "cross_attention" not in found


def test_attention_within_a_window_in_both_directions_is_not_causal():
    class Local(torch.nn.Module):
        def forward(self, q, k, v):
            places = torch.arange(10)
            near = (places[:, None] - places[None, :]).abs() <= 2
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=near)

    graph = trace(Local(), tuple(torch.randn(1, 2, 10, 4) for _ in range(3))).graph
    assert "causal_attention" not in forms(graph)


def test_cross_attention_of_an_encoder_decoder():
    layer = torch.nn.Transformer(32, 4, 2, 2, 64, batch_first=True)
    graph = trace(layer, (torch.randn(1, 10, 32), torch.randn(1, 7, 32))).graph
    assert forms(graph)["cross_attention"] == 2
    assert forms(graph)["self_attention"] == 4
