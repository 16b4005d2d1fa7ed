"""Images a second on a GPU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netatlas.graph.work import COLUMNS
from netatlas.predictors._stored import load
from netatlas.predictors.base import PREDICTORS, Predictor

Floats = npt.NDArray[np.float64]


@PREDICTORS.register("throughput")
class Throughput(Predictor):
    """Milliseconds an image by the roofline alone, which did better on unseen families than trees on top of it.

    Given for image classifiers only, since the published figures are of those.
    """

    name = "throughput"
    fact = "throughput_predicted"
    machine = "an NVIDIA RTX 4090, mixed precision, best batch"

    def __init__(self) -> None:
        self._model = load("throughput")

    @property
    def error(self) -> str:
        return f"±{100 * self._model.errors['median_relative_error']:.0f} %"

    @property
    def method(self) -> str:
        return self._model.about

    def applies(self, work: Floats) -> npt.NDArray[np.bool_]:
        return super().applies(work) & self._model.is_large_enough(work) & (work[:, COLUMNS.index("classifier")] > 0)

    def values(self, work: Floats) -> tuple[Floats, Floats, Floats]:
        step = self._model.predict(work)
        wider = np.where(self._model.is_within_reach(work), 1.0, 2.0)
        low, high = step + wider * self._model.low, step + wider * self._model.high
        return 1e3 * np.exp(-step), 1e3 * np.exp(-high), 1e3 * np.exp(-low)
