"""The glossary: families of architectures with their names, papers and one sentence each, and which ids belong to them."""

from __future__ import annotations

import fnmatch
import functools
import importlib.resources
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields

from netatlas.errors import ConfigError, did_you_mean

FIRST_YEAR = 1940
"""No neural architecture is older (McCulloch and Pitts wrote in 1943); catches mistyped years."""

_KEY = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_ARXIV = re.compile(r"\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7}")
_WILDCARD = re.compile(r"\[[^\]]*\]|[*?]")


@dataclass(frozen=True)
class Family:
    """One family of architectures.

    Attributes:
        key: Canonical name in lower case with underscores; the value of the fact ``family``.
        name: Name for people.
        aliases: Other words people type, each of one family only.
        title: Title of the paper, ``""`` when there is none.
        arxiv: arXiv id without version, ``""`` when the paper is not on arXiv or there is none.
        url: Where to read about it when there is no arXiv id, or ``""``.
        year: When the paper (or, without one, the code) first appeared.
        sentence: What distinguishes the design.
        traits: Short search words such as ``"convnet"``.
        members: fnmatch patterns over the ids of architectures, without pretrained tags.
    """

    key: str
    name: str
    aliases: tuple[str, ...]
    title: str
    arxiv: str
    url: str
    year: int
    sentence: str
    traits: tuple[str, ...]
    members: tuple[str, ...]

    @property
    def link(self) -> str:
        """Address of the paper or, without one, of the page that describes the family; ``""`` when there is neither."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else self.url


class Glossary:
    """All families, and the way from an entry's id to its family.

    Args:
        families: In any order; keys are unique, and so are aliases without regard to case.

    Raises:
        ConfigError: Two families share a key, an alias or a pattern; the message names both.
    """

    def __init__(self, families: Iterable[Family]) -> None:
        listed = tuple(families)
        _refuse_shared(listed, "key", lambda family: (family.key,))
        _refuse_shared(listed, "aliases", lambda family: {alias.casefold() for alias in family.aliases})
        _refuse_shared(listed, "members", lambda family: family.members)
        self.families: dict[str, Family] = {family.key: family for family in listed}
        self._matchers = _matchers(listed, dotted=False)
        self._dotted = _matchers(listed, dotted=True)
        self._found: dict[str, Family | None] = {}

    def family_of(self, entry_id: str) -> Family | None:
        """The family of an entry, ``None`` when no pattern matches.

        The pattern with most literal characters wins; among equals, the family whose key comes first in the alphabet. A model
        (``timm/resnet50.a1_in1k``) belongs to its architecture's family: what follows the first dot is left out, unless a pattern
        with a dot of its own matches the whole id (``transformers/kosmos-2.5``). An id costs some ten microseconds once.
        """
        if entry_id not in self._found:
            whole = _match(self._dotted, entry_id) if "." in entry_id else None
            self._found[entry_id] = whole or _match(self._matchers, entry_id.partition(".")[0])
        return self._found[entry_id]

    @staticmethod
    def search_text(family: Family) -> str:
        """Words to index a family's members by: names, aliases, paper title, traits and the sentence."""
        spaced = (family.key.replace("_", " "), *(trait.replace("-", " ") for trait in family.traits))
        parts = (family.name, family.key, *family.aliases, family.title, *family.traits, *spaced, family.sentence)
        return ". ".join(dict.fromkeys(part for part in parts if part))


