"""``netatlas motifs``."""

from __future__ import annotations

from typing import Any, Literal

import click

from netatlas.cli.output import say, say_json, width


@click.command()
@click.argument("target", required=False, metavar="[NAME]")
@click.option("-w", "--where", help="Constraints on the architectures that are counted.")
@click.option(
    "--min-count", type=click.IntRange(min=1), default=1, show_default=True,
    help="Architectures a motif has to be in; in one network how often it has to occur.",
)  # fmt: skip
@click.option("--named", "which", flag_value="named", help="Only motifs that have a name.")
@click.option("--mined", "which", flag_value="mined", help="Only motifs found by mining, which have an id.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(obj: dict[str, Any], target: str | None, where: str | None, min_count: int, which: Literal["named", "mined"] | None,
            as_json: bool) -> int:  # fmt: skip
    """List recurring structures with how many architectures have them.

    NAME is a motif ("inverted residual", SE, m34f0c) or a network, whose motifs are then listed with their places: an id,
    model.onnx or pkg.module:callable; ID#layer3 is one module of a network. Exit code 1 when there is none.
    """
    from netatlas import api

    found = api.motifs(target, where=where, which=which or "all", min_count=min_count, path=obj["path"])
    if as_json:
        say_json(found.to_dict())
    else:
        say(found.text(width()))
    return 0 if len(found) else 1
