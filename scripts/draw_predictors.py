"""Draw predicted against true values of families that were not trained on: docs/images/prediction.png.

    python scripts/train_predictors.py --out build --oof build/unseen.npz
    python scripts/draw_predictors.py build/unseen.npz [docs/images/prediction.png]

The third panel is ``benchmarks/calibration_measured.csv``, each architecture predicted by a calibration without its family.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netatlas.atlas.atlas import Atlas
from netatlas.graph.work import work
from netatlas.predictors._calibration import calibrate, errors
from netatlas.predictors._stored import load

Floats = npt.NDArray[np.float64]
_ROOT = Path(__file__).parent.parent


def on_this_machine() -> tuple[Floats, Floats]:
    """Measured ms, and ms predicted by a calibration without the family."""
    rows = [r for r in csv.DictReader((_ROOT / "benchmarks/calibration_measured.csv").open()) if r["role"] == "calibrated"]
    atlas = Atlas.open(None)
    ids, ms = [r["id"] for r in rows], np.array([float(r["ms"]) for r in rows])
    facts, vectors = atlas.facts(ids), np.stack([work(atlas.graph(i)) for i in ids])
    _, guess = calibrate("", ms, load("latency").predict(vectors), vectors, [str(facts[i].get("family", i)) for i in ids])
    return ms, guess


def panel(axes: Any, truth: Floats, guess: Floats, title: str, label: str, said: str, log: bool) -> None:
    low, high = min(truth.min(), guess.min()), max(truth.max(), guess.max())
    axes.plot([low, high], [low, high], color="#d1495b", linewidth=1.0, zorder=1)
    axes.scatter(
        truth,
        guess,
        s=14 if len(truth) < 100 else 5,
        color="#0b62a4",
        alpha=0.9 if len(truth) < 100 else 0.45,
        linewidths=0,
        zorder=2,
    )
    if log:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_title(title, fontsize=9.5)
    axes.set_xlabel(f"{label}, true", fontsize=8.5)
    axes.set_ylabel("predicted", fontsize=8.5)
    axes.text(0.04, 0.96, said, transform=axes.transAxes, va="top", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    file = np.load(sys.argv[1], allow_pickle=False)
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else _ROOT / "docs/images/prediction.png"
    figure, (first, second, third) = pyplot.subplots(1, 3, figsize=(10.2, 3.5), layout="constrained")
    for axes, kind, title, label in (
        (first, "latency", "Latency on an i7, unseen families", "ms"), (second, "top1", "ImageNet top-1, unseen families", "%"),
    ):  # fmt: skip
        truth, guess = file[f"{kind}_true"], file[f"{kind}_predicted"]
        found = errors(truth, guess)
        far = (
            f"median error {100 * found['median_relative_error']:.0f} %"
            if kind == "latency"
            else f"mean error {np.abs(guess - truth).mean():.1f} points"
        )
        panel(
            axes,
            truth,
            guess,
            title,
            label,
            f"{len(truth):,} architectures\nSpearman {found['spearman']:.3f}\n{far}",
            kind == "latency",
        )
    ms, guess = on_this_machine()
    found = errors(ms, guess)
    said = f"{len(ms)} architectures\nSpearman {found['spearman']:.3f}\nmedian error {100 * found['median_relative_error']:.0f} %"
    panel(third, ms, guess, "After calibration on another machine", "ms", said, True)
    figure.savefig(out, dpi=80)
    sys.stdout.write(f"{out}: {out.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
