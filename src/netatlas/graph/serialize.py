"""Graphs as bytes: small, exact, without pickle, and safe to read from anywhere.

A network repeats itself, so a graph is stored as the few *distinct* nodes it is made of and the sequence in which they occur:

    magic "NAG" · format version · CRC-32 of the rest · inflated length · compressed payload

The payload is a JSON header (sizes, names, counts of unknown operators) and integer columns: the table of distinct nodes column
by column, the sequence, the edges as distances from consumer to producer, and the scopes as steps from one dotted path to the
next, in which ``blocks.3`` after ``blocks.2`` reads the same as ``blocks.7`` after ``blocks.6``. Repeated blocks become repeated
bytes, which is what the compressor is good at.
"""

from __future__ import annotations

import json
import lzma
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from netatlas.errors import GraphError
from netatlas.graph.graph import MAX_RANK, Graph, Scope
from netatlas.graph.ops import ATTRIBUTES, NUM_OPERATORS

MAGIC = b"NAG"
VERSION = 1
MAX_NODES = 1 << 19
MAX_EDGES = 1 << 21
MAX_INFLATED = 1 << 22
MAX_PATHS = 1 << 25
"""Limits (nodes and scopes; edges; payload bytes; characters of all scope paths) that keep the memory for reading any bytes,
however crafted, below 200 MB. The largest networks of the libraries have some ten thousand nodes."""

Ints = npt.NDArray[np.int64]

