"""What two networks have in common and what sets them apart, in words: forms with counts, stages, one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from netatlas.graph._diff_rows import LAYERS, Row
from netatlas.graph._drawing_labels import Words
from netatlas.graph.forms import FORMS, forms
from netatlas.graph.graph import Graph
from netatlas.graph.ops import OPERATORS

_EVERYDAY = frozenset({"pointwise_conv", "depthwise_conv", "residual", "grouped_conv", "self_attention", "channel_attention",
                       "separable_conv", "convolution_stem", "position_embedding", "class_token", "feed_forward",
                       "transformer_block", "pooled_head", "pooled_stem"})  # fmt: skip
"""Forms that say little beside the larger ones they are part of."""

_WRITTEN = {"squeeze_excite": "squeeze-excite", "depthwise_conv": "depthwise convolution", "pointwise_conv": "1x1 convolution",
            "grouped_conv": "grouped convolution", "dilated_conv": "dilated convolution", "separable_conv": "separable convolution",
            "large_kernel_conv": "large-kernel convolution", "residual": "residual connection", "state_space": "state-space scan",
            "prenorm_block": "pre-norm transformer block", "postnorm_block": "post-norm transformer block",
            "unet_skip": "U-Net skip", "recurrent": "recurrent layer"}  # fmt: skip
_PLURALS = {"mixture of experts": "mixtures of experts", "token mixing mlp": "token-mixing MLPs"}
_UNCOUNTED = ("attention", "mixing", "standardisation", "bias", "norm", "pooling", "upsampling")
_SWAPPED = {"activation": "activation", "normalisation": "norm", "pooling": "pooling"}
_FAMILY = {op.name: op.family for op in OPERATORS}
_LABEL = {op.name: op.label for op in OPERATORS}

LARGEST_COUNTED = 4_000
"""Nodes beyond which `counted` looks at operators only: naming forms in a graph of 60,000 takes 0.2 s."""


def counted(graph: Graph, *, bounded: bool = False) -> dict[str, int]:
    """How often each operator and each named form occurs in ``graph``.

    Args:
        graph: Any graph.
        bounded: Whether forms are left out of graphs of more than `LARGEST_COUNTED` nodes.
    """
    named = {} if bounded and len(graph) > LARGEST_COUNTED else forms(graph)
    return {**graph.op_counts(), **named}


@dataclass(frozen=True)
class Shared:
    """Forms of two networks.

    Attributes:
        common: Forms both have, with how many they have in common.
        more_a: Forms of which the first has more: name, its count and the second's.
        more_b: Forms of which the second has more: name, the first's count and its own.
    """

    common: dict[str, int]
    more_a: dict[str, tuple[int, int]]
    more_b: dict[str, tuple[int, int]]


def shared_forms(ours: Mapping[str, int], theirs: Mapping[str, int]) -> Shared:
    """Compare counts of forms, telling ones first."""
    names = sorted((n for n in FORMS if n in ours or n in theirs), key=lambda n: (n in _EVERYDAY, -_most(n, ours, theirs), n))
    pairs = {n: (ours.get(n, 0), theirs.get(n, 0)) for n in names}
    return Shared(
        {n: min(p) for n, p in pairs.items() if min(p)},
        {n: p for n, p in pairs.items() if p[0] > p[1]},
        {n: p for n, p in pairs.items() if p[1] > p[0]},
    )


def _most(name: str, ours: Mapping[str, int], theirs: Mapping[str, int]) -> int:
    return max(ours.get(name, 0), theirs.get(name, 0))


def plural(name: str, count: int) -> str:
    """``16 squeeze-excites``, ``1 bottleneck``, ``12 x self attention``."""
    word = _WRITTEN.get(name, name.replace("_", " "))
    if word.endswith(_UNCOUNTED):
        return f"{count:,} x {word}"
    if count == 1:
        return f"1 {word.replace('mlp', 'MLP')}"
    many = _PLURALS.get(word) or (f"{word}es" if word.endswith("ch") else f"{word}s")
    return f"{count:,} {many}"


def sentence(ours: Mapping[str, int], theirs: Mapping[str, int], most: int = 2) -> str:
    """What a second network shares with a first and its main differences, short enough for a table.

    ``"16 inverted residuals, 16 squeeze-excites in common; SiLU for ReLU6, 7 more inverted residuals"``

    Args:
        ours: Operators and forms of the first, as `counted` gives them.
        theirs: Of the second, which the sentence speaks of.
        most: Forms and differences named.
    """
    found = shared_forms(ours, theirs)
    telling = [n for n in found.common if n not in _EVERYDAY] or list(found.common)
    common = ", ".join(plural(n, found.common[n]) for n in telling[:most])
    if not common:
        both = sorted((n for n in ours if n in theirs and n not in FORMS), key=lambda n: (-min(ours[n], theirs[n]), n))
        common = ", ".join(f"{min(ours[n], theirs[n])} {_LABEL[n]}" for n in both[:most])
    apart = differences(ours, theirs)[:most]
    parts = [f"{common} in common" if common else "nothing in common", ", ".join(apart) if apart else ""]
    return "; ".join(p for p in parts if p)


def differences(ours: Mapping[str, int], theirs: Mapping[str, int]) -> list[str]:
    """How a second network differs from a first, the largest differences first."""
    told: list[tuple[int, str]] = []
    spoken: set[str] = set()
    for family, word in _SWAPPED.items():
        a, b = (_main(counts, family) for counts in (ours, theirs))
        if a and b and a != b:
            told.append((max(ours[a], theirs[b]), f"{_LABEL[b]} for {_LABEL[a]}"))
            spoken |= {a, b}
        elif a and not b:
            told.append((ours[a], f"no {word}"))
        elif b and not a:
            told.append((theirs[b], f"with {_LABEL[b]}"))
    telling = [n for n in {**ours, **theirs} if n in FORMS and n not in _EVERYDAY]
    names = telling or [n for n in {**ours, **theirs} if n in FORMS]
    for name in names:
        before, after = ours.get(name, 0), theirs.get(name, 0)
        if before != after and name not in spoken:
            told.append((abs(before - after), _more_or_less(name, before, after)))
    return [text for _, text in sorted(told, key=lambda x: (-x[0], x[1]))]


def _more_or_less(name: str, before: int, after: int) -> str:
    if not after:
        return f"no {plural(name, 2).removeprefix('2 ').removeprefix('x ')}"
    if not before:
        return f"with {plural(name, after)}"
    number, _, rest = plural(name, abs(after - before)).partition(" ")
    return f"{number} {'more' if after > before else 'fewer'} {rest.removeprefix('x ')}"


def _main(counts: Mapping[str, int], family: str) -> str:
    """The most frequent operator of a family; gates' sigmoids are no network's activation."""
    found = {
        n: c for n, c in counts.items() if _FAMILY.get(n) == family and n not in ("sigmoid", "hardsigmoid", "softmax", "clamp")
    }
    return max(found, key=lambda n: (found[n], n)) if found else ""


# ---------------------------------------------------------------- stages


@dataclass(frozen=True)
class Stage:
    """One stage of two networks: everything at one resolution, one after the other.

    Attributes:
        name: ``"stage 3"``; the parts' name where neither network has a block there.
        size: Resolution (or tokens) of the first network and of the second; ``""`` where it has none.
        width: Output width of most blocks in each; 0 where it has none.
        blocks: Blocks in each: parts with at least two layers.
        layers: Layers with weights in each.
        is_same: Whether nothing differs in it.
    """

    name: str
    size: tuple[str, str]
    width: tuple[int, int]
    blocks: tuple[int, int]
    layers: tuple[int, int]
    is_same: bool

    def text(self) -> str:
        """``"stage 3: 14x14, 6 blocks vs 23 blocks"``; what is equal is said once."""
        blocks = tuple(f"{n} block{'s' if n != 1 else ''}" for n in self.blocks)
        parts = [
            _versus(*self.size),
            _versus(*blocks) if any(self.blocks) else "",
            _versus(*(f"{w} wide" if w else "" for w in self.width)),
        ]
        return f"{self.name}: {', '.join(p for p in parts if p)}"


def _versus(a: str, b: str) -> str:
    return a if a == b else f"{a or 'none'} vs {b or 'none'}"


def staged(rows: Sequence[Row], words: tuple[Words, Words]) -> list[tuple[list[Row], Stage | None]]:
    """Rows of two networks by stage, in order; ``None`` beside rows without any layer, such as inputs.

    Args:
        rows: Parts of both side by side, not joined.
        words: Both networks.
    """
    runs = [list(run) for _, run in groupby(rows, key=lambda row: row.stage)]
    parts = [_parts(run, words) for run in runs]
    # Layers of vectors after layers of maps or tokens are a head, however many; where there are vectors alone they are the blocks.
    has_places = any(_size(w, side)[0] for found in parts for w, side in zip(words, found, strict=True))
    is_shaped = any(any(w.shapes) for w in words)
    result: list[tuple[list[Row], Stage | None]] = []
    number = 1
    for run, found in zip(runs, parts, strict=True):
        made = _stage(run, found, words, f"stage {number}" if is_shaped else "layers", has_places)
        number += made is not None and any(made.blocks)
        result.append((run, made))
    return result


def stages(rows: Sequence[Row], words: tuple[Words, Words]) -> list[Stage]:
    """The stages of two networks, in order; see `staged`."""
    return [stage for _, stage in staged(rows, words) if stage is not None]


class Part(NamedTuple):
    """Layers of a part and its last node."""

    layers: tuple[int, ...]
    last: int


Parts = list[Part]


def _parts(run: Sequence[Row], words: tuple[Words, Words]) -> tuple[Parts, Parts]:
    ours, theirs = (
        [Part(tuple(i for i in u.nodes if _is_layer(w, i)), u.nodes[-1]) for row in run for u in (row.a, row.b)[side]]
        for side, w in enumerate(words)
    )
    return ours, theirs


def _size(words: Words, parts: Parts) -> tuple[str, int]:
    """Size and width after most of the blocks, where there are none after the last layer; a head after them does not count."""
    blocks = [(_sized_layer(words, part), part.last) for part in parts if len(part.layers) >= 2]
    last = blocks or [(part.layers[-1], part.layers[-1]) for part in parts if part.layers][-1:]
    # A pooling at the end of a block belongs to the next size, its last sum or concatenation to this width.
    sizes = Counter((size_and_width(words, layer)[0], size_and_width(words, end)[1]) for layer, end in reversed(last))
    return max(sizes, key=lambda size: sizes[size], default=("", 0))


def _sized_layer(words: Words, part: Part) -> int:
    """The last layer at the size of the part's end, where there is one: a squeeze beside the main path, written last, is not it."""
    end = size_and_width(words, part.last)[0]
    return next((i for i in reversed(part.layers) if size_and_width(words, i)[0] == end), part.layers[-1])


