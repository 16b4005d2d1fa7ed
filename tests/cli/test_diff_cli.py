"""``netatlas diff`` as a user meets it: outputs, exit codes, files, bad input."""

from __future__ import annotations

import json
import sys
import warnings
from xml.etree import ElementTree

import pytest

from netatlas import api
from netatlas.atlas import places
from netatlas.cli.main import run

pytestmark = pytest.mark.skipif(places.starter_path() is None, reason="the starter atlas has not been built: run 'make atlas'")


def say(capsys, *arguments):
    code = run(["diff", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("a", "b", "code"),
    [
        ("timm/resnet50", "timm/resnet50", 0),
        ("timm/resnet50", "torchvision/resnet50", 0),
        ("timm/resnet50.a1_in1k", "timm/resnet50", 0),
        ("timm/resnet50#layer3.1", "timm/resnet101#layer3.20", 0),
        ("timm/resnet18", "timm/resnet34", 1),
        ("timm/resnet50#fc", "timm/resnet18#fc", 1),
        ("timm/resnet50", "timm/resnet5O", 2),
        ("timm/resnet50#layer9", "timm/resnet50", 2),
        ("missing.onnx", "timm/resnet50", 2),
        ("missing.safetensors", "other.safetensors", 2),
    ],
)
def test_exit_codes_are_those_of_diff(capsys, a, b, code):
    found, out, err = say(capsys, a, b)
    assert found == code
    assert bool(out) == (code < 2)
    if code == 2:
        assert len(err.splitlines()) == 1
        assert err.startswith("netatlas: ")


def test_misuse_is_two(capsys):
    assert say(capsys, "timm/resnet50")[0] == 2
    assert say(capsys, "timm/resnet50", "timm/resnet18", "--colour")[0] == 2
    assert say(capsys, "timm/resnet50", "timm/resnet18", "--svg", "/no/such/folder/x.svg")[0] == 2


def test_every_form_of_output(capsys, tmp_path):
    drawing = tmp_path / "diff.svg"
    code, out, _ = say(capsys, "timm/resnet18", "timm/resnet34", "--svg", str(drawing))
    assert code == 1
    assert "+ layer1.2" in out
    assert out.endswith(f"Drawing written to {drawing}\n")
    assert ElementTree.parse(drawing).getroot().tag.endswith("svg")
    stat = say(capsys, "timm/resnet18", "timm/resnet34", "--stat")[1]
    assert "* stage 3  14x14  256    2 -> 6  5 -> 13" in stat
    found = json.loads(say(capsys, "timm/resnet18", "timm/resnet34", "--json", "--svg", str(drawing))[1])
    assert found["same"] is False
    assert found["operators"] == {"alike": 69, "changed": 0, "only_a": 0, "only_b": 56}
    assert "\x1b[32m" in say(capsys, "timm/resnet18", "timm/resnet34", "--color", "always")[1]
    assert "\x1b" not in say(capsys, "timm/resnet18", "timm/resnet34")[1]


def test_diff_of_entries_needs_no_torch(tmp_path):
    import subprocess

    code = "import sys; from netatlas.cli.main import run; run(['diff', 'timm/resnet18', 'timm/resnet34']); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "sklearn", "timm"} & set(out.splitlines()[-1].split())


def test_a_checkpoint_against_an_entry_compares_layers(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    save_file = pytest.importorskip("safetensors.torch").save_file
    with torch.device("cpu"):
        tensors = timm.create_model("mobilenetv3_small_050").state_dict()
    path = tmp_path / "mine.safetensors"
    save_file(dict(sorted(tensors.items())), path)
    code, out, _ = say(capsys, str(path), "timm/mobilenetv3_small_050")
    assert (code, "is a checkpoint: only layers with weights" in out) == (0, True)
    code, out, _ = say(capsys, str(path), "timm/mobilenetv3_small_075")
    assert code == 1
    tensors["classifier.weight"], tensors["classifier.bias"] = torch.zeros(10, 1024), torch.zeros(10)
    save_file(tensors, tmp_path / "tuned.safetensors")
    code, out, _ = say(capsys, str(path), str(tmp_path / "tuned.safetensors"))
    assert code == 1
    assert "+ classifier.weight  10x1024" in out
    assert out.splitlines()[2] == "@@ other shapes: 2 tensors @@"


def test_a_module_and_its_onnx_export_are_the_same(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    module = timm.create_model("mobilenetv3_small_050").eval()
    with torch.no_grad():
        for n, tensor in enumerate([*module.parameters(), *module.buffers()]):
            if tensor.is_floating_point():  # no two alike: an exporter stores equal tensors once
                tensor.copy_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(n)) + 0.5)
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(1, 3, 224, 224),), str(path), dynamo=False, opset_version=17)
    code, out, _ = say(capsys, str(path), "timm/mobilenetv3_small_050")
    assert (code, "the same network" in out) == (0, True)
    assert not api.diff(module, str(path), inputs=(torch.zeros(1, 3, 224, 224),))
    assert say(capsys, str(path), "timm/mobilenetv3_small_075")[0] == 1


def test_explain_is_the_summary():
    told = api.explain("timm/resnet50", "timm/efficientnet_b0")
    assert "16 squeeze-excites" in told
    assert told == api.diff("timm/resnet50", "timm/efficientnet_b0").stat()


def test_too_large_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr("netatlas.graph.align.MOST_OPERATORS", 100)
    code, _, err = say(capsys, "timm/resnet50", "timm/resnet18")
    assert code == 2
    assert err == (
        "netatlas: timm/resnet50, timm/resnet18: a network of 175 operators cannot be aligned, at most 100: name a part of it, "
        "'ID#module'\n"
    )
