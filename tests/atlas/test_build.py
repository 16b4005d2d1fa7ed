"""Builds: incremental, the same by every executor, and equal to an uninterrupted build after any number of kills."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netatlas.atlas import build as build_module
from netatlas.atlas.build import build
from netatlas.atlas.build_report import BuildReport, Step
from netatlas.atlas.store import Store
from netatlas.atlas.vectors import DEFAULT, encode
from netatlas.errors import ConfigError, SourceError, StoreError
from netatlas.graph.graph import MAX_RANK, Graph, Scope
from netatlas.graph.ops import ATTRIBUTES, OP_ID
from netatlas.records import Entry, Evidence
from netatlas.registry import Spec
from netatlas.sources.base import SOURCES, Source

NAP = float(os.environ.get("TOY_NAP", "0"))


def toy_graph(length: int) -> Graph:
    op = np.array([OP_ID["input"], *[OP_ID["linear"]] * length])
    g = len(op)
    return Graph(
        op=op, attrs=np.zeros((g, len(ATTRIBUTES))), shape=np.ones((g, MAX_RANK)), params=np.arange(g), macs=np.zeros(g),
        scope=np.zeros(g), edges=np.array([(i, i + 1) for i in range(length)]).reshape(-1, 2), scopes=(Scope("", "Toy"),),
    )  # fmt: skip


@SOURCES.register("toy")
class Toy(Source):
    """Sixteen names: n03 and n11 fail, the others give a network and two models; if ``deadly``, n07 ends its process."""

    name = "toy"
    count = 16
    lib_version = "1"

    def __init__(self, *, offset: int = 0, deadly: bool = False) -> None:
        self.offset, self.deadly = offset, deadly

    def names(self) -> list[str]:
        return [f"n{i:02}" for i in range(self.count)]

    def version(self) -> str:
        return self.lib_version

    def read(self, name: str) -> list[Entry]:
        time.sleep(NAP)
        number = int(name[1:]) + self.offset
        if number in (3, 11):
            raise SourceError(f"{name} has no default", reason="no default" if number == 3 else "too odd")
        if number == 7 and self.deadly:
            os._exit(3)
        facts = {"params": number, "top1": 50.0 + number, "ops": ("input", "linear"), "source": "toy"}
        network = Entry(f"toy/{name}", "architecture", name, f"toy {name}", facts, {"params": "counted"}, toy_graph(number % 5))
        table = (Evidence("top1", 50.0 + number, "published", "a table"),)
        return [replace(network, evidence=table), *(self.model(name, tag) for tag in "ab")]

    def model(self, name: str, tag: str) -> Entry:
        return Entry(f"toy/{name}.{tag}", "model", f"{name}.{tag}", facts={"architecture": f"toy/{name}", "tag": tag})


DEADLY = Spec("toy", {"deadly": True})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "atlas.db"


def content(path: Path) -> bytes:
    """Bytes that are equal for equal atlases."""
    copy = path.with_name("content.snap")
    with Store.open(path) as store:
        store.snapshot(copy)
    return copy.read_bytes()


def test_build_reads_everything_and_counts_failures(path: Path) -> None:
    steps: list[Step] = []

    def check_written(step: Step) -> None:
        steps.append(step)
        with Store.open(path) as store:
            assert step.name in store.builds("toy")

    report = build(path, ["toy"], executor="serial", progress=check_written)
    assert report.built == {"toy": 14}
    assert {name: failure.reason for name, failure in report.failed.items()} == {"toy/n03": "no default", "toy/n11": "too odd"}
    assert report.reasons == {"no default": ["toy/n03"], "too odd": ["toy/n11"]}
    assert report.entries == 42
    assert [(step.done, step.total) for step in steps] == [(i, 16) for i in range(1, 17)]
    assert sum(step.entries for step in steps) == 42
    assert report.rate is not None
    assert report.rate > 0
    with Store.open(path) as store:
        assert len(store) == 42
        assert store.builds("toy")["n03"].message == "n03 has no default"
        assert store.graph("toy/n04.a") is not None
        assert set(store.vectors(DEFAULT)) == {f"toy/n{i:02}" for i in range(16) if i not in (3, 11)}
        assert store.vectors(DEFAULT)["toy/n04"] == encode(toy_graph(4))[DEFAULT]


EXECUTORS = ["loky", pytest.param("ray", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", EXECUTORS)
def test_other_executors_build_the_same(path: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip(name, reason=f"needs the extra of {name!r}")
    report = build(path, [DEADLY], executor=Spec(name, {"workers": 2}))
    assert report.built == {"toy": 13}
    assert report.workers == 2
    assert report.reasons["worker died"] == ["toy/n07"]
    build(tmp_path / "serial.db", ["toy"], executor="serial")
    with Store.open(tmp_path / "serial.db", "w") as store:  # the one name that does what it likes where it likes
        row = Store.open(path).builds("toy")["n07"]
        store.put_build("toy", "n07", row.version, reason=row.reason, message=row.message or "")
    assert content(path) == content(tmp_path / "serial.db")


def test_builds_are_incremental(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(path, ["toy"], executor="serial", limit=5).built == {"toy": 4}
    second = build(path, ["toy"], executor="serial")
    assert (second.built, second.unchanged, second.failed_before) == ({"toy": 10}, {"toy": 4}, {"toy": 1})
    assert list(second.failed) == ["toy/n11"]
    stamp = Store.open(path).stamp()
    third = build(path, ["toy"], executor="serial")
    assert (third.built, third.unchanged, third.failed_before, third.failed) == ({}, {"toy": 14}, {"toy": 2}, {})
    assert Store.open(path).stamp() == stamp
    retried = build(path, ["toy"], executor="serial", retry_failed=True)
    assert (retried.built, set(retried.failed)) == ({}, {"toy/n03", "toy/n11"})
    assert build(path, ["toy"], executor="serial", rebuild=True).built == {"toy": 14}
    monkeypatch.setattr(build_module, "READING", 2)
    assert build(path, ["toy"], executor="serial").built == {"toy": 14}
    monkeypatch.setattr(Toy, "lib_version", "2")
    changed = build(path, ["toy"], executor="serial")
    assert (changed.built, set(changed.failed)) == ({"toy": 14}, {"toy/n03", "toy/n11"})
    assert len(Store.open(path)) == 42


def test_measurements_survive_a_new_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(path, ["toy"], executor="serial", match="n00")
    with Store.open(path, "w") as store:
        store.add_evidence("toy/n00", Evidence("latency_ms", 2.5, "median", "netatlas measure"))
    monkeypatch.setattr(Toy, "lib_version", "2")
    build(path, ["toy"], executor="serial", match="n00")
    with Store.open(path) as store:
        assert store.facts(["toy/n00"])["toy/n00"]["latency_ms"] == 2.5
        assert sorted(e.fact for e in store.evidence("toy/n00")) == ["latency_ms", "top1"]


def test_match_and_vanished_names(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(path, ["toy"], executor="serial", match="n0[0-4]").built == {"toy": 4}
    build(path, ["toy"], executor="serial")
    with Store.open(path, "w") as store:
        store.put([Entry("toy/mine", "architecture", "added by hand")])
    monkeypatch.setattr(Toy, "count", 10)
    assert build(path, ["toy"], executor="serial", match="n0*").removed == {}
    assert build(path, ["toy"], executor="serial", limit=3).removed == {}
    report = build(path, ["toy"], executor="serial")
    assert report.removed == {"toy": 6}
    ids = Store.open(path).ids("architecture")
    assert ids == ["toy/mine", *(f"toy/n{i:02}" for i in range(10) if i != 3)]
    assert build(path, ["toy"], executor="serial", match="nothing*").built == {}


def test_source_without_names_is_not_taken_at_its_word(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(path, ["toy"], executor="serial")
    monkeypatch.setattr(Toy, "count", 0)
    with pytest.raises(SourceError, match="'toy' lists no names"):
        build(path, ["toy"], executor="serial")
    assert len(Store.open(path)) == 42


def test_duplicate_ids_are_a_failure_of_the_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "model", lambda _self, _name, _tag: Entry("toy/same", "model", "same"))
    report = build(path, ["toy"], executor="serial", limit=2)
    assert {failure.reason for failure in report.failed.values()} == {"duplicate id"}
    assert "gave the id toy/same twice" in report.failed["toy/n00"].message
    assert Store.open(path).ids() == []


def test_bad_entries_are_failures_and_misuse_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "read", lambda _self, name: [Entry(f"toy/{name}", "architecture", name, facts={"parms": 3})])
    report = build(path, ["toy"], executor="serial", limit=1)
    assert "unknown fact 'parms'" in report.failed["toy/n00"].message
    with pytest.raises(ConfigError, match=r"no sources named 'tooy'.*did you mean 'toy'"):
        build(path, ["tooy"])
    with pytest.raises(ConfigError, match="unknown parameter 'ofset': did you mean 'offset'"):
        build(path, [Spec("toy", {"ofset": 1})])
    with pytest.raises(ConfigError, match="no executors named 'lokey'"):
        build(path, ["toy"], executor="lokey")
    with pytest.raises(SourceError, match="named twice: toy, toy"):
        build(path, ["toy", "toy"])


def test_source_parameters_reach_the_workers(path: Path) -> None:
    pytest.importorskip("loky", reason="needs the extra 'processes'")
    build(path, [Spec("toy", {"offset": 100})], match="n00", executor=Spec("loky", {"workers": 1}))
    assert Store.open(path).facts(["toy/n00"])["toy/n00"]["params"] == 100


def test_full_disk_ends_the_build_and_keeps_the_rest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put, written = Store.put_build, []

    def put_until_full(self: Store, *args: object, **options: object) -> None:
        if len(written) == 4:
            (pages,) = self._one("PRAGMA page_count")
            self._db.execute(f"PRAGMA max_page_count = {pages}")
        put(self, *args, **options)  # type: ignore[arg-type]
        written.append(args[1])

    monkeypatch.setattr(Store, "put_build", put_until_full)
    monkeypatch.setattr(Toy, "model", lambda _s, name, tag: Entry(f"toy/{name}.{tag}", "model", name, "long " * 4000))
    with pytest.raises(StoreError, match="disk is full"):
        build(path, ["toy"], executor="serial")
    assert list(Store.open(path).builds("toy")) == written


# ---- interruptions


SCRIPT = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background passes SIGINT on as ignored
sys.path.insert(0, {folder!r})
import test_build
from netatlas.atlas.build import build
from netatlas.errors import NetatlasError
from netatlas.registry import Spec
if __name__ == "__main__":
    try:
        workers = Spec("loky", {{"workers": 2}})
        build(sys.argv[1], [test_build.DEADLY], executor=workers, progress=lambda step: print(step.name, flush=True))
        print("finished", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(130)
    except NetatlasError as error:
        print(error, flush=True)
        sys.exit(error.exit_code)
"""


