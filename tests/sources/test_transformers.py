"""The transformers source: which types it reads, what it feeds them, and that they can be traced."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")
pytest.importorskip("transformers", reason="needs the extra 'zoo'")

from netatlas.errors import SourceError
from netatlas.sources import transformers as source
from netatlas.sources._transformers_classes import all_types, choose, with_models
from netatlas.sources._transformers_inputs import TEXT_LENGTH
from netatlas.sources._transformers_signals import AUDIO_SECONDS

# type -> class, task, modality, an input and its shape
QUICK = {
    "albert": ("AlbertForMaskedLM", "fill-mask", ("text",), "input_ids", (1, TEXT_LENGTH)),
    "gpt2": ("GPT2LMHeadModel", "text-generation", ("text",), "input_ids", (1, TEXT_LENGTH)),
    "t5": ("T5ForConditionalGeneration", "text2text-generation", ("text",), "decoder_input_ids", (1, TEXT_LENGTH)),
    "vit": ("ViTForImageClassification", "image-classification", ("image",), "pixel_values", (1, 3, 224, 224)),
    "segformer": ("SegformerForSemanticSegmentation", "image-segmentation", ("image",), "pixel_values", (1, 3, 512, 512)),
    "timesformer": ("TimesformerForVideoClassification", "video-classification", ("video",), "pixel_values", (1, 8, 3, 224, 224)),
    "whisper": ("WhisperForConditionalGeneration", "automatic-speech-recognition", ("audio",), "input_features", (1, 80, 3000)),
    "wav2vec2": ("Wav2Vec2ForCTC", "automatic-speech-recognition", ("audio",), "input_values", (1, round(AUDIO_SECONDS * 16000))),
    "patchtst": ("PatchTSTForPrediction", "time-series-forecasting", ("time-series",), "past_values", (1, 32, 1)),
    "clip": ("CLIPModel", "zero-shot-image-classification", ("image", "text"), "input_ids", (1, 77)),
    "lxmert": (None, None, ("text", "image"), "visual_feats", (1, 36, 2048)),
}
SLOW = ("bert", "detr", "llava", "qwen2_vl", "mamba2", "mixtral", "qwen3_5", "dac", "gemma3", "mllama", "siglip2")


def run(name):
    specimen = source.specimen(name)
    with torch.no_grad():
        return specimen, specimen.module(*specimen.args, **specimen.kwargs)


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if hasattr(value, "to_tuple"):
        value = value.to_tuple()
    return [t for x in value for t in tensors(x)] if isinstance(value, (list, tuple)) else []


@pytest.mark.parametrize("name", QUICK)
def test_specimen_runs_on_meta(name):
    cls, task, modality, given, shape = QUICK[name]
    specimen, output = run(name)
    assert not specimen.module.training
    assert all(p.is_meta for p in specimen.module.parameters())
    assert all(b.is_meta for b in specimen.module.buffers())
    assert specimen.kwargs[given].is_meta
    assert tuple(specimen.kwargs[given].shape) == shape
    assert set(specimen.facts["modality"]) == set(modality)
    assert f"{given} {'x'.join(map(str, shape))}" in specimen.facts["input"]
    if cls:
        assert type(specimen.module).__name__ == cls
        assert specimen.facts["task"] == (task,)
    assert tensors(output)
    assert all(t.is_meta for t in tensors(output))


@pytest.mark.parametrize("name", ["albert", "vit", "patchtst"])
def test_specimen_exports_and_leaves_the_module_as_it_was(name):
    specimen = source.specimen(name)
    before = {path: dict(vars(m)) for path, m in specimen.module.named_modules()}
    with torch.no_grad():
        program = torch.export.export(specimen.module, tuple(specimen.args), dict(specimen.kwargs), strict=False)
    targets = {str(n.target) for n in program.graph.nodes}
    assert "aten.linear.default" in targets
    assert "aten.scaled_dot_product_attention.default" in targets
    assert not any("set_grad" in t for t in targets)
    assert {path: set(vars(m)) for path, m in specimen.module.named_modules()} == {path: set(v) for path, v in before.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_specimen_exports(name):
    specimen = source.specimen(name)
    with torch.no_grad():
        program = torch.export.export(specimen.module, tuple(specimen.args), dict(specimen.kwargs), strict=False)
    assert any(n.op == "call_function" for n in program.graph.nodes)


def test_what_does_not_export_is_traced_by_running_it():
    architecture = source.TransformersSource().read("autoformer")[0]
    assert architecture.facts["traced_by"] == "dispatch"
    assert architecture.facts["unknown_ops"] == 0


def test_facts_of_a_language_model_come_from_its_configuration():
    facts = source.specimen("gpt2").facts
    assert (facts["heads"], facts["dim"], facts["seq_len"]) == (12, 768, TEXT_LENGTH)
    assert facts["module"] == "transformers.models.gpt2.modeling_gpt2"


def test_image_tokens_are_as_many_as_the_network_makes():
    specimen = source.specimen("llava")
    patches = (specimen.facts["input_size"] // specimen.module.config.vision_config.patch_size) ** 2
    assert specimen.kwargs["input_ids"].shape[-1] == TEXT_LENGTH + patches


def test_names_are_sorted_and_disjoint_from_exclusions():
    names, out = source.names(), source.exclusions()
    assert names == sorted(names)
    assert len(names) == len(set(names))
    assert not set(names) & set(out)
    assert set(names) | set(out) == set(all_types())
    assert set(names) <= with_models()


def test_every_exclusion_names_a_type_and_says_why():
    for name, reason in source.exclusions().items():
        assert name in all_types(), name
        assert len(reason) >= 20, name


def test_unknown_type_is_told_the_nearest():
    with pytest.raises(SourceError, match=r"no model type 'mamba22'.*mamba2"):
        choose("mamba22")


def test_part_of_another_model_says_of_which():
    with pytest.raises(SourceError, match="part of blip") as caught:
        source.specimen("blip_text_model")
    assert caught.value.reason == "part of another model"


def test_every_type_has_a_class_and_a_task():
    for name in source.names():
        chosen = choose(name)
        assert chosen.cls, name
        assert chosen.task, name
