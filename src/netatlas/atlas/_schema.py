"""Tables of the atlas file: one SQLite database that can be opened, copied and understood without netatlas."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from netatlas.errors import StoreError
from netatlas.facts import FACTS

FORMAT = 1
"""Version of the tables, kept in ``PRAGMA user_version``."""

APPLICATION_ID = 0x4E41544C
"""``"NATL"``, kept in the file's header: tells an atlas from any other SQLite database."""

MIGRATIONS: dict[int, str] = {}
"""SQL that turns a file of the key's format into the next one; a format without an entry here is refused."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- What `netatlas build` has read: one row per name of a source; reason is null where that went well.
CREATE TABLE builds (
    num INTEGER PRIMARY KEY, source TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, reason TEXT, message TEXT,
    UNIQUE (source, name));

-- Serialised operator graphs. Entries with byte-equal graphs share one; digest finds those, hash is equal for equal networks
-- whose modules have other names.
CREATE TABLE graphs (num INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, hash TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX graphs_hash ON graphs (hash);

CREATE TABLE entries (
    num INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL,
    links TEXT NOT NULL, graph INTEGER REFERENCES graphs (num), build INTEGER REFERENCES builds (num));
CREATE INDEX entries_graph ON entries (graph) WHERE graph IS NOT NULL;
CREATE INDEX entries_build ON entries (build) WHERE build IS NOT NULL;

-- Facts as entity, attribute, value; a fact that is not known has no row. Values of kind set are JSON arrays.
CREATE TABLE fact_names (
    num INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, unit TEXT NOT NULL, meaning TEXT NOT NULL);
CREATE TABLE origins (num INTEGER PRIMARY KEY, words TEXT NOT NULL UNIQUE);
CREATE TABLE facts (
    entry INTEGER NOT NULL REFERENCES entries (num) ON DELETE CASCADE, fact INTEGER NOT NULL REFERENCES fact_names (num),
    value NOT NULL, origin INTEGER REFERENCES origins (num), PRIMARY KEY (entry, fact)) WITHOUT ROWID;

-- Measured values, numbered by age for each id; methods holds what many of them share. The id may be that of an entry in another
-- file: what a user measures of the starter atlas, which is read-only, is kept in the user's own.
CREATE TABLE methods (
    num INTEGER PRIMARY KEY, method TEXT NOT NULL, source TEXT NOT NULL, machine TEXT NOT NULL, date TEXT NOT NULL,
    detail TEXT NOT NULL, UNIQUE (method, source, machine, date, detail));
CREATE TABLE evidence (
    id TEXT NOT NULL, age INTEGER NOT NULL, fact INTEGER NOT NULL REFERENCES fact_names (num), value REAL NOT NULL,
    method INTEGER NOT NULL REFERENCES methods (num), seed INTEGER, spread REAL, PRIMARY KEY (id, age)) WITHOUT ROWID;

CREATE TABLE encoders (num INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE vectors (
    entry INTEGER NOT NULL REFERENCES entries (num) ON DELETE CASCADE, encoder INTEGER NOT NULL REFERENCES encoders (num),
    data BLOB NOT NULL, PRIMARY KEY (entry, encoder)) WITHOUT ROWID;

CREATE VIEW fact_values AS
    SELECT entries.id, entries.kind, fact_names.name AS fact, facts.value, fact_names.unit, origins.words AS origin
    FROM facts JOIN entries ON entries.num = facts.entry JOIN fact_names ON fact_names.num = facts.fact
    LEFT JOIN origins ON origins.num = facts.origin;
CREATE VIEW evidence_values AS
    SELECT evidence.id, evidence.age, fact_names.name AS fact, evidence.value, fact_names.unit, evidence.spread, evidence.seed,
        methods.method, methods.source, methods.machine, methods.date, methods.detail
    FROM evidence JOIN fact_names ON fact_names.num = evidence.fact JOIN methods ON methods.num = evidence.method;
CREATE VIEW failures AS SELECT source, name, version, reason, message FROM builds WHERE reason IS NOT NULL;
"""


def create(db: sqlite3.Connection) -> None:
    """Make the tables in an empty database, inside the caller's transaction."""
    for statement in _statements(_TABLES):
        db.execute(statement)
    add_fact_names(db)
    (architecture,) = db.execute("SELECT num FROM fact_names WHERE name = 'architecture'").fetchone()
    # Finds the models of an architecture. SQLite takes no parameters here.
    db.execute(f"CREATE INDEX facts_architecture ON facts (value) WHERE fact = {int(architecture)}")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {FORMAT}")


def add_fact_names(db: sqlite3.Connection) -> None:
    """Make the file's facts table agree with `FACTS`; facts that netatlas no longer knows stay readable."""
    db.executemany(
        "INSERT INTO fact_names (name, kind, unit, meaning) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "kind = excluded.kind, unit = excluded.unit, meaning = excluded.meaning",
        [(fact.name, fact.kind, fact.unit, fact.meaning) for fact in FACTS.values()],
    )


def read_format(db: sqlite3.Connection, path: object) -> int:
    """Format of an open file, 0 for an empty database.

    Raises:
        StoreError: It is another program's database, or was written by a newer netatlas.
    """
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables and application in (0, APPLICATION_ID):
        return 0
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is not an atlas: it is a database of another program")
    if version > FORMAT:
        raise StoreError(f"{path} was written by netatlas format {version}, this version reads up to {FORMAT}: upgrade netatlas")
    return int(version)


def migrate(db: sqlite3.Connection, path: object, version: int) -> None:
    """Bring an older file to `FORMAT`, inside the caller's transaction.

    Raises:
        StoreError: There is no way from this format.
    """
    while version < FORMAT:
        if version not in MIGRATIONS:
            raise StoreError(
                f"{path} has format {version}, too old for this version (format {FORMAT}): make it anew, netatlas build"
            )
        for statement in _statements(MIGRATIONS[version]):
            db.execute(statement)
        version += 1
        db.execute(f"PRAGMA user_version = {version}")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script. ``executescript`` would commit the caller's transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
