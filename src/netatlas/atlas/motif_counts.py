"""Counts of motifs as they are stored beside vectors, a few bytes for each motif that a network has."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from netatlas.graph.graph import Graph

COUNTED_AS = "motifs"
"""Name under which the store keeps the counts among the vectors."""

_ENTRY = np.dtype([("motif", "<u4"), ("count", "<u4")])


def counted_motifs(graph: Graph) -> bytes:
    """The counts of all motifs of a graph, as they are stored."""
    from netatlas.graph.census import census

    return pack(census(graph).counts)


def pack(counts: Mapping[str, int]) -> bytes:
    """Counts by name or id as bytes; what a name is called by does not change when motifs come and go."""
    return np.array(sorted((zlib.crc32(name.encode()), n) for name, n in counts.items()), dtype=_ENTRY).tobytes()


def unpack(stored: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """Counts of every motif there is now in every stored network, ``(m, k)`` with the motifs of `motif_names`.

    Motifs that are known no more are left out.
    """
    names = motif_names()
    numbers = np.array([zlib.crc32(name.encode()) for name in names], dtype=np.uint32)
    order = np.argsort(numbers)
    found = np.zeros((len(stored), len(names)), dtype=np.int64)
    entries = np.frombuffer(b"".join(stored), dtype=_ENTRY)
    row = np.repeat(np.arange(len(stored)), [len(data) // _ENTRY.itemsize for data in stored])
    place = np.searchsorted(numbers[order], entries["motif"]).clip(max=len(names) - 1)
    column = order[place]
    known = numbers[column] == entries["motif"]
    found[row[known], column[known]] = entries["count"][known]
    return found


@cache
def motif_names() -> tuple[str, ...]:
    """Names of the named motifs and ids of the mined ones, in the order of both tables."""
    from netatlas.graph.forms import FORMS
    from netatlas.graph.mined import mined

    names = (*FORMS, *mined())
    assert len({zlib.crc32(name.encode()) for name in names}) == len(names), "two motifs share a number: rename one"
    return names
