"""What the store lets in: checks of entries before they are written, and their packed form."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from netatlas.errors import StoreError, did_you_mean
from netatlas.facts import FACTS, FactType, Value
from netatlas.records import KINDS, Entry, Evidence

if TYPE_CHECKING:
    from netatlas.graph.graph import Graph

_MAX_COUNT = 2**63 - 1  # SQLite's largest integer


@dataclass(frozen=True)
class Packed:
    """An entry ready to be written: checked, its graph as bytes. Cheap to send between processes.

    Attributes:
        entry: Without its graph.
        graph: Serialised graph, or ``None``.
        digest: Of those bytes.
        hash: Content hash of the graph, equal for equal networks; ``""`` without a graph.
        vectors: By encoder.
    """

    entry: Entry
    graph: bytes | None = None
    digest: bytes = b""
    hash: str = ""
    vectors: Mapping[str, bytes] = field(default_factory=dict)


def pack(entry: Entry, encode: Callable[[Graph], Mapping[str, bytes]] | None = None) -> Packed:
    """Check an entry and serialise its graph.

    Args:
        entry: Whatever a source made.
        encode: The graph's vectors by encoder.

    Raises:
        StoreError: A part of the entry cannot be stored; the message names entry and part.
        GraphError: The graph is too large for its byte form.
    """
    check_entry(entry)
    if entry.graph is None:
        return Packed(entry)
    from netatlas.graph.canonical import content_hash
    from netatlas.graph.serialize import to_bytes

    data = to_bytes(entry.graph)
    digest = hashlib.blake2b(data, digest_size=16).digest()
    vectors = dict(encode(entry.graph)) if encode is not None else {}
    return Packed(replace(entry, graph=None), data, digest, content_hash(entry.graph), vectors)


def check_entry(entry: Entry) -> None:
    """Refuse what must not enter the atlas.

    Raises:
        StoreError: Bad id, kind, title, text, link, unknown fact, wrong type, not finite, or evidence for no known fact.
    """
    if not entry.id or entry.id != entry.id.strip() or not entry.id.isprintable():
        raise StoreError(f"entry id {entry.id!r} must be printable text without spaces around it")
    if entry.kind not in KINDS:
        raise StoreError(f"{entry.id}: kind is {entry.kind!r}, allowed are {' and '.join(KINDS)}")
    if not entry.title:
        raise StoreError(f"{entry.id}: the title is empty")
    for what, text in (("title", entry.title), ("text", entry.text), ("links", "".join(map(str, entry.links.values())))):
        _check_text(entry.id, what, text)
    for name, value in entry.facts.items():
        check_fact(entry.id, name, value)
    for name, origin in entry.origins.items():
        if name not in entry.facts:
            raise StoreError(f"{entry.id}: an origin is given for {name!r}, which is not among its facts")
        _check_text(entry.id, f"origin of {name}", origin)
    for evidence in entry.evidence:
        check_evidence(entry.id, evidence)


def check_fact(entry_id: str, name: str, value: Value) -> Value:
    """The value as it is stored: numbers as floats.

    Raises:
        StoreError: The facts table does not know ``name``, or the value is not of its kind or not finite.
    """
    fact = FACTS.get(name)
    if fact is None:
        raise StoreError(f"{entry_id}: unknown fact {name!r}{did_you_mean(name, FACTS)}")
    if fact.kind == "count" and type(value) is int:
        if abs(value) > _MAX_COUNT:
            raise StoreError(f"{entry_id}: fact {name!r} is {value:.3g}, the largest count is 2**63 - 1")
        return value
    if fact.kind == "number" and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise StoreError(f"{entry_id}: fact {name!r} is {value}; leave out what is not known")
        return float(value)
    if fact.kind == "text" and isinstance(value, str) and value:
        _check_text(entry_id, f"fact {name!r}", value)
        return value
    if fact.kind == "set" and isinstance(value, tuple) and all(isinstance(word, str) and word for word in value):
        _check_text(entry_id, f"fact {name!r}", "".join(value))
        return value
    raise StoreError(f"{entry_id}: fact {name!r} is {_short(value)}, expected {_EXPECTED[fact.kind]}")


_EXPECTED = {"count": "an int", "number": "a float", "text": "a str that is not empty", "set": "a tuple of str"}


def check_evidence(entry_id: str, evidence: Evidence) -> FactType:
    """The fact that evidence is for.

    Raises:
        StoreError: The fact is unknown or holds no numbers, a number is not finite, or the detail is not JSON.
    """
    fact = FACTS.get(evidence.fact)
    if fact is None:
        raise StoreError(f"{entry_id}: evidence for unknown fact {evidence.fact!r}{did_you_mean(evidence.fact, FACTS)}")
    if fact.kind not in ("count", "number"):
        raise StoreError(f"{entry_id}: evidence for {fact.name!r}, which is a {fact.kind}; only numbers are measured")
    for number in (evidence.value, 0.0 if evidence.spread is None else evidence.spread):
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise StoreError(f"{entry_id}: evidence for {fact.name!r} has the value {_short(number)}, expected a finite number")
    for text in (evidence.method, evidence.source, evidence.machine, evidence.date, detail_json(entry_id, evidence)):
        _check_text(entry_id, f"evidence for {fact.name!r}", text)
    return fact


def detail_json(entry_id: str, evidence: Evidence) -> str:
    """The detail of evidence as JSON with sorted keys."""
    try:
        return json.dumps(dict(evidence.detail), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"{entry_id}: detail of the evidence for {evidence.fact!r} is not JSON: {error}") from error


def _check_text(entry_id: str, what: str, text: object) -> None:
    if not isinstance(text, str):
        raise StoreError(f"{entry_id}: {what} is {_short(text)}, expected a str")
    if "\0" in text:
        raise StoreError(f"{entry_id}: {what} holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"{entry_id}: {what} is not valid Unicode: {error.reason}") from error


def _short(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
