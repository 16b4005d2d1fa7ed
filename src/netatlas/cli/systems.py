"""``netatlas systems``."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from netatlas.cli.output import say, say_json, width
from netatlas.cli.progress import Measuring

if TYPE_CHECKING:
    from netatlas.systems.base import Card, Result


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Published systems: what their papers claim and what of it holds here; without a name, list them."""
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError(f"--json goes behind the command: netatlas systems {ctx.invoked_subcommand} ... --json")
        return
    from netatlas.atlas.tables import table
    from netatlas.systems import cards, last

    found = [(card, last(card.name)) for card in cards()]
    if as_json:
        say_json({card.name: _data(card, result) for card, result in found})
        return
    rows = [[c.name, c.title, f"{c.venue} {c.year}", c.paper, r.date if r else "never", _outcomes(r)] for c, r in found]
    say(table(["system", "title", "venue", "paper", "last run", "outcomes"], rows, width=width(), cut=(1, 5)))


def _outcomes(result: Result | None) -> str:
    return ", ".join(dict.fromkeys(v.outcome for v in result.verdicts)) if result else "-"


@command.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(name: str, as_json: bool) -> None:
    """Show a system's card: idea, claims, caveats, where we differ, and the last result beside the paper's."""
    from netatlas.systems import SYSTEMS, last

    card = SYSTEMS.build(name)
    result = last(name)
    if as_json:
        say_json(_data(card, result))
        return
    _print_card(card)
    if result is None:
        say(f"\nNever run here: netatlas systems run {name}")
    else:
        say("\nLast result")
        _print_result(result)


@command.command()
@click.argument("name")
@click.option("--quick", is_flag=True, help="A few minutes at small size: shows that everything runs and judges nothing.")
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Trainings of what learns on every split; by default as many as the card needs."
)
@click.option(
    "--protocol", "names", multiple=True, metavar="NAME", help="A protocol, may be repeated; by default all of the system's."
)
@click.option("--minutes", type=click.FloatRange(min=0), help="Begin nothing further after so much time; a later run goes on.")
@click.option("--fresh", is_flag=True, help="Measure everything anew instead of going on where the last run stopped.")
@click.option(
    "--out", type=click.Path(dir_okay=False), help="Write the result to this file instead of keeping it as the last one."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def run(name: str, quick: bool, seeds: int | None, names: Sequence[str], minutes: float | None, fresh: bool, out: str | None,
        as_json: bool) -> None:  # fmt: skip
    """Reproduce a system and judge its claims; interrupted or killed, it goes on where it stopped."""
    from netatlas.systems import SYSTEMS
    from netatlas.systems import run as reproduce

    card = SYSTEMS.build(name)
    if not quick and minutes is None:
        click.echo(f"{name}: about {card.minutes:.0f} minutes on one core; --quick is a look, --minutes a bound", err=True)
    with Measuring() as progress:
        result, path = reproduce(
            name, protocols=names or None, seeds=seeds, quick=quick, minutes=minutes, fresh=fresh, out=out, progress=progress.step
        )
    if as_json:
        say_json(dataclasses.asdict(result))
    else:
        _print_result(result)
    kept = f"result written to {path}" if path else "not kept as the last result: it does not judge every claim"
    click.echo(f"netatlas: {kept}", err=True)


def _data(card: Card, result: Result | None) -> dict[str, Any]:
    plain = {f.name: getattr(card, f.name) for f in dataclasses.fields(card) if f.name not in ("reproduce", "claims")}
    claims = [dataclasses.asdict(claim) for claim in card.claims]
    return {**plain, "claims": claims, "last_result": dataclasses.asdict(result) if result else None}


def _print_card(card: Card) -> None:
    say(f"{card.title} ({card.name})\n{card.authors}. {card.venue} {card.year}, {card.paper}.\n")
    _paragraph(card.idea)
    for title, lines in (
        ("Claims", [str(claim) for claim in card.claims]), ("Caveats", card.caveats), ("Where we differ", card.departures),
        ("Parts", [", ".join(card.parts)]),
    ):  # fmt: skip
        say(f"\n{title}")
        for line in lines:
            _paragraph(line, "- ")


def _print_result(result: Result) -> None:
    settings = ", ".join(
        f"{key} {', '.join(map(str, v)) if isinstance(v, list | tuple) else v}" for key, v in result.settings.items()
    )
    _paragraph(f"{result.date}; {result.machine}; {settings}; {result.seconds / 60:.0f} minutes of processor time")
    for table in result.tables:
        say("")
        say(table.text(width()))
    if result.quick:
        say("\nNothing is judged: a quick run is too small.")
        return
    say("\nVerdicts")
    for verdict in result.verdicts:
        _paragraph(f"{verdict.outcome.upper()}: {verdict.claim}. {verdict.why}.", "- ")


def _paragraph(text: str, mark: str = "") -> None:
    columns = min(shutil.get_terminal_size((100, 24)).columns, 100)
    say(textwrap.fill(text, columns, initial_indent=mark, subsequent_indent=" " * len(mark), break_on_hyphens=False))
