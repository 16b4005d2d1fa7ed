"""Words of entries in a tantivy index: a derived index, rebuilt whenever the store it comes from has changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netatlas.errors import StoreError

if TYPE_CHECKING:
    import tantivy

FIELDS = {"name": 6.0, "near": 4.0, "family": 3.0, "traits": 1.5, "text": 1.0}
"""Fields by weight: what the entry is called, other spellings of that, what its family is called, what kind of network it is, everything else."""

_NAMES = frozenset(("name", "near"))  # as written, not stemmed
_SIZES = frozenset(("nano", "tiny", "small", "base", "medium", "large", "huge", "giant", "xlarge"))
_ROW = "row"


@dataclass(frozen=True)
class Document:
    """The words of one entry, already split and in lower case, by field of `FIELDS`."""

    name: str
    near: str = ""
    family: str = ""
    traits: str = ""
    text: str = ""


class WordIndex:
    """BM25 over the fields of `Document`, stemmed in all but the names.

    Args:
        index: A tantivy index with the schema of this class; use `build` or `open`.
    """

    def __init__(self, index: tantivy.Index) -> None:
        self._index = index
        self._searcher = index.searcher()

    @classmethod
    def build(cls, documents: Iterable[Document], folder: Path | None = None) -> WordIndex:
        """Index ``documents``; the n-th becomes row n. ``folder`` keeps it on disk, otherwise it is in memory."""
        import tantivy

        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        index = tantivy.Index(_schema(), path=str(folder) if folder else None)
        writer = index.writer(50_000_000, num_threads=1)  # one thread: one segment, and the same files every time
        for row, document in enumerate(documents):
            entry = tantivy.Document()
            entry.add_unsigned(_ROW, row)
            for field in FIELDS:
                entry.add_text(field, getattr(document, field))
            writer.add_document(entry)
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        return cls(index)

    @classmethod
    def open(cls, folder: Path) -> WordIndex:
        """The index in ``folder``.

        Raises:
            StoreError: It is missing or damaged.
        """
        import tantivy

        try:
            return cls(tantivy.Index(_schema(), path=str(folder), reuse=True))
        except ValueError as error:
            raise StoreError(f"word index {folder} cannot be opened: {error}") from error

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def search(self, words: Sequence[Sequence[str]], limit: int, every: bool = True) -> list[tuple[int, float]]:
        """Rows and scores, best first.

        Args:
            words: What is looked for; each item is one word with its alternatives.
            limit: At most this many rows.
            every: Whether all items must occur in a row (in any field), or one is enough.
        """
        import tantivy

        if not words or limit < 1:
            return []
        occur = tantivy.Occur.Must if every else tantivy.Occur.Should
        query = tantivy.Query.boolean_query([(occur, self._any_field(alternatives)) for alternatives in words])
        hits = self._searcher.search(query, limit=limit, count=False).hits
        rows = self._searcher.fast_field_values(_ROW, [address for _, address in hits])
        return [(int(row), float(score)) for row, (score, _) in zip(rows, hits, strict=True)]

    def knows(self, alternatives: Sequence[str]) -> bool:
        """Whether any row has the word."""
        return bool(self._searcher.search(self._any_field(alternatives), limit=1, count=False).hits)

    def _any_field(self, alternatives: Sequence[str]) -> tantivy.Query:
        import tantivy

        parts = []
        for field, weight in FIELDS.items():
            for word in alternatives:
                if field not in _NAMES and (len(word) == 1 or word in _SIZES or any(c.isdigit() for c in word)):
                    continue  # the 50 of ResNet-50, like the B of ViT-B, is not that of its family's other names, nor are sizes
                terms = _analyse(field, word)
                if terms:
                    plain = [tantivy.Query.term_query(self._index.schema, field, term, "freq") for term in terms]
                    query = plain[0] if len(plain) == 1 else tantivy.Query.boolean_query([(tantivy.Occur.Must, q) for q in plain])
                    parts.append(tantivy.Query.boost_query(query, weight))
        return tantivy.Query.disjunction_max_query(parts, 0.1) if parts else tantivy.Query.empty_query()


def _schema() -> tantivy.Schema:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field(_ROW, stored=False, indexed=True, fast=True)
    for field in FIELDS:
        tokenizer = "whitespace" if field in _NAMES else "en_stem"
        builder.add_text_field(field, stored=False, tokenizer_name=tokenizer, index_option="freq")
    return builder.build()


def _analyse(field: str, word: str) -> list[str]:
    """The terms a word was indexed as in ``field``: as written in names, split and stemmed elsewhere."""
    if field in _NAMES:
        return [word]
    return list(_stemmer().analyze(word))


def _stemmer() -> tantivy.TextAnalyzer:
    global _ANALYZER
    if _ANALYZER is None:
        import tantivy

        builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        _ANALYZER = (
            builder.filter(tantivy.Filter.remove_long(40))
            .filter(tantivy.Filter.lowercase())
            .filter(tantivy.Filter.stemmer("english"))
            .build()
        )
    return _ANALYZER


_ANALYZER: tantivy.TextAnalyzer | None = None
