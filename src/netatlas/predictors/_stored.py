"""The trained models of the package: a roofline, trees over it, and the errors they were found to make on unseen families."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netatlas.errors import ConfigError
from netatlas.graph.work import COLUMNS, SUMS
from netatlas.predictors._features import features
from netatlas.predictors._trees import Trees

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Model:
    """``roofline + trees`` on a scale of its predictor's choice, usually a logarithm.

    Attributes:
        speeds: Milliseconds for each unit of `SUMS`, none negative, ``(len(SUMS),)``; all zero for a model of trees alone.
        trees: What they add to ``log(roofline)``, or the whole value without a roofline.
        low: Lower and upper quantile of the error on unseen families, on the model's scale: the interval of a value ``v`` is
            ``[v + low, v + high]``.
        high: See ``low``.
        reach: Least and most MACs and bytes moved of the training networks, ``(2, 2)``.
        errors: What cross-validation over families found, by name.
        about: What it was trained on, in words.
    """

    speeds: Floats
    trees: Trees
    low: float
    high: float
    reach: Floats
    errors: Mapping[str, float]
    about: str

    def roofline(self, work: Floats) -> Floats:
        """Milliseconds of the roofline ``(n,)``, at least a nanosecond."""
        return np.asarray(np.maximum(work[:, : len(SUMS)] @ self.speeds, 1e-6))

    def predict(self, work: Floats) -> Floats:
        """Values ``(n,)`` on the model's scale for vectors ``(n, len(COLUMNS))``."""
        inputs = features(work)
        if not self.speeds.any():
            return self.trees.predict(inputs)
        base = np.log(self.roofline(work))
        return np.asarray(base + self.trees.predict(np.concatenate([inputs, base[:, None]], axis=1)))

    def is_within_reach(self, work: Floats) -> npt.NDArray[np.bool_]:
        """Whether networks ``(n,)`` are within twice the range of sizes that the model was trained on."""
        sizes = extent(work)
        return np.asarray(((sizes >= self.reach[0] / 2) & (sizes <= 2 * self.reach[1])).all(axis=1))

    def is_large_enough(self, work: Floats) -> npt.NDArray[np.bool_]:
        """Whether networks ``(n,)`` have a tenth of the least trained size: below, what a call costs besides is everything."""
        return np.asarray((extent(work) >= self.reach[0] / 10).all(axis=1))

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file of plain arrays."""
        told = json.dumps({"errors": dict(self.errors), "about": self.about, "columns": COLUMNS})
        np.savez_compressed(
            path, speeds=self.speeds, feature=self.trees.feature, threshold=self.trees.threshold, leaf=self.trees.leaf,
            start=self.trees.start, interval=np.array([self.low, self.high]), reach=self.reach, told=np.array(told),
        )  # fmt: skip


def extent(work: Floats) -> Floats:
    """MACs and bytes moved of every network, ``(n, 2)``."""
    kinds = [[i for i, name in enumerate(COLUMNS) if name.endswith(end)] for end in (".macs", ".bytes")]
    return np.stack([work[:, columns].sum(axis=1) for columns in kinds], axis=1)


@cache
def load(name: str) -> Model:
    """The model of the package called ``name``.

    Raises:
        ConfigError: It was trained with other columns than this netatlas computes.
    """
    with files("netatlas.data").joinpath(f"predict_{name}.npz").open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        told: dict[str, Any] = json.loads(str(file["told"]))
        if tuple(told["columns"]) != COLUMNS:
            raise ConfigError(f"predict_{name}.npz was trained on other columns: run scripts/train_predictors.py")
        trees = Trees(file["feature"], file["threshold"], file["leaf"], float(file["start"]))
        low, high = file["interval"].tolist()
        return Model(file["speeds"], trees, low, high, file["reach"], told["errors"], told["about"])
