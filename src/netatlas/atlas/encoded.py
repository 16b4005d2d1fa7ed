"""Vectors of a layer that can be compared: stored ones, and for graphs without a current one those made now and kept in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from netatlas.atlas.store import Store
from netatlas.encoders.base import ENCODERS, Encoder


def vectors(layer: Store, encoder: str, cache: Path) -> dict[str, bytes]:
    """The vectors of all graphs of a layer, by entry id in their order.

    An atlas written by an older version of netatlas has vectors of another encoder, or of another version of this one: its graphs
    are encoded again, once, some 5 ms each. A build or `Atlas.add` writes what then is missing no more.

    Args:
        layer: The layer.
        encoder: Registered name.
        cache: Folder for what is made now; one that cannot be written costs only time.
    """
    stored, maker = layer.vectors(encoder), ENCODERS.build(encoder)
    ids = layer.with_graphs()
    missing = [i for i in ids if i not in stored or not maker.is_current(stored[i])]
    if missing:
        place = hashlib.sha256(str(layer.path.resolve()).encode()).hexdigest()[:8]
        stored |= _made(layer, missing, maker, cache / f"vectors-{encoder}-{place}.npz")
    return {i: stored[i] for i in ids}


def _made(layer: Store, missing: Sequence[str], maker: Encoder, path: Path) -> dict[str, bytes]:
    """Vectors of graphs that have none, from the file of an earlier time where they are there."""
    stamp = layer.stamp()
    found = {i: v for i, v in _kept(path, stamp).items() if maker.is_current(v)}
    if all(i in found for i in missing):
        return {i: found[i] for i in missing}
    made: dict[str, bytes] = {}
    for entry_id in missing:
        graph = layer.graph(entry_id)
        assert graph is not None, entry_id
        made[entry_id] = maker.encode(graph)
    _keep(path, stamp, made)
    return made


def _kept(path: Path, stamp: str) -> dict[str, bytes]:
    """What is in the file, if it was made from the layer as it is; nothing when it is missing or damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            if str(file["stamp"]) != stamp:
                return {}
            data, ends = file["data"].tobytes(), file["ends"].tolist()
            return {str(i): data[start:end] for i, start, end in zip(file["ids"], [0, *ends], ends, strict=False)}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return {}


def _keep(path: Path, stamp: str, made: Mapping[str, bytes]) -> None:
    draft = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    ends = np.cumsum([len(v) for v in made.values()])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = np.frombuffer(b"".join(made.values()), dtype=np.uint8)
        np.savez(draft, stamp=np.array(stamp), ids=np.array(list(made)), ends=ends, data=data)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
