"""What trained graph encoders share: the graph-level objective, and the storage of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netatlas.errors import ConfigError, did_you_mean
from netatlas.training.contrastive import class_contrast, minimise, supervised_contrast

B = TypeVar("B")

LOSSES = ("con+cls", "supcon")
"""``con+cls``: the class contrast of arXiv:2307.07919 with a linear classifier on top; ``supcon``: supervised contrast per anchor
with temperature 0.1, the stronger one."""


def check_loss(name: str, loss: str) -> None:
    """Refuse a loss that does not exist.

    Raises:
        ConfigError: ``loss`` is not one of `LOSSES`.
    """
    if loss not in LOSSES:
        raise ConfigError(f"{name}: no loss named {loss!r} (there are: {', '.join(LOSSES)}){did_you_mean(loss, LOSSES)}")


def train_on_groups(
    embed: Callable[[B], Tensor],
    encoder: nn.Module,
    out_dim: int,
    labels: Tensor,
    batches: Callable[[torch.Generator], Iterable[tuple[list[int], B]]],
    *,
    loss: str,
    epochs: int,
    lr: float,
    generator: torch.Generator,
) -> list[float]:
    """Train an encoder so that graphs of one group embed alike; the mean loss of every epoch.

    Args:
        embed: A batch to embeddings ``(b, out_dim)``, through ``encoder``.
        encoder: What learns, with a linear classifier that is dropped afterwards where the loss has one.
        out_dim: Width of an embedding.
        labels: Group number of every training graph.
        batches: Positions of the training graphs of each batch, and the batch.
        loss: One of `LOSSES`.
        epochs: Passes.
        lr: Learning rate.
        generator: Of the order of graphs.
    """
    head = nn.Linear(out_dim, int(labels.max()) + 1)

    def objective(item: tuple[list[int], B]) -> Tensor:
        rows, batch = item
        z, y = embed(batch), labels[rows]
        if loss == "supcon":
            return supervised_contrast(z, y)
        return class_contrast(z, y) + F.cross_entropy(head(z), y)

    learning = [encoder] if loss == "supcon" else [encoder, head]
    return minimise(objective, learning, batches, epochs=epochs, lr=lr, generator=generator)


def stored(z: Tensor, loss: str) -> bytes:
    """One embedding as little-endian float32; of unit length where the loss sees directions alone."""
    z = z.detach().flatten().float()
    return bytes((F.normalize(z, dim=0) if loss == "supcon" else z).numpy().astype("<f4").tobytes())
