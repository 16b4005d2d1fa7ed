"""Graph convolutions against hand-computed numbers, definitions in loops, and torch_geometric."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")

from netatlas.errors import ConfigError
from netatlas.nn.gnn import CONVOLUTIONS, READOUTS, GATConv, GCNConv, GraphEncoder, MeanConv, pool


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return torch.Generator().manual_seed(0)


def random_graph(generator, n=12, e=30):
    pairs = torch.randint(n, (2, e), generator=generator)
    pairs = torch.unique(pairs[:, pairs[0] < pairs[1]], dim=1)
    return torch.randn(n, 5, generator=generator), pairs


def test_gcn_on_a_path_by_hand(generator):
    """D^-1/2 (A + I) D^-1/2 X W of a path of three nodes, both directions: degrees 2, 3, 2."""
    x, edges = torch.randn(3, 2, generator=generator), torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    s = 1 / math.sqrt(6)
    matrix = torch.tensor([[1 / 2, s, 0], [s, 1 / 3, s], [0, s, 1 / 2]])
    conv = GCNConv(2, 4)
    torch.testing.assert_close(conv(x, edges), matrix @ x @ conv.linear.weight.T)


def test_directed_gcn_by_definition(generator):
    x, edges = random_graph(generator)
    conv = GCNConv(5, 3)
    adjacency = torch.eye(12)
    adjacency[edges[1], edges[0]] = 1
    scale = adjacency.sum(1).rsqrt()
    torch.testing.assert_close(conv(x, edges), scale[:, None] * adjacency * scale @ conv.linear(x))


def test_gat_by_definition(generator):
    x, edges = random_graph(generator)
    conv = GATConv(5, 6, heads=2)
    h = conv.linear(x).view(12, 2, 3)
    rows = []
    for i in range(12):
        above = [*edges[0, edges[1] == i].tolist(), i]
        score = torch.stack([(h[j] * conv.source).sum(-1) + (h[i] * conv.target).sum(-1) for j in above])
        weight = torch.nn.functional.leaky_relu(score, 0.2).softmax(0)
        rows.append((weight[..., None] * h[above]).sum(0).flatten())
    torch.testing.assert_close(conv(x, edges), torch.stack(rows))


def test_means_of_both_sides(generator):
    x, edges = random_graph(generator)
    conv = MeanConv(5, 3)
    for i in range(12):
        above, below = x[edges[0, edges[1] == i]], x[edges[1, edges[0] == i]]
        means = [m.mean(0) if len(m) else torch.zeros(5) for m in (above, below)]
        torch.testing.assert_close(conv(x, edges)[i], conv.own(x[i]) + conv.above(means[0]) + conv.below(means[1]))


@pytest.mark.parametrize("kind", ["gcn", "gat"])
def test_parity_with_torch_geometric(kind, generator):
    geometric = pytest.importorskip("torch_geometric.nn", reason="torch-geometric is not installed (extra 'dev')")
    x, edges = random_graph(generator)
    x.requires_grad_()
    if kind == "gcn":
        ours, theirs = GCNConv(5, 6), geometric.GCNConv(5, 6)
        theirs.lin.weight.data = ours.linear.weight.data
    else:
        ours, theirs = GATConv(5, 6, heads=2), geometric.GATConv(5, 3, heads=2)
        theirs.lin.weight.data = ours.linear.weight.data
        theirs.att_src.data, theirs.att_dst.data = ours.source.data[None], ours.target.data[None]
    ours.bias.data = theirs.bias.data = torch.randn(6, generator=generator)
    a, b = ours(x, edges), theirs(x, edges)
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    (grad_a,), (grad_b,) = (torch.autograd.grad(z.square().sum(), x) for z in (a, b))
    torch.testing.assert_close(grad_a, grad_b, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("conv", list(CONVOLUTIONS))
@pytest.mark.parametrize("readout", READOUTS)
def test_a_batch_equals_its_graphs_one_by_one(conv, readout, generator):
    net = GraphEncoder(5, 8, conv=conv, readout=readout)
    graphs = [random_graph(generator, n, 3 * n) for n in (7, 2, 11)]
    first = [0, 7, 9]
    x = torch.cat([g[0] for g in graphs])
    edges = torch.cat([g[1] + a for g, a in zip(graphs, first, strict=True)], dim=1)
    part = torch.repeat_interleave(torch.arange(3), torch.tensor([7, 2, 11]))
    together = net(x, edges, part, 3)
    alone = torch.cat([net(*g, torch.zeros(len(g[0]), dtype=torch.long), 1) for g in graphs])
    torch.testing.assert_close(together, alone)
    assert together.shape == (3, net.out_dim)


@pytest.mark.parametrize("conv", list(CONVOLUTIONS))
def test_isolated_nodes_and_empty_graphs_are_finite(conv, generator):
    net = GraphEncoder(5, 8, conv=conv, readout="mean+max+count")
    none = torch.zeros(2, 0, dtype=torch.long)
    z = net(torch.randn(1, 5, generator=generator), none, torch.tensor([1]), 3)  # parts 0 and 2 have no node
    assert z.isfinite().all()
    assert not z[[0, 2]].any()
    assert net(torch.zeros(0, 5), none, torch.zeros(0, dtype=torch.long), 1).isfinite().all()


@pytest.mark.parametrize("conv", list(CONVOLUTIONS))
def test_order_of_nodes_and_gradients(conv, generator):
    net = GraphEncoder(5, 8, conv=conv, readout="mean+max")
    x, edges = random_graph(generator)
    part = torch.zeros(12, dtype=torch.long)
    moved = torch.randperm(12, generator=generator)
    shuffled = torch.empty_like(x)
    shuffled[moved] = x
    z = net(x, edges, part, 1)
    torch.testing.assert_close(z, net(shuffled, moved[edges], part, 1))
    grads = torch.autograd.grad(z.square().sum(), list(net.parameters()))
    assert all(g.isfinite().all() and g.any() for g in grads)


def test_large_scores_do_not_overflow():
    conv = GATConv(1, 1, heads=1)
    for weight in (conv.linear.weight, conv.source, conv.target):
        weight.data.fill_(1.0)
    out = conv(torch.tensor([[1e3], [9e3]]), torch.tensor([[0], [1]]))
    assert out.tolist() == [[1e3], [9e3]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv": "gnc"}, "no graph convolution 'gnc' .*did you mean 'gcn'"),
        ({"readout": "maen"}, "no graph readout 'maen' .*did you mean 'mean'"),
        ({"depth": 0}, "must be 1 or more, got 5, 8, 0"),
    ],
)
def test_misuse_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        GraphEncoder(5, 8, **options)
    with pytest.raises(ConfigError, match="7 channels do not divide into 2 heads"):
        GATConv(5, 7, heads=2)


def test_pooling_by_definition():
    x, part = torch.tensor([[1.0, -2.0], [3.0, -4.0], [5.0, 6.0]]), torch.tensor([0, 0, 1])
    assert pool(x, part, 2).tolist() == [[2, -3], [5, 6]]
    assert pool(x, part, 2, "mean+max").tolist() == [[2, -3, 3, -2], [5, 6, 5, 6]]
    assert pool(x, part, 2, "mean+max+count")[:, 4].tolist() == pytest.approx([math.log(3), math.log(2)])
