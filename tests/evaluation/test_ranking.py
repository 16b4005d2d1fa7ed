"""Metrics against figures worked out by hand, against a slow definition, and at the level of chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netatlas.errors import ConfigError
from netatlas.evaluation.ranking import best_first, paired_bootstrap, retrieval_metrics


def test_the_published_example():
    """R = {1, 2, 3, 9}, ranking 1..10: precisions 1, 1, 1, 4/9; gains at 1, 2, 3, 9 against those at 1 to 4."""
    found = retrieval_metrics(range(1, 11), {1, 2, 3, 9}, ks=(10,))
    assert found["mrr@10"] == 1
    assert found["map@10"] == pytest.approx((3 + 4 / 9) / 4)
    assert found["map@10"] == pytest.approx(0.8611, abs=5e-5)
    assert found["ndcg@10"] == pytest.approx(0.9494, abs=5e-5)


def test_first_hit_at_rank_three_and_none_within_k():
    found = retrieval_metrics("abcde", {"c", "z"}, ks=(2, 3))
    assert (found["mrr@2"], found["map@2"], found["ndcg@2"]) == (0, 0, 0)
    assert found["mrr@3"] == pytest.approx(1 / 3)
    assert found["map@3"] == pytest.approx(1 / 3 / 2)
    assert found["ndcg@3"] == pytest.approx((1 / 2) / (1 + 1 / math.log2(3)))


def test_conventions_differ_where_more_is_relevant_than_k():
    ranking, relevant = list(range(10)), set(range(8))
    ours, theirs = (retrieval_metrics(ranking, relevant, ks=(4,), convention=c) for c in ("standard", "nar-repo"))
    assert ours == {"mrr@4": 1, "map@4": 1, "ndcg@4": pytest.approx(1)}
    assert theirs["map@4"] == pytest.approx(4 / 8)
    assert theirs["ndcg@4"] < 1


rankings = st.permutations(range(12))
relevants = st.sets(st.integers(0, 15), min_size=1)


@given(ranking=rankings, relevant=relevants, k=st.integers(1, 14))
def test_against_the_definition(ranking, relevant, k):
    hits = [item in relevant for item in ranking[:k]]
    limit = min(len(relevant), k)
    precisions = [sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]
    found = retrieval_metrics(ranking, relevant, ks=(k,))
    assert found[f"mrr@{k}"] == (1 / (hits.index(True) + 1) if any(hits) else 0)
    assert found[f"map@{k}"] == pytest.approx(sum(precisions) / limit)
    gain = sum(1 / math.log2(i + 2) for i, hit in enumerate(hits) if hit)
    assert found[f"ndcg@{k}"] == pytest.approx(gain / sum(1 / math.log2(i + 2) for i in range(limit)))
    assert all(0 <= value <= 1 + 1e-12 for value in found.values())


@given(ranking=rankings, relevant=relevants, k=st.integers(1, 12), more=st.integers(0, 5))
def test_irrelevant_items_below_k_change_nothing(ranking, relevant, k, more):
    longer = [*ranking, *range(100, 100 + more)]
    assert retrieval_metrics(longer, relevant, ks=(k,)) == retrieval_metrics(ranking, relevant, ks=(k,))


def test_ties_are_broken_by_id_in_whatever_order_things_are_stored():
    ids, similarity = ["b", "c", "a", "d"], np.array([0.5, 0.9, 0.5, 0.5])
    assert [ids[i] for i in best_first(similarity, ids)] == ["c", "a", "b", "d"]
    for order in ([3, 1, 0, 2], [2, 0, 3, 1]):
        moved = [ids[i] for i in order]
        assert [moved[i] for i in best_first(similarity[order], moved)] == ["c", "a", "b", "d"]


def test_random_rankings_score_at_chance():
    """The expected AP of a random order of m items with r relevant is known: (r - 1)/(m - 1) + (m - r) H_m / (m (m - 1))."""
    rng, m, r = np.random.default_rng(0), 40, 6
    found = [retrieval_metrics(rng.permutation(m).tolist(), set(range(r)), ks=(m,)) for _ in range(4000)]
    harmonic = sum(1 / i for i in range(1, m + 1))
    expected = (r - 1) / (m - 1) + (m - r) * harmonic / (m * (m - 1))
    assert np.mean([f[f"map@{m}"] for f in found]) == pytest.approx(expected, rel=0.02)
    first = sum(math.comb(m - rank, r - 1) / math.comb(m, r) / rank for rank in range(1, m - r + 2))
    assert np.mean([f[f"mrr@{m}"] for f in found]) == pytest.approx(first, rel=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relevant": set()}, "something relevant and cut-offs of 1 or more, got 0 items"),
        ({"ks": (0,)}, r"got 1 items and k=\(0,\)"),
        ({"convention": "nar-rep"}, "no convention 'nar-rep' .*did you mean 'nar-repo'"),
    ],
)
def test_misuse_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        retrieval_metrics([1], **{"relevant": {1}, **options})


def test_the_bootstrap_covers_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        a, b = rng.normal(0.3, 1, 60), rng.normal(0.0, 1, 60)
        _, low, high = paired_bootstrap(a.tolist(), b.tolist(), rng=rng, samples=1000)
        covered += low <= 0.3 <= high
    assert 0.90 <= covered / 200 <= 0.98


def test_the_bootstrap_is_paired():
    """What both sides share does not widen the interval."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 10, 200)
    mean, low, high = paired_bootstrap((shared + 0.1).tolist(), shared.tolist(), rng=rng, samples=500)
    assert mean == pytest.approx(0.1)
    assert (low, high) == (pytest.approx(0.1), pytest.approx(0.1))


def test_bootstrap_weights_count_as_repeated_queries():
    rng = np.random.default_rng(0)
    a, zeros = [1.0, 0.0, 0.5], [0.0, 0.0, 0.0]
    mean, low, high = paired_bootstrap(a, zeros, weights=[2, 1, 1], rng=rng, samples=4000)
    assert mean == pytest.approx((2 * 1 + 0 + 0.5) / 4)
    assert low < mean < high
    even = paired_bootstrap(a, zeros, rng=np.random.default_rng(0))
    assert even == paired_bootstrap(a, zeros, weights=[1, 1, 1], rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match="got 3 and 1"):
        paired_bootstrap(a, [0.0], rng=rng)
