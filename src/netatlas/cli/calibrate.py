"""``netatlas calibrate``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from netatlas.cli.output import say, say_json

if TYPE_CHECKING:
    from netatlas.atlas.calibrate import Visit

_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class Duration(click.ParamType[float]):
    """``300``, ``90s``, ``5min`` or ``1h``, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", str(value).strip().lower())
        if found is None or found[2] not in _SECONDS or float(found[1]) <= 0:
            self.fail(f"{value!r} is not a duration: give seconds, or 90s, 5min, 1h", param, ctx)
        return float(found[1]) * _SECONDS[found[2]]


@click.command()
@click.option("--count", type=click.IntRange(min=5), default=30, show_default=True, help="Architectures to measure.")
@click.option("--budget", type=Duration(), default="5min", show_default=True, help="Begin no measurement after this long.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads to measure and predict for.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
@click.pass_obj
def command(obj: dict[str, Any], count: int, budget: float, threads: int, as_json: bool) -> None:
    """Measure some architectures, so that predicted latencies hold for this machine.

    Interrupted with Ctrl-C or killed, it keeps what was measured and goes on there when started again. The report says how far
    each architecture is predicted without its family.
    """
    from netatlas import api

    report = api.calibrate(count=count, budget_s=budget, threads=threads, progress=_tell, path=obj["path"])
    say_json(report.to_dict()) if as_json else say(str(report))


def _tell(visit: Visit) -> None:
    said = f"{visit.ms:.1f} ms" if visit.ms is not None else visit.failure
    click.echo(f"{visit.done}/{visit.total} {visit.entry_id} {said}", err=True)
