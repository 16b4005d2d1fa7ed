"""Message passing on directed graphs in plain PyTorch: convolutions, and an encoder of graphs to vectors.

A batch is one large graph without edges between its parts: node features ``x (n, d)``, ``edges (2, e)`` with producers above
consumers, and the number of the part that each node belongs to, ``part (n,)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from netatlas.errors import ConfigError, did_you_mean


def gcn_weights(edges: Int[Tensor, "2 e"], nodes: int) -> tuple[Float[Tensor, " e"], Float[Tensor, " nodes"]]:
    """Symmetric normalisation with self loops: weight of every edge, and of every node's own feature.

    ``1 / sqrt(d_i d_j)`` with ``d`` one more than the number of incoming edges, so an isolated node keeps its feature.
    """
    degree = torch.ones(nodes).index_add_(0, edges[1], torch.ones(edges.shape[1]))
    scale = degree.rsqrt()
    return scale[edges[0]] * scale[edges[1]], scale.square()


def gather(messages: Float[Tensor, "e d"], target: Int[Tensor, " e"], nodes: int) -> Float[Tensor, "nodes d"]:
    """Sum of the messages to every node."""
    return messages.new_zeros(nodes, messages.shape[1]).index_add_(0, target, messages)


def maximum(values: Float[Tensor, "e d"], target: Int[Tensor, " e"], nodes: int) -> Float[Tensor, "nodes d"]:
    """Maximum of the values of every node, minus infinity where there are none."""
    bottom = values.new_full((nodes, values.shape[1]), -math.inf)
    return bottom.scatter_reduce(0, target[:, None].expand_as(values), values, "amax")


class GCNConv(nn.Module):
    """``D^-1/2 (A + I) D^-1/2 X W + b`` along the edges' direction.

    Kipf and Welling, ICLR 2017, arXiv:1609.02907, equation 2; equal to ``torch_geometric.nn.GCNConv``.

    Args:
        dim: Input channels.
        out: Output channels.
    """

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, out, bias=False)
        self.bias = nn.Parameter(torch.zeros(out))
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, x: Float[Tensor, "n d"], edges: Int[Tensor, "2 e"]) -> Float[Tensor, "n o"]:
        weight, own = gcn_weights(edges, len(x))
        x = self.linear(x)
        return gather(x[edges[0]] * weight[:, None], edges[1], len(x)) + x * own[:, None] + self.bias


class GATConv(nn.Module):
    """Attention of every node over its producers and itself, ``heads`` times, side by side.

    Veličković et al., ICLR 2018, arXiv:1710.10903, equations 3 to 5; equal to ``torch_geometric.nn.GATConv``.

    Args:
        dim: Input channels.
        out: Output channels, of all heads together.
        heads: Attention heads.
        slope: Of the leaky rectifier on the scores, for negative values.

    Raises:
        ConfigError: ``out`` is not a multiple of ``heads``.
    """

    def __init__(self, dim: int, out: int, *, heads: int = 4, slope: float = 0.2) -> None:
        super().__init__()
        if heads < 1 or out % heads:
            raise ConfigError(f"gat: {out} channels do not divide into {heads} heads")
        self.heads, self.slope = heads, slope
        self.linear = nn.Linear(dim, out, bias=False)
        self.source = nn.Parameter(torch.empty(heads, out // heads))
        self.target = nn.Parameter(torch.empty(heads, out // heads))
        self.bias = nn.Parameter(torch.zeros(out))
        for weight in (self.linear.weight, self.source, self.target):
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Float[Tensor, "n d"], edges: Int[Tensor, "2 e"]) -> Float[Tensor, "n o"]:
        n, loops = len(x), torch.arange(len(x))
        source, target = torch.cat([edges[0], loops]), torch.cat([edges[1], loops])
        h = self.linear(x).view(n, *self.source.shape)  # (n, h, c)
        score = F.leaky_relu((h * self.source).sum(-1)[source] + (h * self.target).sum(-1)[target], self.slope)  # (e + n, h)
        # The largest score of each node is taken off first, so that the exponential cannot overflow.
        top = maximum(score.detach(), target, n)
        weight = (score - top[target]).exp()
        weight = weight / gather(weight, target, n)[target]
        return gather((weight[..., None] * h[source]).flatten(1), target, n) + self.bias


class MeanConv(nn.Module):
    """A node's own feature, the mean of its producers' and the mean of its consumers', each through its own matrix.

    The two-sided, directed form of the mean aggregator of Hamilton et al., NeurIPS 2017, arXiv:1706.02216.

    Args:
        dim: Input channels.
        out: Output channels.
    """

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.own = nn.Linear(dim, out)
        self.above = nn.Linear(dim, out, bias=False)
        self.below = nn.Linear(dim, out, bias=False)

    def forward(self, x: Float[Tensor, "n d"], edges: Int[Tensor, "2 e"]) -> Float[Tensor, "n o"]:
        total: Tensor = self.own(x) + self.above(_mean(x, edges)) + self.below(_mean(x, edges.flip(0)))
        return total


def _mean(x: Float[Tensor, "n d"], edges: Int[Tensor, "2 e"]) -> Float[Tensor, "n d"]:
    count = x.new_zeros(len(x)).index_add_(0, edges[1], x.new_ones(edges.shape[1]))
    return gather(x[edges[0]], edges[1], len(x)) / count.clamp(min=1)[:, None]


CONVOLUTIONS: dict[str, Callable[[int, int], nn.Module]] = {"gcn": GCNConv, "gat": GATConv, "mean": MeanConv}
READOUTS = ("mean", "mean+max", "mean+max+count")


def pool(x: Float[Tensor, "n d"], part: Int[Tensor, " n"], parts: int, readout: str = "mean") -> Float[Tensor, "parts _"]:
    """One vector for every part of a batch: mean, then maximum and the logarithm of the node count where ``readout`` has them.

    A part without nodes is zero.
    """
    count = x.new_zeros(parts).index_add_(0, part, x.new_ones(len(x)))
    found = [gather(x, part, parts) / count.clamp(min=1)[:, None]]
    if "max" in readout:
        top = maximum(x, part, parts)
        found.append(torch.where(count[:, None] > 0, top, 0.0))
    if "count" in readout:
        found.append(count.log1p()[:, None])
    return torch.cat(found, dim=1)


class GraphEncoder(nn.Module):
    """Graphs to vectors: ``depth`` convolutions with ELU between them, then a readout.

    Args:
        dim: Channels of node features.
        hidden: Channels of every layer.
        depth: Number of layers.
        conv: One of `CONVOLUTIONS`.
        readout: One of `READOUTS`.

    Raises:
        ConfigError: A name is unknown or a number below 1.
    """

    def __init__(self, dim: int, hidden: int, *, depth: int = 3, conv: str = "gcn", readout: str = "mean") -> None:
        super().__init__()
        for what, value, allowed in (("convolution", conv, tuple(CONVOLUTIONS)), ("readout", readout, READOUTS)):
            if value not in allowed:
                raise ConfigError(f"no graph {what} {value!r} (there are: {', '.join(allowed)}){did_you_mean(value, allowed)}")
        if min(dim, hidden, depth) < 1:
            raise ConfigError(f"graph encoder: dim, hidden and depth must be 1 or more, got {dim}, {hidden}, {depth}")
        self.layers = nn.ModuleList(CONVOLUTIONS[conv](dim if i == 0 else hidden, hidden) for i in range(depth))
        self.readout = readout
        self.out_dim = hidden * (1 + ("max" in readout)) + ("count" in readout)

    def forward(
        self, x: Float[Tensor, "n d"], edges: Int[Tensor, "2 e"], part: Int[Tensor, " n"], parts: int
    ) -> Float[Tensor, "parts z"]:
        for i, layer in enumerate(self.layers):
            x = layer(F.elu(x) if i else x, edges)
        return pool(x, part, parts, self.readout)
