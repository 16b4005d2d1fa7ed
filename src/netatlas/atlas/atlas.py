"""The atlas: all layers of stored entries behind one door."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from netatlas.atlas import places
from netatlas.atlas.derived import Derived, Row, open_derived
from netatlas.atlas.store import Store
from netatlas.errors import StoreError, UnknownIdError, nearest
from netatlas.facts import FACTS, PREDICTED, Value
from netatlas.graph.graph import Graph
from netatlas.graph.work import STORED_AS as WORK
from netatlas.records import Entry, Evidence

if TYPE_CHECKING:
    from netatlas.atlas.card import Card
    from netatlas.atlas.comparison import Comparison
    from netatlas.atlas.hits import Hits
    from netatlas.atlas.neighbours import Neighbours
    from netatlas.atlas.predictions import Predictions
    from netatlas.graph.pool import Pool


class Atlas:
    """The starter atlas with the user's own atlas over it, searched together.

    An id in the user's atlas hides the same id below; evidence measured for an entry of the starter atlas is kept in the user's.

    Args:
        layers: Stores, uppermost first.
        writable: Where the uppermost layer is or will be written.
        cache: Folder for derived indexes and layouts.
    """

    def __init__(self, layers: Sequence[Store], writable: Path, cache: Path) -> None:
        self._layers = tuple(layers)
        self.writable = writable
        self.cache = cache
        self._neighbours: dict[str, Neighbours] = {}

    @classmethod
    def open(cls, path: str | Path | None = None, *, starter: bool = True, cache: str | Path | None = None) -> Atlas:
        """The user's atlas at ``path`` (by default in the user's data folder) over the starter atlas.

        Args:
            path: The user's atlas; it need not exist yet.
            starter: Whether the starter atlas is searched too.
            cache: Folder for derived indexes, by default the user's cache folder.

        Raises:
            StoreError: A layer is damaged or of a newer format, or there is nothing to search.
        """
        user = Path(path) if path is not None else places.user_path()
        found = [Store.open(user, "r")] if user.exists() else []
        below = places.starter_path() if starter else None
        if below is not None and below.resolve() != user.resolve():
            found.append(Store.open(below, "r", immutable=True))
        if not found:
            raise StoreError(f"no atlas at {user}: build one with 'netatlas build' or add entries with 'netatlas add'")
        return cls(found, user, Path(cache) if cache is not None else places.cache_folder())

    @cached_property
    def derived(self) -> Derived:
        """Indexes over all layers, from the cache or built now."""
        return open_derived([layer.stamp() for layer in self._layers], self.rows(), self.cache)

    @cached_property
    def predictions(self) -> Predictions:
        """What predicts facts where nothing was measured, calibrated to this machine where the user has done that."""
        from netatlas.atlas.predictions import CALIBRATION, Predictions

        told = next((text for layer in self._layers if (text := layer.meta(CALIBRATION))), None)
        return Predictions(told)

    def __len__(self) -> int:
        return len(self.derived.columns)

    @property
    def ids(self) -> list[str]:
        """All ids, in the order of `derived`."""
        return self.derived.columns.ids

    def rows(self) -> Iterator[Row]:
        """All entries of all layers without graphs, hidden ones left out, evidence of upper layers applied."""
        seen: set[str] = set()
        overlays = self._overlays()
        guesses = self.predictions.facts(self.vectors(WORK))
        for layer in self._layers:
            for row in layer.rows():
                if row[0] not in seen:
                    seen.add(row[0])
                    facts = {**row[4], **overlays.get(row[0], {})}
                    yield (*row[:4], {**facts, **still_unknown(guesses.get(row[0], {}), facts)})

    def _overlays(self) -> dict[str, dict[str, Value]]:
        """Newest measured values that upper layers hold for entries of lower ones."""
        found: dict[str, dict[str, Value]] = {}
        for layer in reversed(self._layers[:-1]):
            for entry_id, facts in layer.measured().items():
                found.setdefault(entry_id, {}).update(facts)
        return found

    def entry(self, entry_id: str, graph: bool = False) -> Entry:
        """The entry called ``entry_id``, with all evidence about it.

        Raises:
            UnknownIdError: There is none; the message names the nearest ids.
        """
        for layer in self._layers:
            entry = layer.entry(entry_id, graph=graph)
            if entry is not None:
                return _with_evidence(entry, self.evidence(entry_id))
        raise self._unknown(entry_id)

    def evidence(self, entry_id: str) -> list[Evidence]:
        """Everything measured about an entry in any layer, the newest last."""
        layers = [layer.evidence(entry_id) for layer in reversed(self._layers)]
        return sorted(itertools.chain.from_iterable(layers), key=lambda e: e.date)

    def graph(self, entry_id: str) -> Graph:
        """The operator graph of an entry; a model has its architecture's.

        Raises:
            UnknownIdError: There is no such entry.
            StoreError: The entry has no graph.
        """
        for layer in self._layers:
            if (graph := layer.graph(entry_id)) is not None:
                return graph
        self.entry(entry_id)
        raise StoreError(f"{entry_id} has no graph")

    def facts(self, ids: Iterable[str]) -> dict[str, Mapping[str, Value]]:
        """Facts of several entries at once, measured and predicted ones included."""
        wanted = list(ids)
        found: dict[str, Mapping[str, Value]] = {}
        for layer in self._layers:
            missing = [i for i in wanted if i not in found]
            found.update(layer.facts(missing))
        for entry_id, extra in self._overlays().items():
            if entry_id in found:
                found[entry_id] = {**found[entry_id], **extra}
        return {i: {**known, **still_unknown(self._guesses(i), known)} for i, known in found.items()}

    def _guesses(self, entry_id: str) -> dict[str, Value]:
        """Predicted facts of an entry, from the columns: neither graph nor model is read."""
        columns = self.derived.columns
        row = columns.row.get(entry_id)
        values = {} if row is None else {name: float(columns.number(name)[row]) for name in PREDICTED.values()}
        return {name: value for name, value in values.items() if value == value}

    def titles(self, ids: Iterable[str]) -> dict[str, str]:
        """Titles of several entries at once."""
        wanted, found = list(ids), {}
        for layer in self._layers:
            found.update(layer.titles([i for i in wanted if i not in found]))
        return found

    def vectors(self, encoder: str) -> dict[str, bytes]:
        """Vectors of one encoder by entry id, hidden entries left out.

        Those of an encoder that atlases carry are complete and current: what an older version wrote is encoded again from its graph,
        see `netatlas.atlas.encoded`. Of other names there is what was stored.
        """
        from netatlas.atlas import encoded
        from netatlas.atlas.vectors import STORED

        found: dict[str, bytes] = {}
        for layer in reversed(self._layers):
            found.update(encoded.vectors(layer, encoder, self.cache) if encoder in STORED else layer.vectors(encoder))
        return found

    def with_graphs(self) -> list[str]:
        """Ids of the entries that have a graph of their own, sorted."""
        return sorted({i for layer in self._layers for i in layer.with_graphs()})

    def neighbours(self, encoder: str) -> Neighbours:
        """The approximate index of one encoder's vectors, opened once; see `netatlas.atlas.neighbours`."""
        from netatlas.atlas.neighbours import open_neighbours

        if encoder not in self._neighbours:
            self._neighbours[encoder] = open_neighbours(self, encoder, [layer.stamp() for layer in self._layers])
        return self._neighbours[encoder]

    def pools(self) -> list[Pool]:
        """The graphs of every layer side by side, uppermost first; see `netatlas.atlas.pools.open_pools`."""
        from netatlas.atlas.pools import open_pools

        return open_pools(self._layers, self.cache)

    def find(self, text: str = "", **options: object) -> Hits:
        """Entries that match; see `netatlas.atlas.find.find`."""
        from netatlas.atlas.find import find

        return find(self, text, **options)  # type: ignore[arg-type]

    def show(self, entry_id: str) -> Card:
        """Everything known about one entry; see `netatlas.atlas.card.card`."""
        from netatlas.atlas.card import card

        return card(self, entry_id)

    def compare(self, *ids: str) -> Comparison:
        """Entries side by side; see `netatlas.atlas.comparison.compare`."""
        from netatlas.atlas.comparison import compare

        return compare(self, ids)

    def add(self, entries: Iterable[Entry]) -> list[str]:
        """Write entries to the user's atlas and return their ids; entries of the same id are replaced.

        The atlas opened before does not see them: open it again.
        """
        from netatlas.atlas.vectors import with_vectors

        kept = list(entries)
        with Store.open(self.writable, "w") as store:
            store.put(kept)
            for encoder, vectors in with_vectors(kept).items():
                store.put_vectors(encoder, vectors)
        return [entry.id for entry in kept]

    def remove(self, ids: Sequence[str]) -> list[str]:
        """Remove entries (an architecture with its models) from the user's atlas and return what was removed.

        Raises:
            UnknownIdError: An id is unknown, or belongs to the starter atlas, which is read-only.
        """
        own = set(self._layers[0].ids()) if self.writable.exists() else set()
        for entry_id in ids:
            if entry_id not in own:
                if entry_id in self.derived.columns.row:
                    raise UnknownIdError(
                        f"{entry_id} belongs to the starter atlas, which is read-only: only your own entries can be removed"
                    )
                raise self._unknown(entry_id)
        with Store.open(self.writable, "w") as store:
            return list(store.remove(ids))

    def add_evidence(self, entry_id: str, evidence: Evidence) -> None:
        """Write a measured value to the user's atlas; the entry itself may be in a lower layer.

        Raises:
            UnknownIdError: No layer has the entry.
        """
        if entry_id not in self.derived.columns.row:
            raise self._unknown(entry_id)
        with Store.open(self.writable, "w") as store:
            store.add_evidence(entry_id, evidence)

    def _unknown(self, entry_id: str) -> UnknownIdError:
        return UnknownIdError(f"no entry {entry_id!r}{_suggestion(entry_id, self.ids)}")

    def close(self) -> None:
        """Close all layers."""
        for layer in self._layers:
            layer.close()


