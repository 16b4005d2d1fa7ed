"""Tracing: parameters, MACs and operators of real modules, state restored, any size."""

from __future__ import annotations

import time

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional as F

from netatlas.errors import TraceError
from netatlas.graph import costs
from netatlas.graph.canonical import content_hash
from netatlas.graph.trace import capture_module, trace


class ConvNet(nn.Module):
    def __init__(self, width=8, kernel=3):
        super().__init__()
        self.conv = nn.Conv2d(3, width, kernel, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)), inplace=True)
        return self.head(x.mean((2, 3)))


def graph_of(module, *inputs):
    return trace(module, inputs).graph


def test_counts_of_a_small_network_by_hand():
    graph = graph_of(ConvNet(), torch.randn(1, 3, 32, 32))
    assert graph.op_counts() == {"batch_norm": 1, "conv": 1, "global_avg_pool": 1, "linear": 1, "relu": 1}
    assert int(graph.params.sum()) == graph.total_params == 8 * 3 * 9 + 8 + 16 + 8 * 10 + 10
    assert int(graph.macs.sum()) == 8 * 16 * 16 * 3 * 9 + 8 * 10
    assert costs.depth(graph) == 2


def test_attributes_of_convolutions_are_kept():
    module = nn.Conv2d(8, 16, (3, 5), stride=(1, 2), padding=2, dilation=2, groups=4)
    graph = graph_of(module, torch.randn(1, 8, 20, 20))
    conv = graph.names.index("conv")
    values = {
        name: int(graph.attr(name)[conv])
        for name in ("kernel_d", "kernel_h", "kernel_w", "stride_h", "stride_w", "dilation", "groups")
    }
    assert values == {"kernel_d": 0, "kernel_h": 3, "kernel_w": 5, "stride_h": 1, "stride_w": 2, "dilation": 2, "groups": 4}


def test_scopes_name_modules_and_classes():
    graph = graph_of(nn.Sequential(ConvNet()), torch.randn(1, 3, 32, 32))
    conv = graph.names.index("conv")
    scope = graph.scopes[graph.scope[conv]]
    assert (scope.path, scope.cls) == ("0.conv", "Conv2d")


def test_hash_sees_the_design_and_not_the_weights():
    x = torch.randn(1, 3, 32, 32)
    torch.manual_seed(0)
    first = content_hash(graph_of(ConvNet(), x))
    torch.manual_seed(1)
    assert content_hash(graph_of(ConvNet(), x)) == first
    assert content_hash(graph_of(ConvNet(kernel=5), x)) != first
    assert content_hash(graph_of(ConvNet(width=9), x)) != first


def test_meta_and_cpu_give_the_same_graph():
    with torch.device("meta"):
        meta = ConvNet()
    on_meta = trace(meta, (torch.empty(1, 3, 32, 32, device="meta"),))
    on_cpu = trace(ConvNet(), (torch.randn(1, 3, 32, 32),))
    assert content_hash(on_meta.graph) == content_hash(on_cpu.graph)
    assert on_meta.rung == on_cpu.rung == "export"


def test_the_dispatch_rung_agrees_with_export():
    class Looks(ConvNet):
        def forward(self, x):
            if float(x.sum()) > 1e9:  # control flow that depends on data: export cannot follow it
                return x
            return super().forward(x)

    traced = trace(Looks(), (torch.randn(1, 3, 32, 32),))
    assert traced.rung == "dispatch"
    assert content_hash(traced.graph) == content_hash(trace(ConvNet(), (torch.randn(1, 3, 32, 32),)).graph)


def test_values_on_the_meta_device_fall_back_to_the_cpu():
    class Looks(ConvNet):
        def forward(self, x):
            return super().forward(x) if float(x.sum()) < 1e9 else x

    with torch.device("meta"):
        module = Looks()
    traced = trace(module, (torch.empty(1, 3, 32, 32, device="meta"),))
    assert traced.rung == "dispatch-cpu"
    assert int(traced.graph.params.sum()) == traced.graph.total_params


