"""Fusion weights by a ranking loss."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST_GRAPHS = 1_200
"""Graphs whose pairs are looked at; of more, a random choice."""

_STEPS = 150
_RATE = 0.05


def fit_weights(parts: npt.NDArray[np.float32], groups: npt.NDArray[np.str_], *, seed: int) -> Floats:
    """Weights ``(k,)``, positive and summing to 1, under which members of a group are more alike than others.

    The loss of a pair of one group is ``softplus(log sum exp(s_negatives) - s_pair)``, where ``s`` is the weighted sum of parts times
    a learned sharpness: every positive competes with all negatives of its anchor, but not with other positives. Close to the
    supervised contrastive loss (arXiv 2004.11362), whose denominator holds the positives too and so never rests on large groups.
    Anchors weigh ``1 / sqrt(size of the group)``. Full-batch Adam (arXiv 1412.6980), no other randomness than the choice of graphs.

    Args:
        parts: Likeness of all pairs by component, ``(k, n, n)``.
        groups: Group of each graph, ``(n,)``.
        seed: Of the choice among more than `MOST_GRAPHS` graphs.
    """
    if len(groups) > MOST_GRAPHS:
        kept = np.sort(np.random.default_rng(seed).choice(len(groups), MOST_GRAPHS, replace=False))
        parts, groups = parts[:, kept][:, :, kept], groups[kept]
    same = groups[:, None] == groups[None]
    np.fill_diagonal(same, False)
    size = Counter(groups.tolist())
    importance = np.array([1 / np.sqrt(size[g]) for g in groups.tolist()]) * same.any(axis=1)
    pair = (importance / max(importance.sum(), 1e-9) / np.maximum(same.sum(axis=1), 1))[:, None] * same
    different = groups[:, None] != groups[None]
    flat = parts.reshape(len(parts), -1)
    free, moments = np.concatenate([np.full(len(parts), -1.0), [3.0]]), np.zeros((2, len(parts) + 1))
    for step in range(1, _STEPS + 1):
        gradient = _gradient(free, flat, pair, different)
        moments[0] = 0.9 * moments[0] + 0.1 * gradient
        moments[1] = 0.999 * moments[1] + 0.001 * gradient**2
        free = free - _RATE * (moments[0] / (1 - 0.9**step)) / (np.sqrt(moments[1] / (1 - 0.999**step)) + 1e-8)
    return _weights(free)


def _weights(free: Floats) -> Floats:
    positive = np.logaddexp(0, free[:-1])
    return np.asarray(positive / positive.sum())


def _gradient(free: Floats, flat: npt.NDArray[np.float32], pair: Floats, different: npt.NDArray[np.bool_]) -> Floats:
    """Gradient of the loss with respect to the unbounded weights and the logarithm of the sharpness."""
    weights, sharpness = _weights(free), np.exp(free[-1])
    likeness = (weights.astype(np.float32) @ flat).reshape(pair.shape).astype(np.float64)
    scores = sharpness * likeness
    rivals = np.where(different, scores, -np.inf)
    top = rivals.max(axis=1, keepdims=True, initial=-1e9)
    weight = np.exp(rivals - top)
    total = weight.sum(axis=1, keepdims=True)
    hardest = top + np.log(np.maximum(total, 1e-300))
    pull = pair / (1 + np.exp(np.minimum(scores - hardest, 700)))  # derivative of softplus, where there is a pair
    by_score = weight / np.maximum(total, 1e-300) * pull.sum(axis=1, keepdims=True) - pull
    by_weight = sharpness * (flat @ by_score.ravel().astype(np.float32)).astype(np.float64)
    slope = 1 / (1 + np.exp(-free[:-1])) / np.logaddexp(0, free[:-1]).sum()
    return np.append(slope * (by_weight - weights @ by_weight), sharpness * float((by_score * likeness).sum()))
