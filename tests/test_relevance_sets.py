"""The judged queries of benchmarks/: well-formed, distinct, answerable; and the arithmetic of benchmarks/find_quality.py."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from netatlas.atlas.where import Expression, OneOf, parse
from netatlas.facts import FACTS
from netatlas.glossary import load

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "find_quality.py"


def _quality():
    spec = importlib.util.spec_from_file_location("find_quality", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules["find_quality"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


quality = _quality()
QUERIES = {name: quality.load(name) for name in quality.SETS}
ALL = [query for queries in QUERIES.values() for query in queries]
EXPRESSIONS = sorted({text for query in ALL for text in (query.relevant, query.must) if text})


@pytest.mark.parametrize(("name", "least"), [("dev", 80), ("held-out", 60)])
def test_sets_are_large_enough(name, least):
    assert len(QUERIES[name]) >= least


@pytest.mark.parametrize("name", quality.SETS)
def test_every_kind_is_asked(name):
    counts = Counter(query.kind for query in QUERIES[name])
    assert set(counts) == set(quality.KINDS)
    assert min(counts.values()) >= 10


def test_no_text_comes_twice():
    spelled = Counter(" ".join(re.findall(r"[^\W_]+|[<>=≤≥]", query.text.lower())) for query in ALL)
    assert [text for text, n in spelled.items() if n > 1] == []


def test_every_query_states_what_is_relevant():
    assert [query.text for query in ALL if not (query.relevant or query.ids or query.must)] == []
    assert {query.entries for query in ALL} <= {"architecture", "model"}
    assert all("/" in pattern or "*" in pattern for query in ALL for pattern in query.ids)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions_parse_and_name_known_families(text):
    families = {value for one in _sets(parse(text)) if one.fact == "family" for value in one.values}
    assert families <= set(load().families)


def _sets(node: object) -> Iterator[OneOf]:
    if isinstance(node, OneOf):
        yield node
    elif isinstance(node, Expression):
        for field in dataclasses.fields(node):
            value = getattr(node, field.name)
            for part in value if isinstance(value, tuple) else (value,):
                yield from _sets(part)


def test_numbers_are_required_of_every_hit():
    """A query of numbers alone without ``must`` is one of approximate numbers."""
    assert [q.text for q in ALL if q.kind == "numbers" and not q.must and "about" not in q.text] == []
    numeric = {name for name, fact in FACTS.items() if fact.kind in ("count", "number")}
    assert [q.text for q in ALL if q.kind == "numbers" and not set(parse(q.must or q.relevant).facts()) <= numeric] == []


@pytest.mark.parametrize(
    ("patterns", "answer"),
    [
        ((), True),
        (("timm/resnet50",), True),
        (("timm/res*", "!*50"), False),
        (("torchvision/*",), False),
        (("!timm/test_*",), True),
        (("!timm/*",), False),
    ],
)
def test_id_patterns(patterns, answer):
    assert quality.matches("timm/resnet50", patterns) is answer


@pytest.mark.parametrize(
    ("hits", "relevant", "precision", "strict"),
    [
        ("ab", "ab", 1.0, 1.0),
        ("axyz", "a", 1.0, 0.25),  # the one relevant entry was found, among others
        ("abcdefghij", "abcdefghijklm", 1.0, 1.0),
        ("abxy", "abcd", 0.5, 0.5),
        ("", "a", 0.0, 0.0),
        ("xyz", "a", 0.0, 0.0),
    ],
)
def test_precision(hits, relevant, precision, strict):
    outcome = quality.Outcome(ALL[0], tuple(hits), frozenset(relevant), (), "")
    assert outcome.precision == precision
    assert outcome.strict == strict


def _outcome(precision, violations=()):
    relevant = frozenset(str(i) for i in range(10))
    return quality.Outcome(ALL[0], tuple(sorted(relevant)[: round(10 * precision)]), relevant, violations, "")


@pytest.mark.parametrize(("outcomes", "passed"), [([(0.9,)], True), ([(1.0,), (0.6,)], False), ([(1.0, ("x",))], False)])
def test_the_verdict(outcomes, passed, capsys):
    assert quality.report("dev", [_outcome(*o) for o in outcomes], verbose=True, partial=False) is passed
    assert f"target >= {quality.TARGET}" in capsys.readouterr().out


def test_a_query_without_answer_fails_unless_the_atlas_is_partial(capsys):
    outcomes = [_outcome(1.0), quality.Outcome(ALL[0], ("x",), frozenset(), (), "")]
    assert not quality.report("dev", outcomes, verbose=False, partial=False)
    assert quality.report("dev", outcomes, verbose=False, partial=True)
    assert ALL[0].text in capsys.readouterr().out


@pytest.mark.slow
def test_every_query_has_an_answer_in_the_starter_atlas():
    judge = quality.Judge(None)
    assert [query.text for query in ALL if not judge.relevant(query)] == []
    unused = {
        f"{query.text}: {pattern}"
        for query in ALL
        for pattern in query.ids
        if not pattern.startswith("transformers/")  # not every model type builds
        and not any(quality.matches(entry_id, (pattern.removeprefix("!"),)) for entry_id in judge.ids[query.entries])
    }
    assert unused == set()
