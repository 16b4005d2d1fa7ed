"""Named motifs on the stored graphs of architectures whose papers say how many they have, and on those that have none."""

from __future__ import annotations

import functools

import pytest

from netatlas.atlas import places
from netatlas.atlas._where_words import word_table
from netatlas.atlas.store import Store
from netatlas.graph.forms import FORMS, View, form_nodes, forms, occurrences

EXPECTED = {
    "depthwise_conv": ("timm/mobilenetv2_100", 17),
    "pointwise_conv": ("timm/resnet50", 36),
    "grouped_conv": ("timm/resnext50_32x4d", 16),
    "dilated_conv": ("torchvision/deeplabv3_resnet50", 11),
    "large_kernel_conv": ("timm/convnext_tiny", 18),
    "separable_conv": ("timm/mobilenetv1_100", 13),
    "partial_conv": ("timm/fasternet_t0", 13),  # 1 + 2 + 8 + 2 blocks
    "weight_standardisation": ("timm/resnetv2_50x1_bit", 53),
    "patch_embedding": ("timm/vit_base_patch16_224", 1),
    "overlapping_patch_embedding": ("timm/pvt_v2_b0", 4),  # one a stage
    "convolution_stem": ("timm/resnet18", 1),
    "deep_stem": ("timm/resnet50d", 1),
    "pooled_stem": ("timm/resnet18", 1),
    "patch_downsampling": ("timm/convnext_tiny", 3),
    "patch_merging": ("timm/swin_tiny_patch4_window7_224", 3),
    "antialiased_downsampling": ("timm/resnetblur50", 4),
    "transposed_upsampling": ("transformers/sam", 2),
    "interpolated_upsampling": ("torchvision/fcn_resnet50", 2),
    "pixel_shuffle_upsampling": ("transformers/swin2sr", 1),
    "residual": ("timm/resnet18", 8),
    "projection_shortcut": ("timm/resnet50", 4),
    "pooled_shortcut": ("timm/resnet50d", 3),  # not in the first stage, which keeps its size
    "basic_block": ("timm/resnet34", 16),
    "preactivation_block": ("timm/resnetv2_50", 16),
    "bottleneck": ("timm/resnet101", 33),
    "grouped_bottleneck": ("timm/resnext50_32x4d", 16),
    "inverted_residual": ("timm/mobilenetv2_100", 16),
    "fused_inverted_residual": ("timm/tf_efficientnetv2_s", 8),
    "convnext_block": ("timm/convnext_tiny", 18),
    "conditional_position": ("timm/twins_pcpvt_base", 4),
    "pooling_mixer": ("timm/poolformer_s12", 12),
    "reparameterised_branch": ("timm/repvgg_a0", 22),
    "squeeze_excite": ("timm/seresnet50", 16),
    "efficient_channel_attention": ("timm/ecaresnet50d", 16),
    "channel_attention": ("timm/ese_vovnet39b", 4),
    "split_attention": ("timm/resnest50d", 16),
    "selective_kernel": ("timm/skresnet18", 8),
    "global_context": ("timm/gcresnet50t", 16),
    "global_response_norm": ("timm/convnextv2_tiny", 18),
    "layer_scale": ("timm/cait_s24_224", 52),  # two in each of 24 layers and of 2 class-attention layers
    "spatial_gating": ("timm/gmlp_s16_224", 30),
    "dense_connection": ("timm/densenet121", 58),
    "inception_branches": ("torchvision/googlenet", 9),
    "atrous_pyramid": ("torchvision/deeplabv3_resnet50", 1),
    "pyramid_pooling": ("transformers/upernet", 1),
    "sequential_pooling": ("timm/cspnext_s", 1),
    "cross_stage_partial": ("timm/cspresnet50", 4),
    "one_shot_aggregation": ("timm/ese_vovnet39b", 6),
    "hierarchical_split": ("timm/res2net50_14w_8s", 16),
    "ghost_module": ("timm/ghostnet_100", 32),  # two in each of 16 bottlenecks
    "channel_shuffle": ("torchvision/shufflenet_v2_x1_0", 13),  # 16 units less 3 that change size
    "unet_skip": ("transformers/vitmatte", 4),
    "feature_pyramid": ("torchvision/fasterrcnn_resnet50_fpn", 3),
    "self_attention": ("timm/vit_base_patch16_224", 12),
    "cross_attention": ("transformers/bart", 12),
    "causal_attention": ("transformers/gpt2", 12),
    "grouped_query_attention": ("transformers/mistral", 32),
    "latent_attention": ("transformers/deepseek_v2", 32),
    "rotary_attention": ("transformers/llama", 32),
    "query_key_norm": ("transformers/qwen3", 32),
    "window_attention": ("timm/swin_tiny_patch4_window7_224", 10),
    "shifted_window_attention": ("timm/swin_tiny_patch4_window7_224", 5),  # half of 12, the last stage is one window
    "relative_position_bias": ("timm/swin_tiny_patch4_window7_224", 12),
    "spatial_reduction_attention": ("timm/pvt_v2_b0", 6),  # not in the last of four stages of two
    "attention_pooling": ("timm/vit_base_patch16_siglip_224", 1),
    "linear_attention": ("timm/coat_tiny", 26),  # 4 stages of 2, then 6 parallel blocks at 3 scales
    "deformable_attention": ("transformers/deformable_detr", 12),
    "token_mixing_mlp": ("timm/mixer_b16_224", 12),
    "fourier_mixing": ("transformers/fnet", 12),
    "transformer_block": ("timm/vit_base_patch16_224", 12),
    "prenorm_block": ("timm/vit_base_patch16_224", 12),
    "postnorm_block": ("transformers/bert", 12),
    "residual_postnorm_block": ("timm/swinv2_tiny_window8_256", 12),
    "parallel_block": ("transformers/gptj", 28),
    "feed_forward": ("timm/vit_base_patch16_224", 12),
    "convolutional_feed_forward": ("timm/pvt_v2_b0", 8),
    "gated_linear_unit": ("transformers/llama", 32),
    "swiglu": ("transformers/llama", 32),
    "geglu": ("transformers/gemma", 28),
    "gated_convolution_block": ("timm/mambaout_tiny", 18),
    "conformer_convolution": ("transformers/wav2vec2-conformer", 12),
    "class_token": ("timm/vit_base_patch16_224", 1),
    "register_tokens": ("timm/vit_base_patch14_reg4_dinov2", 1),
    "position_embedding": ("timm/vit_base_patch16_224", 1),
    "shared_layers": ("transformers/albert", 66),  # six layers in eleven of twelve blocks
    "state_space": ("transformers/mamba", 32),
    "mamba_mixer": ("transformers/mamba2", 64),
    "recurrent": ("timm/sequencer2d_s", 36),  # two LSTMs in each of 18 blocks
    "mixture_of_experts": ("transformers/mixtral", 32),
    "expert_router": ("transformers/mixtral", 32),
    "pooled_head": ("timm/resnet50", 1),
    "hidden_layer_head": ("torchvision/vgg16", 1),
    "class_token_head": ("timm/vit_base_patch16_224", 1),
    "language_model_head": ("transformers/llama", 1),
}

