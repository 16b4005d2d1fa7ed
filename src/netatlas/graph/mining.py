"""Mining of recurring runs over many graphs: candidates from module scopes and from Re-Pair, counted, thinned, ranked.

Deterministic: equal graphs in equal order give equal motifs. A candidate is a run of steps (`graph.runs`) that is exactly one module
of some network, or that Re-Pair (Larsson and Moffat, DCC 1999) leaves when it has joined the most frequent neighbours of all
sequences laid end to end.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from netatlas.graph._repair import repair
from netatlas.graph.forms import occurrences
from netatlas.graph.graph import Graph
from netatlas.graph.runs import Course, Step, Trie, course_of, number_of, to_text

SHORTEST, LONGEST = 3, 32
"""Steps of a motif: below three it says nothing, beyond that many it is a stage rather than a block."""

LEAST_ARCHITECTURES, LEAST_FAMILIES = 6, 2
"""What a run must occur in: one design by several, not one network in several sizes."""


_JOINING = frozenset({number_of("add"), number_of("act"), number_of("mul")})


@dataclass
class Found:
    """A run and where it occurs.

    Attributes:
        steps: Its steps.
        architectures: Positions of the graphs it occurs in.
        families: How many of them each family has.
        occurrences: How often it occurs, overlaps not counted.
        modules: How often an occurrence is exactly a module, by class name.
    """

    steps: tuple[Step, ...]
    architectures: list[int] = field(default_factory=list)
    families: Counter[str] = field(default_factory=Counter)
    occurrences: int = 0
    modules: Counter[str] = field(default_factory=Counter)

    @property
    def scoped(self) -> float:
        """Share of the occurrences that are exactly a module, in [0, 1]."""
        return min(1.0, sum(self.modules.values()) / max(self.occurrences, 1))

    @property
    def weight(self) -> float:
        """What ranks it: families by the logarithm of its size, twice as much when it is mostly one module."""
        return len(self.families) * math.log2(1 + len(self.steps)) * (1.0 + self.scoped)


def module_runs(graph: Graph, course: Course) -> Iterator[tuple[int, int, str]]:
    """``(start, end, class)`` of every module whose operators are one run of `SHORTEST` to `LONGEST` steps, a run once.

    Of modules with the same operators the outermost names the run.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    count: Counter[str] = Counter()
    classes = {scope.path: scope.cls for scope in graph.scopes}
    parents = {scope.path: _ancestors(scope.path) for scope in graph.scopes}
    for place, node in enumerate(course.node.tolist()):
        for path in parents[graph.scopes[int(graph.scope[node])].path]:
            first.setdefault(path, place)
            last[path] = place
            count[path] += 1
    told: dict[tuple[int, int], str] = {}
    for path in sorted(count, key=lambda p: (p.count("."), p)):
        size = last[path] - first[path] + 1
        if path and size == count[path] and SHORTEST <= size <= LONGEST:
            told.setdefault((first[path], last[path] + 1), classes.get(path, ""))
    return ((a, b, cls) for (a, b), cls in sorted(told.items()))


def _ancestors(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts) + 1)]


def mine(graphs: Iterable[Graph], families: Sequence[str], most: int = 200, longest: int = 24) -> list[Found]:
    """The ``most`` telling runs of many graphs, the heaviest first.

    Args:
        graphs: The graphs, read once.
        families: Family of each.
        most: How many are kept.
        longest: Longest run that Re-Pair may build.
    """
    courses: list[Course] = []
    modules: list[dict[tuple[int, int], str]] = []
    candidates: Counter[tuple[Step, ...]] = Counter()
    for graph in graphs:
        course = course_of(graph)
        courses.append(course)
        modules.append({(a, b): cls for a, b, cls in module_runs(graph, course)})
        candidates.update({course.run(a, b) for a, b in modules[-1]})
    for steps, n in _repeated(courses, longest).items():
        candidates[steps] += n
    kept = [steps for steps, n in candidates.items() if n >= LEAST_ARCHITECTURES]
    found = _counted(kept, courses, modules, families)
    return _chosen(found, most)


