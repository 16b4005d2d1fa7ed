"""Latency at batch 1 on a CPU: of the reference machine, or of this one once it is calibrated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netatlas.predictors._calibration import Calibration
from netatlas.predictors._stored import load
from netatlas.predictors.base import PREDICTORS, Predictor

Floats = npt.NDArray[np.float64]

REFERENCE = "an Intel i7-12700H with torch.compile"
"""Where the shipped model's training values were measured."""


@PREDICTORS.register("latency")
class Latency(Predictor):
    """A non-negative roofline over classes of operators, gradient boosted trees on what it leaves, then the calibration.

    The roofline is linear in the work, so that networks larger than any it was trained on get a larger value; trees alone would
    not. For what is no image classifier, or outside twice the range of the training networks, the interval is as wide again on either
    side.

    Args:
        calibration: What ``netatlas calibrate`` found; without it the values hold for `REFERENCE`.
    """

    name = "latency"
    fact = "latency_predicted"

    def __init__(self, *, calibration: Calibration | None = None) -> None:
        self._model = load("latency")
        self.calibration = calibration
        self.machine = calibration.machine if calibration else REFERENCE

    @property
    def error(self) -> str:
        errors = self.calibration.errors if self.calibration else self._model.errors
        return f"±{100 * errors['median_relative_error']:.0f} %"

    @property
    def method(self) -> str:
        return f"{self._model.about}{'; ' + self.calibration.about if self.calibration else ''}"

    def applies(self, work: Floats) -> npt.NDArray[np.bool_]:
        return super().applies(work) & self._model.is_large_enough(work)

    def values(self, work: Floats) -> tuple[Floats, Floats, Floats]:
        value = self._model.predict(work)
        low, high = self._model.low, self._model.high
        if self.calibration is not None:
            value = self.calibration.apply(value, work)
            low, high = self.calibration.low, self.calibration.high
        wider = np.where(self._model.is_within_reach(work) & self.is_familiar(work), 1.0, 2.0)
        return np.exp(value), np.exp(value + wider * low), np.exp(value + wider * high)
