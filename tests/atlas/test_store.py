"""The store: what goes in comes out, writes are atomic and durable, and every fault is one clear line."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netatlas.atlas import _schema
from netatlas.atlas.lock import build_lock
from netatlas.atlas.store import Store
from netatlas.errors import NetatlasError, StoreError, UnknownIdError
from netatlas.facts import FACTS, FactType, Value
from netatlas.graph.graph import MAX_RANK, Graph, Scope
from netatlas.graph.ops import ATTRIBUTES, OP_ID
from netatlas.records import Entry, Evidence

LATENCY = Evidence(
    "latency_ms",
    3.25,
    "median of 30 forward passes",
    "netatlas measure",
    "a laptop",
    1,
    "2025-01-02",
    0.5,
    {"batch": 1, "threads": 2},
)


def chain(width: int = 8, name: str = "net", length: int = 3) -> Graph:
    """Input and a few linear layers of ``width``."""
    g = length + 1
    shape = np.zeros((g, MAX_RANK))
    shape[:, -1] = width
    op = np.array([OP_ID["input"], *[OP_ID["linear"]] * length])
    edges = np.array([(i, i + 1) for i in range(length)])
    scopes = (Scope("", "Net"), Scope(name, "Linear"))
    return Graph(
        op=op, attrs=np.zeros((g, len(ATTRIBUTES))), shape=shape, params=np.array([0, *[width * width] * length]),
        macs=np.zeros(g), scope=np.array([0, *[1] * length]), edges=edges, scopes=scopes, total_params=length * width * width,
    )  # fmt: skip


def architecture(name: str = "alpha", width: int = 8, **facts: Value) -> Entry:
    facts = {"kind": "architecture", "source": "toy", "params": 192, "top1": 75.5, "ops": ("input", "linear"), **facts}
    origins = {"params": "counted", "top1": "a table"}
    return Entry(
        f"toy/{name}", "architecture", name, f"words of {name}", facts, origins, chain(width), (), {"paper": "https://x.org"}
    )


def model(name: str = "alpha", tag: str = "in1k") -> Entry:
    return Entry(
        f"toy/{name}.{tag}", "model", f"{name}.{tag}", facts={"kind": "model", "architecture": f"toy/{name}", "tag": tag}
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "atlas.db"


@pytest.fixture
def store(path: Path) -> Store:
    return Store.open(path, "w")


def assert_same(found: Entry | None, expected: Entry) -> None:
    assert found is not None
    assert replace(found, graph=None) == replace(expected, graph=None)
    assert (found.graph is None) == (expected.graph is None)
    if found.graph is not None and expected.graph is not None:
        np.testing.assert_array_equal(found.graph.params, expected.graph.params)
        assert found.graph.scopes == expected.graph.scopes


# ---- what goes in comes out


def test_entry_comes_back(store: Store) -> None:
    entry = replace(architecture(), evidence=(LATENCY, replace(LATENCY, value=4.0, seed=None, spread=None, detail={})))
    store.put([entry, model()])
    assert_same(store.entry("toy/alpha", graph=True), entry)
    assert store.entry("toy/alpha").graph is None  # type: ignore[union-attr]
    assert store.entry("toy/nothing") is None
    assert store.graph("toy/nothing") is None
    assert store.ids() == ["toy/alpha", "toy/alpha.in1k"]
    assert store.ids("model") == ["toy/alpha.in1k"]
    assert [entry.id for entry in store.entries("architecture")] == ["toy/alpha"]
    assert "toy/alpha" in store
    assert "toy/beta" not in store
    assert len(store) == 2
    assert store.titles(["toy/alpha", "nobody"]) == {"toy/alpha": "alpha"}


VALUES = {
    "count": st.integers(-(2**63) + 1, 2**63 - 1),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "text": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    "set": st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), max_size=4).map(
        tuple
    ),
}


@given(
    facts=st.fixed_dictionaries({}, optional={name: VALUES[fact.kind] for name, fact in FACTS.items() if name != "architecture"}),
    text=VALUES["text"],
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_facts_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, facts: dict[str, Value], text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "a.db"
    entry = Entry("toy/x", "architecture", text, text, facts, dict.fromkeys(facts, text), None, (), {text: text})
    with Store.open(path, "w") as store:
        store.put([entry])
    with Store.open(path) as store:
        assert store.entry("toy/x") == entry
        assert store.facts(["toy/x"]) == {"toy/x": facts}
        assert list(store.rows()) == [("toy/x", "architecture", text, text, facts)]
        found = store.facts(["toy/x"])["toy/x"]
        assert {name: type(value) for name, value in found.items()} == {name: type(value) for name, value in facts.items()}


def test_rows_and_facts_agree(store: Store) -> None:
    bare = Entry("toy/bare", "architecture", "bare")
    store.put([bare, architecture("b"), model("b"), architecture("a")])
    rows = {row[0]: row[4] for row in store.rows()}
    assert rows == store.facts(store.ids())
    assert rows["toy/bare"] == {}
    assert list(store.facts(["toy/b", "nobody", "toy/a", "toy/b"])) == ["toy/b", "toy/a"]
    assert store.coverage() == {
        "kind": 3, "source": 2, "ops": 2, "params": 2, "top1": 2, "architecture": 1, "tag": 1,
    }  # fmt: skip


def test_many_ids_at_once(store: Store) -> None:
    store.put(Entry(f"toy/{i:04}", "architecture", str(i), facts={"params": i}) for i in range(1201))
    assert store.facts(store.ids())["toy/1200"] == {"params": 1200}
    assert len(store.titles(store.ids())) == 1201


def test_graphs_are_shared_and_found_by_content(store: Store) -> None:
    one, same = architecture("one"), architecture("same")
    renamed = replace(architecture("renamed"), graph=chain(8, "other"))
    store.put([one, same, renamed, architecture("wide", 16), model("one")])
    assert store._one("SELECT count(*) FROM graphs") == (3,)
    assert store.twins("toy/one") == ["toy/renamed", "toy/same"]
    assert store.twins("toy/wide") == []
    assert store.hashes()["toy/one"] == store.hashes()["toy/renamed"] != store.hashes()["toy/wide"]
    assert store.graph("toy/renamed").scopes[1].path == "other"  # type: ignore[union-attr]
    assert store.graph("toy/one.in1k").scopes == one.graph.scopes  # type: ignore[union-attr]
    store.remove(["toy/one"])
    assert store.graph("toy/same") is not None
    store.put([architecture("same", 32)])  # the last user of its graph moves on
    assert store._one("SELECT count(*) FROM graphs") == (3,)


def test_put_replaces_but_keeps_what_was_measured_here(store: Store) -> None:
    published = Evidence("top1", 75.5, "published", "a table")
    store.put([replace(architecture(year=2020), evidence=(published,))])
    store.add_evidence("toy/alpha", LATENCY)
    store.add_evidence("toy/alpha", replace(LATENCY, fact="peak_rss", value=1234.6))
    changed = replace(architecture(top1=76.0), evidence=(replace(published, value=76.0),))
    store.put([changed])
    entry = store.entry("toy/alpha")
    assert entry is not None
    assert "year" not in entry.facts
    assert entry.facts["top1"] == 76.0
    assert entry.facts["latency_ms"] == 3.25
    assert entry.facts["peak_rss"] == 1235
    assert entry.origins["latency_ms"] == "netatlas measure; median of 30 forward passes; a laptop; 2025-01-02"
    assert sorted((e.fact, e.value) for e in entry.evidence) == [("latency_ms", 3.25), ("peak_rss", 1234.6), ("top1", 76.0)]


def test_newest_evidence_counts(store: Store) -> None:
    store.put([architecture()])
    for value in (5.0, 2.0, 4.0):
        store.add_evidence("toy/alpha", replace(LATENCY, value=value))
    assert store.facts(["toy/alpha"])["toy/alpha"]["latency_ms"] == 4.0
    assert [e.value for e in store.evidence("toy/alpha")] == [5.0, 2.0, 4.0]


def test_evidence_for_an_entry_of_another_file(store: Store) -> None:
    store.add_evidence("elsewhere/net", LATENCY)
    store.add_evidence("elsewhere/net", replace(LATENCY, value=9.0))
    assert store.measured() == {"elsewhere/net": {"latency_ms": 9.0}}
    assert [e.value for e in store.evidence("elsewhere/net")] == [3.25, 9.0]
    assert store.ids() == []
    store.put([Entry("elsewhere/net", "architecture", "net")])  # now it is here: its facts take over
    assert store.measured() == {}
    assert store.facts(["elsewhere/net"]) == {"elsewhere/net": {"latency_ms": 9.0}}


def test_remove_takes_the_models_along(store: Store) -> None:
    store.put([architecture("a"), model("a", "x"), model("a", "y"), architecture("b"), model("b", "x")])
    store.put_vectors("wl", {"toy/a": b"1", "toy/b": b"2"})
    assert store.remove(["toy/a", "toy/a.x"]) == ["toy/a", "toy/a.x", "toy/a.y"]
    assert store.ids() == ["toy/b", "toy/b.x"]
    assert store.vectors("wl") == {"toy/b": b"2"}
    assert store._one("SELECT count(*) FROM facts WHERE entry NOT IN (SELECT num FROM entries)") == (0,)
    with pytest.raises(UnknownIdError, match=r"unknown id 'toy/bb'.*did you mean 'toy/b'"):
        store.remove(["toy/b", "toy/bb"])
    assert len(store) == 2


def test_vectors(store: Store) -> None:
    store.put([architecture("a"), architecture("b")])
    store.put_vectors("wl", {"toy/b": b"\0\1", "toy/a": b""})
    store.put_vectors("wl", {"toy/b": b"new"})
    assert store.vectors("wl") == {"toy/a": b"", "toy/b": b"new"}
    assert store.vectors("other") == {}
    with pytest.raises(UnknownIdError, match="toy/nobody"):
        store.put_vectors("wl", {"toy/a": b"x", "toy/nobody": b"x"})
    assert store.vectors("wl")["toy/a"] == b""


def test_stamp_changes_with_every_write(store: Store, path: Path) -> None:
    reader = Store.open(path)
    writes: list[Callable[[], object]] = [
        lambda: store.put([architecture()]),
        lambda: store.put([architecture()]),
        lambda: store.add_evidence("toy/alpha", LATENCY),
        lambda: store.set_meta("a", "b"),
        lambda: store.put_vectors("wl", {"toy/alpha": b"x"}),
        lambda: store.remove(["toy/alpha"]),
    ]
    seen = [store.stamp()]
    for write in writes:
        write()
        assert reader.stamp() == store.stamp() == Store.open(path).stamp()
        seen.append(store.stamp())
    assert len(set(seen)) == len(seen)
    with pytest.raises(UnknownIdError):
        store.remove(["nobody"])
    assert store.stamp() == seen[-1]


def test_meta(store: Store) -> None:
    store.set_meta("timm", "1.0")
    assert store.meta("timm") == "1.0"
    assert store.meta("nothing") is None
    with pytest.raises(StoreError, match="kept by the store"):
        store.set_meta("stamp", "x")


def test_file_explains_itself(store: Store, path: Path) -> None:
    store.put([replace(architecture(), evidence=(LATENCY,)), model()])
    store.put_build("toy", "broken", "1", reason="no default", message="cannot build")
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT id, fact, value, unit, origin FROM fact_values WHERE fact = 'top1'").fetchall()
        assert rows == [("toy/alpha", "top1", 75.5, "%", "a table")]
        assert db.execute("SELECT id, fact, value, machine FROM evidence_values").fetchall() == [
            ("toy/alpha", "latency_ms", 3.25, "a laptop")
        ]
        assert db.execute("SELECT name, reason FROM failures").fetchall() == [("broken", "no default")]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


# ---- the door


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"facts": {"parms": 3}}, "unknown fact 'parms': did you mean 'params'"),
        ({"facts": {"params": 3.5}}, r"'params' is 3.5 \(float\), expected an int"),
        ({"facts": {"params": True}}, r"'params' is True \(bool\), expected an int"),
        ({"facts": {"params": np.int64(3)}}, r"\(int64\), expected an int"),
        ({"facts": {"params": None}}, "expected an int"),
        ({"facts": {"params": 2**63}}, "the largest count is"),
        ({"facts": {"top1": math.nan}}, "'top1' is nan; leave out what is not known"),
        ({"facts": {"top1": -math.inf}}, "'top1' is -inf"),
        ({"facts": {"top1": "75"}}, "expected a float"),
        ({"facts": {"family": ""}}, "expected a str that is not empty"),
        ({"facts": {"family": "\ud800"}}, "not valid Unicode"),
        ({"facts": {"ops": ["conv"]}}, "expected a tuple of str"),
        ({"facts": {"ops": ("conv", 3)}}, "expected a tuple of str"),
        ({"facts": {}, "origins": {"params": "counted"}}, "origin is given for 'params'"),
        ({"kind": "modell"}, "kind is 'modell', allowed are architecture and model"),
        ({"id": ""}, "must be printable text"),
        ({"id": "a\nb"}, "must be printable text"),
        ({"title": ""}, "the title is empty"),
        ({"text": "a\0b"}, "text holds a NUL"),
        ({"evidence": (replace(LATENCY, fact="latncy_ms"),)}, "did you mean 'latency_ms'"),
        ({"evidence": (replace(LATENCY, fact="family"),)}, "only numbers are measured"),
        ({"evidence": (replace(LATENCY, value=math.nan),)}, "expected a finite number"),
        ({"evidence": (replace(LATENCY, spread=math.inf),)}, "expected a finite number"),
        ({"evidence": (replace(LATENCY, detail={"a": object()}),)}, "is not JSON"),
    ],
)
def test_what_must_not_enter_is_named(store: Store, change: dict[str, object], match: str) -> None:
    good, bad = architecture("good"), replace(architecture(), **{"origins": {}, **change})  # type: ignore[arg-type]
    before = store.stamp()
    with pytest.raises(StoreError, match=match) as caught:
        store.put([good, bad])
    assert "\n" not in str(caught.value)
    assert store.ids() == []
    assert store.stamp() == before


def test_duplicates_are_named(store: Store) -> None:
    with pytest.raises(StoreError, match="toy/alpha comes twice"):
        store.put([architecture(), architecture()])


# ---- opening


def test_missing_directory_junk_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no atlas at .*nothing.db: make one with netatlas build"):
        Store.open(tmp_path / "nothing.db")
    assert not (tmp_path / "nothing.db").exists()
    with pytest.raises(StoreError, match="is a directory"):
        Store.open(tmp_path, "w")
    (tmp_path / "junk").write_bytes(os.urandom(9000))
    (tmp_path / "empty").touch()
    with sqlite3.connect(tmp_path / "foreign") as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    for mode in ("r", "w"):
        with pytest.raises(StoreError, match="is not an atlas"):
            Store.open(tmp_path / "junk", mode)  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="is not an atlas: it is a database of another program"):
            Store.open(tmp_path / "foreign", mode)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="has format 0"):
        Store.open(tmp_path / "empty")
    with Store.open(tmp_path / "empty", "w") as store:  # an empty file is a fresh database to SQLite
        assert store.ids() == []
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot use"):
        Store.open(tmp_path / "file" / "atlas.db", "w")


@pytest.mark.parametrize("name", ["with space.db", "ünï 日本.db", "new\nline.db", "a?b#c%20.db", "deep/er/atlas.db"])
def test_odd_paths(tmp_path: Path, name: str) -> None:
    with Store.open(tmp_path / name, "w") as store:
        store.put([architecture()])
    assert (tmp_path / name).exists()
    with Store.open(tmp_path / name) as store:
        assert store.ids() == ["toy/alpha"]
        store.snapshot(tmp_path / f"{name}.copy")
    with Store.open(tmp_path / f"{name}.copy", immutable=True) as store:
        assert store.ids() == ["toy/alpha"]


def test_newer_format_is_refused(store: Store, path: Path) -> None:
    store._db.execute("PRAGMA user_version = 3")
    store.close()
    for mode in ("r", "w"):
        with pytest.raises(StoreError, match="was written by netatlas format 3, this version reads up to 1: upgrade netatlas"):
            Store.open(path, mode)  # type: ignore[arg-type]


def test_older_format_is_migrated_or_refused(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put([architecture()])
    store.close()
    monkeypatch.setattr(_schema, "FORMAT", 2)
    for mode in ("r", "w"):
        with pytest.raises(StoreError, match=r"format 1.*netatlas build"):
            Store.open(path, mode)  # type: ignore[arg-type]
    monkeypatch.setattr(_schema, "MIGRATIONS", {1: "CREATE TABLE extra (x); -- a; comment\nINSERT INTO extra VALUES (7);"})
    with pytest.raises(StoreError, match="open it once for writing"):
        Store.open(path)
    with Store.open(path, "w") as migrated:
        assert migrated._one("SELECT x FROM extra") == (7,)
        assert migrated.ids() == ["toy/alpha"]
    with Store.open(path) as reader:
        assert reader._one("PRAGMA user_version") == (2,)


def test_failed_migration_changes_nothing(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.close()
    monkeypatch.setattr(_schema, "FORMAT", 2)
    monkeypatch.setattr(_schema, "MIGRATIONS", {1: "CREATE TABLE extra (x);\nINSERT INTO nowhere VALUES (7);"})
    with pytest.raises(StoreError, match="nowhere"):
        Store.open(path, "w")
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'extra'").fetchall()
    db.close()


def test_facts_of_a_later_netatlas(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FACTS, "novelty", FactType("novelty", "count", "", "new here"))
    with Store.open(path, "w") as later:
        later.put([architecture(novelty=3)])
    monkeypatch.delitem(FACTS, "novelty")
    assert store.facts(["toy/alpha"])["toy/alpha"]["novelty"] == 3  # an older program still reads it
    assert store.coverage()["novelty"] == 1


def read_everything(path: Path) -> None:
    with Store.open(path) as store:
        list(store.rows())
        list(store.entries(graph=True))
        store.coverage()


@pytest.mark.parametrize("where", [0.3, 0.6, 0.95])
def test_damaged_file_is_said_to_be_damaged(store: Store, path: Path, where: float) -> None:
    store.put(Entry(f"toy/{i}", "architecture", f"t{i}", "words " * 40, {"params": i}) for i in range(500))
    store.close()
    data = bytearray(path.read_bytes())
    start = int(len(data) * where) // 4096 * 4096
    data[start : start + 12288] = b"\xff" * len(data[start : start + 12288])
    path.write_bytes(data)
    with pytest.raises(StoreError, match="is damaged"):
        read_everything(path)


def test_damaged_graph_is_named(store: Store) -> None:
    store.put([architecture()])
    store._db.execute("UPDATE graphs SET data = substr(data, 1, 30)")
    with pytest.raises(StoreError, match=r"the graph of toy/alpha cannot be read: graph bytes are damaged"):
        store.graph("toy/alpha")


def test_read_only(store: Store, path: Path) -> None:
    store.put([architecture()])
    with Store.open(path) as reader, pytest.raises(StoreError, match="open for reading only"):
        reader.put([model()])


def run_as_nobody(code: str, *arguments: object) -> str:
    """Run ``code`` without the rights of root, which no file mode stops."""
    drop = "import os, sys, netatlas.atlas.store\nif os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
    command = [sys.executable, "-c", drop + textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


ATTEMPT = """
from netatlas.atlas.store import Store
from netatlas.errors import StoreError
from netatlas.records import Entry
path, mode = sys.argv[1:]
try:
    with Store.open(path, mode) as store:
        if mode == "w": store.put([Entry("toy/b", "architecture", "b")])
        print(*store.ids())
