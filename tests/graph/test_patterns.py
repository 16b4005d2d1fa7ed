"""Patterns against a naive walk, and what they refuse."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netatlas.errors import QueryError
from netatlas.graph.graph import MAX_RANK, Graph, Scope
from netatlas.graph.ops import ATTRIBUTE_COLUMN, ATTRIBUTES, OP_ID
from netatlas.graph.patterns import MOST_STATES, count, parse, paths, place_of
from netatlas.graph.pool import Pool, pool_of


def graph(ops, edges, **attrs):
    g = len(ops)
    columns = np.zeros((g, len(ATTRIBUTES)), dtype=np.int32)
    for name, values in attrs.items():
        columns[:, ATTRIBUTE_COLUMN[name]] = values
    zeros = np.zeros(g, dtype=np.int64)
    edges = sorted(set(edges), key=lambda e: (e[1], e[0]))
    return Graph(
        np.array([OP_ID[o] for o in ops], dtype=np.uint8), columns, np.ones((g, MAX_RANK), dtype=np.int64), zeros, zeros,
        np.arange(g), np.array(edges).reshape(-1, 2), tuple(Scope(f"m.{i}", "M") for i in range(g)),
    )  # fmt: skip


def chain(*ops):
    return graph(ops, [(i, i + 1) for i in range(len(ops) - 1)])


def hits(text, g):
    return int(count(pool_of(g), parse(text))[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("conv -> norm -> act", 1),
        ("conv -> act", 0),
        ("conv -> * -> act", 1),
        ("conv -> ** -> act", 2),
        ("conv -> ** -> linear", 1),
        ("act{2}", 1),
        ("act{1,2} -> linear", 1),
        ("act{3}", 0),
        ("conv -> (linear|batch_norm) -> relu", 1),
        ("conv -> pool? -> norm", 1),
        ("convolution -> (norm -> act+)+ -> linear", 1),
        ("*", 5),
        ("conv | linear", 2),
    ],
)
def test_a_chain_by_hand(text, expected):
    assert hits(text, chain("input", "conv", "batch_norm", "relu", "gelu", "linear")) == expected


def test_attributes():
    g = graph(
        ["input", "conv", "conv", "conv"],
        [(0, 1), (1, 2), (2, 3)],
        kernel_h=[0, 7, 1, 1],
        kernel_w=[0, 7, 7, 1],
        groups=[0, 4, 1, 1],
    )
    assert [hits(f"conv[{a}]", g) for a in ("k=7", "k=1x7", "pointwise", "groups>1", "not pointwise", "k>=7, groups=4")] == [
        1,
        1,
        1,
        1,
        2,
        1,
    ]


def test_fused_and_hand_written_attention_are_found_alike():
    fused = chain("linear", "attention", "linear")
    written = chain("linear", "matmul", "mul", "softmax", "matmul", "linear")
    for text in ("matmul -> * -> softmax", "softmax -> matmul -> linear", "linear -> matmul -> ** -> softmax"):
        assert hits(text, fused) == hits(text, written) == 1, text
    assert hits("matmul -> softmax", fused) == 1  # the scale is optional there
    assert [place_of(fused, p) for p in paths(fused, parse("matmul -> * -> softmax"))] == ["m.1"]


@given(st.data())
def test_counts_equal_a_naive_walk(data):
    n = data.draw(st.integers(1, 9))
    ops = data.draw(st.lists(st.sampled_from(["conv", "relu", "add"]), min_size=n, max_size=n))
    edges = data.draw(
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] < e[1]), max_size=14)
    )
    g = graph(ops, edges)
    words = []

    def walk(path):
        words.append(path)
        for b in sorted({b for a, b in edges if a == path[-1]}):
            walk([*path, b])

    for i in range(n):
        walk([i])
    letters = {"conv": "c", "relu": "r", "add": "a"}
    import re

    for text, regex in [("conv -> relu", "cr"), ("conv -> ** -> add", "c.*a"), ("(conv -> relu?){1,3} -> add", "(cr?){1,3}a"),
                        ("act+ | add -> *", "r+|a."), ("conv{2,}", "c{2,}")]:  # fmt: skip
        ends = {w[-1] for w in words if re.fullmatch(regex, "".join(letters[ops[i]] for i in w))}
        assert hits(text, g) == len(ends), text
        found = paths(g, parse(text))
        assert {p[-1] for p in found} == ends
        assert all(re.fullmatch(regex, "".join(letters[ops[i]] for i in p)) for p in found)


def test_many_graphs_are_counted_one_by_one():
    many = [("a", chain("conv", "relu")), ("b", chain("linear")), ("c", chain("conv", "relu", "conv", "relu"))]
    assert count(Pool.of(many), parse("conv -> relu")).tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv -> sofmax", "unknown operator 'sofmax' at position 9 of 'conv -> sofmax': did you mean 'softmax'"),
        ("conv ->", "found 'the end'"),
        ("conv relu", "unexpected 'relu'"),
        ("conv[depthwize]", "did you mean 'depthwise'"),
        ("conv[kernel=3x3]", "no attribute"),
        ("(conv", "expected ')'"),
        ("conv{3,1}", "smaller first"),
        ("conv{0}", "between 1 and"),
        ("conv{99}", "between 1 and"),
        ("**", "no operators"),
        ("conv?", "no operators"),
        ("", "the end"),
        ("conv; rm", "cannot read ';' at position 5"),
        ("(" * 30 + "conv" + ")" * 30, "deeper"),
        ("conv -> " * 400 + "conv", "characters"),
        ("((act{1,9}){1,9}){1,9}", "at most 64"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    with pytest.raises(QueryError, match=".") as caught:
        parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nested_repetition_on_a_hundred_thousand_nodes_is_bounded():
    n = 100_000  # two layers wide, so that paths are beyond counting
    ops = ["conv", "relu"] * (n // 2)
    edges = [(i, j) for i in range(n) for j in (i + 1, i + 2) if j < n]
    wide = graph(ops, edges)
    started = time.monotonic()
    pattern = parse("((conv|act)+ -> ((conv|act){1,7})+)+ -> ** -> linear")
    assert len(pattern.states) <= MOST_STATES
    assert count(pool_of(wide), pattern)[0] == 0
    assert hits("((conv|act)+)+ -> (relu{1,5}){1,3} -> conv{2}", wide) > 0
    assert time.monotonic() - started < 30
