"""Which claims of `nar` hold on what was measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from netatlas.evaluation.ranking import paired_bootstrap
from netatlas.systems._nar_methods import BEST_WL, FLAT_GAT, FLAT_GCN, FUSED, PAPER, RANDOM_CUT, TUNED, UNTRAINED
from netatlas.systems._nar_tables import Measured, mean_of, of_method
from netatlas.systems.base import Verdict

POINT = 0.01
NOT_JUDGED = "not judged"


def verdicts(measured: Measured, *, quick: bool) -> list[Verdict]:
    """One for every claim, in the order of the card."""
    judges = (_better_than_flat, _motifs_matter, _generated, _untrained, _product)
    found = [judge(measured) for judge in judges]
    if quick:
        return [Verdict(v.claim, NOT_JUDGED, "a quick run is too small to judge") for v in found]
    return found


def _missing(claim: str) -> Verdict:
    return Verdict(claim, NOT_JUDGED, "its protocol was not run")


def _mrr(measured: Measured, protocol: str, name: str) -> float:
    return mean_of(of_method(measured, protocol, name), "mrr@20")


def _per_query(found: list[dict[str, Any]], splits: list[int]) -> tuple[list[float], list[float]]:
    """MRR@20 of every query, mean over seeds, split after split; and its weight."""
    values: list[float] = []
    weights: list[float] = []
    for split in sorted(set(splits)):
        mine = [f for f, s in zip(found, splits, strict=True) if s == split]
        values += np.mean([f["queries"]["mrr@20"] for f in mine], axis=0).tolist()
        weights += mine[0]["weights"]
    return values, weights


def compared(measured: Measured, protocol: str, one: str, other: str) -> tuple[float, float, float]:
    """Difference in MRR@20 and its 95 % interval over queries."""
    sides = []
    for name in (one, other):
        splits = [unit.split for unit, value in measured if unit.protocol == protocol and name in value]
        sides.append(_per_query(of_method(measured, protocol, name), splits))
    (a, weights), (b, _) = sides
    return paired_bootstrap(a, b, weights=weights, rng=np.random.default_rng(0))


def _better_than_flat(measured: Measured) -> Verdict:
    claim = "(a) P2: NAR is 2 points of MRR@20 or more above flat GCN and flat GAT, and encodes 3 times as fast or more"
    if not of_method(measured, "P2", PAPER):
        return _missing(claim)
    ours, gcn, gat, tuned = (_mrr(measured, "P2", name) for name in (PAPER, FLAT_GCN, FLAT_GAT, TUNED))
    own, flat = (float(np.median([f["ms"] for f in of_method(measured, "P2", name)])) for name in (PAPER, FLAT_GCN))
    holds = min(ours - gcn, ours - gat) >= 2 * POINT and flat / own >= 3
    why = f"MRR@20 NAR {ours:.3f}, tuned {tuned:.3f}, GCN {gcn:.3f}, GAT {gat:.3f}; {own:.2f} ms a graph, GCN {flat:.2f} ms"
    return Verdict(claim, "reproduced" if holds else "not reproduced on library graphs", why)


def _motifs_matter(measured: Measured) -> Verdict:
    claim = "(b) P2: cutting at motifs is 1 point of MRR@20 or more above cutting at random, 95 % interval above 0"
    if not of_method(measured, "P2", PAPER):
        return _missing(claim)
    mean, low, high = compared(measured, "P2", PAPER, RANDOM_CUT)
    holds = mean >= POINT and low > 0
    return Verdict(claim, "reproduced" if holds else "not resolved" if high > 0 else "not reproduced", _interval(mean, low, high))


def _interval(mean: float, low: float, high: float) -> str:
    return f"difference {mean:+.3f}, interval {low:+.3f} to {high:+.3f}"


def _generated(measured: Measured) -> Verdict:
    claim = "(c) P5: on generated networks MRR@20 is .99 and MAP@20 .93 or more"
    found = of_method(measured, "P5", PAPER)
    if not found:
        return _missing(claim)
    mrr, ap = mean_of(found, "mrr@20"), mean_of(found, "map@20")
    return Verdict(claim, "reproduced" if mrr >= 0.99 and ap >= 0.93 else "not reproduced", f"MRR@20 {mrr:.3f}, MAP@20 {ap:.3f}")


def _untrained(measured: Measured) -> Verdict:
    claim = (
        "P2: training is worth it; falsified when an untrained GNN is within 1 point of MRR@20 of the trained method, or above"
    )
    if not of_method(measured, "P2", UNTRAINED):
        return _missing(claim)
    random = _mrr(measured, "P2", UNTRAINED)
    best, name = max((_mrr(measured, "P2", name), name) for name in (PAPER, TUNED, FLAT_GCN, FLAT_GAT))
    why = f"untrained GNN {random:.3f}, NAR {_mrr(measured, 'P2', PAPER):.3f}, best trained network {best:.3f} ({name})"
    return Verdict(claim, "falsified" if best - random < POINT else "holds", why)


def _product(measured: Measured) -> Verdict:
    claim = "Worth using: NAR, or NAR fused with WL, is 1 point of MRR@20 or more above the best WL on P2 and on P3"
    if not all(of_method(measured, protocol, TUNED) for protocol in ("P2", "P3")):
        return _missing(claim)
    gains = {
        name: [_mrr(measured, protocol, name) - _mrr(measured, protocol, BEST_WL) for protocol in ("P2", "P3")]
        for name in (PAPER, TUNED, FUSED)
    }
    best = max(gains, key=lambda name: min(gains[name]))
    why = "; ".join(f"{name} {p2:+.3f} on P2, {p3:+.3f} on P3" for name, (p2, p3) in gains.items())
    holds = min(gains[best]) >= POINT
    return Verdict(claim, f"holds for {best}" if holds else "learned embedding not better than WL here", why)