except StoreError as error:
    print("StoreError:", error)
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder everybody may enter; those of pytest are for its user alone, and it sees to that at every start."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.name != "posix", reason="POSIX file modes")
def test_read_only_folder(public: Path) -> None:
    path = public / "atlas.db"
    with Store.open(path, "w") as store:
        store.put([architecture()])
    public.chmod(0o555)
    path.chmod(0o444)
    try:
        assert run_as_nobody(ATTEMPT, path, "r") == "toy/alpha\n"
        message = run_as_nobody(ATTEMPT, path, "w")
        assert message.startswith("StoreError: cannot")
        assert "read-only" in message
        assert run_as_nobody(ATTEMPT, public / "new.db", "w").startswith("StoreError: cannot open")
        assert run_as_nobody(ATTEMPT, public / "folder" / "new.db", "w").startswith("StoreError: cannot use")
    finally:
        public.chmod(0o755)


def test_live_reader_sees_writes_and_a_sealed_one_needs_no_lock(store: Store, path: Path) -> None:
    reader = Store.open(path)
    store.put([architecture()])
    assert reader.ids() == ["toy/alpha"]


def test_full_disk_keeps_what_was_acknowledged(store: Store, path: Path) -> None:
    store.put([architecture()])
    (pages,) = store._one("PRAGMA page_count")
    store._db.execute(f"PRAGMA max_page_count = {pages + 3}")
    stamp = store.stamp()
    with pytest.raises(StoreError, match="the disk is full; nothing of this write was kept"):
        store.put(Entry(f"toy/{i}", "architecture", "t", "words " * 400) for i in range(100))
    assert store.ids() == ["toy/alpha"]
    assert store.stamp() == stamp
    store._db.execute("PRAGMA max_page_count = 1000000")
    store.put([architecture("beta")])  # the connection is still good
    assert Store.open(path).ids() == ["toy/alpha", "toy/beta"]


