"""The methods that are measured side by side for `nar`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Figures = tuple[float, float, float]


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        name: Row title.
        encoder: Registered name.
        params: Of its constructor.
        kind: ``"counts"`` (nothing learned), ``"random"`` (random weights), ``"learned"``.
        seeds: Trainings on a split at most, ``None`` for as many as asked for; 1 for what has no randomness.
        real: The paper's MRR, MAP and NDCG at 20 on real data, where it has this row.
        nas: The same on generated networks.
        protocols: Where it is measured.
    """

    name: str
    encoder: str
    params: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "learned"
    seeds: int | None = None
    real: Figures | None = None
    nas: Figures | None = None
    protocols: tuple[str, ...] = ("P2", "P3", "P5")


def _wl(rounds: int, weighting: str) -> dict[str, Any]:
    return {"rounds": rounds, "vocabulary": "coarse", "weighting": weighting}


BEST_WL, OPPONENT, UNTRAINED = "WL, best by training families", "WL 1 binary", "untrained GNN"
FLAT_GCN, FLAT_GAT, PAPER, RANDOM_CUT = "GCN", "GAT", "NAR", "NAR, random cut"
TUNED, FUSED = "NAR tuned", "NAR tuned + WL 1 binary"

WL_CANDIDATES: tuple[Mapping[str, Any], ...] = tuple(_wl(r, w) for r in range(4) for w in ("binary", "log"))

_TUNED = {
    "cut": "repair", "use_ops": True, "motif_loss": "infonce", "loss": "supcon", "two_sided": True, "readout": "mean+max+count",
}  # fmt: skip

METHODS: tuple[Method, ...] = (
    Method("operator histogram", "wl", _wl(0, "log"), kind="counts", seeds=1),
    Method(OPPONENT, "wl", _wl(1, "binary"), kind="counts", seeds=1),
    Method(BEST_WL, "wl", {}, kind="counts", seeds=1),
    Method(UNTRAINED, "gnn", kind="random"),
    Method("untrained GCN", "gcn", {"epochs": 0}, kind="random", protocols=("P2",)),
    Method(FLAT_GCN, "gcn", real=(0.737, 0.598, 0.686), nas=(1.0, 0.927, 0.953)),
    Method(FLAT_GAT, "gat", real=(0.756, 0.542, 0.610), nas=(1.0, 0.941, 0.961)),
    Method(PAPER, "nar", real=(0.825, 0.593, 0.705), nas=(1.0, 0.952, 0.969)),
    Method(RANDOM_CUT, "nar", {"cut": "random"}, real=(0.801, 0.589, 0.699)),
    Method("NAR, fixed length", "nar", {"cut": "nodes"}, seeds=1, real=(0.807, 0.551, 0.694), protocols=("P2",)),
    Method("NAR, fixed number", "nar", {"cut": "motifs"}, seeds=1, real=(0.817, 0.591, 0.692), protocols=("P2",)),
    Method("GCN, supcon", "gcn", {"loss": "supcon"}, seeds=1, protocols=("P2",)),
    Method("NAR, supcon", "nar", {"loss": "supcon"}, seeds=1, protocols=("P2",)),
    Method("NAR, infonce", "nar", {"motif_loss": "infonce"}, seeds=1, protocols=("P2",)),
    Method("NAR, infonce, operators in keys", "nar", {"motif_loss": "infonce", "use_ops": True}, seeds=1, protocols=("P2",)),
    Method(TUNED, "nar", _TUNED),
    Method(FUSED, "nar", _TUNED),
    Method("strata (ours)", "strata", seeds=1),
)
"""``NAR`` is the paper's: keys without operators, one round, BCE on motifs, ``L_con + L_cls`` on graphs, mean pooling."""

QUICK: Mapping[str, Mapping[str, Any]] = {
    "gcn": {"epochs": 2}, "gat": {"epochs": 2}, "nar": {"epochs": 2, "motif_epochs": 1},
}  # fmt: skip
"""What ``quick`` changes, by encoder."""
