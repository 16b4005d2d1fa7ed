"""Vectors of an atlas: complete and current."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from netatlas.atlas import encoded
from netatlas.atlas.atlas import Atlas
from netatlas.atlas.store import Store
from netatlas.atlas.vectors import DEFAULT, with_vectors
from netatlas.encoders.base import ENCODERS
from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.ops import ATTRIBUTES, OP_ID
from netatlas.records import Entry


def graph(ops):
    n = len(ops)
    zeros = np.zeros(n, dtype=np.int64)
    attrs, shape = np.zeros((n, len(ATTRIBUTES)), np.int32), np.ones((n, MAX_RANK), np.int64)
    return Graph(np.array(ops), attrs, shape, zeros, zeros, zeros, np.array(list(pairwise(range(n)))).reshape(-1, 2))


ENTRIES = [Entry(f"toy/n{n}", "architecture", f"n{n}", graph=graph([OP_ID["conv"], OP_ID["relu"]] * n)) for n in range(1, 5)]


@pytest.fixture
def path(tmp_path):
    """An atlas as an older version left it: another encoder, one stale vector, one current, two missing."""
    current = with_vectors(ENTRIES)[DEFAULT]
    with Store.open(tmp_path / "old.atlas", "w") as store:
        store.put(ENTRIES)
        store.put_vectors("wl", dict.fromkeys(current, b"old"))
        store.put_vectors(DEFAULT, {"toy/n1": b"\x01\x00" + current["toy/n1"][2:], "toy/n2": current["toy/n2"]})
    return tmp_path / "old.atlas"


def opened(path):
    return Atlas.open(path, starter=False, cache=path.parent / "cache")


def test_what_an_older_version_left_is_encoded_again(path):
    assert opened(path).vectors(DEFAULT) == with_vectors(ENTRIES)[DEFAULT]
    assert opened(path).vectors("wl") == {entry.id: b"old" for entry in ENTRIES}


def test_it_is_encoded_once(path, monkeypatch):
    expected = opened(path).vectors(DEFAULT)

    def refuse(self, graph):
        raise AssertionError("encoded again")

    monkeypatch.setattr(type(ENCODERS.build(DEFAULT)), "encode", refuse)
    assert opened(path).vectors(DEFAULT) == expected


@pytest.mark.parametrize("damage", [b"", b"not a file of numpy"])
def test_a_damaged_cache_costs_only_time(path, damage):
    expected = opened(path).vectors(DEFAULT)
    (kept,) = (path.parent / "cache").glob("vectors-*.npz")
    kept.write_bytes(damage)
    assert opened(path).vectors(DEFAULT) == expected


def test_a_changed_atlas_is_not_read_from_the_cache(path):
    opened(path).vectors(DEFAULT)
    changed = Entry("toy/n3", "architecture", "n3", graph=graph([OP_ID["linear"]] * 9))
    with Store.open(path, "w") as store:
        store.put([changed])
    assert opened(path).vectors(DEFAULT)["toy/n3"] == ENCODERS.build(DEFAULT).encode(changed.graph)


def test_a_cache_that_cannot_be_written_costs_only_time(path, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with Store.open(path, "r") as store:
        assert encoded.vectors(store, DEFAULT, blocked / "cache") == with_vectors(ENTRIES)[DEFAULT]
