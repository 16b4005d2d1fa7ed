"""The bytes of `strata`: how a vector is stored, and many of them side by side, ready for comparison."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netatlas.encoders._strata_features import CHANNELS, HASH_BITS
from netatlas.errors import ConfigError

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint32]

FORMAT = 2
"""First number of every vector; raised when vectors are made or read differently."""

SHARES = 30
HEADER = np.dtype([("format", "<u2"), ("stamp", "<u2"), ("costs", "<f4", 3), ("shares", "u1", SHARES), ("sampled", "<u2")])
"""Start of a vector: format, mark of the weights it was made with, costs, shares of work by stage and by kind of layer in 255ths,
whether features were sampled."""

_WORDS = HEADER.itemsize // 4

LEVEL_BITS, RARITY_BITS = 7, 3
LEVEL_MASK, RARITY_MASK = (1 << LEVEL_BITS) - 1, (1 << RARITY_BITS) - 1
_BELOW_KEY = np.uint32(LEVEL_BITS + RARITY_BITS)

PER_OCTAVE = 12
"""Levels of a count per doubling: fine enough to see one block more among sixteen; 127 levels end at 1,500."""

_AMOUNT = 0.5 / PER_OCTAVE
"""What every further level of a count weighs beside the first: presence tells families apart, counts tell sisters apart."""

MEASURES = ("presence", "rarity", "amount")
"""How the overlap of a channel is weighed: every feature alike, by rarity in the training graphs, by rarity and count."""


def words_of(keys: Words, counts: npt.NDArray[np.int64], rarity: Words) -> Words:
    """One number for each feature: key, level of its count, rarity; ascending as the keys."""
    level = np.rint(PER_OCTAVE * np.log2(counts)).astype(np.uint32).clip(0, LEVEL_MASK)
    return np.asarray((keys << _BELOW_KEY) | (level << np.uint32(RARITY_BITS)) | rarity, dtype=np.uint32)


def keys_of(words: Words) -> Words:
    """The features of words."""
    return np.asarray(words >> _BELOW_KEY, dtype=np.uint32)


def channels_of(words: Words) -> npt.NDArray[np.int64]:
    """The channel of every word."""
    return (words >> np.uint32(HASH_BITS + LEVEL_BITS + RARITY_BITS)).astype(np.int64)


def weights_of(words: Words) -> tuple[Floats, Floats, Floats]:
    """What every word weighs in each of `MEASURES`."""
    rarity = (words & np.uint32(RARITY_MASK)) / float(RARITY_MASK)
    level = (words >> np.uint32(RARITY_BITS)) & np.uint32(LEVEL_MASK)
    return np.ones(len(words)), rarity, rarity * (1 + _AMOUNT * level)


def is_current(vector: bytes, stamp: int) -> bool:
    """Whether bytes are a vector of this format made with the weights of ``stamp``."""
    if len(vector) < HEADER.itemsize or len(vector) % 4:
        return False
    head = np.frombuffer(vector, dtype=HEADER, count=1)[0]
    return bool(head["format"] == FORMAT and head["stamp"] == stamp)


class Packed:
    """Vectors side by side.

    Args:
        vectors: As `Strata.encode` made them.
        stamp: Mark of the weights in use.

    Raises:
        ConfigError: One is damaged, or was made by another version or with other weights.
    """

    def __init__(self, vectors: Sequence[bytes], stamp: int) -> None:
        sizes = np.array([len(v) for v in vectors], dtype=np.int64)
        broken = np.flatnonzero((sizes < HEADER.itemsize) | (sizes % 4 > 0))
        if len(broken):
            raise _unreadable(int(broken[0]), len(vectors), f"damaged ({sizes[broken[0]]} bytes)")
        words, sizes = np.frombuffer(b"".join(vectors), dtype="<u4"), sizes // 4
        starts = np.cumsum(sizes) - sizes
        head = (starts[:, None] + np.arange(_WORDS)).ravel()
        self.header = words[head].view(HEADER)
        foreign = np.flatnonzero((self.header["format"] != FORMAT) | (self.header["stamp"] != stamp))
        if len(foreign):
            raise _unreadable(int(foreign[0]), len(vectors), "of another version")
        body = np.ones(len(words), dtype=bool)
        body[head] = False
        self.words = words[body]
        self.owner = np.repeat(np.arange(len(sizes)), sizes - _WORDS)
        self._ends = np.cumsum(sizes - _WORDS)
        self.totals = self._sums(np.arange(len(self.words)), self.words)

    def __len__(self) -> int:
        return len(self.header)

    def row(self, i: int) -> Packed:
        """One of the vectors alone."""
        alone = object.__new__(Packed)
        span = slice(int(self._ends[i - 1]) if i else 0, int(self._ends[i]))
        alone.header, alone.words, alone.totals = self.header[i : i + 1], self.words[span], self.totals[i : i + 1]
        return alone

    def shared(self, query: Packed) -> Floats:
        """Weight of the features that each vector shares with a query, ``(m, channels, measures)``."""
        if not len(query.words) or not len(self.words):
            return np.zeros((len(self), len(CHANNELS), len(MEASURES)))
        asked, own = keys_of(query.words), keys_of(self.words)
        maybe = np.zeros(1 << 16, dtype=bool)  # most features are ruled out by sixteen of their bits
        maybe[asked & np.uint32(0xFFFF)] = True
        rows = np.flatnonzero(maybe[own & np.uint32(0xFFFF)])
        place = np.searchsorted(asked, own[rows]).clip(max=len(asked) - 1)
        hit = asked[place] == own[rows]
        rows, place = rows[hit], place[hit]
        return self._sums(rows, _with_level(self.words[rows], query.words[place]))

    def _sums(self, rows: npt.NDArray[np.intp], words: Words) -> Floats:
        """Weight of ``words``, which stand at ``rows``, by vector and channel and measure."""
        m, channels = len(self.header), len(CHANNELS)
        cell = self.owner[rows] * channels + channels_of(words)
        sums = [np.bincount(cell, weights=x, minlength=m * channels) for x in weights_of(words)]
        return np.stack(sums, axis=-1).astype(np.float64).reshape(m, channels, len(MEASURES))


def _unreadable(row: int, total: int, why: str) -> ConfigError:
    return ConfigError(
        f"strata: vector {row + 1} of {total} is {why}; encode the graph again ('netatlas build' does for an atlas)"
    )


def _with_level(words: Words, others: Words) -> Words:
    """``words`` with the lower of both levels."""
    mask = np.uint32(LEVEL_MASK << RARITY_BITS)
    return np.asarray((words & ~mask) | np.minimum(words & mask, others & mask))
