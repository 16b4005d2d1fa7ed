"""What each part of the default encoder contributes, beside counts that learn nothing, on the protocols of retrieval.

Run with ``python benchmarks/strata_ablation.py [--protocols P2 P3 P4 P5 twins] [--variants NAME ...]``; prints a line for every
protocol and variant: MRR@20 and MAP@20 over all splits, and the difference of MAP@20 from Weisfeiler-Lehman depth 1 binary with its
95 % interval over resampled queries. A few minutes on one idle core without twins.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netatlas.atlas.atlas import Atlas
from netatlas.encoders.base import Encoder, Trainable
from netatlas.encoders.strata import COMPONENTS, Strata
from netatlas.encoders.wl import WLHistogram
from netatlas.evaluation.nar.protocols import Similarity, Task, find_protocol, score, task
from netatlas.evaluation.ranking import paired_bootstrap


def parts(*vocabularies: str) -> tuple[str, ...]:
    """Components whose channel starts with one of the words."""
    return tuple(c for c in COMPONENTS if c.startswith(vocabularies))


def measured_by(measure: str) -> tuple[str, ...]:
    """Components of one measure."""
    return tuple(c for c in COMPONENTS if c.endswith(f": {measure}"))


OPPONENT = "WL 1 binary"
VARIANTS = {
    OPPONENT: lambda: WLHistogram(rounds=1, vocabulary="coarse", weighting="binary"),
    "best WL": lambda: None,
    "strata": lambda: Strata(),
    "nothing learned": lambda: Strata(learned=False),
    "without kinds": lambda: Strata(without=parts("kind")),
    "without operators": lambda: Strata(without=parts("operator")),
    "without shapes": lambda: Strata(without=parts("shape")),
    "without sizes": lambda: Strata(without=parts("sizes")),
    "without neighbourhoods and wiring": lambda: Strata(
        without=parts("kind neighbourhoods", "kind wiring", "operator neighbourhoods")
    ),
    "without paths": lambda: Strata(without=parts("kind paths", "operator paths", "shape paths")),
    "without stages, profile, costs": lambda: Strata(without=("stages", "profile", "costs")),
    "without amounts": lambda: Strata(without=measured_by("amount")),
    "without rarity": lambda: Strata(without=measured_by("rarity")),
}
"""Whose training and encoding is measured; every variant is trained anew on the families of its split."""


def best_wl(drawn: Task) -> Encoder:
    """Depth and weighting that retrieve the training families best."""
    items = drawn.training
    families = np.array([item.family for item in items])
    found: list[tuple[float, int, WLHistogram]] = []
    for rounds in range(4):
        for weighting in ("binary", "log"):
            encoder = WLHistogram(rounds=rounds, vocabulary="coarse", weighting=weighting)
            vectors = [encoder.encode(item.graph) for item in items]
            values = []
            for i in np.flatnonzero([(families == f).sum() > 1 for f in families]):
                alike = encoder.similarities(vectors[i], vectors)
                alike[i] = -1
                hits = (families == families[i])[np.argsort(-alike, kind="stable")[:20]]
                precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
                values.append(float((precision * hits).sum()) / min(20, int((families == families[i]).sum()) - 1))
            found.append((float(np.mean(values)), -len(found), encoder))
    return max(found)[2]


def compare(drawn: Task, encoder: Encoder) -> Similarity:
    """As `protocols.similarities`, comparing with every graph once."""
    if isinstance(encoder, Trainable):
        encoder.fit([i.graph for i in drawn.training], [i.family for i in drawn.training], seed=0)
    vectors = [encoder.encode(item.graph) for item in drawn.items]
    return [
        encoder.similarities(vectors[q], [vectors[i] for i in others])
        for q, others in zip(drawn.queries, drawn.gallery, strict=True)
    ]


def figures(atlas: Atlas, protocol: str, variants: Sequence[str]) -> None:
    """Print the table of one protocol."""
    found: dict[str, dict[str, list[float]]] = {name: {"mrr@20": [], "map@20": []} for name in variants}
    weights: list[float] = []
    further: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    known = find_protocol(protocol)
    for split in range(known.splits):
        drawn = task(protocol, split, atlas)
        weights += [w / known.splits for w in drawn.weights]
        for name in variants:
            alike = compare(drawn, best_wl(drawn) if name == "best WL" else VARIANTS[name]())
            columns = score(drawn, alike, ks=(20,))
            for metric, values in found[name].items():
                values += columns[metric]
            if known.further is not None:
                further[name].append(dict(known.further(drawn, alike)))
    for name in variants:
        print(line(protocol, name, found, np.array(weights)), flush=True)
        for key in further[name][0] if further[name] else ():
            if "recall@1," in key or key == "spearman":
                print(f"    {key}: {np.mean([f[key] for f in further[name]]):.3f}")


def line(protocol: str, name: str, found: dict[str, dict[str, list[float]]], weights: npt.NDArray[np.float64]) -> str:
    """One row: means, and the difference from the opponent."""
    mrr, ap = (float(np.dot(found[name][metric], weights)) for metric in ("mrr@20", "map@20"))
    text = f"{protocol:6} {name:34} MRR@20 {mrr:.3f}  MAP@20 {ap:.3f}"
    if name != OPPONENT and OPPONENT in found:
        mean, low, high = paired_bootstrap(
            found[name]["map@20"], found[OPPONENT]["map@20"], rng=np.random.default_rng(0), weights=weights.tolist()
        )
        text += f"  {mean:+.3f} ({low:+.3f} to {high:+.3f})"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocols", nargs="+", default=["P2", "P3", "P4", "P5"])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    options = parser.parse_args()
    atlas = Atlas.open()
    for protocol in options.protocols:
        figures(atlas, protocol, options.variants)


if __name__ == "__main__":
    main()