def _repeated(courses: Sequence[Course], longest: int) -> Counter[tuple[Step, ...]]:
    """Runs that Re-Pair builds over all sequences at once, with the number of sequences that each occurs in.

    A symbol is a label with the distances it looks back, which is what equal runs share save at their first steps; between
    sequences stands a symbol that occurs once, so that no run crosses.
    """
    number: dict[Step, int] = {}
    symbols: list[int] = []
    seen: set[tuple[int, ...]] = set()
    told: list[Course] = []
    for course in courses:
        own = [number.setdefault((a, b), len(number)) for a, b in zip(course.label, course.back, strict=True)]
        if tuple(own) not in seen:  # the same network from another library, or in another width, adds nothing
            seen.add(tuple(own))
            symbols.extend([*own, -1 - len(told)])
            told.append(course)
    lengths = repair(symbols, longest)
    found: Counter[tuple[Step, ...]] = Counter()
    ends = itertools.accumulate(lengths)
    which, offset, here = 0, 0, set[tuple[Step, ...]]()
    for length, end in zip(lengths, ends, strict=True):
        start = end - length - offset
        if start == len(told[which]):  # the separator
            found.update(here)
            which, offset, here = which + 1, end, set()
        elif length >= SHORTEST:
            here.add(told[which].run(start, start + length))
    return found


def _counted(
    candidates: Sequence[tuple[Step, ...]], courses: Sequence[Course], modules: Sequence[dict[tuple[int, int], str]],
    families: Sequence[str],
) -> list[Found]:  # fmt: skip
    named = {to_text(steps): steps for steps in candidates}
    trie = Trie(named)
    found = {text: Found(steps) for text, steps in named.items()}
    for i, (course, module) in enumerate(zip(courses, modules, strict=True)):
        for text, places in trie.apart(course).items():
            entry = found[text]
            entry.architectures.append(i)
            entry.families[families[i]] += 1
            entry.occurrences += len(places)
            entry.modules.update(module[place] for place in places if place in module)
    return [f for f in found.values() if len(f.architectures) >= LEAST_ARCHITECTURES and len(f.families) >= LEAST_FAMILIES]


