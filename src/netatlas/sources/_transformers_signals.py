"""Shared part of the transformers source: sound, as waves, spectrograms or frames of a codec, and time series."""

from __future__ import annotations

from typing import Any

from netatlas.sources._transformers_inputs import TEXT_LENGTH, Inputs, rule

AUDIO_SECONDS = 4.8
"""Seconds of raw sound, and of spectrogram where the configuration does not fix the length: a whole number of the frames of every
codec (320, 512, 640, 960, 1920 and 3200 samples) at 16 and 24 kHz."""

FRAMES_PER_SECOND = 100
"""Spectrogram frames, one every 10 ms as in all of the library's feature extractors."""

MOST_TIME_POINTS = 512
"""Time points where a forecaster states no context length."""


# Where the first layer does not tell whether bins or frames come first.
_BINS_FIRST = ("qwen2_5_omni", "qwen3_asr", "qwen3_omni_moe", "dots3_note")
_FRAMES_FIRST = ("speech_to_text",)

_BINS = (
    "feature_projection_input_dim",
    "num_chroma",
    "num_mel_bins",
    "input_feat_size",
    "input_feat_per_channel",
    "n_mels",
    "mel_bins",
    "feature_size",
    "input_dim",
)


@rule("input_features")
def _input_features(inputs: Inputs) -> None:
    """A spectrogram, and the mask of its frames."""
    import torch

    inputs.saw("audio")
    bins = _bins(inputs)
    if inputs.name.startswith("clap"):
        inputs.blank["input_features"] = inputs.empty(1, 1, int(inputs.audio("max_length", default=1001)), bins)  # 10 s, one view
        return
    bins_first = _bins_first(inputs, bins)
    frames = _frames(inputs, bins, bins_first)
    inputs.blank["input_features"] = inputs.empty(1, bins, frames) if bins_first else inputs.empty(1, frames, bins)
    for name in ("input_features_mask", "feature_attention_mask"):
        if name in inputs.params and not inputs.name.startswith("granite_speech"):  # there it counts tokens, not frames
            inputs.known[name] = torch.ones(1, frames, dtype=torch.bool if inputs.name.startswith("gemma") else torch.long)
    if inputs.name == "dots3_note":
        inputs.known["chunk_sample_lengths"] = torch.tensor([frames * 160])


def _first_layer(inputs: Inputs) -> Any:
    from torch import nn

    return next((m for m in inputs.model.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Linear))), None)


def _bins(inputs: Inputs) -> int:
    """Numbers per frame."""
    if inputs.name.startswith("gemma4"):
        return 128  # fixed by the convolutions in front, stated nowhere
    if inputs.name == "pop2piano":
        return int(inputs.field("d_model"))  # they stand in for embeddings
    if inputs.name.startswith("fun_asr"):
        return int(inputs.audio("input_size", default=560))
    if inputs.name.startswith("granite_speech5"):
        return int(inputs.audio("input_dim"))  # stacked frames
    return int(inputs.audio(*_BINS, default=80))


def _bins_first(inputs: Inputs, bins: int) -> bool:
    from torch import nn

    if inputs.name.startswith(_FRAMES_FIRST):
        return False
    first = _first_layer(inputs)
    return inputs.name.startswith(_BINS_FIRST) or (isinstance(first, nn.Conv1d) and first.in_channels == bins)


def _frames(inputs: Inputs, bins: int, bins_first: bool) -> int:
    positions = inputs.audio("max_source_positions")
    if inputs.name == "voxtral_realtime":
        return 8 * TEXT_LENGTH  # sound and text run side by side, eight frames a token
    if inputs.name.startswith(_BINS_FIRST):
        return 500  # five whole windows
    if bins_first and isinstance(positions, int):
        return 2 * positions
    if bins == 160:  # two frames of 80 bins stand side by side
        return round(AUDIO_SECONDS * FRAMES_PER_SECOND / 2)
    return round(AUDIO_SECONDS * FRAMES_PER_SECOND)


@rule("input_values")
def _input_values(inputs: Inputs) -> None:
    inputs.saw("audio")
    if (length := inputs.audio("max_length")) and (bins := inputs.audio("num_mel_bins")):
        inputs.blank["input_values"] = inputs.empty(1, int(length), int(bins))
        return
    samples = round(AUDIO_SECONDS * int(inputs.audio("sampling_rate", "sample_rate", default=16000)))
    channels = inputs.audio("audio_channels")
    inputs.blank["input_values"] = inputs.empty(1, int(channels or 1), samples) if _is_codec(inputs) else inputs.empty(1, samples)


def _is_codec(inputs: Inputs) -> bool:
    """Codecs want a channel axis, recognisers do not."""
    if inputs.name.startswith(("neucodec", "omniasr", "vibevoice", "xcodec")):
        return True
    return inputs.audio("audio_channels", "codebook_size", "n_codebooks") is not None


def acoustic_states(inputs: Inputs) -> None:
    """What the halves of a codec that call their input hidden states read: a wave, or its frames of 3200 samples."""
    inputs.saw("audio")
    width = int(inputs.field("hidden_size"))
    is_decoder = inputs.name.endswith("decoder")
    inputs.blank["hidden_states"] = inputs.empty(1, width, 36) if is_decoder else inputs.empty(1, 1, round(AUDIO_SECONDS * 24000))


@rule("latents")
def _latents(inputs: Inputs) -> None:
    """Frames of a codec, to be decoded."""
    inputs.saw("audio")
    inputs.blank["latents"] = inputs.empty(1, int(inputs.field("latent_dim", "hidden_size")), 60)


@rule("audio_mel")
def _audio_mel(inputs: Inputs) -> None:
    import torch

    inputs.saw("audio")
    frames = round(AUDIO_SECONDS * FRAMES_PER_SECOND)
    inputs.blank["audio_mel"] = inputs.empty(1, frames, int(inputs.field("input_feat_size", default=128)))
    inputs.known["audio_mel_mask"] = torch.zeros(1, frames, dtype=torch.bool)


@rule("past_values")
def _past_values(inputs: Inputs) -> None:
    import torch

    inputs.saw("time-series")
    length = int(inputs.field("context_length", "prediction_length", default=MOST_TIME_POINTS))
    lags = inputs.field("lags_sequence")
    length += max(lags) if lags else 0
    channels = inputs.field("num_input_channels", "input_size", default=1)
    size = int(channels) if isinstance(channels, int) else 1
    one_series = inputs.name.startswith("timesfm") or (lags and size == 1)
    inputs.blank["past_values"] = inputs.empty(1, length) if one_series else inputs.empty(1, length, size)
    time = int(inputs.field("num_time_features", default=0))
    for name, rows in (
        ("past_time_features", length),
        ("future_time_features", int(inputs.field("prediction_length", default=1))),
    ):
        if name in inputs.params:
            inputs.blank[name] = inputs.empty(1, rows, time)
    if "future_time_features" in inputs.params:
        inputs.blank["future_values"] = inputs.empty(1, int(inputs.field("prediction_length", default=1)))
    if "past_observed_mask" in inputs.params and lags:
        inputs.blank["past_observed_mask"] = inputs.empty(*inputs.blank["past_values"].shape)
    if "past_values_padding" in inputs.required:
        inputs.known["past_values_padding"] = torch.zeros(1, length, dtype=torch.long)
    if "freq" in inputs.required:
        inputs.known["freq"] = torch.zeros(1, 1, dtype=torch.long)
