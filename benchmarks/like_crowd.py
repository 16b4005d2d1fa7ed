"""Search by example among 100,000 vectors: the approximate index with exact comparison of its candidates, against comparing everything.

    python benchmarks/like_crowd.py [--encoder wl] [--graphs 6000] [--size 100000] [--queries 60] [--folder DIR]

A crowd of architectures is made of those of the starter atlas and of ``--graphs`` random edits of them (one to four edits each), all
really encoded; encoding 100,000 would take hours, so the rest are mixtures: 5 to 25 % of the features of one of them exchanged for
those of another, costs moved by some 20 %. Queries are edited networks that are not in the crowd. Prints the time to build, and
for several numbers of candidates the time of a query and recall@10 against the exact comparison. The edited graphs are kept in
the folder.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from netatlas.atlas.atlas import Atlas
from netatlas.atlas.neighbours import Neighbours, kind
from netatlas.atlas.vectors import COST_WEIGHT, closeness_of
from netatlas.encoders._strata_packed import HEADER, keys_of
from netatlas.encoders.base import ENCODERS, Encoder
from netatlas.encoders.wl import _FEATURE
from netatlas.errors import GraphError
from netatlas.graph.graph import Graph
from netatlas.graph.mutate import mutations
from netatlas.graph.serialize import from_bytes, to_bytes

LARGEST = 1_000  # nodes of an architecture that is edited
COUNTS = (100, 200, 500, 1_000)
LAYOUT = {"wl": (0, _FEATURE.itemsize), "strata": (HEADER.itemsize, 4)}
"""Bytes before the features of a vector, and of each feature."""

Rows = list[tuple[bytes, tuple[float, float]]]


def edited(atlas: Atlas, count: int, folder: Path) -> list[Graph]:
    """Edited architectures, made once."""
    place = folder / f"edited-{count}.npz"
    if not place.exists():
        ids = atlas.with_graphs()
        made: list[bytes] = []
        for n in np.random.default_rng(0).permutation(len(ids)).tolist():
            graph = atlas.graph(ids[n])
            if len(graph) <= LARGEST and len(made) < count:
                try:
                    made += [to_bytes(m.graph) for m in islice(mutations(graph, np.random.default_rng(n)), 4)]
                except GraphError:
                    continue
        folder.mkdir(parents=True, exist_ok=True)
        ends = np.cumsum([len(x) for x in made])
        np.savez(place, data=np.frombuffer(b"".join(made), dtype=np.uint8), ends=ends)
    with np.load(place) as stored:
        data, ends = stored["data"].tobytes(), stored["ends"].tolist()
    return [from_bytes(data[a:b]) for a, b in zip([0, *ends], ends, strict=False)]


def encoded(encoder: Encoder, graphs: list[Graph]) -> Rows:
    return [(encoder.encode(g), (float(g.params.sum()), float(g.macs.sum()))) for g in graphs]


def mixed(rows: Rows, count: int, name: str, rng: np.random.Generator) -> Rows:
    """Mixtures of two vectors each, mostly of the first."""
    head, size = LAYOUT[name]
    found = []
    for a, b in rng.integers(len(rows), size=(count, 2)).tolist():
        (ours, costs), (theirs, _) = rows[a], rows[b]
        one, other = (_features(v[head:], size) for v in (ours, theirs))
        share = rng.uniform(0.05, 0.25)
        kept = one[rng.random(len(one)) >= share]
        new = other[rng.random(len(other)) < share * len(one) / max(len(other), 1)]
        both = np.concatenate([kept, new])
        keys = both["label"] if name == "wl" else keys_of(both["word"])
        _, first = np.unique(keys, return_index=True)
        scale = np.exp(0.2 * rng.standard_normal(2))
        found.append((ours[:head] + both[first].tobytes(), (costs[0] * scale[0], costs[1] * scale[1])))
    return found


def _features(data: bytes, size: int) -> npt.NDArray[np.void]:
    return np.frombuffer(data, dtype=_FEATURE if size == _FEATURE.itemsize else np.dtype([("word", "<u4")]))


def likeness(
    encoder: Encoder, vector: bytes, costs: tuple[float, float], vectors: list[bytes], others: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    near = [closeness_of(cost, column) for cost, column in zip(costs, others.T, strict=True)]
    return (1 - COST_WEIGHT) * encoder.similarities(vector, vectors) + COST_WEIGHT * np.mean(near, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", choices=LAYOUT, default="wl")
    parser.add_argument("--graphs", type=int, default=6_000)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "netatlas-crowd")
    options = parser.parse_args()
    atlas, encoder, rng = Atlas.open(None), ENCODERS.build(options.encoder), np.random.default_rng(0)
    graphs = edited(atlas, options.graphs, options.folder)
    chosen = set(rng.permutation(len(graphs))[: options.queries].tolist())
    started = time.perf_counter()
    asked = encoded(encoder, [g for i, g in enumerate(graphs) if i in chosen])
    real = encoded(encoder, [atlas.graph(i) for i in atlas.with_graphs()])
    rows = real + encoded(encoder, [g for i, g in enumerate(graphs) if i not in chosen])
    print(f"{options.encoder}: {len(rows):,} graphs encoded in {time.perf_counter() - started:.0f} s")
    rows += mixed(rows, options.size - len(rows), options.encoder, rng)
    measure(encoder, rows, asked)


def measure(encoder: Encoder, rows: Rows, asked: Rows) -> None:
    ids = [f"n{i:06}" for i in range(len(rows))]
    costs = dict(zip(ids, (c for _, c in rows), strict=True))
    started = time.perf_counter()
    places = {entry_id: n for n, entry_id in enumerate(ids)}
    near = Neighbours.build(encoder, dict(zip(ids, (v for v, _ in rows), strict=True)), costs, places)
    near.near(asked[0][0], asked[0][1], 10)
    print(f"{kind()}: {len(near):,} vectors, built in {time.perf_counter() - started:.0f} s")
    every, columns = [v for v, _ in rows], np.array([c for _, c in rows])
    whole = []
    started = time.perf_counter()
    for vector, cost in asked:
        whole.append(likeness(encoder, vector, cost, every, columns))
    print(f"everything compared: {1000 * (time.perf_counter() - started) / len(asked):.0f} ms a query")
    for count in COUNTS:
        walls, busy, recall = [], [], []
        for (vector, cost), exact in zip(asked, whole, strict=True):
            started, worked = time.perf_counter(), time.process_time()
            found = near.near(vector, cost, count)
            scores = likeness(encoder, vector, cost, near.vectors(found), np.array([costs[i] for i in found]))
            best = [found[i] for i in np.argsort(-scores, kind="stable")[:10]]
            walls.append(1000 * (time.perf_counter() - started))
            busy.append(1000 * (time.process_time() - worked))
            tenth = np.partition(exact, -10)[-10]  # what is as good as the tenth is right: ties have no order
            recall.append(np.mean([exact[places[i]] >= tenth - 1e-12 for i in best]))
        print(
            f"{count:5,} candidates: recall@10 {np.mean(recall):.4f}, query median {statistics.median(walls):.0f} ms "
            f"(95 % below {sorted(walls)[int(0.95 * len(walls))]:.0f} ms), of processor time {statistics.median(busy):.0f} ms"
        )


if __name__ == "__main__":
    main()
