"""Predicted facts in an atlas: given where nothing was measured, marked wherever they are seen; calibration with a fake machine."""

from __future__ import annotations

import csv
import io
import itertools
import json

import numpy as np
import pytest

from netatlas.atlas import calibrate as calibrating
from netatlas.atlas.atlas import Atlas
from netatlas.atlas.calibrate import ROUNDS, candidates, idle, run, spread
from netatlas.atlas.measure import SOURCE, Setting, describe_machine, timed
from netatlas.atlas.predictions import CALIBRATION
from netatlas.atlas.store import Store
from netatlas.errors import ConfigError, QueryError
from netatlas.predictors.base import PREDICTORS
from netatlas.records import Entry, Evidence

SAMPLE = 45


@pytest.fixture(scope="module")
def sample():
    """Architectures of the starter atlas that differ, without anything measured here."""
    starter = Atlas.open(None)
    ids = [i for i in starter.with_graphs() if i.startswith(("timm/", "torchvision/")) and "/test_" not in i][:: 1400 // SAMPLE]
    return [starter.entry(i, graph=True) for i in ids]


@pytest.fixture
def path(sample, tmp_path):
    Atlas((), tmp_path / "mine.atlas", tmp_path).add(sample)
    return tmp_path / "mine.atlas"


def opened(path):
    return Atlas.open(path, starter=False, cache=path.parent / "cache")


def evidence(entry_id, ms, threads=1, **detail):
    told = {"batch": 1, "threads": threads, "runs": 11, "processor_ms": ms, **detail}
    return Evidence(
        "latency_ms", 3 * ms, "median of 11 forward passes", SOURCE, describe_machine(), 0, f"2026-01-01 {entry_id}", 0.1, told
    )


class Machine:
    """A machine twice as slow as the reference; ``dies`` after so many visits, ``broken`` ids fail."""

    def __init__(self, atlas, dies=None, broken=()):
        self.table = calibrating.works(atlas, sorted(i for i in atlas.ids if i in atlas.vectors("work")))
        self.dies, self.broken, self.visited = dies, set(broken), []

    def __call__(self, ids):
        for entry_id in ids:
            if self.dies is not None and len(self.visited) >= self.dies:
                raise KeyboardInterrupt
            self.visited.append(entry_id)
            if entry_id in self.broken:
                yield entry_id, "no such thing"
            else:
                yield (
                    entry_id,
                    [evidence(entry_id, 2 * float(PREDICTORS.build("latency").values(self.table[entry_id][None])[0][0]))],
                )


def test_a_guess_is_given_only_where_the_fact_is_unknown(path):
    atlas = opened(path)
    facts = atlas.facts(atlas.ids)
    assert all("latency_predicted" in known for known in facts.values())
    for known in facts.values():
        assert ("top1" in known) != ("top1_predicted" in known) or known["task"] != ("image-classification",)
        assert not ("gpu_throughput" in known and "throughput_predicted" in known)
    assert "latency_ms" not in set(itertools.chain(*facts.values()))


def test_every_face_of_find_marks_a_guess(path):
    atlas = opened(path)
    first = atlas.ids[0]
    atlas.add_evidence(first, evidence(first, 1e-3))
    hits = opened(path).find(where="latency_ms < 1000", sort="latency_ms", k=50)
    assert hits[0].id == first  # the measured one is fastest
    assert len(hits) > 10
    cells = {row["id"]: row for row in csv.DictReader(io.StringIO(hits.to_csv()))}
    for hit, told in zip(hits, json.loads(hits.to_json())["hits"], strict=True):
        measured = hit.id == first
        assert (told["facts"]["latency_ms"] is not None) == measured
        assert (told["facts"]["latency_predicted"] is None) == measured
        assert bool(cells[hit.id]["latency_ms"]) == measured
        assert bool(cells[hit.id]["latency_predicted"]) != measured
        line = next(line for line in str(hits).splitlines() if line.startswith(hit.id + " "))
        assert ("~" in line) != measured
        assert any("predicted" in reason for reason in hit.why) != measured
    assert any("latency_ms marked ~ is predicted, ±" in note for note in hits.notes)
    values = [h.facts.get("latency_ms", h.facts.get("latency_predicted")) for h in hits]
    assert values == sorted(values)


def test_pareto_uses_guesses_and_says_so(path):
    hits = opened(path).find(pareto="params,latency_ms", k=5)
    assert len(hits)
    assert any("predicted" in note for note in hits.notes)


def test_queries_without_latency_say_nothing_of_guesses(path):
    hits = opened(path).find(where="params < 50M")
    assert "~" not in str(hits)
    assert "predicted" not in " ".join(hits.notes)


def test_measured_only_can_be_asked_for(path):
    assert opened(path).find(where="known(latency_ms) and latency_ms < 1000").total == 0


def test_the_card_and_find_agree_and_the_card_shows_the_interval(path):
    atlas = opened(path)
    entry_id = atlas.ids[0]
    card = atlas.show(entry_id)
    guess = next(p for p in card.predictions if p.fact == "latency_predicted")
    assert guess.value == pytest.approx(atlas.facts([entry_id])[entry_id]["latency_predicted"])
    assert f"~{guess.value:.3g} ms ({guess.low:.3g} to {guess.high:.3g})" in str(card)
    told = card.to_dict()
    assert told["facts"]["latency_ms"]["value"] is None
    assert {p["fact"] for p in told["predictions"]} == {p.fact for p in card.predictions}


def test_a_comparison_keeps_guesses_apart(path):
    a, b = opened(path).ids[:2]
    text = str(opened(path).compare(a, b))
    assert "latency_predicted" in text
    assert "latency_ms" not in text


def test_a_checkpoint_and_an_entry_without_a_graph_get_no_guess(path, sample):
    facts = {"source": "checkpoint", "traced_by": "checkpoint"}
    Atlas((), path, path.parent).add(
        [Entry("checkpoint/x", "architecture", "x", facts=facts, graph=sample[0].graph), Entry("mine/y", "architecture", "y")]
    )
    atlas = opened(path)
    for entry_id in ("checkpoint/x", "mine/y"):
        assert atlas.show(entry_id).predictions == ()
        assert "latency_predicted" not in atlas.facts([entry_id])[entry_id]


def test_calibrating_learns_the_machine_and_predictions_follow(path):
    atlas = opened(path)
    before = {i: known["latency_predicted"] for i, known in atlas.facts(atlas.ids).items()}
    machine = Machine(atlas)
    report = run(atlas, machine, count=12)
    assert report.calibration.measured == len({*machine.visited})
    assert len(machine.visited) == ROUNDS * report.calibration.measured
    assert report.calibration.errors["median_relative_error"] < 1e-4
    assert not report.stopped
    assert "each predicted without its family: Spearman 1.000" in str(report)
    after = opened(path)
    known = after.facts(after.ids)
    rest = [i for i in before if "latency_predicted" in known[i]]
    assert len(rest) == len(before) - report.calibration.measured
    for entry_id in rest:
        assert known[entry_id]["latency_predicted"] == pytest.approx(2 * before[entry_id], rel=1e-4)
    for entry_id, ms, _ in report.rows:
        assert known[entry_id]["latency_ms"] == pytest.approx(ms)  # measured: the guess is gone
    assert describe_machine() in after.show(rest[0]).to_dict()["predictions"][0]["machine"]


def test_a_damaged_calibration_is_told_and_made_anew(path):
    with Store.open(path, "w") as store:
        store.set_meta(CALIBRATION, "{}")
    hits = opened(path).find(where="latency_ms < 1000")
    assert any("i7-12700H" in note and "cannot be read" in note and "netatlas calibrate" in note for note in hits.notes)
    run(opened(path), Machine(opened(path)), count=12)
    assert describe_machine() in " ".join(opened(path).find(where="latency_ms < 1000").notes)


def test_an_interrupted_calibration_keeps_what_it_has_and_goes_on(path):
    first = Machine(opened(path), dies=7)
    report = run(opened(path), first, count=12)
    assert "interrupted" in report.stopped
    assert report.calibration.measured == 7
    second = Machine(opened(path))
    again = run(opened(path), second, count=12)
    assert again.calibration.measured == 12
    assert len(second.visited) == ROUNDS * 12 - 7
    assert run(opened(path), (third := Machine(opened(path))), count=12).calibration == again.calibration
    assert not third.visited


def test_a_budget_ends_it_and_too_little_is_an_error_that_keeps_the_measurements(path):
    clock = itertools.count(0.0, 10.0)
    machine = Machine(opened(path))
    report = run(opened(path), machine, count=12, budget_s=85.0, clock=lambda: next(clock))
    assert "budget of 85 s" in report.stopped
    assert 5 <= len(machine.visited) < 12
    clock = itertools.count(0.0, 10.0)


def test_too_little_budget_is_told(path):
    clock = itertools.count(0.0, 10.0)
    with pytest.raises(ConfigError, match="larger --budget"):
        run(opened(path), Machine(opened(path)), count=12, budget_s=15.0, clock=lambda: next(clock))
    assert int(opened(path).derived.columns.known("latency_ms").sum()) == 1


def test_what_cannot_be_measured_is_named_and_not_tried_again(path):
    ids, table = candidates(opened(path), ("timm", "torchvision"))
    broken = spread(ids, table, ids, 12)[0]
    machine = Machine(opened(path), broken=ids[:20])
    report = run(opened(path), machine, count=12)
    assert report.failures
    assert all(machine.visited.count(i) <= 2 for i in report.failures)
    assert f"not measured: {next(iter(report.failures))}: no such thing" in str(report)
    assert broken in ids


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 4}, "at least 5, got 4"),
        ({"budget_s": 0}, "more than 0 seconds"),
        ({"sources": ("none",)}, "0 architectures of none"),
    ],
)
def test_misuse_is_told(path, options, message):
    with pytest.raises(QueryError, match=message):
        run(opened(path), Machine(opened(path)), **options)