# ---- several at once


def test_locked_file_names_the_writer(store: Store, path: Path) -> None:
    code = """
    import sqlite3, sys, time
    db = sqlite3.connect(sys.argv[1], isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    time.sleep(60)
    """
    other = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), path], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        who = rf"process {other.pid} \(.+\)" if Path("/proc/locks").exists() else "another process"
        impatient = Store.open(path, "w", busy_timeout_s=0.1)
        with pytest.raises(StoreError, match=rf"is locked by {who}, waited 0.1 s"):
            impatient.put([architecture()])
        assert impatient.ids() == []  # reading goes on
    finally:
        other.kill()
        other.communicate()
    store.put([architecture()])  # the lock went with its holder


def test_two_writers_and_readers(store: Store, path: Path) -> None:
    def write(name: str) -> None:
        with Store.open(path, "w", busy_timeout_s=30) as mine:
            for i in range(15):
                mine.put([architecture(f"{name}{i}"), model(f"{name}{i}")])

    torn: list[object] = []
    done = threading.Event()

    def read() -> None:
        with Store.open(path, busy_timeout_s=30) as mine:
            while not done.is_set():
                ids = [row[0] for row in mine.rows()]
                if len(ids) % 2:
                    torn.append(ids)

    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert not torn
    assert len(store) == 60


