"""Shared part of the transformers source: the default configuration of a model type, made whole and traceable."""

from __future__ import annotations

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
    if wanted is not None and not isinstance(config, wanted):
        config = wanted()
    for part in _parts(config):
        if hasattr(part, "use_cache"):
            part.use_cache = False
    if name in _FIXES:
        _FIXES[name](config)
    _join(config)
    config._experts_implementation = "batched_mm"
    return config


def _join(config: Any) -> None:
    """Let towers write vectors as wide as the text model reads: the defaults of parts come from different checkpoints."""
    text = config.get_text_config(decoder=True)
    width = getattr(text, "hidden_size", None)
    for key, value in vars(config).items():
        # The defaults of a few types leave open which id stands for an image: let it be the last of the vocabulary
        if (
            key in ("image_token_id", "image_token_index", "audio_token_id")
            and value is None
            and getattr(text, "vocab_size", None)
        ):
            setattr(config, key, text.vocab_size - 1)
    for part in _parts(config):
        if part is config or not isinstance(width, int):
            continue
        if isinstance(getattr(part, "out_hidden_size", None), int):
            part.out_hidden_size = width
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


def _cohere_compass(config: Any) -> None:
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    text = config.get_text_config()
    text.rope_parameters = {kind: dict(rope) for kind in sorted(set(text.layer_types))}


def _dbrx(config: Any) -> None:
    config.attn_config.rope_theta = 10000.0  # read by the attention, missing in the defaults


def _deepseek_ocr2(config: Any) -> None:
    text = config.get_text_config()
    text.mlp_layer_types = ["dense"] + ["sparse"] * (text.num_hidden_layers - 1)


def _deepseek_v2(config: Any) -> None:
    config.num_experts_per_tok = 6  # no default; that of the released model


def _chameleon(config: Any) -> None:
    config.vocabulary_map = {"<image>": 8711}  # of the tokeniser, no default
    config.image_token_id = 8711


def _diffusion_gemma(config: Any) -> None:
    text = config.get_text_config()
    text.num_experts, text.top_k_experts, text.moe_intermediate_size = 128, 8, 704  # no defaults


def _dots1(config: Any) -> None:
    config.n_routed_experts, config.num_experts_per_tok = 128, 6  # no defaults; those of the released model


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
    config.deepstack_layer_map = [(-19, 9), (-13, 6), (-7, 3), (-1, 0)]  # vision layers, evenly, into early text layers


def _hunyuan_vl(config: Any) -> None:
    text = config.get_text_config()
    text.head_dim = text.hidden_size // text.num_attention_heads  # no default


def _janus(config: Any) -> None:
    config.vision_config.projection_dim = config.text_config.hidden_size


def _llama4(config: Any) -> None:
    vision = config.vision_config
    vision.intermediate_size = round(vision.hidden_size / vision.pixel_shuffle_ratio**2)  # the adapter reads shuffled pixels
    vision.vision_output_dim = vision.projector_output_dim


def _moonshine_streaming(config: Any) -> None:
    config.num_key_value_heads = config.num_attention_heads  # read by the decoder, missing in the defaults


def _ovis2(config: Any) -> None:
    config.hidden_size = config.text_config.hidden_size  # width of the table of visual words


def _qwen4_exp(config: Any) -> None:
    text = config.get_text_config()
    text.indexer_budget, text.indexer_compress_ratio = 2048, 16  # sparse attention has no default budget


def _step3p7(config: Any) -> None:
    config.get_text_config().sliding_window = 512  # the default has sliding layers but no window


def _vitmatte(config: Any) -> None:
    config.convstream_hidden_sizes = list(config.convstream_hidden_sizes)  # added to a list in the constructor


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
    "glm_image_text": _glm4v,
    "glm_ocr": _glm4v,
    "glm_ocr_text": _glm4v,
    "glmga": _glm4v,
    "granite4_vision": _granite4_vision,
    "hunyuan_vl": _hunyuan_vl,
    "hunyuan_vl_text": _hunyuan_vl,
    "janus": _janus,
    "llama4": _llama4,
    "moonshine_streaming": _moonshine_streaming,
    "ovis2": _ovis2,
    "qwen4_exp": _qwen4_exp,
    "qwen4_exp_text": _qwen4_exp,
    "step3p7": _step3p7,
    "vitmatte": _vitmatte,
}
