"""Columns hold the facts of entries exactly, say what is unknown, and survive the disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netatlas.atlas.columns import Columns
from netatlas.errors import QueryError, StoreError

ENTRIES = [
    (
        "timm/resnet50",
        "architecture",
        {"params": 25_557_032, "family": "resnet", "ops": ("conv", "batch_norm", "relu"), "top1": 80.4},
    ),
    ("timm/vit", "architecture", {"params": 2**53 - 1, "family": "vit", "ops": ("linear", "attention")}),
    ("x/empty", "model", {"ops": ()}),
    ("x/nothing", "model", {}),
]

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=6)
facts = st.fixed_dictionaries(
    {},
    optional={
        "params": st.integers(0, 2**53),
        "top1": st.floats(0, 100),
        "family": texts,
        "ops": st.lists(texts, max_size=4).map(tuple),
    },
)


@pytest.fixture
def columns() -> Columns:
    return Columns.from_entries(ENTRIES)


@pytest.fixture(params=["memory", "disk"])
def either(request, columns, tmp_path) -> Columns:
    if request.param == "memory":
        return columns
    columns.save(tmp_path / "columns", stamp="7")
    return Columns.load(tmp_path / "columns")


def test_values_and_unknowns(either):
    assert either.ids == [identifier for identifier, _, _ in ENTRIES]
    assert len(either) == 4
    np.testing.assert_array_equal(either.number("params"), [25_557_032, 2**53 - 1, np.nan, np.nan])
    np.testing.assert_array_equal(either.known("params"), [True, True, False, False])
    codes, words = either.text("family")
    assert [words[code] if code >= 0 else None for code in codes.tolist()] == ["resnet", "vit", None, None]
    np.testing.assert_array_equal(either.member("ops", "conv"), [True, False, False, False])
    np.testing.assert_array_equal(either.member("ops", "conv", "linear", "never"), [True, True, False, False])


def test_an_empty_set_is_known_and_a_missing_one_is_not(either):
    np.testing.assert_array_equal(either.known("ops"), [True, True, True, False])


def test_a_fact_nobody_has_is_unknown_everywhere(either):
    assert np.isnan(either.number("macs")).all()
    assert either.text("license")[1] == []
    assert not either.known("license").any()
    assert not either.known("task").any()
    assert not either.member("task", "image-classification").any()


def test_kind_is_a_column(either):
    codes, words = either.text("kind")
    assert [words[code] for code in codes] == ["architecture", "architecture", "model", "model"]
    assert either.names == ["kind", "family", "ops", "params", "top1"]


@given(st.lists(facts, max_size=6))
@settings(max_examples=40, deadline=None)
def test_disk_round_trip(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("columns") / "c"
    entries = [(f"a/{i}", "model", row) for i, row in enumerate(rows)]
    first = Columns.from_entries(entries)
    first.save(folder)
    second = Columns.load(folder)
    assert second.ids == [identifier for identifier, _, _ in entries]
    for i, row in enumerate(rows):
        assert second.number("params")[i] == row["params"] if "params" in row else np.isnan(second.number("params")[i])
        assert bool(second.known("top1")[i]) == ("top1" in row)
        codes, words = second.text("family")
        assert (words[codes[i]] if codes[i] >= 0 else None) == row.get("family")
        for word in {w for r in rows for w in r.get("ops", ())}:
            assert bool(second.member("ops", word)[i]) == (word in row.get("ops", ()))


def test_empty_corpus(tmp_path):
    columns = Columns.from_entries([])
    columns.save(tmp_path / "c")
    again = Columns.load(tmp_path / "c")
    assert (len(again), again.ids, again.names) == (0, [], [])
    assert again.number("params").shape == (0,)
    assert again.member("ops", "conv").shape == (0,)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"top1": float("nan")}, "top1 is nan"),
        ({"top1": float("inf")}, "top1 is inf"),
        ({"params": "many"}, "params must be a number, got 'many'"),
        ({"params": True}, "params must be a number"),
        ({"family": 3}, "family must be a word"),
        ({"ops": "conv"}, "ops must be a tuple of words"),
        ({"family": "a\0b"}, "NUL"),
        ({"family": ""}, "empty word"),
        ({"parms": 3}, "unknown fact 'parms': did you mean 'params'"),
    ],
)
def test_bad_values_are_refused_at_the_door(row, message):
    with pytest.raises(StoreError, match=r"a/b: ") as error:
        Columns.from_entries([("a/b", "model", row)])
    assert message in str(error.value)


def test_duplicate_ids_are_named():
    with pytest.raises(StoreError, match="two entries have the id 'a/b'"):
        Columns.from_entries([("a/b", "model", {}), ("a/b", "model", {})])


def test_wrong_kind_of_column(columns):
    with pytest.raises(QueryError, match="family is a text fact"):
        columns.number("family")
    with pytest.raises(QueryError, match="unknown fact 'parms'"):
        columns.known("parms")


def test_damage_is_noticed(columns, tmp_path):
    folder = tmp_path / "c"
    with pytest.raises(StoreError, match="cannot read"):
        Columns.load(folder)
    columns.save(folder)
    (folder / "params.number.npy").write_bytes(b"\x93NUMPY junk")
    with pytest.raises(StoreError, match=r"damaged: params\.number\.npy"):
        Columns.load(folder).number("params")
    np.save(folder / "params.number.npy", np.zeros(3))
    with pytest.raises(StoreError, match="damaged"):
        Columns.load(folder).number("params")
    (folder / "columns.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        Columns.load(folder)
    (folder / "columns.json").write_text(json.dumps({"format": 99, "entries": 1, "facts": [], "stamp": ""}))
    with pytest.raises(StoreError, match="column format 99"):
        Columns.load(folder)


def test_a_replaced_folder_never_mixes_with_the_old_one(columns, tmp_path):
    folder = tmp_path / "c"
    columns.save(folder, stamp="1")
    reader = Columns.load(folder)
    params = reader.number("params")
    Columns.from_entries([(f"b/{i}", "model", {"params": i, "top1": 1.0}) for i in range(4)]).save(folder, stamp="2")
    np.testing.assert_array_equal(params, columns.number("params"))
    with pytest.raises(StoreError, match="replaced while in use"):
        reader.number("top1")
    assert Columns.load(folder).stamp == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["c"], "no temporary folders remain"
