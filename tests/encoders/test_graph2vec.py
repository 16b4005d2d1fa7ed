"""graph2vec: its objective, what it learns from, and graphs it knows nothing of."""

from __future__ import annotations

import numpy as np
import pytest
from test_encoder_contract import ADD, CONV, RELU, make

from netatlas.encoders.graph2vec import Graph2Vec
from netatlas.errors import ConfigError
from netatlas.graph.ops import OP_ID


def chain(*ops):
    return make(list(ops), [(i, i + 1) for i in range(len(ops) - 1)])


CHAINS = [chain(*[CONV, RELU] * n) for n in range(2, 7)]
FORKS = [
    make([CONV, *[RELU] * n, ADD], [(0, i) for i in range(1, n + 1)] + [(i, n + 1) for i in range(1, n + 1)]) for n in range(2, 7)
]


def fitted(**params):
    encoder = Graph2Vec(dim=8, **params)
    encoder.fit([*CHAINS[:4], *FORKS[:4]], ["any"] * 8, seed=0)
    return encoder


def test_gradients_are_those_of_the_expected_objective():
    """Mean over graphs of ``sum(counts log s(x) + k drawn log s(-x)) / sum(counts)``, differentiated by hand against differences."""
    encoder = Graph2Vec(dim=3, negatives=2)
    rng = np.random.default_rng(0)
    table = rng.uniform(0.1, 2, (4, 5))
    encoder._frequency = table.sum(axis=0) / table.sum()

    def objective(graphs, labels):
        x = graphs @ labels.T
        drawn = 2 * table.sum(axis=1, keepdims=True) * encoder._frequency
        values = table * -np.logaddexp(0, -x) + drawn * -np.logaddexp(0, x)
        return (values.sum(axis=1) / table.sum(axis=1)).sum()

    graphs, labels = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    by_graph, by_label = encoder._gradients(table, graphs, labels)
    for point, found, scale in ((graphs, by_graph, 1), (labels, by_label, 4)):
        for index in np.ndindex(point.shape):
            old = point[index]
            point[index] = old + 1e-6
            up = objective(graphs, labels)
            point[index] = old - 1e-6
            down = objective(graphs, labels)
            point[index] = old
            assert found[index] * scale == pytest.approx((up - down) / 2e-6, abs=1e-6)


def test_graphs_it_was_not_trained_on_lie_with_their_like():
    encoder = fitted()
    vectors = [encoder.encode(g) for g in (CHAINS[4], FORKS[4])]
    for own, others in ((0, CHAINS[:4]), (1, FORKS[:4])):
        alike = [encoder.similarities(encoder.encode(g), vectors) for g in others]
        assert all(x[own] > x[1 - own] for x in alike)


def test_families_are_not_looked_at_and_seeds_decide():
    first, second = fitted(), Graph2Vec(dim=8)
    second.fit([*CHAINS[:4], *FORKS[:4]], list("abcdefgh"), seed=0)
    assert first.encode(FORKS[0]) == second.encode(FORKS[0])
    second.fit([*CHAINS[:4], *FORKS[:4]], ["any"] * 8, seed=1)
    assert first.encode(FORKS[0]) != second.encode(FORKS[0])


def test_a_graph_without_known_labels_is_like_its_equals_alone():
    encoder = fitted()
    strange = encoder.encode(chain(OP_ID["lstm"], OP_ID["fft"]))
    assert not np.frombuffer(strange, dtype="<f4").any()
    assert encoder.similarities(strange, [strange, encoder.encode(CHAINS[0])]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dim": 0}, "dim must be 1 or more, got 0"),
        ({"rounds": -1}, "rounds must be 0 or more, got -1"),
        ({"negatives": 0}, "negatives must be 1 or more, got 0"),
        ({"epochs": 0}, "epochs must be 1 or more, got 0"),
    ],
)
def test_misuse_is_named(params, message):
    with pytest.raises(ConfigError, match=message):
        Graph2Vec(**params)


def test_training_needs_shared_labels():
    with pytest.raises(ConfigError, match="graphs that share labels, got 1 that share none"):
        Graph2Vec().fit(CHAINS[:1], ["any"], seed=0)
