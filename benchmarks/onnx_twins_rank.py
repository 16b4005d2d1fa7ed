"""Where each exported ONNX file finds the architecture it was exported from, among everything in the atlas.

    python benchmarks/onnx_twins_rank.py FOLDER

``FOLDER`` holds files that benchmarks/onnx_twins.py exported: ``architecture.route.onnx``. A twin in another library whose graph is the
same (torchvision's ResNet-50 for timm's) counts as the twin.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from netatlas import api
from netatlas.targets.onnx_file import read_onnx


def main(folder: Path) -> int:
    atlas = api.atlas()
    ranks: dict[str, list[int]] = defaultdict(list)
    for path in sorted(folder.glob("*.onnx")):
        name, _, route = path.stem.partition(".")
        if f"timm/{name}" not in atlas.derived.columns.row:
            continue
        entry = read_onnx(str(path))[0]
        hits = atlas.find(like=entry, k=50)
        best = hits[0].score
        rank = next((i + 1 for i, h in enumerate(hits) if h.id == f"timm/{name}"), 99)
        tied = rank < 99 and abs(hits[rank - 1].score - best) < 1e-9
        ranks[route].append(1 if tied else rank)
        if not tied and rank > 1:
            print(
                f"  {path.name}: rank {rank}, first {hits[0].id} ({best:.4f} against {hits[rank - 1].score if rank < 99 else 0:.4f})"
            )
    for route, found in sorted(ranks.items()):
        print(f"{route:<16} twin first: {sum(r == 1 for r in found)} of {len(found)}")
    return 0 if all(r == 1 for found in ranks.values() for r in found) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
