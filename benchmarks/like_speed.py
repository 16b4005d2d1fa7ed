"""How fast search by example and structure is: cold processes, encoding, and indexes of 100,000 synthetic vectors.

Run with ``python benchmarks/like_speed.py``; prints medians. Search among 100,000 vectors of real and edited architectures, with
the exact comparison of candidates, is in ``benchmarks/like_crowd.py``.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import numpy as np

from netatlas.atlas.atlas import Atlas
from netatlas.atlas.vectors import DEFAULT
from netatlas.encoders.base import ENCODERS
from netatlas.retrieval.base import INDEXES

COMMANDS = {
    "text": ["small image classifier without attention"],
    "like": ["--like", "timm/resnet50"],
    "like and unlike": ["--like", "timm/resnet50", "--unlike", "timm/resnext50_32x4d"],
    "pattern": ["--pattern", "matmul -> * -> softmax"],
    "contains": ["--contains", "timm/vit_base_patch16_224#blocks.0"],
}


def cold(arguments: list[str], runs: int = 9) -> float:
    """Median seconds of a fresh process, after one that fills the caches."""
    command = [sys.executable, "-c", "from netatlas.cli.main import main; main()", "find", *arguments]
    seconds = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def encoding() -> None:
    """Median time of the processor to encode graphs spread over the atlas."""
    atlas = Atlas.open()
    graphs = [atlas.graph(i) for pool in atlas.pools() for i in pool.ids[::20]]
    encoder = ENCODERS.build(DEFAULT)
    seconds = []
    for graph in graphs:
        started = time.process_time()
        encoder.encode(graph)
        seconds.append(time.process_time() - started)
    print(f"encode ({DEFAULT}): median {1000 * statistics.median(seconds):.1f} ms of CPU, largest {1000 * max(seconds):.0f} ms")


def indexes(m: int = 100_000, d: int = 256, queries: int = 200) -> None:
    """Query time and recall on clustered synthetic vectors."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((1_000, d), dtype=np.float32)
    x = centres[rng.integers(0, 1_000, m)] + 0.7 * rng.standard_normal((m, d), dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    ids = [f"n{i}" for i in range(m)]
    found = {}
    for name in ("exact", "faiss-ivf"):
        index = INDEXES.build(name)
        started = time.perf_counter()
        index.add(ids, x)
        index.search(x[:1], 10)
        built = time.perf_counter() - started
        seconds, found[name] = [], []
        for query in x[:queries]:
            started = time.perf_counter()
            found[name].append({i for i, _ in index.search(query[None], 10)[0]})
            seconds.append(time.perf_counter() - started)
        print(f"{name}: {m:,} x {d}, built in {built:.1f} s, query median {1000 * statistics.median(seconds):.1f} ms")
    recall = np.mean([len(a & b) / 10 for a, b in zip(found["exact"], found["faiss-ivf"], strict=True)])
    print(f"recall@10 of faiss-ivf against exact: {recall:.4f}")


if __name__ == "__main__":
    times = {name: cold(arguments) for name, arguments in COMMANDS.items()}
    for name, value in times.items():
        print(f"find {name}: {1000 * value:.0f} ms cold, {value / times['text']:.2f} x text")
    encoding()
    indexes()
