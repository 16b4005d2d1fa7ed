"""How good find is on the judged queries: precision at 10, and whether every hit keeps the constraints the text states.

    python benchmarks/find_quality.py [--atlas PATH] [--set dev|held-out|both] [--partial] [-v]

With ``R`` entries of the atlas relevant to a query, precision@10 is the number of relevant entries among the first 10 hits,
divided by ``min(10, R)``: a perfect ranking scores 1 however few relevant entries there are. The stricter figure beside it
divides by the number of hits that were returned, so every irrelevant hit costs. A violation is a hit, relevant or not, that
does not surely satisfy ``must``. find_relevance.toml describes the judgements.

Exit code 1 when a set's mean precision@10 is below 0.85, when a hit violates a constraint, or when a query has no relevant entry
(unless ``--partial``: atlases of some libraries only).
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import statistics
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netatlas import api

K = 10
TARGET = 0.85
KINDS = ("names", "structure", "numbers", "tasks", "mixed")
SETS = {"dev": "find_relevance.toml", "held-out": "find_relevance_held_out.toml"}


@dataclass(frozen=True)
class Query:
    """A judged query; the fields are those of its table."""

    text: str
    kind: str
    relevant: str = ""
    ids: tuple[str, ...] = ()
    must: str = ""
    entries: str = "architecture"
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What find made of a query.

    Attributes:
        query: The query.
        hits: Ids, best first, at most `K`.
        relevant: All relevant ids of the atlas.
        violations: Hits that do not satisfy ``must``.
        where: The constraints as find understood them.
    """

    query: Query
    hits: tuple[str, ...]
    relevant: frozenset[str]
    violations: tuple[str, ...]
    where: str

    @property
    def found(self) -> int:
        return sum(hit in self.relevant for hit in self.hits)

    @property
    def precision(self) -> float:
        return self.found / min(K, len(self.relevant))

    @property
    def strict(self) -> float:
        return self.found / len(self.hits) if self.hits else 0.0


def load(name: str) -> list[Query]:
    """The queries of a set."""
    tables: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / SETS[name]).read_text(encoding="utf-8"))["query"]
    return [Query(**{**table, "ids": tuple(table.get("ids", ()))}) for table in tables]


class Judge:
    """Runs queries against an atlas and judges the hits.

    Args:
        path: The atlas, the user's and the starter atlas where ``None``.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.ids = {kind: self._select("", kind) for kind in ("architecture", "model")}

    @functools.cache  # noqa: B019 - one judge lives as long as the program
    def _select(self, where: str, kind: str) -> frozenset[str]:
        """All entries that surely satisfy an expression."""
        found = api.find("", where=where or None, kind=kind, k=len(api.atlas(self.path)), unknown="drop", path=self.path)
        return frozenset(hit.id for hit in found)

    def relevant(self, query: Query) -> frozenset[str]:
        """Entries of the asked kind for which all given conditions hold."""
        found = self.ids[query.entries]
        for expression in filter(None, (query.relevant, query.must)):
            found &= self._select(expression, query.entries)
        return frozenset(entry_id for entry_id in found if matches(entry_id, query.ids))

    def run(self, query: Query) -> Outcome:
        """Ask find, as a user would."""
        kind = None if query.entries == "architecture" else query.entries
        answer = api.find(query.text, kind=kind, k=K, path=self.path)
        hits = tuple(hit.id for hit in answer)
        allowed = self._select(query.must, query.entries) if query.must else frozenset(hits)
        return Outcome(query, hits, self.relevant(query), tuple(hit for hit in hits if hit not in allowed), answer.where)


def matches(entry_id: str, patterns: Sequence[str]) -> bool:
    """Whether an id matches one of the patterns and none of those after ``!``; no pattern at all matches everything."""
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    refused = (pattern[1:] for pattern in patterns if pattern.startswith("!"))
    return (not wanted or _any(entry_id, wanted)) and not _any(entry_id, refused)


def _any(entry_id: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(entry_id, pattern) for pattern in patterns)


def report(name: str, outcomes: Sequence[Outcome], verbose: bool, partial: bool) -> bool:
    """Print a set's figures; whether it passes."""
    judged = [outcome for outcome in outcomes if outcome.relevant]
    empty = [outcome.query.text for outcome in outcomes if not outcome.relevant]
    if verbose:
        for outcome in sorted(judged, key=lambda outcome: outcome.precision):
            show(outcome)
    print(f"{name}: {len(judged)} of {len(outcomes)} queries judged")
    if empty:
        print(f"  no relevant entry in this atlas: {' | '.join(empty)}")
    if not judged:
        return False
    print(f"  {'':<10}{'queries':>8}{'precision@10':>14}{'relevant/returned':>19}{'violations':>12}")
    groups: Mapping[str, list[Outcome]] = {kind: [o for o in judged if o.query.kind == kind] for kind in KINDS}
    for label, group in (*groups.items(), ("all", judged)):
        if group:
            precision, strict = (statistics.mean(values) for values in ([o.precision for o in group], [o.strict for o in group]))
            violations = sum(len(o.violations) for o in group)
            print(f"  {label:<10}{len(group):>8}{precision:>14.3f}{strict:>19.3f}{violations:>12}")
    mean, violations = statistics.mean(o.precision for o in judged), sum(len(o.violations) for o in outcomes)
    passed = mean >= TARGET and not violations and (partial or not empty)
    print(f"  precision@10 {mean:.3f} (target >= {TARGET}), violations {violations} (target 0): {'pass' if passed else 'fail'}")
    return passed


def show(outcome: Outcome) -> None:
    """Print what was found for a query, wrong hits marked, and relevant entries that are missing."""
    query, needed = outcome.query, min(K, len(outcome.relevant))
    print(f"{outcome.precision:.2f}  {query.kind:<9}  {query.text!r}  {outcome.found}/{needed}, {len(outcome.relevant)} relevant")
    print(f"      where   {outcome.where or '-'}")
    print(f"      hits    {' '.join(hit if hit in outcome.relevant else f'({hit})' for hit in outcome.hits) or '-'}")
    missing = sorted(outcome.relevant - set(outcome.hits))
    if outcome.found < needed:
        print(f"      missing {' '.join(missing[:K])}{' ...' if len(missing) > K else ''}")
    if outcome.violations:
        print(f"      VIOLATE {query.must}: {' '.join(outcome.violations)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", type=Path, help="atlas file (default: the user's over the starter atlas)")
    parser.add_argument("--set", choices=(*SETS, "both"), default="dev", dest="name", help="which queries (default: dev)")
    parser.add_argument("--partial", action="store_true", help="leave out queries that the atlas has no answer for")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every query with its hits, worst first")
    chosen = parser.parse_args()
    judge = Judge(chosen.atlas)
    names = list(SETS) if chosen.name == "both" else [chosen.name]
    passed = [report(name, [judge.run(query) for query in load(name)], chosen.verbose, chosen.partial) for name in names]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