def test_one_store_from_many_threads(store: Store) -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for i in range(10):
                store.put([architecture(f"{name}{i}")])
                assert store.entry(f"toy/{name}{i}") is not None
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(store) == 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_after_open(store: Store, path: Path) -> None:
    store.put([architecture()])

    def child() -> None:
        store.put([architecture("child")])
        os._exit(0 if store.ids() == ["toy/alpha", "toy/child"] else 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    store.put([architecture("parent")])
    assert len(Store.open(path)) == 3


KILLED = """
import sys
from netatlas.atlas.store import Store
from netatlas.records import Entry
with Store.open(sys.argv[1], "w") as store:
    start = len(store)
    for i in range(start, start + 5000, 2):
        store.put([Entry(f"toy/{i:05}", "architecture", "t", "w " * 300, {"params": i}), Entry(f"toy/{i + 1:05}", "model", "t")])
        print(i, flush=True)
"""


def test_kill_loses_nothing_acknowledged(path: Path) -> None:
    reported = -2
    for wait in (0.02, 0.07, 0.13, 0.29):
        process = subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        reported = int(process.stdout.readline())
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        lines = process.communicate()[0].splitlines()
        reported = int(lines[-1]) if lines else reported
        with Store.open(path) as store:
            ids = store.ids()
            assert len(ids) >= reported + 2
            assert len(ids) % 2 == 0
            assert ids == [f"toy/{i:05}" for i in range(len(ids))]
            assert store._one("PRAGMA integrity_check") == ("ok",)


def test_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="was closed"):
        store.ids()


