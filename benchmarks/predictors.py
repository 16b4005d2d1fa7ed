"""How well predictors do on families they have not seen, beside simple rules, and after calibration on one machine.

Run with ``python benchmarks/predictors.py`` (about ten minutes on one core: every figure is computed anew). Families are linked:
architectures that share a glossary family or a Python module are never on both sides of a split. ``calibration_measured.csv`` holds
processor time of one forward pass, batch 1, one thread, torch 2.14 eager, on two virtual cores of an Intel Xeon that others used
too: ``calibrated`` rows are what ``netatlas calibrate --count 30`` chose, ``held out`` rows were measured on the same day and never
used to fit.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

from train_predictors import Data, data_of, fit_roofline, fit_speed, folds, train

from netatlas.atlas.atlas import Atlas
from netatlas.graph.work import COLUMNS, COMPUTE, SUMS, work
from netatlas.predictors._calibration import calibrate, errors
from netatlas.predictors._stored import Model, load

Floats = np.ndarray
_MACS = [COLUMNS.index(f"{name}.macs") for name in COMPUTE]
MEASURED = Path(__file__).parent / "calibration_measured.csv"


def power_law(x: Floats, y: Floats) -> Callable[[Floats], Floats]:
    """A straight line in the logarithm of MACs."""
    line = np.polyfit(np.log(x[:, _MACS].sum(axis=1)), y, 1)
    return lambda new: np.polyval(line, np.log(new[:, _MACS].sum(axis=1)))


def roofline(x: Floats, y: Floats) -> Callable[[Floats], Floats]:
    """The non-negative roofline alone."""
    speeds = fit_roofline(x, np.exp(y))
    return lambda new: np.log(np.maximum(new[:, : len(SUMS)] @ speeds, 1e-6))


def cross_validated(data: Data, target: Floats, fit: Callable[[Floats, Floats], Callable[[Floats], Floats]]) -> Floats:
    found = np.zeros(len(target))
    for rows, test in folds(data.families):
        found[test] = fit(data.work[rows], target[rows])(data.work[test])
    return found


def told(name: str, found: dict[str, float], more: str = "") -> None:
    print(
        f"  {name:34s} Spearman {found['spearman']:.3f}  median relative error {100 * found['median_relative_error']:5.1f} %  "
        f"p90 {100 * found['p90_relative_error']:5.1f} %{more}"
    )


def unseen_families(atlas: Atlas) -> None:
    for kind in ("latency", "throughput", "top1"):
        data = data_of(atlas, kind)
        print(f"{kind}: {len(data.y):,} architectures, {len(set(data.families))} linked families, ten folds")
        if kind == "top1":
            wrong = cross_validated(data, np.log(100 - data.y), power_law)
            seen = 100 - np.exp(wrong)
            told("MACs alone", errors(data.y, seen), f"  MAE {np.abs(seen - data.y).mean():.2f} points")
        else:
            told("MACs alone", errors(data.y, np.exp(cross_validated(data, np.log(data.y), power_law))))
            told("roofline alone", errors(data.y, np.exp(cross_validated(data, np.log(data.y), roofline))))
        model, _ = train(data, kind, "")
        more = f"  90 % interval holds {100 * model.errors['coverage_90']:.1f} %"
        more += f"  MAE {model.errors['mean_absolute_error']:.2f} points" if kind == "top1" else ""
        told("shipped", model.errors, more)


def on_one_machine(atlas: Atlas) -> None:
    rows = list(csv.DictReader(MEASURED.open()))
    ids, ms = [r["id"] for r in rows], np.array([float(r["ms"]) for r in rows])
    fitted = np.array([r["role"] == "calibrated" for r in rows])
    facts = atlas.facts(ids)
    families = [str(facts[i].get("family", i)) for i in ids]
    vectors = np.stack([work(atlas.graph(i)) for i in ids])
    print(f"calibration: {fitted.sum()} architectures measured, {(~fitted).sum()} held out")
    for name, model in (("families known on the i7", load("latency")), ("families unseen on the i7 too", without(atlas, ids))):
        reference = model.predict(vectors)
        made, guess = calibrate(
            "", ms[fitted], reference[fitted], vectors[fitted], [f for f, c in zip(families, fitted, strict=True) if c]
        )
        told(f"left-out families, {name}", errors(ms[fitted], guess))
        told(f"held out, {name}", errors(ms[~fitted], np.exp(made.apply(reference, vectors))[~fitted]))
        told(f"no calibration but a factor, {name}", errors(ms, np.exp(reference + np.median((np.log(ms) - reference)[fitted]))))


def without(atlas: Atlas, ids: list[str]) -> Model:
    """The latency model trained without every family of the measured architectures."""
    data = data_of(atlas, "latency")
    facts = atlas.facts([*data.ids, *ids])
    gone = {str(facts[i].get("family", i)) for i in ids}
    kept = np.array([str(facts[i].get("family", i)) not in gone for i in data.ids])
    print(f"  for families unseen on the i7 too, trained again on {kept.sum():,} of {len(kept):,} architectures")
    return fit_speed(data.work[kept], data.y[kept])


if __name__ == "__main__":
    opened = Atlas.open(None)
    on_one_machine(opened)
    if "--machine-only" not in sys.argv:
        unseen_families(opened)
