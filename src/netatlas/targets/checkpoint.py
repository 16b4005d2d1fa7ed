"""Checkpoints as a source: the architecture that names and shapes of tensors give away; no tensor is read, no code is run."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from netatlas.errors import SourceError, did_you_mean
from netatlas.facts import Value
from netatlas.graph.graph import MAX_RANK, Graph, Scope
from netatlas.graph.ops import ATTRIBUTE_COLUMN, ATTRIBUTES, FLAGS, OP_ID
from netatlas.records import Entry
from netatlas.sources._describe import entry_of_graph
from netatlas.sources.base import SOURCES, Source
from netatlas.targets._checkpoint_layers import LAST, Layer, guess_layers, is_packed, is_parameter
from netatlas.targets._checkpoint_pickle import read_pickles
from netatlas.targets._checkpoint_safetensors import MOST_HEADER_BYTES, read_safetensors
from netatlas.targets._checkpoint_tensors import Listing, StoredTensor, check_tensors, clean_names

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""File names the command line takes for checkpoints, beside ``*.index.json`` and folders with one of `_IN_FOLDER`."""

_IN_FOLDER = ("model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin")
_UNKNOWABLE = ("macs", "flops", "activations", "peak_memory", "depth", "input", "input_size", "seq_len")
_OTHER_FORMATS = {
    b"GGUF": "a GGUF file", b"\x89HDF": "an HDF5 (Keras) file", b"\x08\x07\x12": "an ONNX file", b"\x08\x08\x12": "an ONNX file",
    b"\x08\x09\x12": "an ONNX file", b"\x08\x0a\x12": "an ONNX file", b"\x93NUM": "a NumPy array", b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a Git LFS pointer, not the weights themselves",
}  # fmt: skip


@SOURCES.register("checkpoint")
class CheckpointSource(Source):
    """Any weights file by its path; there is nothing to list."""

    name = "checkpoint"

    def names(self) -> list[str]:
        return []

    def read(self, name: str) -> list[Entry]:
        return read_checkpoint(name)

    def version(self) -> str:
        try:
            return version("netatlas")
        except PackageNotFoundError:  # run from a checkout
            return ""


def read_checkpoint(path: str | Path, entry_id: str | None = None) -> list[Entry]:
    """The architecture that a weights file gives away, as one entry.

    Names and shapes tell operators, kernels, channels and parameters (exactly); not how layers are wired, strides, heads,
    activations or costs, so layers are chained in the order of their module paths and those facts are absent. ``traced_by`` is
    ``"checkpoint"``.

    Args:
        path: A safetensors file, a state dict written by ``torch.save``, the ``*.index.json`` of a sharded checkpoint, or a folder
            with one of them.
        entry_id: ``checkpoint/`` and the file's name by default, or its folder's if the file is called ``model`` or the like.

    Raises:
        SourceError: The file does not exist, is damaged, holds something else, or would have to run code to be read.
        MissingExtraError: It is a PyTorch file and torch is not installed.
    """
    file, tensors, notes = read_tensors(path)
    layers = guess_layers(tensors)
    graph = _graph(layers, tensors)
    name = _title(file)
    entry_id = entry_id or f"checkpoint/{re.sub(r'[^0-9A-Za-z_.+-]+', '-', name).strip('-') or 'unnamed'}"
    read_from = f"names and shapes of the tensors in {file.name}" + (f" ({'; '.join(notes)})" if notes else "")
    entry = entry_of_graph(entry_id, name, graph, "checkpoint", _stated(layers), read_from)
    unknown = {*_UNKNOWABLE, *(("params",) if graph.total_params is None else ())}
    facts = {**{k: v for k, v in entry.facts.items() if k not in unknown}, "ops": _operators(graph, layers)}
    origins = {k: read_from if k in ("params", "ops", "nodes", "heads") else v for k, v in entry.origins.items() if k in facts}
    return [replace(entry, facts=facts, origins=origins)]


def read_tensors(path: str | Path) -> tuple[Path, list[StoredTensor], tuple[str, ...]]:
    """The file that is read, its tensors under the network's own names, and notes on how they were found.

    Raises:
        SourceError: As `read_checkpoint`.
        MissingExtraError: As `read_checkpoint`.
    """
    file = _locate(Path(path))
    listing = list_tensors(file)
    tensors, cleaned = clean_names(list(listing.tensors))
    check_tensors(file.name, tensors)
    return file, _named_once(file, tensors), (*listing.notes, *cleaned)


