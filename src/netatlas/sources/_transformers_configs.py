"""Shared part of the transformers source: the default configuration of a model type, made whole and traceable."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from netatlas.sources._transformers_classes import zoo


def default_config(name: str, model_class: Any) -> Any:
    """The configuration a model type is built from when nobody says otherwise.

    Caches are off; attention is the fused operator where the class has it, which is the library's default; experts run as one
    batched product, because the loop over the experts that were chosen depends on data.
    """
    from transformers import AutoConfig

    zoo()
    config = AutoConfig.for_model(name, **_GIVEN.get(name, {}))
    wanted = getattr(model_class, "config_class", None)
    stated = model_class.__annotations__.get("config")
    if wanted is not None and not isinstance(config, wanted) and type(config) not in (stated, _resolved(model_class, stated)):
        config = wanted()
    for part in _parts(config):
        if hasattr(part, "use_cache"):
            part.use_cache = False
    if name in _FIXES:
        _FIXES[name](config)
    _join(config)
    config._experts_implementation = "batched_mm"
    return config


def _resolved(model_class: Any, annotation: Any) -> Any:
    """The class an annotation names, which may be written as text."""
    module = sys.modules[model_class.__module__]
    return getattr(module, annotation, None) if isinstance(annotation, str) else annotation


def _join(config: Any) -> None:
    """Let towers write vectors as wide as the text model reads: the defaults of parts come from different checkpoints."""
    text = config.get_text_config(decoder=True)
    width = getattr(text, "hidden_size", None)
    for key, value in vars(config).items():
        # The defaults of a few types leave open which id stands for an image: let it be the last of the vocabulary
        if (
            key in ("image_token_id", "image_token_index", "video_token_id", "video_token_index", "audio_token_id")
            and value is None
            and getattr(text, "vocab_size", None)
        ):
            setattr(config, key, text.vocab_size - 1 - (key[0] == "v"))
    for part in _parts(config):
        if part is config or not isinstance(width, int):
            continue
        if isinstance(getattr(part, "out_hidden_size", None), int):
            part.out_hidden_size = width
        elif hasattr(part, "n_window") and isinstance(getattr(part, "output_dim", None), int):
            part.output_dim = width  # towers that hear, of the Qwen family
        elif hasattr(part, "embed_dim") and hasattr(part, "spatial_merge_size"):
            part.hidden_size = width  # there the inner width is called embed_dim


def _parts(config: Any) -> list[Any]:
    from transformers import PreTrainedConfig

    children = [value for value in vars(config).values() if isinstance(value, PreTrainedConfig)]
    return [config, *(part for child in children for part in _parts(child))]


_FORECAST = {"prediction_length": 24}

_SEES: dict[str, Any] = {"vision_config": {}}

# What must be said for a default configuration to be complete.
_GIVEN: dict[str, dict[str, Any]] = {
    # a horizon has no default: one day of hours
    "autoformer": _FORECAST,
    "informer": _FORECAST,
    "time_series_transformer": _FORECAST,
    "wav2vec2-bert": {"vocab_size": 32},  # the alphabet of wav2vec2
    "wav2vec2-conformer": {"vocab_size": 32},
    "xmod": {"default_language": "en_XX"},  # the only one of the default languages
    "esm": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32},  # of its alphabet of amino acids, no defaults
    "uvdoc": {"backbone_config": {"model_type": "uvdoc_backbone", "out_indices": [1, 2, 3, 4, 5, 6]}},  # all that are joined
    # without a word about it these read text only
    "diffusion_gemma": _SEES,
    "embedding_gemma2": _SEES,
    "gemma4": _SEES,
    "gemma4_unified": _SEES,
}


def _aria(config: Any) -> None:
    config.vision_config.image_size, config.vision_config.patch_size = 490, 14  # its projector knows 35 x 35 patches only


def _aya_vision(config: Any) -> None:
    config.vision_config.num_attention_heads = 16  # 14 do not divide 1152 channels
    config.vision_config.image_size = 364  # 26 patches, which can be halved


def _cohere_compass(config: Any) -> None:
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    text = config.get_text_config()
    text.rope_parameters = {kind: dict(rope) for kind in sorted(set(text.layer_types))}


def _dbrx(config: Any) -> None:
    config.attn_config.rope_theta = 10000.0  # read by the attention, missing in the defaults
    config.attn_config.clip_qkv = 8.0


def _deepseek_ocr2(config: Any) -> None:
    text = config.get_text_config()
    text.mlp_layer_types = ["dense"] + ["sparse"] * (text.num_hidden_layers - 1)
    encoder = config.vision_config.encoder_config  # Qwen2-0.5B, which fits the 896 channels of the tower before it
    encoder.hidden_size, encoder.num_attention_heads, encoder.num_key_value_heads, encoder.intermediate_size = 896, 14, 2, 4864
    encoder.head_dim = 64
    text.num_experts_per_tok = 6


def _deepseek_v2(config: Any) -> None:
    config.num_experts_per_tok = 6  # no default; that of the released model


def _chameleon(config: Any) -> None:
    config.vocabulary_map = {"<image>": 8711}  # of the tokeniser, no default
    config.image_token_id = 8711


def _diffusion_gemma(config: Any) -> None:
    text = config.get_text_config()
    text.num_experts, text.top_k_experts, text.moe_intermediate_size = 128, 8, 704  # no defaults


def _dots1(config: Any) -> None:
    config.n_routed_experts, config.n_shared_experts, config.num_experts_per_tok = (
        128,
        2,
        6,
    )  # no defaults; those of the released model


def _edgetam(config: Any) -> None:
    vision = getattr(config, "vision_config", config)
    vision.backbone_config.architecture = "repvit_m1"  # a slip of the pen in the defaults names no backbone


def _emu3(config: Any) -> None:
    config.vocabulary_map = {"<image>": 151889, "<|extra_200|>": 151846}  # of the tokeniser, no default
    config.image_token_id = 151889


def _gemma3(config: Any) -> None:
    config.vision_config.image_size, config.vision_config.patch_size = 896, 14  # pools 64 x 64 patches to 16 x 16 tokens


def _glm4v(config: Any) -> None:
    text = config.get_text_config()
    text.rope_parameters = {**(text.rope_parameters or {}), "partial_rotary_factor": 0.5}  # three sections of half a head
    if text.hidden_size % text.num_attention_heads:
        text.head_dim = 128  # 96 heads do not divide 4096 channels


def _granite4_vision(config: Any) -> None:
    config.vision_config.image_size = 384  # 24 patches, which make three windows of eight
    config.downsample_rate = "4/8"
    config.deepstack_layer_map = [(-10, 9), (-7, 6), (-4, 3), (-1, 0)]  # vision layers, evenly, into early text layers


def _granite_speech(config: Any) -> None:
    config.projector_config.encoder_hidden_size = config.encoder_config.hidden_dim


def _hunyuan(config: Any) -> None:
    text = config.get_text_config()
    text.head_dim = text.hidden_size // text.num_attention_heads  # no default


def _hunyuan_vl(config: Any) -> None:
    _hunyuan(config)
    text = config.get_text_config()
    text.rope_parameters = {**(text.rope_parameters or {}), "mrope_section": [text.head_dim // 8] * 4}  # four axes, equal shares


def _idefics3(config: Any) -> None:
    config.vision_config.image_size, config.vision_config.patch_size = 364, 14  # 26 patches, which can be halved


def _janus(config: Any) -> None:
    config.vision_config.projection_dim = config.text_config.hidden_size


def _lfm2_moe(config: Any) -> None:
    # no default; attention at every fourth layer, from the third on, as in the released models
    config.layer_types = ["full_attention" if i % 4 == 2 else "conv" for i in range(config.num_hidden_layers)]


def _lw_detr(config: Any) -> None:
    config.projector_scale_factors = [1.0]  # one level; with none, which is the default, nothing reaches the decoder
    config.projector_in_channels = [config.d_model]
    config.num_feature_levels = 1


def _modernvbert(config: Any) -> None:
    vision = getattr(config, "vlm_config", config).vision_config
    vision.image_size = 512  # 32 patches, which can be folded by four


def _nemotron(config: Any) -> None:
    config.num_key_value_heads = config.num_attention_heads  # no default


def _perception_lm(config: Any) -> None:
    # no default: the vision tower of the released model
    config.vision_config.architecture = "vit_pe_core_large_patch14_336"
    config.vision_config.model_args = {"embed_dim": 1024, "img_size": [448, 448], "depth": 23, "global_pool": ""}


def _pp_doclayout_v2(config: Any) -> None:
    config.class_thresholds = [0.5] * config.num_labels  # no defaults
    config.class_order = list(range(config.num_labels))


def _t5gemma2(config: Any) -> None:
    encoder = getattr(config, "encoder", config)
    encoder.vision_config.image_size, encoder.vision_config.patch_size = 896, 14
    encoder.text_config.dropout_rate = getattr(
        encoder.text_config, "dropout_rate", 0.0
    )  # read, but missing in one of the defaults


def _moonshine_streaming(config: Any) -> None:
    config.num_key_value_heads = config.num_attention_heads  # read by the decoder, missing in the defaults


def _ovis2(config: Any) -> None:
    config.hidden_size = config.text_config.hidden_size  # width of the table of visual words


def _qwen4_exp(config: Any) -> None:
    text = config.get_text_config()
    text.indexer_budget, text.indexer_compress_ratio = 2048, 16  # sparse attention has no default sizes
    text.indexer_n_heads, text.indexer_kv_heads, text.indexer_head_dim = 16, 1, text.head_dim  # rotated like the heads


def _qwen3_omni_moe_thinker(config: Any) -> None:
    config.text_config.head_dim = 128  # 28 heads do not divide 2048 channels


def _step3p7(config: Any) -> None:
    config.get_text_config().sliding_window = 512  # the default has sliding layers but no window


def _vitmatte(config: Any) -> None:
    config.convstream_hidden_sizes = list(config.convstream_hidden_sizes)  # added to lists in the constructor
    config.fusion_hidden_sizes = list(config.fusion_hidden_sizes)
    config.backbone_config.hidden_size, config.backbone_config.num_attention_heads = config.hidden_size, 6
    config.backbone_config.num_channels = 4  # an image and its trimap


_FIXES: dict[str, Callable[[Any], None]] = {
    "aria": _aria,
    "aya_vision": _aya_vision,
    "chameleon": _chameleon,
    "cohere_compass": _cohere_compass,
    "cohere_compass_text": _cohere_compass,
    "dbrx": _dbrx,
    "deepseek_ocr2": _deepseek_ocr2,
    "deepseek_v2": _deepseek_v2,
    "diffusion_gemma": _diffusion_gemma,
    "diffusion_gemma_text": _diffusion_gemma,
    "dots1": _dots1,
    "edgetam": _edgetam,
    "edgetam_video": _edgetam,
    "edgetam_vision_model": _edgetam,
    "emu3": _emu3,
    "gemma3": _gemma3,
    "glm46v": _glm4v,
    "glm4v": _glm4v,
    "glm4v_text": _glm4v,
    "glm4v_moe": _glm4v,
    "glm4v_moe_text": _glm4v,
    "glm_image": _glm4v,
    "glm_image_text": _glm4v,
    "glmga": _glm4v,
    "granite4_vision": _granite4_vision,
    "granite_speech": _granite_speech,
    "granite_speech_plus": _granite_speech,
    "hunyuan_v1_dense": _hunyuan,
    "hunyuan_v1_moe": _hunyuan,
    "idefics3": _idefics3,
    "smolvlm": _idefics3,
    "lfm2_moe": _lfm2_moe,
    "lw_detr": _lw_detr,
    "ministral": _hunyuan,
    "modernvbert": _modernvbert,
    "colmodernvbert": _modernvbert,
    "ultravbert": _modernvbert,
    "nemotron": _nemotron,
    "perception_lm": _perception_lm,
    "pp_doclayout_v2": _pp_doclayout_v2,
    "shieldgemma2": _gemma3,
    "t5gemma2": _t5gemma2,
    "t5gemma2_encoder": _t5gemma2,
    "hunyuan_vl": _hunyuan_vl,
    "hunyuan_vl_text": _hunyuan_vl,
    "janus": _janus,
    "moonshine_streaming": _moonshine_streaming,
    "ovis2": _ovis2,
    "qwen4_exp": _qwen4_exp,
    "qwen4_exp_text": _qwen4_exp,
    "qwen3_omni_moe_thinker": _qwen3_omni_moe_thinker,
    "step3p7": _step3p7,
    "vitmatte": _vitmatte,
}
