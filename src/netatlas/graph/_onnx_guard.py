"""Opening ONNX files that may be hostile: bounded size, depth and time, and never a byte from outside the file.

A model file is walked at the level of the protobuf wire format before it is parsed. The walk checks every length against what
is left of the file, counts nodes, and leaves out the contents of large tensors, so that what is parsed (the *skeleton*) is the
structure alone: a 500 MB network has a skeleton of some hundred kilobytes, and its weights are never read into memory.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netatlas.errors import SourceError, did_you_mean

MAX_BYTES = 2**31 - 1
"""Protobuf's own limit for one message; larger networks keep their weights in external files."""

MAX_NODES = 200_000
"""Nodes of a model with its functions and subgraphs written out. The largest exports we know have some tens of thousands."""

MAX_SKELETON = 2**28
"""Bytes of structure (names, attributes, small constants) that are parsed; 256 MiB."""

MAX_ELEMENTS = 2**48
"""Elements of one tensor. Products of two such counts still fit the 64-bit columns of a graph."""

KEPT = 2**14
"""Bytes of one tensor's contents that are kept: shapes, scalars, axes and small masks are shorter, weights are longer."""

_MAX_FIELDS = 8_000_000  # about ten seconds of walking; numbers stored one field each instead of packed would exceed it
_MAX_NESTING = 100  # protobuf's own limit

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MODEL_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_TENSOR_DATA = frozenset({4, 5, 6, 7, 9, 10, 11})
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9

# Which length-delimited fields may hold graphs or tensors, by kind of message: field number -> kind of its body.
_CHILDREN: Mapping[str, Mapping[int, str]] = {
    "model": {_MODEL_GRAPH: "graph", _MODEL_FUNCTIONS: "function"},
    "graph": {_GRAPH_NODE: "node", _GRAPH_INITIALIZER: "tensor", _GRAPH_SPARSE: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}

_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
         17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2}  # fmt: skip
"""Bits of one element by `TensorProto.DataType`."""


@dataclass
class _Walk:
    """State of one walk: the file's bytes, what was counted, and the pieces of the skeleton."""

    label: str
    data: memoryview
    fields: int = 0
    nodes: int = 0
    size: int = 0
    pieces: list[bytes] = field(default_factory=list)


def refusal(message: str, reason: str = "damaged file") -> SourceError:
    """The error for a file that cannot be imported; names in it come from the file and may hold anything."""
    return SourceError(printable(message), reason=reason)


def printable(text: str) -> str:
    """``text`` on one line, without characters that terminals act on."""
    return "".join(c if c.isprintable() else "?" for c in text)


