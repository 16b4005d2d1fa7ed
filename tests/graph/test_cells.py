"""The DARTS space: its size, its numbers, its networks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netatlas.errors import ConfigError
from netatlas.graph.cells import OPERATIONS, SIZE, STEPS, Cell, draw, network
from netatlas.graph.coarse import coarse

cells = st.integers(0, SIZE - 1).map(Cell.of)


def test_the_size_of_the_space():
    assert SIZE == 7**8 * 2880 == 16_602_626_880


@given(index=st.integers(0, SIZE - 1))
def test_number_to_cell_to_number(index):
    assert Cell.of(index).index == index


@given(ops=st.lists(st.integers(0, 6), min_size=8, max_size=8), data=st.data())
def test_cell_to_number_to_cell(ops, data):
    sources = [s for n in range(STEPS) for s in data.draw(st.permutations(range(n + 2)))[:2]]
    cell = Cell(tuple(ops), tuple(sources))
    assert 0 <= cell.index < SIZE
    assert Cell.of(cell.index) == cell


def test_small_numbers_are_different_cells():
    assert len({Cell.of(i) for i in range(5000)}) == 5000


@given(normal=cells, reduction=cells)
def test_a_network_of_twenty_layers_has_265_nodes_and_404_edges(normal, reduction):
    graph = network(normal, reduction, 20)
    assert (len(graph), len(graph.edges)) == (265, 404)
    assert (graph.edges[:, 0] < graph.edges[:, 1]).all()  # so it is acyclic


@pytest.mark.parametrize("layers", [1, 8, 14])
def test_nodes_by_depth(layers):
    graph = network(Cell.of(0), Cell.of(SIZE - 1), layers)
    assert len(graph) == 13 * layers + 5
    assert len(graph.outputs) == 1 or layers == 1
    assert graph.node_shape(graph.outputs[-1])[1] == 10


def test_reduction_cells_stand_at_the_thirds():
    graph = network(Cell.of(1), Cell.of(2), 9)
    sides = [graph.node_shape(i)[-1] for i, name in enumerate(graph.names) if name == "concat"]
    assert sides == [32, 32, 32, 16, 16, 16, 8, 8, 8]


@given(cell=cells, seed=st.integers(0, 2**16))
def test_rewiring_moves_one_edge_and_no_operation(cell, seed):
    other = cell.rewired(np.random.default_rng(seed))
    assert other.ops == cell.ops
    assert sum(a != b for a, b in zip(cell.sources, other.sources, strict=True)) == 1
    a, b = (network(c, cell, 8) for c in (cell, other))
    assert Counter(a.names) == Counter(b.names)
    assert Counter(coarse(a).names) == Counter(coarse(b).names)


def test_draws_reach_all_operations_and_follow_the_seed():
    rng = np.random.default_rng(0)
    drawn = [draw(rng) for _ in range(200)]
    assert {op for cell in drawn for op in cell.ops} == set(range(len(OPERATIONS)))
    assert drawn[:5] == [draw(r) for r in [np.random.default_rng(0)] for _ in range(5)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cell.of(SIZE), f"cells 0 to {SIZE - 1}, got {SIZE}"),
        (lambda: Cell.of(-1), "got -1"),
        (lambda: Cell((0,) * 7, (0, 1) * 4), "8 operations below 7"),
        (lambda: Cell((7,) + (0,) * 7, (0, 1) * 4), "8 operations below 7"),
        (lambda: Cell((0,) * 8, (0, 0) + (0, 1) * 3), "two different earlier outputs"),
        (lambda: Cell((0,) * 8, (0, 2) + (0, 1) * 3), "two different earlier outputs"),
        (lambda: network(Cell.of(0), Cell.of(0), 0), "1 layer or more, got 0"),
    ],
)
def test_misuse_is_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