def _chosen(found: Sequence[Found], most: int) -> list[Found]:
    """The heaviest, without those that say what another one says.

    First those that mostly are modules, then at most a third as many others. Left out are repetitions of a shorter motif, parts
    that hardly stand without their whole, and stretches that begin in the middle of a repeated motif.
    """
    ranked = sorted(found, key=lambda f: (-f.weight, to_text(f.steps)))
    wholes: dict[tuple[Step, ...], int] = {}
    for f in ranked:
        for part in _parts(f.steps):
            wholes[part] = max(wholes.get(part, 0), f.occurrences)
    kept: list[Found] = []
    units: list[tuple[tuple[int, ...], int]] = []
    for modules, room in ((True, most), (False, most // 4)):
        for f in ranked:
            labels = tuple(label for label, _ in f.steps)
            if len(kept) >= most or room <= 0 or (f.scoped >= 0.5) != modules:
                continue
            if len(set(labels)) == 1 or (not modules and wholes.get(f.steps, 0) >= 0.8 * f.occurrences):
                continue
            if f.scoped < 0.9 and _repeats(labels):
                continue
            if not modules and (labels[0] in _JOINING or f.occurrences < 3 * len(f.architectures)):
                continue  # begins in the middle of something, or comes once in a network
            if any(
                _turns(labels, k) and (modules or n >= f.occurrences / 3) and (not modules or len(labels) >= 2 * len(k))
                for k, n in units
            ):
                continue
            kept.append(f)
            units.append((labels, f.occurrences))
            room -= 1
    return sorted(kept, key=lambda f: (-f.weight, to_text(f.steps)))


def _repeats(labels: tuple[int, ...], least: int = 5) -> bool:
    """Whether a stretch of at least ``least`` labels comes twice."""
    seen: dict[tuple[int, ...], int] = {}
    for i in range(len(labels) - least + 1):
        first = seen.setdefault(labels[i : i + least], i)
        if i - first >= least:
            return True
    return False


def _parts(steps: tuple[Step, ...]) -> set[tuple[Step, ...]]:
    """All shorter runs within a run, as they would stand alone."""
    found = set()
    for a in range(len(steps)):
        for b in range(a + SHORTEST, len(steps) + 1):
            if b - a < len(steps):
                found.add(tuple((label, _cut(back, i)) for i, (label, back) in enumerate(steps[a:b])))
    return found


def _cut(back: tuple[int, ...], reach: int) -> tuple[int, ...]:
    """Distances as a run sees them that begins ``reach`` steps before."""
    inside = tuple(x for x in back if 0 < x <= reach)
    return inside if inside == back else (0, *inside)


def _turns(labels: tuple[int, ...], unit: tuple[int, ...]) -> bool:
    """Whether labels are a stretch of ``unit`` repeated."""
    repeated = unit * (len(labels) // len(unit) + 2)
    return any(repeated[i : i + len(labels)] == labels for i in range(len(unit)))


# ---------------------------------------------------------------- names


ALIKE, AGREEING = 0.75, 0.7
"""Share of operators that a named occurrence and a mined one have in common to be the same, and share of the mined occurrences for
which one name has to be."""

_NEVER = frozenset({"residual", "projection_shortcut"})
"""Named motifs that are part of nearly everything, and name nothing mined."""


def named_like(found: Sequence[Found], graph: Callable[[int], Graph], sampled: int = 8) -> list[str]:
    """The named motif that each mined one coincides with, ``""`` where there is none.

    Args:
        found: Mined motifs.
        graph: The graph at a position of those that were mined.
        sampled: Architectures that are looked at for each motif, evenly spread.
    """
    wanted: dict[int, list[int]] = defaultdict(list)
    for m, f in enumerate(found):
        n = len(f.architectures)
        for i in {f.architectures[k * n // min(sampled, n)] for k in range(min(sampled, n))}:
            wanted[i].append(m)
    alike: list[Counter[str]] = [Counter() for _ in found]
    total = Counter[int]()
    for i, those in sorted(wanted.items()):
        seen = graph(i)
        course = course_of(seen)
        named = _by_node(seen, set(course.node.tolist()))
        trie = Trie({str(m): found[m].steps for m in those})
        for key, places in trie.apart(course).items():
            for a, b in places:
                total[int(key)] += 1
                alike[int(key)].update(_coinciding(named, frozenset(course.node[a:b].tolist())))
    chosen = []
    for m, counts in enumerate(alike):
        likely = [(n, -len(name), name) for name, n in counts.items() if n >= AGREEING * total[m] and name not in _NEVER]
        chosen.append(max(likely)[2] if likely else "")
    return chosen


def _by_node(graph: Graph, kept: set[int]) -> dict[int, list[tuple[str, frozenset[int]]]]:
    """Named occurrences of two operators or more by the nodes they cover, of which those of no class are left out."""
    found: dict[int, list[tuple[str, frozenset[int]]]] = defaultdict(list)
    for name, places in occurrences(graph).items():
        for nodes in places:
            if len(inside := frozenset(nodes) & kept) > 1:
                for node in inside:
                    found[node].append((name, inside))
    return found


def _coinciding(named: dict[int, list[tuple[str, frozenset[int]]]], run: frozenset[int]) -> set[str]:
    told = {(name, nodes) for node in run for name, nodes in named.get(node, ())}
    return {name for name, nodes in told if len(nodes & run) >= ALIKE * len(nodes | run)}
