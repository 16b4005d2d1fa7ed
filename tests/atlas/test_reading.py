"""Plain language: what surely is a constraint becomes a chip, everything else stays words."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netatlas.atlas import reading
from netatlas.atlas.reading import Vocabulary, name_tokens, read, run_together
from netatlas.atlas.where import chips, parse

FAMILIES = {
    "ResNet": "resnet", "resnet-50": "resnet", "EfficientNet": "efficientnet", "ConvNeXt": "convnext", "Swin": "swin",
    "swin transformer": "swin", "ViT": "vit", "vision transformer": "vit", "BERT": "bert", "Llama": "llama", "RegNet": "regnet",
    "tiny vit": "tiny_vit", "MobileNetV3": "mobilenetv3", "vits": "vits", "attention free transformer": "aft", "DeiT": "deit",
    "normalization-free network": "nfnet", "mamba": "mamba", "wav2vec 2.0": "wav2vec2", "qwen 3": "qwen3",
}  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(FAMILIES, names={"resnetv", "regnetx"})


PHRASES = [
    # sizes and costs
    ("under 6M params", "params < 6M", ""),
    ("less than 10 million parameters", "params < 10M", ""),
    ("fewer than 1.2 billion parameters", "params < 1.2B", ""),
    ("at most 1.5 GMACs", "macs <= 1.5 GMAC", ""),
    ("up to 300M MACs", "macs <= 300 MMAC", ""),
    ("no more than 300M mult-adds", "macs <= 300 MMAC", ""),
    ("at most 300M MACs and 6M params", "macs <= 300 MMAC · params <= 6M", ""),
    ("between 5 and 10M parameters", "5M <= params <= 10M", ""),
    ("from 5M to 10M parameters", "5M <= params <= 10M", ""),
    ("5-10M params", "5M <= params <= 10M", ""),
    ("5 to 10 million params", "5M <= params <= 10M", ""),
    ("over 5M and under 10M params", "5M < params < 10M", ""),
    ("params over 5M but below 10M", "5M < params < 10M", ""),
    ("around 25M params", "20M <= params <= 30M", ""),
    ("~25M parameters", "20M <= params <= 30M", ""),
    ("a 25M-parameter resnet", "20M <= params <= 30M", "resnet"),
    ("max 5M params", "params <= 5M", ""),
    ("5M params or less", "params <= 5M", ""),
    ("params<30M", "params < 30M", ""),
    ("params < 30M resnet", "params < 30M", "resnet"),
    ("at least 2 GFLOPs", "flops >= 2 GFLOP", ""),
    ("below 10 ms", "latency_ms < 10 ms", ""),
    ("latency below 5 milliseconds", "latency_ms < 5 ms", ""),
    ("peak memory under 100 MB", "peak_memory < 100 MB", ""),
    ("throughput above 5000 img/s", "gpu_throughput > 5000 img/s", ""),
    ("under 6M", "params < 6M", ""),
    ("7B language model", "5.6B <= params <= 8.4B · task = text-generation", ""),
    ("hidden size 768", "dim = 768", ""),
    ("params over 5M and under 300M MACs", "params > 5M · macs < 300 MMAC", ""),
    ("under 1 GMAC and at least 78% imagenet accuracy", "macs < 1 GMAC · top1 >= 78 %", ""),
    ("under 6M params and over 80 top-1", "params < 6M · top1 > 80 %", ""),
    # quality
    ("above 75% top-1", "top1 > 75 %", ""),
    ("top-1 over 80", "top1 > 80 %", ""),
    ("accuracy >= 80", "top1 >= 80 %", ""),
    ("accuracy of at least 80%", "top1 >= 80 %", ""),
    (">=80 top1", "top1 >= 80 %", ""),
    ("80%+ top-1", "top1 >= 80 %", ""),
    ("more than 80 % ImageNet accuracy", "top1 > 80 %", ""),
    ("accuracy above 0.8", "top1 > 80 %", ""),
    ("top-5 accuracy above 95%", "top5 > 95 %", ""),
    ("above 75%", "top1 > 75 %", ""),
    ("sparsity above 75%", "", "sparsity above 75%"),
    ("above 75% sparsity", "", "above 75% sparsity"),
    # years
    ("published after 2020", "year > 2020", ""),
    ("since 2021", "year >= 2021", ""),
    ("from 2019", "year = 2019", ""),
    ("from 2019 on", "year >= 2019", ""),
    ("before 2018", "year < 2018", ""),
    ("2022 or newer", "year >= 2022", ""),
    ("newer than 2020", "year > 2020", ""),
    ("between 2018 and 2021", "2018 <= year <= 2021", ""),
    ("2019-2021", "2019 <= year <= 2021", ""),
    ("year >= 2021", "year >= 2021", ""),
    ("over 2000 classes", "outputs > 2000", ""),
    ("resnet 2015", "year = 2015", "resnet"),
    # structure
    ("without attention", "no attention", ""),
    ("no batch norm", "no batch norm", ""),
    ("attention-free", "no attention", ""),
    ("normalization free", "no normalisation", ""),
    ("attention based", "with attention", ""),
    ("with squeeze-and-excitation", "with squeeze excite", ""),
    ("with SE", "with squeeze excite", ""),
    ("using depthwise separable convolutions", "with separable conv", ""),
    ("that has layer norm and gelu", "with layer norm · with gelu", ""),
    ("with swish or gelu", "with silu or with gelu", ""),
    ("without attention or batch norm", "no attention · no batch norm", ""),
    ("without attention, batch norm or gelu", "no attention · no batch norm · no gelu", ""),
    ("neither attention nor convolutions", "no attention · no convolution", ""),
    ("layer norm instead of batch norm", "with layer norm · no batch norm", ""),
    ("without attention, depthwise convs", "no attention · with depthwise conv", ""),
    ("without relu, using silu", "no relu · with silu", ""),
    ("CNN without normalization", "with conv · no attention · no normalisation", ""),
    ("convnet without normalisation layers", "with conv · no attention · no normalisation", ""),
    ("with RoPE and GQA", "with rope · with grouped query attention", ""),
    ("with SwiGLU", "with swiglu", ""),
    ("using a state space model", "with state space", ""),
    ("with linear attention", "with linear attention", ""),
    ("no attention dropout", "", "attention dropout"),
    ("global average pooling", "", "global average pooling"),
    ("more than 100 layers", "depth > 100", ""),
    ("with 12 heads", "heads = 12", ""),
    ("12-head transformer", "heads = 12 · with attention", ""),
    ("with 12 layers", "", "12 layers"),
    ("with max pooling", "with max pool", ""),
    ("has(SE) under 6M params", "with squeeze excite · params < 6M", ""),
    # inputs
    ("224 px input", "input_size = 224 px", ""),
    ("at 384 resolution", "input_size = 384 px", ""),
    ("vit for 224x224 images", "input_size = 224 px", "vit"),
    ("3x3 convolutions", "", "3x3 convolutions"),
    # tasks, sources, families
    ("for image classification", "task = image-classification", ""),
    ("image classifier", "task = image-classification", ""),
    ("object detector", "task = object-detection", ""),
    ("speech recognition", "task = automatic-speech-recognition", ""),
    ("time series forecasting", "task = time-series-forecasting", ""),
    ("language model", "task = text-generation", ""),
    ("masked language model", "task = fill-mask", ""),
    ("for segmentation", "task = image-segmentation or instance-segmentation", ""),
    ("segmentation", "", "segmentation"),
    ("pretrained on imagenet-21k", "", "imagenet-21k imagenet21k"),
    ("for audio", "modality = audio", ""),
    ("for image quality", "", "image quality"),
    ("models from timm", "source = timm", ""),
    ("in torchvision", "source = torchvision", ""),
    ("in transformers", "source = transformers", ""),
    ("not from timm", "source != timm", ""),
    ("not resnet", "family != resnet", ""),
    ("family:resnet", "family = resnet", ""),
    # names
    ("resnet-50", "", "resnet-50 resnet50"),
    ("ResNet50", "", "resnet50 resnet 50"),
    ("resnet 50", "", "resnet 50 resnet50"),
    ("efficientnet b0", "", "efficientnet b0 efficientnetb0"),
    ("efficientnetb0", "", "efficientnetb0 efficientnet b0"),
    ("ViT-B/16", "", "vit-b/16 vit b 16 patch16 base"),
    ("convnext tiny", "", "convnext tiny"),
    ("swin t", "", "swin t tiny"),
    ("bert base", "", "bert base"),
    ("mobilenet v3", "", "mobilenet v3 mobilenetv3"),
    ("tiny vit", "", "tiny vit"),
    ("timm/convnext_tiny", "", "timm/convnext_tiny timm convnext tiny"),
    # whole queries
    (
        "small image classifier without attention, under 6M params, above 75% top-1",
        "no attention · params < 6M · top1 > 75 % · task = image-classification",
        "",
    ),
    ("params < 6M and not has(attention)", "params < 6M · no attention", ""),
    ("recent vision transformer without class token", "no class token", "vision transformer"),
    ("c++", "", "c"),
    ("", "", ""),
]


@pytest.mark.parametrize("case", PHRASES, ids=lambda case: case[0])
def test_phrases(vocabulary, case):
    text, expected, words = case
    found = read(text, vocabulary)
    assert " · ".join(found.chips) == expected
    assert found.words == words


ENTRIES = {
    "resnet50": ("timm/resnet50", {"params": 25.6e6, "macs": 4.1e9, "top1": 80.4, "year": 2015, "cpu_ms": 20.0}),
    "resnet18": ("timm/resnet18", {"params": 11.7e6, "macs": 1.8e9, "top1": 70.0, "year": 2015}),
    "resnet": ("resnet", {"year": 2015}),
}


def phrasings() -> Iterator[tuple[str, frozenset[str]]]:
    """Every phrasing of the table beside this file with the chips it stands for."""
    wanted: frozenset[str] = frozenset()
    for line in (Path(__file__).parent / "reading_phrasings.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            wanted = frozenset(line[2:].split(" · ")) - {"-"}
        elif line and not line.startswith("#"):
            yield line, wanted


@pytest.mark.parametrize(("text", "wanted"), phrasings(), ids=lambda value: value if isinstance(value, str) else "")
def test_however_it_is_said(vocabulary, text, wanted):
    found = read(text, vocabulary, lookup=lambda name: ENTRIES.get(run_together(name)), year=2026)
    assert frozenset(found.chips) == wanted


def test_there_are_enough_phrasings():
    assert len(list(phrasings())) >= 500


COUNTS = [("one", 1), ("five", 5), ("twelve", 12), ("twenty-five", 25), ("a hundred", 100), ("two hundred fifty", 250)]
SCALES = [("", 1), (" thousand", 10**3), (" million", 10**6), (" billion", 10**9)]


@given(
    st.sampled_from(COUNTS), st.sampled_from(SCALES[1:]),
    st.sampled_from([("fewer than", "<"), ("no more than", "<="), ("at least", ">="), ("not fewer than", ">="), ("exceeding", ">"), ("strictly less than", "<")]),
    st.sampled_from([("parameters", "params"), ("trainable weights", "params"), ("multiply-adds", "macs"), ("MACs", "macs")]),
    st.booleans(),
)  # fmt: skip
def test_amounts_comparisons_and_measures_combine_freely(count, scale, comparison, measure, fact_first):
    """Any amount with any comparison and any measure, the measure before or after, filters exactly what it says."""
    (digits, value), (suffix, factor), (words, symbol), (noun, fact) = count, scale, comparison, measure
    text = f"{noun} {words} {digits}{suffix}" if fact_first else f"{words} {digits}{suffix} {noun}"
    assert read(text, Vocabulary(FAMILIES)).where == parse(f"{fact} {symbol} {value * factor}")


def test_there_are_enough_phrases():
    assert len(PHRASES) >= 80


def test_a_chip_is_exactly_what_is_filtered(vocabulary):
    for text, *_ in PHRASES:
        found = read(text, vocabulary)
        assert found.chips == (tuple(chips(found.where)) if found.where is not None else ())
        if found.where is not None:
            assert parse(str(found.where)) == found.where


@pytest.mark.parametrize(
    ("text", "prefer"),
    [
        ("small fast accurate network", [("params", "lower"), ("macs", "lower"), ("top1", "higher")]),
        ("few parameters and high accuracy", [("params", "lower"), ("top1", "higher")]),
        ("a recent, deep model", [("year", "higher"), ("depth", "higher")]),
        ("old shallow model", [("year", "lower"), ("depth", "lower")]),
        ("not too large", [("params", "lower")]),
        ("large window network", [("params", "higher")]),
        ("deep neural network", []),
        ("memory efficient", [("peak_memory", "lower")]),
        ("convnext small", []),
        ("small convnext", [("params", "lower")]),
    ],
)
def test_wishes_order_and_never_filter(vocabulary, text, prefer):
    found = read(text, vocabulary)
    assert list(found.prefer) == prefer
    assert found.where is None


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("resnet50 or swin", ("resnet", "swin")), ("ViT-B/16", ("vit",)), ("vits", ("vits",)), ("resnets", ("resnet",)),
        ("vision transformers", ("vit",)), ("timm/resnet50.a1_in1k", ("resnet",)), ("a network", ()), ("not resnet", ()),
    ],
)  # fmt: skip
def test_families_are_noted(vocabulary, text, family):
    assert read(text, vocabulary).family == family


@pytest.mark.parametrize(
    ("typed", "right"),
    [("efficentnet b0", "efficientnet"), ("resnte50", "resnet"), ("convnnext", "convnext"), ("rasnet", "resnet")],
)
def test_typing_errors_are_corrected_and_said(vocabulary, typed, right):
    found = read(typed, vocabulary)
    assert right in found.words
    assert any(f"as '{right}'" in note for note in found.notes)
    assert found.family == (right,)


@pytest.mark.parametrize("text", ["regnety", "regnetx", "swim", "vitt"])
def test_other_words_are_not_corrected(vocabulary, text):
    assert read(text, vocabulary).notes == ()
    assert read(text, vocabulary).words.split()[0] == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("pretrained resnet", "model"), ("with pretrained weights", "model"), ("checkpoints of vit", "model"),
        ("vit architecture", "architecture"), ("architecture search network", None), ("a model", None),
    ],
)  # fmt: skip
def test_kind(vocabulary, text, kind):
    assert read(text, vocabulary).kind == kind


def test_what_is_not_used_is_said(vocabulary):
    assert "read as parameters" in read("under 6M", vocabulary).notes[0]
    assert "not used as a filter" in read("under 6", vocabulary).notes[0]
    assert "not understood as more or less" in read("thinner than 5M params", vocabulary).notes[0]
    assert "no latency on a GPU" in read("under 5 ms on a GPU", vocabulary).notes[0]
    assert "not used as a filter" in read("no attention dropout", vocabulary).notes[0]
    assert "has the unit" in read("params under 10 ms", vocabulary).notes[0]
    assert read("accuracy above 0.8", vocabulary).notes == ("0.8 read as 80 %",)
    assert "within 20 %" in read("around 25M params", vocabulary).notes[0]
    assert "unknown operator" in read("has(attenton)", vocabulary).notes[0]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("ResNet50", ["resnet", "50"]), ("resnet-50", ["resnet", "50"]), ("resnet50d", ["resnet", "50d"]),
        ("efficientnet_b0", ["efficientnet", "b0"]), ("vit_base_patch16_224", ["vit", "base", "patch", "16", "224"]),
        ("mobilenetv3_small", ["mobilenet", "v3", "small"]), ("timm/swinv2", ["timm", "swin", "v2"]), ("t5", ["t5"]), ("", []),
        ("---", []),
    ],
)  # fmt: skip
def test_name_tokens(name, parts):
    assert name_tokens(name) == parts


HOSTILE = ["c++", "resnet-50", '"', "AND", "NEAR(", "*", "a\0b", "x" * 200_000, "under " * 40_000, "not " * 50_000, "(" * 200_000,
           "has(" * 5_000, "1e999 params", "9" * 5_000 + " params", "params<30Q", "flops>nan", "latency<-1", "[a TO", "dtype'",
           "😀 résumé",
           "between and", "5 -", "- 5 to", "with with without", "family:", "task =", "5-5-5M params"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_is_read_quickly(vocabulary, text):
    start = time.process_time()
    found = read(text, vocabulary)
    assert time.process_time() - start < 1.0
    assert len(found.words) < 5 * reading.MAX_READ
    if len(text) > reading.MAX_READ:
        assert "only the first 2,000" in found.notes[0]


SOUP = (
    "under|over|between|and|or|not|no|without|with|for|from|5M|10M|2020|75%|10|ms|params|top-1|accuracy|attention|SE|resnet|50|vit|b/16|"
    "-|,|(|)|<|>=|:|small|deep|images|task|has(gelu)|has(x)|free|layers|heads|224|px|+|at|most"
)


@given(st.one_of(
    st.text(max_size=50),
    st.lists(st.sampled_from(SOUP.split('|')), max_size=12).map(" ".join),
))  # fmt: skip
def test_nothing_raises_and_every_chip_is_backed_by_the_filter(text):
    found = read(text, Vocabulary(FAMILIES))
    assert bool(found.chips) == (found.where is not None)
    if found.where is not None:
        assert parse(str(found.where)) == found.where


def test_without_a_glossary():
    found = read("resnet50 under 30M params", Vocabulary())
    assert (found.words, found.family, found.chips) == ("resnet50 resnet 50", (), ("params < 30M",))


def test_the_documentation_is_true(vocabulary):
    """Every expression in the docs parses, every error and every reading shown is the one given."""
    text = (Path(__file__).parents[2] / "docs" / "query-language.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
    wheres = [line for kind, block in blocks if kind == "where" for line in block.splitlines() if line.strip()]
    assert len(wheres) >= 25
    for line in wheres:
        parse(line.partition("#")[0])
    errors = [line for kind, block in blocks if kind == "errors" for line in block.splitlines() if line.strip()]
    for line in errors:
        query, _, message = line.partition(" -> ")
        with pytest.raises(Exception, match=re.escape(message.strip())):
            parse(query.strip())
    readings = [line for kind, block in blocks if kind == "reading" for line in block.splitlines() if line.strip()]
    assert len(errors) >= 4
    assert len(readings) >= 8
    for line in readings:
        query, _, shown = line.partition(" -> ")
        assert " · ".join(read(query.strip(), vocabulary).chips) == shown.strip(), query


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("GFLOPs under 0.5", "flops < 500000000"),
        ("gflops between 1 and 3", "flops >= 1000000000 and flops <= 3000000000"),
        ("GMACs <= 2", "macs <= 2000000000"),
        ("gmacs at most 2G", "macs <= 2000000000"),
        ("networks with patches of 8 pixels below 50M parameters", "params < 50000000"),
        ("recurrent alternatives to transformers", "has(recurrent) and not has(attention)"),
        ("decoder-only transformers", "task = text-generation"),
    ],
)
def test_units_that_stand_for_facts_and_other_turns_of_phrase(vocabulary, text, where):
    assert str(read(text, vocabulary).where) == where
