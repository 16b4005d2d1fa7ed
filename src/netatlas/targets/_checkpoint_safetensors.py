"""Shared part of the checkpoint source: the header of a safetensors file, read without its tensors.

The format is eight bytes with the length of the header (little endian), the header in JSON, and the tensors' bytes. Everything
the header claims is checked against the file's size before it is believed; unlike the reference reader, repeated names are
refused too, because two readers may then see two different networks in one file.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from netatlas.errors import SourceError
from netatlas.targets._checkpoint_tensors import Listing, StoredTensor, check_tensors

MOST_HEADER_BYTES = 100_000_000
"""The limit of the reference implementation."""

_BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64,
    "I64": 64, "U64": 64,
}  # fmt: skip


def read_safetensors(path: Path) -> Listing:
    """Names, shapes and dtypes of all tensors in ``path``; only the header is read.

    Raises:
        SourceError: The header is too large, not JSON, inconsistent with itself or with the size of the file.
    """
    header, data_bytes = _read_header(path)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _bad(path, "'__metadata__' must map words to words")
    tensors, spans = [], []
    for name, info in header.items():
        tensor, span = _tensor(path, name, info, data_bytes)
        tensors.append(tensor)
        spans.append((*span, name))
    _check_cover(path, spans, data_bytes)
    tensors += _tied(tensors, metadata)
    check_tensors(path.name, tensors)
    return Listing(tuple(tensors))


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The parsed header and the number of bytes after it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise _bad(path, f"the file has {size} bytes, a header needs more than 8")
        (length,) = struct.unpack("<Q", start)
        if length > MOST_HEADER_BYTES:
            raise _bad(path, f"header too large: it claims {length:,} bytes, at most {MOST_HEADER_BYTES:,} are allowed")
        if length > size - 8:
            raise _bad(path, f"the header claims {length:,} bytes but the file ends after {size - 8:,}: truncated?")
        raw = file.read(length)
    if not raw.startswith(b"{"):
        raise _bad(path, "the header does not start with '{'")
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except UnicodeDecodeError:
        raise _bad(path, "the header is not UTF-8") from None
    except _RepeatedKeyError as error:
        raise _bad(path, f"the name {str(error)[:80]!r} occurs twice in the header") from None
    except (ValueError, RecursionError):
        raise _bad(path, "the header is not JSON") from None
    return header, size - 8 - length


class _RepeatedKeyError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKeyError(key)
            seen.add(key)
    return found


def _tensor(path: Path, name: str, info: Any, data_bytes: int) -> tuple[StoredTensor, tuple[int, int]]:
    if not isinstance(info, dict) or set(info) != {"dtype", "shape", "data_offsets"}:
        raise _bad(path, f"tensor {name!r} must have dtype, shape and data_offsets")
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise _bad(path, f"tensor {name!r} has the unknown dtype {str(dtype)[:40]!r}")
    if not _counts(shape) or len(shape) > 32:
        raise _bad(path, f"tensor {name!r} has the impossible shape {str(shape)[:60]}")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _bad(path, f"tensor {name!r} has the impossible offsets {str(offsets)[:60]}")
    start, end = offsets
    if end > data_bytes:
        raise _bad(path, f"tensor {name!r} ends at byte {end:,} of {data_bytes:,}: truncated?")
    if math.prod(shape) * _BITS[dtype] != 8 * (end - start):
        raise _bad(path, f"tensor {name!r} of shape {shape} and dtype {dtype} does not fit into its {end - start:,} bytes")
    if not name.isprintable():
        raise _bad(path, f"the tensor name {name[:60]!r} has unprintable characters")
    return StoredTensor(name, tuple(shape), dtype), (start, end)


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(x) is int and 0 <= x < 2**63 for x in value)


def _check_cover(path: Path, spans: list[tuple[int, int, str]], data_bytes: int) -> None:
    """Tensors must lie end to end: bytes that belong to two or to none can hide a second file."""
    position, before = 0, ""
    for start, end, name in sorted(spans):
        if start < position:
            raise _bad(path, f"tensors {before!r} and {name!r} overlap")
        if start > position:
            raise _bad(path, f"{start - position:,} bytes before tensor {name!r} belong to no tensor")
        position, before = end, name
    if position != data_bytes:
        raise _bad(path, f"the last {data_bytes - position:,} bytes belong to no tensor")


def _tied(tensors: list[StoredTensor], metadata: dict[str, str]) -> list[StoredTensor]:
    """Tensors left out on saving because they are another one, as the metadata records: ``{"lm_head.weight": "wte.weight"}``."""
    known = {tensor.name: tensor for tensor in tensors}
    found = []
    for name, kept in metadata.items():
        if kept in known and name not in known and "." in name and name.isprintable():
            original = known[kept]
            known[kept] = StoredTensor(kept, original.shape, original.dtype, f"tied:{kept}")
            found.append(StoredTensor(name, original.shape, original.dtype, f"tied:{kept}"))
    tensors[:] = [known[tensor.name] for tensor in tensors]
    return found


def _bad(path: Path, why: str) -> SourceError:
    return SourceError(f"{path.name}: not a valid safetensors file: {why}", reason="malformed")
