"""Python objects: references, guessed inputs, and modules that must come out as they went in."""

from __future__ import annotations

import random
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netatlas.errors import QueryError, SourceError, TraceError

torch = pytest.importorskip("torch")
nn = torch.nn

from netatlas.targets._example_inputs import DTYPES, Inputs, InputSpec
from netatlas.targets.python_object import load_module, parse_inputs, read_object


class Net(nn.Module):
    """Convolution, batch norm and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 5)

    def forward(self, x):
        return self.head(torch.relu(self.bn(self.conv(x))).mean((2, 3)))


FILE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
    def forward(self, x):
        return self.fc(x)

class Sized(Net):
    def __init__(self, dim, depth, *, bias=True):
        super().__init__()

class Holder:
    net = Net()
    @property
    def broken(self):
        raise KeyError("no\\nsecret")
    def build(self):
        return Net()

holder = Holder()
number = 7
def build(): return Net()
def fails(): raise ValueError("bad depth\\nsecond line")
def exits(): raise SystemExit(3)
def nothing(): return None
def reads_values():
    net = Net()
    if float(net.fc.weight.sum()) > 1e9: raise RuntimeError
    return net
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with ``pkg_under_test/nets.py`` and ``single.py``, as current directory."""
    package = tmp_path / "pkg_under_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text(FILE)
    (package / "broken.py").write_text("raise RuntimeError('import is broken')")
    (package / "needs.py").write_text("import surely_not_installed_anywhere")
    (tmp_path / "single.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("pkg_under_test", "netatlas_file_", "single"))]:
        del sys.modules[name]


# ---------------------------------------------------------------- references


@pytest.mark.parametrize(
    "reference",
    ["pkg_under_test.nets:build", "pkg_under_test.nets:Net", "pkg_under_test.nets:holder.net", "pkg_under_test.nets:holder.build"]
    + ["single.py:build", "./single.py:Net", "pkg_under_test/nets.py:Holder.net", "pkg_under_test.nets:reads_values"],
)
def test_reference_is_found_and_traced(project, reference):
    (entry,) = read_object(reference)
    assert entry.facts["params"] == 15
    assert entry.facts["macs"] == 12
    assert entry.facts["source"] == "python"
    assert entry.graph is not None
    assert entry.graph.names == ["input", "linear"]


def test_ids_come_from_the_reference(project):
    assert read_object("pkg_under_test.nets:build")[0].id == "python/pkg_under_test.nets:build"
    assert read_object(str(project / "single.py") + ":build")[0].id == "python/single:build"
    assert read_object("single.py:build", entry_id="mine/x")[0].id == "mine/x"
    assert read_object(Net())[0].id == f"python/{Net.__module__}:Net"


def test_built_without_numbers(project):
    assert all(p.is_meta for p in load_module("pkg_under_test.nets:build").parameters())


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("pkg_under_test.nets:Ne", "pkg_under_test.nets has no attribute 'Ne': did you mean 'Net'"),
        ("pkg_under_test.nets:holder.ne", r"holder has no attribute 'ne': did you mean 'net'"),
        ("pkg_under_test.nest:build", "no Python module 'pkg_under_test.nest': did you mean 'nets'"),
        ("surely_no_such_package:build", "no Python module 'surely_no_such_package'"),
        ("pkg_under_test.broken:build", "importing pkg_under_test.broken failed: RuntimeError: import is broken"),
        (
            "pkg_under_test.needs:build",
            "importing pkg_under_test.needs failed: ModuleNotFoundError: .*surely_not_installed_anywhere",
        ),
        ("pkg_under_test.nets", "does not say which object"),
        (":build", "does not say which object"),
        ("pkg_under_test.nets:", "does not say which object"),
        ("a b:c", "'a b' is not the name of a Python module"),
        ("sngle.py:build", r"no such file: 'sngle.py': did you mean 'single.py'"),
        ("single.py:number", "is an int, not a torch.nn.Module"),
        ("pkg_under_test.nets:torch", "is the Python module torch"),
        ("pkg_under_test.nets:nothing", "returns None, not a torch.nn.Module"),
        ("pkg_under_test.nets:Holder", "returns a pkg_under_test.nets.Holder, not"),
        ("pkg_under_test.nets:Sized", r"needs arguments \(dim, depth\): name a function without arguments"),
        ("pkg_under_test.nets:fails", "raises ValueError: bad depth$"),
        ("pkg_under_test.nets:exits", "raises SystemExit: 3"),
        ("pkg_under_test.nets:holder.broken", "raises KeyError"),
    ],
)
def test_bad_reference_is_one_clear_line(project, reference, words):
    with pytest.raises(SourceError, match=words) as caught:
        read_object(reference)
    assert "\n" not in str(caught.value)


