"""The harness: figures kept and used again only while what they measured is unchanged; tables against their runs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from small_atlas import SmallAtlas

from netatlas.errors import ConfigError, StoreError
from netatlas.evaluation.fingerprint import code_mark, task_mark
from netatlas.evaluation.journal import Journal
from netatlas.evaluation.nar.comparison import compare_encoders
from netatlas.evaluation.nar.measure import OPPONENT, Contender, Run, build, evaluate, fuse, measure, plan
from netatlas.evaluation.nar.protocols import score, similarities, task
from netatlas.evaluation.nar.report import comparable, compared, mean_of, of_method, tables
from netatlas.evaluation.tables import Table
from netatlas.registry import Spec

ATLAS = SmallAtlas()
HISTOGRAM = Contender("histogram", "wl", {"rounds": 0, "vocabulary": "coarse"}, seeds=1)
BEST = Contender("best", "wl", choices=tuple({"rounds": r, "vocabulary": "coarse"} for r in range(3)), seeds=1)


def run(journal, contenders=(OPPONENT, HISTOGRAM), protocols=("P2",), seeds=1, splits=None, **options):
    steps = []
    units = plan(dict.fromkeys(protocols, contenders), seeds, splits)
    runs = evaluate(units, lambda: ATLAS, journal=journal, limit=60, progress=steps.append, **options)
    return runs, steps


def without_times(runs):
    timed = ("seconds", "ms", "ms_again", "query_ms")
    return [(r.protocol, r.split, r.name, r.seed, {k: v for k, v in r.figures.items() if k not in timed}) for r in runs]


def test_a_second_run_takes_everything_from_the_journal(tmp_path):
    path = tmp_path / "x.journal"
    first, steps = run(Journal(path, {}))
    assert [s.resumed for s in steps] == [False] * 6
    assert [(s.done, s.total) for s in steps] == [(i, 6) for i in range(1, 7)]
    second, steps = run(Journal(path, {}))
    assert all(s.resumed for s in steps)
    assert second == first


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "x.journal"

    class Stop(BaseException):
        pass

    def stop(step):
        if step.done == 2:
            raise Stop

    units = plan({"P2": (OPPONENT, HISTOGRAM)}, 1)
    with pytest.raises(Stop):
        evaluate(units, lambda: ATLAS, journal=Journal(path, {}), limit=60, progress=stop)
    with path.open("ab") as file:
        file.write(b'{"key": "P2/0/torn')  # as a kill in the middle of a write leaves it
    resumed, steps = run(Journal(path, {}))
    assert [s.resumed for s in steps] == [True, True, False, False, False, False]
    assert without_times(resumed) == without_times(run(Journal(None, {}))[0])
    assert all(s.resumed for s in run(Journal(path, {}))[1])


def test_a_bound_on_time_leaves_what_was_kept(tmp_path):
    path = tmp_path / "x.journal"
    run(Journal(path, {}), splits=1)
    runs, steps = run(Journal(path, {}), minutes=0)
    assert {r.split for r in runs} == {0}
    assert len(steps) == 2


def test_other_graphs_other_parameters_and_other_code_are_measured_anew(tmp_path, monkeypatch):
    path = tmp_path / "x.journal"
    run(Journal(path, {}), splits=1)
    changed = replace(HISTOGRAM, params={"rounds": 2, "vocabulary": "coarse"})  # under the old name
    assert [s.resumed for s in run(Journal(path, {}), (OPPONENT, changed), splits=1)[1]] == [True, False]
    units = plan({"P2": (OPPONENT,)}, 1, 1)
    evaluate(units, lambda: ATLAS, journal=Journal(path, {}), limit=10, progress=(fewer := []).append)
    assert not fewer[0].resumed
    monkeypatch.setattr("netatlas.evaluation.nar.measure.code_mark", lambda module: "another")
    assert not any(s.resumed for s in run(Journal(path, {}), splits=1)[1])


def test_code_marks_ignore_comments_and_follow_imports(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "marked").mkdir()
    parts = {"__init__": "", "a": "from marked.b import x\n\ndef f():\n    return x\n", "b": "x = 1\n", "c": "x = 1\n"}

    def mark(**changed):
        for name, text in {**parts, **changed}.items():
            (tmp_path / "marked" / f"{name}.py").write_text(text)
        code_mark.cache_clear()
        return code_mark("marked.a")

    first = mark()
    assert mark(a='"""Says."""\nfrom marked.b import x  # why\n\n\ndef f():\n    """Gives."""\n    return x\n') == first
    assert mark(c="x = 2\n") == first
    assert mark(b="x = 2\n") != first
    assert mark(a="from marked.b import x\n\ndef f():\n    return -x\n") != first
    assert code_mark("no.such.module") == ""
    code_mark.cache_clear()


def test_task_marks_see_graphs_families_and_rules():
    found = task("P2", 0, ATLAS, limit=60)
    marks = {task_mark(found)}
    item = found.items[0]
    for other in (
        replace(found, items=[replace(item, family="x"), *found.items[1:]]),
        replace(found, items=[replace(item, graph=found.items[1].graph), *found.items[1:]]),
        replace(found, relevant=(found.relevant[0] | {found.gallery[0][-1]}, *found.relevant[1:])),
        replace(found, training=found.training[1:]),
    ):
        marks.add(task_mark(other))
    assert len(marks) == 5
    assert task_mark(task("P2", 0, SmallAtlas(), limit=60)) in marks


def test_figures_are_those_of_the_protocol():
    found = task("P3", 0, ATLAS, limit=60)
    figures = measure(found, HISTOGRAM, 0)["histogram"]
    columns = score(found, similarities(found, build(Spec("wl", HISTOGRAM.params)), 0))
    for name, values in columns.items():
        assert figures["metrics"][name] == pytest.approx(np.dot(values, found.weights), abs=1e-6)
    assert figures["sizes"] == [len(found.training), len(found.items), len(found.queries), found.skipped]
    halves = figures["further"]
    assert set(halves) == {"MAP from timm", "MAP from transformers"}
    assert np.mean(list(halves.values())) == pytest.approx(figures["metrics"]["map@20"], abs=1e-4)
    assert min(figures[k] for k in ("ms", "ms_again", "query_ms")) > 0
    json.dumps(figures, allow_nan=False)


def test_choices_are_made_on_training_families_alone():
    found = task("P2", 0, ATLAS, limit=60)
    chosen = measure(found, BEST, 0)["best"]["params"]
    assert chosen in [dict(c) for c in BEST.choices]
    shuffled = replace(found, items=[replace(i, family="x") for i in found.items])
    assert measure(shuffled, BEST, 0)["best"]["params"] == chosen


def test_fusion_does_not_depend_on_scale():
    rng = np.random.default_rng(0)
    a, b = [rng.random(9)], [rng.random(9)]
    assert fuse(a, b)[0] == pytest.approx(fuse([5 * a[0] + 3], b)[0])
    assert np.argsort(fuse(a, a)[0]).tolist() == np.argsort(a[0]).tolist()
    assert np.isfinite(fuse([np.ones(4)], [np.ones(4)])[0]).all()


def test_tables_are_means_of_runs_with_intervals():
    runs, _ = run(Journal(None, {}), protocols=("P2", "P5"))
    found = tables(runs, ("P2", "P5"), OPPONENT.name)
    assert [len(t.rows) for t in found] == [2, 2, 4, 2]
    row = dict(zip(found[0].columns, found[0].rows[1], strict=True))
    assert row["method"] == "histogram"
    assert row["runs"] == 3
    assert row["MAP@20"] == pytest.approx(np.mean([r.figures["metrics"]["map@20"] for r in of_method(runs, "P2", "histogram")]))
    mean, low, high = compared(runs, "P5", "histogram", OPPONENT.name, "map@20")
    assert low <= mean <= high < 0
    assert mean == pytest.approx(
        mean_of(of_method(runs, "P5", "histogram"), "map@20") - mean_of(of_method(runs, "P5", OPPONENT.name), "map@20"), abs=1e-4
    )
    assert dict(zip(found[1].columns, found[1].rows[1], strict=True))[f"MAP over {OPPONENT.name}"] == (mean, low, high)
    assert found[0].rows[0][6] is None  # nothing is better than itself


def test_runs_that_stopped_early_are_compared_on_common_splits():
    def run(name, split, seed, value):
        return Run("P2", split, name, seed, {"metrics": {"map@20": value}})

    runs = [
        run("a", 0, 0, 0.2),
        run("a", 0, 1, 0.4),
        run("a", 1, 0, 0.9),
        run("b", 0, 0, 0.5),
        run("b", 1, 0, 0.5),
        run("b", 2, 0, 0.1),
    ]
    runs.append(run("part", 0, 0, 1.0))
    found = comparable(runs, ["a", "b"])
    assert {(r.name, r.split) for r in found} == {("a", 0), ("a", 1), ("b", 0), ("b", 1)}
    assert mean_of(of_method(found, "P2", "a"), "map@20") == pytest.approx((0.3 + 0.9) / 2)
    assert comparable([r for r in runs if r.name != "b"], ["a", "b"]) == []


def test_a_table_as_text_and_as_markdown():
    table = Table("Figures.", ["method", "MAP", "over"], [["a", 0.5, (0.1, 0.05, 0.15)], ["b", None, None], ["c", 12.345, 3]])
    assert table.text().splitlines() == [
        "Figures.",
        "method    MAP                     over",
        "a       0.500  +0.100 (+0.050, +0.150)",
        "b           -                        -",
        "c        12.3                        3",
    ]
    assert table.markdown().splitlines()[2:5] == [
        "| method | MAP | over |",
        "| --- | ---: | ---: |",
        "| a | 0.500 | +0.100 (+0.050, +0.150) |",
    ]


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("wl", Spec("wl")),
        ("wl:rounds=2,weighting=binary", Spec("wl", {"rounds": 2, "weighting": "binary"})),
        ("strata:without=('sizes','costs'),learned=False", Spec("strata", {"without": ("sizes", "costs"), "learned": False})),
        ("x:a=1e-3", Spec("x", {"a": 1e-3})),
    ],
)
def test_encoders_as_people_write_them(text, spec):
    assert Spec.parse(text) == spec


@pytest.mark.parametrize("text", ["wl:rounds", "wl:=1", "wl:rounds=", "wl:rounds=1,rounds=2", "wl:a b=1"])
def test_what_cannot_be_read_is_named(text):
    with pytest.raises(ConfigError, match="write NAME:param=value"):
        Spec.parse(text)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("wll", "no encoders named 'wll' .*did you mean 'wl'"),
        ("wl:rounds=many", "wl: cannot be built with {'rounds': 'many'}"),
        ("wl:rnds=1", "wl: unknown parameter 'rnds': did you mean 'rounds'"),
        ("no.such.module.Encoder", "cannot import the encoder 'no.such.module.Encoder'"),
        ("json.JSONDecoder", "json.JSONDecoder is not a class derived from netatlas.encoders.base.Encoder"),
    ],
)
def test_encoders_that_do_not_exist(encoder, message):
    with pytest.raises(ConfigError, match=message):
        compare_encoders([encoder], ["P2"])


def test_ones_own_encoder_beside_the_opponents(tmp_path, monkeypatch):
    (tmp_path / "ownencoder.py").write_text(
        "from netatlas.encoders.wl import WLHistogram\n"
        "from netatlas.encoders.base import Encoder\n"
        "class Mine(Encoder):\n"
        "    name = 'mine'\n"
        "    def __init__(self, *, rounds=1): self._wl = WLHistogram(rounds=rounds)\n"
        "    def encode(self, graph): return self._wl.encode(graph)\n"
        "    def similarities(self, query, vectors): return self._wl.similarities(query, vectors)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("netatlas.evaluation.nar.comparison.starter", lambda: ATLAS)
    monkeypatch.setitem(sys.modules, "ownencoder", None)
    monkeypatch.delitem(sys.modules, "ownencoder")
    found = compare_encoders(["ownencoder.Mine:rounds=2", "wl:rounds=1,vocabulary=coarse,weighting=binary"], ["p5"], limit=30)
    assert [row[0] for row in found.tables[0].rows] == ["WL 1 binary", "untrained GNN", "ownencoder.Mine:rounds=2"]
    assert found.protocols == ("P5",)


def test_without_torch_the_untrained_network_is_left_out_and_said_so(monkeypatch):
    monkeypatch.setattr("netatlas.evaluation.nar.comparison.find_spec", lambda name: None)
    monkeypatch.setattr("netatlas.evaluation.nar.comparison.starter", lambda: ATLAS)
    notes = []
    found = compare_encoders(["wl"], ["P5"], limit=30, note=notes.append)
    assert [row[0] for row in found.tables[0].rows] == ["WL 1 binary", "wl"]
    assert notes == ["untrained GNN is left out: it needs the extra 'torch'"]


def test_a_journal_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot (read|write) .*file/x.journal"):
        Journal(tmp_path / "file" / "x.journal", {})


def test_a_journal_of_other_settings_is_begun_anew(tmp_path):
    path = tmp_path / "x.journal"
    assert Journal(path, {"a": 1}).measure("k", lambda: [1.5, "x"]) == [1.5, "x"]
    assert Journal(path, {"a": 1}).measure("k", lambda: pytest.fail("is kept")) == [1.5, "x"]
    other = Journal(path, {"a": 2})
    assert len(other) == 0
    assert "k" not in other


@pytest.mark.parametrize("damage", [b"", b"\n", b"\x00\xff\n", b'{"key": "z"', b"[1]\n", b"null\n"])
def test_damage_costs_only_the_damaged_line(tmp_path, damage):
    path = tmp_path / "x.journal"
    journal = Journal(path, {})
    journal.measure("a", lambda: 1)
    with path.open("ab") as file:
        file.write(damage)
    again = Journal(path, {})
    again.measure("b", lambda: 2)
    last = Journal(path, {})
    assert (last.measure("a", lambda: 0), last.measure("b", lambda: 0), len(last)) == (1, 2, 2)
