"""``netatlas remove``."""

from __future__ import annotations

from typing import Any

import click

from netatlas.cli.output import say


@click.command()
@click.argument("ids", nargs=-1, required=True)
@click.pass_obj
def command(obj: dict[str, Any], ids: tuple[str, ...]) -> None:
    """Remove entries from your own atlas; the starter atlas is read-only."""
    from netatlas import api

    for removed in api.remove(*ids, path=obj["path"]):
        say(f"removed {removed}")
