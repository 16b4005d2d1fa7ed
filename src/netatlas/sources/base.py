"""The interface of sources: things that yield entries from one place."""

from __future__ import annotations

from abc import ABC, abstractmethod

from netatlas.records import Entry
from netatlas.registry import Registry


class Source(ABC):
    """Yields entries from one place: an installed library, a file, a Python object.

    A library source lists names cheaply and reads one name at a time in whatever process it is asked to, so that builds can
    be spread and resumed; ``read`` depends on the name and the installed version alone.
    """

    name: str
    """Registered name, which is also the first part of the ids it yields."""

    @abstractmethod
    def names(self) -> list[str]:
        """All names the source can read, sorted."""

    @abstractmethod
    def read(self, name: str) -> list[Entry]:
        """The architecture called ``name`` with its graph, followed by its pretrained models.

        Raises:
            SourceError: The name cannot be built; ``reason`` is its category in the build report.
            TraceError: It was built but could not be traced.
        """

    @abstractmethod
    def version(self) -> str:
        """Version of what is read; an entry is read again when it changes."""


SOURCES: Registry[Source] = Registry("sources", "netatlas.sources")
