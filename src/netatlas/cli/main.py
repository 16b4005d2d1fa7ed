"""The command line: one verb a file, imported when it is used."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from netatlas import __version__
from netatlas.errors import NetatlasError, did_you_mean

NOT_VERBS = frozenset({"main", "options", "output", "progress"})


class Verbs(click.Group):
    """A group whose commands are the files of this folder: ``find.py`` has the command ``find``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        found = pkgutil.iter_modules([str(Path(__file__).parent)])
        return sorted(m.name for m in found if m.name not in NOT_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"netatlas.cli.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}{did_you_mean(args[0], self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="netatlas %(version)s")
@click.option("--atlas", "path", type=click.Path(), help="Your own atlas, by default in your data folder.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, path: str | None, debug: bool) -> None:
    """Find, explain, measure and compare neural architectures."""
    ctx.obj = {"path": path, "debug": debug}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 found, 1 nothing matched or not readable, 2 misuse, 130 interrupted."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors become one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # LANG=C must not turn a title into a traceback
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        return int(cli.main(args=given, prog_name="netatlas", standalone_mode=False) or 0)
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: nothing more to say, nor at exit
        return 0
    except NetatlasError as error:
        if "--debug" in given:
            raise
        click.echo(f"netatlas: {error}", err=True)
        return error.exit_code


if __name__ == "__main__":
    main()
