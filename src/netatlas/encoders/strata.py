"""`strata`: layers of features from coarse to fine, fused with weights that were learned to generalise to unseen families."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from netatlas.encoders._strata_dense import project
from netatlas.encoders._strata_features import CHANNEL_NAMES, CHANNELS, HASH_BITS, features
from netatlas.encoders._strata_fit import fit_weights
from netatlas.encoders._strata_layers import STAGES, costs, layers, profile, stages
from netatlas.encoders._strata_packed import FORMAT, HEADER, MEASURES, RARITY_MASK, Packed, is_current, words_of
from netatlas.encoders.base import ENCODERS, Trainable
from netatlas.errors import ConfigError
from netatlas.graph.graph import Graph

Floats = npt.NDArray[np.float64]

MOST_FEATURES = 480
"""Features a vector keeps, about 2 KB; of more, those whose hashes are smallest, which are the same ones in every graph."""

_REST = ("stages", "profile", "costs")

COMPONENTS: tuple[str, ...] = tuple(f"{channel}: {measure}" for channel, *_ in CHANNELS for measure in MEASURES) + _REST
"""Everything two networks are compared in, each in [0, 1]; a trained encoder holds one weight for each."""

_FLOORS = {"kind wiring: presence": 0.02, "sizes: amount": 0.02, "costs": 0.01}
"""Least weights. Family labels cannot teach them, since sisters differ in size and in depth: they order networks within a family."""


_EVEN = 0.5
"""How far learned weights are drawn to even ones: what a few hundred families teach is not all there is to tell apart."""


@dataclass(frozen=True)
class Weights:
    """What training learns.

    Attributes:
        fusion: Weight of every component, summing to 1, ``(len(COMPONENTS),)``.
        keys: Features that several training graphs have, ascending, ``(k,) uint32``.
        rarity: Rarity of each, 0 (in every graph) to 7 (in one), ``(k,) uint8``.
    """

    fusion: Floats
    keys: npt.NDArray[np.uint32]
    rarity: npt.NDArray[np.uint8]

    @cached_property
    def stamp(self) -> int:
        """Marks the vectors that were made with these weights."""
        parts = (self.fusion.astype("<f4"), self.keys, self.rarity)
        return zlib.crc32(b"".join(part.tobytes() for part in parts) + repr(CHANNEL_NAMES).encode()) & 0xFFFF


@ENCODERS.register("strata")
class Strata(Trainable):
    """Overlap of bags, paths and neighbourhoods in four vocabularies, of stages, work and costs, fused by learned weights.

    A graph is freed of what only tells who wrote it (views, constants, fused or separate projections); every channel of
    `CHANNELS` then lists features with counts, and two networks are compared by weighted Jaccard indices, channel by channel. The
    few fusion weights are fitted so that members of a family come before everything else, then drawn half way to even ones.
    ``docs/encoder.md`` has the figures, and what each part contributes.

    Without `fit` the weights of the package are used, which were trained on all architectures of the starter atlas.

    Args:
        without: Components or channels that are left out, for ablations; names as in `COMPONENTS`, or the part before the colon.
        learned: ``False`` gives every component the same weight and every feature the same rarity.

    Raises:
        ConfigError: ``without`` names no component.
    """

    name = "strata"

    def __init__(self, *, without: Sequence[str] = (), learned: bool = True) -> None:
        self._used = np.ones(len(COMPONENTS), dtype=bool)
        for name in without:
            hit = np.array([name in (c, *c.split(": ")) for c in COMPONENTS])
            if not hit.any():
                raise ConfigError(f"strata: {name!r} is no component; there are {', '.join(COMPONENTS)}")
            self._used &= ~hit
        self.learned = learned
        self._own: Weights | None = None if learned else _even()

    @property
    def weights(self) -> Weights:
        """The weights in use."""
        return self._own if self._own is not None else _packaged()

    def fit(self, graphs: Sequence[Graph], groups: Sequence[str], *, seed: int) -> None:
        """Learn rarity and fusion weights from graphs and their families.

        Args:
            graphs: Training graphs.
            groups: Family of each; families of one serve as distractors.
            seed: Of the order in which large collections are thinned.

        Raises:
            ConfigError: Fewer than two families, or none with two members.
        """
        if not self.learned:
            return
        if len(graphs) != len(groups) or len(set(groups)) < 2 or len(set(groups)) == len(groups):
            raise ConfigError("strata: training needs at least two families, one of them with two graphs")
        keys, rarity = _rarities([features(graph)[0] for graph in graphs])
        self._own = Weights(_even().fusion, keys, rarity)
        packed = Packed([self.encode(graph) for graph in graphs], self.weights.stamp)
        parts = np.stack([self._parts(packed.row(i), packed)[0] for i in range(len(graphs))], axis=1).astype(np.float32)
        fusion = fit_weights(parts[self._used], np.array(groups), seed=seed)
        full = np.zeros(len(COMPONENTS))
        full[self._used] = (1 - _EVEN) * fusion + _EVEN / self._used.sum()
        floors = np.array([_FLOORS.get(c, 0.0) for c in COMPONENTS]) * self._used
        self._own = Weights(full * (1 - floors.sum()) + floors, keys, rarity)

    def encode(self, graph: Graph) -> bytes:
        keys, counts = features(graph)
        rarity = self._rarity(keys)
        header = np.zeros(1, dtype=HEADER)
        if len(keys) > MOST_FEATURES:
            kept = np.sort(np.argsort(keys & np.uint32((1 << HASH_BITS) - 1), kind="stable")[:MOST_FEATURES])
            keys, counts, rarity = keys[kept], counts[kept], rarity[kept]
            header["sampled"] = 1
        seen = layers(graph)
        header["format"], header["stamp"], header["costs"] = FORMAT, self.weights.stamp, costs(graph)
        header["shares"] = np.rint(255 * np.concatenate([stages(graph, seen), profile(graph, seen)]))
        return bytes(header.tobytes() + words_of(keys, counts, rarity).astype("<u4").tobytes())

    def is_current(self, vector: bytes) -> bool:
        return is_current(vector, self.weights.stamp)

    def dense(self, vectors: Sequence[bytes]) -> npt.NDArray[np.float32]:
        return project(self._packed(vectors), self.weights.fusion * self._used)

    def _packed(self, vectors: Sequence[bytes]) -> Packed:
        return Packed(vectors, self.weights.stamp)

    def _rarity(self, keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        known = self.weights.keys
        if not len(known):
            return np.full(len(keys), RARITY_MASK, dtype=np.uint32)
        place = np.searchsorted(known, keys).clip(max=len(known) - 1)
        return np.where(known[place] == keys, self.weights.rarity[place], RARITY_MASK).astype(np.uint32)

    def similarities(self, query: bytes, vectors: Sequence[bytes]) -> Floats:
        if not len(vectors):
            return np.zeros(0)
        parts, present = self._parts(self._packed([query]), self._packed(vectors))
        weights = (self.weights.fusion * self._used)[:, None] * present
        total = weights.sum(axis=0)
        return np.asarray(np.divide((weights * parts).sum(axis=0), total, out=np.zeros(len(vectors)), where=total > 0)).clip(0, 1)

    def components(self, query: bytes, vectors: Sequence[bytes]) -> dict[str, Floats]:
        """Likeness in every component ``(m,)``, by name; a channel that both lack is 1."""
        parts, _ = self._parts(self._packed([query]), self._packed(vectors))
        return dict(zip(COMPONENTS, parts, strict=True))

    def _parts(self, query: Packed, many: Packed) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Likeness in every component, and whether either side has something to compare there; both ``(len(COMPONENTS), m)``."""
        shared, ours, theirs = many.shared(query), query.totals, many.totals
        union = ours + theirs - shared
        overlap = np.divide(shared, union, out=np.ones_like(union), where=union > 0)  # (m, channels, measures)
        rest = np.stack([*_rest(query.header, many.header)])
        parts = np.concatenate([overlap.reshape(len(many), -1).T, rest])
        present = np.concatenate([(union > 0).reshape(len(many), -1).T, np.ones(rest.shape, dtype=bool)])
        return parts, present


