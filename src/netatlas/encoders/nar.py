"""The two-stage motif encoder of Neural Architecture Retrieval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netatlas.encoders._batches import LABELS, Batch, batch, classes, distances, join, one_hot, shuffled
from netatlas.encoders._cuts import Cut, CutOptions, Pieces, cut
from netatlas.encoders._objective import check_loss, stored, train_on_groups
from netatlas.encoders.base import ENCODERS, Trainable
from netatlas.errors import ConfigError, did_you_mean
from netatlas.graph.graph import Graph
from netatlas.graph.motifs import CUTS
from netatlas.nn.gnn import GraphEncoder
from netatlas.training.contrastive import info_nce, minimise

MOTIF_LOSSES = ("bce", "infonce")
"""``bce``: a discriminator tells a motif's context from another's, as in the authors' code; ``infonce``: softmax over the batch."""

MOTIF_BATCH, GRAPH_BATCH = 12, 64
"""Graphs of a training step of either level."""

MOST_KEPT = 50_000
"""Motif vectors that a trained encoder keeps by signature."""


@dataclass(frozen=True, eq=False)
class _Level1:
    """Motifs of several graphs.

    Attributes:
        subgraphs: All motifs.
        contexts: Their contexts.
        rotated: The motif half the list further in the same graph, as the authors choose negatives ``(m,)``.
        graph: Graph of every motif ``(m,)``.
        alike: Pairs of motifs that look alike and are no negatives of one another ``(m, m)``.
    """

    subgraphs: Batch
    contexts: Batch
    rotated: Tensor
    graph: Tensor
    alike: Tensor


