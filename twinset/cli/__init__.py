"""The command line. Exit codes: 0 done, 2 a mistake of the user (one line tells the fix), 1 a fault of the program, or
an answer that is no: a batch with missing items, a file without valid labels, a replay with other bytes.

Heavy imports stay inside the commands, so that `twinset --help` answers at once.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from twinset.cli.batch import batch_app
from twinset.cli.brief import brief
from twinset.cli.cache import cache_app
from twinset.cli.consent import consent_app
from twinset.cli.console import mishap, say
from twinset.cli.draw import generate_command, replay_command, tryon_command
from twinset.cli.inspect import inspect_command, poses
from twinset.cli.lora import lora_app
from twinset.cli.mannequin import mannequin
from twinset.cli.models import models_app
from twinset.cli.score import score
from twinset.cli.serve import keys_app, serve_command
from twinset.cli.train import train_app
from twinset.cli.verify import verify_command
from twinset.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
    help="A person's face and a garment in one picture, from one denoising pass.",
)
for command in (
    generate_command,
    tryon_command,
    replay_command,
    brief,
    inspect_command,
    score,
    verify_command,
    poses,
    mannequin,
    serve_command,
):
    app.command(command.__name__.removesuffix("_command"))(command)
for name, group in {
    "batch": batch_app, "train": train_app, "lora": lora_app, "models": models_app, "consent": consent_app,
    "cache": cache_app, "serve-keys": keys_app,
}.items():  # fmt: skip
    app.add_typer(group, name=name)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"twinset {version('twinset')}")
        raise typer.Exit


@app.callback()
def front(
    wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A person's face and a garment in one picture, from one denoising pass."""


def main() -> None:
    """Run the command line; mistakes that the user can fix become one line and exit code 2."""
    try:
        app()
    except InputError as error:
        say.print(f"twinset: {error}", style="red", markup=False)
        sys.exit(2)
    except (OSError, MemoryError, RuntimeError, FloatingPointError) as error:
        line = mishap(error)
        if line is None:
            raise
        say.print(f"twinset: {line}", style="red", markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