def test_import_path_is_as_it_was(project):
    before = list(sys.path)
    read_object("pkg_under_test.nets:build")
    read_object("single.py:build")
    with pytest.raises(SourceError):
        read_object("pkg_under_test.broken:build")
    assert sys.path == before


def test_something_else_than_a_module():
    with pytest.raises(SourceError, match="not a torch.nn.Module but a list"):
        read_object([1, 2])  # type: ignore[arg-type]


# ---------------------------------------------------------------- guessed inputs


class Sequence(nn.Module):
    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first = first

    def forward(self, x):
        y = self.first(x)
        return y[0] if isinstance(y, tuple) else y


class Stated(nn.Module):
    def __init__(self, value: object, name: str = "example_input_array") -> None:
        super().__init__()
        self.fc = nn.Linear(6, 2)
        setattr(self, name, value)

    def forward(self, x, scale=None):
        return self.fc(x)


def flat(side: int, channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Flatten(), nn.Linear(4 * (side - 2) ** 2, 10))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (Net(), "1x3x224x224"),
        (flat(32, 3), "1x3x32x32"),
        (flat(28, 1), "1x1x28x28"),
        (nn.Linear(7, 3), "1x7"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), "1x784"),
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU()), "1x2x1024"),
        (nn.Sequential(nn.Conv3d(3, 2, 3)), "1x3x16x112x112"),
        (Sequence(nn.Embedding(100, 8)), "1x100 int64"),
        (Sequence(nn.Embedding(1000, 8)), "1x128 int64"),
        (Sequence(nn.LSTM(5, 6, batch_first=True)), "1x128x5"),
        (Sequence(nn.GRU(5, 6)), "128x1x5"),
        (nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, batch_first=True), 1), "1x128x8"),
        (Stated(torch.zeros(9, 6)), "9x6"),
        (Stated((torch.zeros(9, 6),), "example_inputs"), "9x6"),
        (Stated({"x": torch.zeros(4, 6)}), "x=4x6"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_inputs_are_guessed(module, shape):
    (entry,) = read_object(module)
    assert entry.facts["input"] == shape
    assert entry.origins["input"]
    assert entry.facts["macs"] > 0 or "Embedding" in str(module)


def test_timm_configuration_is_believed():
    timm = pytest.importorskip("timm")
    (entry,) = read_object(timm.create_model("efficientnet_b3"))
    size = timm.create_model("efficientnet_b3").pretrained_cfg["input_size"]
    assert entry.facts["input"] == f"1x{'x'.join(map(str, size))}"


def test_transformers_configuration_is_believed():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, max_position_embeddings=40
    )
    (entry,) = read_object(transformers.BertModel(config))
    assert entry.facts["input"] == "input_ids=1x40 int64"


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, image, tokens):
        return self.fc(image) + tokens.sum()


def test_inputs_that_cannot_be_guessed_say_how_to_give_them():
    with pytest.raises(TraceError, match=r"needs 2 inputs \(image, tokens\): .*--input image=1,3,224,224") as caught:
        read_object(TwoInputs())
    assert caught.value.reason == "needs inputs"
    with pytest.raises(TraceError, match=r"--input 1,3,224,224, or --input-ids 1,128"):
        read_object(nn.ReLU())
    with pytest.raises(TraceError, match=r"does not accept the inputs that were guessed.*--input 1,3,224,224") as caught:
        read_object(flat(50, 3))
    assert "\n" not in str(caught.value)


