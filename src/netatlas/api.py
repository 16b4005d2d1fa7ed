"""The functions behind both Python and the command line, on the user's default atlas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from netatlas.atlas import places
from netatlas.atlas.atlas import Atlas
from netatlas.errors import GraphError, MissingExtraError, QueryError, UnknownIdError, did_you_mean
from netatlas.facts import FACTS, FactType
from netatlas.records import Entry, Evidence

if TYPE_CHECKING:
    from torch import nn

    from netatlas.atlas.calibrate import Report, Visit
    from netatlas.atlas.card import Card
    from netatlas.atlas.comparison import Comparison
    from netatlas.atlas.hits import Hits
    from netatlas.atlas.map import Map
    from netatlas.atlas.motifs import Motifs
    from netatlas.graph.difference import Difference
    from netatlas.graph.graph import Graph

_open: dict[tuple[str, ...], Atlas] = {}


def atlas(path: str | Path | None = None) -> Atlas:
    """The user's atlas over the starter atlas; opened once and again whenever a layer's file has changed."""
    user = Path(path) if path is not None else places.user_path()
    key = (str(user), *(_state(p) for p in (user, user.with_name(user.name + "-wal"), places.starter_path())))
    if key not in _open:
        opened = Atlas.open(user)
        for old in _open.values():
            old.close()
        _open.clear()
        _open[key] = opened
    return _open[key]


def _state(path: Path | None) -> str:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        found = None
    return f"{found.st_mtime_ns}:{found.st_size}:{found.st_ino}" if found else ""


def find(
    text: str = "",
    *,
    where: str | None = None,
    like: str | Entry | nn.Module | Sequence[str | Entry | nn.Module] | None = None,
    unlike: str | Entry | nn.Module | Sequence[str | Entry | nn.Module] | None = None,
    pattern: str | Sequence[str] | None = None,
    contains: str | Entry | nn.Module | Sequence[str | Entry | nn.Module] | None = None,
    exact_widths: bool = False,
    k: int = 10,
    sort: str | None = None,
    pareto: str | None = None,
    kind: str | None = None,
    unknown: Literal["drop", "keep"] = "drop",
    path: str | Path | None = None,
) -> Hits:
    """Architectures that match words, constraints and an example, best first.

    Args:
        text: What is wanted, in words: ``"small image classifier without attention, under 6M params, above 75% top-1"``.
        where: Constraints in the query language: ``"params < 6M and not has(attention)"``.
        like: An example: an id, a file (``model.onnx``, ``weights.safetensors``), ``"pkg.module:callable"`` or a live module;
            several to be like all of them.
        unlike: Examples not to be like, given in the same ways.
        pattern: Paths of operators to have: ``"conv[depthwise] -> norm -> act{1,2}"``, see docs/structure-search.md.
        contains: Blocks to have, given like examples, or a module of an entry: ``"timm/resnet50#layer1.0"``.
        exact_widths: Whether blocks have to have the same widths.
        k: At most this many hits.
        sort: A fact to order by, ``"-top1"`` for largest first.
        pareto: Facts, ``"top1,macs"``: only entries that no other matching entry beats in all of them.
        kind: ``"architecture"`` (default), ``"model"`` or ``"any"``.
        unknown: Whether entries whose facts do not decide the constraints are dropped or kept.
        path: The user's atlas, by default the one in the user's data folder.

    Raises:
        QueryError: Something in the query cannot be understood; the message names the nearest right thing.
        UnknownIdError: ``like`` names no entry.
    """
    from netatlas.atlas.examples import several

    opened = atlas(path)
    return opened.find(
        text, where=where, like=[resolve(x, opened) for x in several(like)], unlike=[resolve(x, opened) for x in several(unlike)],
        pattern=pattern, contains=[_block(x, opened) for x in several(contains)], exact_widths=exact_widths,
        k=k, sort=sort, pareto=pareto, kind=kind, unknown=unknown,
    )  # fmt: skip


def _block(target: str | Entry | nn.Module, opened: Atlas) -> tuple[str, Graph, str | None]:
    """Name, graph and module path of a block.

    Raises:
        QueryError: The entry has no graph with wiring, or no module of that path.
    """
    entry, graph, scope = _part_of(target, opened)
    if graph is None or not entry.is_wired:
        raise QueryError(f"{entry.id} has no wiring that could be looked for: give a module, an ONNX file or an id")
    known = {".".join(parts[:i]) for s in graph.scopes for parts in [s.path.split(".")] for i in range(1, len(parts) + 1)}
    if scope and scope not in known:
        raise QueryError(f"{entry.id} has no module {scope!r}{did_you_mean(scope, known)}")
    return (target if isinstance(target, str) else entry.id), graph, scope or None


def _part_of(target: str | Entry | nn.Module, opened: Atlas, inputs: Any = None) -> tuple[Entry, Graph | None, str]:
    """Entry and graph of what a user names, and the path of a module that may stand after ``#``, ``""`` for none."""
    name, _, scope = target.partition("#") if isinstance(target, str) else (target, "", "")
    found = resolve(name, opened, inputs)
    entry = opened.entry(found) if isinstance(found, str) else found
    return entry, opened.graph(found) if isinstance(found, str) else found.graph, scope


