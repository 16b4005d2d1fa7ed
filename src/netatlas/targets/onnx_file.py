"""ONNX files as entries."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from netatlas.graph.canonical import canonicalize
from netatlas.graph.onnx_import import INCOMPLETE, capture_onnx
from netatlas.records import Entry
from netatlas.sources._describe import entry_of_graph

_COSTS = ("macs", "flops", "activations", "peak_memory")


def read_onnx(path: str | os.PathLike[str], entry_id: str | None = None, dims: Mapping[str, int] | None = None) -> list[Entry]:
    """The architecture in an ONNX file, as a list of one entry.

    Args:
        path: The ``.onnx`` file; neither its weights nor external data are read.
        entry_id: Id of the entry; ``onnx/`` and the file's name without ending when left out.
        dims: Sizes of symbolic axes by name, see `netatlas.graph.onnx_import.capture_onnx`.

    Raises:
        SourceError: The file cannot be read, or is damaged, hostile or too large.
        MissingExtraError: onnx is not installed.
    """
    file = Path(path)
    capture = capture_onnx(file, dims)
    graph = canonicalize(capture)
    entry = entry_of_graph(entry_id or f"onnx/{_plain(file.stem)}", file.stem, graph, capture.rung)
    facts, origins = dict(entry.facts), dict(entry.origins)
    if any(note.startswith(INCOMPLETE) for note in capture.notes):
        for name in _COSTS:  # a sum over the layers whose shape is known is not the network's
            facts.pop(name, None)
            origins.pop(name, None)
    if capture.notes:
        for name in origins.keys() & {"params", "ops", "nodes", *_COSTS}:
            origins[name] += "; " + "; ".join(capture.notes)
    return [Entry(entry.id, entry.kind, entry.title, entry.text, facts, origins, graph, entry.evidence, entry.links)]


def _plain(name: str) -> str:
    """A file's name as part of an id."""
    return re.sub(r"[^\w.+-]+", "_", name) or "model"
