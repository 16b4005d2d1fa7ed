"""Predictions for entries: which can be given, calibrated to the user's machine where that was done."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from netatlas.errors import StoreError
from netatlas.facts import FACTS, Value
from netatlas.graph.graph import Graph
from netatlas.graph.work import unpack, work
from netatlas.predictors._calibration import Calibration
from netatlas.predictors.base import PREDICTORS, Predictor
from netatlas.records import Entry, Prediction, prediction_words

CALIBRATION = "calibration"
"""Name under which an atlas keeps the calibration of its user's machine."""


class Predictions:
    """All predictors.

    A stored calibration that cannot be read is not used, and `words` says so: the atlas must open for it to be made anew.

    Args:
        calibration: What `netatlas.atlas.calibrate` stored, ``None`` before that.
    """

    def __init__(self, calibration: str | None = None) -> None:
        self.calibration: Calibration | None = None
        self._trouble = ""
        if calibration is not None:
            try:
                self.calibration = Calibration.from_json(calibration)
            except StoreError as error:
                self._trouble = f" ({error})"

    @cached_property
    def predictors(self) -> tuple[Predictor, ...]:
        given = {"latency": {"calibration": self.calibration}}
        return tuple(PREDICTORS.build(name, **given.get(name, {})) for name in PREDICTORS)

    def facts(self, stored: Mapping[str, bytes]) -> dict[str, dict[str, Value]]:
        """Predicted facts by id, all entries at once.

        Args:
            stored: Packed `netatlas.graph.work.work` vectors by id; those of another version are passed over.
        """
        read = {entry_id: vector for entry_id, data in stored.items() if (vector := unpack(data)) is not None}
        if not read:
            return {}
        ids, table = list(read), np.stack(list(read.values()))
        found: dict[str, dict[str, Value]] = {entry_id: {} for entry_id in ids}
        for predictor in self.predictors:
            values, _, _ = predictor.values(table)
            for row in np.flatnonzero(predictor.applies(table)).tolist():
                found[ids[row]][predictor.fact] = float(values[row])
        return found

    def of(self, entry: Entry, graph: Graph | None) -> tuple[Prediction, ...]:
        """Predictions for one architecture, of the facts that are not known."""
        if graph is None or entry.kind != "architecture" or not entry.is_wired:
            return ()
        # Rounded as a stored vector is, so that the card and find show the same value.
        vector = work(graph).astype(np.float32).astype(np.float64)
        wanted = [p for p in self.predictors if FACTS[p.fact].predicts not in entry.facts]
        return tuple(found for p in wanted if (found := p.predict(vector)) is not None)

    def words(self, fact: str) -> str:
        """How a predicted fact came about, for people."""
        predictor = next(p for p in self.predictors if p.fact == fact)
        return prediction_words(predictor.error, predictor.machine) + self._trouble
