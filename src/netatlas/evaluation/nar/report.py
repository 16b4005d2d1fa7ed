"""Measured runs as tables: means, intervals against an opponent, cut-offs, speed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from netatlas.evaluation.nar.measure import Run
from netatlas.evaluation.nar.protocols import CUT_OFFS, METRICS, find_protocol
from netatlas.evaluation.ranking import paired_bootstrap
from netatlas.evaluation.tables import Cell, Table

DEEPER = tuple(f"{metric}@{k}" for k in CUT_OFFS[1:] for metric in METRICS)


def of_method(runs: Sequence[Run], protocol: str, name: str) -> list[Run]:
    """What was measured of a method on a protocol."""
    return [run for run in runs if run.protocol == protocol and run.name == name]


def mean_of(found: Sequence[Run], metric: str) -> float:
    """Mean over splits of the mean over seeds, so that a split counts once however often it was trained on."""
    splits: dict[int, list[float]] = {}
    for run in found:
        splits.setdefault(run.split, []).append(run.figures["metrics"][metric])
    return float(np.mean([np.mean(values) for values in splits.values()]))


def comparable(runs: Sequence[Run], needed: Collection[str]) -> list[Run]:
    """The runs whose means can stand side by side, where a run was stopped early.

    Of every protocol those splits on which all needed methods were measured, and of the other methods those that were measured on all
    of these splits.

    Args:
        runs: All runs.
        needed: Names of methods.
    """
    found = []
    for protocol in dict.fromkeys(run.protocol for run in runs):
        mine = [run for run in runs if run.protocol == protocol]
        splits = {name: {run.split for run in mine if run.name == name} for name in {*needed, *(run.name for run in mine)}}
        kept = set.intersection(*(splits[name] for name in needed)) if needed else {run.split for run in mine}
        found += [run for run in mine if run.split in kept and splits[run.name] >= kept]
    return found


def compared(runs: Sequence[Run], protocol: str, one: str, other: str, metric: str) -> tuple[float, float, float]:
    """Difference of two methods in ``mrr@20`` or ``map@20``, and its 95 % interval over queries.

    Seeds are averaged query by query, queries of all splits resampled together; only splits that both have count.
    """
    (a, weights), (b, _) = (_by_split(of_method(runs, protocol, name), metric) for name in (one, other))
    splits = sorted(a.keys() & b.keys())
    x, y, w = (np.concatenate([side[split] for split in splits]) for side in (a, b, weights))
    return paired_bootstrap(x.tolist(), y.tolist(), weights=w.tolist(), rng=np.random.default_rng(0))


def _by_split(found: Sequence[Run], metric: str) -> tuple[dict[int, Any], dict[int, Any]]:
    values, weights = {}, {}
    for split in {run.split for run in found}:
        mine = [run.figures for run in found if run.split == split]
        values[split] = np.mean([figures["queries"][metric] for figures in mine], axis=0)
        weights[split] = np.array(mine[0]["weights"])
    return values, weights


def names_of(runs: Sequence[Run], protocol: str) -> list[str]:
    """Methods measured on a protocol, in the order of their first run."""
    return list(dict.fromkeys(run.name for run in runs if run.protocol == protocol))


def table(
    runs: Sequence[Run],
    protocol: str,
    opponent: str,
    beside: Mapping[str, Sequence[float]] | None = None,
    columns: Sequence[str] = (),
) -> Table:
    """Figures at 20 of every method on a protocol, with the gain over the opponent.

    Args:
        runs: All runs.
        protocol: Which.
        opponent: Name of a method that was measured on it.
        beside: More cells by method, such as a paper's.
        columns: Their titles.
    """
    names = names_of(runs, protocol)
    further = list(dict.fromkeys(key for run in runs if run.protocol == protocol for key in run.figures["further"]))
    rows: list[list[Cell]] = []
    for name in names:
        found = of_method(runs, protocol, name)
        spread = [run.figures["metrics"]["map@20"] for run in found]
        gains = [
            compared(runs, protocol, name, opponent, m) if name != opponent and opponent in names else None
            for m in ("mrr@20", "map@20")
        ]
        more = [float(np.mean([run.figures["further"][key] for run in found])) for key in further]
        rows.append([
            name, len(found), *(mean_of(found, f"{m}@20") for m in METRICS), float(np.std(spread)) if len(found) > 1 else None,
            *gains, *more, *((beside or {}).get(name) or (None,) * len(columns)),
        ])  # fmt: skip
    return Table(_title(runs, protocol), [
        "method", "runs", "MRR@20", "MAP@20", "NDCG@20", "± MAP", f"MRR over {opponent}", f"MAP over {opponent}", *further, *columns,
    ], rows)  # fmt: skip


def _title(runs: Sequence[Run], protocol: str) -> str:
    sizes = np.mean([run.figures["sizes"] for run in runs if run.protocol == protocol], axis=0)
    training, items, queries, skipped = (f"{size:.0f}" for size in sizes)
    splits = len({run.split for run in runs if run.protocol == protocol})
    more = f" ({skipped} more have nothing to find)" if skipped != "0" else ""
    return (
        f"{protocol}: {find_protocol(protocol).what}. {training} graphs to learn from, {queries} queries among {items}{more}, "
        f"{splits} split{'s' * (splits > 1)}."
    )


def deeper(runs: Sequence[Run], protocols: Sequence[str]) -> Table:
    """Figures at 50 and 100."""
    rows: list[list[Cell]] = [
        [name, protocol, *(mean_of(of_method(runs, protocol, name), metric) for metric in DEEPER)]
        for protocol in protocols
        for name in names_of(runs, protocol)
    ]
    return Table("At 50 and 100.", ["method", "protocol", *(metric.upper() for metric in DEEPER)], rows)


def speed(runs: Sequence[Run], protocol: str) -> Table:
    """Milliseconds to encode a graph and to answer a query, seconds to train; medians over runs."""
    keys = ("ms", "ms_again", "query_ms", "seconds")
    rows: list[list[Cell]] = [
        [name, *(float(np.median([run.figures[key] for run in of_method(runs, protocol, name)])) for key in keys)]
        for name in names_of(runs, protocol)
    ]
    return Table(
        f"Speed on {protocol}: median milliseconds to encode a stored graph, again when its cut and order are kept, and to answer a "
        "query; seconds to train and to encode everything.",
        ["method", "ms", "ms again", "query ms", "seconds"],
        rows,
    )


def tables(runs: Sequence[Run], protocols: Sequence[str], opponent: str) -> list[Table]:
    """For every protocol one at 20, then one at 50 and 100, and one of speed."""
    return [*(table(runs, p, opponent) for p in protocols), deeper(runs, protocols), speed(runs, protocols[0])]
