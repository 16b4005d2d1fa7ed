"""Reading: what a query in plain language surely demands becomes a filter, the rest stays words to search for.

Precision comes first: a phrase becomes a constraint only where it can mean nothing else, and every constraint is shown back as a
chip that states exactly what is filtered.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from netatlas.atlas._reading_comparisons import Comparisons, phrase
from netatlas.atlas._reading_numbers import Lookup, NumberReader
from netatlas.atlas._reading_phrases import (
    ALTERNATIVES,
    AND,
    CONVNETS,
    DETERMINERS,
    DEVICES,
    FILLER_PHRASES,
    FILLERS,
    FOR,
    FROM,
    HIGH,
    LOW,
    MODIFIED,
    NEGATIONS,
    ONLY,
    OR,
    OTHERS,
    PART_NOUNS,
    PRETRAINED,
    SPEEDY,
    THING_NOUNS,
    TOO,
    TRANSFORMERS,
    WITH,
)
from netatlas.atlas._reading_tokens import Token, name_tokens, run_together, tokenize
from netatlas.atlas._reading_vocabulary import Vocabulary
from netatlas.atlas._where_operators import find_motif, find_operator, is_mined
from netatlas.atlas._where_words import word_keys
from netatlas.atlas.where import Expression, Has, HasMotif, Not, OneOf, Or, all_of, chips, parse
from netatlas.errors import QueryError
from netatlas.facts import FACTS

__all__ = ["Reading", "Vocabulary", "name_tokens", "read", "run_together"]

MAX_READ = 2_000
"""Characters of a query that are read; what follows is left out, with a note."""

Direction = Literal["lower", "higher"]

_SIZE_LETTERS = {"t": "tiny", "s": "small", "b": "base", "l": "large", "h": "huge", "g": "giant", "n": "nano"}
_ACTIVATIONS = ("relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "gelu", "quick_gelu", "silu", "mish", "hardswish")
_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm", "l2_norm")
_CHOICES = {name: names for names in (_ACTIVATIONS, _NORMS) for name in names}
"""Operators of which a network may use one only; sigmoid and softmax gate and attend in any of them."""
_LETTERS_DIGITS = re.compile(r"([a-z]{2,}?)(v?\d[a-z0-9]*|[a-z]\d[a-z0-9]*)")


@dataclass(frozen=True)
class Reading:
    """A query as it was understood.

    Attributes:
        where: What is filtered, ``None`` when nothing is.
        chips: ``where`` for people, one phrase for each condition.
        words: What is left to search for, names also in their other spelling (``resnet 50 resnet50``).
        name: The part of ``words`` that names architectures.
        hints: Words that a constraint was made of; they order what is found and are not demanded again.
        family: Keys of the families that are named.
        prefer: Facts that should be low or high without being demanded, in the order they were said.
        near: Facts with the value that was asked for roughly (``about 25M params``): the nearer the better.
        kind: ``"model"`` when pretrained weights are asked for, ``"architecture"`` when the bare design is; else ``None``.
        notes: Remarks on corrections and on what looked like a constraint and was not used, one line each.
    """

    where: Expression | None = None
    chips: tuple[str, ...] = ()
    words: str = ""
    name: str = ""
    hints: str = ""
    family: tuple[str, ...] = ()
    prefer: tuple[tuple[str, Direction], ...] = ()
    near: tuple[tuple[str, float], ...] = ()
    kind: Literal["architecture", "model"] | None = None
    notes: tuple[str, ...] = ()


def read(text: str, vocabulary: Vocabulary, *, lookup: Lookup | None = None, year: int | None = None) -> Reading:
    """What ``text`` demands, prefers and leaves to be searched for. Any text is read; nothing raises.

    A text that is an expression of the query language (``params < 6M and not has(attention)``) is taken as one.

    Args:
        text: The query.
        vocabulary: The words that are known.
        lookup: Id and facts of the entry that a name means, for ``smaller than resnet50``; without it such a comparison is only noted.
        year: The current year, for ``the last three years``; without it such phrases stay words.
    """
    notes: list[str] = []
    if len(text) > MAX_READ:
        notes.append(f"only the first {MAX_READ:,} of {len(text):,} characters were read")
        text = text[:MAX_READ]
    if re.search(r"[<>=≤≥~:(]", text):
        try:
            where = parse(text)
            return Reading(where, tuple(chips(where)), notes=tuple(notes))
        except QueryError:
            pass  # plain language with a sign in it
    return _Reader(text, vocabulary, notes, lookup, year).run()


class _Reader:
    """One pass over the tokens, left to right; each rule takes what it surely understands and says where it ends."""

    def __init__(self, text: str, vocabulary: Vocabulary, notes: list[str], lookup: Lookup | None, year: int | None) -> None:
        self._vocabulary, self._notes, self._text = vocabulary, notes, text
        self._tokens = tokenize(text, vocabulary.is_phrase)
        self._numbers = NumberReader(
            self._tokens, vocabulary.measures, vocabulary.spellings, self._understood, self._named_end, lookup, year
        )  # fmt: skip
        self._comparisons = Comparisons(self._tokens, vocabulary.measures)
        self._hints: list[str] = []
        self._conditions: list[Expression] = []
        self._tasks: list[str] = []
        self._sources: list[str] = []
        self._kept: list[int] = []
        self._named: set[int] = set()
        self._measured: set[int] = set()
        self._corrections: dict[int, str] = {}
        self._families: dict[str, None] = {}
        self._prefer: dict[str, Direction] = {}
        self._kind: Literal["architecture", "model"] | None = None

    def run(self) -> Reading:
        rules = (self._call, self._inline, self._alternative, self._number, self._negation, self._free, self._only, self._with, self._source,
                 self._task, self._modality, self._device, self._kinds, self._convnet, self._structure, self._pair, self._family, self._wish,
                 self._rest)  # fmt: skip
        at = 0
        while at < len(self._tokens):
            at = next(end for rule in rules if (end := rule(at)) > at)
        tasks = OneOf("task", tuple(dict.fromkeys(self._tasks))) if self._tasks else None
        where = all_of([*self._consistent(), tasks])
        return Reading(
            where, tuple(chips(where)) if where is not None else (), self._words(), self._name_said(), " ".join(self._hints),
            tuple(self._families),
            tuple(self._prefer.items()), tuple(self._numbers.near.items()), self._kind, tuple(dict.fromkeys(self._notes)),
        )  # fmt: skip

    def _name_said(self) -> str:
        return " ".join(self._corrections.get(i, self._tokens[i].text.lower()) for i in sorted(self._named))

    def _consistent(self) -> list[Expression]:
        """The conditions, once each, without the "no attention" of a convnet where the query asks for attention as well."""
        found = list(dict.fromkeys(self._conditions))
        attends = any(isinstance(item, Has) and ("attention" in item.name or item.name == "transformer_block") for item in found)
        implied = Not(Has("attention"))
        return [item for item in found if not (attends and item == implied)]

    def _understood(self, at: int) -> bool:
        """Whether something that reading knows begins at ``at``, rather than a noun that it does not know."""
        if at >= len(self._tokens) or self._tokens[at].kind != "word" or self._tokens[at].glued:
            return at >= len(self._tokens) or self._tokens[at].kind in ("mark", "call")
        known = self._vocabulary
        tables = (
            NEGATIONS,
            WITH,
            FROM,
            FOR,
            DEVICES,
            CONVNETS,
            TRANSFORMERS,
            PRETRAINED,
            known.soft,
            known.tasks,
            known.operators,
            known.sources,
            known.modalities,
        )
        return (
            self._in(at, FILLERS | THING_NOUNS | AND | OR | TOO)
            or any(self._phrase(table, at)[0] for table in tables)
            or self._comparisons.before(at) is not None
            or self._family_at(at)[1] > at
            or self._phrase(known.measures, at)[1] > at
        )

    def _named_end(self, at: int) -> int:
        """Where the name of an architecture that begins at ``at`` ends; ``at`` when there is none."""
        if at >= len(self._tokens):
            return at
        end = self._family_at(at)[1]
        if end == at:
            token = self._tokens[at]
            named = token.kind == "name" or (
                token.kind == "word" and self._vocabulary.families.get(self._parts(token.text)[0]) is not None
            )
            end = at + named
        return self._name_end(end) if end > at else at

    def _name_end(self, end: int) -> int:
        while end < len(self._tokens) and (self._is_size(end) or self._tokens[end].glued):
            end += 1
        return end

    def _alternative(self, at: int) -> int:
        """``alternatives to ResNet-18``: another network is wanted, so its name is not searched for; ``to transformers``: no attention."""
        start = self._phrase(ALTERNATIVES, at)[1]
        if start > at and not self._family_at(self._skip(start, DETERMINERS))[0]:
            item, stop = self._excluded(start)
            if isinstance(item, Has):
                self._conditions.append(Not(item))
                return stop
        end = self._named_end(self._skip(start, DETERMINERS)) if start > at else at
        if end == at or end <= start:
            return at
        self._notes.append(
            f"'{self._text[self._tokens[start].start : self._tokens[end - 1].end]}' is what alternatives are wanted to: not searched for"
        )
        return end

    def _in(self, at: int, keys: Collection[str]) -> bool:
        return at < len(self._tokens) and self._tokens[at].kind == "word" and self._tokens[at].key in keys

    def _phrase(self, table: Mapping[str, str], at: int) -> tuple[str, int]:
        return phrase(table, self._tokens, at)

    def _family_at(self, at: int) -> tuple[str, int]:
        """The family whose name begins at ``at``, spelled as it is or in the plural, and where the name ends."""
        families, plain, key = self._vocabulary.families, "", ""
        found, end = "", at
        for i in range(at, min(at + 6, len(self._tokens))):
            if self._tokens[i].kind not in ("word", "number"):
                break
            plain += self._tokens[i].text.lower()
            key += self._tokens[i].key
            if name := families.get(plain) or families.get(key):
                found, end = name, i + 1
        return found, end

    def _skip(self, at: int, keys: Collection[str]) -> int:
        while self._in(at, keys):
            at += 1
        return at

    def _call(self, at: int) -> int:
        """``has(...)`` and ``known(...)`` as in an expression."""
        token = self._tokens[at]
        if token.kind != "call":
            return at
        try:
            self._conditions.append(parse(token.text))
        except QueryError as error:
            self._notes.append(f"'{token.text}' is not used: {error}")
        return at + 1

    def _inline(self, at: int) -> int:
        """``family:resnet``, ``task = image-classification``."""
        name, end = self._phrase(self._vocabulary.spellings, at)
        if not name or FACTS[name].kind not in ("text", "set") or end + 1 >= len(self._tokens):
            return at
        sign, value = self._tokens[end], self._tokens[end + 1]
        if sign.text not in ("=", "==", ":", "!=") or value.kind == "mark" or (sign.text == ":" and value.start > sign.end):
            return at
        stop = end + 2
        while stop < len(self._tokens) and self._tokens[stop].glued:
            stop += 1
        word = self._text[value.start : self._tokens[stop - 1].end]
        if name == "task" and (task := self._phrase(self._vocabulary.tasks, end + 1))[0]:
            word, stop = task[0].split(",")[0], task[1]
        asked = find_operator(word) if name == "ops" else find_motif(word) if name == "motifs" else None
        if name in ("ops", "motifs") and asked is None:
            return at
        condition: Expression = OneOf(name, (word,)) if asked is None else HasMotif(asked) if is_mined(asked) else Has(asked)
        self._conditions.append(Not(condition) if sign.text == "!=" else condition)
        return stop

    def _number(self, at: int) -> int:
        found = self._numbers.read(
            at,
            after_noun=bool(self._kept)
            and self._kept[-1] == at - 1
            and at - 1 not in self._named
            and not self._understood(at - 1),
        )
        if found is None:
            return at
        self._notes.extend(found.notes)
        if found.condition is None:
            self._kept.extend(i for i in range(at, found.end) if self._tokens[i].kind != "mark")
        else:
            self._conditions.append(found.condition)
        return found.end

    def _negation(self, at: int) -> int:
        """``without A, B or C``; ``not resnet``; ``not from timm``; ``not too large``."""
        start = self._phrase(NEGATIONS, at)[1]
        if start == at:
            return at
        item, end = self._excluded(start)
        if item is None and (verb := self._phrase(WITH, start)[1]) > start:  # not relying on
            item, end = self._excluded(verb)
        if item is None:
            item, end = self._excluded_amount(start)
        if isinstance(item, Has) and (only := self._only(end, OTHERS)) > end:
            return only
        if item is None:
            return self._opposite(at, start)
        while item is not None:
            self._conditions.append(Not(item))
            at = end
            item, end = self._excluded(self._next_in_list(at))
        return at

    def _excluded(self, at: int) -> tuple[Expression | None, int]:
        at = self._skip(at, DETERMINERS)
        if (end := self._phrase(TRANSFORMERS, at)[1]) > at and self._family_at(at)[1] <= end:
            return Has("attention"), self._skip(end, THING_NOUNS | PART_NOUNS)
        operator, end = self._operator(at)
        if operator is not None:
            return operator, self._skip(end, THING_NOUNS)
        family, end = self._family_at(at)
        if family and not (end < len(self._tokens) and (self._tokens[end].kind == "number" or self._tokens[end].glued)):
            return OneOf("family", (family,)), self._skip(end, THING_NOUNS)
        source, end = self._sourced(at)
        if not source:
            source, end = self._phrase(self._vocabulary.sources, at)
        if source:
            return OneOf("source", (source,)), end
        if (start := self._phrase(FOR, at)[1]) > at and (task := self._phrase(self._vocabulary.for_tasks, start))[0]:
            return OneOf("task", tuple(task[0].split(","))), task[1]
        return None, at

    def _excluded_amount(self, at: int) -> tuple[Expression | None, int]:
        """``not from 2020``, ``not 12 heads``."""
        found = self._numbers.read(at) if at < len(self._tokens) else None
        if found is None or found.condition is None:
            return None, at
        self._notes.extend(found.notes)
        return found.condition, found.end

    def _opposite(self, at: int, start: int) -> int:
        wish, end = self._phrase(self._vocabulary.soft, self._skip(start, TOO))
        if wish:
            self._prefer.setdefault(wish[1:], "lower" if wish[0] == "+" else "higher")
            return end
        if start < len(self._tokens) and self._tokens[start].kind in ("word", "name") and not self._in(start, FILLERS):
            stop = start + 2 if start + 1 < len(self._tokens) and self._tokens[start + 1].kind == "word" else start + 1
            said = " ".join(token.text for token in self._tokens[at:stop])
            self._notes.append(f"'{said}' is not understood as a constraint: not used as a filter")
        return start

    def _next_in_list(self, at: int) -> int:
        """Where the next item of a list would begin. A comma continues it only if an ``or`` or ``and`` item follows later."""
        if self._in(at, AND | OR):
            return at + 1
        if at < len(self._tokens) and self._tokens[at].text == ",":
            if self._in(at + 1, AND | OR):
                return at + 2
            end = self._operator(at + 1)[1]
            if end > at + 1 and (self._in(end, AND | OR) or self._next_in_list(end) > end):
                return at + 1
        return len(self._tokens)

    def _operator(self, at: int) -> tuple[Expression | None, int]:
        if at < len(self._tokens) and is_mined(self._tokens[at].text):
            return HasMotif(self._tokens[at].text.lower()), at + 1
        name, end = self._phrase(self._vocabulary.operators, at)
        if not name:
            return None, at
        end = self._skip(end, PART_NOUNS)
        # A noun that changes the meaning, or a name that goes on (attention-free), makes it another thing.
        if self._in(end, MODIFIED) or self._in(end, word_keys("free|less")):
            return None, at
        if self._family_at(at)[1] > end or self._phrase(self._vocabulary.measures, at)[1] > end:
            return None, at
        kin = self._vocabulary.kin.get(name, ())
        return Or((Has(name), OneOf("family", tuple(kin)))) if kin else Has(name), end

    def _free(self, at: int) -> int:
        """``attention-free`` and ``attention-based``."""
        name, end = self._phrase(self._vocabulary.operators, at)
        if self._tokens[at].key.endswith("less") and (name := self._vocabulary.operators.get(self._tokens[at].key[:-4], "")):
            self._conditions.append(Not(Has(name)))
            return at + 1
        if not name or not self._in(end, word_keys("free|based")):
            return at
        self._conditions.append(Not(Has(name)) if self._tokens[end].key == "free" else Has(name))
        return end + 1

    def _only(self, at: int, opening: Mapping[str, str] = ONLY) -> int:
        """``only ReLU``, ``ReLU only``: the operator, and no other of its family that people choose between."""
        start = self._phrase(opening, at)[1]
        name, end = self._phrase(self._vocabulary.operators, start)
        if start == at and name:
            start, end = end, self._phrase(opening, end)[1]
        if start in (at, end) or name not in _CHOICES:
            return at
        self._conditions.append(Has(name))
        self._conditions.extend(Not(Has(other)) for other in _CHOICES[name] if other != name)
        return self._skip(end, PART_NOUNS)

    def _convnet(self, at: int) -> int:
        """``CNN``, ``purely convolutional``: convolutions and no attention; ``transformer``: attention."""
        end = self._phrase(CONVNETS, at)[1]
        transformer = end == at
        if transformer:
            end = self._phrase(TRANSFORMERS, at)[1]
        glued = end < len(self._tokens) and self._tokens[end].glued
        if end == at or self._family_at(at)[1] >= end or glued or self._tokens[at].glued:
            return at
        if self._kept and self._kept[-1] == at - 1 and at - 1 in self._named:
            return at  # "swin transformer" by another name
        self._conditions.extend([Has("attention")] if transformer else [Has("conv"), Not(Has("attention"))])
        self._hints.append("transformer" if transformer else "convnet")
        return self._skip(end, THING_NOUNS)

    def _structure(self, at: int) -> int:
        """``squeeze-excite networks``: a name of a structure that means nothing else is one, even without "with"."""
        name, end = self._phrase(self._vocabulary.bare, at)
        glued = end < len(self._tokens) and self._tokens[end].glued
        if not name or self._operator(at)[0] is None or self._family_at(at)[1] > end or glued or self._tokens[at].glued:
            return at
        short = len(self._tokens[at].text) < 3 and end == at + 1
        if short and not self._in(end, THING_NOUNS | PART_NOUNS):
            return at
        return self._listed(self._operator(at)[0], self._skip(self._skip(end, PART_NOUNS), THING_NOUNS))

    def _pair(self, at: int) -> int:
        """``attention and convolution``: two structures side by side are both wanted."""
        item, end = self._operator(at)
        if item is None or not self._in(end, AND) or self._operator(end + 1)[0] is None or self._family_at(at)[1] > at:
            return at
        return self._listed(item, end)

    def _listed(self, item: Expression | None, end: int) -> int:
        """``item`` and those that follow it after ``and``, as conditions."""
        at = end
        while item is not None:
            self._conditions.append(item)
            self._hints.extend(str(getattr(item, "name", "")).split("_"))
            at = self._skip(end, THING_NOUNS)
            item, end = self._operator(self._skip(at + 1, DETERMINERS)) if self._in(at, AND) else (None, at)
        return at

    def _device(self, at: int) -> int:
        """``on a CPU`` says where a time or a speed is measured; by itself it says nothing."""
        return self._phrase(DEVICES, at)[1]

    def _with(self, at: int) -> int:
        """``with A, B and C``; ``with A or B``."""
        start = self._phrase(WITH, at)[1]
        if start == at:
            return at
        item, end = self._operator(self._skip(start, DETERMINERS))
        items: list[Expression] = []
        joints: set[str] = set()
        while item is not None:
            items.append(item)
            self._hints.extend(str(getattr(item, "name", "")).split("_"))
            at = end
            start = self._next_in_list(at)
            joints |= {token.key for token in self._tokens[at:start]} if start < len(self._tokens) else set()
            item, end = self._operator(self._skip(start, DETERMINERS))
        if items:
            self._conditions.extend([Or(tuple(items))] if len(items) > 1 and "or" in joints else items)
        return at

    def _sourced(self, at: int) -> tuple[str, int]:
        start = self._phrase(FROM, at)[1]
        source, end = self._phrase(self._vocabulary.sources, start)
        # "in transformers" is the library, "in a transformer" the design.
        if start == at or not source or (source == "transformers" and not self._tokens[end - 1].text.endswith("s")):
            return "", at
        return source, self._skip(end, word_keys("library|package|hub"))

    def _source(self, at: int) -> int:
        source, end = self._sourced(at)
        if not source and (bare := self._phrase(self._vocabulary.sources, at))[0] not in ("", "transformers", "onnx"):
            source, end = bare[0], self._skip(bare[1], THING_NOUNS | ONLY.keys())
        while source:
            self._sources.append(source)
            if len(self._sources) > 1:  # an entry has one source, so a second one is an alternative
                self._conditions = [item for item in self._conditions if not (isinstance(item, OneOf) and item.fact == "source")]
            self._conditions.append(OneOf("source", tuple(dict.fromkeys(self._sources))))
            source, after = self._phrase(self._vocabulary.sources, end + 1) if self._in(end, AND | OR) else ("", end)
            end = after if source else end
        return end

    def _task(self, at: int) -> int:
        start = self._phrase(FOR, at)[1]
        task, end = self._phrase(self._vocabulary.for_tasks if start > at else self._vocabulary.tasks, start)
        if not task or self._family_at(start)[1] > end:
            return at
        self._tasks.extend(task.split(","))
        while start > at and (following := self._next_in_list(end)) < len(self._tokens):
            task, after = self._phrase(self._vocabulary.for_tasks, following)
            if not task:
                break
            self._tasks.extend(task.split(","))
            end = after
        return self._skip(end, THING_NOUNS)

    def _modality(self, at: int) -> int:
        start = self._phrase(FOR, at)[1]
        table = self._vocabulary.for_modalities if start > at else self._vocabulary.modalities
        modality, end = self._phrase(table, start)
        if not modality or self._family_at(start)[1] > end:
            return at
        if start > at and not self._ends_phrase(end):
            return at  # "for image quality": the noun goes on
        self._hints.extend(token.text.lower() for token in self._tokens[start:end] if token.key not in ("model", "network"))
        self._conditions.append(OneOf("modality", (modality,)))
        return self._skip(end, THING_NOUNS)

    def _ends_phrase(self, at: int) -> bool:
        """Whether a noun ends before token ``at``: nothing follows, or a word that begins another phrase."""
        if at >= len(self._tokens) or self._tokens[at].kind != "word" or self._in(at, THING_NOUNS | FILLERS):
            return True
        tables = (NEGATIONS, WITH, FROM, FOR, DEVICES, self._vocabulary.soft)
        return any(self._phrase(table, at)[0] for table in tables) or self._numbers.read(at) is not None

    def _kinds(self, at: int) -> int:
        end = self._phrase(PRETRAINED, at)[1]
        if end > at:
            self._kind = "model"
            return self._skip(end, word_keys("weight|model|checkpoint"))
        if self._in(at, word_keys("architecture")) and not self._in(at + 1, word_keys("search")):
            self._kind = self._kind or "architecture"
            return at + 1
        return at

    def _family(self, at: int) -> int:
        """Names stay words; the family is noted, and a size after it belongs to the name (``convnext tiny``)."""
        family, end = self._family_at(at)
        if not family:
            return self._compound_name(at)
        self._families.setdefault(family)
        return self._name(at, end)

    def _name(self, at: int, end: int) -> int:
        end = self._name_end(end)
        self._kept.extend(range(at, end))
        self._named.update(range(at, end))
        return end

    def _is_size(self, at: int) -> bool:
        token = self._tokens[at]
        text = token.text.lower()
        sizes = ("tiny", "small", "base", "large", "huge", "giant", "mini", "nano", "big", "xl", "xs", "xxl", "medium")
        return token.kind == "word" and (
            text in sizes or text in _SIZE_LETTERS or re.fullmatch(r"[a-z]?\d+[a-z]?", text) is not None
        )

    def _compound_name(self, at: int) -> int:
        """``resnet50``, ``ViT-B/16``, and names with one letter wrong."""
        token = self._tokens[at]
        if token.kind == "name" and (inside := self._family_of(name_tokens(token.text))):
            self._families.setdefault(inside)
        if token.kind != "word" or token.key in FILLERS:
            return at
        parts = self._parts(token.text)
        if len(parts) > 1 and (family := self._vocabulary.families.get(parts[0])):
            self._families.setdefault(family)
            return self._name(at, at + 1)
        tables = (self._vocabulary.soft, self._vocabulary.operators, self._vocabulary.measures)
        right = self._vocabulary.corrected(parts[0])
        if not right or any(self._phrase(table, at)[0] for table in tables):
            return at
        self._notes.append(f"read '{parts[0]}' as '{right}'")
        self._corrections[at] = right + token.text.lower()[len(parts[0]) :]
        self._families.setdefault(self._vocabulary.families[right])
        return self._name(at, at + 1)

    def _family_of(self, parts: list[str]) -> str:
        """The family that the longest run of name parts spells."""
        for length in range(len(parts), 0, -1):
            for start in range(len(parts) - length + 1):
                if family := self._vocabulary.families.get("".join(parts[start : start + length])):
                    return family
        return ""

    def _parts(self, word: str) -> list[str]:
        """`name_tokens`, knowing families: ``efficientnetb0`` is efficientnet b0 as ``resnet50`` is resnet 50."""
        parts = name_tokens(word)
        split = _LETTERS_DIGITS.fullmatch(word.lower())
        if split and parts[0] not in self._vocabulary.families and split.group(1) in self._vocabulary.families:
            return [*split.groups()]
        return parts or [word.lower()]

    def _wish(self, at: int) -> int:
        """``small``, ``accurate``, ``few parameters``: wishes that order and never filter."""
        if (end := self._phrase(FILLER_PHRASES, at)[1]) > at:
            return end
        wish, end = self._phrase(self._vocabulary.soft, at)
        if self._in(at, LOW | HIGH):
            fact, stop = self._phrase(self._vocabulary.measures, at + 1)
            if fact in FACTS and stop > end:
                self._prefer.setdefault(fact, "lower" if self._tokens[at].key in LOW else "higher")
                return stop
        if not wish or self._phrase(self._vocabulary.operators, at)[1] > end:
            return at
        device = self._numbers.device(at) if self._in(at, SPEEDY) else ""
        if device:
            wish = "-cpu_ms" if device == "cpu" else "+gpu_throughput"
        self._prefer.setdefault(wish[1:], "lower" if wish[0] == "-" else "higher")
        if wish[1:] == "params" and self._family_at(end)[0]:
            self._kept.extend(range(at, end))  # "tiny vit" may be a name as well
        return end

    def _rest(self, at: int) -> int:
        end = at
        if self._tokens[at].kind != "mark" and not self._in(at, FILLERS):
            # An operator phrase stays whole, so that "global average pooling" is not taken apart by the words in it.
            measured = self._phrase(self._vocabulary.measures, at)[1]
            end = max(self._phrase(self._vocabulary.operators, at)[1], measured, at + 1)
            self._kept.extend(range(at, end))
            if self._tokens[at].key != "imagenet":  # imagenet-21k is the name of a data set
                self._measured.update(range(at, measured))
        return max(end, at + 1)

    def _words(self) -> str:
        """The words that are left as they were written, then other spellings of the names among them."""
        said: list[str] = []
        for group in _runs(self._kept, self._tokens):
            said.append(self._text[self._tokens[group[0]].start : self._tokens[group[-1]].end].lower())
            for i in group:
                said[-1] = said[-1].replace(self._tokens[i].text.lower(), self._corrections.get(i, self._tokens[i].text.lower()))
        seen = {word: None for text in said for word in text.split()}
        extra = [form for form in self._spellings() if not all(part in seen for part in form.split())]
        return " ".join((*said, *dict.fromkeys(extra)))

    def _spellings(self) -> Iterator[str]:
        """``resnet 50`` and ``resnet50`` for either, ``base`` for the b of ``ViT-B``, ``patch16`` for its ``/16``."""
        parts: list[tuple[str, bool]] = []
        last = -1
        for i in self._kept:
            token = self._tokens[i]
            own = self._parts(self._corrections.get(i, token.text))
            if len(own) > 1 and any(len(part) > 1 and part.isalpha() for part in own):
                yield " ".join(own)
            if token.quantity is not None and (token.text != token.digits or token.is_year):
                own = [""]  # 6M is no part of a name, and 2015 rarely
            if i > last + 1 or last in self._measured:
                parts.append(("", False))  # what stands apart, or measures something, is not one name
            last = i
            parts.extend((part, token.kind == "name" or i in self._named) for part in own)
            if token.kind == "name" and "/" in token.text and own[-1].isdigit() and len(own[-1]) == 2:
                yield f"patch{own[-1]}"
        for (left, _), (right, named) in pairwise(parts):
            if left.isalpha() and len(left) > 1 and re.fullmatch(r"\d+[a-z]*|[a-z]\d+[a-z]*", right):
                yield left + right
            if named and right in _SIZE_LETTERS and len(left) > 1:
                yield _SIZE_LETTERS[right]


def _runs(kept: list[int], tokens: list[Token]) -> Iterator[list[int]]:
    """Kept tokens in groups that were joined by hyphens."""
    group: list[int] = []
    for i in kept:
        if group and not (tokens[i].glued and group[-1] == i - 1):
            yield group
            group = []
        group.append(i)
    if group:
        yield group