Start = Callable[[Path, float], "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a build of the toy source, two workers, in a process group of its own; ends it if the test did not."""
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(textwrap.dedent(SCRIPT.format(folder=str(Path(__file__).parent))))
    processes: list[subprocess.Popen[str]] = []

    def run(path: Path, nap: float) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, script, path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TOY_NAP": str(nap), "OMP_NUM_THREADS": "1"},
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        if process.stdout is not None and not process.stdout.closed:
            process.communicate()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, start: Start) -> bytes:
    """Content of an uninterrupted build."""
    pytest.importorskip("loky", reason="needs the extra 'processes'")
    reference = tmp_path_factory.mktemp("reference") / "atlas.db"
    process = start(reference, 0)
    output, errors = process.communicate(timeout=120)
    assert output.splitlines()[-1] == "finished", errors
    return content(reference)


@pytest.mark.slow
def test_killed_builds_end_equal_to_an_uninterrupted_one(path: Path, start: Start, finished: bytes) -> None:
    rng = random.Random(5)
    reported: set[str] = set()
    for _ in range(5):
        process = start(path, 0.15)
        assert process.stdout is not None
        lines = [process.stdout.readline()]  # at least one more name each time, then a random moment
        time.sleep(rng.uniform(0.0, 0.5))
        process.send_signal(signal.SIGKILL)
        lines += process.communicate()[0].splitlines()
        # A worker that starts while its parent dies may print that it could not.
        names = {line.strip() for line in lines if re.fullmatch(r"n\d\d", line.strip())}
        assert not names & reported, "a name that was reported done was read again"
        reported |= names
        with Store.open(path) as store:
            assert reported <= set(store.builds("toy")), "a reported name was lost"
            assert store._one("PRAGMA integrity_check") == ("ok",)
    assert len(reported) >= 5
    process = start(path, 0)
    output, errors = process.communicate(timeout=120)
    assert output.splitlines()[-1] == "finished", errors
    assert not set(output.split()) & reported
    assert content(path) == finished