@ENCODERS.register("nar")
class NAREncoder(Trainable):
    """Motifs by contrast with their contexts, then the graph of motifs by families; compared by Euclidean distance.

    Pei, Li, Dong and Xu, "Neural Architecture Retrieval", ICLR 2024, arXiv:2307.07919. The coarse graph is cut into motifs
    (`graph.motifs`); a graph network ``f_s`` learns to tell each motif's context (read by a second network that is dropped
    afterwards) from other contexts; with ``f_s`` frozen, a network over the graph of motifs learns from families.

    Departures: the discriminator is trained (in the authors' code it belongs to no optimiser); half of the negatives come from
    other graphs, and none looks like the anchor; nodes are cut in the order of their structure instead of a file's; smaller
    networks (64 channels and two layers on the first level, where the paper has 512 and three).

    Args:
        cut: Of `graph.motifs.CUTS`.
        rounds: As in `graph.motifs.node_types`.
        use_ops: As in `graph.motifs.node_types`.
        motif_loss: Of `MOTIF_LOSSES`.
        loss: Of `_objective.LOSSES`, on the second level.
        hidden: Channels of both levels.
        readout: Of `nn.gnn.READOUTS`, on both levels.
        two_sided: Whether messages also run against the edges, on both levels.
        motif_epochs: Passes of the first level; 0 keeps its random weights.
        epochs: Passes of the second.

    Raises:
        ConfigError: A name is unknown or a number out of range.
    """

    name = "nar"

    def __init__(
        self,
        *,
        cut: str = "frequent",
        rounds: int = 1,
        use_ops: bool = False,
        motif_loss: str = "bce",
        loss: str = "con+cls",
        hidden: int = 64,
        readout: str = "mean",
        two_sided: bool = False,
        motif_epochs: int = 8,
        epochs: int = 60,
    ) -> None:
        check_loss("nar", loss)
        for what, value, allowed in (("motif loss", motif_loss, MOTIF_LOSSES), ("cut", cut, CUTS)):
            if value not in allowed:
                raise ConfigError(f"nar: no {what} {value!r} (there are: {', '.join(allowed)}){did_you_mean(value, allowed)}")
        if rounds < 1 or motif_epochs < 0 or epochs < 0:
            raise ConfigError(f"nar: rounds must be 1 or more and epochs 0 or more, got {rounds}, {motif_epochs} and {epochs}")
        self.options = CutOptions(cut, rounds, use_ops)
        self.motif_loss, self.loss = motif_loss, loss
        self.hidden, self.readout, self.two_sided = hidden, readout, two_sided
        self.motif_epochs, self.epochs = motif_epochs, epochs
        self.history: dict[str, list[float]] = {}
        self._start(0)
        self._fitted = False

    def _start(self, seed: int) -> None:
        """Fresh networks."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.motif_net = GraphEncoder(LABELS, self.hidden, depth=2, readout=self.readout).eval()
            self.macro_net = GraphEncoder(self.motif_net.out_dim, self.hidden, depth=3, readout=self.readout).eval()
        self._kept: dict[int, Tensor] = {}

    def fit(self, graphs: Sequence[Graph], groups: Sequence[str], *, seed: int) -> None:
        """Both levels, one after the other.

        Raises:
            ConfigError: Fewer than two families.
        """
        classes("nar", graphs, groups)
        self.pretrain_motifs(graphs, seed=seed).pretrain_graphs(graphs, groups, seed=seed)

    def pretrain_motifs(self, graphs: Sequence[Graph], *, seed: int) -> NAREncoder:
        """Level one, without families; starts both levels anew. Graphs of a single motif have no negative and are passed over."""
        self._start(seed)
        cuts = [found for graph in graphs if len(found := cut(graph, self.options)) > 1]
        if not cuts or not self.motif_epochs:
            return self
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            context_net = GraphEncoder(LABELS, self.hidden, depth=2, readout=self.readout)
            judge = nn.Linear(2 * self.motif_net.out_dim, 1)
        generator = torch.Generator().manual_seed(seed)

        def objective(item: _Level1) -> Tensor:
            s, c = (net(b.x, b.edges, b.part, b.parts) for net, b in (
                (self.motif_net, item.subgraphs), (context_net, item.contexts)))  # fmt: skip
            if self.motif_loss == "infonce":
                return info_nce(s, c, item.alike)
            return _discrimination(judge, s, c, item, generator)

        def batches(g: torch.Generator) -> Iterator[_Level1]:
            for rows in shuffled(len(cuts), MOTIF_BATCH, g):
                yield self._level1([cuts[i] for i in rows])

        learning = [self.motif_net, context_net, *([judge] if self.motif_loss == "bce" else [])]
        self.history["motifs"] = minimise(
            objective, learning, batches, epochs=self.motif_epochs, lr=1e-3, generator=generator
        )  # fmt: skip
        return self

    def pretrain_graphs(self, graphs: Sequence[Graph], groups: Sequence[str], *, seed: int) -> NAREncoder:
        """Level two, on the motif vectors as level one left them.

        Raises:
            ConfigError: Fewer than two families.
        """
        labels = classes("nar", graphs, groups)
        seen = [self._macro(graph) for graph in graphs]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.history["graphs"] = train_on_groups(
                lambda b: self.macro_net(b.x, b.edges, b.part, b.parts), self.macro_net, self.macro_net.out_dim, labels,
                lambda g: ((rows, join([seen[i] for i in rows])) for rows in shuffled(len(seen), GRAPH_BATCH, g)),
                loss=self.loss, epochs=self.epochs, lr=3e-3, generator=torch.Generator().manual_seed(seed),
            )  # fmt: skip
        self._fitted = True
        return self

    def _pieces(self, pieces: Pieces, parts: int) -> Batch:
        return batch(one_hot(pieces.label), pieces.edges, pieces.part, parts, two_sided=self.two_sided)

    def _level1(self, cuts: Sequence[Cut]) -> _Level1:
        first = np.cumsum([0, *(len(c) for c in cuts)])
        rotated = np.concatenate([a + (np.arange(len(c)) + len(c) // 2) % len(c) for a, c in zip(first, cuts, strict=False)])
        graph = np.repeat(np.arange(len(cuts)), [len(c) for c in cuts])
        signature = np.concatenate([c.signature for c in cuts])
        kind = np.concatenate([c.kind for c in cuts]) + graph * (1 << 32)
        alike = (signature[:, None] == signature) | (kind[:, None] == kind)
        return _Level1(
            join([self._pieces(c.subgraphs, len(c)) for c in cuts]), join([self._pieces(c.contexts, len(c)) for c in cuts]),
            torch.from_numpy(rotated), torch.from_numpy(graph), torch.from_numpy(alike),
        )  # fmt: skip

    @torch.no_grad()
    def motif_vectors(self, graph: Graph) -> Tensor:
        """Vector of every motif of a graph ``(m, d)``; bit-equal for motifs of equal signature, whatever graph they are in."""
        found = cut(graph, self.options)
        rows = []
        for i, signature in enumerate(found.signature.tolist()):
            vector = self._kept.get(signature)
            if vector is None:  # one by one: in a batch the sums of a product depend on what else is in it
                b = self._pieces(found.piece(i), 1)
                vector = self.motif_net(b.x, b.edges, b.part, 1)[0]
                if len(self._kept) < MOST_KEPT:
                    self._kept[signature] = vector
            rows.append(vector)
        return torch.stack(rows) if rows else torch.zeros(0, self.motif_net.out_dim)

    def _macro(self, graph: Graph) -> Batch:
        found = cut(graph, self.options)
        return batch(self.motif_vectors(graph), found.macro, np.zeros(len(found), dtype=np.int64), 1, two_sided=self.two_sided)

    @torch.no_grad()
    def encode(self, graph: Graph) -> bytes:
        """Embedding of one graph.

        Raises:
            ConfigError: The encoder is not trained.
        """
        if not self._fitted:
            raise ConfigError("nar: not trained yet; call fit first")
        b = self._macro(graph)
        return stored(self.macro_net(b.x, b.edges, b.part, 1), self.loss)

    def similarities(self, query: bytes, vectors: Sequence[bytes]) -> npt.NDArray[np.float64]:
        return np.asarray(1 / (1 + distances(query, vectors)))

    def state_dict(self) -> dict[str, Tensor]:
        """The trained weights: both levels, without the context network, which only the first level's training needs."""
        nets = (("motif_net", self.motif_net), ("macro_net", self.macro_net))
        return {f"{name}.{key}": value for name, net in nets for key, value in net.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights that `state_dict` gave; the encoder then counts as trained."""
        for name, net in (("motif_net", self.motif_net), ("macro_net", self.macro_net)):
            net.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")})
        self._kept, self._fitted = {}, True


def _discrimination(judge: nn.Module, s: Tensor, c: Tensor, item: _Level1, generator: torch.Generator) -> Tensor:
    """Cross-entropy of telling own contexts from others: of the rotated motif, or with even odds of one of another graph."""
    m = len(s)
    other = torch.randint(m, (m,), generator=generator)
    here, me = torch.rand(m, generator=generator) < 0.5, torch.arange(m)
    foreign = (item.graph[other] != item.graph) & ~item.alike[me, other]
    usable = ~item.alike[me, item.rotated]
    chosen = torch.where(usable & (here | ~foreign), item.rotated, other)
    kept = usable | foreign
    true, false = judge(torch.cat([s, c], dim=1))[:, 0], judge(torch.cat([s, c[chosen]], dim=1))[:, 0]
    loss = F.binary_cross_entropy_with_logits(true, torch.ones(m))
    if not kept.any():
        return loss
    return loss + F.binary_cross_entropy_with_logits(false[kept], torch.zeros(int(kept.sum())))
