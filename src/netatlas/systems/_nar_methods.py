"""The methods that are measured side by side for `nar`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netatlas.evaluation.nar.measure import OPPONENT, UNTRAINED, Contender

Figures = tuple[float, float, float]


@dataclass(frozen=True)
class Method:
    """One row of the tables, or two with its fusion.

    Attributes:
        contender: What is measured.
        real: The paper's MRR, MAP and NDCG at 20 on real data, where it has this row.
        nas: The same on generated networks.
        main: Whether it is measured on every protocol; an ablation only on P2.
    """

    contender: Contender
    real: Figures | None = None
    nas: Figures | None = None
    main: bool = True


def _ablation(name: str, encoder: str, real: Figures | None = None, **params: Any) -> Method:
    return Method(Contender(name, encoder, params, seeds=1), real, main=False)


def _wl(rounds: int, weighting: str) -> dict[str, Any]:
    return {"rounds": rounds, "vocabulary": "coarse", "weighting": weighting}


BEST_WL = "WL, best by training families"
FLAT_GCN, FLAT_GAT, PAPER, RANDOM_CUT = "GCN", "GAT", "NAR", "NAR, random cut"
TUNED, FUSED, OURS = "NAR tuned", f"NAR tuned + {OPPONENT.name}", "strata (ours)"

WL_CANDIDATES: tuple[Mapping[str, Any], ...] = tuple(_wl(r, w) for r in range(5) for w in ("binary", "log"))

_TUNED = {
    "cut": "repair", "use_ops": True, "motif_loss": "infonce", "loss": "supcon", "two_sided": True, "readout": "mean+max+count",
}  # fmt: skip

METHODS: tuple[Method, ...] = (
    Method(Contender("operator histogram", "wl", _wl(0, "log"), seeds=1)),
    Method(OPPONENT),
    Method(Contender(BEST_WL, "wl", choices=WL_CANDIDATES, seeds=1)),
    Method(Contender("graph2vec", "graph2vec")),
    Method(UNTRAINED),
    Method(Contender("untrained GCN", "gcn", {"epochs": 0}), main=False),
    Method(Contender(FLAT_GCN, "gcn"), (0.737, 0.598, 0.686), (1.0, 0.927, 0.953)),
    Method(Contender(FLAT_GAT, "gat"), (0.756, 0.542, 0.610), (1.0, 0.941, 0.961)),
    Method(Contender(PAPER, "nar"), (0.825, 0.593, 0.705), (1.0, 0.952, 0.969)),
    Method(Contender(RANDOM_CUT, "nar", {"cut": "random"}), (0.801, 0.589, 0.699)),
    _ablation("NAR, fixed length", "nar", (0.807, 0.551, 0.694), cut="nodes"),
    _ablation("NAR, fixed number", "nar", (0.817, 0.591, 0.692), cut="motifs"),
    _ablation("GCN, supcon", "gcn", loss="supcon"),
    _ablation("NAR, supcon", "nar", loss="supcon"),
    _ablation("NAR, infonce", "nar", motif_loss="infonce"),
    _ablation("NAR, infonce, operators in keys", "nar", motif_loss="infonce", use_ops=True),
    Method(Contender(TUNED, "nar", _TUNED, fused=True)),
    Method(Contender(OURS, "strata", seeds=1)),
)
"""``NAR`` is the paper's: keys without operators, one round, BCE on motifs, ``L_con + L_cls`` on graphs, mean pooling."""

QUICK: Mapping[str, Mapping[str, Any]] = {
    "gcn": {"epochs": 2}, "gat": {"epochs": 2}, "nar": {"epochs": 2, "motif_epochs": 1},
}  # fmt: skip
"""What ``quick`` changes, by encoder."""
