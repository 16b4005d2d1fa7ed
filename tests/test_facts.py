"""The facts table: aliases, formats, and nothing twice."""

from __future__ import annotations

import pytest

from netatlas.facts import FACTS, find_fact, format_count, format_value


def test_names_and_aliases_are_unique():
    words = [word for fact in FACTS.values() for word in (fact.name, *fact.aliases)]
    assert len(words) == len(set(words))


def test_every_fact_says_what_it_means():
    assert all(len(fact.meaning) > 10 and not fact.meaning.endswith(".") for fact in FACTS.values())


@pytest.mark.parametrize(
    ("word", "name"),
    [("Parameters", "params"), ("mult-adds", "macs"), ("top-1", "top1"), ("img-size", "input_size"), ("params", "params")],
)
def test_find_fact(word, name):
    assert find_fact(word).name == name


def test_unknown_fact():
    assert find_fact("parms") is None


def test_a_scaled_unit_is_no_name_of_a_fact():
    """``gmacs < 2`` would mean two multiply-accumulates."""
    assert find_fact("gmacs") is find_fact("GFLOPs") is None


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (5288548, "", "5.29M"),
        (386e6, "MAC", "386 MMAC"),
        (999, "", "999"),
        (999_600, "", "1M"),
        (0, "", "0"),
        (1e12, "B", "1 TB"),
        (1234, "", "1.23k"),
    ],
)
def test_format_count(value, unit, text):
    assert format_count(value, unit) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("params", 5288548, "5.29M"), ("params", 7e9, "7B"), ("top1", 77.7, "77.70 %"), ("macs", None, "unknown"), ("task", ("a", "b"), "a, b"),
     ("year", 2019, "2019"), ("latency_ms", 12.3456, "12.35 ms"), ("input_size", 224, "224 px")],
)  # fmt: skip
def test_format_value(name, value, text):
    assert format_value(name, value) == text
