"""Orders: what ``--sort`` and ``--pareto`` mean, and the Pareto front itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netatlas.atlas.columns import Columns, Mask, Numbers
from netatlas.errors import QueryError, did_you_mean
from netatlas.facts import FACTS, FactType, fact_words, find_fact

_BLOCK = 2048  # rows compared at once; bounds the memory of a comparison with the whole front


@dataclass(frozen=True)
class Axis:
    """A fact of a Pareto front and which direction counts as better."""

    fact: str
    higher: bool

    def __str__(self) -> str:
        return f"{'+' if self.higher else '-'}{self.fact}"


def sort_key(text: str) -> tuple[str, bool]:
    """The fact that ``--sort`` names and whether the largest come first: ``"-top1"`` gives ``("top1", True)``.

    Raises:
        QueryError: There is no such fact, or it is a set, which has no order.
    """
    sign, fact = _signed(text, "sort")
    if fact.kind == "set":
        raise QueryError(f"cannot sort by {fact.name}: it holds several words")
    return fact.name, sign == "-"


def pareto_axes(text: str) -> tuple[Axis, ...]:
    """The axes that ``--pareto`` names, such as ``"top1,macs"``; ``+fact`` (higher is better) and ``-fact`` override.

    Raises:
        QueryError: A fact is unknown, holds words, occurs twice, or has no better direction and no sign.
    """
    axes = tuple(_axis(part) for part in text.split(","))
    names = [axis.fact for axis in axes]
    if len(set(names)) < len(names):
        raise QueryError(f"pareto: a fact occurs twice in {text[:60]!r}")
    return axes


def pareto_front(columns: Columns, axes: tuple[Axis, ...], among: Mask | None = None) -> Mask:
    """``(m,)`` the entries that no other is at least as good as on all axes and better on one.

    Entries with the same values stand or fall together. An entry that lacks one of the facts is not on the front, and dominates
    nobody. O(m log m) for one or two axes, O(m f) for a front of ``f`` entries otherwise.

    Args:
        columns: The facts.
        axes: From `pareto_axes`.
        among: ``(m,)`` entries that take part; all when ``None``.
    """
    costs = np.stack([-columns.filled(axis.fact) if axis.higher else columns.filled(axis.fact) for axis in axes], axis=1)
    eligible = ~np.isnan(costs).any(axis=1)
    if among is not None:
        eligible &= among
    rows = np.flatnonzero(eligible)
    front = np.zeros(len(columns), dtype=np.bool_)
    if len(rows):
        points, place = np.unique(costs[rows], axis=0, return_inverse=True)  # sorted by the first axis, then the next
        best = _staircase(points) if points.shape[1] <= 2 else _culled(points)
        front[rows] = best[np.ravel(place)]
    return front


def _staircase(points: Numbers) -> Mask:
    """The front of distinct points in lexicographic order, one or two axes: those below all points before them."""
    last = points[:, -1]
    best = np.ones(len(points), dtype=np.bool_)
    best[1:] = last[1:] < np.minimum.accumulate(last)[:-1]
    return best


def _culled(points: Numbers) -> Mask:
    """The front of distinct points in lexicographic order: only an earlier point can dominate a later one."""
    best = np.zeros(len(points), dtype=np.bool_)
    front = np.empty((0, points.shape[1]))
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        alive = np.flatnonzero(~_dominated(block, front))
        kept: list[int] = []
        for i in alive.tolist():
            if not kept or not bool((block[kept] <= block[i]).all(axis=1).any()):
                kept.append(i)
        best[start + np.asarray(kept, dtype=np.intp)] = True
        front = np.concatenate((front, block[kept]))
    return best


def _dominated(block: Numbers, front: Numbers) -> Mask:
    out = np.zeros(len(block), dtype=np.bool_)
    for start in range(0, len(front), _BLOCK):
        rest = np.flatnonzero(~out)
        some = front[start : start + _BLOCK]
        worse = np.ones((len(rest), len(some)), dtype=np.bool_)
        for axis in range(block.shape[1]):
            worse &= some[None, :, axis] <= block[rest, axis][:, None]
        out[rest[worse.any(axis=1)]] = True
    return out


def _axis(text: str) -> Axis:
    sign, fact = _signed(text, "pareto")
    if fact.kind not in ("count", "number"):
        raise QueryError(f"pareto: {fact.name} holds words, which are not better or worse")
    if not sign and fact.better is None:
        clear = ", ".join(other.name for other in FACTS.values() if other.better)
        raise QueryError(f"pareto: {fact.name} has no better direction; write +{fact.name} or -{fact.name} (clear ones: {clear})")
    return Axis(fact.name, sign == "+" if sign else fact.better == "higher")


def _signed(text: str, verb: str) -> tuple[str, FactType]:
    word = text.strip()
    sign = word[:1] if word[:1] in ("+", "-") else ""
    name = word[len(sign) :].strip()
    if not name:
        raise QueryError(f"{verb}: a fact is needed, got {text[:60]!r}")
    if (fact := find_fact(name)) is None:
        raise QueryError(f"{verb}: unknown fact {name[:60]!r}{did_you_mean(name[:60], fact_words())}")
    return sign, fact
