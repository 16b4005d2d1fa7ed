"""Python objects as a source: ``pkg.module:callable``, ``path/to/file.py:build``, or a live module."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from netatlas.errors import MissingExtraError, NetatlasError, SourceError, TraceError, did_you_mean
from netatlas.facts import Value
from netatlas.records import Entry
from netatlas.sources._describe import describe
from netatlas.sources._specimen import Specimen
from netatlas.sources.base import SOURCES, Source
from netatlas.targets._example_inputs import HELP, Inputs, InputSpec, guesses, parse_inputs
from netatlas.targets._restored import global_state_restored, meta_twin, module_restored, on_path

if TYPE_CHECKING:
    from torch import nn

    from netatlas.graph.trace import Traced

__all__ = ["Inputs", "PythonSource", "load_module", "parse_inputs", "read_object"]


@SOURCES.register("python-object")
class PythonSource(Source):
    """Any module by its reference; there is nothing to list. Its ids start with ``python/``."""

    name = "python"

    def names(self) -> list[str]:
        return []

    def read(self, name: str) -> list[Entry]:
        return read_object(name)

    def version(self) -> str:
        return ""


def read_object(
    reference: str | nn.Module, inputs: Inputs | Sequence[Any] | None = None, entry_id: str | None = None
) -> list[Entry]:
    """The architecture of a Python object, as one entry.

    A live module is left exactly as it was, and so are the random generators: what is traced is a copy without numbers.

    Args:
        reference: ``pkg.module:callable``, ``path/to/file.py:build`` (called without arguments), or a module.
        inputs: Example inputs from `parse_inputs`, or tensors; guessed when left out.
        entry_id: ``python/`` and the reference by default.

    Raises:
        SourceError: The reference names nothing, or nothing that is or builds a module.
        TraceError: The inputs cannot be guessed, or do not fit, or the module cannot be traced.
        MissingExtraError: torch is not installed.
    """
    _require_torch()
    given = _as_inputs(inputs)
    folder = _folder(reference) if isinstance(reference, str) else None
    with global_state_restored(), on_path(*([str(folder)] if folder else []), str(Path.cwd())):
        module = load_module(reference) if isinstance(reference, str) else reference
        if not _is_module(module):
            raise SourceError(f"not a torch.nn.Module but {_what(module)}", reason="not a module")
        label = reference if isinstance(reference, str) else type(module).__name__
        _check_lazy(module, label)
        used, traced = _trace(module, given, label)
    facts: dict[str, Value] = {"input": str(used), "module": type(module).__module__}
    specimen = Specimen(module, facts=facts)
    entry_id = entry_id or f"python/{_plain(reference, module)}"
    entry = describe(entry_id, type(module).__name__, specimen, traced)
    origins = {**entry.origins, "input": used.origin, "module": "the class of the object"}
    return [Entry(entry.id, entry.kind, entry.title, entry.text, entry.facts, origins, entry.graph, entry.evidence, entry.links)]


def load_module(reference: str) -> nn.Module:
    """The module that a reference names or builds, on the meta device where its constructor allows.

    Raises:
        SourceError: As `read_object`.
        MissingExtraError: torch is not installed.
    """
    _require_torch()
    where, colon, path = reference.rpartition(":")
    if not colon or not where or not path:
        raise SourceError(
            f"{reference!r} does not say which object: write pkg.module:callable or path/to/file.py:callable",
            reason="no such object",
        )
    folder = _folder(reference)
    with global_state_restored(), on_path(*([str(folder)] if folder else []), str(Path.cwd())):
        home = _import_file(Path(where)) if folder is not None else _import(where)
        return _build(_attribute(home, path, where), reference)


# ---------------------------------------------------------------- finding the object


def _require_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("reading a Python object", "torch")


def _folder(reference: str) -> Path | None:
    """Where the file of a ``path/to/file.py:callable`` lies; ``None`` for a dotted module."""
    where = reference.rpartition(":")[0]
    return Path(where).resolve().parent if where.endswith(".py") or "/" in where or "\\" in where else None


def _import(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise SourceError(f"{name!r} is not the name of a Python module", reason="no such object")
    importlib.invalidate_caches()  # the file may be younger than the last look at its folder
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise SourceError(f"no Python module {error.name!r}{_near_module(error.name)}", reason="no such object") from None
        raise SourceError(f"importing {name} failed: {_line(error)}", reason="raises") from error
    except (Exception, SystemExit) as error:  # whatever the top level of a foreign file raises
        raise SourceError(f"importing {name} failed: {_line(error)}", reason="raises") from error


def _near_module(name: str) -> str:
    import pkgutil

    parent, _, last = name.rpartition(".")
    path = getattr(sys.modules.get(parent), "__path__", None) if parent else None
    siblings = [m.name for m in pkgutil.iter_modules(path)] if path is not None or not parent else []
    hint = did_you_mean(last, siblings)
    return hint or f" (looked in {Path.cwd()} and the installed packages)"


def _import_file(path: Path) -> ModuleType:
    """The module in a file, imported under a name that no other module has."""
    if not path.is_file():
        siblings = [x.name for x in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise SourceError(f"no such file: {str(path)!r}{did_you_mean(path.name, siblings)}", reason="no such object")
    digest = hashlib.blake2b(str(path.resolve()).encode(), digest_size=4).hexdigest()
    name = f"netatlas_file_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SourceError(f"{path}: is not a Python file", reason="no such object")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and copying look classes up by their module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise SourceError(f"importing {path} failed: {_line(error)}", reason="raises") from error
    return module


def _attribute(home: ModuleType, path: str, where: str) -> Any:
    value: Any = home
    done = where
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            names = [name for name in dir(value) if not name.startswith("_")]
            raise SourceError(f"{done} has no attribute {part!r}{did_you_mean(part, names)}", reason="no such object") from None
        except Exception as error:  # a property
            raise SourceError(f"{done}.{part} raises {_line(error)}", reason="raises") from error
        done = f"{done}.{part}"
    return value


# ---------------------------------------------------------------- building it


def _build(value: Any, reference: str) -> nn.Module:
    from netatlas.sources._meta import build_on_meta

    if _is_module(value):
        return value  # type: ignore[no-any-return]
    if not callable(value):
        raise SourceError(
            f"{reference} is {_what(value)}, not a torch.nn.Module or something that builds one", reason="not a module"
        )
    missing = _missing_arguments(value)
    if missing:
        raise SourceError(
            f"{reference} needs arguments ({', '.join(missing)}): name a function without arguments that builds it",
            reason="needs arguments",
        )
    try:
        module: Any = build_on_meta(lambda: _checked(value(), reference))
    except NetatlasError:
        raise
    except (Exception, SystemExit) as first:  # it may be the meta device it cannot do with: once more as its author runs it
        try:
            module = _checked(value(), reference)
        except NetatlasError:
            raise
        except (Exception, SystemExit) as error:
            raise SourceError(f"{reference} raises {_line(error)}", reason="raises") from first
    return module  # type: ignore[no-any-return]


def _checked(value: Any, reference: str) -> Any:
    if not _is_module(value):
        raise SourceError(f"{reference} returns {_what(value)}, not a torch.nn.Module", reason="not a module")
    return value


def _missing_arguments(value: Any) -> list[str]:
    """Parameters of a callable that have no default, without ``self``."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):  # built in: calling it will tell
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is inspect.Parameter.empty and p.kind not in variadic]


