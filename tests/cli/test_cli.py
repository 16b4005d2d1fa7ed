"""The command line: outputs, exit codes, one-line errors, pipes and encodings."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from netatlas.atlas import places
from netatlas.cli.main import cli, run

pytestmark = pytest.mark.skipif(places.starter_path() is None, reason="the starter atlas has not been built: run 'make atlas'")


def say(capsys, *arguments):
    code = run(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def process(*arguments, **environment):
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-m", "netatlas.cli.main", *arguments], capture_output=True, text=True, env=env)


def test_find_prints_what_was_understood_and_a_table(capsys):
    code, out, err = say(capsys, "find", "small image classifier without attention, under 6M params, above 75% top-1")
    lines = out.splitlines()
    assert code == 0
    assert err == ""
    assert lines[0] == "no attention · params < 6M · top1 > 75 % · task = image-classification"
    assert lines[1].startswith("note: top1 is known for")
    assert lines[2].split()[:4] == ["id", "params", "macs", "top1"]
    assert len(lines) == 14


def test_find_as_json(capsys):
    code, out, _ = say(capsys, "find", "efficientnet b0", "--json", "-k", "1")
    found = json.loads(out)
    assert code == 0
    assert found["query"] == "efficientnet b0"
    assert found["hits"][0]["id"] == "timm/efficientnet_b0"
    facts = found["hits"][0]["facts"]
    assert facts["params"] == 5288548
    assert facts["family"] == "efficientnet"
    assert facts["latency_ms"] is None


def test_find_as_csv(capsys):
    code, out, _ = say(capsys, "find", "resnet", "--csv", "-k", "3")
    assert code == 0
    assert len(out.splitlines()) == 4


def test_exit_codes(capsys):
    assert say(capsys, "find", "resnet", "--where", "params < 1")[0] == 1
    assert say(capsys, "find", "resnet", "--where", "parms < 1")[0] == 2
    assert say(capsys, "show", "timm/resnet5O")[0] == 1
    assert say(capsys, "fnd", "resnet")[0] == 2
    assert say(capsys, "find", "--limit", "-1")[0] == 2
    assert say(capsys, "compare", "timm/resnet50")[0] == 2
    assert say(capsys, "--version")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["find", "--where", "parms < 6M"], "did you mean 'params'"),
        (["find", "--where", "params < 10 ms"], "params is a plain count"),
        (["find", "--where", "params <"], "at position 9 of 'params <'"),
        (["find", "--where", "macs / 0 > 1"], "zero"),
        (["find", "--like", "timm/resnet5O"], "timm/resnet50"),
        (["show", "resnet5O"], "did you mean"),
        (["show", "missing.onnx"], "missing.onnx"),
        (["compare", "timm/resnet50", "timm/resnet50"], "twice"),
        (["remove", "timm/resnet50"], "starter atlas"),
        (["shwo", "x"], "did you mean 'show'"),
        (["compare", "timm/resnet50", "timm/resnet18", "--plot", "a.txt"], ".png"),
    ],
)
def test_errors_are_one_line_without_a_traceback(capsys, arguments, told):
    code, _, err = say(capsys, *arguments)
    lines = [line for line in err.splitlines() if line.strip() and not line.startswith(("Usage", "Try"))]
    assert code in (1, 2)
    assert len(lines) == 1
    assert told in lines[0]
    assert "Traceback" not in err


def test_show_says_where_every_number_comes_from(capsys):
    code, out, _ = say(capsys, "show", "timm/resnet50")
    assert code == 0
    for part in (
        "Structure",
        "Costs by operator",
        "Forms",
        "Models",
        "Nearest relatives",
        "Links",
        "counted on the operator graph",
    ):
        assert part in out
    assert "latency_ms" in out
    assert "unknown" in out


def test_show_as_json_has_origins(capsys):
    found = json.loads(say(capsys, "show", "timm/resnet50", "--json")[1])
    assert found["facts"]["params"] == {"value": 25557032, "unit": "", "origin": "counted on the operator graph (export)"}
    assert found["facts"]["latency_ms"]["value"] is None
    assert found["operators"][0]["name"] == "conv"
    assert found["relatives"]


def test_show_draws(capsys, tmp_path):
    from xml.etree import ElementTree

    code, _, _ = say(capsys, "show", "timm/resnet50", "--svg", str(tmp_path / "resnet.svg"))
    assert code == 0
    assert ElementTree.parse(tmp_path / "resnet.svg").getroot().tag.endswith("svg")
    code, _, err = say(capsys, "show", "timm/resnet50", "--svg", str(tmp_path / "no" / "resnet.svg"))
    assert code == 1
    assert "cannot write" in err


def test_compare_side_by_side(capsys, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra 'plot'")
    plot = tmp_path / "plot.png"
    code, out, _ = say(
        capsys, "compare", "timm/resnet50", "timm/efficientnet_b0", "timm/vit_base_patch16_224", "--plot", str(plot)
    )
    assert code == 0
    assert "squeeze excite" in out
    assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    found = json.loads(say(capsys, "compare", "timm/resnet50", "timm/efficientnet_b0", "--json")[1])
    assert found["best"]["params"] == ["timm/efficientnet_b0"]
    assert found["differing"]["squeeze_excite"] == [0, 16]


def test_facts_are_all_listed_with_coverage(capsys):
    from netatlas.facts import FACTS

    code, out, _ = say(capsys, "facts")
    assert code == 0
    assert all(any(line.startswith(name + " ") for line in out.splitlines()) for name in FACTS)
    found = json.loads(say(capsys, "facts", "--json")[1])
    assert found["params"]["coverage"]["architecture"] > 1000


def test_text_from_stdin():
    out = subprocess.run(
        [sys.executable, "-m", "netatlas.cli.main", "find", "-"], input="resnet50", capture_output=True, text=True
    )
    assert out.returncode == 0
    assert "timm/resnet50" in out.stdout


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m netatlas.cli.main find resnet -k 1000 | head -1"
    out = subprocess.run(["bash", "-c", command + "; echo ${PIPESTATUS[0]}"], capture_output=True, text=True)
    assert out.stderr == ""
    assert out.stdout.splitlines()[-1] in ("0", "141")


def test_an_ascii_terminal_gets_ascii():
    out = process("find", "resnet under 30M params", LANG="C", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert out.returncode == 0
    assert out.stdout.isascii()
    assert "Traceback" not in out.stderr


def test_no_colour_codes_in_a_pipe():
    assert "\x1b" not in process("find", "resnet").stdout


def test_help_names_every_verb(capsys):
    _, out, _ = say(capsys, "--help")
    assert all(verb in out for verb in ("add", "build", "compare", "facts", "find", "measure", "remove", "show"))
    for verb in cli.list_commands(None):
        assert say(capsys, verb, "--help")[0] == 0


def test_add_show_find_and_remove_ones_own(capsys, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    code, out, err = say(capsys, "add", "nets:build", "--id", "mine/tiny")
    assert (code, out) == (0, "added mine/tiny\n"), err
    code, out, _ = say(capsys, "show", "mine/tiny")
    assert code == 0
    assert "650" in out or "3x3 16" in out
    assert "mine/tiny" in say(capsys, "find", "--where", "params < 1000")[1]
    assert "timm/" in say(capsys, "find", "--like", "mine/tiny")[1]
    assert say(capsys, "remove", "mine/tiny")[1] == "removed mine/tiny\n"
    assert say(capsys, "show", "mine/tiny")[0] == 1


def test_measure_is_kept_as_evidence(capsys):
    pytest.importorskip("timm", reason="needs the extra 'zoo'")
    pytest.importorskip("loky", reason="needs the extra 'processes'")
    code, out, err = say(capsys, "measure", "timm/test_vit", "--runs", "5", "--threads", "1", "--json")
    assert code == 0, err
    latency = next(e for e in json.loads(out)["timm/test_vit"] if e["fact"] == "latency_ms")
    assert latency["value"] > 0
    assert latency["spread"] >= 0
    assert latency["machine"]
    code, out, _ = say(capsys, "find", "--where", "known(latency_ms)")
    assert "timm/test_vit" in out
    assert "netatlas measure" in say(capsys, "show", "timm/test_vit")[1]
    assert say(capsys, "find", "--where", "latency_ms < 0.000001")[0] == 1


def test_measuring_what_is_no_library_entry_says_so(capsys):
    pytest.importorskip("loky", reason="needs the extra 'processes'")
    assert say(capsys, "measure", "timm/none_such")[0] == 1
