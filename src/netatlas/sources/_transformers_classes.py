"""Shared part of the transformers source: which model types there are, and which class stands for each."""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from netatlas.errors import MissingExtraError, SourceError, did_you_mean

# Mappings of transformers in order of preference, with the task (in the words of the Hub) of their classes. A network that
# generates from images or sound is that, whatever else it can be; encoders stand with their masked language model, not with a
# causal head that a few of them also have; detectors and classifiers come before the dense heads some backbones have as well.
_TASKS: tuple[tuple[str, str], ...] = (
    ("MODEL_FOR_RETRIEVAL", "visual-document-retrieval"),
    ("MODEL_FOR_VISUAL_QUESTION_ANSWERING", "visual-question-answering"),
    ("MODEL_FOR_IMAGE_TEXT_TO_TEXT", "image-text-to-text"),
    ("MODEL_FOR_TEXT_TO_SPECTROGRAM", "text-to-speech"),
    ("MODEL_FOR_SPEECH_SEQ_2_SEQ", "automatic-speech-recognition"),
    ("MODEL_FOR_MULTIMODAL_LM", "any-to-any"),
    ("MODEL_FOR_TEXT_TO_WAVEFORM", "text-to-speech"),
    ("MODEL_FOR_TABLE_QUESTION_ANSWERING", "table-question-answering"),
    ("MODEL_FOR_DOCUMENT_QUESTION_ANSWERING", "document-question-answering"),
    ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM", "text2text-generation"),
    ("MODEL_FOR_MASKED_LM", "fill-mask"),
    ("MODEL_FOR_CAUSAL_LM", "text-generation"),
    ("MODEL_FOR_CTC", "automatic-speech-recognition"),
    ("MODEL_FOR_RNNT", "automatic-speech-recognition"),
    ("MODEL_FOR_TDT", "automatic-speech-recognition"),
    ("MODEL_FOR_AUDIO_CLASSIFICATION", "audio-classification"),
    ("MODEL_FOR_AUDIO_FRAME_CLASSIFICATION", "audio-classification"),
    ("MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION", "zero-shot-object-detection"),
    ("MODEL_FOR_OBJECT_DETECTION", "object-detection"),
    ("MODEL_FOR_UNIVERSAL_SEGMENTATION", "image-segmentation"),
    ("MODEL_FOR_INSTANCE_SEGMENTATION", "image-segmentation"),
    ("MODEL_FOR_DEPTH_ESTIMATION", "depth-estimation"),
    ("MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION", "zero-shot-image-classification"),
    ("MODEL_FOR_VIDEO_CLASSIFICATION", "video-classification"),
    ("MODEL_FOR_IMAGE_CLASSIFICATION", "image-classification"),
    ("MODEL_FOR_SEMANTIC_SEGMENTATION", "image-segmentation"),
    ("MODEL_FOR_MASK_GENERATION", "mask-generation"),
    ("MODEL_FOR_KEYPOINT_DETECTION", "keypoint-detection"),
    ("MODEL_FOR_KEYPOINT_MATCHING", "keypoint-matching"),
    ("MODEL_FOR_POSE_ESTIMATION", "keypoint-detection"),
    ("MODEL_FOR_IMAGE_TO_IMAGE", "image-to-image"),
    ("MODEL_FOR_IMAGE_MATTING", "image-segmentation"),
    ("MODEL_FOR_TEXT_RECOGNITION", "image-to-text"),
    ("MODEL_FOR_TABLE_RECOGNITION", "image-to-text"),
    ("MODEL_FOR_TIME_SERIES_PREDICTION", "time-series-forecasting"),
    ("MODEL_FOR_CAUSAL_IMAGE_MODELING", "unconditional-image-generation"),
    ("MODEL_FOR_SEQUENCE_CLASSIFICATION", "text-classification"),
    ("MODEL_FOR_TOKEN_CLASSIFICATION", "token-classification"),
    ("MODEL_FOR_QUESTION_ANSWERING", "question-answering"),
    ("MODEL", "feature-extraction"),
    ("MODEL_FOR_PRETRAINING", "feature-extraction"),
    ("MODEL_FOR_BACKBONE", "feature-extraction"),
    ("MODEL_FOR_TEXT_ENCODING", "feature-extraction"),
    ("MODEL_FOR_IMAGE", "feature-extraction"),
    ("MODEL_FOR_TIME_SERIES_CLASSIFICATION", "time-series-classification"),
    ("MODEL_FOR_TIME_SERIES_REGRESSION", "time-series-regression"),
    ("MODEL_FOR_DECISION", "feature-extraction"),
)