def _is_module(value: Any) -> bool:
    from torch import nn

    return isinstance(value, nn.Module)


def _what(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, ModuleType):
        return f"the Python module {value.__name__}"
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _check_lazy(module: nn.Module, label: str) -> None:
    from torch.nn.parameter import is_lazy

    for name, child in module.named_modules():
        if any(is_lazy(t) for t in (*child.parameters(recurse=False), *child.buffers(recurse=False))):
            where = f"{name} ({type(child).__name__})" if name else type(child).__name__
            raise TraceError(
                f"{label}: {where} is lazy, its shape is not known before the first call: "
                "call the module once, or give the layer its sizes",
                reason="lazy module",
            )


# ---------------------------------------------------------------- tracing it


def _as_inputs(inputs: Inputs | Sequence[Any] | None) -> Inputs | None:
    """Inputs of any spelling as shapes."""
    import torch

    if inputs is None or isinstance(inputs, Inputs):
        return inputs if inputs is None or inputs.specs else None
    values: list[Any] = [inputs] if isinstance(inputs, (torch.Tensor, str)) else list(inputs)
    if values and all(isinstance(value, str) for value in values):
        return parse_inputs(values)
    if not all(isinstance(value, torch.Tensor) for value in values):
        raise TraceError("inputs must be tensors, or shapes such as '1,3,224,224'", reason="bad inputs")
    return Inputs(tuple(InputSpec(tuple(v.shape), str(v.dtype).removeprefix("torch.")) for v in values)) if values else None