# ---- the build lock


def test_build_lock(path: Path) -> None:
    heard: list[str] = []
    with build_lock(path):
        with pytest.raises(StoreError, match=rf"is being built by process {os.getpid()}: wait"), build_lock(path):
            pass

        def second() -> None:
            with build_lock(path, wait=True, waiting=heard.append):
                heard.append("in")

        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        assert heard == [f"process {os.getpid()}"]
    thread.join(10)
    assert heard[-1] == "in"


def test_build_lock_ends_with_its_process(path: Path) -> None:
    code = """
    import sys, time
    from pathlib import Path
    from netatlas.atlas.lock import build_lock
    with build_lock(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match=f"process {process.pid}"), build_lock(path):
        pass
    process.kill()
    process.communicate()
    with build_lock(path):
        pass


# ---- builds


def test_put_build_replaces_what_the_name_gave_before(store: Store) -> None:
    from netatlas.atlas._door import pack

    store.put_build("toy", "alpha", "1", [pack(architecture()), pack(model("alpha", "x")), pack(model("alpha", "y"))])
    store.add_evidence("toy/alpha", LATENCY)
    store.put_build("toy", "alpha", "2", [pack(architecture(top1=80.0)), pack(model("alpha", "y"))])
    assert store.ids() == ["toy/alpha", "toy/alpha.y"]
    assert store.facts(["toy/alpha"])["toy/alpha"]["latency_ms"] == 3.25
    store.put_build("toy", "alpha", "3", reason="no default", message="cannot")
    assert store.ids() == []
    row = store.builds("toy")["alpha"]
    assert (row.version, row.reason, row.message) == ("3", "no default", "cannot")
    store.put_build("toy", "alpha", "3", [pack(architecture())])
    assert store.builds("toy")["alpha"].reason is None
    store.put([Entry("toy/mine", "architecture", "mine")])
    store.remove_builds("toy", ["alpha", "never"])
    assert store.ids() == ["toy/mine"]
    assert store.builds("toy") == {}


# ---- snapshots


def fill(path: Path, order: list[int], detour: bool) -> Store:
    store = Store.open(path, "w")
    entries = [replace(architecture(f"n{i}", 4 + i % 3), evidence=(LATENCY,) if i % 2 else ()) for i in range(12)]
    if detour:
        store.put([architecture("gone", 99), *entries[:5]])
        store.put([replace(entries[3], facts={"params": 1, "year": 1999}, origins={"year": "nowhere"})])
        store.remove(["toy/gone"])
    for i in order:
        store.put([entries[i]])
        store.put_vectors("wl" if i % 2 else "other", {f"toy/n{i}": bytes([i])})
    if detour:
        store.put_vectors("other", {f"toy/n{i}": bytes([i]) for i in range(0, 12, 2)})
    store.set_meta("timm", "1.0")
    return store


def test_snapshot_depends_on_content_alone(tmp_path: Path) -> None:
    one = fill(tmp_path / "one.db", list(range(12)), False)
    two = fill(tmp_path / "two.db", list(reversed(range(12))), True)
    one.snapshot(tmp_path / "one.snap")
    two.snapshot(tmp_path / "two.snap")
    data = (tmp_path / "one.snap").read_bytes()
    assert data == (tmp_path / "two.snap").read_bytes()
    with Store.open(tmp_path / "one.snap", immutable=True) as snap:
        assert list(snap.rows()) == sorted(one.rows())
        for entry_id in one.ids():
            assert_same(snap.entry(entry_id, graph=True), one.entry(entry_id, graph=True))  # type: ignore[arg-type]
        assert snap.vectors("wl") == one.vectors("wl")
        assert snap.hashes() == one.hashes()
        assert snap._one("PRAGMA integrity_check") == ("ok",)
        assert snap.stamp() != one.stamp()
        snap.snapshot(tmp_path / "again.snap")
    assert (tmp_path / "again.snap").read_bytes() == data
    with Store.open(tmp_path / "one.snap", "w") as store:  # a snapshot is an atlas like any other
        store.put([architecture("more")])
        store.snapshot(tmp_path / "more.snap")
    with Store.open(tmp_path / "more.snap") as more:
        assert len(more) == 13
        assert more.stamp() != Store.open(tmp_path / "again.snap").stamp()
    assert not [p for p in tmp_path.iterdir() if "part" in p.name]


def test_failed_snapshot_leaves_the_old_one(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netatlas.atlas import _snapshot

    (tmp_path / "snap").write_bytes(b"precious")
    monkeypatch.setattr(_snapshot, "_COPIES", ("INSERT INTO nowhere VALUES (1)",))
    with pytest.raises(StoreError, match="nowhere"):
        store.snapshot(tmp_path / "snap")
    assert (tmp_path / "snap").read_bytes() == b"precious"
    assert {p.name for p in tmp_path.iterdir()} <= {"snap", "atlas.db", "atlas.db-wal", "atlas.db-shm"}


def test_errors_are_one_line_and_ours(store: Store) -> None:
    with pytest.raises(NetatlasError) as caught:
        store._all("SELECT * FROM nowhere")
    assert "no such table" in str(caught.value)
    assert json.dumps(str(caught.value)).count("\\n") == 0