def show(target: str, *, path: str | Path | None = None) -> Card:
    """The card of an entry of the atlas, or of a file or Python object that is not in it.

    Raises:
        UnknownIdError: No entry has this id and no file or object this name; the message names the nearest ids.
    """
    from netatlas.atlas.card import card, card_of

    opened = atlas(path)
    found = resolve(target, opened)
    return card(opened, found) if isinstance(found, str) else card_of(opened, found)


def compare(*ids: str, path: str | Path | None = None) -> Comparison:
    """Two or more entries side by side: facts, the best of each, and the operators and forms that differ."""
    return atlas(path).compare(*ids)


def map(
    *,
    where: str | None = None,
    color: str = "family",
    tell: Callable[[str], None] = lambda line: None,
    path: str | Path | None = None,
) -> Map:
    """Every architecture as a point in the plane, near what it resembles: ``netatlas.map().to_html()`` is an interactive page.

    Args:
        where: Constraints; what satisfies them stands out.
        color: Fact the page colours by at first.
        tell: Told what takes long, in a line.
        path: The user's atlas.
    """
    from netatlas.atlas.map import draw_map

    return draw_map(atlas(path), where=where, color=color, tell=tell)


def motifs(
    target: str | Entry | nn.Module | None = None,
    *,
    where: str | None = None,
    which: Literal["all", "named", "mined"] = "all",
    min_count: int = 1,
    inputs: Any = None,
    path: str | Path | None = None,
) -> Motifs:
    """Recurring structures: of all architectures, of those that satisfy constraints, or of one network.

    Args:
        target: A motif by any of its names, or a network: an id, a file, ``"pkg.module:callable"``, an entry or a live module.
        where: Constraints on the architectures that are counted.
        which: All motifs, the named ones, or those found by mining.
        min_count: Architectures that a motif has to be in; of one network how often it has to occur.
        inputs: Example inputs of a Python object, where they cannot be guessed.
        path: The user's atlas.

    Raises:
        QueryError: ``where`` cannot be understood, or ``target`` has no graph.
        UnknownIdError: ``target`` is neither a motif nor a network; the message names the nearest of both.
        StoreError: The atlas was built before motifs were counted.
    """
    from netatlas.atlas import motifs as listing
    from netatlas.atlas._where_operators import motif_words

    opened = atlas(path)
    if target is None or (isinstance(target, str) and (target not in opened.derived.columns.row) and _is_motif(target)):
        return listing.of_atlas(opened, where=where, which=which, min_count=min_count, name=target)
    if where:
        raise QueryError(f"where chooses architectures of the atlas, and {_called(target)} is one network: give one of the two")
    try:
        name, graph, is_wired = _network(target, opened, inputs)
    except UnknownIdError as error:
        near = did_you_mean(str(target), motif_words())
        raise UnknownIdError(f"{error}{near.replace(': did you mean', '; of motifs')}" if near else str(error)) from None
    if not is_wired:
        raise QueryError(f"{name} is a checkpoint, which shows layers and no wiring: motifs cannot be seen in it")
    return listing.of_graph(name, graph, which=which, min_count=min_count)


