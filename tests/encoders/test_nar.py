"""The two-stage motif encoder: its arrays against their definition, frozen hand-over, and what its first loss can learn."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")

from test_encoder_contract import make

from netatlas.encoders._batches import wiring
from netatlas.encoders._cuts import CutOptions, cut
from netatlas.encoders.base import ENCODERS
from netatlas.encoders.nar import NAREncoder
from netatlas.errors import ConfigError, MissingExtraError
from netatlas.graph.motifs import CUTS, Contexts, macro_graph, motifs, subgraph_nodes
from netatlas.graph.ops import OP_ID
from netatlas.registry import Registry

CONV, NORM, RELU, ADD, LINEAR, POOL = (OP_ID[n] for n in ("conv", "batch_norm", "relu", "add", "linear", "global_avg_pool"))


def residual(k, act=RELU, tail=POOL):
    ops, edges = [CONV, NORM, act], [(0, 1), (1, 2)]
    for _ in range(k):
        start = len(ops)
        ops += [CONV, NORM, act, CONV, NORM, ADD, act]
        edges += [(i - 1, i) for i in range(start, start + 7)] + [(start - 1, start + 5)]
    edges += [(len(ops) - 1, len(ops)), (len(ops), len(ops) + 1)]
    return make([*ops, tail, LINEAR], edges)


def plain(k):
    ops = [CONV, NORM, RELU, CONV, RELU] * k + [POOL, LINEAR]
    return make(ops, [(i, i + 1) for i in range(len(ops) - 1)])


GRAPHS = [residual(k) for k in range(2, 8)] + [plain(k) for k in range(2, 8)]
GROUPS = ["residual"] * 6 + ["plain"] * 6


@pytest.fixture(scope="module")
def trained():
    encoder = NAREncoder(use_ops=True, motif_loss="infonce", hidden=16, motif_epochs=3, epochs=200)
    encoder.fit(GRAPHS, GROUPS, seed=0)
    return encoder


@st.composite
def graphs(draw):
    g = draw(st.integers(1, 16))
    ops = draw(st.lists(st.sampled_from([CONV, RELU, ADD]), min_size=g, max_size=g))
    return make(ops, [(a, b) for b in range(g) for a in range(max(0, b - 4), b) if draw(st.booleans())])


@given(graph=graphs(), way=st.sampled_from(CUTS), use_ops=st.booleans())
def test_arrays_hold_the_motifs_and_their_contexts(graph, way, use_ops):
    found, seen = cut(graph, CutOptions(way, 1, use_ops)), wiring(graph)
    expected = motifs(seen, way, use_ops=use_ops, rng=np.random.default_rng(len(seen)))
    contexts = Contexts(seen)
    assert len(found) == len(expected)
    assert found.macro.tolist() == macro_graph(seen, expected).tolist()
    for i, motif in enumerate(expected):
        rows = contexts.around(motif)
        inside = subgraph_nodes(seen.edges, motif)
        for pieces, nodes, edges in (
            (found.subgraphs, inside, motif.edges), (found.contexts, np.union1d(inside, seen.edges[rows].ravel()), rows),
        ):  # fmt: skip
            place = np.flatnonzero(pieces.part == i)
            assert pieces.label[place].tolist() == seen.label[nodes].tolist()
            mine = pieces.edges[np.isin(pieces.edges[:, 0], place)] - (place[0] if len(place) else 0)
            assert nodes[mine].tolist() == seen.edges[edges].tolist()
        alone = found.piece(i)
        assert alone.label.tolist() == seen.label[inside].tolist()
        assert inside[alone.edges].tolist() == seen.edges[motif.edges].tolist()
    same_kind = {
        (a.types == b.types) == bool(found.kind[i] == found.kind[j])
        for i, a in enumerate(expected)
        for j, b in enumerate(expected)
    }
    assert same_kind <= {True}


def test_equal_motifs_have_bit_equal_vectors_in_any_graph(trained):
    first, second = residual(5), residual(9)
    vectors = {}
    for graph in (first, second):
        for signature, row in zip(cut(graph, trained.options).signature.tolist(), trained.motif_vectors(graph), strict=True):
            vectors.setdefault(signature, []).append(row)
    assert max(map(len, vectors.values())) > 8
    fresh = NAREncoder(use_ops=True, hidden=16)
    fresh.load_state_dict(trained.state_dict())  # without what the first pass kept
    for signature, row in zip(cut(second, trained.options).signature.tolist(), fresh.motif_vectors(second), strict=True):
        assert all(torch.equal(row, other) for other in vectors[signature])


def test_the_second_level_does_not_move_the_first(trained):
    encoder = NAREncoder(use_ops=True, motif_loss="infonce", hidden=16, motif_epochs=2, epochs=3)
    encoder.pretrain_motifs(GRAPHS, seed=0)
    before = {k: v.clone() for k, v in encoder.motif_net.state_dict().items()}
    macro = {k: v.clone() for k, v in encoder.macro_net.state_dict().items()}
    encoder.pretrain_graphs(GRAPHS, GROUPS, seed=0)
    assert all(torch.equal(before[k], v) for k, v in encoder.motif_net.state_dict().items())
    assert not any(torch.equal(macro[k], v) for k, v in encoder.macro_net.state_dict().items() if v.ndim > 1)
    assert not encoder.motif_vectors(GRAPHS[0]).requires_grad


def test_the_saved_model_has_no_context_network(trained):
    state = trained.state_dict()
    assert {key.partition(".")[0] for key in state} == {"motif_net", "macro_net"}
    fresh = NAREncoder(use_ops=True, hidden=16)
    fresh.load_state_dict(state)
    assert [fresh.encode(g) for g in GRAPHS] == [trained.encode(g) for g in GRAPHS]


def test_it_learns_what_it_is_trained_on(trained):
    vectors = [trained.encode(g) for g in GRAPHS]
    assert trained.history["motifs"][-1] < trained.history["motifs"][0]
    for i, group in enumerate(GROUPS):
        alike = trained.similarities(vectors[i], vectors)
        alike[i] = -1
        assert GROUPS[int(alike.argmax())] == group


def test_a_linear_judge_of_two_vectors_side_by_side_cannot_learn():
    """Why ``bce`` stays at 2 ln 2: its score is a(motif) + b(context), and over a rotation both classes have the same mean score.

    By convexity the loss is then at least 2 ln 2 whatever the networks are, so the first level of the authors' code has nothing to
    learn from; ``infonce`` compares the two and has.
    """
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        a, b = 5 * torch.randn(40, generator=generator), 5 * torch.randn(40, generator=generator)
        true, false = a + b, a + b.roll(20)
        loss = torch.nn.functional.softplus(-true).mean() + torch.nn.functional.softplus(false).mean()
        assert loss >= 2 * math.log(2) - 1e-6
    encoder = NAREncoder(hidden=16, use_ops=True, motif_epochs=40, epochs=1)
    encoder.pretrain_motifs(GRAPHS, seed=0)
    assert encoder.history["motifs"][-1] == pytest.approx(2 * math.log(2), abs=0.05)


def test_graphs_of_one_motif_or_none_are_encoded():
    encoder = NAREncoder(hidden=8, motif_epochs=1, epochs=1)
    lone, none = make([CONV], []), make([OP_ID["input"]], [])
    encoder.fit([lone, none, residual(2)], ["a", "b", "b"], seed=0)
    assert all(np.isfinite(np.frombuffer(encoder.encode(g), dtype="<f4")).all() for g in (lone, none))


def test_the_random_cut_is_the_same_every_time():
    encoder = NAREncoder(cut="random", hidden=8, motif_epochs=1, epochs=1)
    encoder.fit(GRAPHS, GROUPS, seed=0)
    assert encoder.encode(residual(4)) == encoder.encode(residual(4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cut": "frequnt"}, "nar: no cut 'frequnt' .*did you mean 'frequent'"),
        ({"loss": "supcom"}, "nar: no loss named 'supcom' .*did you mean 'supcon'"),
        ({"motif_loss": "bec"}, "nar: no motif loss 'bec'"),
        ({"rounds": 0}, "rounds must be 1 or more and epochs 0 or more, got 0, 8 and 60"),
    ],
)
def test_misuse_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        ENCODERS.build("nar", **options)


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # makes `import torch` fail
    for module in [
        m for m in sys.modules if m.startswith(("netatlas.encoders.gcn", "netatlas.encoders._flat", "netatlas.encoders._batches"))
    ]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(MissingExtraError, match=r"gcn \(encoders\) needs the extra 'torch': pip install 'netatlas\[torch\]'"):
        Registry("encoders", "netatlas.encoders").build("gcn")