def load_model(path: str | os.PathLike[str]) -> tuple[Any, list[str]]:
    """The model in ``path`` as an ``onnx.ModelProto`` without the contents of large tensors, and notes for the user.

    External data is never opened: shapes are in the file itself. Where a tensor's external file is missing, a note says so.

    Raises:
        SourceError: The file is missing, empty, truncated, not ONNX, larger than `MAX_BYTES`, has more than `MAX_NODES` nodes or
            too deep a nesting, or refers to external data outside its own folder.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    file = _checked_file(Path(path))
    skeleton = _read_skeleton(file)
    try:
        model = onnx.ModelProto.FromString(skeleton)
    except (DecodeError, RecursionError) as error:
        raise refusal(
            f"{file}: not a readable ONNX model: damaged, or subgraphs nested more than {_MAX_NESTING // 3} deep",
            reason="damaged file",
        ) from error
    if not model.graph.node:
        raise refusal(f"{file}: no ONNX graph with nodes in it", reason="not ONNX")
    return model, _check_tensors(file, model)


def _checked_file(path: Path) -> Path:
    if not path.exists():
        near = did_you_mean(path.name, [x.name for x in path.parent.glob("*.onnx")] if path.parent.is_dir() else [])
        raise refusal(f"no such file: '{path}'{near}", reason="no such file")
    if not path.is_file():
        raise refusal(f"{path}: not a file; give the .onnx file itself", reason="not a file")
    size = path.stat().st_size
    if size == 0:
        raise refusal(f"{path}: empty file, expected an ONNX model", reason="damaged file")
    if size > MAX_BYTES:
        raise refusal(
            f"{path}: {size / 2**30:.1f} GiB, more than the 2 GiB a protobuf message can have; save its weights as external data",
            reason="too large",
        )
    return path


def _read_skeleton(path: Path) -> bytes:
    try:
        with (
            path.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as data,
        ):
            walk = _Walk(str(path), data)
            found = _copy_message(walk, "model", 0, len(data), 0)
            walk.data = memoryview(b"")
    except OSError as error:
        raise refusal(f"{path}: cannot be read: {error.strerror or error}", reason="not readable") from error
    return found


def _damaged(walk: _Walk, what: str) -> SourceError:
    return refusal(f"{walk.label}: not a readable ONNX model: {what}", reason="damaged file")


def _varint(walk: _Walk, at: int, end: int) -> tuple[int, int]:
    """The number at ``at`` and the position behind it."""
    data, shift, value = walk.data, 0, 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _damaged(walk, f"truncated number at byte {at}")


def _fields(walk: _Walk, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Fields of the message in ``[start, end)``: number, wire type, where the field, its body and the next field begin."""
    at = start
    while at < end:
        begin = at
        key, at = _varint(walk, at, end)
        number, wire = key >> 3, key & 7
        if wire == _BYTES:
            length, at = _varint(walk, at, end)
        elif wire == _VARINT:
            _, stop = _varint(walk, at, end)
            length = stop - at
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise _damaged(walk, f"byte {begin} starts no protobuf field")
        if number == 0 or length > end - at:
            raise _damaged(walk, f"the field at byte {begin} claims {length:,} bytes where {end - at:,} are left")
        walk.fields += 1
        if walk.fields > _MAX_FIELDS:
            raise refusal(f"{walk.label}: more than {_MAX_FIELDS:,} fields; refused", reason="too large")
        yield number, wire, begin, at, at + length
        at += length


def _copy_message(walk: _Walk, kind: str, start: int, end: int, depth: int) -> bytes:
    """The message in ``[start, end)`` without the contents of large tensors."""
    if depth > _MAX_NESTING:
        raise _damaged(walk, f"messages nested more than {_MAX_NESTING} deep")
    if kind == "tensor":
        return _copy_tensor(walk, start, end)
    children, pieces, kept_from = _CHILDREN[kind], [], start
    for number, wire, begin, body, stop in _fields(walk, start, end):
        if kind == "model" and number not in _MODEL_FIELDS:
            raise _damaged(walk, f"byte {begin} is no field of a model")
        child = children.get(number) if wire == _BYTES else None
        if child == "node":
            walk.nodes += 1
            if walk.nodes > MAX_NODES:
                raise refusal(f"{walk.label}: more than {MAX_NODES:,} nodes; refused", reason="too large")
        if child is None or stop - body <= KEPT:
            continue
        copied = _copy_message(walk, child, body, stop, depth + 1)
        pieces += [bytes(walk.data[kept_from:begin]), _encode_varint(number << 3 | _BYTES), _encode_varint(len(copied)), copied]
        kept_from = stop
    pieces.append(bytes(walk.data[kept_from:end]))
    found = b"".join(pieces)
    if len(found) > MAX_SKELETON:
        raise refusal(f"{walk.label}: more than {MAX_SKELETON >> 20} MiB of structure; refused", reason="too large")
    return found


def _copy_tensor(walk: _Walk, start: int, end: int) -> bytes:
    pieces, kept_from, dims, element, name, raw = [], start, [], 0, "", -1
    for number, wire, begin, body, stop in _fields(walk, start, end):
        if number == _TENSOR_DIMS and wire == _VARINT:
            dims.append(_varint(walk, body, end)[0])
        elif number == _TENSOR_DIMS and wire == _BYTES:
            dims += _packed(walk, body, stop)
        elif number == _TENSOR_TYPE and wire == _VARINT:
            element = _varint(walk, body, end)[0]
        elif number == _TENSOR_NAME and wire == _BYTES:
            name = bytes(walk.data[body:stop]).decode("utf-8", "replace")
        elif number in _TENSOR_DATA and stop - body > KEPT:
            raw = stop - body if number == _TENSOR_RAW else raw
            pieces.append(bytes(walk.data[kept_from:begin]))
            kept_from = stop
    if raw >= 0:
        check_raw(walk.label, name, dims, element, raw)
    pieces.append(bytes(walk.data[kept_from:end]))
    return b"".join(pieces)


