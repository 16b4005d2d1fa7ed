"""``netatlas add``."""

from __future__ import annotations

from typing import Any

import click

from netatlas.cli.output import say


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--id", "entry_id", help="Id to store it under, by default made from its name.")
@click.option(
    "--input", "inputs", multiple=True, help="Shape of an input that cannot be guessed: 1,3,224,224 or name=1,3,224,224."
)
@click.option("--input-ids", "input_ids", multiple=True, help="Shape of an input of token ids: 1,128 or name=1,128.")
@click.pass_obj
def command(
    obj: dict[str, Any], targets: tuple[str, ...], entry_id: str | None, inputs: tuple[str, ...], input_ids: tuple[str, ...]
) -> None:
    """Add your own architectures: model.onnx, weights.safetensors, pkg.module:callable or hub:org/name."""
    from netatlas import api
    from netatlas.targets.python_object import parse_inputs

    if entry_id is not None and len(targets) > 1:
        raise click.UsageError("--id names one entry: give one TARGET with it")
    given = parse_inputs(list(inputs), list(input_ids)) if inputs or input_ids else None
    for target in targets:
        for added in api.add(target, inputs=given, entry_id=entry_id, path=obj["path"]):
            say(f"added {added}")
