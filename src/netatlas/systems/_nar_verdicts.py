"""Which claims of `nar` hold on what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netatlas.evaluation.nar.measure import OPPONENT, UNTRAINED, Run
from netatlas.evaluation.nar.report import compared, mean_of, of_method
from netatlas.systems._nar_methods import BEST_WL, FLAT_GAT, FLAT_GCN, FUSED, OURS, PAPER, RANDOM_CUT, TUNED
from netatlas.systems.base import NOT_JUDGED, Verdict

POINT = 0.01
Runs = Sequence[Run]


def verdicts(runs: Runs, *, quick: bool) -> list[Verdict]:
    """One for every claim, in the order of the card."""
    judges = (_better_than_flat, _motifs_matter, _generated, _untrained, _product, _ours)
    found = [judge(runs) for judge in judges]
    if quick:
        return [Verdict(v.claim, NOT_JUDGED, "a quick run is too small to judge") for v in found]
    return found


def _missing(claim: str) -> Verdict:
    return Verdict(claim, NOT_JUDGED, "not all of its methods were measured")


def _has(runs: Runs, protocols: Sequence[str], *names: str) -> bool:
    return all(of_method(runs, protocol, name) for protocol in protocols for name in names)


def _mean(runs: Runs, protocol: str, name: str, metric: str = "mrr@20") -> float:
    return mean_of(of_method(runs, protocol, name), metric)


def _interval(difference: tuple[float, float, float]) -> str:
    mean, low, high = difference
    return f"{mean:+.3f}, interval {low:+.3f} to {high:+.3f}"


def _better_than_flat(runs: Runs) -> Verdict:
    claim = "(a) P2: NAR is 2 points of MRR@20 or more above flat GCN and flat GAT, and encodes 3 times as fast or more"
    if not _has(runs, ("P2",), PAPER, TUNED, FLAT_GCN, FLAT_GAT):
        return _missing(claim)
    ours, gcn, gat, tuned = (_mean(runs, "P2", name) for name in (PAPER, FLAT_GCN, FLAT_GAT, TUNED))
    own, flat = (float(np.median([r.figures["ms"] for r in of_method(runs, "P2", name)])) for name in (PAPER, FLAT_GCN))
    holds = min(ours - gcn, ours - gat) >= 2 * POINT and flat / own >= 3
    why = f"MRR@20 NAR {ours:.3f}, tuned {tuned:.3f}, GCN {gcn:.3f}, GAT {gat:.3f}; NAR {own:.2f} ms a graph, GCN {flat:.2f} ms"
    return Verdict(claim, "reproduced" if holds else "not reproduced on library graphs", why)


def _motifs_matter(runs: Runs) -> Verdict:
    claim = "(b) P2: cutting at motifs is 1 point of MRR@20 or more above cutting at random, 95 % interval above 0"
    if not _has(runs, ("P2",), PAPER, RANDOM_CUT):
        return _missing(claim)
    mean, low, high = difference = compared(runs, "P2", PAPER, RANDOM_CUT, "mrr@20")
    outcome = "reproduced" if mean >= POINT and low > 0 else "not resolved" if high > 0 else "not reproduced"
    return Verdict(claim, outcome, f"difference {_interval(difference)}")


def _generated(runs: Runs) -> Verdict:
    claim = "(c) P5: on generated networks NAR's MRR@20 is .99 and its MAP@20 .93 or more"
    found = of_method(runs, "P5", PAPER)
    if not found:
        return _missing(claim)
    mrr, ap = mean_of(found, "mrr@20"), mean_of(found, "map@20")
    return Verdict(claim, "reproduced" if mrr >= 0.99 and ap >= 0.93 else "not reproduced", f"MRR@20 {mrr:.3f}, MAP@20 {ap:.3f}")


def _untrained(runs: Runs) -> Verdict:
    claim = "P2: training is worth it; falsified when an untrained GNN is within 1 point of MRR@20 of the best trained network"
    if not _has(runs, ("P2",), UNTRAINED.name, PAPER, TUNED, FLAT_GCN, FLAT_GAT):
        return _missing(claim)
    random = _mean(runs, "P2", UNTRAINED.name)
    best, name = max((_mean(runs, "P2", name), name) for name in (PAPER, TUNED, FLAT_GCN, FLAT_GAT))
    why = f"untrained GNN {random:.3f}, NAR {_mean(runs, 'P2', PAPER):.3f}, best trained network {best:.3f} ({name})"
    return Verdict(claim, "falsified" if best - random < POINT else "holds", why)


def _product(runs: Runs) -> Verdict:
    claim = "Product quality: NAR, or NAR fused with WL, is 1 point of MRR@20 or more above the best WL on P2 and on P3"
    if not _has(runs, ("P2", "P3"), PAPER, TUNED, FUSED, BEST_WL, OPPONENT.name):
        return _missing(claim)
    bars = {p: max(_mean(runs, p, name) for name in (BEST_WL, OPPONENT.name)) for p in ("P2", "P3")}
    gains = {name: [_mean(runs, p, name) - bar for p, bar in bars.items()] for name in (PAPER, TUNED, FUSED)}
    best = max(gains, key=lambda name: min(gains[name]))
    why = "; ".join(f"{name} {p2:+.3f} on P2, {p3:+.3f} on P3" for name, (p2, p3) in gains.items())
    holds = min(gains[best]) >= POINT
    return Verdict(claim, f"holds for {best}" if holds else "learned embedding not better than WL here", why)


def _ours(runs: Runs) -> Verdict:
    claim = (
        f"Our default, strata, is above {OPPONENT.name} by 3 points of MAP@20 on P2 and 12 on P3, 95 % intervals above 0, and its "
        "MAP@20 on P5 is .97 or more"
    )
    if not _has(runs, ("P2", "P3", "P5"), OURS, OPPONENT.name):
        return _missing(claim)
    p2, p3 = (compared(runs, protocol, OURS, OPPONENT.name, "map@20") for protocol in ("P2", "P3"))
    wiring = _mean(runs, "P5", OURS, "map@20")
    holds = [p2[0] >= 3 * POINT and p2[1] > 0, p3[0] >= 12 * POINT and p3[1] > 0, wiring >= 0.97]
    why = f"P2 {_interval(p2)}; P3 {_interval(p3)}; P5 MAP@20 {wiring:.3f}"
    return Verdict(claim, "holds" if all(holds) else "holds in part" if any(holds) else "does not hold", why)
