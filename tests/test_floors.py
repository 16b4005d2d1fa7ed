"""The house: imports go down the floors, and finding never imports torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_imports_go_down_only():
    pytest.importorskip("importlinter", reason="needs the extra 'dev'")
    script = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports())"
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


HEAVY = ("torch", "timm", "transformers", "torchvision", "onnx", "matplotlib", "pandas", "scipy", "ray", "loky")


@pytest.mark.parametrize(
    "module", ["netatlas", "netatlas.api", "netatlas.cli.main", "netatlas.cli.find", "netatlas.atlas.find", "netatlas.atlas.card"]
)
def test_importing_is_light(module):
    script = f"import {module}, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_importing_the_package_loads_nothing_else():
    script = "import sys; before = set(sys.modules); import netatlas; print(sorted(m for m in set(sys.modules) - before if m.startswith('netatlas')))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['netatlas']"


def test_finding_never_imports_torch():
    script = f"import netatlas, sys; netatlas.find('resnet'); print([m for m in {HEAVY[:8]!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == "[]"


def test_no_file_outgrows_its_neighbours():
    long = {str(p.relative_to(ROOT)): n for p in (ROOT / "src").rglob("*.py") if (n := len(p.read_text().splitlines())) > 800}
    assert not long