ABSENT = {
    "transformers/doge": "state_space mamba_mixer",
    "timm/resnet18": "bottleneck inverted_residual depthwise_conv preactivation_block deep_stem self_attention squeeze_excite dense_connection "
    "fused_inverted_residual grouped_bottleneck pooled_shortcut unet_skip cross_stage_partial spatial_attention layer_scale",
    "timm/resnet50": "basic_block grouped_conv grouped_bottleneck squeeze_excite channel_attention global_context split_attention "
    "hierarchical_split preactivation_block antialiased_downsampling feature_pyramid inception_branches",
    "timm/resnetv2_50": "basic_block reparameterised_branch",
    "timm/resnetrs50": "preactivation_block basic_block efficient_channel_attention",
    "timm/darknet53": "fused_inverted_residual inverted_residual bottleneck",
    "timm/vit_base_patch16_224": "cross_attention window_attention gated_linear_unit causal_attention depthwise_conv postnorm_block "
    "residual_postnorm_block parallel_block shifted_window_attention relative_position_bias layer_scale register_tokens query_key_norm "
    "rotary_attention linear_attention spatial_reduction_attention attention_pooling token_mixing_mlp overlapping_patch_embedding "
    "latent_attention grouped_query_attention convnext_block",
    "timm/efficientnet_b0": "gated_linear_unit dense_connection self_attention bottleneck efficient_channel_attention fused_inverted_residual "
    "convnext_block conditional_position ghost_module",
    "timm/densenet121": "residual unet_skip one_shot_aggregation inception_branches cross_stage_partial channel_shuffle",
    "timm/convnext_tiny": "squeeze_excite self_attention inverted_residual global_response_norm overlapping_patch_embedding bottleneck",
    "timm/mobilenetv1_100": "bottleneck inverted_residual residual",
    "timm/dla34": "cross_stage_partial dense_connection",
    "timm/levit_128": "token_mixing_mlp linear_attention",
    "timm/xcit_nano_12_p16_224": "relative_position_bias linear_attention",
    "timm/cait_s24_224": "relative_position_bias",
    "timm/mixer_b16_224": "self_attention spatial_gating transformer_block",
    "timm/hrnet_w18": "unet_skip atrous_pyramid",
    "timm/mambaout_tiny": "mamba_mixer state_space gated_linear_unit",
    "timm/efficientnet_cc_b0_4e": "antialiased_downsampling",
    "transformers/llama": "geglu mixture_of_experts grouped_bottleneck cross_attention latent_attention query_key_norm parallel_block "
    "postnorm_block linear_attention shared_layers mamba_mixer expert_router",
    "transformers/gemma": "swiglu",
    "transformers/bert": "prenorm_block causal_attention rotary_attention gated_linear_unit",
    "transformers/gpt2": "shared_layers cross_attention rotary_attention relative_position_bias",
    "transformers/deepseek_v2": "cross_attention linear_attention",
    "transformers/gpt_oss": "relative_position_bias",
    "transformers/mamba": "self_attention token_mixing_mlp linear_attention gated_linear_unit",
    "transformers/mixtral": "linear_attention",
    "transformers/xlstm": "state_space mamba_mixer",
    "transformers/segformer": "unet_skip feature_pyramid",
    "transformers/d_fine": "expert_router linear_attention",
    "torchvision/raft_large": "dense_connection",
}  # fmt: skip