def test_ctrl_c_keeps_what_was_done(path: Path, start: Start, finished: bytes) -> None:
    process = start(path, 0.15)
    assert process.stdout is not None
    names = [process.stdout.readline().strip() for _ in range(2)]
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert output.splitlines()[-1] == "interrupted"
    names += output.split()[:-1]
    assert set(names) <= set(Store.open(path).builds("toy"))
    assert start(path, 0).communicate(timeout=120)[0].splitlines()[-1] == "finished"
    assert content(path) == finished


def test_second_build_says_who_is_first_or_waits(path: Path, start: Start) -> None:
    pytest.importorskip("loky", reason="needs the extra 'processes'")
    first = start(path, 0.2)
    assert first.stdout is not None
    first.stdout.readline()
    with pytest.raises(StoreError, match=f"is being built by process {first.pid}: wait for it to end"):
        build(path, ["toy"], executor="serial")
    heard: list[str] = []
    report = build(path, ["toy"], executor="serial", wait=True, waiting=heard.append)
    assert heard == [f"process {first.pid}"]
    assert report.built == {}
    assert report.unchanged == {"toy": 13}
    assert report.failed_before == {"toy": 3}
    assert first.communicate(timeout=60)[0].splitlines()[-1] == "finished"


def test_reading_and_adding_go_on_during_a_build(path: Path) -> None:
    def add(step: Step) -> None:
        with Store.open(path, "w") as other:
            other.put([Entry(f"mine/{step.name}", "architecture", "mine")])

    thread = threading.Thread(target=lambda: build(path, ["toy"], executor="serial", progress=add))
    thread.start()
    thread.join()
    assert len(Store.open(path)) == 42 + 16


# ---- the report


def test_report_is_a_plain_table(path: Path) -> None:
    text = str(build(path, ["toy"], executor="serial"))
    assert "1 failed: no default (toy/n03)" in text
    assert "42 entries written in" in text
    assert "names per second and worker" in text
    header, row, *_ = text.splitlines()
    assert row.split() == ["toy", "14", "0", "2", "0", "0"]
    assert len(header) == len(row)
    assert max(map(len, text.splitlines())) < 140


def test_empty_report() -> None:
    assert str(BuildReport()).startswith("nothing to build\n0 entries written")
    assert BuildReport().rate is None