def still_unknown(guesses: Mapping[str, Value], facts: Mapping[str, Value]) -> dict[str, Value]:
    """The guesses of facts that are not known."""
    return {name: value for name, value in guesses.items() if FACTS[name].predicts not in facts}


def _suggestion(entry_id: str, ids: Sequence[str]) -> str:
    """The nearest ids, by whole id and by name without the source."""
    by_name: dict[str, list[str]] = {}
    for known in ids:
        by_name.setdefault(known.partition("/")[2], []).append(known)
    name = entry_id.rpartition("/")[2]
    if name in by_name:
        close = by_name[name]
    else:
        close = nearest(entry_id, ids) or [i for n in nearest(name, by_name) for i in by_name[n]]
    return f": did you mean {' or '.join(close[:3])}?" if close else ""


def _with_evidence(entry: Entry, evidence: Sequence[Evidence]) -> Entry:
    """The entry with the newest measured value of each fact on top of its own facts."""
    facts, origins = dict(entry.facts), dict(entry.origins)
    for item in evidence:
        if item.source == "netatlas measure":
            facts[item.fact] = item.value
            origins[item.fact] = f"{item.source}: {item.method}, {item.machine}, {item.date}".strip(", ")
    return Entry(entry.id, entry.kind, entry.title, entry.text, facts, origins, entry.graph, tuple(evidence), entry.links)
