"""What find reads: columns, word index and family names, derived from the stores and rebuilt when those have changed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netatlas import __version__, glossary
from netatlas.atlas.columns import Columns
from netatlas.atlas.lexical import Document, WordIndex
from netatlas.atlas.reading import Vocabulary, name_tokens, run_together
from netatlas.errors import NetatlasError
from netatlas.facts import Value

FORMAT = 6
"""Raised when anything below is derived differently, so that old caches are not read."""

SHORTEST_NAME = 5
"""Letters of the parts of ids that are kept: shorter words are never corrected."""

_LIBRARIES = {"transformers": 1, "torchvision": 2, "timm": 3}  # a later one takes a name that several have

Row = tuple[str, str, str, str, Mapping[str, Value]]
"""Id, kind, title, text and facts of an entry."""


@dataclass(frozen=True)
class Derived:
    """Indexes over all layers of an atlas; row n of every index is the same entry.

    Attributes:
        columns: Facts.
        words: Words.
        families: Family keys by name and alias, in lower case.
        kin: Families that have a form by design, by the form.
        names: Parts of ids long enough to be taken for a misspelt family.
    """

    columns: Columns
    words: WordIndex
    families: Mapping[str, str]
    names: Sequence[str]
    kin: Mapping[str, Sequence[str]]

    @cached_property
    def by_name(self) -> Mapping[str, int]:
        """Row of an architecture by its name without the library, letters and digits only; the first library has it."""
        codes, kinds = self.columns.text("kind")
        return {
            run_together(entry_id.partition("/")[2]): row
            for row, entry_id in sorted(
                enumerate(self.columns.ids), key=lambda item: _LIBRARIES.get(item[1].partition("/")[0], 0)
            )
            if codes[row] >= 0 and kinds[codes[row]] == "architecture"
        }

    @cached_property
    def toys(self) -> npt.NDArray[np.bool_]:
        """Networks of a few thousand weights that a library keeps for its unit tests; nobody who does not say "test" means them."""
        return np.fromiter(("/test_" in entry_id for entry_id in self.columns.ids), dtype=bool, count=len(self.columns))

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.families, self.names, self.kin)


def derive(rows: Iterable[Row]) -> Derived:
    """Indexes in memory."""
    kept = list(rows)
    families = glossary.load()
    columns = Columns.from_entries((r[0], r[1], r[4]) for r in kept)
    return Derived(
        columns, WordIndex.build(document(r, families) for r in kept), _aliases(families), _names(kept), _kin(families, kept)
    )


def open_derived(stamps: Sequence[str], rows: Iterable[Row], cache: Path) -> Derived:
    """Indexes of the stores with these stamps from the cache, built there first when they are missing, torn or of another version.

    Where the cache cannot be written the indexes live in memory for this process.

    Args:
        stamps: `Store.stamp` of every layer.
        rows: All entries, read only when the indexes have to be built.
        cache: Folder for derived files.
    """
    key = hashlib.sha256(json.dumps([FORMAT, __version__, _package_stamp(), *stamps]).encode()).hexdigest()[:16]
    folder = cache / f"index-{key}"
    try:
        return _open(folder)
    except (OSError, ValueError, KeyError, NetatlasError):
        pass  # missing or torn: built anew below
    kept = list(rows)
    try:
        _write(kept, folder)
        return _open(folder)
    except (OSError, NetatlasError):
        return derive(kept)


def _open(folder: Path) -> Derived:
    spoken = json.loads((folder / "vocabulary.json").read_text())
    columns = Columns.load(folder / "columns")
    words = WordIndex.open(folder / "words")
    if len(words) != len(columns):
        raise ValueError(f"{folder}: {len(words)} documents for {len(columns)} entries")
    return Derived(columns, words, spoken["families"], spoken["names"], spoken["kin"])


def _write(rows: list[Row], folder: Path) -> None:
    """Everything into a folder of its own, which is renamed into place; older indexes of the cache are removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=folder.parent))
    try:
        families = glossary.load()
        Columns.from_entries((r[0], r[1], r[4]) for r in rows).save(draft / "columns")
        WordIndex.build((document(r, families) for r in rows), draft / "words")
        (draft / "vocabulary.json").write_text(
            json.dumps({"families": _aliases(families), "names": _names(rows), "kin": _kin(families, rows)})
        )
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    for old in folder.parent.glob("index-*"):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)


_INGREDIENTS = ("families.toml", "predict_latency.npz", "predict_throughput.npz", "predict_top1.npz")
"""Data of the package that indexes are made from beside the stores."""


