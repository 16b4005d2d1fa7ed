"""The catalogue: complete cards, verdicts on made-up figures, results on disk, runs that survive an interruption."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import product

import pytest

pytest.importorskip("torch", reason="needs the extra 'torch'")

from netatlas import systems
from netatlas.cli.main import run as command
from netatlas.errors import ConfigError, StoreError
from netatlas.evaluation.journal import Journal
from netatlas.evaluation.nar.measure import OPPONENT, UNTRAINED, Run
from netatlas.evaluation.nar.protocols import find_protocol
from netatlas.evaluation.tables import Table
from netatlas.systems import _results
from netatlas.systems._nar_methods import BEST_WL, FLAT_GAT, FLAT_GCN, FUSED, METHODS, OURS, PAPER, QUICK, RANDOM_CUT, TUNED
from netatlas.systems._nar_run import _units
from netatlas.systems._nar_verdicts import verdicts
from netatlas.systems.base import NOT_JUDGED, Result, Verdict


@pytest.mark.parametrize("card", systems.cards(), ids=lambda card: card.name)
def test_every_card_is_complete(card):
    assert re.fullmatch(r"arXiv:\d{4}\.\d{4,5}(v\d+)?", card.paper)
    assert 1990 < card.year < 2100
    assert all((card.title, card.authors, card.venue, card.idea, card.claims, card.caveats, card.departures, card.parts))
    assert card.minutes > 0
    for part in card.parts:
        importlib.import_module(part)
    for claim in card.claims:
        assert claim.read_in
        assert str(claim.value).rstrip("0").rstrip(".") in str(claim)
    json.dumps([asdict(claim) for claim in card.claims])


@pytest.mark.parametrize("card", systems.cards(), ids=lambda card: card.name)
def test_the_shipped_result_judges_every_claim_and_reads_back(card):
    found = _results.shipped(card.name)
    assert found is not None
    assert found.is_complete
    assert found.system == card.name
    assert found.machine
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found.date)
    for table in found.tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}
    for table in found.tables[:3]:  # the honest opponent and the untrained network are in every table
        assert {OPPONENT.name, UNTRAINED.name} <= {row[0] for row in table.rows}
    assert _results.read(json.loads(json.dumps(asdict(found)))) == found


def test_the_tables_hold_the_figures_of_the_paper():
    shown = {m.contender.name: (m.real, m.nas) for m in METHODS if m.real}
    claims = {claim.what: claim.value for claim in systems.SYSTEMS.build("nar").claims}
    assert shown[PAPER][0] == (0.825, 0.593, 0.705)
    assert shown[FLAT_GCN][0][:2] == (claims["GCN MRR@20"], claims["GCN MAP@20"])
    assert shown[FLAT_GAT][0][:2] == (claims["GAT MRR@20"], claims["GAT MAP@20"])
    assert shown[RANDOM_CUT][0][0] == claims["NAR with random cuts, MRR@20"]


def test_units_cover_every_protocol_early_and_all_seeds():
    units = _units(("P2", "P3", "P5"), 2, quick=False)
    assert [u.seed for u in units] == sorted(u.seed for u in units)
    main = [m.contender.name for m in METHODS if m.main]
    first = units[: 3 * len(main)]
    assert {(u.protocol, u.contender.name) for u in first} == set(product(("P2", "P3", "P5"), main))
    assert {u.split for u in first} == {0}
    assert len({(u.protocol, u.split, u.contender.name, u.seed) for u in units}) == len(units)
    ablations = {m.contender.name for m in METHODS if not m.main}
    assert {u.protocol for u in units if u.contender.name in ablations} == {"P2"}
    assert sum(find_protocol(p).splits for p in ("P2", "P3", "P5")) * 2 == len([u for u in units if u.contender.name == PAPER])


def test_a_quick_run_shortens_training_and_nothing_else():
    long = {u.contender.name: u for u in _units(("P2",), 1, quick=False)}
    units = _units(("P2",), 1, quick=True)
    assert {u.contender.name for u in units} == set(long)
    for quick in units:
        full = long[quick.contender.name]
        short = QUICK.get(full.contender.encoder, {})
        assert all(quick.contender.params[key] <= value for key, value in short.items())
        assert {k: v for k, v in quick.contender.params.items() if k not in short} == {
            k: v for k, v in full.contender.params.items() if k not in short
        }


def figures(mrr, ap, ms):
    queries = {"mrr@20": [mrr, mrr, mrr - 0.01, mrr + 0.01], "map@20": [ap, ap, ap - 0.01, ap + 0.01]}
    return {"metrics": {"mrr@20": mrr, "map@20": ap}, "queries": queries, "weights": [0.25] * 4, "ms": ms}


GOOD = {
    OPPONENT.name: (0.90, 0.80, 1), BEST_WL: (0.91, 0.81, 1), UNTRAINED.name: (0.85, 0.75, 1), FLAT_GCN: (0.88, 0.70, 9),
    FLAT_GAT: (0.87, 0.70, 9), PAPER: (0.99, 0.93, 2), RANDOM_CUT: (0.90, 0.80, 2), TUNED: (0.95, 0.80, 2),
    FUSED: (0.96, 0.85, 2), OURS: (1.0, 0.97, 3),
}  # fmt: skip


def judged(quick=False, protocols=("P2", "P3", "P5"), **changed):
    values = {**GOOD, **changed}
    runs = [Run(p, 0, name, 0, figures(*v)) for p in protocols for name, v in values.items() if v is not None]
    return [v.outcome for v in verdicts(runs, quick=quick)]


def test_verdicts_when_everything_holds():
    assert judged() == ["reproduced", "reproduced", "reproduced", "holds", f"holds for {PAPER}", "holds"]


@pytest.mark.parametrize(
    ("changed", "number", "outcome"),
    [
        ({FLAT_GAT: (0.98, 0.7, 9)}, 0, "not reproduced on library graphs"),
        ({FLAT_GCN: (0.88, 0.7, 5)}, 0, "not reproduced on library graphs"),  # not three times as fast
        ({RANDOM_CUT: (0.985, 0.8, 2)}, 1, "not resolved"),
        ({RANDOM_CUT: (1.05, 0.8, 2)}, 1, "not reproduced"),
        ({PAPER: (0.99, 0.92, 2)}, 2, "not reproduced"),
        ({UNTRAINED.name: (0.985, 0.8, 1)}, 3, "falsified"),
        ({BEST_WL: (0.985, 0.8, 1)}, 4, "learned embedding not better than WL here"),
        ({OURS: (1.0, 0.9, 3)}, 5, "holds in part"),
        ({OURS: (0.8, 0.7, 3)}, 5, "does not hold"),
        ({TUNED: None}, 0, NOT_JUDGED),
        ({RANDOM_CUT: None}, 1, NOT_JUDGED),
    ],
)
def test_verdicts_when_something_does_not(changed, number, outcome):
    assert judged(**changed)[number] == outcome


def test_a_gain_that_chance_explains_resolves_nothing():
    runs = [Run("P2", 0, name, 0, figures(*v)) for name, v in GOOD.items()]
    paper, random = (next(r for r in runs if r.name == name).figures for name in (PAPER, RANDOM_CUT))
    paper["queries"]["mrr@20"], random["queries"]["mrr@20"] = [1.0, 0.0, 1.0, 0.2], [0.1, 1.0, 0.0, 1.0]
    assert [v.outcome for v in verdicts(runs, quick=False)][1] == "not resolved"


def test_nothing_is_judged_by_a_quick_run_or_without_its_protocol():
    assert set(judged(quick=True)) == {NOT_JUDGED}
    assert judged(protocols=("P2",)) == ["reproduced", "reproduced", NOT_JUDGED, "holds", NOT_JUDGED, NOT_JUDGED]


RESULT = Result(
    "nar", "2026-01-02", "a machine", {"seeds": 1}, 12.5, [Table("t", ["method", "x", "over"], [["a", 0.5, [0.1, 0.0, 0.2]], ["b", None, None]])],
    [Verdict("c", "reproduced", "w")], False,
)  # fmt: skip


def test_the_last_result_is_the_users_own_whole_or_not_at_all(monkeypatch):
    path = _results.keep(RESULT)
    assert systems.last("nar") == RESULT
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match=r"cannot write .*nar.json: No space left"):
        _results.keep(replace(RESULT, date="2026-01-03"))
    assert systems.last("nar") == RESULT
    path.write_text("{")
    with pytest.raises(StoreError, match=r"cannot read .*nar.json: .*; delete it to use the shipped result"):
        systems.last("nar")


def test_only_a_complete_result_becomes_the_last_one(monkeypatch):
    card = systems.SYSTEMS.build("nar")
    partial = replace(RESULT, verdicts=[Verdict("c", NOT_JUDGED, "w")])
    for result, kept in ((partial, False), (replace(RESULT, quick=True), False), (RESULT, True)):
        made = replace(card, reproduce=lambda result=result, **_: result)
        monkeypatch.setattr("netatlas.systems._catalogue.SYSTEMS.build", lambda name, made=made: made)
        assert (systems.run("nar")[1] is not None) == kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocols": ("P22",)}, "no protocol 'P22' .*did you mean 'P2'"),
        ({"seeds": 0}, "1 or more, got 0 and 3"),
        ({"protocols": ()}, "got 5 and 0"),
    ],
)
def test_misuse_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        systems.SYSTEMS.build("nar").reproduce(journal=Journal(None, {}), **options)


def say(capsys, *arguments):
    code = command(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_list_and_show(capsys):
    code, out, err = say(capsys, "systems")
    assert (code, err) == (0, "")
    assert "Neural Architecture Retrieval" in out
    assert "ICLR 2024" in out
    code, out, _ = say(capsys, "systems", "show", "nar")
    assert code == 0
    for words in ("Claims", "Caveats", "Where we differ", "Parts", "Last result", "Verdicts", "0.825", OPPONENT.name):
        assert words in out
    code, out, _ = say(capsys, "systems", "show", "nar", "--json")
    found = json.loads(out)
    assert found["paper"] == "arXiv:2307.07919"
    assert found["last_result"]["tables"][0]["columns"][0] == "method"
    code, out, _ = say(capsys, "systems", "--json")
    assert list(json.loads(out)) == list(systems.SYSTEMS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("systems", "show", "nra"), "netatlas: no systems named 'nra' (there are: nar): did you mean 'nar'?"),
        (("systems", "run", "nar", "--protocol", "P9"), "netatlas: no protocol 'P9'"),
        (("systems", "run", "nar", "--seeds", "0"), "0 is not in the range x>=1"),
        (("systems", "--json", "show", "nar"), "--json goes behind the command"),
        (("eval", "nar", "--encoder", "wll"), "netatlas: no encoders named 'wll'"),
        (("eval", "nar", "--protocol", "P22"), "netatlas: no protocol 'P22'"),
        (("eval", "nra"), "nra"),
    ],
)
def test_one_line_for_every_misuse(capsys, arguments, message):
    code, out, err = say(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert message in err


def test_evaluations_are_listed(capsys):
    code, out, _ = say(capsys, "eval")
    assert code == 0
    assert out.startswith("nar ")
    assert all(f"  {name}  " in out for name in ("P1", "P2", "P3", "P5"))


def start(home, *arguments):
    env = {**os.environ, "NETATLAS_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "netatlas.cli.main", *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


RUN = ("systems", "run", "nar", "--quick", "--protocol", "P5", "--json")


def measured(process, lines):
    """What a run says until so many measurements are done."""
    said = []
    while len([line for line in said if " P5 " in line]) < lines:
        said.append(process.stderr.readline())
        assert said[-1], said
    return said


@pytest.mark.slow
def test_ctrl_c_and_kill_lose_nothing_that_was_reported(tmp_path):
    first = start(tmp_path, *RUN)
    measured(first, 2)
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert "measurements are kept; the same command goes on from here" in err
    assert "Traceback" not in err
    second = start(tmp_path, *RUN)
    assert sum("(kept)" in line for line in measured(second, 5)) >= 2
    second.kill()
    second.communicate(timeout=60)
    third = start(tmp_path, *RUN)
    out, err = third.communicate(timeout=600)
    assert third.returncode == 0, err
    assert err.count("(kept)") >= 5
    whole = start(tmp_path / "other", *RUN)
    expected, _ = whole.communicate(timeout=600)
    a, b = (json.loads(text)["tables"] for text in (out, expected))
    assert a[:2] == b[:2]  # all but the times


@pytest.mark.slow
def test_a_quick_run_of_everything(tmp_path):
    process = start(tmp_path, "systems", "run", "nar", "--quick")
    out, err = process.communicate(timeout=1500)
    assert process.returncode == 0, err
    assert "Nothing is judged" in out
    assert all(name in out for name in (OPPONENT.name, UNTRAINED.name, PAPER, RANDOM_CUT, TUNED, FUSED, OURS, BEST_WL))
