"""``netatlas measure``."""

from __future__ import annotations

from typing import Any

import click

from netatlas.cli.output import say, say_json


@click.command()
@click.argument("ids", nargs=-1, required=True)
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Inputs at once.")
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Threads; 0 for all processors this process may use.",
)
@click.option("--runs", type=click.IntRange(min=3), default=30, show_default=True, help="Timed forward passes after the warm-up.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(obj: dict[str, Any], ids: tuple[str, ...], batch: int, threads: int, runs: int, as_json: bool) -> None:
    """Measure latency and peak memory on this machine (random weights) and keep them as evidence."""
    from dataclasses import asdict

    from netatlas import api
    from netatlas.facts import format_value

    measured = {}
    for entry_id in ids:
        click.echo(f"measuring {entry_id} ...", err=True)
        evidence = api.measure(entry_id, batch=batch, threads=threads, runs=runs, path=obj["path"])
        measured[entry_id] = evidence
        if not as_json:
            for item in evidence:
                value = item.value if item.fact == "latency_ms" else int(item.value)
                spread = f" ± {item.spread:.3g}" if item.spread is not None else ""
                say(f"{entry_id}  {item.fact} {format_value(item.fact, value)}{spread}  ({item.method}; {item.machine})")
    if as_json:
        say_json({entry_id: [asdict(item) for item in evidence] for entry_id, evidence in measured.items()})
