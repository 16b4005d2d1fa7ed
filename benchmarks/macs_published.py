"""Our counts against the published ones of timm, class by class.

    python benchmarks/macs_published.py

Published GMACs are rounded to 0.01, so a count is compared with the nearest value that rounds to the published one; the error without
that allowance is printed beside it.
"""

from __future__ import annotations

import statistics

from netatlas import api
from netatlas.sources._timm_results import speed

CLOSE = 0.05
REPARAMETERISED = "published with branches fused for inference; ours counts the network as it is built"
CHANGED = "parameters differ too: the table is of another version or form of the network"
RECURRENT = "the published counter does not see recurrent layers"
SAME_PADDING = "the published counter does not see convolutions with padding='same'"
FUSED_ATTENTION = "the published counter does not see the second attention of differential attention"
NORMS = "the published counter adds norms and pooling, 2 to 6 % of a small network"


def main() -> None:
    atlas = api.atlas()
    ids = [i for i in atlas.ids if i.startswith("timm/") and "." not in i]
    facts = atlas.facts(ids)
    rows, params = [], []
    for entry_id in ids:
        known = facts[entry_id]
        published = speed().get(entry_id.partition("/")[2], {}).get(int(known.get("input_size", 0)))
        if not published or not published.get("gmacs"):
            continue
        ours, theirs = known["macs"] / 1e9, published["gmacs"]
        nearest = min(max(ours, theirs - 0.005), theirs + 0.005)
        ratio = known["params"] / 1e6 / published["params_m"]
        rows.append((abs(ours / nearest - 1), abs(ours / theirs - 1), ours, theirs, entry_id, known, ratio))
        params.append(abs(ratio - 1))
    print(f"{len(rows)} architectures of {len(ids)} have published costs at the traced input size")
    for label, errors in (
        ("MACs", [r[0] for r in rows]),
        ("MACs, rounding not allowed for", [r[1] for r in rows]),
        ("parameters", params),
    ):
        within = sum(e < CLOSE for e in errors) / len(errors)
        print(f"{label:<32} median relative error {100 * statistics.median(errors):.2f} %, within 5 %: {100 * within:.1f} %")
    print("\noutliers (more than 5 % apart)")
    for error, _, ours, theirs, entry_id, known, ratio in sorted(rows, reverse=True, key=lambda r: r[0]):
        if error >= CLOSE:
            print(f"  {entry_id:<44} ours {ours:9.3f} published {theirs:9.2f}  {why(known, ours, theirs, ratio)}")


def why(known: dict, ours: float, theirs: float, params_ratio: float) -> str:
    """The class an outlier belongs to, as docs/counting.md lists them."""
    ops, family = known.get("ops", ()), known.get("family")
    if "reparameterised_branch" in ops and ours > theirs:
        return REPARAMETERISED
    if abs(params_ratio - 1) > CLOSE:
        return CHANGED
    if "recurrent" in ops and ours > theirs:
        return RECURRENT
    if family == "convmixer" and ours > theirs:
        return SAME_PADDING
    if "attention" in ops and ours > theirs:
        return FUSED_ATTENTION
    return NORMS if 0.9 < ours / theirs < 1 else "unexplained"


if __name__ == "__main__":
    main()
