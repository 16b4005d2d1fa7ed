"""One network by two routes, PyTorch's tracer and PyTorch's ONNX exporter, gives one graph."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

from netatlas.graph.canonical import canonicalize
from netatlas.graph.onnx_import import capture_onnx

torch = pytest.importorskip("torch", reason="needs the extra torch")
onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra dev (onnxscript)")
from torch import nn

from netatlas.graph.trace import trace

ROUTES = {
    "dynamo": {"dynamo": True, "verbose": False, "external_data": False},
    "dynamo-raw": {"dynamo": True, "optimize": False, "verbose": False, "external_data": False},
    "dynamo-23": {"dynamo": True, "opset_version": 23, "verbose": False, "external_data": False},
    "legacy-14": {"dynamo": False, "opset_version": 14},
    "legacy-17": {"dynamo": False, "opset_version": 17},
}


def trained(module):
    """As after training: no two tensors alike, so that exporters cannot store them once or drop biases of zeros."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator) * 0.1
                tensor.copy_(noise.abs() + 0.5 if "var" in name else noise)
    return module.eval()


class Residual(nn.Module):
    """Convolutions, folded norms, squeeze-excite, a shortcut."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = self.stem(x)
        y = self.depthwise(x)
        x = x + y * torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return self.head(x.mean((2, 3)))


class Block(nn.Module):
    """A pre-norm transformer block with attention written by hand, GELU and class token."""

    def __init__(self, dim=16, heads=2):
        super().__init__()
        self.heads = heads
        self.token, self.place = nn.Parameter(torch.zeros(1, 1, dim)), nn.Parameter(torch.zeros(1, 10, dim))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.gamma = nn.Parameter(torch.ones(dim))

    def attend(self, q, k, v):
        return ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v

    def forward(self, x):
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        b, n, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.gamma * self.proj(self.attend(q, k, v).transpose(1, 2).reshape(b, n, d))
        return (x + self.mlp(self.norm2(x)))[:, 0]


class Fused(Block):
    """The same block with PyTorch's own attention."""

    def attend(self, q, k, v):
        return nn.functional.scaled_dot_product_attention(q, k, v)


class Shifted(nn.Module):
    """Group norm, a cyclic shift over two axes, cuts, pooling, upsampling, L2 normalisation."""

    def __init__(self):
        super().__init__()
        self.norm, self.conv, self.prelu = nn.GroupNorm(2, 8), nn.Conv2d(3, 8, 1), nn.PReLU(8)

    def forward(self, x):
        x = torch.roll(self.norm(self.conv(x)), (-2, -2), (2, 3))
        left, right = self.prelu(x).chunk(2, 1)
        pooled = nn.functional.max_pool2d(left * torch.tanh(right), 2)
        y = nn.functional.interpolate(nn.functional.avg_pool2d(pooled, 2), scale_factor=2.0, mode="nearest")
        return nn.functional.normalize(torch.cat([y, pooled], 1).flatten(1), dim=-1)


class Reader(nn.Module):
    """Embedding with tied output, a recurrent layer, RMS norm by hand."""

    def __init__(self):
        super().__init__()
        self.table, self.rnn, self.scale = nn.Embedding(50, 16), nn.LSTM(16, 16, batch_first=True), nn.Parameter(torch.ones(16))

    def forward(self, ids):
        x, _ = self.rnn(self.table(ids))
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale
        return nn.functional.linear(x, self.table.weight)


NETS = {
    "residual": (Residual, lambda: torch.randn(1, 3, 32, 32)),
    "block": (Block, lambda: torch.randn(1, 9, 16)),
    "fused": (Fused, lambda: torch.randn(1, 9, 16)),
    "shifted": (Shifted, lambda: torch.randn(1, 3, 16, 16)),
    "reader": (Reader, lambda: torch.randint(0, 50, (1, 12))),
}


