"""Decomposed forms are the operators they are: each written by hand and compared with the library's own."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional as F

from netatlas.graph.trace import trace


def ops_of(function, *inputs):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(16)), nn.Parameter(torch.zeros(16))

        def forward(self, *args):
            return function(self, *args)

    return trace(Wrapped(), inputs or (torch.randn(2, 5, 16),)).graph.op_counts()


ACTIVATIONS = {
    "silu": [lambda m, x: x * torch.sigmoid(x), lambda m, x: torch.sigmoid(x) * x, lambda m, x: F.silu(x)],
    "quick_gelu": [lambda m, x: x * torch.sigmoid(1.702 * x)],
    "gelu": [
        lambda m, x: F.gelu(x),
        lambda m, x: F.gelu(x, approximate="tanh"),
        lambda m, x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
        lambda m, x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))),
        lambda m, x: x * (torch.erf(x / 1.41421) + 1) / 2,
        lambda m, x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3)))),
        lambda m, x: 0.5 * x * (1 + torch.tanh(x * 0.7978845608 * (1 + 0.044715 * x * x))),
    ],
    "mish": [lambda m, x: F.mish(x), lambda m, x: x * torch.tanh(F.softplus(x))],
    "hardswish": [
        lambda m, x: F.hardswish(x),
        lambda m, x: x * F.relu6(x + 3) / 6,
        lambda m, x: x * F.hardsigmoid(x),
        lambda m, x: x * (x / 6 + 0.5).clamp(0, 1),
    ],
    "hardsigmoid": [lambda m, x: F.hardsigmoid(x), lambda m, x: F.relu6(x + 3) / 6, lambda m, x: (x / 6 + 0.5).clamp(0, 1)],
    "relu": [lambda m, x: F.relu(x), lambda m, x: x.clamp(min=0)],
    "relu6": [lambda m, x: F.relu6(x), lambda m, x: x.clamp(0, 6), lambda m, x: F.hardtanh(x, 0, 6)],
}


@pytest.mark.parametrize(("name", "function"), [(name, f) for name, group in ACTIVATIONS.items() for f in group])
def test_activations(name, function):
    assert ops_of(function) == {name: 1}


def test_a_gated_linear_unit_is_not_silu():
    def swiglu(m, x):
        a, b = x.chunk(2, dim=-1)
        return b * torch.sigmoid(a)

    assert ops_of(swiglu) == {"mul": 1, "sigmoid": 1}


def rms(m, x):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


NORMS = {
    "rms_norm": [
        lambda m, x: F.rms_norm(x, (16,), m.weight),
        lambda m, x: m.weight * rms(m, x),
        lambda m, x: rms(m, x) * (1 + m.weight),
        lambda m, x: m.weight * (x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6)),
        lambda m, x: (m.weight * rms(m, x.float())).to(x.dtype),
    ],
    "layer_norm": [
        lambda m, x: F.layer_norm(x, (16,), m.weight, m.bias),
        lambda m, x: (
            m.weight * (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-6) + m.bias
        ),
        lambda m, x: (
            (x - x.mean(-1, keepdim=True)) * torch.rsqrt((x - x.mean(-1, keepdim=True)).pow(2).mean(-1, keepdim=True) + 1e-6)
        ),
    ],
    "l2_norm": [
        lambda m, x: F.normalize(x, dim=-1),
        lambda m, x: x / x.norm(dim=-1, keepdim=True),
        lambda m, x: x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6),
    ],
}


@pytest.mark.parametrize(("name", "function"), [(name, f) for name, group in NORMS.items() for f in group[:2]])
def test_norms(name, function):
    assert ops_of(function) == {name: 1}


@pytest.mark.parametrize(("name", "function"), [(name, f) for name, group in NORMS.items() for f in group[2:]])
def test_norms_written_another_way(name, function):
    assert ops_of(function).get(name) == 1


def attention(q, k, v, bias=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    scores = scores if bias is None else scores + bias
    return scores.softmax(-1) @ v


def test_attention_by_hand_equals_the_fused_one():
    x = [torch.randn(1, 4, 10, 8) for _ in range(3)]
    by_hand = trace(_Call(lambda q, k, v: attention(q, k, v)), tuple(x)).graph
    fused = trace(_Call(F.scaled_dot_product_attention), tuple(x)).graph
    assert by_hand.op_counts() == fused.op_counts() == {"attention": 1}
    assert by_hand.macs.tolist() == fused.macs.tolist()
    assert int(by_hand.attr("heads").max()) == int(fused.attr("heads").max()) == 4


class _Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def test_masks_and_dropout_do_not_hide_attention():
    def masked(q, k, v):
        scores = (q * 0.3) @ k.mT
        scores = scores.masked_fill(torch.ones(10, 10).tril() == 0, -1e9)
        return F.dropout(scores.softmax(-1), 0.1, training=False) @ v

    x = tuple(torch.randn(1, 4, 10, 8) for _ in range(3))
    assert trace(_Call(masked), x).graph.op_counts() == {"attention": 1}


def test_biases_made_from_data_stay_inputs_and_are_not_counted_twice():
    def biased(q, k, v, b):
        scores = q @ k.mT
        extra = b @ k.mT
        return (scores + extra).softmax(-1) @ v

    x = tuple(torch.randn(1, 4, 10, 8) for _ in range(4))
    graph = trace(_Call(biased), x).graph
    assert graph.op_counts() == {"attention": 1, "matmul": 1}
    assert int(graph.macs.sum()) == 3 * 4 * 10 * 10 * 8


def test_einsum_attention():
    def einsum(q, k, v):
        return torch.einsum("bhnm,bhmc->bhnc", torch.einsum("bhnc,bhmc->bhnm", q, k).softmax(-1), v)

    x = tuple(torch.randn(1, 4, 10, 8) for _ in range(3))
    assert trace(_Call(einsum), x).graph.op_counts() == {"attention": 1}


def test_softmax_over_classes_is_not_attention():
    assert ops_of(lambda m, x: (x @ x.mT).softmax(-1)) == {"matmul": 1, "softmax": 1}


def test_repeated_key_heads_are_grouped_queries():
    from netatlas.graph.forms import forms

    def grouped(q, k, v):
        k, v = (t[:, :, None].expand(1, 2, 2, 10, 8).reshape(1, 4, 10, 8) for t in (k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    x = (torch.randn(1, 4, 10, 8), torch.randn(1, 2, 10, 8), torch.randn(1, 2, 10, 8))
    assert forms(trace(_Call(grouped), x).graph).keys() >= {"grouped_query_attention", "causal_attention"}


def test_rotary_embeddings_in_both_layouts():
    cos, sin = torch.randn(10, 8), torch.randn(10, 8)

    def halves(x):
        rotated = torch.cat((-x[..., 4:], x[..., :4]), dim=-1)
        return x * cos + rotated * sin

    def interleaved(x):
        a, b = x[..., ::2], x[..., 1::2]
        c, s = cos[:, :4], sin[:, :4]
        return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2)

    for function in (halves, interleaved):
        assert trace(_Call(function), (torch.randn(1, 4, 10, 8),)).graph.op_counts() == {"rope": 1}


def test_a_product_with_weights_and_a_bias_is_linear():
    weight, bias = nn.Parameter(torch.randn(16, 4)), nn.Parameter(torch.randn(4))

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias = weight, bias

        def forward(self, x):
            return x @ self.weight + self.bias

    graph = trace(Product(), (torch.randn(1, 3, 16),)).graph
    same = trace(nn.Linear(16, 4), (torch.randn(1, 3, 16),)).graph
    assert graph.op_counts() == same.op_counts() == {"linear": 1}
    assert graph.params.tolist() == same.params.tolist()
    assert graph.macs.tolist() == same.macs.tolist()


def test_weight_standardisation_is_folded_and_named():
    from netatlas.graph.forms import forms

    class Standardised(nn.Conv2d):
        def forward(self, x):
            weight = F.batch_norm(self.weight.reshape(1, self.out_channels, -1), None, None, training=True).reshape_as(
                self.weight
            )
            return F.conv2d(x, weight, self.bias, self.stride, self.padding)

    graph = trace(Standardised(3, 8, 3), (torch.randn(1, 3, 16, 16),)).graph
    assert graph.op_counts() == {"conv": 1}
    assert forms(graph)["weight_standardisation"] == 1


def test_bookkeeping_with_integers_leaves_no_trace():
    class Embeds(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.places = nn.Embedding(100, 16), nn.Embedding(64, 16)

        def forward(self, ids):
            places = torch.arange(ids.shape[1]).unsqueeze(0) + (ids != 0).cumsum(1) * 0
            return self.tokens(ids) + self.places(places)

    graph = trace(Embeds(), (torch.zeros(1, 12, dtype=torch.long),)).graph
    assert graph.op_counts() == {"embedding": 2, "add": 1}


def test_padding_of_a_convolution_is_part_of_it():
    class Same(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, stride=2)

        def forward(self, x):
            return self.conv(F.pad(x, (0, 1, 0, 1)))

    assert trace(Same(), (torch.randn(1, 3, 16, 16),)).graph.op_counts() == {"conv": 1}


def test_nested_concatenations_are_one():
    def nested(m, x):
        return torch.cat([torch.sin(x), torch.cat([torch.cos(x), torch.exp(x)], 1)], 1)

    assert ops_of(nested) == {"concat": 1, "cos": 1, "exp": 1, "sin": 1}