def test_named_inputs_are_used():
    (entry,) = read_object(TwoInputs(), parse_inputs(["image=2,4"], ["tokens=2,9"]))
    assert entry.facts["input"] == "image=2x4, tokens=2x9 int64"
    assert entry.facts["macs"] == 2 * 4 * 3
    assert entry.origins["input"] == "given by the user"


def test_tensors_and_shapes_are_inputs_too():
    assert read_object(Net(), [torch.zeros(1, 3, 40, 40)])[0].facts["input"] == "1x3x40x40"
    assert read_object(Net(), ["1,3,40,40"])[0].facts["input"] == "1x3x40x40"
    with pytest.raises(TraceError, match="inputs must be tensors"):
        read_object(Net(), [3])


def test_wrong_inputs_are_one_clear_line():
    with pytest.raises(TraceError, match=r"Net does not accept the input 1x4x50x50: RuntimeError: .*channels") as caught:
        read_object(Net(), parse_inputs(["1,4,50,50"]))
    assert "\n" not in str(caught.value)
    assert caught.value.reason == "bad inputs"
    with pytest.raises(TraceError, match="nonsense"):
        read_object(Net(), parse_inputs(["nonsense=1,3,50,50"]))


@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=5),
    st.sampled_from([",", "x", " , ", "×"]),
    st.sampled_from(["", "image"]),
    st.sampled_from(["", *DTYPES]),
)
def test_shapes_are_read_as_written(shape, comma, name, dtype):
    text = (f"{name}=" if name else "") + comma.join(map(str, shape)) + (f":{dtype}" if dtype else "")
    assert parse_inputs([text]).specs == (InputSpec(tuple(shape), dtype or "float32", name),)
    assert parse_inputs([], [text]).specs[0].dtype == (dtype or "int64")


@given(st.text(max_size=20))
def test_any_text_is_a_shape_or_a_clear_error(text):
    try:
        inputs = parse_inputs([text])
    except QueryError as error:
        assert "\n" not in str(error) or "\n" in text
    else:
        assert all(n > 0 for n in inputs.specs[0].shape)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no shape"),
        ("1,3,", "'' is not a positive whole number"),
        ("1,-3", "'-3' is not a positive"),
        ("1,0,3", "'0' is not a positive"),
        ("1.5", "'1.5' is not"),
        ("a,b", "'a' is not"),
        ("1,3:flaot32", "unknown dtype 'flaot32': did you mean 'float32'"),
        ("1,3:q", "unknown dtype 'q' \\(float32"),
        ("2x=1,3", "'2x' is not the name of a parameter"),
        ("100000,100000,100000", "elements are more than"),
    ],
)
def test_malformed_shapes_are_explained(text, words):
    with pytest.raises(QueryError, match=words):
        parse_inputs([text])


def test_one_name_cannot_be_given_twice():
    with pytest.raises(QueryError, match="'x' is given twice"):
        parse_inputs(["x=1,2"], ["x=1,2"])


# ---------------------------------------------------------------- leaving no trace


