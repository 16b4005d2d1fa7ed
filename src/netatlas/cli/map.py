"""``netatlas map``."""

from __future__ import annotations

from typing import Any

import click

from netatlas.cli.output import say, say_json, write


@click.command()
@click.option("--color", default="family", show_default=True, help="Fact to colour by at first; the page can change it.")
@click.option("-w", "--where", help="Constraints; what satisfies them stands out.")
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False), default="map.html", show_default=True, help="The page that is written."
)
@click.option("--json", "as_json", is_flag=True, help="Print places and facts as one JSON object instead of writing a page.")
@click.pass_obj
def command(obj: dict[str, Any], color: str, where: str | None, out: str, as_json: bool) -> None:
    """Draw all architectures as a map: near means alike in structure.

    The page needs no network and no server: pan, zoom, point at a dot for its card, search, colour by any fact.
    """
    from netatlas import api

    drawn = api.map(where=where, color=color, tell=lambda line: click.echo(line, err=True), path=obj["path"])
    if as_json:
        say_json(drawn.to_dict(color))
        return
    write(out, drawn.to_html(color))
    say(f"{drawn.summary}\nMap written to {out}")
