"""``netatlas find``."""

from __future__ import annotations

import sys
from typing import Any, Literal

import click

from netatlas.cli.output import say, say_json, width


@click.command()
@click.argument("text", nargs=-1)
@click.option("-w", "--where", help='Constraints: "params < 6M and not has(attention) and year >= 2021".')
@click.option(
    "--like", multiple=True, help="An example: an id, model.onnx, weights.safetensors, or pkg.module:callable; repeatable."
)
@click.option("--unlike", multiple=True, help="An example not to be like; repeatable.")
@click.option("--pattern", multiple=True, help='A path of operators: "conv[depthwise] -> norm -> act{1,2}"; repeatable.')
@click.option(
    "--contains", multiple=True, help="A block: an id with a module (timm/resnet50#layer1.0), model.onnx or pkg.module:callable."
)
@click.option("--exact-widths", is_flag=True, help="Blocks of --contains have to be as wide.")
@click.option("-k", "--limit", type=click.IntRange(min=0), default=10, show_default=True, help="At most this many hits.")
@click.option("--sort", help="Order by a fact, -top1 for largest first; unknown comes last.")
@click.option("--pareto", help="Only entries that no match beats in all of these facts: top1,macs.")
@click.option(
    "--kind",
    type=click.Choice(["architecture", "model", "any"]),
    help="architecture (default), model (pretrained weights) or any.",
)
@click.option("--unknown", type=click.Choice(["drop", "keep"]), default="drop", show_default=True,
              help="What to do with entries whose facts do not decide a constraint.")  # fmt: skip
@click.option("--json", "form", flag_value="json", help="One JSON object.")
@click.option("--csv", "form", flag_value="csv", help="A header and a line per hit.")
@click.pass_obj
def command(obj: dict[str, Any], text: tuple[str, ...], where: str | None, like: tuple[str, ...],
            unlike: tuple[str, ...], pattern: tuple[str, ...], contains: tuple[str, ...], exact_widths: bool, limit: int,
            sort: str | None, pareto: str | None, kind: str | None, unknown: Literal["drop", "keep"], form: str | None) -> int:  # fmt: skip
    """Find architectures by words, constraints and example.

    netatlas find "small image classifier without attention, under 6M params, above 75% top-1"

    Constraints in TEXT are shown back; TEXT of - is read from stdin. Exit code 1 when nothing matched.
    """
    from netatlas import api

    words = sys.stdin.read() if text == ("-",) else " ".join(text)
    hits = api.find(
        words, where=where, like=like, unlike=unlike, pattern=pattern, contains=contains, exact_widths=exact_widths, k=limit, sort=sort,
        pareto=pareto, kind=kind, unknown=unknown, path=obj["path"],
    )  # fmt: skip
    if form == "json":
        say_json(hits.to_dict())
    elif form == "csv":
        click.echo(hits.to_csv(), nl=False)
    else:
        say(hits.text(width()))
    return 0 if len(hits) or (hits.total and limit == 0) else 1