def twins(net, route, folder):
    torch.manual_seed(0)
    make, example = NETS[net]
    module, x = trained(make()), example()
    path = folder / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), str(path), **ROUTES[route])
        reference = trace(module, (x,)).graph
    return reference, path


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("net", NETS)
def test_twins(net, route, tmp_path):
    reference, path = twins(net, route, tmp_path)
    capture = capture_onnx(path)
    graph = canonicalize(capture)
    assert graph.op_counts() == reference.op_counts()
    assert capture.unknown == {}
    assert int(graph.macs.sum()) == int(reference.macs.sum())


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("net", ["residual", "block", "shifted"])
def test_parameters_of_twins(net, route, tmp_path):
    """With tensors that differ, as trained ones do, no exporter hides a parameter: even the folded norms come back."""
    reference, path = twins(net, route, tmp_path)
    assert capture_onnx(path).total_params == reference.total_params


@pytest.mark.parametrize("net", ["residual", "block", "shifted"])
def test_scopes_of_twins(net, tmp_path):
    reference, path = twins(net, "dynamo-raw", tmp_path)
    graph = canonicalize(capture_onnx(path))

    def layers(g):
        return {
            (g.name(i), g.scopes[g.scope[i]].path)
            for i in range(len(g))
            if g.name(i) in ("conv", "linear", "layer_norm", "batch_norm")
        }

    assert layers(graph) == layers(reference)


@pytest.mark.parametrize("net", [name for name in NETS if name != "reader"])
def test_shapes_are_those_that_pytorch_states(net, tmp_path):
    """The exporter writes PyTorch's own shapes into the file, onnx infers those between; without them, the importer does too."""
    _, path = twins(net, "dynamo-raw", tmp_path)
    model = onnx.load(path)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    stated = {
        info.name: tuple(d.dim_value for d in info.type.tensor_type.shape.dim)
        for info in [*inferred.value_info, *inferred.output]
    }
    outputs = [info.name for info in model.graph.output]
    del model.graph.value_info[:]
    for info in model.graph.output:
        info.type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    capture = capture_onnx(path)
    produced = {stated[name] for node in model.graph.node for name in node.output if name in stated}
    shapes = [n.shape for n in capture.nodes if n.real and n.op not in ("input", "parameter", "constant")]
    assert len(shapes) > 8
    assert [shape for shape in shapes if not any(fits(shape, other) for other in produced)] == []
    assert [capture.nodes[i].shape for i in capture.outputs] == [stated[name] for name in outputs]


def fits(shape, stated):
    """Whether shapes are equal where the stated one is known; 0 stands for an open axis."""
    return len(shape) == len(stated) and all(b in (0, a) for a, b in zip(shape, stated, strict=True))


# ---------------------------------------------------------------- architectures of timm


@pytest.fixture(scope="module")
def bench():
    pytest.importorskip("timm", reason="needs the extra zoo")
    place = Path(__file__).parents[2] / "benchmarks" / "onnx_twins.py"
    spec = importlib.util.spec_from_file_location("onnx_twins", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FAST = ("mobilenetv3_large_100", "vit_tiny_patch16_224", "regnety_002")
SLOW = (
    "resnet18", "efficientnet_b0", "swin_tiny_patch4_window7_224", "convnext_tiny", "densenet121", "mixer_b16_224",
    "hrnet_w18_small",
    "inception_v3", "vgg11", "coatnet_0_rw_224", "mobilevit_s", "levit_128", "poolformer_s12", "xcit_nano_12_p16_224",
    "edgenext_xx_small", "deit_tiny_patch16_224", "ghostnet_100",
)  # fmt: skip


def compare(bench, name, route, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph, reference = canonicalize(capture_onnx(bench.export(name, route, folder))), bench.traced(name)
    assert bench.agreement(reference.op_counts(), graph.op_counts()) >= bench.TARGET, (reference.op_counts(), graph.op_counts())
    np.testing.assert_allclose(int(graph.macs.sum()), int(reference.macs.sum()), rtol=1e-3)


@pytest.mark.parametrize("name", FAST)
def test_architectures(bench, name, tmp_path):
    compare(bench, name, "legacy17", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("route", ["dynamo", "dynamo_raw", "legacy17"])
@pytest.mark.parametrize("name", FAST + SLOW)
def test_all_architectures(bench, name, route, tmp_path):
    compare(bench, name, route, tmp_path)