def list_tensors(path: Path) -> Listing:
    """Names, shapes and dtypes of the tensors in a weights file or the shards of one.

    Raises:
        SourceError: As `read_checkpoint`.
    """
    if path.name.endswith(".index.json"):
        return _read_sharded(path)
    with path.open("rb") as file:
        start = file.read(32)
    for magic, what in _OTHER_FORMATS.items():
        if start.startswith(magic):
            raise SourceError(f"{path.name}: is {what}, not a PyTorch or safetensors checkpoint", reason="other format")
    is_torch = start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[8:9] != b"{")
    if path.suffix == ".safetensors":
        if is_torch:
            raise SourceError(f"{path.name}: is a PyTorch file, not safetensors: rename it to .pt", reason="other format")
        return read_safetensors(path)
    return read_safetensors(path) if start[8:9] == b"{" and not is_torch else read_pickles([path])


def _locate(path: Path) -> Path:
    """The file to read; the best known name in a folder."""
    try:
        if path.is_dir():
            for name in _IN_FOLDER:
                if (path / name).is_file():
                    return path / name
            raise SourceError(f"{path}: the folder has none of {', '.join(_IN_FOLDER)}", reason="no such file")
        if path.is_file():
            return path
        if path.exists():
            raise SourceError(f"{path}: is not a regular file", reason="not readable")
        siblings = [x.name for x in path.parent.iterdir()] if path.parent.is_dir() else []
    except (OSError, ValueError) as error:  # no permission, a name too long or with NUL
        raise SourceError(f"{path}: cannot be read: {error}", reason="not readable") from None
    raise SourceError(f"no such file: {str(path)!r}{did_you_mean(path.name, siblings)}", reason="no such file")


# ---------------------------------------------------------------- shards


def _read_sharded(path: Path) -> Listing:
    shards = _shards(path)
    for shard in shards:
        if not (path.parent / shard).is_file():
            raise SourceError(f"{path.name}: the shard {shard!r} is missing from its folder", reason="no such file")
    files = [path.parent / shard for shard in shards]
    if all(file.suffix == ".safetensors" for file in files):
        listings = [read_safetensors(file) for file in files]
        listing = Listing(tuple(t for x in listings for t in x.tensors), tuple(note for x in listings for note in x.notes))
    else:
        listing = read_pickles(files)
    found = {tensor.name for tensor in listing.tensors}
    if len(found) < len(listing.tensors):
        names = sorted(tensor.name for tensor in listing.tensors)
        twice = next(a for a, b in itertools.pairwise(names) if a == b)
        raise SourceError(f"{path.name}: tensor {twice!r} is in more than one shard", reason="malformed")
    for name, shard in ((name, shard) for shard, names in shards.items() for name in names):
        if name not in found:
            raise SourceError(f"{path.name}: tensor {name!r} is not in its shard {shard!r}", reason="malformed")
    return listing


def _shards(path: Path) -> dict[str, list[str]]:
    """Tensor names by shard; shards must be plain file names.

    Links are followed (the Hub's cache is made of them); names that lead out of the folder are not.
    """
    if path.stat().st_size > MOST_HEADER_BYTES:
        raise SourceError(
            f"{path.name}: the index has {path.stat().st_size:,} bytes, at most {MOST_HEADER_BYTES:,} are read",
            reason="too large",
        )
    try:
        index: Any = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError):
        raise SourceError(f"{path.name}: the index is not JSON", reason="malformed") from None
    weights = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weights, dict) or not weights or not all(isinstance(shard, str) for shard in weights.values()):
        raise SourceError(f"{path.name}: has no 'weight_map' of tensor names to files", reason="malformed")
    shards: dict[str, list[str]] = {}
    for name, shard in weights.items():
        shards.setdefault(shard, []).append(name)
    for shard in shards:
        if not shard or not shard.isprintable() or set(shard) & set("\\:/") or shard in (".", ".."):
            raise SourceError(
                f"{path.name}: the shard {shard[:80]!r} lies outside the index's folder: refused", reason="malformed"
            )
    return shards


# ---------------------------------------------------------------- layers to a graph


def _named_once(file: Path, tensors: Sequence[StoredTensor]) -> list[StoredTensor]:
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise SourceError(f"{file.name}: two tensors have the same name once training prefixes are removed", reason="malformed")
    return list(tensors)