# Types that the order above would file under a side line. A class transformers does not list is named with its task.
_CHOSEN: dict[str, tuple[str, str]] = {
    "sapiens2": ("Sapiens2Model", "feature-extraction"),  # its heads have no default shape
    "segformer": ("SegformerForSemanticSegmentation", "image-segmentation"),
    "patchtst": ("PatchTSTForPrediction", "time-series-forecasting"),
    "patchtsmixer": ("PatchTSMixerForPrediction", "time-series-forecasting"),
    "autoformer": ("AutoformerModel", "time-series-forecasting"),
    "informer": ("InformerModel", "time-series-forecasting"),
    "time_series_transformer": ("TimeSeriesTransformerModel", "time-series-forecasting"),
}

OFFLINE_BY_USER = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
"""Whether the user, not `zoo`, switched the Hub off; a repository that the user names is fetched otherwise."""


@dataclass(frozen=True)
class Chosen:
    """The class that stands for a model type, and what it is for."""

    cls: str
    task: str


def zoo() -> Any:
    """The transformers package, told to be quiet and to stay off the network.

    Raises:
        MissingExtraError: It is not installed.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import transformers
    except ImportError:
        raise MissingExtraError("the transformers source", "zoo") from None
    transformers.utils.logging.set_verbosity_error()
    return transformers


@functools.cache
def _mappings() -> Mapping[str, Mapping[str, Any]]:
    zoo()
    from transformers.models.auto import modeling_auto

    return {name: getattr(modeling_auto, f"{name}_MAPPING_NAMES", {}) for name, _ in _TASKS}


@functools.cache
def with_models() -> frozenset[str]:
    """Model types for which transformers lists a model class, those that are part of another type included."""
    return frozenset(name for mapping in _mappings().values() for name in mapping) & frozenset(all_types())


@functools.cache
def all_types() -> tuple[str, ...]:
    """Every model type transformers has a configuration for, sorted."""
    zoo()
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return tuple(sorted(CONFIG_MAPPING_NAMES))


@functools.cache
def exclusions() -> dict[str, str]:
    """Model types that are not read, and why: those that cannot be (a table in the package) and parts without a model."""
    text = resources.files("netatlas.data").joinpath("transformers_exclusions.toml").read_text(encoding="utf-8")
    table: dict[str, str] = tomllib.loads(text)["exclusions"]
    found = {name: reason for name, reason in table.items() if name in all_types()}
    for name in all_types():
        if name not in with_models() and name not in found:
            found[name] = f"part of {whole_of(name)}: transformers lists a configuration but no model class for it"
    return dict(sorted(found.items()))


def whole_of(part: str) -> str:
    """The model type a part belongs to: the longest type its name starts with, or the folder it lives in."""
    starts = [name for name in with_models() if part.startswith(name) and name != part]
    if starts:
        return max(starts, key=len)
    from transformers.models.auto.configuration_auto import model_type_to_module_name

    return str(model_type_to_module_name(part))


def choose(name: str) -> Chosen:
    """The class that stands for a model type.

    Raises:
        SourceError: There is no such type, or it has no model of its own.
    """
    if name not in all_types():
        raise SourceError(
            f"transformers has no model type {name!r}{did_you_mean(name, all_types())}", reason="unknown model type"
        )
    if name in _CHOSEN:
        return Chosen(*_CHOSEN[name])
    for mapping, task in _TASKS:
        classes = _mappings()[mapping].get(name)
        if classes:
            return Chosen(classes if isinstance(classes, str) else classes[0], task)
    raise SourceError(f"transformers/{name}: {exclusions()[name]}", reason="part of another model")