@pytest.fixture(scope="module")
def graph():
    path = places.starter_path()
    assert path is not None, "the starter atlas is part of the package"
    with Store.open(path, "r", immutable=True) as store:

        @functools.cache
        def get(entry_id):
            found = store.graph(entry_id)
            assert found is not None, entry_id
            return found

        yield get


@pytest.fixture(scope="module")
def counted(graph):
    return functools.cache(lambda entry_id: forms(graph(entry_id)))


def test_every_named_motif_is_expected_somewhere():
    # No network of the three libraries has CBAM; it is tested on a module below.
    assert set(EXPECTED) == set(FORMS) - {"spatial_attention"}
    assert {name for names in ABSENT.values() for name in names.split()} <= set(FORMS)
    assert len(FORMS) >= 90


@pytest.mark.parametrize("name", EXPECTED)
def test_architectures_have_as_many_as_their_papers_say(name, counted):
    entry_id, count = EXPECTED[name]
    assert counted(entry_id).get(name, 0) == count


@pytest.mark.parametrize("entry_id", ABSENT)
def test_what_only_looks_like_it_is_not_named(entry_id, counted):
    assert not set(ABSENT[entry_id].split()) & set(counted(entry_id))


def test_every_named_motif_has_other_names_and_a_description():
    words = word_table()
    for name, motif in FORMS.items():
        assert name in words["forms"] or name in words["operators"], name
        assert motif.description.endswith("."), name
        assert len(motif.description) > 15


@pytest.mark.parametrize(
    "entry_id", ["timm/efficientnet_b0", "timm/swin_tiny_patch4_window7_224", "transformers/mamba", "timm/densenet121"]
)
def test_occurrences_count_like_forms_and_hold_what_tells_them(entry_id, graph, counted):
    seen = graph(entry_id)
    view = View(seen)
    for name, places_ in occurrences(seen).items():
        assert len(places_) == counted(entry_id)[name] == len(form_nodes(seen, name))
        for nodes, told in zip(places_, FORMS[name].find(view), strict=True):
            assert set(told) <= set(nodes)
            assert nodes == sorted(set(nodes))


def test_nothing_lies_between_that_no_way_passes(graph):
    # The squeeze-excite of a block: its pool, two convolutions with activations, the product; not the block around it.
    seen = graph("timm/seresnet50")
    assert {len(nodes) for nodes in occurrences(seen)["squeeze_excite"]} == {6}


def test_a_head_of_a_network_is_not_what_stands_before_it(graph):
    assert len(occurrences(graph("timm/resnet50"))["pooled_head"][0]) == 2


class TestModules:
    """What no library has, on a module."""

    @pytest.fixture(autouse=True)
    def _torch(self):
        self.torch = pytest.importorskip("torch")

    def test_spatial_attention_of_cbam(self):
        torch = self.torch

        class Spatial(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = torch.nn.Conv2d(2, 1, 7, padding=3)

            def forward(self, x):
                seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
                return x * self.conv(seen).sigmoid()

        from netatlas.graph.trace import trace

        found = forms(trace(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), Spatial()), (torch.randn(1, 3, 16, 16),)).graph)
        assert found["spatial_attention"] == 1
        assert "squeeze_excite" not in found

    @pytest.mark.parametrize("shape", [(1, 4), (4,)])
    def test_a_single_linear_layer(self, shape):
        from netatlas.graph.trace import trace

        assert forms(trace(self.torch.nn.Linear(4, 2), (self.torch.randn(*shape),)).graph) == {}