def _package_stamp() -> str:
    """Digest of the package's data, which is cheaper than reading it."""
    digest = hashlib.sha256()
    for name in _INGREDIENTS:
        digest.update(resources.files("netatlas.data").joinpath(name).read_bytes())
    return digest.hexdigest()


def _aliases(families: glossary.Glossary) -> dict[str, str]:
    """Family key by every name it goes by, in lower case; the family's own name wins over another's alias."""
    found: dict[str, str] = {}
    for family in families.families.values():
        for alias in family.aliases:
            found.setdefault(alias.lower(), family.key)
    for family in families.families.values():
        found[family.name.lower()] = family.key
        found[family.key.replace("_", " ")] = family.key
    return found


def _names(rows: Iterable[Row]) -> list[str]:
    return sorted(
        {token for row in rows if row[1] == "architecture" for token in name_tokens(row[0]) if len(token) >= SHORTEST_NAME}
    )


_HIDDEN_FORMS = {"state_space": "state-space"}
"""Forms that libraries compute in kernels of their own, which no graph shows, with the trait of the glossary that tells of them."""


def _kin(families: glossary.Glossary, rows: Iterable[Row]) -> dict[str, list[str]]:
    present = {str(row[4].get("family", "")) for row in rows}
    return {
        form: sorted(key for key, family in families.families.items() if trait in family.traits and key in present)
        for form, trait in _HIDDEN_FORMS.items()
    }


_RECIPES = {"swsl": "semi weakly supervised", "ssl": "semi supervised", "dist": "distilled", "distilled": "distillation", "mim": "masked image modelling",
            "mae": "masked autoencoder", "ft": "finetuned", "in21k": "imagenet 21k", "in22k": "imagenet 22k", "in12k": "imagenet 12k", "in1k": "imagenet 1k",
            "aug": "augmentation", "augreg": "augmentation regularization", "dino": "self supervised", "ap": "adversarial", "adv": "adversarial",
            "ns": "noisy student", "jft": "jft300m", "swag": "weakly supervised", "wsl": "weakly supervised", "quant": "quantized"}  # fmt: skip
"""What the abbreviations in tags of pretrained weights stand for."""


def _recipe(tag: str) -> Iterator[str]:
    for part in name_tokens(tag):
        yield part
        if part in _RECIPES:
            yield _RECIPES[part]


def document(row: Row, families: glossary.Glossary) -> Document:
    """The words an entry is found by: its name split into parts, its family and what kind of network and operators it has."""
    entry_id, _, title, text, facts = row
    family = families.families.get(str(facts.get("family", "")))
    names = name_tokens(entry_id.partition("/")[2]) + name_tokens(title)
    source = entry_id.partition("/")[0]
    structure = [str(op).replace("_", " ") for op in _strings(facts.get("ops"))]
    purposes = [str(task).replace("-", " ") for task in (*_strings(facts.get("task")), *_strings(facts.get("modality")))]
    return Document(
        name=" ".join(dict.fromkeys([*names, source])),
        near=" ".join(dict.fromkeys(near for near in _near(names, family.key if family else ""))),
        family=" ".join([family.name, family.key.replace("_", " "), *family.aliases]) if family else "",
        traits=" ".join([*(family.traits if family else ()), *purposes]),
        text=" ".join(
            [
                *([family.title, family.sentence] if family else []),
                *structure,
                *_strings(facts.get("pretrain")),
                *_recipe(str(facts.get("tag", ""))),
                text,
            ]
        ),
    )


SIZES = {
    "t": "tiny",
    "s": "small",
    "b": "base",
    "m": "medium",
    "l": "large",
    "h": "huge",
    "g": "giant",
    "n": "nano",
    "xl": "xlarge",
}
"""Sizes that names abbreviate."""

_VARIANT = re.compile(r"(\d+)[a-wyz]{1,2}")  # 50x4 is four times as wide


def _near(parts: Sequence[str], family: str) -> Iterator[str]:
    """Other words that a name answers to.

    The plain depth of a variant (``50d``: ``50``), a size written out (``t``: ``tiny``), one letter joined to the word before it
    or taken off the family's name (``regnet y`` and ``regnety``).
    """
    for i, part in enumerate(parts):
        if variant := _VARIANT.fullmatch(part):
            yield variant.group(1)
        if part in SIZES:
            yield SIZES[part]
        if i and len(part) == 1 and part.isalpha() and len(parts[i - 1]) > 3 and parts[i - 1].isalpha():
            yield parts[i - 1] + part
        if part[:-1] == family:
            yield from (part[:-1], part[-1])


def _strings(value: Any) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()
