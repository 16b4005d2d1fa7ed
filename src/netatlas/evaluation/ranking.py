"""Metrics of one ranking, and the uncertainty of a difference between two systems."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Sequence

import numpy as np
import numpy.typing as npt

from netatlas.errors import ConfigError, did_you_mean

CONVENTIONS = ("standard", "nar-repo")
"""``nar-repo`` is what the code of arXiv:2307.07919 computes: average precision over all relevant items and an ideal gain over all
of them, both whatever k is, the latter floored at 0.3."""


def retrieval_metrics(
    ranking: Sequence[Hashable],
    relevant: Collection[Hashable],
    ks: Sequence[int] = (20, 50, 100),
    convention: str = "standard",
) -> dict[str, float]:
    """``mrr@k``, ``map@k`` and ``ndcg@k`` of one query, relevance being yes or no.

    Reciprocal rank of the first hit within k, else 0; sum of precisions at hits over ``min(|R|, k)``; discounted gain over the
    ideal one of ``min(|R|, k)`` hits.

    Args:
        ranking: Items, best first, without the query.
        relevant: What should have been found.
        ks: Cut-offs.
        convention: One of `CONVENTIONS`.

    Raises:
        ConfigError: Nothing is relevant, a cut-off is below 1, or the convention is unknown.
    """
    if convention not in CONVENTIONS:
        raise ConfigError(
            f"no convention {convention!r} (there are: {', '.join(CONVENTIONS)}){did_you_mean(convention, CONVENTIONS)}"
        )
    if not relevant or min(ks, default=1) < 1:
        raise ConfigError(
            f"a query needs something relevant and cut-offs of 1 or more, got {len(relevant)} items and k={tuple(ks)}"
        )
    wanted = set(relevant)
    hits = [rank for rank, item in enumerate(ranking[: max(ks)], start=1) if item in wanted]
    found = {}
    for k in ks:
        within = [rank for rank in hits if rank <= k]
        limit = min(len(wanted), k) if convention == "standard" else len(wanted)
        ideal = sum(1 / math.log2(i + 1) for i in range(1, limit + 1))
        gain = sum(1 / math.log2(rank + 1) for rank in within)
        found[f"mrr@{k}"] = 1 / within[0] if within else 0.0
        found[f"map@{k}"] = sum(i / rank for i, rank in enumerate(within, start=1)) / limit
        found[f"ndcg@{k}"] = gain / (ideal if convention == "standard" else max(ideal, 0.3))
    return found


def best_first(similarity: npt.NDArray[np.float64], ids: Sequence[str]) -> list[int]:
    """Positions by falling similarity; ties by id, so that no order of storage can help."""
    return sorted(range(len(ids)), key=lambda i: (-similarity[i], ids[i]))


def paired_bootstrap(
    a: Sequence[float],
    b: Sequence[float],
    *,
    rng: np.random.Generator,
    weights: Sequence[float] | None = None,
    samples: int = 10_000,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Mean of ``a - b`` over queries, and the interval that resampled queries give it.

    Args:
        a: One system's metric, query by query.
        b: The other's, on the same queries.
        rng: Of the samples.
        weights: Share of every query in the mean and its chance to be drawn; all alike without.
        samples: How many.
        level: Of the interval.

    Raises:
        ConfigError: The two are not of one length, or empty.
    """
    if len(a) != len(b) or not len(a):
        raise ConfigError(f"a paired comparison needs the same queries on both sides, got {len(a)} and {len(b)}")
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    n = len(difference)
    chance = np.full(n, 1 / n) if weights is None else np.asarray(weights, dtype=np.float64) / np.sum(weights)
    even = bool(np.allclose(chance, 1 / n, rtol=1e-6))  # then whole numbers are drawn, which is ten times as fast
    means = np.empty(samples)
    for start in range(0, samples, 1000):
        size = (min(1000, samples - start), n)
        drawn = rng.integers(n, size=size) if even else rng.choice(n, size=size, p=chance)
        means[start : start + size[0]] = difference[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(difference @ chance), float(low), float(high)
