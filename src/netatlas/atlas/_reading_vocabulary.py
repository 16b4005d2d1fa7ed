"""Vocabulary: the words of the field and the families of architectures, ready for look-up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from netatlas.atlas._reading_tokens import run_together
from netatlas.atlas._where_operators import operator_keys, spoken_operator_keys
from netatlas.atlas._where_words import aliases, stem, word_key, word_keys, word_table
from netatlas.facts import FACTS, fact_words, find_fact

_FIELD_WORDS = word_keys(
    "sequence|sequencing|convnet|encoder|decoder|transformer|attention|performing|informed|segmentation|detector"
)
_SHORTEST_TYPO = 6  # letters; among shorter words one letter makes another word


class Vocabulary:
    """The words that `reading.read` knows.

    Args:
        families: Family key by name or alias, from the glossary.
        kin: Families that have a form by design, by the form; their graphs may hide it in an operator of their own.
        names: Parts of ids (`name_tokens`) that exist, which are therefore no typing errors.
    """

    def __init__(
        self,
        families: Mapping[str, str] | None = None,
        names: Collection[str] = (),
        kin: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.families = _family_keys(families or {})
        self.kin = dict(kin or {})
        self.names = frozenset(names)
        self.operators = spoken_operator_keys()
        self.measures = (
            _section("measures")
            | _section("indirect")
            | {word_key(f.name): f.name for f in FACTS.values() if f.kind in ("count", "number")}
        )
        # Alone, these are not facts of a network but words of every second query.
        for word in ("models", "tags", "nodes", "unknown_ops"):
            self.measures.pop(word_key(word), None)
        self.spellings = {word_key(word): fact.name for word in fact_words() if (fact := find_fact(word)) is not None}
        self.tasks, self.for_tasks = _section("tasks"), _section("tasks") | _section("for_tasks")
        self.modalities, self.for_modalities = _section("modalities"), _section("modalities") | _section("for_modalities")
        for word in ("image", "text", "audio", "video", "time-series"):  # alone they say nothing: text detector, image size
            del self.modalities[word_key(word)]
        self.sources = _section("sources")
        # The key is a sign and a fact, and the fact alone is no wish.
        self.soft = {word_key(word): key for key, words in word_table()["soft"].items() for word in words.split("|")}
        self.bare = {key: name for key, name in self.operators.items() if name in word_table()["bare"]}
        self._spelled = [key for key in self.families if len(key) >= _SHORTEST_TYPO - 1 and key.isalpha()]

    def is_phrase(self, chunk: str) -> bool:
        """Whether a chunk with ``_`` or ``/`` inside is a phrase rather than a name: ``batch_norm``, ``top_1``."""
        key = word_key(chunk)
        return "/" not in chunk and any(key in table for table in (operator_keys(), self.spellings, self.measures, self.tasks))

    def corrected(self, word: str) -> str:
        """The family name that ``word`` misspells by one letter or one swap; ``""`` when it is right or nothing is near."""
        if (
            len(word) < _SHORTEST_TYPO
            or word in self.names
            or stem(word) in _FIELD_WORDS
            or not word.isalpha()
            or not word.isascii()
        ):
            return ""
        # One slip leaves the first or the last two letters alone, which rules out nearly all names at once.
        alike = [key for key in self._spelled if key[:2] == word[:2] or key[-2:] == word[-2:]]
        near = [key for key in alike if abs(len(key) - len(word)) <= 1 and _is_slip(word, key)]
        return near[0] if len({self.families[key] for key in near}) == 1 else ""


def _family_keys(families: Mapping[str, str]) -> dict[str, str]:
    """Family by spelling: names as they are, and their word keys where no other family is called so (ViT is not a VITS)."""
    spelled = {run_together(name): key for name, key in (*((key, key) for key in families.values()), *families.items())}
    spelled.pop("", None)
    return {word_key(name): key for name, key in families.items() if word_key(name)} | spelled


def _section(name: str) -> dict[str, str]:
    return {word_key(alias): key for alias, key in aliases(name) if word_key(alias)}


def _is_slip(word: str, right: str) -> bool:
    """Whether one letter added, dropped, changed or swapped separates them, not at the very end of ``word``."""
    if word == right or word.startswith(right) or word[:-1] == right[:-1]:
        return False  # a longer name or another ending is a word of its own: regnety, performed
    start = next((i for i, (a, b) in enumerate(zip(word, right, strict=False)) if a != b), min(len(word), len(right)))
    a, b = word[start:], right[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
