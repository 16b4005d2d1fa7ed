"""Components by name: a file in the kind's folder is a component, found by its file name, imported when asked for."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from netatlas.errors import ConfigError, MissingExtraError, did_you_mean

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Spec:
    """A component as data: its registered name and the keyword arguments of its constructor."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Spec:
        """``name:param=value,param=value`` as people write it; values are Python literals, anything else is text.

        Raises:
            ConfigError: A parameter has no name or no value, or is given twice.
        """
        name, _, rest = text.partition(":")
        params: dict[str, Any] = {}
        for part in re.split(r",(?![^(\[]*[)\]])", rest) if rest else []:
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or not key.isidentifier() or not value or key in params:
                raise ConfigError(f"cannot read {part!r} in {text!r}: write NAME:param=value,param=value, each parameter once")
            try:
                params[key] = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                params[key] = value
        return cls(name.strip(), params)


class Registry(Generic[T]):
    """Names to components of one kind, without importing them.

    A file ``wl_histogram.py`` in the kind's folder registers ``"wl-histogram"`` with `register`; names are listed from
    file names (``base.py`` and files with a leading underscore are shared parts), and a look-up imports that one file.
    Plug-ins use the entry-point group ``netatlas.<kind>``.

    Args:
        kind: Plural noun of the kind, for messages and the entry-point group, such as ``"sources"``.
        package: Dotted name of the folder that holds the components.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._makers: dict[str, Callable[..., T]] = {}

    def register(self, name: str) -> Callable[[F], F]:
        """Decorator that makes ``name`` build the decorated class or function."""

        def add(maker: F) -> F:
            self._makers[name] = maker
            return maker

        return add

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._files(), *self._plugins(), *self._makers}))

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def build(self, spec: Spec | str, **given: Any) -> T:
        """The component that ``spec`` names, constructed with its parameters and ``given``.

        Raises:
            ConfigError: No component has that name, or its constructor does not take one of the parameters.
        """
        spec = Spec(spec) if isinstance(spec, str) else spec
        maker = self.maker(spec.name)
        arguments = {**spec.params, **given}
        allowed = set(inspect.signature(maker).parameters)
        for key in arguments:
            if key not in allowed:
                raise ConfigError(f"{spec.name}: unknown parameter {key!r}{did_you_mean(key, allowed)}")
        return maker(**arguments)

    def maker(self, name: str) -> Callable[..., T]:
        """The class or function registered as ``name``, importing its file when needed.

        Raises:
            ConfigError: No component has that name.
            MissingExtraError: It needs torch, which is not installed.
        """
        if name not in self._makers:
            if name in self._files():
                self._import(name)
            elif name in (plugins := self._plugins()):
                self._makers.setdefault(name, plugins[name].load())
        if name not in self._makers:
            known = ", ".join(self)
            raise ConfigError(f"no {self.kind} named {name!r} (there are: {known}){did_you_mean(name, self)}")
        return self._makers[name]

    def _import(self, name: str) -> None:
        try:
            importlib.import_module(f"{self._package}.{name.replace('-', '_')}")
        except ModuleNotFoundError as error:
            if error.name in ("torch", "jaxtyping"):
                raise MissingExtraError(f"{name} ({self.kind})", "torch") from error
            raise

    def _files(self) -> set[str]:
        spec = importlib.util.find_spec(self._package)
        assert spec is not None
        assert spec.origin is not None
        found = pkgutil.iter_modules([str(Path(spec.origin).parent)])
        return {m.name.replace("_", "-") for m in found if m.name != "base" and not m.name.startswith("_")}

    def _plugins(self) -> dict[str, importlib.metadata.EntryPoint]:
        return {point.name: point for point in importlib.metadata.entry_points(group=f"netatlas.{self.kind}")}
