"""``netatlas eval``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from netatlas.cli.output import say, say_json, width
from netatlas.cli.progress import Measuring

if TYPE_CHECKING:
    from netatlas.evaluation.nar.comparison import Comparison

EVALUATIONS = {"nar": "Neural architecture retrieval: does an encoder find what is alike in design?"}


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Measure how well architectures are found; without a name, list the evaluations."""
    if ctx.invoked_subcommand is None:
        from netatlas.evaluation.nar.protocols import protocols

        for name, what in EVALUATIONS.items():
            say(f"{name}  {what}")
        for protocol in protocols().values():
            splits = f" ({protocol.splits} splits)" if protocol.splits > 1 else ""
            say(f"  {protocol.name}  {protocol.what}{splits}")


@command.command()
@click.option("--encoder", "encoders", multiple=True, metavar="NAME[:PARAM=VALUE,...]",
              help="An encoder to measure, may be repeated: wl, wl:rounds=2, or your own as package.module.Class; by default strata.")  # fmt: skip
@click.option("--protocol", "names", multiple=True, metavar="NAME", help="A protocol, may be repeated; by default P2 and P3.")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Trainings of what learns, on every split."
)
@click.option("--splits", type=click.IntRange(min=1), help="At most so many draws of training and test; by default all.")
@click.option(
    "--baseline", metavar="NAME[:PARAM=VALUE,...]", help="The opponent of the intervals, by default WL of depth 1, binary."
)
@click.option("--limit", type=click.IntRange(min=20), help="At most about this many graphs on either side: a quick look.")
@click.option("--fresh", is_flag=True, help="Measure everything anew instead of using what was measured before.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def nar(obj: dict[str, Any], encoders: Sequence[str], names: Sequence[str], seeds: int, splits: int | None, baseline: str | None,
        limit: int | None, fresh: bool, as_json: bool) -> None:  # fmt: skip
    """Measure encoders on architecture retrieval, beside WL of depth 1 and an untrained graph network.

    Finished measurements are kept, so an interrupted command goes on where it stopped; they are made anew when graphs or code have
    changed. Figures are means over splits and seeds; in brackets are 95 % intervals of a paired bootstrap over queries.
    """
    from netatlas.evaluation.nar.comparison import compare_encoders

    with Measuring() as progress:
        found = compare_encoders(
            encoders or ("strata",), names or ("P2", "P3"), seeds=seeds, splits=splits, baseline=baseline, limit=limit, fresh=fresh,
            progress=progress.step, note=lambda text: click.echo(f"netatlas: {text}", err=True),
        )  # fmt: skip
    say_json(dataclasses.asdict(found)) if as_json else _print(found)


def _print(found: Comparison) -> None:
    for table in found.tables:
        say(table.text(width()) + "\n")
    say(f"{found.date}, {found.machine}")
