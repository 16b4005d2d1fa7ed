"""A two-sided graph network, by default with the random weights it was born with: the control for every trained one."""

from __future__ import annotations

from netatlas.encoders._flat import FlatGNN
from netatlas.encoders.base import ENCODERS


@ENCODERS.register("gnn")
def gnn(
    *,
    hidden: int = 64,
    depth: int = 3,
    readout: str = "mean+max",
    trained: bool = False,
    loss: str = "supcon",
    epochs: int = 40,
    lr: float = 3e-3,
) -> FlatGNN:
    """Means over producers and over consumers, mean and maximum pooling; untrained unless ``trained``.

    Untrained it needs no `fit`, which then only draws the weights of another seed. A trained encoder that is not clearly better has
    learned nothing worth its training.
    """
    return FlatGNN(
        "gnn", conv="mean", hidden=hidden, depth=depth, readout=readout, loss=loss, epochs=epochs if trained else 0, lr=lr,
        two_sided=False,
    )  # fmt: skip
