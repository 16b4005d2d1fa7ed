"""The facts table: the one place that knows a fact's name, type, unit and meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Value = int | float | str | bool | tuple[str, ...]
"""What a fact can hold. A fact that is not known is absent (``None``), never zero."""

Kind = Literal["count", "number", "text", "set"]
"""``count`` is an integer, ``number`` a float, ``text`` one word, ``set`` several words."""


@dataclass(frozen=True)
class FactType:
    """One fact an entry can have.

    Attributes:
        name: As written in ``--where``.
        kind: The Python type of its values.
        unit: ``"MAC"``, ``"B"``, ``"ms"``, ``"%"``, ``"px"``, ... or ``""`` for plain counts and words.
        meaning: One sentence for ``netatlas facts``.
        aliases: Other spellings people use.
        better: Which direction is better, where that is beyond doubt; the Pareto filter uses it.
        entries: Which kinds of entry carry it.
        predicts: Fact this one is a guess of; an entry has the guess only where it lacks the fact.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    aliases: tuple[str, ...] = ()
    better: Literal["lower", "higher"] | None = None
    entries: tuple[str, ...] = ("architecture", "model")
    predicts: str = ""


_TABLE = (
    # what it is
    FactType("kind", "text", "", "architecture, or model (an architecture with one set of pretrained weights)"),
    FactType(
        "source",
        "text",
        "",
        "library or kind of file the entry came from, such as timm, transformers, torchvision, onnx or python",
        ("library", "lib"),
    ),
    FactType("version", "text", "", "version of the library it was built with"),
    FactType("family", "text", "", "family in the glossary, such as resnet or swin", ("fam",)),
    FactType("year", "count", "", "year the family's paper appeared", ("published", "released")),
    FactType("paper", "text", "", "arXiv id of the family's paper", ("arxiv",)),
    FactType("task", "set", "", "what its output is for, such as image-classification or text-generation", ("tasks",)),
    FactType("modality", "set", "", "what goes in: image, text, audio, video or time-series", ("modalities", "domain")),
    FactType("module", "text", "", "Python module that defines it"),
    # structure
    FactType("ops", "set", "", "operators and named forms in its graph; has(op) asks for one", ("operators", "op")),
    FactType(
        "motifs", "set", "", "ids of the mined motifs in its graph; has_motif(name) asks for one, named or mined", ("motif",)
    ),
    FactType("nodes", "count", "", "operators in the canonical graph", ("operators_count", "size_of_graph")),
    FactType("depth", "count", "", "layers with weights on the longest path from input to output", ("layers", "num_layers")),
    FactType(
        "dim",
        "count",
        "",
        "channels of the features that enter the head (or of the last block)",
        ("width", "hidden", "hidden_size", "channels"),
    ),
    FactType("heads", "count", "", "attention heads, the largest number in any block", ("num_heads",)),
    FactType(
        "input_size", "count", "px", "height of the input image it was traced with", ("resolution", "img_size", "image_size")
    ),
    FactType("input", "text", "", "shapes of the inputs it was traced with, such as 1x3x224x224", ("inputs",)),
    FactType("seq_len", "count", "", "length of the token sequence it was traced with", ("length", "tokens")),
    FactType("outputs", "count", "", "size of the last output: classes or vocabulary", ("classes", "num_classes")),
    FactType("vocab", "count", "", "rows of the largest token embedding", ("vocab_size", "vocabulary")),
    # cost
    FactType(
        "params",
        "count",
        "",
        "parameters, shared ones counted once",
        ("parameters", "param", "param_count", "weights", "size"),
        "lower",
    ),
    FactType(
        "macs",
        "count",
        "MAC",
        "multiply-accumulates of one forward pass at batch 1",
        ("mac", "mult_adds", "madds"),
        "lower",
    ),
    FactType("flops", "count", "FLOP", "floating point operations, two for each multiply-accumulate", ("flop",), "lower"),
    FactType(
        "activations",
        "count",
        "",
        "elements written by convolutions, linear layers and attention at batch 1",
        ("acts", "macts"),
        "lower",
    ),
    FactType(
        "peak_memory",
        "count",
        "B",
        "largest sum of activations alive at once, float32, batch 1, in topological order",
        ("peak_activation_memory", "activation_memory", "memory"),
        "lower",
    ),
    FactType(
        "latency_ms",
        "number",
        "ms",
        "forward pass measured on this machine by netatlas measure or calibrate, median; one thread, batch 1 unless asked otherwise",
        ("latency",),
        "lower",
    ),
    FactType(
        "latency_predicted",
        "number",
        "ms",
        "latency_ms guessed from structure: one thread of this machine after netatlas calibrate, before it an Intel i7-12700H with "
        "torch.compile; where latency_ms is not measured, filters and sorting use it and tables mark it with ~",
        ("predicted_latency",),
        "lower",
        ("architecture",),
        "latency_ms",
    ),
    FactType("peak_rss", "count", "B", "peak resident memory of the process in netatlas measure", ("rss",), "lower"),
    FactType(
        "cpu_ms",
        "number",
        "ms",
        "published latency on an Intel i7-12700H, float32, batch 1, torch.compile (timm)",
        ("cpu_latency", "i7_ms"),
        "lower",
    ),
    FactType(
        "gpu_throughput",
        "number",
        "img/s",
        "published throughput on an RTX 4090, mixed precision, best batch (timm)",
        ("throughput", "images_per_second", "gpu_speed"),
        "higher",
    ),
    FactType(
        "throughput_predicted",
        "number",
        "img/s",
        "gpu_throughput guessed from structure",
        ("predicted_throughput",),
        "higher",
        ("architecture",),
        "gpu_throughput",
    ),
    # quality
    FactType(
        "top1",
        "number",
        "%",
        "ImageNet-1k top-1 accuracy; for an architecture the best of its models at the traced input size",
        ("accuracy", "acc", "top_1", "acc1", "imagenet"),
        "higher",
    ),
    FactType(
        "top1_predicted",
        "number",
        "%",
        "top-1 guessed from structure: what the best published recipe without other data reaches; never used for top1",
        ("predicted_top1", "predicted_accuracy"),
        "higher",
        ("architecture",),
        "top1",
    ),
    FactType("top5", "number", "%", "ImageNet-1k top-5 accuracy of the same model", ("top_5", "acc5"), "higher"),
    FactType("top1_real", "number", "%", "top-1 on ImageNet-ReaL (reassessed labels)", ("real", "imagenet_real"), "higher"),
    FactType("top1_v2", "number", "%", "top-1 on ImageNetV2 matched-frequency", ("v2", "imagenet_v2"), "higher"),
    FactType("top1_a", "number", "%", "top-1 on ImageNet-A (natural adversarial examples)", ("imagenet_a",), "higher"),
    FactType("top1_r", "number", "%", "top-1 on ImageNet-R (renditions)", ("imagenet_r",), "higher"),
    FactType("top1_sketch", "number", "%", "top-1 on ImageNet-Sketch", ("sketch", "imagenet_sketch"), "higher"),
    # pretrained weights
    FactType(
        "models", "count", "", "pretrained weights the library offers for the architecture", ("num_models", "tags", "checkpoints")
    ),
    FactType("architecture", "text", "", "id of the architecture a model belongs to", ("arch",), entries=("model",)),
    FactType("tag", "text", "", "name of the pretrained weights", (), entries=("model",)),
    FactType(
        "pretrain",
        "set",
        "",
        "data and recipe of the pretrained weights, read off their tag, such as in21k, laion2b or dist",
        ("pretraining", "pretrained_on"),
        entries=("model",),
    ),
    FactType(
        "license", "text", "", "licence of the pretrained weights as the library states it", ("licence",), entries=("model",)
    ),
    FactType("hub", "text", "", "Hugging Face Hub repository of the weights", ("hf_hub_id", "repo"), entries=("model",)),
    # how we know
    FactType("traced_by", "text", "", "how the graph was made: export, dispatch, onnx, checkpoint", ("rung",)),
    FactType("unknown_ops", "count", "", "nodes whose operator is not in the vocabulary", ("unknown",), "lower"),
)

