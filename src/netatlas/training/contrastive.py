"""Contrastive losses on embeddings, and the loop that minimises them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

B = TypeVar("B")


def cosines(z: Float[Tensor, "b d"], other: Float[Tensor, "m d"]) -> Float[Tensor, "b m"]:
    """Cosine of every row of one with every row of the other; a zero row is orthogonal to all."""
    return F.normalize(z, dim=1) @ F.normalize(other, dim=1).T


def class_contrast(z: Float[Tensor, "b d"], y: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Minus the logarithm of the share of ``exp(cos)`` that falls on pairs of one class, self pairs included.

    ``L_con`` of Neural Architecture Retrieval (arXiv:2307.07919): one logarithm for the batch, temperature 1. Zero when all are
    of one class; log(1 + (b - 1) / e) for b orthogonal vectors of b classes.
    """
    scores = cosines(z, z)
    same = y[:, None] == y[None]
    return scores.flatten().logsumexp(0) - scores[same].logsumexp(0)


def supervised_contrast(z: Float[Tensor, "b d"], y: Int[Tensor, " b"], *, tau: float = 0.1) -> Float[Tensor, ""]:
    """Mean over anchors of the mean over their positives of ``-log softmax(cos / tau)``, self pairs left out.

    Khosla et al., NeurIPS 2020, arXiv:2004.11362, equation 2 (outside the logarithm). Anchors without a positive are passed
    over; zero when there are no others.
    """
    itself = torch.eye(len(z), dtype=torch.bool)
    scores = (cosines(z, z) / tau).masked_fill(itself, -torch.inf)
    positive = (y[:, None] == y[None]) & ~itself
    chance = torch.where(positive, scores.log_softmax(dim=1), 0.0)
    count = positive.sum(dim=1)
    anchors = count > 0
    if not anchors.any():
        return z.sum() * 0.0
    return -(chance.sum(dim=1)[anchors] / count[anchors]).mean()


def info_nce(
    anchor: Float[Tensor, "b d"], context: Float[Tensor, "b d"], alike: Bool[Tensor, "b b"], *, tau: float = 0.1
) -> Float[Tensor, ""]:
    """Minus the log share of ``exp(cos / tau)`` that an anchor gives its own context among those of the batch.

    van den Oord et al., arXiv:1807.03748, with in-batch negatives.

    Args:
        anchor: Embeddings of anchors.
        context: Embeddings of their contexts, row by row.
        alike: Pairs that are no negatives, because the context's owner looks like the anchor; the diagonal does not matter.
        tau: Temperature.
    """
    own = torch.eye(len(anchor), dtype=torch.bool)
    scores = (cosines(anchor, context) / tau).masked_fill(alike & ~own, -torch.inf)
    return -scores.log_softmax(dim=1).diagonal().mean()


def minimise(
    loss: Callable[[B], Tensor],
    modules: Sequence[nn.Module],
    batches: Callable[[torch.Generator], Iterable[B]],
    *,
    epochs: int,
    lr: float,
    generator: torch.Generator,
) -> list[float]:
    """Adam over the parameters of ``modules``, one step a batch.

    Args:
        loss: Loss of a batch.
        modules: What learns; everything else keeps its value.
        batches: The batches of one epoch, drawn with the generator.
        epochs: Passes.
        lr: Learning rate.
        generator: Of the order of batches.

    Returns:
        Mean loss of every epoch.
    """
    for module in modules:
        module.train()
    optimizer = torch.optim.Adam([p for module in modules for p in module.parameters()], lr=lr)
    history = []
    for _ in range(epochs):
        values = []
        for batch in batches(generator):
            value = loss(batch)
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            values.append(value.item())
        history.append(sum(values) / max(len(values), 1))
    for module in modules:
        module.eval()
    return history
