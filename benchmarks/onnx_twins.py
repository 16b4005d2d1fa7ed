"""The same network by two routes: traced from PyTorch, and imported from the ONNX file that torch.onnx.export writes.

For 20 architectures of different families, the share of operators that both graphs have, parameters and MACs of both. Files are
kept in a folder between runs (about 2 GB).

    python benchmarks/onnx_twins.py [--folder DIR] [--route dynamo] [NAME ...]

Prints a table, and exits 1 when a pair has fewer than 95 % of its operators in common.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ARCHITECTURES = (
    "resnet18", "efficientnet_b0", "mobilenetv3_large_100", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224",
    "convnext_tiny",
    "densenet121", "regnety_002", "mixer_b16_224", "hrnet_w18_small", "inception_v3", "vgg11", "coatnet_0_rw_224", "mobilevit_s",
    "levit_128", "poolformer_s12", "xcit_nano_12_p16_224", "edgenext_xx_small", "deit_tiny_patch16_224", "ghostnet_100",
)  # fmt: skip

ROUTES: Mapping[str, Mapping[str, Any]] = {
    "dynamo": {"dynamo": True, "external_data": False, "verbose": False},
    "dynamo_raw": {"dynamo": True, "optimize": False, "external_data": False, "verbose": False},
    "legacy17": {"dynamo": False, "opset_version": 17},
}
"""Arguments of torch.onnx.export: the default with its optimiser (which folds batch norms), without it, and the older one."""

TARGET = 0.95


def export(name: str, route: str, folder: Path) -> Path:
    """The ONNX file of an architecture with random weights, written when it is not there yet."""
    import timm
    import torch

    path = folder / f"{name}.{route}.onnx"
    if not path.exists():
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False).eval()
        example = torch.randn(1, *model.default_cfg["input_size"])
        part = path.with_suffix(".part")
        torch.onnx.export(model, (example,), str(part), **ROUTES[route])
        part.rename(path)
    return path


def traced(name: str) -> Any:
    """Graph of the architecture by torch.export on the meta device."""
    import timm
    import torch

    from netatlas.graph.trace import trace

    with torch.device("meta"):
        model = timm.create_model(name, pretrained=False).eval()
        return trace(model, (torch.empty(1, *model.default_cfg["input_size"]),)).graph


def agreement(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    """Operators in common over those of the larger graph."""
    common = sum(min(a[name], b[name]) for name in a.keys() & b.keys())
    return common / max(sum(a.values()), sum(b.values()), 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=ARCHITECTURES)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "netatlas-onnx")
    parser.add_argument("--route", choices=ROUTES, action="append")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    from netatlas.graph.canonical import canonicalize, content_hash
    from netatlas.graph.onnx_import import capture_onnx

    worst, rows = 1.0, []
    print(f"{'architecture':30} {'route':11} {'common':>7} {'params':>9} {'MACs':>7} {'hash':>5} {'import s':>8}  difference")
    for name in options.names:
        reference = traced(name)
        for route in options.route or ROUTES:
            path = export(name, route, options.folder)
            started = time.perf_counter()
            graph = canonicalize(capture_onnx(path))
            seconds = time.perf_counter() - started
            a, b = reference.op_counts(), graph.op_counts()
            share = agreement(a, b)
            different = {op: (a.get(op, 0), b.get(op, 0)) for op in sorted({*a, *b}) if a.get(op, 0) != b.get(op, 0)}
            params = graph.total_params / reference.total_params
            macs = int(graph.macs.sum()) / int(reference.macs.sum())
            same = "=" if content_hash(graph) == content_hash(reference) else ""
            print(
                f"{name:30} {route:11} {share:7.1%} {params:9.4f} {macs:7.4f} {same:>5} {seconds:8.2f}  {different or ''}",
                flush=True,
            )
            worst = min(worst, share)
            rows.append(share)
    verdict = "met" if worst >= TARGET else "MISSED"
    print(f"{len(rows)} pairs, worst {worst:.1%}, mean {sum(rows) / len(rows):.2%}, target {TARGET:.0%}: {verdict}")
    return 0 if worst >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