def test_measurements_of_another_setting_or_machine_do_not_count():
    here = evidence("a", 5.0)
    others = [
        evidence("a", 5.0, threads=2),
        evidence("a", 5.0, batch=8),
        Evidence("latency_ms", 1.0, "m", SOURCE, "elsewhere", detail=here.detail),
    ]
    assert calibrating._latencies([here, *others], 1) == [5.0]
    assert calibrating._latencies([here, *others], 2) == [15.0]  # with two threads processor time means nothing


def test_processor_time_replaces_wall_time_once_and_says_so():
    once = idle(evidence("a", 5.0))
    assert (once.value, once.detail["wall_ms"]) == (5.0, 15.0)
    assert once.method == "median processor time of 11 forward passes"
    assert idle(once) == once


def test_chosen_architectures_span_the_range_from_the_first_few_on(sample, path):
    ids, table = candidates(opened(path), ("timm", "torchvision"))
    chosen = spread(ids, table, ids, 12)
    assert len(set(chosen)) == len(chosen)
    place = dict(zip(ids, np.log(PREDICTORS.build("latency").values(table)[0]), strict=True))
    whole = max(place.values()) - min(place.values())
    assert max(place[i] for i in chosen[:4]) - min(place[i] for i in chosen[:4]) > 0.5 * whole
    assert spread(ids, table, ids, 12) == chosen


def test_timing_stops_after_its_seconds():
    wall, busy = timed(lambda: sum(range(10_000)), Setting(runs=5))
    assert len(wall) == len(busy) == 5
    wall, _ = timed(lambda: None, Setting(runs=100, seconds=0.0))
    assert len(wall) == 3
