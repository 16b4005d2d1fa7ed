"""Published accuracy and speed of timm models, from the tables packed with netatlas (``data/timm_results.txt`` says where from)."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import resources

from netatlas.facts import Value
from netatlas.records import Entry, Evidence

SNAPSHOT = "2026-08-08"
SOURCE = f"timm results, snapshot of {SNAPSHOT}"
ACCURACY = ("top1", "top5", "top1_real", "top1_v2", "top1_a", "top1_r", "top1_sketch")
_SPEED = {
    "cpu_ms": ("step time, batch 1, float32, torch.compile", "Intel i7-12700H"),
    "gpu_throughput": ("images per second, mixed precision, largest batch that fits", "NVIDIA RTX 4090"),
}

Table = Mapping[str, Mapping[int, Mapping[str, float]]]


@functools.cache
def accuracy() -> Table:
    """Accuracy in percent by model name, then input size in pixels."""
    return _read("timm_accuracy.csv")


@functools.cache
def speed() -> Table:
    """Speed and published costs by architecture name, then input size in pixels."""
    return _read("timm_speed.csv")


def _read(file: str) -> Table:
    table: dict[str, dict[int, dict[str, float]]] = {}
    text = resources.files("netatlas.data").joinpath(file).read_text()
    for row in csv.DictReader(text.splitlines()):
        values = {name: float(value) for name, value in row.items() if value and name not in ("model", "img_size")}
        table.setdefault(row["model"], {})[int(row["img_size"])] = values
    return table


def with_results(model: Entry, full_name: str, size: int) -> Entry:
    """The model with its published accuracy and speed.

    Of several input sizes the one with the best top-1 counts, and becomes the model's input size; costs of a size other than the
    traced one are the published ones, rounded there to 0.01 GMACs.

    Args:
        model: The entry without results.
        full_name: ``architecture.tag``, as the tables name it.
        size: Input size in pixels that the library suggests for evaluation.
    """
    rows = accuracy().get(full_name)
    facts, origins, evidence = dict(model.facts), dict(model.origins), list(model.evidence)
    if rows:
        best = max(rows, key=lambda s: (rows[s].get("top1", 0.0), -s))
        if best != size:
            for name in ("macs", "flops", "activations", "peak_memory"):
                facts.pop(name, None)
                origins.pop(name, None)
            channels = str(facts["input"]).split("x")[1]
            facts |= {"input_size": best, "input": f"1x{channels}x{best}x{best}"}
            size = best
        _add_accuracy(facts, origins, evidence, rows[size], full_name, size)
    _add_speed(facts, origins, evidence, full_name.partition(".")[0], size)
    return replace(model, facts=facts, origins=origins, evidence=evidence)


def with_best(architecture: Entry, models: Sequence[Entry]) -> Entry:
    """The architecture with the number of its models, the best accuracy among them at the traced input size, and its speed.

    Accuracy at another input size is not the architecture's: its costs were counted at the traced size.
    """
    facts, origins, evidence = dict(architecture.facts), dict(architecture.origins), list(architecture.evidence)
    name = architecture.id.partition("/")[2]
    size = int(facts.get("input_size", 0))  # type: ignore[arg-type]
    facts["models"], origins["models"] = len(models), f"stated by timm {facts.get('version', '')}".strip()
    rows = {m.title: accuracy().get(m.title, {}).get(size) for m in models}
    measured = {title: row for title, row in rows.items() if row and "top1" in row}
    if measured:
        best = max(measured, key=lambda title: (measured[title]["top1"], title))
        _add_accuracy(facts, origins, evidence, measured[best], best, size)
    _add_speed(facts, origins, evidence, name, size)
    return replace(architecture, facts=facts, origins=origins, evidence=evidence)


def _add_accuracy(
    facts: dict[str, Value], origins: dict[str, str], evidence: list[Evidence], row: Mapping[str, float], model: str, size: int
) -> None:
    for name in ACCURACY:
        if name in row:
            facts[name] = row[name]
            origins[name] = f"{SOURCE}: {model} at {size} px"
            evidence.append(
                Evidence(
                    name, row[name], "validation accuracy", SOURCE, date=SNAPSHOT, detail={"model": model, "input_size": size}
                )
            )


def _add_speed(facts: dict[str, Value], origins: dict[str, str], evidence: list[Evidence], name: str, size: int) -> None:
    row = speed().get(name, {}).get(size, {})
    for fact, (method, machine) in _SPEED.items():
        if fact in row:
            facts[fact] = row[fact]
            origins[fact] = f"{SOURCE}: {machine}, {method}"
            evidence.append(Evidence(fact, row[fact], method, SOURCE, machine, date=SNAPSHOT, detail={"input_size": size}))
    if "macs" not in facts and row.get("gmacs"):
        facts["macs"], facts["flops"] = round(row["gmacs"] * 1e9), round(2 * row["gmacs"] * 1e9)
        origins |= dict.fromkeys(("macs", "flops"), f"{SOURCE}: published for {size} px, rounded to 0.01 GMACs")


def published(names: Iterable[str]) -> dict[tuple[str, int], Mapping[str, float]]:
    """Published costs of architectures by (name, input size), for checking our own counts."""
    return {(name, size): row for name in names for size, row in speed().get(name, {}).items()}
