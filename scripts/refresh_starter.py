"""Make everything anew in the starter atlas that follows from its stored graphs, without tracing anything.

    python scripts/refresh_starter.py [--atlas src/netatlas/data/starter.atlas] [--out FILE] [--map]

Facts counted on graphs, those of the glossary, and what atlases keep beside graphs: vectors, counts of motifs, what predictions are
made from; vectors of encoders that they carry no more are removed. What libraries state, evidence and the graphs themselves stay. The same file and the same code give the
same bytes. ``--map`` also lays the map out anew, which takes minutes and needs scikit-learn; without it, places stay.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from netatlas.atlas.atlas import Atlas
from netatlas.atlas.layout import STORED_AS, stored_places
from netatlas.atlas.store import Store
from netatlas.atlas.vectors import KEPT, encode
from netatlas.errors import NetatlasError
from netatlas.facts import Value
from netatlas.glossary import load
from netatlas.graph.graph import Graph
from netatlas.records import Entry
from netatlas.sources._describe import UNMEASURED, graph_facts

STARTER = Path(__file__).parent.parent / "src/netatlas/data/starter.atlas"
COUNTED, GLOSSARY = "counted on the operator graph", "netatlas glossary of families"


def refreshed(entry: Entry, graph: Graph) -> Entry:
    """The entry with facts counted now; a fact that something else states stays as it is."""
    rung = str(entry.facts.get("traced_by", ""))
    ours = {name for name, origin in entry.origins.items() if origin.startswith(COUNTED) or origin == GLOSSARY}
    facts: dict[str, Value] = {name: value for name, value in entry.facts.items() if name not in ours}
    origins = {name: origin for name, origin in entry.origins.items() if name not in ours}
    counted = graph_facts(graph, measured=rung not in UNMEASURED)
    carried = ours if entry.kind == "model" else counted  # a model repeats some facts of its architecture, not all
    for name, value in counted.items():
        if name in carried and name not in facts:
            facts[name] = value
            origins[name] = next((o for n, o in entry.origins.items() if n == name), f"{COUNTED} ({rung})")
    family = load().family_of(entry.id)
    if family is not None and (entry.kind == "architecture" or "family" in ours):
        for name, value in (("family", family.key), ("year", family.year), ("paper", family.arxiv)):
            if value and name not in facts:
                facts[name], origins[name] = value, GLOSSARY
    return replace(entry, facts=facts, origins=origins)


def refresh(store: Store) -> tuple[int, int]:
    """Facts and vectors of one file.

    Returns:
        How many entries have other facts now, and how many vectors were made.
    """
    changed: list[Entry] = []
    vectors: dict[str, dict[str, bytes]] = {name: {} for name in KEPT}
    own = set(store.with_graphs())
    for entry_id in store.ids():
        graph, entry = store.graph(entry_id), store.entry(entry_id)
        if graph is None or entry is None:
            continue
        new = refreshed(entry, graph)
        if (dict(new.facts), dict(new.origins)) != (dict(entry.facts), dict(entry.origins)):
            changed.append(new)
        if entry_id in own:
            for name, vector in encode(graph).items():
                vectors[name][entry_id] = vector
    store.put_facts(changed)
    for name in set(store.encoders()) - {STORED_AS, *KEPT}:
        store.drop_vectors(name)
    for name, found in vectors.items():
        store.drop_vectors(name)
        store.put_vectors(name, found)
    return len(changed), sum(map(len, vectors.values()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atlas", type=Path, default=STARTER)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--map", action="store_true")
    options = parser.parse_args()
    out = options.out or options.atlas
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work.atlas"
        shutil.copyfile(options.atlas, work)
        try:
            with Store.open(work, "w") as store:
                changed, made = refresh(store)
            sys.stdout.write(f"{changed:,} entries with other facts, {made:,} vectors\n")
            if options.map:
                atlas = Atlas.open(work, starter=False, cache=folder)
                places = stored_places(atlas)
                atlas.close()
                with Store.open(work, "w") as store:
                    store.put_vectors(STORED_AS, places)
            with Store.open(work, "w") as store:
                store.snapshot(out)
        except NetatlasError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
    sys.stdout.write(f"{out}: {out.stat().st_size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