def _is_motif(word: str) -> bool:
    from netatlas.atlas.motifs import find_motif_named

    return find_motif_named(word) is not None


def _called(target: Any) -> str:
    return target if isinstance(target, str) else target.id if isinstance(target, Entry) else type(target).__name__


def diff(
    a: str | Entry | nn.Module, b: str | Entry | nn.Module, *, inputs: Any = None, path: str | Path | None = None
) -> Difference:
    """What differs between two networks: prints like a code diff, shows as a side-by-side drawing in a notebook.

    Args:
        a: An id of the atlas, ``model.onnx``, ``weights.safetensors``, ``"pkg.module:callable"``, an entry or a live module;
            ``"timm/resnet50#layer3.0"`` is one module of a network.
        b: The same. Of two checkpoints names and shapes of tensors are compared; of a checkpoint and anything else the layers with
            weights, since nothing else can be seen in it.
        inputs: Example inputs of Python objects, where they cannot be guessed.
        path: The user's atlas.

    Raises:
        UnknownIdError: One is neither an id nor the name of a file or object; the message names the nearest ids.
        QueryError: One has no graph, no module of that path, or far too many operators.
        SourceError: A file or object cannot be read.
    """
    from netatlas.graph.diff import diff_graphs
    from netatlas.graph.weights import weights_only
    from netatlas.targets.opening import CHECKPOINTS

    if all(isinstance(x, str) and x.lower().endswith(CHECKPOINTS) for x in (a, b)):
        from netatlas.targets.tensor_diff import diff_checkpoints

        return diff_checkpoints(str(a), str(b))
    opened = atlas(path)
    (name_a, ours, seen_a), (name_b, theirs, seen_b) = (_network(x, opened, inputs) for x in (a, b))
    notes: tuple[str, ...] = ()
    if not (seen_a and seen_b):
        ours, theirs = weights_only(ours), weights_only(theirs)
        notes = (
            f"{name_b if seen_a else name_a} is a checkpoint: only layers with weights are compared, wiring cannot be seen in it",
        )
    try:
        return diff_graphs(ours, theirs, name_a, name_b, notes)
    except GraphError as error:
        raise QueryError(f"{name_a}, {name_b}: {error}") from None


def _network(target: str | Entry | nn.Module, opened: Atlas, inputs: Any) -> tuple[str, Graph, bool]:
    """Name and graph of what a user names, ``#module`` after it for a part, and whether its wiring is known.

    Raises:
        QueryError: It has no graph, or no module of that path.
    """
    from netatlas.graph.part import part

    entry, graph, scope = _part_of(target, opened, inputs)
    if graph is None:
        raise QueryError(f"{entry.id} has no graph that could be compared")
    try:
        cut = part(graph, scope) if scope else graph
    except GraphError as error:
        raise QueryError(f"{entry.id}: {error}") from None
    return (target if isinstance(target, str) else entry.id), cut, entry.is_wired


def explain(a: str | Entry | nn.Module, b: str | Entry | nn.Module, *, path: str | Path | None = None) -> str:
    """Why two networks are alike and where they part: stage by stage, what was changed most often, forms in common with counts."""
    return diff(a, b, path=path).stat()


def facts(*, path: str | Path | None = None) -> dict[str, tuple[FactType, Mapping[str, int]]]:
    """All facts with the number of entries of each kind that have them."""
    columns = atlas(path).derived.columns
    codes, kinds = columns.text("kind")
    return {
        name: (fact, {kind: int(columns.known(name)[codes == i].sum()) for i, kind in enumerate(kinds)})
        for name, fact in FACTS.items()
    }


def add(
    target: str | nn.Module | Sequence[Entry], *, inputs: Any = None, entry_id: str | None = None, path: str | Path | None = None
) -> list[str]:
    """Read a file or Python object into the user's atlas and return the ids that were written.

    Args:
        target: ``model.onnx``, ``weights.safetensors``, ``pkg.module:callable``, ``hub:org/name``, a live module, or entries.
        inputs: Example inputs, where they cannot be guessed; see `netatlas.targets.python_object.parse_inputs`.
        entry_id: Id to store it under, by default made from its name.
        path: The user's atlas.
    """
    entries = (
        list(target)
        if isinstance(target, Sequence) and not isinstance(target, str)
        else read(target, inputs=inputs, entry_id=entry_id)
    )
    user = Path(path) if path is not None else places.user_path()
    return Atlas((), user, places.cache_folder()).add(entries)


