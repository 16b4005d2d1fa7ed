"""Mine the recurring runs of all architectures of the starter atlas into the table of motifs.

    python scripts/mine_motifs.py [--most 200] [--out src/netatlas/data/motifs.tsv]

Deterministic; takes about a minute on one core. Raise `FORMAT` of `netatlas.atlas.derived` and bring the starter atlas up to date
afterwards, since its facts name mined motifs by id.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from netatlas.atlas import places
from netatlas.atlas.store import Store
from netatlas.graph.graph import Graph
from netatlas.graph.mined import COLUMNS
from netatlas.graph.mining import Found, mine, named_like
from netatlas.graph.runs import to_text

EXAMPLES, CLASSES = 4, 3


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("src/netatlas/data/motifs.tsv"))
    options = parser.parse_args()
    starter = places.starter_path()
    assert starter is not None, "the starter atlas is part of the package"
    with Store.open(starter, "r", immutable=True) as store:
        # Networks that a library keeps for its own tests are nobody's design.
        ids = [i for i in store.ids("architecture") if "/test_" not in i]
        known = store.facts(ids)
        families = [str(known[i].get("family", i)) for i in ids]

        def graph(i: int) -> Graph:
            found = store.graph(ids[i])
            assert found is not None, ids[i]
            return found

        found = mine((graph(i) for i in range(len(ids))), families, options.most)
        names = named_like(found, graph)
    lines = ["\t".join(COLUMNS), *(_line(f, name, ids, families) for f, name in zip(found, names, strict=True))]
    assert len({line.partition("\t")[0] for line in lines}) == len(lines), "two motifs have one id: take more digits"
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(f"{options.out}: {len(found)} motifs, {sum(map(bool, names))} of them with a name\n")
    return 0


def _line(found: Found, name: str, ids: Sequence[str], families: Sequence[str]) -> str:
    text = to_text(found.steps)
    key = "m" + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()[:5]
    modules = [cls for cls, _ in found.modules.most_common() if cls][:CLASSES]
    examples: dict[str, str] = {}
    for i in found.architectures:
        examples.setdefault(families[i], ids[i])
    first = [examples[family] for family, _ in sorted(found.families.items(), key=lambda item: (-item[1], item[0]))][:EXAMPLES]
    counts = (len(found.architectures), len(found.families), found.occurrences)
    return "\t".join([key, name, *map(str, counts), "|".join(modules), "|".join(first), text])


if __name__ == "__main__":
    sys.exit(main())