class Restless(nn.Module):
    """Changes everything it can during a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.bn, self.drop = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))
        self.history: list[object] = []
        self.cache: object = None

    def forward(self, x):
        self.calls += 1
        self.history.append(1)
        self.cache = x
        self.fc.extra = 1
        random.random()
        np.random.rand()  # noqa: NPY002
        torch.rand(1)
        return self.drop(self.bn(self.fc(x)))


def restless(locked: bool = False) -> Restless:
    module = Restless().train()
    module.bn.eval()
    module(torch.randn(3, 4)).sum().backward()
    module.fc.bias.requires_grad_(False)
    if locked:
        module.lock = threading.Lock()  # cannot be copied
    return module


@pytest.mark.parametrize("locked", [False, True], ids=["copied", "not copyable"])
def test_module_and_process_are_exactly_as_before(locked):
    module = restless(locked)
    seen: list[object] = []
    handle = module.fc.register_forward_hook(lambda m, args, out: seen.append(m.training))
    state = {name: value.clone() for name, value in module.state_dict().items()}
    pointers = {name: value.data_ptr() for name, value in module.state_dict().items()}
    flags = {name: m.training for name, m in module.named_modules()}
    grads = {name: (p.grad, p.requires_grad) for name, p in module.named_parameters()}
    attributes = {name: set(vars(m)) for name, m in module.named_modules()}
    history, cache = list(module.history), module.cache
    python, numpy, torch_state = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002

    read_object(module, parse_inputs(["3,4"]))

    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name]), name
        assert value.data_ptr() == pointers[name], name
    assert {name: m.training for name, m in module.named_modules()} == flags
    for name, parameter in module.named_parameters():
        assert parameter.grad is grads[name][0], name
        assert parameter.requires_grad == grads[name][1], name
    assert {name: set(vars(m)) for name, m in module.named_modules()} == attributes
    assert module.history == history
    assert module.cache is cache
    assert random.getstate() == python
    assert (np.random.get_state()[1] == numpy).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert list(module.fc._forward_hooks) == [handle.id]
    seen.clear()
    module(torch.randn(3, 4))
    assert seen == [True]
    handle.remove()  # the handle still reaches the dictionary it was registered in
    assert not module.fc._forward_hooks


def test_process_settings_survive_a_module_that_changes_them(project):
    (project / "rude.py").write_text(
        textwrap.dedent("""
        import torch, random
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        random.seed(3)
        def build():
            torch.manual_seed(0)
            return torch.nn.Linear(2, 2)
        """)
    )
    python, torch_state = random.getstate(), torch.get_rng_state()
    read_object("rude.py:build")
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert random.getstate() == python
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_failing_forward_restores_too():
    module = restless()
    before = dict(vars(module.fc))
    with pytest.raises(TraceError):
        read_object(module, parse_inputs(["3,5"]))
    assert dict(vars(module.fc)) == before
    assert module.training
    assert not module.bn.training


class Branches(nn.Module):
    """Control flow that depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.gate = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.fc(x) if self.gate(x).sum().item() > -1e9 else x


class Returns(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.fc, self.how = nn.Linear(4, 4), how

    def forward(self, x):
        y = self.fc(x)
        return {"dict": {"y": y, "n": None}, "tuple": (y, [y + 1]), "none": None}[self.how]


def test_control_flow_on_values_is_traced_by_a_lower_rung():
    (entry,) = read_object(Branches())
    assert entry.facts["traced_by"] != "export"
    assert "linear" in entry.facts["ops"]


@pytest.mark.parametrize("how", ["dict", "tuple"])
def test_structured_outputs(how):
    (entry,) = read_object(Returns(how))
    assert entry.facts["params"] == 20


def test_tied_parameters_are_counted_once():
    module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    module[1].weight = module[0].weight
    assert read_object(module)[0].facts["params"] == 16


def test_lazy_layers_are_named():
    with pytest.raises(TraceError, match=r"head \(LazyLinear\) is lazy.*call the module once") as caught:
        module = nn.Sequential()
        module.add_module("head", nn.LazyLinear(3))
        read_object(module)
    assert caught.value.reason == "lazy module"


def test_module_on_the_meta_device_stays_there():
    with torch.device("meta"):
        module = nn.Linear(100_000, 100_000)  # 40 GB if it were real
    assert read_object(module)[0].facts["params"] == 100_000 * 100_001
    assert module.weight.is_meta


def test_inputs_print_as_people_write_them():
    assert str(Inputs((InputSpec((1, 3), "float32", "x"), InputSpec((1, 9), "int64")))) == "x=1x3, 1x9 int64"
    assert Path  # keeps the import for the fixture's annotations
