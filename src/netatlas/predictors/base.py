"""The interface of predictors: the work of a graph to a value, with an interval and the error made on unseen families."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from netatlas.graph.work import COLUMNS, COMPUTE, TRAFFIC
from netatlas.records import Prediction
from netatlas.registry import Registry

Floats = npt.NDArray[np.float64]

MOST_UNKNOWN = 0.2
"""Share of operators outside the vocabulary above which nothing is predicted: their cost cannot be seen."""

_COUNTS = [COLUMNS.index(f"{name}.count") for name in COMPUTE + TRAFFIC]
_UNKNOWN, _CLASSIFIER = COLUMNS.index("unknown"), COLUMNS.index("classifier")


class Predictor(ABC):
    """Guesses one fact of networks from vectors of `netatlas.graph.work.work`."""

    name: str
    """Registered name."""

    fact: str
    """The fact it predicts; one of its own, beside the measured one."""

    machine: str = ""
    """What the values hold for; empty where no machine matters."""

    @property
    @abstractmethod
    def error(self) -> str:
        """How far it is typically off on unseen families: ``"±8 %"``."""

    @property
    @abstractmethod
    def method(self) -> str:
        """What was trained on what, in words."""

    @abstractmethod
    def values(self, work: Floats) -> tuple[Floats, Floats, Floats]:
        """Values and the ends of their intervals, each ``(n,)``, for vectors ``(n, len(COLUMNS))``; all finite."""

    def applies(self, work: Floats) -> npt.NDArray[np.bool_]:
        """``(n,)`` for which networks a value can be given at all: those with operators, most of them known."""
        counts = work[:, _COUNTS].sum(axis=1)
        return np.asarray((counts > 0) & (work[:, _UNKNOWN] <= MOST_UNKNOWN * counts))

    def is_familiar(self, work: Floats) -> npt.NDArray[np.bool_]:
        """``(n,)`` which networks are like those whose error is known: image classifiers. Others get a wider interval."""
        return np.asarray(work[:, _CLASSIFIER] > 0)

    def predict(self, work: Floats) -> Prediction | None:
        """The prediction for one network ``(len(COLUMNS),)``, ``None`` where it cannot be given."""
        if not self.applies(work[None])[0]:
            return None
        value, low, high = (float(x[0]) for x in self.values(work[None]))
        familiar = bool(self.is_familiar(work[None])[0])
        error = self.error if familiar else f"{self.error} for image classifiers, more for a network like this,"
        return Prediction(self.fact, value, low, high, error, self.machine, self.method)


PREDICTORS: Registry[Predictor] = Registry("predictors", "netatlas.predictors")
