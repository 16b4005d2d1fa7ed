"""Where each exported ONNX file finds the architecture it was exported from, among everything in the starter atlas.

    python benchmarks/onnx_twins_rank.py FOLDER [--minutes 10] [--route legacy17] [--encoder wl] [--encoder strata]

``FOLDER`` holds ``architecture.route.onnx``; what is missing is exported for at most ``--minutes``, and kept, so that a second run goes
on. A rank counts the architectures that are more alike, or as alike and first by id; those whose graph equals the origin's (by
`content_hash`; torchvision's ResNet-50 for timm's) are the origin too. ``find`` is `find --like FILE`: the default encoder and costs.
Prints every miss, the share of first ranks by route, and exits 1 when a ranking falls below 95 %.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx_twins import ARCHITECTURES, ROUTES, export

from netatlas.atlas.atlas import Atlas
from netatlas.encoders.base import ENCODERS
from netatlas.graph.canonical import content_hash
from netatlas.records import Entry
from netatlas.targets.onnx_file import read_onnx

TARGET = 0.95

MORE = (
    "repvgg_a0", "rexnet_100", "dla34", "cspresnet50", "ese_vovnet19b_dw", "resnest14d", "skresnet18", "res2net50_14w_8s",
    "mobilenetv2_050", "fastvit_t8", "efficientformer_l1", "pvt_v2_b0", "twins_svt_small", "cait_xxs24_224", "crossvit_tiny_240",
    "gmlp_s16_224", "maxvit_nano_rw_256", "mvitv2_tiny", "focalnet_tiny_srf", "hgnetv2_b0", "inception_next_atto", "selecsls42",
    "dpn48b", "lcnet_050", "visformer_tiny", "pit_ti_224", "repghostnet_050", "starnet_s1", "efficientvit_b0", "convit_tiny",
)  # fmt: skip


def exported(folder: Path, routes: Sequence[str], minutes: float) -> list[Path]:
    """The files, as many as time allows; a route that an exporter cannot go is named."""
    stop = time.monotonic() + 60 * minutes
    found = []
    for route in routes:
        for name in (*ARCHITECTURES, *MORE):
            path = folder / f"{name}.{route}.onnx"
            if not path.exists() and time.monotonic() < stop:
                try:
                    export(name, route, folder)
                except Exception as error:  # exporters raise whatever they like; the count below shows what is missing
                    print(f"  {name}: the {route} exporter failed: {str(error).splitlines()[0][:100]}", flush=True)
            if path.exists():
                found.append(path)
    return found


def stored(atlas: Atlas, encoder: str) -> dict[str, bytes]:
    """Vectors of all architectures: those of the atlas, or made now."""
    known = atlas.vectors(encoder)
    if known:
        return known
    made = ENCODERS.build(encoder)
    return {i: made.encode(atlas.graph(i)) for i in atlas.with_graphs()}


def rank_of(origin: str, scores: Mapping[str, float], same: set[str]) -> tuple[int, str]:
    """Rank of the origin, and what comes first in its place."""
    own = max(scores.get(i, -1.0) for i in same)
    ahead = sorted(
        (-s, i) for i, s in scores.items() if i not in same and (s > own + 1e-12 or (abs(s - own) <= 1e-12 and i < origin))
    )
    first = f"{ahead[0][1]} ({-ahead[0][0]:.4f} against {own:.4f})" if ahead else origin
    return len(ahead) + 1, first


def find_scores(atlas: Atlas, entry: Entry) -> dict[str, float]:
    return {hit.id: hit.score for hit in atlas.find(like=entry, k=100)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--route", choices=ROUTES, action="append")
    parser.add_argument("--encoder", action="append")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.folder.mkdir(parents=True, exist_ok=True)
    paths = exported(options.folder, options.route or list(ROUTES), options.minutes)
    atlas = Atlas.open(None)
    vectors = {name: stored(atlas, name) for name in options.encoder or ["wl", "strata"]}
    ids = sorted(next(iter(vectors.values())))
    twins = defaultdict(set)
    for entry_id in ids:
        twins[content_hash(atlas.graph(entry_id))].add(entry_id)
    same = {entry_id: group for group in twins.values() for entry_id in group}
    families = {i: str(facts.get("family", "")) for i, facts in atlas.facts(ids).items()}
    ranks: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for path in paths:
        name, _, route = path.stem.partition(".")
        origin = f"timm/{name}"
        if origin not in same:
            continue
        entry = read_onnx(str(path))[0]
        assert entry.graph is not None
        rankings = {"find": find_scores(atlas, entry)}
        for encoder, known in vectors.items():
            made = ENCODERS.build(encoder)
            alike = made.similarities(made.encode(entry.graph), [known[i] for i in ids])
            rankings[encoder] = dict(zip(ids, alike.tolist(), strict=True))
        for ranking, scores in rankings.items():
            rank, first = rank_of(origin, scores, same[origin])
            ranks[ranking, route][origin] = rank
            if rank > 1:
                print(f"  {path.name} by {ranking}: rank {rank}, first {first}", flush=True)
    return report(ranks, families)


def report(ranks: Mapping[tuple[str, str], Mapping[str, int]], families: Mapping[str, str]) -> int:
    worst = 1.0
    for (ranking, route), found in sorted(ranks.items()):
        share = sum(r == 1 for r in found.values()) / len(found)
        worst = min(worst, share)
        print(
            f"{ranking:8} {route:11} origin first for {share:6.1%} of {len(found)} architectures of "
            f"{len({families[i] for i in found})} families, within 5 for {sum(r <= 5 for r in found.values()) / len(found):.1%}"
        )
    return 0 if worst >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
