"""Train the predictors of the package on the published figures of timm and store them with their errors on unseen families.

    python scripts/train_predictors.py [--out FOLDER] [--only latency] [--oof FILE.npz]

Deterministic. Families are linked: two architectures of one glossary family or of one Python module are never on both sides of a
split. Takes a few minutes on one core; needs scikit-learn and scipy.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from netatlas.atlas.atlas import Atlas
from netatlas.graph.work import SUMS, work
from netatlas.predictors._calibration import errors, spearman
from netatlas.predictors._features import features
from netatlas.predictors._stored import Model, extent
from netatlas.predictors._trees import Trees
from netatlas.predictors.top1 import accuracy
from netatlas.sources import _timm_results as published

Floats = npt.NDArray[np.float64]

_OUT = Path(__file__).parent.parent / "src/netatlas/data"
FOLDS = 10
DEPTH, TREES, RATE = 4, 300, 0.05
RIDGE = 0.003
"""Pull of the roofline's speeds towards zero, for classes of operators that few networks have."""

OTHER_DATA = re.compile(
    "in21k|in22k|in12k|laion|openai|jft|ns_|_ns|swsl|ssl|wsl|swag|seer|lvd|datacomp|metaclip|webli|merged|yfcc|m38m|dist|mim|mae|dino"
    "|beit|eva|sw_|lcdp"
)
"""Tags of weights that saw other data than ImageNet-1k, or a teacher that did, or a self-supervised start."""


@dataclass(frozen=True)
class Data:
    """Networks with a known value: ids, `work` vectors, values, families and linked families."""

    ids: list[str]
    work: Floats
    y: Floats
    families: npt.NDArray[np.str_]


def dataset(atlas: Atlas, ids: Sequence[str], values: Sequence[float]) -> Data:
    facts = atlas.facts(ids)
    labels = linked([(str(facts[i].get("module", i)), str(facts[i].get("family", i))) for i in ids])
    return Data(list(ids), np.stack([work(atlas.graph(i)) for i in ids]), np.array(values), np.array(labels))


