"""One contract for all executors: same function, same items, same outcomes, whatever some items do to their process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netatlas.errors import ConfigError, MissingExtraError, TraceError
from netatlas.execution import base
from netatlas.execution.base import EXECUTORS, TIMED_OUT, WORKER_DIED, Executor, Failure, Outcome, available_cores

NEEDS = {"loky": "loky", "ray": "ray"}
MARKS = {"ray": [pytest.mark.slow]}
NAMES = [pytest.param(name, marks=MARKS.get(name, [])) for name in EXECUTORS]


def make(name: str, **options: Any) -> Executor:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"needs the extra of {name!r}")
    if name != "serial":
        options = {"workers": 2, **options}
    return EXECUTORS.build(name, **options)


def work(item: int) -> int:
    """Squares; fails at multiples of five with an exception that has a reason and needs care to pickle."""
    if item % 5 == 0:
        raise TraceError(f"item {item}\nis bad", reason="multiple of five")
    if item % 7 == 0:
        raise MissingExtraError(f"item {item}", "seven")
    return item * item


def by_item(outcomes: Iterator[Outcome[Any, Any]]) -> dict[Any, Outcome[Any, Any]]:
    found: dict[Any, Outcome[Any, Any]] = {}
    for outcome in outcomes:
        assert outcome.item not in found, f"{outcome.item} came twice"
        found[outcome.item] = outcome
    return found


@pytest.mark.parametrize("name", NAMES)
def test_same_outcomes_from_all(name: str) -> None:
    outcomes = by_item(make(name).run(work, range(1, 31)))
    assert set(outcomes) == set(range(1, 31))
    for item, outcome in outcomes.items():
        assert outcome.seconds >= 0
        assert outcome.peak_rss is None or outcome.peak_rss > 1e6
        if item % 5 == 0:
            assert outcome.value is None
            assert outcome.error is not None
            assert (outcome.error.reason, outcome.error.message) == ("multiple of five", f"item {item} is bad")
            assert "in work" in outcome.error.detail
        elif item % 7 == 0:
            assert outcome.error is not None
            assert outcome.error.reason == "MissingExtraError"
        else:
            assert (outcome.value, outcome.error) == (item * item, None)


@pytest.mark.parametrize("name", NAMES)
def test_odd_inputs(name: str) -> None:
    executor = make(name)
    assert list(executor.run(work, [])) == []
    offset = 3
    closures = by_item(executor.run(lambda item: item + offset, iter([1, 2])))  # a closure, and a generator of items
    assert {item: outcome.value for item, outcome in closures.items()} == {1: 4, 2: 5}
    outcomes = list(executor.run(unfriendly, ["lambda", "lock", "exit", "fine", "none"]))
    values = {o.item: o for o in outcomes}
    assert values["fine"].value == "fine"
    assert values["none"].error is None
    if executor.isolates:  # what cannot cross a process border costs only its item
        assert all(values[item].error is not None for item in ("lambda", "lock"))


def unfriendly(item: str) -> Any:
    if item == "exit" and os.environ.get("OMP_NUM_THREADS") == "1" and os.getpid() != MAIN:
        sys.exit(3)
    return {"lambda": lambda: 1, "lock": threading.Lock(), "none": None}.get(item, item)


MAIN = os.getpid()


def die(item: int) -> int:
    """Item 3 always ends its process, item 6 hangs, the others take a moment."""
    if item == 3:
        os._exit(9)
    if item == 6:
        time.sleep(600)
    time.sleep(0.02)
    return item


@pytest.mark.parametrize("name", NAMES)
def test_death_and_time_limit_cost_only_their_item(name: str) -> None:
    executor = make(name, timeout_s=3.0)
    if not executor.isolates:
        executor = make(name, timeout_s=0.2)
        outcomes = by_item(executor.run(die, [1, 2, 4, 5, 6, 7]))
    else:
        outcomes = by_item(executor.run(die, range(1, 10)))
        assert set(outcomes) == set(range(1, 10))
        error = outcomes.pop(3).error
        assert error is not None
        assert error.reason == WORKER_DIED
    late = outcomes.pop(6)
    assert late.value is None
    assert late.error is not None
    assert late.error.reason == TIMED_OUT
    assert late.seconds < 30
    assert {item: (o.value, o.error) for item, o in outcomes.items()} == {item: (item, None) for item in outcomes}
    assert len(outcomes) >= 5


def die_once(folder: Path) -> str:
    """Kills its process the first time: an innocent victim of the out-of-memory killer."""
    try:
        (folder / "been here").touch(exist_ok=False)
    except FileExistsError:
        return "second life"
    os.kill(os.getpid(), signal.SIGKILL)
    return "unreachable"


@pytest.mark.parametrize("name", [p for p in NAMES if p.values[0] != "serial"])
def test_a_victim_gets_a_second_life(name: str, tmp_path: Path) -> None:
    [outcome] = make(name).run(die_once, [tmp_path])
    assert (outcome.value, outcome.error) == ("second life", None)


def environment(_item: int) -> tuple[int, str | None]:
    time.sleep(0.1)
    return os.getpid(), os.environ.get("OMP_NUM_THREADS")


def test_loky_uses_one_thread_and_renews_its_workers() -> None:
    values = [o.value for o in make("loky", recycle_after=3).run(environment, range(14))]
    assert {threads for _, threads in values} == {"1"}
    assert os.getpid() not in {pid for pid, _ in values}
    assert 4 <= len({pid for pid, _ in values}) <= 6  # three pools of two
    small = [o.value for o in make("loky", workers=1, max_rss_mb=1).run(environment, range(3))]
    assert len({pid for pid, _ in small}) == 3


@pytest.mark.parametrize("name", ["loky"])
def test_leaving_early_ends_the_workers(name: str) -> None:
    outcomes = make(name).run(environment, range(1000))
    pid = next(outcomes).value[0]
    assert is_alive(pid)
    outcomes.close()  # type: ignore[attr-defined]
    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    try:
        return "Z (zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


SCRIPT = textwrap.dedent("""
    import os, signal, sys, time
    from netatlas.execution.base import EXECUTORS
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background passes SIGINT on as ignored
    def nap(item):
        os.write(1, f"worker {os.getpid()}\\n".encode())  # one write: lines of two workers never interleave
        time.sleep(600)
    if __name__ == "__main__":
        try:
            for _ in EXECUTORS.build(sys.argv[1], workers=2).run(nap, range(4)): pass
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            sys.exit(130)
""")


def start(tmp_path: Path, name: str, workers: int = 2) -> tuple[subprocess.Popen[str], list[int]]:
    script = tmp_path / "naps.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, script, name], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(workers)]
    assert all(line.startswith("worker ") for line in lines), lines
    return process, [int(line.split()[1]) for line in lines]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_the_workers_and_propagates(tmp_path: Path) -> None:
    pytest.importorskip("loky", reason="needs the extra 'processes'")
    process, pids = start(tmp_path, "loky")
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: every process of the group gets it
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in output
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    pytest.importorskip("loky", reason="needs the extra 'processes'")
    process, pids = start(tmp_path, "loky")
    process.kill()
    process.wait()
    assert wait_until(lambda: not any(is_alive(pid) for pid in pids), 10)
    process.stdout.close()  # type: ignore[union-attr]


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_serial_lets_ctrl_c_through_and_checks_its_thread() -> None:
    def interrupt(_item: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(make("serial").run(interrupt, [1]))
    caught: list[Exception] = []

    def elsewhere() -> None:
        try:
            list(make("serial", timeout_s=1.0).run(work, [1]))
        except ConfigError as error:
            caught.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


CAUGHT: list[Exception] = []


def stubborn(_item: int) -> int:
    """Catches every exception it can, and goes on."""
    try:
        time.sleep(5)
    except Exception as error:
        CAUGHT.append(error)
    CAUGHT.append(RuntimeError("went on to the end"))
    return 1


def test_serial_time_limit_passes_broad_handlers() -> None:
    CAUGHT.clear()
    [outcome] = make("serial", timeout_s=0.2).run(stubborn, [1])
    assert outcome.error is not None
    assert outcome.error.reason == TIMED_OUT
    assert CAUGHT == []


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("serial", {"timeout_s": 0}, "timeout_s must be more than 0 seconds, got 0"),
        ("loky", {"workers": 0}, "workers must be at least 1, got 0"),
        ("loky", {"recycle_after": 0}, "recycle_after must be at least 1 item, got 0"),
        ("loky", {"wokers": 2}, "unknown parameter 'wokers': did you mean 'workers'"),
        ("lokey", {}, "no executors named 'lokey'.*did you mean 'loky'"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        EXECUTORS.build(name, **options)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "junk"}, None),
        ({}, None),
    ],
)
def test_cgroup_quota(tmp_path: Path, files: dict[str, str], cores: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert base._cgroup_quota(tmp_path) == cores


def test_cores_respect_affinity() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, [min(before)])
            assert available_cores() == 1
        finally:
            os.sched_setaffinity(0, before)


def test_failure_of_an_exception_without_words() -> None:
    assert Failure.of(ValueError()).message == "ValueError"
    assert Failure.of(ValueError("a\n  b")).message == "a b"
