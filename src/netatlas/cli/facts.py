"""``netatlas facts``."""

from __future__ import annotations

from typing import Any

import click

from netatlas.cli.output import say, say_json, width


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(obj: dict[str, Any], as_json: bool) -> None:
    """List all facts: unit, how many entries have them, meaning."""
    from netatlas import api
    from netatlas.atlas.tables import table

    found = api.facts(path=obj["path"])
    if as_json:
        say_json({name: {"type": f.kind, "unit": f.unit, "meaning": f.meaning, "aliases": list(f.aliases), "coverage": dict(counts)}
                  for name, (f, counts) in found.items()})  # fmt: skip
        return
    rows = [
        [name, f.kind, f.unit, str(counts.get("architecture", 0)), str(counts.get("model", 0)), f.meaning]
        for name, (f, counts) in found.items()
    ]
    say(table(["fact", "type", "unit", "architectures", "models", "meaning"], rows, right=(3, 4), width=width(), cut=(5,)))
