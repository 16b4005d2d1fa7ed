"""``netatlas build``."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from netatlas.cli.output import say, say_json

if TYPE_CHECKING:
    from netatlas.atlas.build_report import Step

LIBRARIES = ("timm", "torchvision", "transformers")


@click.command()
@click.option("--only", multiple=True, type=click.Choice(LIBRARIES), help="Build from this library only; may be repeated.")
@click.option("--match", help="Only names that fit this pattern: 'resnet*'.")
@click.option("--out", type=click.Path(dir_okay=False), help="The atlas to build, by default your own.")
@click.option(
    "--engine", type=click.Choice(["serial", "loky", "ray"]), default="loky", show_default=True, help="Where networks are traced."
)
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes, by default one for each usable processor.")
@click.option("--address", help="Address of a Ray cluster; without it Ray starts locally.")
@click.option(
    "--timeout", type=click.FloatRange(min=1), default=600.0, show_default=True, help="Seconds a single network may take."
)
@click.option("--limit", type=click.IntRange(min=1), help="At most this many networks.")
@click.option("--rebuild", is_flag=True, help="Also what is up to date.")
@click.option("--retry-failed", is_flag=True, help="Also what failed before at this version.")
@click.option("--wait", is_flag=True, help="Wait for another build of the same atlas to end.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
@click.pass_obj
def command(obj: dict[str, Any], only: tuple[str, ...], match: str | None, out: str | None, engine: str, workers: int | None, address: str | None,
            timeout: float, limit: int | None, rebuild: bool, retry_failed: bool, wait: bool, as_json: bool) -> int:  # fmt: skip
    """Trace the architectures of the installed libraries into an atlas.

    Interrupted or killed, it goes on where it stopped when started again; what is up to date is not read again. Exit code 1 when
    nothing could be built.
    """
    from netatlas.atlas.build import build
    from netatlas.atlas.places import user_path
    from netatlas.registry import Spec

    if address and engine != "ray":
        raise click.UsageError("--address goes with --engine ray")
    options: dict[str, Any] = {"timeout_s": timeout} if engine != "serial" else {}
    options |= {"workers": workers} if workers and engine != "serial" else {}
    options |= {"address": address} if address else {}
    target = out or obj["path"] or user_path()
    user_path().parent.mkdir(parents=True, exist_ok=True)
    with _Progress() as progress:
        report = build(
            target, only or LIBRARIES, match=match, executor=Spec(engine, options), progress=progress.step, rebuild=rebuild,
            retry_failed=retry_failed, limit=limit, wait=wait, waiting=lambda text: click.echo(text, err=True),
        )  # fmt: skip
    say_json(report.to_dict()) if as_json else say(str(report))
    return 1 if report.failed and not report.built and not report.unchanged else 0


class _Progress(AbstractContextManager["_Progress"]):
    """A bar with rate and time left on a terminal, a line every so often elsewhere, both on stderr."""

    EVERY = 25

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> _Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: Step) -> None:
        """Show one step of a build."""
        rate = f"{step.done / max(time.monotonic() - self._began, 1e-9):.2f}/s"
        if step.failure is not None:
            self._tell(f"{step.source}/{step.name} failed: {step.failure.message}")
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("tracing", total=step.total, rate=rate)
            self._bar.update(self._task, completed=step.done, description=f"{step.source}/{step.name}"[:44].ljust(44), rate=rate)
        elif step.done % self.EVERY == 0 or step.done == step.total:
            self._tell(f"{step.done}/{step.total} {step.source}/{step.name} {rate}")

    def _tell(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            click.echo(line, err=True)
