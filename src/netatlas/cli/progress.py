"""Progress of measurements on stderr: a bar on a terminal, a line each elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from netatlas.evaluation.nar.measure import Step


class Measuring(AbstractContextManager["Measuring"]):
    """Shows finished measurements with the time that the others will take at the pace of those that were not kept already."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._measured = 0
        self._last: Step | None = None
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Measuring:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("reading graphs", total=None, left="")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            done = f"{self._last.done} of {self._last.total} measurements are" if self._last else "nothing is"
            click.echo(f"{done} kept; the same command goes on from here", err=True)

    def step(self, step: Step) -> None:
        """Show one finished measurement."""
        self._last = step
        self._measured += not step.resumed
        left = self._left(step)
        if self._bar is not None:
            self._bar.console.print(step.what + (" (kept)" if step.resumed else ""), markup=False, highlight=False)
            self._bar.update(self._task, completed=step.done, total=step.total, description="measuring", left=left)
        else:
            click.echo(f"{step.done}/{step.total} {step.what}{' (kept)' if step.resumed else ''}{left and ', ' + left}", err=True)

    def _left(self, step: Step) -> str:
        if not self._measured or step.done == step.total:
            return ""
        seconds = (time.monotonic() - self._began) / self._measured * (step.total - step.done)
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"
