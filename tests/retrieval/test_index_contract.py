"""Every index: the exact oracle, the order of insertion, large k, saving, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from netatlas.errors import ConfigError, MissingExtraError
from netatlas.retrieval.base import EXACT_UP_TO, INDEXES, index_for


@pytest.fixture(params=list(INDEXES))
def index(request):
    try:
        return INDEXES.build(request.param)
    except MissingExtraError as error:
        pytest.skip(str(error))


def vectors(m, d=8, seed=0):
    return np.random.default_rng(seed).integers(-4, 5, (m, d)).astype(np.float32)


def naive(ids, x, query, k):
    return sorted(((i, float(v @ query)) for i, v in zip(ids, x, strict=True)), key=lambda p: (-p[1], p[0]))[:k]


def test_equals_a_naive_loop_in_any_order_of_insertion(index):
    x, ids = vectors(200), [f"n{i:03}" for i in range(200)]
    order = np.random.default_rng(1).permutation(200)
    for part in np.array_split(order, 3):
        index.add([ids[i] for i in part], x[part])
    queries = vectors(5, seed=2)
    for query, found in zip(queries, index.search(queries, 7), strict=True):
        assert [s for _, s in found] == [s for _, s in naive(ids, x, query, 7)]
        assert found == sorted(found, key=lambda p: (-p[1], p[0]))
        assert all(float(x[ids.index(i)] @ query) == s for i, s in found)
    assert len(index) == 200


def test_k_beyond_size_and_zero(index):
    index.add(["b", "a"], vectors(2))
    assert len(index.search(vectors(1), 50)[0]) == 2
    assert index.search(vectors(1), 0) == [[]]


def test_empty(index, tmp_path):
    assert index.search(vectors(2), 3) == [[], []]
    index.save(tmp_path)
    assert len(type(index).load(tmp_path)) == 0


def test_save_and_load(index, tmp_path):
    index.add([str(i) for i in range(30)], vectors(30))
    index.save(tmp_path)
    again = type(index).load(tmp_path)
    assert again.search(vectors(4, seed=3), 5) == index.search(vectors(4, seed=3), 5)
    again.add(["new"], vectors(1))
    assert len(again) == 31
    (tmp_path / "ids.json").write_text('["a"]')
    with pytest.raises(ConfigError, match="1 ids for 30"):
        type(index).load(tmp_path)


def test_what_is_refused(index):
    index.add(["a"], vectors(1))
    for ids, x, message in (
        (["a"], vectors(1), "twice"), (["b"], vectors(1, 9), "dimensions"), (["b", "c"], vectors(1), "2 ids"),
        (["b"], np.full((1, 8), np.nan, np.float32), "finite"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            index.add(ids, x)
    with pytest.raises(ConfigError, match="k must"):
        index.search(vectors(1), -1)
    with pytest.raises(ConfigError, match="shape"):
        index.search(vectors(1, 3), 1)
    assert len(index) == 1


def test_the_size_decides():
    assert type(index_for(EXACT_UP_TO)).__name__ == "ExactIndex"
    pytest.importorskip("faiss", reason="needs the extra 'faiss'")
    assert type(index_for(EXACT_UP_TO + 1)).__name__ == "FaissIndex"


def test_recall_of_the_approximate_index():
    pytest.importorskip("faiss", reason="needs the extra 'faiss'")
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((300, 32))
    x = (centres[rng.integers(0, 300, 20_000)] + 0.7 * rng.standard_normal((20_000, 32))).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    ids = [str(i) for i in range(len(x))]
    exact, fast = INDEXES.build("exact"), INDEXES.build("faiss-ivf")
    exact.add(ids, x)
    fast.add(ids, x)
    pairs = zip(exact.search(x[:100], 10), fast.search(x[:100], 10), strict=True)
    assert np.mean([len({i for i, _ in a} & {i for i, _ in b}) / 10 for a, b in pairs]) >= 0.98