FACTS: dict[str, FactType] = {fact.name: fact for fact in _TABLE}
"""All facts by name, in the order they are shown."""

PREDICTED: dict[str, str] = {fact.predicts: fact.name for fact in _TABLE if fact.predicts}
"""The fact that holds guesses of a fact, for facts that have one."""

FILLED: dict[str, str] = {"latency_ms": PREDICTED["latency_ms"]}
"""Facts whose guesses filters and sorting use where nothing was measured. Accuracy is not among them: a graph does not tell how it
was trained."""

_BY_ALIAS = {alias: fact.name for fact in _TABLE for alias in (fact.name, *fact.aliases)}


def find_fact(word: str) -> FactType | None:
    """The fact called ``word`` by name or alias, without regard to case, ``-`` or ``_``; ``None`` when there is none."""
    name = _BY_ALIAS.get(word.lower().replace("-", "_"))
    return FACTS[name] if name else None


def fact_words() -> Iterator[str]:
    """Every name and alias, for suggestions."""
    return iter(_BY_ALIAS)


_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def format_count(value: float, unit: str = "", letters: str = "TGMk") -> str:
    """``5288548`` as ``"5.29M"`` and ``386e6, "MAC"`` as ``"386 MMAC"``; three significant digits."""
    for (size, _), letter in zip(_PREFIXES, letters, strict=True):
        if abs(value) >= 0.9995 * size:
            number, suffix = value / size, letter
            break
    else:
        number, suffix = float(value), ""
    digits = f"{number:.3g}" if abs(number) < 999.5 else f"{number:.0f}"
    return f"{digits} {suffix}{unit}" if unit else f"{digits}{suffix}"


def format_value(name: str, value: Value | None) -> str:
    """A fact's value as people write it, with its unit; ``"unknown"`` for ``None``."""
    if value is None:
        return "unknown"
    fact = FACTS.get(name)
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, (str, bool)) or fact is None:
        return str(value)
    if fact.unit == "%":
        return f"{value:.2f} %"
    if name in ("params",):
        return format_count(value, letters="TBMk")
    if fact.unit in ("MAC", "FLOP", "B") or name == "activations":
        return format_count(value, fact.unit)
    if fact.kind == "number":
        return f"{value:.4g} {fact.unit}".strip()
    return f"{value} {fact.unit}".strip()


def format_fact(name: str, facts: Mapping[str, Value]) -> str | None:
    """A fact as people write it; a guess that stands for a measured value has ``~`` before it; ``None`` where neither is known."""
    if name in facts:
        return format_value(name, facts[name])
    guess = facts.get(FILLED.get(name, ""))
    return None if guess is None else f"~{format_value(name, guess)}"


def plain_facts(facts: Mapping[str, Value], always: Sequence[str] = ()) -> dict[str, Any]:
    """Facts as JSON values; those of ``always`` that are not known are ``None``."""
    return {name: plain(facts.get(name)) for name in dict.fromkeys([*always, *(n for n in FACTS if n in facts)])}


def plain(value: Any) -> Any:
    """Tuples as lists, numpy numbers as Python's."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value.item() if hasattr(value, "dtype") else value  # numpy is not imported here
