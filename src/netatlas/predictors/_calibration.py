"""From the reference machine to this one: a shift, a slope and a factor for each group of operators, from a few measurements."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from netatlas.errors import ConfigError, StoreError
from netatlas.predictors._features import GROUPS, time_shares

Floats = npt.NDArray[np.float64]

FEWEST = 5
"""Measurements without which nothing is fitted."""

_STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 1e6)
"""Strengths of the pull towards the shipped model that are tried; the last leaves nothing but the shift."""

_SLOPE_SCALE = 0.5


@dataclass(frozen=True)
class Calibration:
    """How this machine differs from the reference.

    Attributes:
        machine: In words, with the number of threads.
        measured: Architectures it was fitted on.
        shift: Added to the logarithm of the reference latency at the centre.
        centre: Mean features of the measured architectures, ``(1 + len(GROUPS),)``.
        slopes: What one more of each feature adds.
        low: Quantile of the logarithm of measured over predicted, one in twenty below it, leaving families out.
        high: One in twenty above it.
        errors: Spearman and relative errors, leaving families out.
    """

    machine: str
    measured: int
    shift: float
    centre: tuple[float, ...]
    slopes: tuple[float, ...]
    low: float
    high: float
    errors: Mapping[str, float]

    @property
    def about(self) -> str:
        """How it was made, in words."""
        return f"calibrated on {self.measured} measured architectures"

    def apply(self, reference: Floats, work: Floats) -> Floats:
        """Logarithms of ms on this machine ``(n,)`` from those on the reference ``(n,)`` and the work ``(n, len(COLUMNS))``."""
        away = _design(reference, work) - np.asarray(self.centre)
        return np.asarray(reference + self.shift + away @ np.asarray(self.slopes))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what `to_json` wrote.

        Raises:
            StoreError: It is something else.
        """
        try:
            read = json.loads(text)
            made = cls(**{**read, "centre": tuple(read["centre"]), "slopes": tuple(read["slopes"])})
            numbers = [made.shift, made.low, made.high, *made.centre, *made.slopes, *made.errors.values()]
            if len(made.centre) != 1 + len(GROUPS) or len(made.slopes) != 1 + len(GROUPS) or not np.isfinite(numbers).all():
                raise ValueError("wrong number of values")
            return made
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"the calibration in the atlas cannot be read ({error}): run 'netatlas calibrate'") from error


def calibrate(
    machine: str, measured_ms: Floats, reference: Floats, work: Floats, families: Sequence[str]
) -> tuple[Calibration, Floats]:
    """Fit a calibration by ridge regression; how strongly it stays at the shipped model is chosen leaving families out.

    Args:
        machine: In words.
        measured_ms: ``(n,)`` latency here.
        reference: ``(n,)`` logarithm of the predicted latency on the reference machine.
        work: ``(n, len(COLUMNS))``.
        families: Family of each architecture.

    Returns:
        The calibration, and the predicted ms ``(n,)`` of every architecture by a fit that saw none of its family.

    Raises:
        ConfigError: There are fewer than `FEWEST` measurements or fewer than three families.
    """
    n = len(measured_ms)
    if n < FEWEST or len(set(families)) < 3:
        raise ConfigError(
            f"calibrating takes {FEWEST} measured architectures of 3 families, there are {n} of {len(set(families))}: measure more"
        )
    design, target = _design(reference, work), np.log(measured_ms) - reference
    left_out = {strength: _without_family(design, target, families, strength) for strength in _STRENGTHS}
    # The median is what is promised to users, but with thirty values it jumps: choose by the mean of the absolute error.
    strength = min(_STRENGTHS, key=lambda s: (float(np.abs(left_out[s] - target).mean()), s))
    residual = target - left_out[strength]
    low, high = np.quantile(residual, [0.05, 0.95])
    predicted = np.exp(reference + left_out[strength])
    shift, centre, slopes = _ridge(design, target, strength)
    made = Calibration(
        machine, n, float(shift), tuple(centre.tolist()), tuple(slopes.tolist()), float(min(low, 0.0)), float(max(high, 0.0)),
        errors(measured_ms, predicted),
    )  # fmt: skip
    return made, predicted


def errors(truth: Floats, predicted: Floats) -> dict[str, float]:
    """Rank correlation (Spearman) and relative errors of positive values."""
    relative = np.abs(predicted / truth - 1)
    return {
        "spearman": spearman(truth, predicted), "median_relative_error": float(np.median(relative)),
        "p90_relative_error": float(np.quantile(relative, 0.9)), "n": float(len(truth)),
    }  # fmt: skip


def spearman(a: Floats, b: Floats) -> float:
    """Spearman's rank correlation, equal values sharing their mean rank; 0 where one side is constant."""
    ranks = [_ranks(np.asarray(x)) for x in (a, b)]
    if min(float(r.std()) for r in ranks) == 0.0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def _design(reference: Floats, work: Floats) -> Floats:
    return np.concatenate([_SLOPE_SCALE * reference[:, None], time_shares(work)], axis=1)


def _ridge(design: Floats, target: Floats, strength: float) -> tuple[float, Floats, Floats]:
    """Shift, centre and slopes; only slopes are pulled to zero."""
    centre = design.mean(axis=0)
    away = design - centre
    shift = float(np.median(target)) if strength >= _STRENGTHS[-1] else float(target.mean())
    slopes = np.linalg.solve(away.T @ away + strength * np.eye(away.shape[1]), away.T @ (target - shift))
    return shift, centre, np.asarray(slopes)


def _without_family(design: Floats, target: Floats, families: Sequence[str], strength: float) -> Floats:
    labels = np.asarray(families)
    found = np.zeros(len(target))
    for family in sorted(set(families)):
        held = labels == family
        shift, centre, slopes = _ridge(design[~held], target[~held], strength)
        found[held] = shift + (design[held] - centre) @ slopes
    return found