def _graph(layers: Sequence[Layer], tensors: Sequence[StoredTensor]) -> Graph:
    """The chain as a graph: an input, then the layers; shapes and MACs stay zero because they are not known."""
    g = len(layers) + 1
    attrs = np.zeros((g, len(ATTRIBUTES)), dtype=np.int32)
    params = np.zeros(g, dtype=np.int64)
    scopes, scope_of, scope = [Scope("", "")], {"": 0}, np.zeros(g, dtype=np.int32)
    edges, counted = [], set()
    for n, layer in enumerate(layers, start=1):
        for name, value in layer.attrs.items():
            attrs[n, ATTRIBUTE_COLUMN[name]] = value
        for tensor in layer.tensors:
            key = tensor.stored or tensor.name
            if key in counted:
                attrs[n, ATTRIBUTE_COLUMN["flags"]] |= FLAGS["shared"]
            elif is_parameter(tensor):
                params[n] += tensor.elements
            counted.add(key)
        if layer.path not in scope_of:
            scope_of[layer.path] = len(scopes)
            scopes.append(Scope(layer.path, ""))
        scope[n] = scope_of[layer.path]
        edges += [(i + 1, n) for i in layer.inputs]
    packed = any(is_packed(tensor) for tensor in tensors)
    return Graph(
        op=np.array([OP_ID["input"], *(OP_ID[layer.op] for layer in layers)], dtype=np.uint8),
        attrs=attrs,
        shape=np.zeros((g, MAX_RANK), dtype=np.int64),
        params=params,
        macs=np.zeros(g, dtype=np.int64),
        scope=scope,
        edges=np.array(edges, dtype=np.int32).reshape(-1, 2),
        scopes=tuple(scopes),
        total_params=None if packed else _total(tensors),
    )


def _total(tensors: Sequence[StoredTensor]) -> int:
    """Elements of all trained tensors, those that are one in the file once."""
    return sum({t.stored or t.name: t.elements for t in tensors if is_parameter(t)}.values())


def _operators(graph: Graph, layers: Sequence[Layer]) -> tuple[str, ...]:
    """Operators, and those named forms that shapes or names tell; the other forms are matters of wiring."""
    found = set(graph.op_counts())
    for layer in layers:
        kernel = [size for name, size in layer.attrs.items() if name.startswith("kernel")]
        flags, groups = layer.attrs.get("flags", 0), layer.attrs.get("groups", 0)
        leaves = " ".join(tensor.name.rpartition(".")[2] for tensor in layer.tensors)
        signs = {
            "depthwise_conv": layer.op == "conv" and groups > 1,
            "pointwise_conv": layer.op == "conv" and groups <= 1 and set(kernel) == {1},
            "grouped_query_attention": bool(flags & FLAGS["grouped_query"]),
            "relative_position_bias": layer.op == "attention" and bool(flags & FLAGS["biased"]),
            "recurrent": layer.op in ("lstm", "gru", "rnn"),
            "state_space": layer.op == "scan" and "A_log" in leaves,
            "class_token": layer.op == "concat" and "cls" in leaves,
            "position_embedding": layer.op == "add" and "pos" in leaves,
            "layer_scale": layer.op == "mul",
            "squeeze_excite": layer.op in ("conv", "linear")
            and bool(re.search(r"(^|\.)(se|squeeze_excite|se_module)\.", layer.path)),
        }
        found |= {name for name, is_there in signs.items() if is_there}
    return tuple(sorted(found))


def _stated(layers: Sequence[Layer]) -> dict[str, Value]:
    """Facts about the ends of the network, where names leave no doubt which tensor is the head or the vocabulary."""
    facts: dict[str, Value] = {}
    heads = [x for x in layers if x.op == "linear" and LAST.match(x.path.rpartition(".")[2]) and x.width and x.fan_in]
    if heads:
        facts |= {"outputs": heads[-1].width, "dim": heads[-1].fan_in}
    words = [
        x for x in layers if x.op == "embedding" and re.search(r"(^|\.)(\w*tok\w*|word_emb\w*|wte|shared)$", x.path) and x.width
    ]
    words = [x for x in words if "token_type" not in x.path]
    if words:
        facts["vocab"] = max(x.tensors[0].shape[0] for x in words)
    return facts


def _title(file: Path) -> str:
    """The file's name without suffixes, or its folder's where the file's says nothing."""
    stem = re.sub(r"(\.(safetensors|bin|pt|pth|ckpt|index|json))+$", "", file.name)
    generic = stem.lower() in (
        "model",
        "pytorch_model",
        "checkpoint",
        "weights",
        "state_dict",
        "diffusion_pytorch_model",
        "last",
        "best",
    )
    folder = file.resolve().parent.name if generic else ""
    return folder or stem or "unnamed"
