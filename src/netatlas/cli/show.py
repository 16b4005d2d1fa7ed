"""``netatlas show``."""

from __future__ import annotations

from typing import Any

import click

from netatlas.cli.output import say, say_json, write


@click.command()
@click.argument("target", metavar="ID")
@click.option("--svg", type=click.Path(dir_okay=False), help="Write the drawing of its graph to this file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(obj: dict[str, Any], target: str, svg: str | None, as_json: bool) -> None:
    """Show the card of an entry: facts, structure, costs, relatives, links.

    ID is an entry of the atlas, a file (model.onnx, weights.safetensors) or pkg.module:callable.
    """
    from netatlas import api

    card = api.show(target, path=obj["path"])
    if svg:
        write(svg, card.svg())
    if as_json:
        say_json(card.to_dict())
    else:
        say(str(card))
        if svg:
            say(f"\nDrawing written to {svg}")