def _trace(module: nn.Module, given: Inputs | None, label: str) -> tuple[Inputs, Traced]:
    """The inputs that worked and the graph, from a copy without numbers where it can be made, else from the restored original."""
    from netatlas.graph.trace import trace

    try:
        subject, device = meta_twin(module), "meta"
    except Exception:  # something in it cannot be copied: look at the original and put everything back
        subject, device = module, _device(module)
    with module_restored(subject):
        subject.eval()
        candidates = [given] if given is not None else guesses(subject, label)
        used, problem = _first_accepted(subject, candidates, device)
        if used is None and device == "meta" and _has_numbers(module):
            # It may look at values, which a copy without numbers does not have.
            with module_restored(module):
                module.eval()
                used, real_problem = _first_accepted(module, candidates, _device(module))
                if used is not None:
                    args, kwargs = used.tensors(_device(module))
                    return used, _traced(trace, module, args, kwargs, label)
                problem = real_problem
        elif used is None and device == "meta" and "meta" in problem.lower():
            used = candidates[0]  # the tracer's last rung runs small modules with random numbers
        if used is None:
            raise _not_accepted(label, candidates, given, problem)
        args, kwargs = used.tensors(device)
        return used, _traced(trace, subject, args, kwargs, label)


def _traced(trace: Any, module: nn.Module, args: Any, kwargs: Any, label: str) -> Traced:
    try:
        return trace(module, args, kwargs)  # type: ignore[no-any-return]
    except TraceError as error:
        text = str(error)
        raise TraceError(text if label in text else f"{label}: {text}", reason=error.reason) from error


def _first_accepted(module: nn.Module, candidates: Sequence[Inputs], device: str) -> tuple[Inputs | None, str]:
    """The first inputs with which a forward pass runs, or ``None`` and the first problem."""
    import torch

    problem = ""
    for inputs in candidates:
        args, kwargs = inputs.tensors(device)
        try:
            with module_restored(module), torch.no_grad():
                module(*args, **kwargs)
        except Exception as error:  # whatever a foreign forward raises
            problem = problem or _line(error)
            continue
        return inputs, ""
    return None, problem


def _not_accepted(label: str, candidates: Sequence[Inputs], given: Inputs | None, problem: str) -> TraceError:
    if given is not None:
        return TraceError(f"{label} does not accept the input {given}: {problem}", reason="bad inputs")
    tried = f"the inputs that were guessed for it ({candidates[0]}{', ...' if len(candidates) > 1 else ''})"
    return TraceError(f"{label} does not accept {tried}: {problem}: {HELP}", reason="needs inputs")


def _has_numbers(module: nn.Module) -> bool:
    from itertools import chain

    return not any(t.is_meta for t in chain(module.parameters(), module.buffers()))


def _device(module: nn.Module) -> str:
    from itertools import chain

    return next((str(t.device) for t in chain(module.parameters(), module.buffers())), "cpu")


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _plain(reference: str | nn.Module, module: nn.Module) -> str:
    """The reference as part of an id: a file by its stem, a live module by its class."""
    if not isinstance(reference, str):
        kind = type(module)
        reference = f"{kind.__module__}:{kind.__qualname__}"
    where, _, path = reference.rpartition(":")
    where = Path(where.replace("\\", "/")).stem if where.endswith(".py") else where
    return re.sub(r"[^\w.+:-]+", "-", f"{where}:{path}", flags=re.ASCII).strip("-")