def test_a_network_of_280_billion_parameters_traces_in_seconds():
    class Layer(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.norm, self.up, self.down = nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

        def forward(self, x):
            return x + self.down(F.gelu(self.up(self.norm(x))))

    with torch.device("meta"):
        module = nn.Sequential(*(Layer(16384) for _ in range(131)))
    began = time.process_time()
    graph = graph_of(module, torch.empty(1, 16, 16384, device="meta"))
    assert graph.total_params > 280e9
    assert int(graph.params.sum()) == graph.total_params
    assert time.process_time() - began < 60  # not a benchmark: it must not allocate a terabyte first


def test_tied_parameters_are_counted_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(50, 8)
            self.head = nn.Linear(8, 50, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, ids):
            return self.head(self.embed(ids))

    graph = graph_of(Tied(), torch.zeros(1, 5, dtype=torch.long))
    assert int(graph.params.sum()) == graph.total_params == 400
    assert int(graph.macs.sum()) == 5 * 8 * 50


def test_the_module_is_left_as_it_was():
    module = ConvNet()
    module.norm.eval()
    module.train()
    module.norm.eval()
    module.conv.weight.grad = torch.ones_like(module.conv.weight)
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    flags = [m.training for m in module.modules()]
    statistics = module.norm.running_mean.clone()
    state = torch.random.get_rng_state()
    hooks = len(module._forward_hooks)
    trace(module, (torch.randn(1, 3, 32, 32),))
    torch.random.set_rng_state(state)
    assert [m.training for m in module.modules()] == flags
    assert torch.equal(module.norm.running_mean, statistics)
    assert module.conv.weight.grad is not None
    assert len(module._forward_hooks) == hooks


def test_a_forward_that_raises_is_one_clear_line():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("no luck\nsecond line")

    with pytest.raises(TraceError, match=r"^cannot trace Broken: ValueError: no luck$"):
        trace(Broken(), (torch.randn(1),))


def test_wrong_shapes_name_the_module():
    with pytest.raises(TraceError, match="cannot trace ConvNet"):
        trace(ConvNet(), (torch.randn(1, 5, 32, 32),))


def test_a_single_layer_and_no_parameters():
    assert graph_of(nn.Linear(4, 2), torch.randn(1, 4)).op_counts() == {"linear": 1}
    identity = graph_of(nn.Identity(), torch.randn(1, 4))
    assert identity.total_params == 0
    assert identity.names == ["input"]


def test_unknown_operators_are_counted_not_hidden():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.linalg.cholesky_ex(x @ x.mT)[0]

    graph = graph_of(Odd(), torch.randn(1, 4, 4))
    assert sum(graph.unknown.values()) == 1
    assert "unknown" in graph.op_counts()


def test_writes_into_slices_are_seen():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(2, 2)

        def forward(self, x):
            y = self.a(x)
            y[:, :2] = self.b(y[:, 2:])
            return F.relu(y)

    graph = graph_of(Writes(), torch.randn(1, 4))
    assert graph.op_counts() == {"linear": 2, "relu": 1, "scatter": 1}


def test_macs_of_a_recurrent_layer():
    module = nn.LSTM(8, 16, num_layers=2, batch_first=True)
    graph = graph_of(module, torch.randn(1, 10, 8))
    weights = sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight"))
    assert int(graph.macs.sum()) == 10 * weights
    assert int(graph.params.sum()) == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("equation", "shapes", "expected"),
    [
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        ("bhnc,bhmc->bhnm", [(1, 2, 5, 3), (1, 2, 7, 3)], 1 * 2 * 5 * 7 * 3),
        ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)], 2 * 3 * 4 + 2 * 4 * 5),
        ("ij->ji", [(2, 3)], 0),
    ],
)
def test_einsum_macs(equation, shapes, expected):
    assert costs.einsum_macs(equation, shapes) == expected


def test_einsum_in_a_module_matches_flop_counter():
    from torch.utils.flop_counter import FlopCounterMode

    class Product(nn.Module):
        def forward(self, q, k):
            return torch.einsum("bhnc,bhmc->bhnm", q, k)

    inputs = (torch.randn(1, 2, 5, 3), torch.randn(1, 2, 7, 3))
    with FlopCounterMode(display=False) as counter:
        Product()(*inputs)
    assert int(graph_of(Product(), *inputs).macs.sum()) == counter.get_total_flops() // 2


def test_peak_memory_of_a_chain_and_of_a_skip():
    class Chain(nn.Module):
        def forward(self, x):
            return F.relu(torch.sin(torch.exp(x)))

    class Skip(nn.Module):
        def forward(self, x):
            return x + F.relu(torch.sin(torch.exp(x)))

    x = torch.randn(1, 100)
    assert costs.peak_memory(graph_of(Chain(), x)) == 2 * 100 * 4
    assert costs.peak_memory(graph_of(Skip(), x)) == 3 * 100 * 4


def test_capture_keeps_what_the_graph_folds():
    capture = capture_module(ConvNet(), (torch.randn(1, 3, 32, 32),))
    assert {node.op for node in capture.nodes} >= {"input", "parameter", "constant", "conv"}
