"""``netatlas compare``."""

from __future__ import annotations

from typing import Any

import click

from netatlas.cli.output import say, say_json, width


@click.command()
@click.argument("ids", nargs=-1, required=True)
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw cost against quality to this .png, .svg or .pdf.")
@click.option("--x", default="macs", show_default=True, help="Fact on the horizontal axis of the plot.")
@click.option("--y", default="top1", show_default=True, help="Fact on the vertical axis of the plot.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(obj: dict[str, Any], ids: tuple[str, ...], plot: str | None, x: str, y: str, as_json: bool) -> None:
    """Compare entries side by side: facts, and the operators and forms that differ."""
    from netatlas import api

    comparison = api.compare(*ids, path=obj["path"])
    left_out = comparison.plot(plot, x, y, api.points(x, y, path=obj["path"])) if plot else []
    if as_json:
        say_json(comparison.to_dict())
        return
    say(comparison.text(width()))
    if plot:
        say(f"\nPlot written to {plot}" + (f" (without {', '.join(left_out)}: {x} or {y} unknown)" if left_out else ""))