def _stage(
    run: Sequence[Row], parts: tuple[Parts, Parts], words: tuple[Words, Words], name: str, has_places: bool
) -> Stage | None:
    depth = [sum(len(part.layers) for part in side) for side in parts]
    if not any(depth):
        return None
    (size_a, width_a), (size_b, width_b) = (_size(w, side) for w, side in zip(words, parts, strict=True))
    is_head = has_places and not size_a and not size_b
    blocks = [0 if is_head else sum(len(part.layers) >= 2 for part in side) for side in parts]
    is_same = all(row.status == "same" for row in run)
    return Stage(
        name if any(blocks) else run[-1].label,
        (size_a, size_b), (width_a, width_b), (blocks[0], blocks[1]), (depth[0], depth[1]), is_same,
    )  # fmt: skip


def _is_layer(words: Words, node: int) -> bool:
    return words.params[node] > 0 and words.families[node] in LAYERS


def size_and_width(words: Words, node: int) -> tuple[str, int]:
    """``("14x14", 256)`` of a feature map, ``("197 tokens", 768)`` of a sequence, ``("", 1000)`` of a vector."""
    shape = words.shapes[node]
    if words.names[node] in ("conv", "conv_transpose", "deform_conv"):
        k = len(words.kernel(node))
        return "x".join(map(str, shape[-k:])), words.width(node)
    if len(shape) == 4:
        first = shape[2] == shape[3] or shape[1] != shape[2]
        return ("x".join(map(str, shape[2:])), shape[1]) if first else ("x".join(map(str, shape[1:3])), shape[3])
    if len(shape) == 3 or (len(shape) == 2 and shape[0] > 1):  # some flatten the batch and the sequence
        return f"{shape[-2]} tokens", shape[-1]
    return "", shape[-1] if shape else 0