_HEAD = struct.Struct("<3sBII")
_NODE_COLUMNS = 1 + len(ATTRIBUTES) + MAX_RANK + 2  # op, attrs, shape, params, macs
# Raw LZMA without container: on small graphs the container's header and index cost as much as the data. The columns are byte
# streams without alignment and neighbouring bytes say little, so no position and no context bits. Measured on 42 networks: 890
# bytes on average, against 969 with zlib, 850 with zlib and a shipped dictionary of names, 1,226 with bz2.
_FILTERS: list[dict[str, Any]] = [
    {"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20, "lc": 0, "lp": 0, "pb": 0}
]


def to_bytes(graph: Graph) -> bytes:
    """The graph as bytes; graphs that are equal in every column and scope give equal bytes.

    Raises:
        GraphError: The graph is beyond `MAX_NODES`, `MAX_EDGES`, `MAX_INFLATED` or `MAX_PATHS`.
    """
    _check_size("nodes", len(graph), MAX_NODES)
    _check_size("edges", len(graph.edges), MAX_EDGES)
    _check_size("scopes", len(graph.scopes), MAX_NODES)
    _check_size("characters of scope paths", sum(len(scope.path) + 1 for scope in graph.scopes), MAX_PATHS)
    rows, sequence = _distinct(_node_table(graph))
    degrees, distances = _edge_columns(graph)
    steps, names = _scope_steps(graph.scopes)
    header = {
        "nodes": len(graph),
        "rows": len(rows),
        "edges": len(graph.edges),
        "scopes": len(graph.scopes),
        "steps": len(steps),
        "names": names,
        "params": graph.total_params,
        "unknown": dict(graph.unknown),
    }
    columns = [*rows.T, sequence, np.diff(graph.scope.astype(np.int64), prepend=0), degrees, distances, steps]
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    payload = b"".join([struct.pack("<I", len(text)), text, *map(_pack, columns)])
    _check_size("steps between scopes", len(steps), MAX_EDGES)
    _check_size("bytes before compression", len(payload), MAX_INFLATED)
    body = struct.pack("<I", len(payload)) + lzma.compress(payload, lzma.FORMAT_RAW, filters=_FILTERS)
    return _HEAD.pack(MAGIC, VERSION, zlib.crc32(body), len(body)) + body


def from_bytes(data: bytes) -> Graph:
    """The graph that `to_bytes` wrote.

    Raises:
        GraphError: The bytes are no graph, are damaged, or were written by a newer netatlas.
    """
    payload = _open(data)
    try:
        (length,) = struct.unpack_from("<I", payload)
        header = json.loads(payload[4 : 4 + length])
        return _read(header, _Columns(payload, 4 + length))
    except (AttributeError, KeyError, ValueError, TypeError, IndexError, struct.error, OverflowError, RecursionError) as error:
        raise GraphError(f"graph bytes are damaged: {type(error).__name__} while reading them") from error


def _check_size(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise GraphError(f"graph has {size} {what}, its bytes can hold {limit}")


def _open(data: bytes) -> bytes:
    """The inflated payload of ``data``, after every check that needs no parsing."""
    if len(data) < _HEAD.size + 4 or data[:3] != MAGIC:
        raise GraphError(f"not the bytes of a graph: they start with {bytes(data[:3])!r}, expected {MAGIC!r}")
    _, version, crc, length = _HEAD.unpack_from(data)
    if version > VERSION:
        raise GraphError(f"graph bytes have format {version}, this version reads up to {VERSION}: upgrade netatlas")
    body = data[_HEAD.size :]
    if length != len(body) or version < 1:
        raise GraphError(f"graph bytes are damaged: {len(body)} bytes after the head, expected {length}")
    if zlib.crc32(body) != crc:
        raise GraphError("graph bytes are damaged: the checksum differs")
    (inflated,) = struct.unpack_from("<I", body)
    if inflated > MAX_INFLATED:
        raise GraphError(f"graph bytes are damaged: they claim to inflate to {inflated} bytes, the limit is {MAX_INFLATED}")
    try:
        payload = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS).decompress(body[4:], inflated)
    except lzma.LZMAError as error:
        raise GraphError(f"graph bytes are damaged: {error}") from error
    if len(payload) != inflated:
        raise GraphError(f"graph bytes are damaged: {len(payload)} bytes inflated, expected {inflated}")
    return payload


def _read(header: dict[str, Any], columns: _Columns) -> Graph:
    nodes, rows = _size(header, "nodes", MAX_NODES), _size(header, "rows", MAX_NODES)
    edges, scopes = _size(header, "edges", MAX_EDGES), _size(header, "scopes", MAX_NODES)
    steps = _size(header, "steps", MAX_EDGES)
    table = np.stack([columns.take(rows) for _ in range(_NODE_COLUMNS)], axis=1)
    sequence = columns.take(nodes)
    if nodes and not (int(sequence.min()) >= 0 and int(sequence.max()) < rows):
        raise GraphError("graph bytes are damaged: a node is outside the table of distinct nodes")
    if rows and not (int(table[:, 0].min()) >= 0 and int(table[:, 0].max()) < NUM_OPERATORS):
        raise GraphError("graph bytes are damaged: an operator number is outside the vocabulary")
    scope = np.cumsum(columns.take(nodes))
    edge_list = _edges(columns.take(nodes), columns.take(edges))
    walk = columns.take(steps)
    columns.finish()
    shape_at, params_at = 1 + len(ATTRIBUTES), 1 + len(ATTRIBUTES) + MAX_RANK
    return Graph(
        op=table[:, 0].astype(np.uint8)[sequence],
        attrs=_narrow(table[:, 1:shape_at])[sequence],
        shape=table[:, shape_at:params_at][sequence],
        params=table[:, params_at][sequence],
        macs=table[:, params_at + 1][sequence],
        scope=_narrow(scope),
        edges=_narrow(edge_list),
        scopes=_scopes(walk.tolist(), header["names"], scopes),
        total_params=_count(header["params"]),
        unknown={str(name): int(count) for name, count in header["unknown"].items()},
    )


def _size(header: dict[str, Any], key: str, limit: int) -> int:
    value = header[key]
    if type(value) is not int or not 0 <= value <= limit:
        raise GraphError(f"graph bytes are damaged: {key} is {str(value)[:40]}, the limit is {limit}")
    return value


def _count(value: object) -> int | None:
    if value is not None and type(value) is not int:
        raise GraphError("graph bytes are damaged: the parameter count is no integer")
    return value


def _narrow(values: Ints) -> npt.NDArray[np.int32]:
    narrow = values.astype(np.int32)
    if not np.array_equal(narrow, values):
        raise GraphError("graph bytes are damaged: a column leaves 32 bits")
    return narrow


def _node_table(graph: Graph) -> Ints:
    """What describes a node by itself, ``(g, _NODE_COLUMNS)``."""
    alone = (graph.op[:, None], graph.attrs, graph.shape, graph.params[:, None], graph.macs[:, None])
    return np.concatenate([column.astype(np.int64) for column in alone], axis=1)


def _distinct(table: Ints) -> tuple[Ints, Ints]:
    """The distinct rows in order of first appearance, and for every row its position among them."""
    if not len(table):
        return table, np.zeros(0, np.int64)
    # Rows as opaque byte strings: np.unique along an axis compares fields one by one and is ten times slower.
    opaque = np.ascontiguousarray(table).view(np.dtype((np.void, table.shape[1] * table.itemsize))).ravel()
    _, first, inverse = np.unique(opaque, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    return table[first[order]], position[inverse.ravel()].astype(np.int64)


def _edge_columns(graph: Graph) -> tuple[Ints, Ints]:
    """Number of inputs of every node, and the distance of every edge less one."""
    consumers = graph.edges[:, 1].astype(np.int64)
    return np.bincount(consumers, minlength=len(graph)), consumers - graph.edges[:, 0] - 1


def _edges(degrees: Ints, distances: Ints) -> Ints:
    if (len(degrees) and int(degrees.min()) < 0) or int(degrees.sum()) != len(distances):
        raise GraphError("graph bytes are damaged: the edges do not add up")
    consumers = np.repeat(np.arange(len(degrees)), degrees)
    return np.stack([consumers - distances - 1, consumers], axis=1)


# ---- scopes: a walk over dotted paths. Each scope is: parts dropped from the path before it, number of new parts, the parts, the
# class. A part is a position in the table of names, or 0 for "the number that stood here, plus one".


def _scope_steps(scopes: tuple[Scope, ...]) -> tuple[Ints, list[str]]:
    numbers: dict[str, int] = {}
    walk: list[int] = []
    before: list[str] = []
    for scope in scopes:
        parts = scope.path.split(".")
        kept = _common(before, parts)
        walk += (len(before) - kept, len(parts) - kept)
        for place in range(kept, len(parts)):
            following = place < len(before) and parts[place] == _successor(before[place])
            walk.append(0 if following else numbers.setdefault(parts[place], len(numbers) + 1))
        walk.append(numbers.setdefault(scope.cls, len(numbers) + 1))
        before = parts
    return np.array(walk, dtype=np.int64), list(numbers)


def _scopes(walk: list[int], names: list[str], count: int) -> tuple[Scope, ...]:
    if not all(type(name) is str for name in names) or (walk and min(walk) < 0):
        raise GraphError("graph bytes are damaged: the scopes are malformed")
    scopes: list[Scope] = []
    path: list[str] = []
    budget, steps = MAX_PATHS, iter(walk)
    try:
        while len(scopes) < count:
            kept, new = len(path) - next(steps), next(steps)
            before = path
            path = path[: max(kept, 0)]
            for _ in range(new):
                number = next(steps)
                path.append(names[number - 1] if number else _successor(before[len(path)]) or "")
            budget -= sum(map(len, path)) + len(path)
            if kept < 0 or budget < 0:
                raise GraphError("graph bytes are damaged: the scopes are malformed")
            scopes.append(Scope(".".join(path), names[next(steps) - 1]))
    except StopIteration:
        raise GraphError("graph bytes are damaged: the scopes end early") from None
    return tuple(scopes)


def _common(before: list[str], parts: list[str]) -> int:
    kept = 0
    for old, new in zip(before, parts, strict=False):
        if old != new:
            break
        kept += 1
    return kept


def _successor(part: str) -> str | None:
    """``"4"`` for ``"3"``; ``None`` for what is no plain small number, so that ``"03"`` or a 4 kB number round-trip as names."""
    plain = part.isascii() and part.isdigit() and len(part) < 10 and (part == "0" or part[0] != "0")
    return str(int(part) + 1) if plain else None


# ---- integer columns: zigzag, then 7 bits a byte, low bits first, top bit set on all but the last byte of a number


def _pack(values: Ints) -> bytes:
    """A column of int64 as variable-length bytes; numbers near zero take one byte."""
    signed = values.astype(np.int64)
    rest = ((signed << 1) ^ (signed >> 63)).view(np.uint64)
    groups = np.zeros((len(rest), 10), dtype=np.uint8)
    lengths = np.ones(len(rest), dtype=np.int64)
    for i in range(10):
        groups[:, i] = (rest & np.uint64(0x7F)).astype(np.uint8)
        lengths[rest != 0] = i + 1
        rest = rest >> np.uint64(7)
    used = np.arange(10) < lengths[:, None]
    groups[np.arange(10) < lengths[:, None] - 1] |= 0x80
    return groups[used].tobytes()


class _Columns:
    """Reads columns one after the other from a payload, refusing what is not there before allocating for it."""

    def __init__(self, payload: bytes, start: int) -> None:
        self._bytes = np.frombuffer(payload, dtype=np.uint8)[start:]
        self._ends = np.flatnonzero(self._bytes < 0x80)
        self._numbers = 0  # consumed so far
        if len(self._bytes) and (not len(self._ends) or self._ends[-1] != len(self._bytes) - 1):
            raise GraphError("graph bytes are damaged: the last number is cut off")

    def take(self, count: int) -> Ints:
        """The next ``count`` numbers."""
        ends = self._ends[self._numbers : self._numbers + count]
        if len(ends) != count:
            raise GraphError(f"graph bytes are damaged: a column of {count} numbers has only {len(ends)}")
        if not count:
            return np.zeros(0, np.int64)
        begin = int(self._ends[self._numbers - 1]) + 1 if self._numbers else 0
        self._numbers += count
        starts = np.concatenate([[begin], ends[:-1] + 1])
        lengths = ends - starts + 1
        if int(lengths.max()) > 10:
            raise GraphError("graph bytes are damaged: a number has more than 64 bits")
        chunk = self._bytes[begin : int(ends[-1]) + 1]
        shift = 7 * (np.arange(len(chunk)) - np.repeat(starts - begin, lengths))
        groups = (chunk & 0x7F).astype(np.uint64) << shift.astype(np.uint64)
        whole = np.bitwise_or.reduceat(groups, starts - begin)
        return (whole >> np.uint64(1)).view(np.int64) ^ -(whole & np.uint64(1)).view(np.int64)

    def finish(self) -> None:
        if self._numbers != len(self._ends):
            raise GraphError(f"graph bytes are damaged: {len(self._ends) - self._numbers} numbers too many")