def _packed(walk: _Walk, at: int, end: int) -> Iterator[int]:
    while at < end:
        value, at = _varint(walk, at, end)
        yield value


def _encode_varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def check_shape(label: str, name: str, dims: Iterable[int]) -> tuple[int, ...]:
    """``dims`` as a shape.

    Raises:
        SourceError: A size is negative, or there are more than `MAX_ELEMENTS` elements.
    """
    shape = tuple(int(x) for x in dims)
    if any(not 0 <= x < 2**63 for x in shape) or math.prod(shape) > MAX_ELEMENTS or len(shape) > 64:
        raise refusal(f"{label}: tensor '{name}' has the impossible shape {_brief(shape)}", reason="damaged file")
    return shape


def check_raw(label: str, name: str, dims: Iterable[int], element: int, length: int) -> None:
    """Check that ``length`` bytes of contents fit the shape and element type.

    Raises:
        SourceError: They do not.
    """
    shape = check_shape(label, name, dims)
    bits = _BITS.get(element)
    expected = -(-math.prod(shape) * bits // 8) if bits else length
    if expected != length:
        raise refusal(
            f"{label}: tensor '{name}' of shape {_brief(shape)} has {length:,} bytes of contents, expected {expected:,}",
            reason="damaged file",
        )


def _brief(shape: tuple[int, ...]) -> str:
    return "x".join(str(x) for x in shape[:8]) + ("x..." if len(shape) > 8 else "")


def _check_tensors(path: Path, model: Any) -> list[str]:
    """Check shapes, contents and external locations of all initializers; notes on files that are not there."""
    locations: dict[str, int] = {}
    check_text(
        str(path), (x.name for x in (*model.graph.input, *model.graph.output, *model.graph.initializer, *model.graph.value_info))
    )
    for function in model.functions:
        check_text(str(path), (function.name, function.domain, *function.input, *function.output))
    for tensor in model.graph.initializer:
        check_shape(str(path), tensor.name, tensor.dims)
        if tensor.data_location == 1:  # TensorProto.EXTERNAL
            places = [x.value for x in tensor.external_data if x.key == "location"]
            check_text(str(path), places)
            if not places or not places[0]:
                raise refusal(f"{path}: tensor '{tensor.name}' is external without a location", reason="damaged file")
            locations[places[0]] = locations.get(places[0], 0) + 1
        elif tensor.raw_data:
            check_raw(str(path), tensor.name, tensor.dims, tensor.data_type, len(tensor.raw_data))
    return [note for place, count in locations.items() for note in check_location(path, place, count)]


def check_location(path: Path, location: str, count: int = 1) -> list[str]:
    """Notes on the external file ``location`` of the model ``path``, which holds ``count`` tensors and is never opened.

    The model may be a link itself (download caches keep files under their hash and link to them): then its weights may
    lie beside the link or beside what it points to.

    Raises:
        SourceError: The location is absolute or leads, directly or by a symbolic link, out of the model's folder.
    """
    shown = repr(location[:200])
    if (
        "\0" in location
        or location.startswith(("/", "\\"))
        or location[1:2] == ":"
        or ".." in location.replace("\\", "/").split("/")
    ):
        raise refusal(f"{path}: external data at {shown} is outside the model's folder; refused", reason="external data escapes")
    try:
        target = path.parent / location
        roots = {path.parent.resolve(), path.resolve().parent}
        resolved = target.resolve()
        if not any(resolved.is_relative_to(root) for root in roots):
            raise refusal(f"{path}: external data at {shown} is a link out of the model's folder; refused",
                              reason="external data escapes")  # fmt: skip
        if not target.is_file():
            return [f"weights missing: external file {shown} with {count} tensors is not there (the graph does not need it)"]
        links = target.stat().st_nlink
    except (OSError, RuntimeError) as error:  # a name that is too long, or a loop of links
        raise refusal(f"{path}: external data at {shown} cannot be located: {error}", reason="external data escapes") from error
    if links > 1:
        return [f"external file {shown} is a hard link with {links} names; it was not opened"]
    return []


def check_text(label: str, names: Iterable[Any]) -> None:
    """Check that names are text: protobuf hands out those that are not valid UTF-8 as bytes.

    Raises:
        SourceError: One is not.
    """
    for name in names:
        if not isinstance(name, str):
            raise refusal(f"{label}: damaged ONNX model: the name {name[:80]!r} is not valid text", reason="damaged file")


def execution_order(label: str, nodes: list[Any], known: Any, own: Any = None) -> tuple[list[Any], str | None]:
    """``nodes`` so that producers come first, and the name of the first node that was out of order (``None`` when none was).

    Args:
        label: Name of the file, for messages.
        nodes: ``NodeProto`` of one graph.
        known: Names of tensors that exist before the first node; anything with ``in``.
        own: Those of them that belong to this graph and may not be produced again; all of them when left out. A subgraph may
            hide names of the graph around it.

    Raises:
        SourceError: Two nodes produce one tensor, a tensor has no producer, or the nodes form a cycle.
    """
    maker: dict[str, int] = {}
    own = known if own is None else own
    for i, node in enumerate(nodes):
        check_text(label, (node.name, node.op_type, node.domain, *node.input, *node.output))
        for name in node.output:
            if name and (name in maker or name in own):
                other = f"node {node_name(nodes[maker[name]])}" if name in maker else "an input or initializer"
                raise refusal(
                    f"{label}: tensor '{name}' has two producers, {other} and node {node_name(node)}", reason="damaged file"
                )
            if name:
                maker[name] = i
    needs = [_needed(node, maker, known, label) for node in nodes]
    late = next((i for i, need in enumerate(needs) if any(j >= i for j in need)), None)
    if late is None:
        return nodes, None
    return _sorted_nodes(label, nodes, needs), node_name(nodes[late])


def _needed(node: Any, maker: Mapping[str, int], known: Any, label: str) -> list[int]:
    found = []
    for name in node.input:
        if name in maker:
            found.append(maker[name])
        elif name and name not in known:
            raise refusal(f"{label}: node {node_name(node)} reads tensor '{name}', which nothing produces", reason="damaged file")
    for name in free_names(node):
        if name in maker:
            found.append(maker[name])
    return found


def free_names(node: Any) -> set[str]:
    """Tensors that subgraphs of ``node`` read and do not produce themselves."""
    found: set[str] = set()
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            inner = {x.name for x in graph.input} | {x.name for x in graph.initializer}
            inner |= {name for x in graph.node for name in x.output}
            reads = {name for x in graph.node for name in x.input} | {x.name for x in graph.output}
            for x in graph.node:
                reads |= free_names(x)
            found |= reads - inner
    return found


def _sorted_nodes(label: str, nodes: list[Any], needs: list[list[int]]) -> list[Any]:
    users: list[list[int]] = [[] for _ in nodes]
    waiting = [len(set(need)) for need in needs]
    for i, need in enumerate(needs):
        for j in set(need):
            users[j].append(i)
    ready = [i for i, count in enumerate(waiting) if not count]
    order: list[int] = []
    for i in ready:  # grows while it is read
        order.append(i)
        for j in users[i]:
            waiting[j] -= 1
            if not waiting[j]:
                ready.append(j)
    if len(order) < len(nodes):
        names = ", ".join(node_name(nodes[i]) for i in _one_cycle(needs, set(range(len(nodes))) - set(order)))
        raise refusal(f"{label}: the graph has a cycle through nodes {names}", reason="cyclic graph")
    return [nodes[i] for i in order]


def _one_cycle(needs: list[list[int]], stuck: set[int], shown: int = 6) -> list[int]:
    """Up to ``shown`` nodes of one cycle among the nodes that could not be ordered."""
    trail: dict[int, int] = {}
    at = min(stuck)
    while at not in trail:
        trail[at] = len(trail)
        at = next(j for j in needs[at] if j in stuck)
    cycle = [i for i, place in trail.items() if place >= trail[at]][::-1]
    return cycle[:shown]


def node_name(node: Any) -> str:
    """A node's name for messages: its own, or that of its first output, and its operator."""
    name = node.name or next((x for x in node.output if x), "")
    return printable(f"'{name[:120]}' ({node.op_type[:60]})")