def linked(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """One label for all architectures that share a module or a family, directly or through others."""
    above: dict[str, str] = {}

    def top(x: str) -> str:
        while above.setdefault(x, x) != x:
            x = above[x]
        return x

    for module, family in pairs:
        above[top(f"module {module}")] = top(f"family {family}")
    return [top(f"module {module}") for module, _ in pairs]


def speeds(atlas: Atlas, fact: str) -> Data:
    """Published milliseconds of architectures at their traced input size."""
    ids = atlas.with_graphs()
    facts = atlas.facts(ids)
    chosen = [i for i in ids if fact in facts[i]]
    values = [float(facts[i][fact]) for i in chosen]  # type: ignore[arg-type]
    return dataset(atlas, chosen, values if fact == "cpu_ms" else [1e3 / v for v in values])


def accuracies(atlas: Atlas) -> Data:
    """Best published top-1 among weights that saw nothing but ImageNet-1k, at the traced input size."""
    ids = sorted(i for i in atlas.with_graphs() if i.startswith("timm/") and not i.startswith("timm/test_"))
    facts = atlas.facts(ids)
    best: dict[str, float] = {}
    for full_name, rows in published.accuracy().items():
        name, _, tag = full_name.partition(".")
        entry_id = f"timm/{name}"
        size = facts[entry_id].get("input_size") if entry_id in facts else None
        if size in rows and not OTHER_DATA.search(tag):
            best[entry_id] = max(best.get(entry_id, 0.0), rows[size]["top1"])  # type: ignore[index]
    chosen = sorted(best)
    return dataset(atlas, chosen, [best[i] for i in chosen])


def fit_roofline(x: Floats, ms: Floats) -> Floats:
    """Non-negative speeds with the least relative error, ``(len(SUMS),)``."""
    from scipy.optimize import nnls

    sums = x[:, : len(SUMS)]
    scale = sums.mean(axis=0) + 1e-9
    rows = sums / scale / ms[:, None]
    pull = RIDGE * np.sqrt(len(ms)) * np.eye(len(SUMS))
    found, _ = nnls(np.concatenate([rows, pull]), np.concatenate([np.ones(len(ms)), np.zeros(len(SUMS))]), maxiter=20_000)
    return np.asarray(found / scale)


def fit_trees(x: Floats, target: Floats, loss: str, seeds: int) -> Trees:
    from sklearn.ensemble import GradientBoostingRegressor

    models = [
        GradientBoostingRegressor(
            n_estimators=TREES // seeds, learning_rate=RATE * (1.0 if loss == "squared_error" else 0.8), max_depth=DEPTH, subsample=0.6,
            min_samples_leaf=5, max_features=0.3, random_state=seed, loss=loss,
        ).fit(x, target)
        for seed in range(seeds)
    ]  # fmt: skip
    starts = [float(np.ravel(m.init_.predict(x[:1]))[0]) for m in models]
    parts = [Trees.from_sklearn(list(m.estimators_[:, 0]), DEPTH, m.learning_rate / seeds, 0.0) for m in models]
    joined = (np.concatenate([getattr(p, name) for p in parts]) for name in ("feature", "threshold", "leaf"))
    return Trees(*joined, float(np.mean(starts)))


def _model(roof: Floats, trees: Trees, x: Floats) -> Model:
    sizes = extent(x)
    return Model(roof, trees, 0.0, 0.0, np.stack([sizes.min(axis=0), sizes.max(axis=0)]), {}, "")


def fit_speed(x: Floats, ms: Floats) -> Model:
    """Roofline and trees for the logarithm of milliseconds."""
    roof = fit_roofline(x, ms)
    base = np.log(np.maximum(x[:, : len(SUMS)] @ roof, 1e-6))
    trees = fit_trees(np.concatenate([features(x), base[:, None]], axis=1), np.log(ms) - base, "squared_error", 1)
    return _model(roof, trees, x)


def fit_bound(x: Floats, ms: Floats) -> Model:
    """Roofline alone, with the shift that makes its median error zero.

    At the best batch of a GPU networks are bound by arithmetic and memory, launches hide: on unseen families trees on top made the
    median relative error of throughput 17.6 % instead of 15.1 %, and that of the worst tenth 64 % instead of 42 %.
    """
    roof = fit_roofline(x, ms)
    left = np.log(ms) - np.log(np.maximum(x[:, : len(SUMS)] @ roof, 1e-6))
    nothing = Trees(
        np.zeros((0, 1), np.uint8), np.zeros((0, 1), np.float32), np.zeros((0, 2), np.float32), float(np.median(left))
    )
    return _model(roof, nothing, x)


def fit_top1(x: Floats, top1: Floats) -> Model:
    """Trees for the logarithm of the percentage that is wrong."""
    return _model(np.zeros(len(SUMS)), fit_trees(features(x), np.log(100 - top1), "huber", 1), x)


def folds(families: npt.NDArray[np.str_]) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    from sklearn.model_selection import GroupKFold

    yield from GroupKFold(FOLDS).split(families, groups=families)


def out_of_fold(data: Data, fit: Callable[[Floats, Floats], Model]) -> Floats:
    """Predictions on the model's scale by fits that saw no network of the family."""
    found = np.zeros(len(data.y))
    for train, test in folds(data.families):
        found[test] = fit(data.work[train], data.y[train]).predict(data.work[test])
    return found


def coverage(target: Floats, predicted: Floats, families: npt.NDArray[np.str_]) -> float:
    """Share of values inside the interval when its quantiles come from the other folds."""
    inside = np.zeros(len(target), dtype=bool)
    for others, test in folds(families):
        low, high = np.quantile((target - predicted)[others], [0.05, 0.95])
        error = (target - predicted)[test]
        inside[test] = (error >= low) & (error <= high)
    return float(inside.mean())


def train(data: Data, kind: str, about: str) -> tuple[Model, Floats]:
    """The model trained on everything, with its error on unseen families, and the out-of-fold predictions in the unit of ``y``."""
    fit = {"latency": fit_speed, "throughput": fit_bound, "top1": fit_top1}[kind]
    target = np.log(100 - data.y) if kind == "top1" else np.log(data.y)
    predicted = out_of_fold(data, fit)
    low, high = np.quantile(target - predicted, [0.05, 0.95])
    seen = accuracy(predicted) if kind == "top1" else np.exp(predicted)
    found = errors(data.y, seen) | {
        "coverage_90": coverage(target, predicted, data.families),
        "families": float(len(set(data.families))),
    }
    if kind == "top1":
        found |= {"mean_absolute_error": float(np.abs(seen - data.y).mean()), "spearman": spearman(data.y, seen)}
    model = fit(data.work, data.y)
    return Model(model.speeds, model.trees, float(low), float(high), model.reach, found, about), seen


TARGETS = {
    "latency": ("cpu_ms", "roofline and boosted trees trained on {n:,} latencies published by timm"),
    "throughput": ("gpu_throughput", "roofline trained on {n:,} throughputs published by timm"),
    "top1": ("top1", "boosted trees trained on the best ImageNet-1k-only top-1 of {n:,} architectures published by timm"),
}


def data_of(atlas: Atlas, kind: str) -> Data:
    return accuracies(atlas) if kind == "top1" else speeds(atlas, TARGETS[kind][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=_OUT)
    parser.add_argument("--only", choices=list(TARGETS))
    parser.add_argument("--oof", type=Path, help="Also write ids, values and out-of-fold predictions here.")
    options = parser.parse_args()
    atlas, kept = Atlas.open(None), {}
    for kind, (_, about) in TARGETS.items():
        if options.only in (None, kind):
            data = data_of(atlas, kind)
            model, seen = train(data, kind, about.format(n=len(data.y)))
            path = options.out / f"predict_{kind}.npz"
            model.save(path)
            kept |= {
                f"{kind}_ids": np.array(data.ids),
                f"{kind}_true": data.y,
                f"{kind}_predicted": seen,
                f"{kind}_family": data.families,
            }
            told = ", ".join(f"{name} {value:.4g}" for name, value in model.errors.items())
            sys.stdout.write(f"{kind}: {told}, {path.stat().st_size:,} bytes\n")
            sys.stdout.flush()
    if options.oof:
        np.savez_compressed(options.oof, **kept)


if __name__ == "__main__":
    main()
