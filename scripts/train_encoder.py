"""Train the weights of the default encoder on the starter atlas and store them as package data.

Usage: python scripts/train_encoder.py [--out FILE]
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import numpy as np

from netatlas.atlas.atlas import Atlas
from netatlas.encoders._strata_features import features
from netatlas.encoders.strata import COMPONENTS, Strata
from netatlas.graph.graph import Graph

_OUT = Path(__file__).parent.parent / "src/netatlas/data/strata.npz"


def family(entry_id: str, module: str) -> str:
    """Module file, refined by the leading letters of the architecture's name; of the label only, never of the graph."""
    name = re.sub(r"^(tf|gc|legacy|test|quantized)_", "", entry_id.partition("/")[2])
    prefix = re.match("[a-z]*", name.lower())
    return f"{entry_id.partition('/')[0]}:{module.rpartition('.')[2]}:{prefix.group(0) if prefix else ''}"


def training_set() -> tuple[list[Graph], list[str]]:
    """Graphs of the starter atlas with different features, and their families."""
    atlas = Atlas.open(None)
    ids = atlas.with_graphs()
    facts = atlas.facts(ids)
    graphs, groups, seen = [], [], set()
    for entry_id in ids:
        graph = atlas.graph(entry_id)
        keys, counts = features(graph)
        mark = (keys.tobytes(), counts.tobytes())
        if mark not in seen:
            seen.add(mark)
            graphs.append(graph)
            groups.append(family(entry_id, str(facts[entry_id].get("module", ""))))
    return graphs, groups


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=_OUT)
    options = parser.parse_args()
    graphs, groups = training_set()
    encoder = Strata()
    encoder.fit(graphs, groups, seed=0)
    learned = encoder.weights
    np.savez_compressed(
        options.out,
        components=np.array(COMPONENTS),
        fusion=learned.fusion,
        gaps=np.diff(learned.keys, prepend=np.uint32(0)),
        rarity=learned.rarity,
    )
    sys.stdout.write(f"{len(graphs):,} graphs of {len(set(groups)):,} families, {options.out.stat().st_size:,} bytes\n")
    for i in np.argsort(-learned.fusion)[:16]:
        sys.stdout.write(f"{learned.fusion[i]:6.3f}  {COMPONENTS[i]}\n")


if __name__ == "__main__":
    main()
