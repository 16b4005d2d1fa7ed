"""How fast find is: cold against importing numpy, warm on the starter atlas, warm on 100,000 synthetic entries.

python benchmarks/find_speed.py [--entries 100000] [--runs 9]
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

QUERIES = (
    "resnet50", "vision transformer", "small image classifier without attention, under 6M params, above 75% top-1", "mobile convnet",
    "state space model", "squeeze and excitation under 10M params", "swin", "speech recognition", "efficientnet b0", "depthwise separable",
    "language model with grouped query attention", "since 2022 above 84% top-1",
)  # fmt: skip


def wall(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def spread(values: Sequence[float], unit: str = "ms", scale: float = 1e3) -> str:
    low, middle, high = (f(values) * scale for f in (min, statistics.median, max))
    return f"median {middle:.1f} {unit} (min {low:.1f}, max {high:.1f})"


def cold(runs: int) -> None:
    find = [sys.executable, "-m", "netatlas.cli.main", "find", QUERIES[2]]
    numpy = [sys.executable, "-c", "import numpy"]
    wall(find)  # derived indexes are built once
    pairs = [(wall(numpy), wall(find)) for _ in range(runs)]
    ratios = [b / a for a, b in pairs]
    print(f"import numpy        {spread([a for a, _ in pairs])}")
    print(f"netatlas find, cold {spread([b for _, b in pairs])}")
    print(f"ratio               {spread(ratios, 'x', 1.0)}   target <= 4 x")


def warm(find: Callable[[str], object], label: str, target: int, rounds: int = 5) -> None:
    for query in QUERIES:
        find(query)
    times = []
    for _ in range(rounds):
        for query in QUERIES:
            began = time.perf_counter()
            find(query)
            times.append(time.perf_counter() - began)
    print(f"{label:<36}{spread(times)}   target <= {target} ms")


def synthetic(count: int) -> None:
    from netatlas.atlas.atlas import Atlas
    from netatlas.atlas.store import Store
    from netatlas.records import Entry

    rng = random.Random(0)
    families = ("resnet", "vit", "swin", "convnext", "efficientnet", "mobilenetv3", "mamba2", "llama")
    ops = (
        "conv",
        "linear",
        "attention",
        "batch_norm",
        "layer_norm",
        "relu",
        "gelu",
        "silu",
        "depthwise_conv",
        "squeeze_excite",
        "add",
    )

    def entries():
        for i in range(count):
            family = rng.choice(families)
            facts = {
                "source": "synthetic", "family": family, "year": rng.randint(2012, 2026), "params": int(10 ** rng.uniform(5, 10)),
                "macs": int(10 ** rng.uniform(7, 12)), "depth": rng.randint(5, 200), "task": ("image-classification",), "modality": ("image",),
                "ops": tuple(sorted(rng.sample(ops, 6))), **({"top1": rng.uniform(50, 90)} if rng.random() < 0.6 else {}),
            }  # fmt: skip
            yield Entry(
                f"synthetic/{family}_{i}", "architecture", f"{family} {i}", facts=facts, origins=dict.fromkeys(facts, "made up")
            )

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.atlas"
        with Store.open(path, "w") as store:
            store.put(entries())
        atlas = Atlas.open(path, starter=False, cache=Path(folder) / "cache")
        began = time.perf_counter()
        assert len(atlas.derived.columns) == count
        print(f"derived indexes of {count:,} entries built in {time.perf_counter() - began:.1f} s")
        warm(atlas.find, f"find, warm, {count:,} entries", 60, rounds=2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    cold(options.runs)
    import netatlas

    warm(netatlas.find, "find, warm, default atlas", 15)
    synthetic(options.entries)


if __name__ == "__main__":
    main()