def remove(*ids: str, path: str | Path | None = None) -> list[str]:
    """Remove entries from the user's atlas and return what was removed; the starter atlas is read-only."""
    return atlas(path).remove(ids)


def measure(entry_id: str, *, batch: int = 1, threads: int = 1, runs: int = 30, path: str | Path | None = None) -> list[Evidence]:
    """Measure latency and peak memory of an architecture on this machine and keep them as evidence.

    Args:
        entry_id: An architecture of an installed library, such as ``timm/resnet50``.
        batch: Inputs at once.
        threads: Threads, 0 for all processors this process may use.
        runs: Timed forward passes after a warm-up.
        path: The user's atlas.
    """
    from netatlas.atlas import measure as measuring
    from netatlas.execution.base import EXECUTORS

    opened = atlas(path)
    opened.entry(entry_id)
    evidence = measuring.measure(entry_id, measuring.Setting(batch, threads, runs), EXECUTORS.build("loky", workers=1))
    for item in evidence:
        opened.add_evidence(entry_id, item)
    return evidence


def calibrate(
    *,
    count: int = 30,
    budget_s: float = 300.0,
    threads: int = 1,
    progress: Callable[[Visit], None] = lambda visit: None,
    path: str | Path | None = None,
) -> Report:
    """Measure architectures of the installed libraries and calibrate predicted latencies to this machine.

    Args:
        count: Architectures to have measured; those measured before count.
        budget_s: No measurement begins after this many seconds.
        threads: Threads to measure and predict for.
        progress: Called after every measurement.
        path: The user's atlas, which keeps measurements and calibration.
    """
    import importlib.util

    from netatlas.atlas import calibrate as calibrating
    from netatlas.execution.base import EXECUTORS

    there = [name for name in ("timm", "torchvision") if importlib.util.find_spec(name) is not None]
    if not there:
        raise MissingExtraError("measuring architectures", "zoo")
    measurer = calibrating.measurer_on(EXECUTORS.build("loky", workers=1, timeout_s=120.0), threads)
    return calibrating.run(
        atlas(path), measurer, count=count, budget_s=budget_s, threads=threads, sources=there, progress=progress
    )


def trace(module: nn.Module, *args: Any, **kwargs: Any) -> Graph:
    """The operator graph of a module at the given example inputs."""
    from netatlas.graph.trace import trace as traced

    return traced(module, args, kwargs).graph


def read(target: str | nn.Module, *, inputs: Any = None, entry_id: str | None = None) -> list[Entry]:
    """The entries of a file, a Python object or a Hub repository, without storing them."""
    from netatlas.targets.opening import read_target

    return read_target(target, inputs=inputs, entry_id=entry_id)


def resolve(target: str | Entry | nn.Module, opened: Atlas, inputs: Any = None) -> str | Entry:
    """An id of the atlas as it is; anything else is read into an entry.

    Raises:
        UnknownIdError: It is neither an id nor the name of a file or object.
    """
    if isinstance(target, Entry):
        return target
    if isinstance(target, str):
        if target in opened.derived.columns.row:
            return target
        from netatlas.targets.opening import is_target

        if not is_target(target):
            opened.entry(target)  # raises with the nearest ids
            raise UnknownIdError(f"no entry {target!r}")
    return read(target, inputs=inputs)[0]


def points(x: str, y: str, *, path: str | Path | None = None) -> list[tuple[str, float, float]]:
    """Id and two facts of every architecture that has both, for the background of a plot.

    Raises:
        QueryError: A fact is unknown or not a number.
    """
    columns = atlas(path).derived.columns
    a, b = columns.number(x), columns.number(y)
    codes, kinds = columns.text("kind")
    chosen = (codes == kinds.index("architecture")) & (a == a) & (b == b) if "architecture" in kinds else ()
    return [(columns.ids[i], float(a[i]), float(b[i])) for i, wanted in enumerate(chosen) if wanted]
