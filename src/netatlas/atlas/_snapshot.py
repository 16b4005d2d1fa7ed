"""Atlas files whose bytes depend on their content alone, for the starter atlas and for publishing."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from netatlas.atlas import _schema

_PAGE_SIZE = 8192
"""A row of the vectors table that is larger than a quarter of a page takes whole pages for the rest: vectors go up to 2 KB."""

# New numbers in the order of what rows are, not of when they came; what nothing refers to is left behind.
_ORDERS = {
    "builds": "SELECT num, row_number() OVER (ORDER BY source, name) FROM old.builds",
    "graphs": "SELECT num, row_number() OVER (ORDER BY digest) FROM old.graphs WHERE num IN (SELECT graph FROM old.entries)",
    "entries": "SELECT num, row_number() OVER (ORDER BY id) FROM old.entries",
    "origins": "SELECT num, row_number() OVER (ORDER BY words) FROM old.origins WHERE num IN (SELECT origin FROM old.facts)",
    "methods": "SELECT num, row_number() OVER (ORDER BY method, source, machine, date, detail) FROM old.methods "
    "WHERE num IN (SELECT method FROM old.evidence)",
    "encoders": "SELECT num, row_number() OVER (ORDER BY name) FROM old.encoders WHERE num IN (SELECT encoder FROM old.vectors)",
    "fact_names": "SELECT o.num, n.num FROM old.fact_names AS o JOIN main.fact_names AS n USING (name)",
}

_COPIES = (
    "INSERT INTO meta SELECT key, value FROM old.meta WHERE key <> 'stamp' ORDER BY key",
    "INSERT INTO builds SELECT n.new, source, name, version, reason, message FROM old.builds AS b "
    "JOIN new_builds AS n ON n.old = b.num ORDER BY n.new",
    "INSERT INTO graphs SELECT n.new, digest, hash, data FROM old.graphs AS g "
    "JOIN new_graphs AS n ON n.old = g.num ORDER BY n.new",
    "INSERT INTO entries SELECT n.new, id, kind, title, text, links, g.new, b.new FROM old.entries AS e "
    "JOIN new_entries AS n ON n.old = e.num LEFT JOIN new_graphs AS g ON g.old = e.graph "
    "LEFT JOIN new_builds AS b ON b.old = e.build ORDER BY n.new",
    "INSERT INTO origins SELECT n.new, words FROM old.origins AS o JOIN new_origins AS n ON n.old = o.num ORDER BY n.new",
    "INSERT INTO facts SELECT e.new, n.new, value, o.new FROM old.facts AS f JOIN new_entries AS e ON e.old = f.entry "
    "JOIN new_fact_names AS n ON n.old = f.fact LEFT JOIN new_origins AS o ON o.old = f.origin ORDER BY e.new, n.new",
    "INSERT INTO methods SELECT n.new, method, source, machine, date, detail FROM old.methods AS m "
    "JOIN new_methods AS n ON n.old = m.num ORDER BY n.new",
    # The newest evidence counts, so its order is content; the gaps that replaced evidence left are not.
    "INSERT INTO evidence SELECT id, row_number() OVER (PARTITION BY id ORDER BY age), n.new, value, m.new, seed, spread "
    "FROM old.evidence AS v JOIN new_fact_names AS n ON n.old = v.fact JOIN new_methods AS m ON m.old = v.method "
    "ORDER BY id, age",
    "INSERT INTO encoders SELECT n.new, name FROM old.encoders AS e JOIN new_encoders AS n ON n.old = e.num ORDER BY n.new",
    "INSERT INTO vectors SELECT e.new, n.new, data FROM old.vectors AS v JOIN new_entries AS e ON e.old = v.entry "
    "JOIN new_encoders AS n ON n.old = v.encoder ORDER BY e.new, n.new",
)  # fmt: skip

_TABLES = ("meta", "builds", "graphs", "entries", "fact_names", "origins", "facts", "methods", "evidence", "encoders", "vectors")


def write_snapshot(source: Path, target: Path) -> None:
    """Copy the atlas ``source`` to ``target``; written beside it, synced and renamed.

    Raises:
        sqlite3.Error: One of the files cannot be read or written; the caller explains.
        OSError: The same from the file system.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + f".{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(f"file:{quote(str(part.absolute()))}", uri=True, isolation_level=None)) as db:
            _copy(db, source)
        _settle_header(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
        _sync_directory(target.parent)
    finally:
        for leftover in (part, part.with_name(part.name + "-journal")):
            leftover.unlink(missing_ok=True)


def _copy(db: sqlite3.Connection, source: Path) -> None:
    db.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("ATTACH ? AS old", (f"file:{quote(str(source.absolute()))}?mode=ro",))
    db.execute("BEGIN")
    _schema.create(db)
    # Facts that only the old file knows, in the order of their names.
    db.execute(
        "INSERT INTO fact_names (name, kind, unit, meaning) SELECT name, kind, unit, meaning FROM old.fact_names WHERE num IN "
        "(SELECT fact FROM old.facts) AND name NOT IN (SELECT name FROM main.fact_names) ORDER BY name"
    )
    for table, query in _ORDERS.items():
        db.execute(f"CREATE TEMP TABLE new_{table} (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)")
        db.execute(f"INSERT INTO new_{table} {query}")
    for statement in _COPIES:
        db.execute(statement)
    db.execute("INSERT INTO meta VALUES ('stamp', ?)", (_digest(db),))
    db.execute("COMMIT")
    db.execute("DETACH old")
    db.execute("VACUUM")


def _digest(db: sqlite3.Connection) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for table in _TABLES:
        for row in db.execute(f"SELECT * FROM main.{table} ORDER BY 1, 2"):
            digest.update(repr(row).encode())
    return digest.hexdigest()


def _settle_header(path: Path) -> None:
    """Set what the header says about its making (change counter, version of the SQLite library) to constants."""
    with path.open("rb+") as file:
        file.seek(24)
        file.write(struct.pack(">I", 1))
        file.seek(92)
        file.write(struct.pack(">II", 1, 3_040_000))


def _sync_directory(path: Path) -> None:
    if os.name == "posix":  # elsewhere directories cannot be opened, and a rename is durable by itself
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
