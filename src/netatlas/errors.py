"""The error tree: every error a user can cause is a `NetatlasError` with a one-line message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NetatlasError(Exception):
    """Base of all errors netatlas raises on purpose.

    The message says what was wrong, the value, what is allowed and the nearest right thing, on one line. ``exit_code`` is what
    the command line returns: 1 for things that do not exist or cannot be read, 2 for misuse.
    """

    exit_code = 1


class ConfigError(NetatlasError):
    """A component was asked for or constructed with arguments it does not accept."""

    exit_code = 2


class QueryError(NetatlasError):
    """A query, a ``--where`` expression or a command line option could not be understood."""

    exit_code = 2


class UnknownIdError(NetatlasError):
    """No entry has this id; the message names the nearest ones."""


class GraphError(NetatlasError):
    """A graph is malformed: cyclic, inconsistent, or its bytes were damaged."""


class TraceError(NetatlasError):
    """A module could not be turned into an operator graph.

    Attributes:
        reason: A short category for the report at the end of a build, such as ``"needs inputs"``.
    """

    def __init__(self, message: str, *, reason: str = "trace failed") -> None:
        super().__init__(message)
        self.reason = reason


class SourceError(NetatlasError):
    """A source could not yield an entry: a bad file, an object that raises, a model type without a default.

    Attributes:
        reason: A short category for the report at the end of a build, such as ``"no default config"``.
    """

    def __init__(self, message: str, *, reason: str = "not readable") -> None:
        super().__init__(message)
        self.reason = reason


class StoreError(NetatlasError):
    """The atlas file cannot be opened, read or written."""


class MissingExtraError(NetatlasError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install 'netatlas[{extra}]'")


def nearest(name: str, choices: Iterable[str], n: int = 3) -> list[str]:
    """The up to ``n`` choices that look most like ``name``, best first; compared without case."""
    lowered = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), lowered, n=n, cutoff=0.55)
    return [lowered[choice] for choice in found]


def did_you_mean(name: str, choices: Iterable[str], n: int = 3) -> str:
    """A suffix for error messages, ``": did you mean 'params'?"``, or the empty string when nothing is near."""
    found = nearest(name, choices, n)
    return f": did you mean {' or '.join(repr(choice) for choice in found)}?" if found else ""
