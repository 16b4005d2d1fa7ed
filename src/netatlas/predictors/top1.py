"""ImageNet top-1 of an architecture nobody has published a figure for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netatlas.graph.work import COLUMNS
from netatlas.predictors._stored import load
from netatlas.predictors.base import PREDICTORS, Predictor

Floats = npt.NDArray[np.float64]


@PREDICTORS.register("top1")
class Top1(Predictor):
    """Trees on the logarithm of the share of images that are wrong.

    It predicts what the best published recipe without other data and without a teacher reaches at the traced input size, since
    that is what it was trained on. A graph does not tell how it was trained: the interval is wide because of that.
    """

    name = "top1"
    fact = "top1_predicted"

    def __init__(self) -> None:
        self._model = load("top1")

    @property
    def error(self) -> str:
        return f"±{self._model.errors['mean_absolute_error']:.1f} points"

    @property
    def method(self) -> str:
        return self._model.about

    def applies(self, work: Floats) -> npt.NDArray[np.bool_]:
        return super().applies(work) & (work[:, COLUMNS.index("classifier")] > 0) & self._model.is_within_reach(work)

    def values(self, work: Floats) -> tuple[Floats, Floats, Floats]:
        wrong = self._model.predict(work)
        best, worst = wrong + self._model.low, wrong + self._model.high
        return accuracy(wrong), accuracy(worst), accuracy(best)


def accuracy(wrong: Floats) -> Floats:
    """Top-1 in % from the logarithm of the percentage that is wrong."""
    return np.asarray(100.0 - np.exp(np.minimum(wrong, np.log(100.0))))
