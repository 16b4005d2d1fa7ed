"""The measured figures of `nar` as tables, beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netatlas.evaluation.nar.protocols import find_protocol
from netatlas.systems._nar_methods import METHODS, Method
from netatlas.systems.base import Cell, Table

if TYPE_CHECKING:
    from netatlas.systems._nar_run import Unit

Measured = Sequence[tuple["Unit", dict[str, Any]]]

_METRICS = ("mrr@20", "map@20", "ndcg@20", "mrr@50", "map@50", "ndcg@50", "mrr@100", "map@100", "ndcg@100")


def of_method(measured: Measured, protocol: str, name: str) -> list[dict[str, Any]]:
    """What was measured of a method on a protocol, split by split and seed by seed."""
    return [value[name] for unit, value in measured if unit.protocol == protocol and name in value]


def mean_of(found: Sequence[dict[str, Any]], metric: str) -> float:
    """Mean over splits and seeds."""
    return float(np.mean([f["metrics"][metric] for f in found]))


def tables(protocols: Sequence[str], measured: Measured) -> list[Table]:
    """For every protocol one at 20 beside the paper's figures; then one at 50 and 100, and one of speed."""
    found = [_at_20(protocol, measured) for protocol in protocols]
    return [*found, _deeper(protocols, measured), _speed(protocols, measured)]


def _rows(protocol: str, measured: Measured) -> list[tuple[Method, list[dict[str, Any]]]]:
    return [(m, found) for m in METHODS if (found := of_method(measured, protocol, m.name))]


def _at_20(protocol: str, measured: Measured) -> Table:
    rows: list[list[Cell]] = []
    for method, found in _rows(protocol, measured):
        figures = [f["metrics"]["mrr@20"] for f in found]
        spread = float(np.std(figures)) if len(figures) > 1 else None
        paper = method.nas if protocol == "P5" else method.real if protocol == "P2" else None
        rows.append([
            method.name, len(found), *(mean_of(found, m) for m in _METRICS[:3]), spread, *(paper or (None,) * 3),
        ])  # fmt: skip
    training, items, queries, skipped = np.mean([f["sizes"] for _, found in _rows(protocol, measured) for f in found], axis=0)
    data = "generated" if protocol == "P5" else "real"
    columns = ["method", "runs", "MRR@20", "MAP@20", "NDCG@20", "± MRR"] + [f"paper {m} ({data})" for m in ("MRR", "MAP", "NDCG")]
    return Table(
        f"{protocol}: {find_protocol(protocol).what}. {training:.0f} graphs to learn from, {queries:.0f} queries among {items:.0f} "
        f"({skipped:.0f} more have nothing to find); means over splits and seeds.",
        columns if protocol != "P3" else columns[:6],
        rows if protocol != "P3" else [row[:6] for row in rows],
    )


def _deeper(protocols: Sequence[str], measured: Measured) -> Table:
    rows: list[list[Cell]] = [
        [method.name, protocol, *(mean_of(found, m) for m in _METRICS[3:])]
        for protocol in protocols
        for method, found in _rows(protocol, measured)
    ]
    return Table("At 50 and 100.", ["method", "protocol", *(m.upper() for m in _METRICS[3:])], rows)


def _speed(protocols: Sequence[str], measured: Measured) -> Table:
    rows: list[list[Cell]] = []
    for method, found in _rows(protocols[0], measured):
        rows.append([method.name, *(float(np.median([f[k] for f in found])) for k in ("ms", "ms_again", "seconds"))])
    return Table(
        f"Speed on {protocols[0]}: median milliseconds to encode a stored graph, and again when its cut and order are kept; "
        "seconds to train and encode everything.",
        ["method", "ms", "ms again", "seconds"],
        rows,
    )