def _rest(one: npt.NDArray[np.void], many: npt.NDArray[np.void]) -> tuple[Floats, Floats, Floats]:
    """Likeness of stages, of work by kind of layer, and of costs, each ``(m,)``."""
    apart = np.abs(many["shares"].astype(np.float64) - one["shares"]) / 255
    ratio = np.abs(many["costs"].astype(np.float64) - one["costs"]).mean(axis=1)
    return np.exp(-apart[:, :STAGES].sum(axis=1)), np.exp(-apart[:, STAGES:].sum(axis=1)), np.exp(-ratio / 2)


def _rarities(graphs: Sequence[npt.NDArray[np.uint32]]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
    """Features of at least two graphs, and their rarity on a logarithmic scale."""
    keys, graphs_with = np.unique(np.concatenate(graphs), return_counts=True)
    n = len(graphs)
    rarity = np.rint(RARITY_MASK * np.log((n + 1) / graphs_with) / np.log(n + 1)).clip(0, RARITY_MASK)
    several = graphs_with > 1
    return keys[several], rarity[several].astype(np.uint8)


def _even() -> Weights:
    none = np.zeros(0)
    return Weights(np.full(len(COMPONENTS), 1 / len(COMPONENTS)), none.astype(np.uint32), none.astype(np.uint8))


@cache
def _packaged() -> Weights:
    """The trained weights that come with the package."""
    with (files("netatlas.data") / "strata.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
        fusion = np.zeros(len(COMPONENTS))
        fusion[[COMPONENTS.index(name) for name in stored["components"].tolist()]] = stored["fusion"]
        return Weights(fusion, np.cumsum(stored["gaps"], dtype=np.uint32), stored["rarity"])
