"""Graph bytes: exact both ways, small, and every damage is a GraphError."""

from __future__ import annotations

import json
import lzma
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netatlas.errors import GraphError
from netatlas.graph import serialize
from netatlas.graph.graph import MAX_RANK, Graph, Scope
from netatlas.graph.ops import ATTRIBUTES, NUM_OPERATORS
from netatlas.graph.serialize import from_bytes, to_bytes

WORDS = st.sampled_from(["", "0", "1", "2", "9", "10", "03", "blocks", "attn", "é", "a" * 40, "9" * 12, "\ud800"])


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph the class accepts, extremes of every column included."""
    nodes = draw(st.integers(0, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    wide = draw(st.booleans())
    high32, high64 = (2**31, 2**63) if wide else (4, 9)
    scopes = draw(
        st.lists(st.builds(Scope, st.lists(WORDS, min_size=1, max_size=4).map(".".join), WORDS), min_size=1, max_size=8)
    )
    pairs = [(int(rng.integers(0, j)), j) for j in range(1, nodes) for _ in range(int(rng.integers(0, 3)))]
    return Graph(
        op=rng.integers(0, NUM_OPERATORS, nodes),
        attrs=rng.integers(-high32, high32, (nodes, len(ATTRIBUTES))),
        shape=rng.integers(0, high64, (nodes, MAX_RANK)),
        params=rng.integers(0, high64, nodes),
        macs=rng.integers(-high64, high64, nodes),
        scope=rng.integers(0, len(scopes), nodes),
        edges=np.array(pairs, dtype=np.int64).reshape(-1, 2),
        scopes=tuple(scopes),
        total_params=draw(st.none() | st.integers(0, 2**70)),
        unknown=draw(st.dictionaries(st.text(max_size=9), st.integers(0, 99), max_size=3)),
    )


def blocks(count: int) -> Graph:
    """A plain stack of ``count`` blocks of convolution, normalisation, activation and a shortcut."""
    op, scope, edges, scopes = [0], [0], [], [Scope("", "Net")]
    for block in range(count):
        entry = len(op) - 1
        for leaf, cls, kind in (("conv", "Conv2d", 2), ("norm", "BatchNorm2d", 20), ("act", "ReLU", 30), ("", "Block", 60)):
            scopes.append(Scope(f"blocks.{block}.{leaf}".rstrip("."), cls))
            edges += [(entry, len(op))] if kind == 60 and block else []
            edges.append((len(op) - 1, len(op)))
            op.append(kind)
            scope.append(len(scopes) - 1)
    g = len(op)
    shape = np.tile([0, 0, 1, 64, 56, 56], (g, 1))
    params = np.where(np.array(op) == 2, 36864, 0)
    return Graph(
        op=np.array(op), attrs=np.zeros((g, len(ATTRIBUTES))), shape=shape, params=params, macs=params * 3136,
        scope=np.array(scope), edges=np.array(edges), scopes=tuple(scopes), total_params=int(params.sum()),
    )  # fmt: skip


def assert_equal(a: Graph, b: Graph) -> None:
    for name in ("op", "attrs", "shape", "params", "macs", "scope", "edges"):
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype, name
        np.testing.assert_array_equal(x, y, err_msg=name)
    assert (a.scopes, a.total_params, dict(a.unknown)) == (b.scopes, b.total_params, dict(b.unknown))


@given(graph=graphs())
def test_round_trip_is_exact(graph: Graph) -> None:
    data = to_bytes(graph)
    back = from_bytes(data)
    assert_equal(graph, back)
    assert to_bytes(back) == data


def test_repeated_blocks_cost_almost_nothing() -> None:
    small, large = to_bytes(blocks(4)), to_bytes(blocks(400))
    assert len(large) < len(small) + 120
    assert len(large) < 400


DATA = to_bytes(blocks(12))


@given(st.lists(st.tuples(st.integers(0, len(DATA) - 1), st.integers(1, 255)), min_size=1, max_size=4, unique_by=lambda x: x[0]))
@settings(max_examples=300)
def test_flipped_bytes_are_noticed(flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(DATA)
    for place, mask in flips:
        damaged[place] ^= mask
    with pytest.raises(GraphError):
        from_bytes(bytes(damaged))


@pytest.mark.parametrize("length", range(0, len(DATA), 3))
def test_truncated_bytes_are_noticed(length: int) -> None:
    with pytest.raises(GraphError):
        from_bytes(DATA[:length])


def test_appended_bytes_are_noticed() -> None:
    with pytest.raises(GraphError, match="expected"):
        from_bytes(DATA + b"\0")


def test_newer_format_is_refused_by_name() -> None:
    with pytest.raises(GraphError, match="format 9, this version reads up to 1: upgrade netatlas"):
        from_bytes(DATA[:3] + b"\x09" + DATA[4:])


def forge(payload: bytes, inflated: int | None = None) -> bytes:
    """Bytes with a right checksum around any payload: what a hostile writer could make."""
    packed = lzma.compress(payload, lzma.FORMAT_RAW, filters=serialize._FILTERS)
    body = struct.pack("<I", len(payload) if inflated is None else inflated) + packed
    return serialize._HEAD.pack(serialize.MAGIC, serialize.VERSION, zlib.crc32(body), len(body)) + body


def payload_of(data: bytes) -> bytes:
    return serialize._open(data)


HONEST = payload_of(DATA)


@given(
    st.lists(st.tuples(st.integers(0, len(HONEST) - 1), st.integers(0, 255)), max_size=3),
    st.integers(0, len(HONEST)),
    st.booleans(),
)
@settings(max_examples=400)
def test_forged_payloads_give_a_graph_or_a_graph_error(changes: list[tuple[int, int]], cut: int, cuts: bool) -> None:
    payload = bytearray(HONEST)
    for place, value in changes:
        payload[place] = value
    try:
        graph = from_bytes(forge(bytes(payload[:cut] if cuts else payload)))
    except GraphError:
        return
    assert isinstance(graph, Graph)
    to_bytes(graph)


HEADER = json.loads(HONEST[4 : 4 + struct.unpack("<I", HONEST[:4])[0]])


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": 2**40}, {"nodes": serialize.MAX_NODES}, {"rows": 2**19}, {"edges": 2**21}, {"scopes": 2**19}, {"nodes": -1},
        {"nodes": True}, {"nodes": 1.5}, {"steps": 10**4000}, {"names": []}, {"names": 3}, {"names": [1] * 99}, {"names": None},
        {"params": "x"}, {"unknown": [1]}, {"unknown": {"a": "b"}}, {"unknown": {"a": None}},
    ],
    ids=lambda change: str(change)[:30],
)  # fmt: skip
def test_lying_headers_are_refused_without_allocating(change: dict[str, object]) -> None:
    text = json.dumps({**HEADER, **change}).encode()
    rest = HONEST[4 + struct.unpack("<I", HONEST[:4])[0] :]
    data = forge(struct.pack("<I", len(text)) + text + rest)
    tracemalloc.start()
    try:
        with pytest.raises(GraphError):
            from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("header", [b"[]", b"3", b"null", b"{", b'"x"', b"[" * 100_000, b"\xff"], ids=repr)
def test_foreign_headers_are_refused(header: bytes) -> None:
    with pytest.raises(GraphError):
        from_bytes(forge(struct.pack("<I", len(header)) + header))


def test_expansion_bomb_stays_small() -> None:
    bomb = b"\0" * serialize.MAX_INFLATED
    tracemalloc.start()
    try:
        for data in (forge(bomb), forge(bomb * 20), forge(bomb * 20, 100), forge(b"", 2**31)):
            with pytest.raises(GraphError):
                from_bytes(data)
            peak = tracemalloc.get_traced_memory()[1]
            assert peak < 200e6, f"{peak / 1e6:.0f} MB"
            tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()


def test_graph_beyond_the_limits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialize, "MAX_NODES", 10)
    with pytest.raises(GraphError, match="graph has 17 nodes, its bytes can hold 10"):
        to_bytes(blocks(4))
