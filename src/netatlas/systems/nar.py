"""Neural Architecture Retrieval: its card."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netatlas.evaluation.journal import Journal
from netatlas.evaluation.nar.measure import Step
from netatlas.systems.base import SYSTEMS, Card, Claim, Result

REAL, NAS = "12.5k graphs of Hugging Face and PyTorch Hub", "generated DARTS networks"


@SYSTEMS.register("nar")
def nar() -> Card:
    """Pei, Li, Dong and Xu, ICLR 2024: motifs by contrast with their contexts, then the graph of motifs by class."""
    return Card(
        name="nar",
        title="Neural Architecture Retrieval",
        authors="Xiaohuan Pei, Yanxi Li, Minjing Dong, Chang Xu",
        paper="arXiv:2307.07919",
        venue="ICLR",
        year=2024,
        idea="Cut a network's graph into repeated runs of nodes, embed every run by contrast with what is around it, and learn "
        "to retrieve networks of similar design from the small graph of runs.",
        claims=(
            Claim("NAR MRR@20", 0.825, REAL, "README, table 1"),
            Claim("NAR MAP@20", 0.593, REAL, "README, table 1"),
            Claim("NAR NDCG@20", 0.705, REAL, "README, table 1"),
            Claim("GCN MRR@20", 0.737, REAL, "README, table 1"),
            Claim("GCN MAP@20", 0.598, REAL, "README, table 1"),
            Claim("GAT MRR@20", 0.756, REAL, "README, table 1"),
            Claim("GAT MAP@20", 0.542, REAL, "README, table 1"),
            Claim("NAR with random cuts, MRR@20", 0.801, REAL, "README, table 2"),
            Claim("NAR MRR@20", 1.0, NAS, "README, table 1"),
            Claim("NAR MAP@20", 0.952, NAS, "README, table 1"),
        ),
        caveats=(
            "On real data the paper's MAP@20 is below that of its own GCN (.593 and .598); only MRR and NDCG gain.",
            "Its classes come from regular expressions on repository names, its real graphs are not available, and no baseline "
            "without learning is reported.",
            "The first level of the authors' code tells contexts apart by a linear function of two vectors side by side. Its loss "
            "cannot fall below 2 ln 2 (a test shows why), so that level learns nothing; infonce is our remedy.",
        ),
        departures=(
            "Labels are families of source modules instead of patterns in names; about 830 distinct timm architectures instead of 12.5k.",
            "The second level learns from those families where the paper's learns from three coarse classes.",
            "Operator graphs from torch.export in twelve coarse classes instead of autograd graphs in 90; identical graphs count once.",
            "64 channels instead of 512 and 256; learning rates of 1e-3 and 3e-3 for the short training.",
            "The discriminator is trained, negatives never look like the anchor, half come from other graphs.",
            "Generated networks (P5) stand among rewired copies, and their separable and dilated convolutions are one class.",
            "Nodes are cut in an order that structure decides instead of that of a file.",
        ),
        parts=(
            "netatlas.graph.motifs", "netatlas.nn.gnn", "netatlas.training.contrastive", "netatlas.encoders.nar",
            "netatlas.encoders.gcn", "netatlas.encoders.gat", "netatlas.evaluation.nar",
        ),
        minutes=65,
        reproduce=reproduce,
    )  # fmt: skip


PROTOCOLS, SEEDS = ("P2", "P3", "P5"), 5


def reproduce(
    *,
    journal: Journal,
    protocols: Sequence[str] | None = None,
    seeds: int | None = None,
    quick: bool = False,
    minutes: float | None = None,
    progress: Callable[[Step], None] = lambda step: None,
) -> Result:
    """The paper's method beside its baselines, ours, and methods that learn nothing.

    Args:
        journal: Where finished measurements are kept.
        protocols: Names of `evaluation.nar.protocols`, by default `PROTOCOLS`.
        seeds: Trainings of every learned method on every split, by default `SEEDS`.
        quick: About 60 graphs a side, one seed and a few epochs: shows that everything runs and judges nothing.
        minutes: After so much time nothing further is begun; what lacks figures then is not judged.
        progress: Told of every one.

    Raises:
        ConfigError: A protocol is unknown or ``seeds`` below 1.
        MissingExtraError: torch is not installed.
    """
    from netatlas.systems._nar_run import run

    names = PROTOCOLS if protocols is None else tuple(protocols)
    return run(names, SEEDS if seeds is None else seeds, quick=quick, minutes=minutes, journal=journal, progress=progress)
