"""The flat graph attention network, a baseline of Neural Architecture Retrieval."""

from __future__ import annotations

from netatlas.encoders._flat import FlatGNN
from netatlas.encoders.base import ENCODERS


@ENCODERS.register("gat")
def gat(
    *, hidden: int = 64, depth: int = 3, loss: str = "con+cls", epochs: int = 40, lr: float = 3e-3, two_sided: bool = False
) -> FlatGNN:
    """Three graph attention layers of four heads (arXiv:1710.10903) on the whole graph, mean pooling, trained on families.

    The baseline of arXiv:2307.07919 with its graph-level losses. Smaller than the paper's (64 channels for 512).
    """
    return FlatGNN(
        "gat", conv="gat", hidden=hidden, depth=depth, readout="mean", loss=loss, epochs=epochs, lr=lr, two_sided=two_sided
    )
