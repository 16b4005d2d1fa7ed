"""Columns: the facts of all entries as numpy arrays, the form in which find filters and sorts."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netatlas.errors import QueryError, StoreError, did_you_mean
from netatlas.facts import FACTS, FILLED, Kind, Value

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

_FORMAT = 1
_MANIFEST = "columns.json"
_SEPARATOR = "\0"  # the one character that neither an id nor a fact may hold, so lists of words need no escaping
_NUMERIC = frozenset(("count", "number"))


@dataclass(frozen=True, eq=False)
class Postings:
    """One set fact, word by word: compressed sparse rows with a row for each word.

    Attributes:
        known: ``(m,)`` whether the entry has the fact at all; an empty set is known.
        start: ``(words + 1,) int64`` where each word's entries begin in ``rows``.
        rows: ``int32`` entry numbers, ascending within a word.
    """

    known: Mask
    start: npt.NDArray[np.int64]
    rows: Codes


class Columns:
    """The facts of ``m`` entries, one array for each fact.

    Built from entries with `from_entries`, written with `save` and opened with `load`, which maps files into memory when a
    column is first used. A fact that is not known is NaN in a number column and -1 in a text column.

    Args:
        arrays: What the columns are made of; use `from_entries` or `load`.
    """

    def __init__(self, arrays: _Memory | _Folder) -> None:
        self._arrays = arrays
        self._numbers: dict[str, Numbers] = {}
        self._texts: dict[str, tuple[Codes, list[str]]] = {}
        self._sets: dict[str, tuple[Postings, dict[str, int]]] = {}

    @classmethod
    def from_entries(cls, entries: Iterable[tuple[str, str, Mapping[str, Value]]]) -> Columns:
        """The columns of ``(id, kind, facts)`` triples, in their order.

        Raises:
            StoreError: An id occurs twice, or a fact is unknown, of the wrong type, infinite or NaN.
        """
        draft = _Draft()
        for identifier, kind, facts in entries:
            draft.add(identifier, kind, facts)
        return cls(draft.finish())

    @classmethod
    def load(cls, folder: str | Path) -> Columns:
        """The columns saved in ``folder``; files are mapped when a column is first used.

        Raises:
            StoreError: The folder is missing, damaged, or written by a newer version.
        """
        return cls(_Folder.open(Path(folder)))

    def save(self, folder: str | Path, stamp: str = "") -> None:
        """Write all columns to ``folder``, replacing it; a reader sees the old folder or the new one, never a mix.

        Args:
            folder: Its parent must exist. Columns that a reader has already mapped stay as they were; asking it for another
                column is an error that says the folder was replaced.
            stamp: Version of the store the columns were made from, read back as `stamp`.

        Raises:
            StoreError: The folder cannot be written.
        """
        _write(self, Path(folder), stamp)

    @property
    def stamp(self) -> str:
        """What `save` was given; empty for columns that were never saved."""
        return self._arrays.stamp

    @cached_property
    def ids(self) -> list[str]:
        """Entry ids in row order."""
        return self._arrays.words("ids")

    @cached_property
    def row(self) -> dict[str, int]:
        """Row number by entry id."""
        return {identifier: i for i, identifier in enumerate(self.ids)}

    def __len__(self) -> int:
        return self._arrays.size

    def __repr__(self) -> str:
        return f"Columns({len(self):,} entries, {len(self._arrays.names)} facts)"

    @property
    def names(self) -> list[str]:
        """Facts that at least one entry has, in the order of the facts table."""
        return [name for name in FACTS if name in self._arrays.names]

    def number(self, name: str) -> Numbers:
        """``(m,)`` values of a count or number fact, NaN where unknown; whole numbers are exact up to 2**53.

        Raises:
            QueryError: There is no such fact, or it holds words.
        """
        _expect(name, ("count", "number"))
        if name not in self._numbers:
            has = name in self._arrays.names
            self._numbers[name] = self._arrays.number(name) if has else np.full(len(self), np.nan)
        return self._numbers[name]

    def filled(self, name: str) -> Numbers:
        """`number`, with guesses where nothing was measured, for the facts of `netatlas.facts.FILLED`; NaN where neither is known.

        Raises:
            QueryError: There is no such fact, or it holds words.
        """
        values = self.number(name)
        return np.where(np.isnan(values), self.number(FILLED[name]), values) if name in FILLED else values

    def text(self, name: str) -> tuple[Codes, list[str]]:
        """``(m,)`` positions in the list of words that comes with them, -1 where unknown.

        Raises:
            QueryError: There is no such fact, or it is not a text fact.
        """
        _expect(name, ("text",))
        if name not in self._texts:
            has = name in self._arrays.names
            empty = np.full(len(self), -1, dtype=np.int32)
            self._texts[name] = (self._arrays.codes(name), self._arrays.words(name)) if has else (empty, [])
        return self._texts[name]

    def words(self, name: str) -> list[str]:
        """The distinct words of a text or set fact, sorted.

        Raises:
            QueryError: There is no such fact, or it holds numbers.
        """
        _expect(name, ("text", "set"))
        return self.text(name)[1] if FACTS[name].kind == "text" else list(self._set(name)[1])

    def member(self, name: str, *words: str) -> Mask:
        """``(m,)`` whether a set fact holds any of ``words``; false where the fact is unknown.

        Raises:
            QueryError: There is no such fact, or it is not a set fact.
        """
        _expect(name, ("set",))
        postings, position = self._set(name)
        out = np.zeros(len(self), dtype=np.bool_)
        for word in words:
            if (at := position.get(word)) is not None:
                out[postings.rows[postings.start[at] : postings.start[at + 1]]] = True
        return out

    def known(self, name: str) -> Mask:
        """``(m,)`` which entries have the fact.

        Raises:
            QueryError: There is no such fact.
        """
        kind = _expect(name, ("count", "number", "text", "set"))
        if kind in _NUMERIC:
            return ~np.isnan(self.number(name))
        if kind == "text":
            return np.asarray(self.text(name)[0] >= 0)
        return self._set(name)[0].known

    def _set(self, name: str) -> tuple[Postings, dict[str, int]]:
        if name not in self._sets:
            if name in self._arrays.names:
                found = self._arrays.postings(name), {word: i for i, word in enumerate(self._arrays.words(name))}
            else:
                none = np.zeros(0, dtype=np.int32)
                found = Postings(np.zeros(len(self), dtype=np.bool_), np.zeros(1, dtype=np.int64), none), {}
            self._sets[name] = found
        return self._sets[name]


def _expect(name: str, kinds: Sequence[Kind]) -> Kind:
    fact = FACTS.get(name)
    if fact is None:
        raise QueryError(f"unknown fact {name!r}{did_you_mean(name, FACTS)}")
    if fact.kind not in kinds:
        raise QueryError(f"{name} is a {fact.kind} fact, here a {' or '.join(kinds)} fact is needed")
    return fact.kind


@dataclass(frozen=True, eq=False)
class _Memory:
    """Columns held in memory."""

    size: int
    names: frozenset[str]
    numbers: Mapping[str, Numbers]
    texts: Mapping[str, Codes]
    sets: Mapping[str, Postings]
    lists: Mapping[str, list[str]]
    stamp: str = ""

    def number(self, name: str) -> Numbers:
        return self.numbers[name]

    def codes(self, name: str) -> Codes:
        return self.texts[name]

    def postings(self, name: str) -> Postings:
        return self.sets[name]

    def words(self, name: str) -> list[str]:
        return self.lists[name]


@dataclass
class _Draft:
    """Columns under construction: values by fact and row."""

    ids: dict[str, None] = field(default_factory=dict)
    values: dict[str, dict[int, Any]] = field(default_factory=dict)

    def add(self, identifier: str, kind: str, facts: Mapping[str, Value]) -> None:
        if identifier in self.ids:
            raise StoreError(f"two entries have the id {identifier!r}")
        if not identifier or _SEPARATOR in identifier:
            raise StoreError(f"{identifier!r} cannot be an entry id")
        row = len(self.ids)
        self.ids[identifier] = None
        for name, value in {**facts, "kind": kind}.items():
            if value is not None:
                self.values.setdefault(name, {})[row] = _checked(identifier, name, value)

    def finish(self) -> _Memory:
        numbers: dict[str, Numbers] = {}
        texts: dict[str, Codes] = {}
        sets: dict[str, Postings] = {}
        lists = {"ids": list(self.ids)}
        m = len(self.ids)
        for name, rows in self.values.items():
            if FACTS[name].kind in _NUMERIC:
                numbers[name] = np.full(m, np.nan)
                numbers[name][list(rows)] = list(rows.values())
            elif FACTS[name].kind == "text":
                texts[name], lists[name] = _coded(rows, m)
            else:
                sets[name], lists[name] = _posted(rows, m)
        return _Memory(m, frozenset(self.values), numbers, texts, sets, lists)


def _checked(identifier: str, name: str, value: object) -> object:
    """``value`` as its column holds it; a value that cannot be is refused here, before it can spoil a filter or a sort."""
    fact = FACTS.get(name)
    if fact is None:
        raise StoreError(f"{identifier}: unknown fact {name!r}{did_you_mean(name, FACTS)}")
    if fact.kind in _NUMERIC:
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise StoreError(f"{identifier}: {name} must be a number, got {value!r}")
        if not math.isfinite(value):
            raise StoreError(f"{identifier}: {name} is {value}; a fact that is not known is left out")
        return float(value)
    words = (value,) if fact.kind == "text" else value
    if not isinstance(words, (tuple, list, set, frozenset)) or not all(isinstance(word, str) for word in words):
        raise StoreError(f"{identifier}: {name} must be {'a word' if fact.kind == 'text' else 'a tuple of words'}, got {value!r}")
    if any(not word or _SEPARATOR in word for word in words):
        raise StoreError(f"{identifier}: {name} holds an empty word or a NUL character: {value!r}")
    return value


def _coded(rows: Mapping[int, str], m: int) -> tuple[Codes, list[str]]:
    words = sorted(set(rows.values()))
    position = {word: i for i, word in enumerate(words)}
    codes = np.full(m, -1, dtype=np.int32)
    codes[list(rows)] = [position[word] for word in rows.values()]
    return codes, words


def _posted(rows: Mapping[int, Iterable[str]], m: int) -> tuple[Postings, list[str]]:
    holders: dict[str, list[int]] = {}
    for row, words in rows.items():
        for word in sorted(set(words)):
            holders.setdefault(word, []).append(row)
    words = sorted(holders)
    start = np.cumsum([0, *(len(holders[word]) for word in words)], dtype=np.int64)
    known = np.zeros(m, dtype=np.bool_)
    known[list(rows)] = True
    flat = [row for word in words for row in holders[word]]
    return Postings(known, start, np.asarray(flat, dtype=np.int32)), words


@dataclass(frozen=True, eq=False)
class _Folder:
    """Columns in files: ``columns.json`` names them, each array is a ``.npy`` file mapped on demand."""

    path: Path
    size: int
    names: frozenset[str]
    stamp: str
    inode: int

    @classmethod
    def open(cls, path: Path) -> _Folder:
        try:
            inode = path.stat().st_ino
            manifest = json.loads((path / _MANIFEST).read_bytes())
            version = manifest["format"]
            if version != _FORMAT:
                raise StoreError(f"{path} has column format {version}, this netatlas reads {_FORMAT}: rebuild it")
            names = frozenset(manifest["facts"]) & FACTS.keys()
            return cls(path, int(manifest["entries"]), names, str(manifest["stamp"]), inode)
        except OSError as error:
            raise StoreError(f"cannot read the columns in {path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"the columns in {path} are damaged: {_MANIFEST} cannot be read") from error

    def number(self, name: str) -> Numbers:
        return self._array(f"{name}.number", np.dtype(np.float64), self.size)

    def codes(self, name: str) -> Codes:
        return self._array(f"{name}.text", np.dtype(np.int32), self.size)

    def postings(self, name: str) -> Postings:
        known = self._array(f"{name}.known", np.dtype(np.bool_), self.size)
        start = self._array(f"{name}.start", np.dtype(np.int64), None)
        return Postings(known, start, self._array(f"{name}.rows", np.dtype(np.int32), int(start[-1])))

    def words(self, name: str) -> list[str]:
        letters = self._array(f"{name}.words", np.dtype(np.uint8), None)
        text = letters.tobytes().decode("utf-8", "surrogatepass")
        return text.split(_SEPARATOR) if text else []

    def _array(self, stem: str, dtype: np.dtype[Any], length: int | None) -> npt.NDArray[Any]:
        path = self.path / f"{stem}.npy"
        try:
            # Mapping an empty array fails on some systems, and there is nothing to map.
            array = np.load(path, mmap_mode="r" if self.size else None, allow_pickle=False)
            replaced = self.path.stat().st_ino != self.inode
        except (OSError, ValueError, EOFError) as error:
            raise StoreError(f"the columns in {self.path} are damaged: {path.name} cannot be read") from error
        if replaced:  # checked after loading, so that columns of two versions never meet
            raise StoreError(f"the columns in {self.path} were replaced while in use: open the atlas again")
        if array.dtype != dtype or array.ndim != 1 or (length is not None and len(array) != length):
            raise StoreError(f"the columns in {self.path} are damaged: {path.name} has {array.dtype} {array.shape}")
        return np.asarray(array)


def _write(columns: Columns, folder: Path, stamp: str) -> None:
    import shutil  # these two cost a find, which only reads, 3 ms
    import tempfile

    try:
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for stem, array in _files(columns):
                with (draft / f"{stem}.npy").open("wb") as file:
                    np.save(file, array, allow_pickle=False)
                    _flush(file.fileno())
            manifest = {"format": _FORMAT, "entries": len(columns), "facts": columns.names, "stamp": stamp}
            with (draft / _MANIFEST).open("w", encoding="utf-8") as manifest_file:
                json.dump(manifest, manifest_file)
                manifest_file.flush()
                _flush(manifest_file.fileno())
            _replace(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"cannot write the columns to {folder}: {error.strerror or error}") from error


def _flush(descriptor: int) -> None:
    os.fsync(descriptor)


def _files(columns: Columns) -> Iterable[tuple[str, npt.NDArray[Any]]]:
    yield "ids.words", _letters(columns.ids)
    for name in columns.names:
        kind = FACTS[name].kind
        if kind in _NUMERIC:
            yield f"{name}.number", columns.number(name)
            continue
        yield f"{name}.words", _letters(columns.words(name))
        if kind == "text":
            yield f"{name}.text", columns.text(name)[0]
        else:
            postings = columns._set(name)[0]
            yield from ((f"{name}.known", postings.known), (f"{name}.start", postings.start), (f"{name}.rows", postings.rows))


def _letters(words: Sequence[str]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(_SEPARATOR.join(words).encode("utf-8", "surrogatepass"), dtype=np.uint8)


def _replace(draft: Path, folder: Path) -> None:
    """Move ``draft`` to ``folder``; a folder in the way steps aside first, because no rename replaces a full folder."""
    draft.chmod(0o755)  # mkdtemp made it private; a shared atlas is read by others
    import shutil

    aside = draft.with_name(draft.name + ".old")
    if folder.exists():
        folder.rename(aside)
    draft.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)
