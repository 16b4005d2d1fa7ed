"""Pack timm's published result tables into the two small tables of the package.

    python scripts/pack_timm_results.py FOLDER_OF_RESULTS src/netatlas/data

``FOLDER_OF_RESULTS`` is the ``results/`` folder of huggingface/pytorch-image-models (Apache-2.0).
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

ACCURACY = {
    "top1": ("results-imagenet.csv", "top1"),
    "top5": ("results-imagenet.csv", "top5"),
    "top1_real": ("results-imagenet-real.csv", "top1"),
    "top1_v2": ("results-imagenetv2-matched-frequency.csv", "top1"),
    "top1_a": ("results-imagenet-a.csv", "top1"),
    "top1_r": ("results-imagenet-r.csv", "top1"),
    "top1_sketch": ("results-sketch.csv", "top1"),
}
CPU = "benchmark-infer-fp32-nchw-pt240-cpu-i7_12700h-dynamo.csv"
GPU = "benchmark-infer-amp-nchw-pt291-cu128-4090.csv"
SPEED = {"gmacs": "infer_gmacs", "macts": "infer_macts", "params_m": "param_count"}


def number(text: str) -> str:
    """A number as the tables write it, thousands separators and needless zeros removed."""
    return f"{float(text.replace(',', '')):.10g}"


def write(path: Path, header: list[str], rows: dict[tuple[str, int], dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["model", "img_size", *header])
        for (model, size), row in sorted(rows.items()):
            out.writerow([model, size, *(row.get(name, "") for name in header)])


def main(folder: Path, target: Path) -> None:
    accuracy: dict[tuple[str, int], dict[str, str]] = {}
    for name, (file, column) in ACCURACY.items():
        with (folder / file).open() as lines:
            for row in csv.DictReader(lines):
                accuracy.setdefault((row["model"], int(row["img_size"])), {})[name] = number(row[column])
    speed: dict[tuple[str, int], dict[str, str]] = {}
    for file, column, name in ((CPU, "infer_step_time", "cpu_ms"), (GPU, "infer_samples_per_sec", "gpu_throughput")):
        with (folder / file).open() as lines:
            for row in csv.DictReader(lines):
                key = (row["model"], int(row["infer_img_size"]))
                known = speed.setdefault(key, {})
                known[name] = number(row[column])
                known.update({short: number(row[long]) for short, long in SPEED.items() if row[long]})
    write(target / "timm_accuracy.csv", list(ACCURACY), accuracy)
    write(target / "timm_speed.csv", ["cpu_ms", "gpu_throughput", *SPEED], speed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
