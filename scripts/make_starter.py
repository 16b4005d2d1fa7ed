"""Make the starter atlas: trace everything the pinned libraries can build, then write one compact, reproducible file.

    python scripts/make_starter.py [--work build/starter-work.atlas] [--out src/netatlas/data/starter.atlas]

Takes about half an hour on two cores; interrupted, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from netatlas.atlas.atlas import Atlas
from netatlas.atlas.build import build
from netatlas.atlas.layout import STORED_AS, stored_places
from netatlas.atlas.store import Store
from netatlas.registry import Spec

SOURCES = ("timm", "torchvision", "transformers")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=Path("build/starter-work.atlas"))
    parser.add_argument("--out", type=Path, default=Path("src/netatlas/data/starter.atlas"))
    options = parser.parse_args()
    options.work.parent.mkdir(parents=True, exist_ok=True)
    report = build(options.work, SOURCES, executor=Spec("loky", {"timeout_s": 600.0}), progress=_tell)
    sys.stdout.write(f"{report}\n")
    sys.stderr.write("laying out the map\n")
    atlas = Atlas.open(options.work, starter=False, cache=options.work.parent)
    found = stored_places(atlas)
    atlas.close()
    with Store.open(options.work, "w") as store:
        store.put_vectors(STORED_AS, found)
        store.snapshot(options.out)
    sys.stdout.write(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB\n")
    return 0


def _tell(step: object) -> None:
    done, total = step.done, step.total  # type: ignore[attr-defined]
    if done % 50 == 0 or done == total:
        sys.stderr.write(f"{done}/{total}\n")


if __name__ == "__main__":
    sys.exit(main())
