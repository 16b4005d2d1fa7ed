"""``netatlas diff``."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from netatlas.cli.output import say, say_json, width, write
from netatlas.errors import NetatlasError


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--stat", is_flag=True, help="A summary: counts, stages, what was changed most often, forms in common.")
@click.option("--svg", type=click.Path(dir_okay=False), help="Write both side by side as a drawing to this file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True,
              help="Colours; auto: on a terminal, unless NO_COLOR is set.")  # fmt: skip
@click.option(
    "--input", "shapes", multiple=True, help="Shape of an input that cannot be guessed: 1,3,224,224 or name=1,3,224,224."
)
@click.option("--input-ids", "ids", multiple=True, help="Shape of an input of token ids: 1,128 or name=1,128.")
@click.pass_obj
def command(obj: dict[str, Any], a: str, b: str, stat: bool, svg: str | None, as_json: bool, color: str,
            shapes: tuple[str, ...], ids: tuple[str, ...]) -> int:  # fmt: skip
    """Show what differs between two networks, like a code diff.

    A and B are entries of the atlas, files (model.onnx, weights.safetensors) or pkg.module:callable; ID#layer3.0 is one module of a
    network. Of two checkpoints, names and shapes of tensors are compared.

    Exit code 0 when they are the same network, 1 when they differ, 2 for anything else.
    """
    from netatlas import api
    from netatlas.targets.python_object import parse_inputs

    try:
        given = parse_inputs(list(shapes), list(ids)) if shapes or ids else None
        found = api.diff(a, b, inputs=given, path=obj["path"])
        if svg:
            write(svg, found.svg())
    except NetatlasError as error:
        if obj["debug"]:
            raise
        click.echo(f"netatlas: {error}", err=True)
        return 2  # 1 says that they differ
    if as_json:
        say_json(found.to_dict())
    elif stat:
        say(found.stat())
    else:
        is_coloured = _in_color(color)
        say(found.text(color=is_coloured, width=width()), color=is_coloured)
    if svg and not as_json:
        say(f"Drawing written to {svg}")
    return 0 if found.is_same else 1


def _in_color(wanted: str) -> bool:
    """Whether to colour: asked for, or on a terminal whose user does not forbid it (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return wanted == "always" or (wanted == "auto" and sys.stdout.isatty() and not plain)