@functools.cache
def load() -> Glossary:
    """The glossary that comes with netatlas, read once in a process.

    Raises:
        ConfigError: ``families.toml`` is malformed; the message names the table and the field.
    """
    return parse((importlib.resources.files("netatlas") / "data" / "families.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Glossary:
    """The glossary that a TOML document describes: one table for each family, named by its key.

    Raises:
        ConfigError: The document is no TOML, or a table is malformed; the message names the table and the field.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"families.toml is not valid TOML: {error}") from error
    return Glossary(_family(key, table) for key, table in tables.items())


def _family(key: str, table: object) -> Family:
    if not _KEY.fullmatch(key):
        raise _fault(key, "key", "lower-case letters and digits, joined by single underscores")
    if not isinstance(table, Mapping):
        raise _fault(key, "key", f"a table, not {table!r}")
    allowed = [field.name for field in fields(Family) if field.name != "key"]
    for field in table:
        if field not in allowed:
            raise ConfigError(f"families.toml [{key}]: unknown field {field!r}{did_you_mean(field, allowed)}")
    return Family(
        key=key,
        name=_text(key, table, "name", required=True),
        aliases=_words(key, table, "aliases"),
        title=_text(key, table, "title"),
        arxiv=_arxiv(key, table),
        url=_url(key, table),
        year=_year(key, table),
        sentence=_text(key, table, "sentence", required=True),
        traits=_words(key, table, "traits", required=True),
        members=_members(key, table),
    )


def _fault(key: str, field: str, expected: str) -> ConfigError:
    return ConfigError(f"families.toml [{key}]: field {field!r} must be {expected}")


def _text(key: str, table: Mapping[str, object], field: str, *, required: bool = False) -> str:
    value = table.get(field, "")
    if not isinstance(value, str) or value != value.strip() or "\n" in value:
        raise _fault(key, field, f"one line of text without spaces around it, not {value!r}")
    if (required or field in table) and not value:
        raise _fault(key, field, "given and not empty")
    return value


def _words(key: str, table: Mapping[str, object], field: str, *, required: bool = False) -> tuple[str, ...]:
    value = table.get(field, [])
    if not isinstance(value, list) or not all(isinstance(word, str) and word and word == word.strip() for word in value):
        raise _fault(key, field, f"a list of words, not {value!r}")
    if required and not value:
        raise _fault(key, field, "given and not empty")
    if len({word.casefold() for word in value}) < len(value):
        raise _fault(key, field, f"without repetitions, not {value!r}")
    return tuple(value)


def _arxiv(key: str, table: Mapping[str, object]) -> str:
    value = _text(key, table, "arxiv")
    if value and not _ARXIV.fullmatch(value):
        raise _fault(key, "arxiv", f"an arXiv id without version such as '1512.03385', not {value!r}")
    if value and not table.get("title"):
        raise _fault(key, "title", "given when there is an arXiv id")
    return value


def _url(key: str, table: Mapping[str, object]) -> str:
    value = _text(key, table, "url")
    if value and not value.startswith("https://"):
        raise _fault(key, "url", f"an address that starts with https://, not {value!r}")
    return value


def _year(key: str, table: Mapping[str, object]) -> int:
    value = table.get("year")
    if not isinstance(value, int) or isinstance(value, bool) or value < FIRST_YEAR:
        raise _fault(key, "year", f"a year from {FIRST_YEAR} on, not {value!r}")
    return value


def _members(key: str, table: Mapping[str, object]) -> tuple[str, ...]:
    patterns = _words(key, table, "members", required=True)
    for pattern in patterns:
        source, slash, rest = pattern.partition("/")
        if not slash or not rest or not source or _WILDCARD.search(source):
            raise _fault(key, "members", f"patterns that start with a source, such as 'timm/resnet*', not {pattern!r}")
    return patterns


def _refuse_shared(families: tuple[Family, ...], field: str, values: Callable[[Family], Iterable[str]]) -> None:
    owners: dict[str, str] = {}
    for family in families:
        for value in values(family):
            if value in owners:
                raise ConfigError(f"families.toml [{family.key}]: {value!r} in {field!r} is already taken by [{owners[value]}]")
            owners[value] = family.key


def _literals(pattern: str) -> int:
    return len(_WILDCARD.sub("", pattern))


Matcher = tuple[re.Pattern[str], tuple[Family, ...]]
"""One expression with a group for each pattern, best first, and the family of each group."""


def _matchers(families: tuple[Family, ...], *, dotted: bool) -> dict[str, Matcher]:
    """A matcher for each source, of the patterns that have a dot or of those that have none.

    Alternatives of a regular expression are tried in order, so the first that matches is the winner, and one C call replaces
    hundreds of Python ones.
    """
    ranked = sorted(
        ((pattern, family) for family in families for pattern in family.members if ("." in pattern) == dotted),
        key=lambda pair: (-_literals(pair[0]), pair[1].key),
    )
    by_source: dict[str, list[tuple[str, Family]]] = {}
    for pattern, family in ranked:
        by_source.setdefault(pattern.partition("/")[0], []).append((pattern, family))
    return {
        source: (re.compile("|".join(f"({fnmatch.translate(pattern)})" for pattern, _ in pairs)), tuple(f for _, f in pairs))
        for source, pairs in by_source.items()
    }


def _match(matchers: Mapping[str, Matcher], entry_id: str) -> Family | None:
    matcher = matchers.get(entry_id.partition("/")[0])
    if matcher is None:
        return None
    pattern, winners = matcher
    found = pattern.fullmatch(entry_id)
    # translated fnmatch patterns have no capturing groups of their own, so the group that took part is the winner's
    return winners[found.lastindex - 1] if found and found.lastindex else None
