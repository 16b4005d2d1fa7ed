"""The store: one SQLite file that holds what netatlas knows. Everything else (indexes, caches) is derived from it."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from netatlas.atlas import _schema
from netatlas.atlas._door import Packed, check_evidence, check_fact, detail_json, pack
from netatlas.atlas.lock import find_writer
from netatlas.errors import SourceError, StoreError, UnknownIdError, did_you_mean
from netatlas.facts import FACTS, Value
from netatlas.records import Entry, Evidence

if TYPE_CHECKING:
    from netatlas.graph.graph import Graph

Facts = dict[str, Value]

_CHUNK = 500  # parameters of one IN (...), below every build's limit


@dataclass(frozen=True)
class BuildRow:
    """What the last build did with one name of a source.

    Attributes:
        version: Of what was read.
        reason: Why it failed, in a few words; ``None`` where it did not.
        message: The error on one line.
    """

    version: str
    reason: str | None = None
    message: str | None = None


class Store:
    """An open atlas file. Made by `open`; every committed write is on the disk when the call returns.

    Safe to use from several threads, and after a fork (the child opens the file again).
    """

    def __init__(self, path: Path, mode: Literal["r", "w"], immutable: bool, busy_timeout_s: float) -> None:
        self.path = path
        self.mode = mode
        self._immutable = immutable
        self._busy_timeout_s = busy_timeout_s
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0

    @classmethod
    def open(
        cls, path: str | Path, mode: Literal["r", "w"] = "r", *, immutable: bool = False, busy_timeout_s: float = 5.0
    ) -> Store:
        """Open an atlas.

        Args:
            path: The file; with mode ``"w"`` it is made when it does not exist.
            mode: ``"r"`` never writes; ``"w"`` reads and writes.
            immutable: Nobody writes the file while it is open, as with the starter atlas in a read-only installation. Saves all
                locking and works where no lock file can be made.
            busy_timeout_s: Seconds to wait for another writer.

        Raises:
            StoreError: The file is missing, a directory, no atlas, damaged, locked, of a newer or too old format, or may not be
                written.
        """
        path = Path(path)
        if path.is_dir():
            raise StoreError(f"{path} is a directory, an atlas is a file")
        if mode == "r" and not path.exists():
            raise StoreError(f"there is no atlas at {path}: make one with netatlas build or netatlas add")
        store = cls(path, mode, immutable, busy_timeout_s)
        try:
            store._prepare()
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None
            self._pid = -1

    # ---- reading

    def __len__(self) -> int:
        return int(self._one("SELECT count(*) FROM entries")[0])

    def __contains__(self, entry_id: object) -> bool:
        return isinstance(entry_id, str) and bool(self._all("SELECT 1 FROM entries WHERE id = ?", entry_id))

    def ids(self, kind: str | None = None) -> list[str]:
        """All ids, sorted, of one kind of entry if it is given."""
        where = "" if kind is None else "WHERE kind = ?"
        return [row[0] for row in self._all(f"SELECT id FROM entries {where} ORDER BY id", *([kind] if kind else []))]

    def with_graphs(self) -> list[str]:
        """Ids of the entries that have a graph of their own, sorted."""
        return [row[0] for row in self._all("SELECT id FROM entries WHERE graph IS NOT NULL ORDER BY id")]

    def entry(self, entry_id: str, *, graph: bool = False) -> Entry | None:
        """One entry with facts, origins, evidence and links, and its own graph if ``graph``; ``None`` when there is none."""
        rows = self._all("SELECT num, id, kind, title, text, links FROM entries WHERE id = ?", entry_id)
        return self._entry(rows[0], graph) if rows else None

    def entries(self, kind: str | None = None, *, graph: bool = False) -> Iterator[Entry]:
        """All entries in the order of their ids, of one kind if it is given."""
        for entry_id in self.ids(kind):
            if (entry := self.entry(entry_id, graph=graph)) is not None:  # removed in the meantime
                yield entry

    def graph(self, entry_id: str) -> Graph | None:
        """The graph of an entry, for a model its architecture's; ``None`` where there is none.

        Raises:
            StoreError: The stored graph is damaged.
        """
        rows = self._all("SELECT num, graph FROM entries WHERE id = ?", entry_id)
        if not rows:
            return None
        if rows[0][1] is None:
            parent = self._all(
                "SELECT graph FROM entries WHERE id = (SELECT value FROM facts WHERE entry = ? AND fact = "
                "(SELECT num FROM fact_names WHERE name = 'architecture'))",
                rows[0][0],
            )
            return self._graph(entry_id, parent[0][0]) if parent else None
        return self._graph(entry_id, rows[0][1])

    def twins(self, entry_id: str) -> list[str]:
        """Ids of the other entries whose graphs have the same content hash, sorted."""
        rows = self._all(
            "SELECT id FROM entries JOIN graphs ON graphs.num = graph WHERE hash = (SELECT hash FROM graphs JOIN entries ON "
            "graphs.num = graph WHERE id = ?1) AND id <> ?1 ORDER BY id",
            entry_id,
        )
        return [row[0] for row in rows]

    def hashes(self) -> dict[str, str]:
        """Content hash of the graph of every entry that has one."""
        return dict(self._all("SELECT id, hash FROM entries JOIN graphs ON graphs.num = graph ORDER BY id"))

    def facts(self, ids: Iterable[str]) -> dict[str, Facts]:
        """Facts of the entries that exist among ``ids``, in the order given; made for the few hits of a query."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, Facts] = {}
        names = self._fact_names()
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(part))
            query = f"SELECT id, fact, value FROM entries LEFT JOIN facts ON entry = num WHERE id IN ({marks}) ORDER BY num, fact"
            for entry_id, fact, value in self._all(query, *part):
                facts = found.setdefault(entry_id, {})
                if fact is not None:
                    name, is_set = names[fact]
                    facts[name] = _parse_set(value) if is_set else value
        return {entry_id: found[entry_id] for entry_id in wanted if entry_id in found}

    def titles(self, ids: Iterable[str]) -> dict[str, str]:
        """Titles of the entries that exist among ``ids``."""
        wanted = list(ids)
        found: dict[str, str] = {}
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            found.update(self._all(f"SELECT id, title FROM entries WHERE id IN ({','.join('?' * len(part))})", *part))
        return found

    def rows(self) -> Iterator[tuple[str, str, str, str, Facts]]:
        """``(id, kind, title, text, facts)`` of every entry, for building indexes: one pass, from one state of the file."""
        names = self._fact_names()
        with self._errors(), closing(self._connect()) as db:
            db.execute("BEGIN")
            facts = db.execute("SELECT entry, fact, value FROM facts ORDER BY entry, fact")
            row = facts.fetchone()
            for num, *head in db.execute("SELECT num, id, kind, title, text FROM entries ORDER BY num"):
                values: Facts = {}
                while row is not None and row[0] == num:
                    name, is_set = names[row[1]]
                    values[name] = _parse_set(row[2]) if is_set else row[2]
                    row = facts.fetchone()
                yield (*head, values)

    def coverage(self) -> dict[str, int]:
        """How many entries have each fact; facts that none has are absent."""
        return dict(self._all("SELECT name, count(*) FROM facts JOIN fact_names ON num = fact GROUP BY num ORDER BY num"))

    def evidence(self, entry_id: str) -> list[Evidence]:
        """Evidence for the facts of an entry of this file or another, oldest first."""
        query = (
            "SELECT fact_names.name, value, methods.method, source, machine, seed, date, spread, detail FROM evidence "
            "JOIN fact_names ON fact_names.num = fact JOIN methods ON methods.num = evidence.method WHERE id = ? ORDER BY age"
        )
        return [_evidence(row) for row in self._all(query, entry_id)]

    def measured(self) -> dict[str, Facts]:
        """Newest measured value of each fact of entries that are not in this file: what is laid over the atlas below it."""
        query = (
            "SELECT id, name, value FROM evidence JOIN fact_names ON num = fact "
            "WHERE id NOT IN (SELECT id FROM entries) ORDER BY id, age"
        )
        found: dict[str, Facts] = {}
        for entry_id, name, value in self._all(query):
            if name in FACTS:
                found.setdefault(entry_id, {})[name] = _measured_value(name, value)
        return found

    def vectors(self, encoder: str) -> dict[str, bytes]:
        """The vectors of one encoder by entry id, in the order of the ids."""
        query = (
            "SELECT id, data FROM vectors JOIN encoders ON encoders.num = encoder JOIN entries ON entries.num = entry "
            "WHERE name = ? ORDER BY id"
        )
        return dict(self._all(query, encoder))

    def meta(self, key: str) -> str | None:
        """A remark about the file, such as the versions it was built from; ``None`` where there is none."""
        rows = self._all("SELECT value FROM meta WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def stamp(self) -> str:
        """Changes with every committed write, also by other processes; equal stamps mean equal content. Takes microseconds."""
        return self.meta("stamp") or ""

    def builds(self, source: str) -> dict[str, BuildRow]:
        """What builds did with each name of a source."""
        rows = self._all("SELECT name, version, reason, message FROM builds WHERE source = ? ORDER BY name", source)
        return {name: BuildRow(version, reason, message) for name, version, reason, message in rows}

    # ---- writing

    def put(self, entries: Iterable[Entry]) -> None:
        """Write entries in one transaction; those whose id exists are replaced.

        Evidence stays with the id, except from sources that the new entry quotes again. Facts that only such evidence backs stay
        too, so reading a library anew does not lose what was measured here.

        Raises:
            StoreError: An entry cannot be stored (nothing is written then), an id comes twice, or the file cannot be written.
        """
        self.put_packed([pack(entry) for entry in entries])

    def put_packed(self, packed: Sequence[Packed]) -> None:
        """`put` for entries that were packed elsewhere."""
        _refuse_duplicates(packed)
        with self._write() as db:
            writer = _Writer(db)
            for item in packed:
                writer.put(item, None)

    def put_build(
        self, source: str, name: str, version: str, packed: Sequence[Packed] = (), *, reason: str | None = None, message: str = ""
    ) -> None:
        """Write what one name of a source gave, and that it did, in one transaction.

        Entries that an earlier build got from the same name and this one did not are removed.

        Raises:
            SourceError: Another name of the source gave one of the ids, or one comes twice. Nothing is written then: which of two
                names is kept must not depend on which worker was faster.
            StoreError: See `put`.
        """
        with self._write() as db:
            (build,) = db.execute(
                "INSERT INTO builds (source, name, version, reason, message) VALUES (?, ?, ?, ?, ?) ON CONFLICT (source, name) "
                "DO UPDATE SET version = excluded.version, reason = excluded.reason, message = excluded.message RETURNING num",
                (source, name, version, reason, message if reason is not None else None),
            ).fetchone()
            kept = {item.entry.id for item in packed}
            stale = [i for (i,) in db.execute("SELECT id FROM entries WHERE build = ?", (build,)).fetchall() if i not in kept]
            writer = _Writer(db)
            writer.remove(stale)
            taken: set[str] = set()
            for item in packed:
                other = writer.giver(item.entry.id, version)
                if item.entry.id in taken or other not in (None, build):
                    raise SourceError(f"{source} gave the id {item.entry.id} twice, at last for {name}", reason="duplicate id")
                taken.add(item.entry.id)
                writer.put(item, build)

    def remove_builds(self, source: str, names: Iterable[str]) -> None:
        """Forget names of a source, with the entries they gave."""
        with self._write() as db:
            writer = _Writer(db)
            for name in names:
                query = "SELECT id FROM entries WHERE build = (SELECT num FROM builds WHERE source = ? AND name = ?)"
                writer.remove([row[0] for row in db.execute(query, (source, name)).fetchall()])
                db.execute("DELETE FROM builds WHERE source = ? AND name = ?", (source, name))

    def remove(self, ids: Iterable[str]) -> list[str]:
        """Remove entries, an architecture's models with it; returns all that went, sorted.

        Raises:
            UnknownIdError: An id does not exist; nothing is removed then.
        """
        with self._write() as db:
            writer = _Writer(db)
            gone: set[str] = set()
            for entry_id in ids:
                if not db.execute("SELECT 1 FROM entries WHERE id = ?", (entry_id,)).fetchone():
                    raise self._unknown(entry_id)
                gone.update([entry_id, *writer.models_of(entry_id)])
            writer.remove(sorted(gone))
            return sorted(gone)

    def add_evidence(self, entry_id: str, evidence: Evidence) -> None:
        """Keep a measured value and make it the entry's fact, in one transaction.

        An entry that is not in this file is taken to be in another, see `measured`.

        Raises:
            StoreError: The evidence cannot be stored, or the file cannot be written.
        """
        check_evidence(entry_id, evidence)
        with self._write() as db:
            writer = _Writer(db)
            writer.add_evidence(entry_id, evidence)
            row = db.execute("SELECT num FROM entries WHERE id = ?", (entry_id,)).fetchone()
            if row is not None:
                writer.set_fact_by_evidence(entry_id, row[0], evidence)

    def put_vectors(self, encoder: str, vectors: Mapping[str, bytes]) -> None:
        """Write one encoder's vectors by entry id, replacing those that exist.

        Raises:
            UnknownIdError: An entry does not exist; nothing is written then.
        """
        with self._write() as db:
            writer = _Writer(db)
            for entry_id, data in vectors.items():
                row = db.execute("SELECT num FROM entries WHERE id = ?", (entry_id,)).fetchone()
                if row is None:
                    raise self._unknown(entry_id)
                writer.put_vector(encoder, row[0], data)

    def put_facts(self, entries: Iterable[Entry]) -> None:
        """Replace the facts of entries that exist, with their origins; nothing else of them, and no evidence, changes.

        Raises:
            UnknownIdError: An entry does not exist; nothing is written then.
            StoreError: A fact cannot be stored, or the file cannot be written.
        """
        with self._write() as db:
            writer = _Writer(db)
            for entry in entries:
                row = db.execute("SELECT num FROM entries WHERE id = ?", (entry.id,)).fetchone()
                if row is None:
                    raise self._unknown(entry.id)
                writer.replace_facts(row[0], entry)

    def drop_vectors(self, encoder: str) -> None:
        """Remove all vectors of one encoder."""
        with self._write() as db:
            db.execute("DELETE FROM vectors WHERE encoder = (SELECT num FROM encoders WHERE name = ?)", (encoder,))

    def encoders(self) -> list[str]:
        """Names under which there are vectors, sorted."""
        query = "SELECT name FROM encoders WHERE EXISTS (SELECT 1 FROM vectors WHERE encoder = num) ORDER BY name"
        return [row[0] for row in self._all(query)]

    def set_meta(self, key: str, value: str) -> None:
        """Write a remark about the file; ``stamp`` is the store's own.

        Raises:
            StoreError: ``key`` is ``"stamp"``, or the file cannot be written.
        """
        if key == "stamp":
            raise StoreError("the meta key 'stamp' is kept by the store")
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def snapshot(self, path: str | Path) -> None:
        """Write a compact copy whose bytes depend on the content alone, not on the order or time of the writes.

        Raises:
            StoreError: The file cannot be written; what was at ``path`` stays.
        """
        from netatlas.atlas._snapshot import write_snapshot

        with self._errors():
            write_snapshot(self.path, Path(path))

    # ---- inside

    def _prepare(self) -> None:
        with self._errors():
            if self.mode == "r":
                found = _schema.read_format(self._db, self.path)
                if found < _schema.FORMAT:
                    hint = "open it once for writing, netatlas build or add" if found in _schema.MIGRATIONS else "netatlas build"
                    raise StoreError(f"{self.path} has format {found}, this version reads {_schema.FORMAT}: {hint}")
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            found = _schema.read_format(self._db, self.path)
            self._db.execute("PRAGMA journal_mode = WAL")
            if found < _schema.FORMAT or self._lacks_facts():
                with self._write() as db:
                    found = _schema.read_format(db, self.path)  # again: another process may have been first
                    if found == 0 and not self._has_tables(db):
                        _schema.create(db)
                    else:
                        _schema.migrate(db, self.path, found)
                    _schema.add_fact_names(db)

    def _has_tables(self, db: sqlite3.Connection) -> bool:
        return bool(db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'entries'").fetchone())

    def _lacks_facts(self) -> bool:
        known = {name for name, _ in self._fact_names().values()}
        return not known.issuperset(FACTS)

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            if self._pid == -1:
                raise StoreError(f"{self.path} was closed")
            # After a fork the parent's connection must neither be used nor closed here: both would break its locks.
            self._forked, self._connection = self._connection, None
            self._lock = threading.RLock()
            self._connection, self._pid = self._connect(), os.getpid()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        mode = "mode=rwc" if self.mode == "w" else "mode=ro"
        if self.mode == "r" and (self._immutable or self._is_sealed()):
            mode += "&immutable=1"
        db = sqlite3.connect(
            f"file:{quote(str(self.path.absolute()))}?{mode}",
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        db.execute("PRAGMA foreign_keys = ON")
        # FULL: in WAL mode NORMAL may lose the last commits in a power failure, and add or measure have told the user it is kept.
        db.execute("PRAGMA synchronous = FULL")
        return db

    def _is_sealed(self) -> bool:
        """Whether nobody can be writing: SQLite could not even make its lock file, and no writer has."""
        return not os.access(self.path.parent, os.W_OK) and not self.path.with_name(self.path.name + "-wal").exists()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        if self.mode != "w":
            raise StoreError(f"{self.path} is open for reading only")
        with self._errors(), self._lock:
            db = self._db
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("INSERT OR REPLACE INTO meta VALUES ('stamp', ?)", (secrets.token_hex(8),))
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # SQLite itself rolls back on some errors, such as a full disk
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(_explain(self.path, error, self._busy_timeout_s)) from error
        except OSError as error:
            raise StoreError(f"cannot use {error.filename or self.path}: {error.strerror or error}") from error

    def _all(self, query: str, *parameters: object) -> list[Any]:
        with self._errors():
            return self._db.execute(query, parameters).fetchall()

    def _one(self, query: str, *parameters: object) -> Any:
        return self._all(query, *parameters)[0]

    def _fact_names(self) -> dict[int, tuple[str, bool]]:
        return {num: (name, kind == "set") for num, name, kind in self._all("SELECT num, name, kind FROM fact_names")}

    def _entry(self, row: tuple[Any, ...], graph: bool) -> Entry:
        num, entry_id, kind, title, text, links = row
        query = (
            "SELECT name, kind, value, words FROM facts JOIN fact_names ON fact_names.num = fact "
            "LEFT JOIN origins ON origins.num = origin WHERE entry = ? ORDER BY fact"
        )
        facts: Facts = {}
        origins: dict[str, str] = {}
        for name, fact_kind, value, words in self._all(query, num):
            facts[name] = _parse_set(value) if fact_kind == "set" else value
            if words is not None:
                origins[name] = words
        own = self._graph(entry_id, self._one("SELECT graph FROM entries WHERE num = ?", num)[0]) if graph else None
        return Entry(entry_id, kind, title, text, facts, origins, own, tuple(self.evidence(entry_id)), json.loads(links))

    def _graph(self, entry_id: str, num: int | None) -> Graph | None:
        if num is None:
            return None
        from netatlas.errors import GraphError
        from netatlas.graph.serialize import from_bytes

        try:
            return from_bytes(self._one("SELECT data FROM graphs WHERE num = ?", num)[0])
        except GraphError as error:
            raise StoreError(f"{self.path}: the graph of {entry_id} cannot be read: {error}") from error

    def _unknown(self, entry_id: str) -> UnknownIdError:
        # Only ids of similar length can be near; without this a typo takes seconds among 100,000 ids.
        near = [i for i in self.ids() if abs(len(i) - len(entry_id)) <= 4]
        return UnknownIdError(f"unknown id {entry_id!r} in {self.path}{did_you_mean(entry_id, near)}")


class _Writer:
    """The statements of a write transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._fact_numbers = dict(db.execute("SELECT name, num FROM fact_names").fetchall())
        self._origin_numbers: dict[str, int] = {}

    def put(self, packed: Packed, build: int | None) -> None:
        entry = packed.entry
        row = self._db.execute("SELECT num, graph FROM entries WHERE id = ?", (entry.id,)).fetchone()
        graph = self._put_graph(packed)
        head = (
            entry.kind,
            entry.title,
            entry.text,
            json.dumps(dict(entry.links), sort_keys=True, ensure_ascii=False),
            graph,
            build,
        )
        if row is None:
            query = "INSERT INTO entries (kind, title, text, links, graph, build, id) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING num"
            (num,) = self._db.execute(query, (*head, entry.id)).fetchone()
        else:
            num, old_graph = row
            query = "UPDATE entries SET kind = ?, title = ?, text = ?, links = ?, graph = ?, build = ? WHERE num = ?"
            self._db.execute(query, (*head, num))
            if old_graph != graph:
                self._drop_graph(old_graph)
            self._clear(num)
        self._drop_evidence(entry.id, {evidence.source for evidence in entry.evidence})
        self._put_facts(
            num, ((name, check_fact(entry.id, name, value), entry.origins.get(name)) for name, value in entry.facts.items())
        )
        for evidence in self._kept_evidence(entry.id):
            if evidence.fact not in entry.facts:
                self.set_fact_by_evidence(entry.id, num, evidence)
        for evidence in entry.evidence:
            self.add_evidence(entry.id, evidence)
        for encoder, data in packed.vectors.items():
            self.put_vector(encoder, num, data)

    def replace_facts(self, num: int, entry: Entry) -> None:
        self._db.execute("DELETE FROM facts WHERE entry = ?", (num,))
        self._put_facts(
            num, ((name, check_fact(entry.id, name, value), entry.origins.get(name)) for name, value in entry.facts.items())
        )

    def remove(self, ids: Iterable[str]) -> None:
        """Remove entries, with their facts, vectors and evidence, and graphs that nobody else has."""
        for entry_id in ids:
            row = self._db.execute("DELETE FROM entries WHERE id = ? RETURNING graph", (entry_id,)).fetchone()
            if row is not None:
                self._drop_graph(row[0])
                self._db.execute("DELETE FROM evidence WHERE id = ?", (entry_id,))

    def giver(self, entry_id: str, version: str) -> int | None:
        """Number of the build row of this version that gave an entry, ``None`` when no such build did."""
        query = "SELECT builds.num FROM entries JOIN builds ON builds.num = build WHERE id = ? AND version = ?"
        row = self._db.execute(query, (entry_id, version)).fetchone()
        return int(row[0]) if row else None

    def models_of(self, entry_id: str) -> list[str]:
        number = self._fact_numbers["architecture"]
        # The number is written out because SQLite uses the partial index only when it can see it.
        query = f"SELECT id FROM entries WHERE num IN (SELECT entry FROM facts WHERE fact = {int(number)} AND value = ?)"
        return [row[0] for row in self._db.execute(query, (entry_id,)).fetchall()]

    def add_evidence(self, entry_id: str, evidence: Evidence) -> None:
        row = (evidence.method, evidence.source, evidence.machine, evidence.date, detail_json(entry_id, evidence))
        self._db.execute("INSERT OR IGNORE INTO methods (method, source, machine, date, detail) VALUES (?, ?, ?, ?, ?)", row)
        query = "SELECT num FROM methods WHERE method = ? AND source = ? AND machine = ? AND date = ? AND detail = ?"
        (method,) = self._db.execute(query, row).fetchone()
        (age,) = self._db.execute("SELECT coalesce(max(age), 0) + 1 FROM evidence WHERE id = ?", (entry_id,)).fetchone()
        values = (entry_id, age, self._fact_numbers[evidence.fact], float(evidence.value), method, evidence.seed, evidence.spread)
        self._db.execute("INSERT INTO evidence (id, age, fact, value, method, seed, spread) VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def set_fact_by_evidence(self, entry_id: str, num: int, evidence: Evidence) -> None:
        value = _measured_value(evidence.fact, evidence.value)
        words = [evidence.source, evidence.method, evidence.machine, evidence.date]
        self._put_facts(num, [(evidence.fact, check_fact(entry_id, evidence.fact, value), "; ".join(filter(None, words)))])

    def put_vector(self, encoder: str, num: int, data: bytes) -> None:
        self._db.execute("INSERT OR IGNORE INTO encoders (name) VALUES (?)", (encoder,))
        query = "INSERT OR REPLACE INTO vectors (entry, encoder, data) SELECT ?, num, ? FROM encoders WHERE name = ?"
        self._db.execute(query, (num, data, encoder))

    def _put_graph(self, packed: Packed) -> int | None:
        if packed.graph is None:
            return None
        query = "INSERT OR IGNORE INTO graphs (digest, hash, data) VALUES (?, ?, ?)"
        self._db.execute(query, (packed.digest, packed.hash, packed.graph))
        return int(self._db.execute("SELECT num FROM graphs WHERE digest = ?", (packed.digest,)).fetchone()[0])

    def _drop_graph(self, num: int | None) -> None:
        if num is not None:
            query = "DELETE FROM graphs WHERE num = ?1 AND NOT EXISTS (SELECT 1 FROM entries WHERE graph = ?1)"
            self._db.execute(query, (num,))

    def _clear(self, num: int) -> None:
        self._db.execute("DELETE FROM facts WHERE entry = ?", (num,))
        self._db.execute("DELETE FROM vectors WHERE entry = ?", (num,))

    def _drop_evidence(self, entry_id: str, sources: set[str]) -> None:
        for source in sources:
            query = "DELETE FROM evidence WHERE id = ? AND method IN (SELECT num FROM methods WHERE source = ?)"
            self._db.execute(query, (entry_id, source))

    def _kept_evidence(self, entry_id: str) -> list[Evidence]:
        query = (
            "SELECT name, value, methods.method, source, machine, seed, date, spread, detail FROM evidence JOIN methods ON "
            "methods.num = evidence.method JOIN fact_names ON fact_names.num = fact WHERE id = ? ORDER BY age"
        )
        found = [_evidence(row) for row in self._db.execute(query, (entry_id,)).fetchall()]
        return [evidence for evidence in found if evidence.fact in FACTS]

    def _put_facts(self, num: int, facts: Iterable[tuple[str, Value, str | None]]) -> None:
        """Write ``(name, value, origin)`` of one entry."""
        rows = [
            (
                num,
                self._fact_numbers[name],
                json.dumps(value, separators=(",", ":"), ensure_ascii=False) if isinstance(value, tuple) else value,
                self._origin_number(origin) if origin else None,
            )
            for name, value, origin in facts
        ]
        self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", rows)

    def _origin_number(self, words: str) -> int:
        if words not in self._origin_numbers:
            self._db.execute("INSERT OR IGNORE INTO origins (words) VALUES (?)", (words,))
            row = self._db.execute("SELECT num FROM origins WHERE words = ?", (words,)).fetchone()
            self._origin_numbers[words] = int(row[0])
        return self._origin_numbers[words]


def _evidence(row: Sequence[Any]) -> Evidence:
    fact, value, method, source, machine, seed, date, spread, detail = row
    return Evidence(fact, value, method, source, machine, seed, date, spread, json.loads(detail))


def _measured_value(fact: str, value: float) -> Value:
    return round(value) if FACTS[fact].kind == "count" else float(value)


def _refuse_duplicates(packed: Sequence[Packed]) -> None:
    seen: set[str] = set()
    for item in packed:
        if item.entry.id in seen:
            raise StoreError(f"{item.entry.id} comes twice in one write")
        seen.add(item.entry.id)


@lru_cache(maxsize=20_000)
def _parse_set(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _explain(path: Path, error: sqlite3.Error, seconds: float) -> str:
    """One line for an error of SQLite."""
    code = getattr(error, "sqlite_errorname", "") or ""
    if code.startswith("SQLITE_NOTADB"):
        return f"{path} is not an atlas: it is no SQLite database, or its beginning is damaged"
    if code.startswith("SQLITE_CORRUPT") or "malformed" in str(error):
        return f"{path} is damaged ({error}): put a copy in its place or make it anew with netatlas build"
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"{path} is locked by {find_writer(path)}, waited {seconds:g} s: try again when it has ended"
    if code.startswith("SQLITE_FULL"):
        return f"cannot write {path}: the disk is full; nothing of this write was kept, all before it was"
    if code.startswith("SQLITE_READONLY"):
        return f"cannot write {path}: the file or its directory is read-only"
    if code.startswith("SQLITE_CANTOPEN"):
        reason = "its directory is read-only" if not os.access(path.parent, os.W_OK) else "permission denied or not a plain file"
        return f"cannot open {path}: {reason}"
    return f"cannot use {path}: {error} ({code or type(error).__name__})"
