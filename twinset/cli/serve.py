"""`twinset serve`: the REST service, and its keys."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from twinset.cli.console import Safety, announce_downloads, say
from twinset.cli.request_options import with_request
from twinset.errors import InputError
from twinset.pipelines.request import CHOICES, read_request

NEEDED = ("fastapi", "uvicorn", "multipart", "prometheus_client", "gradio")
keys_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
Root = Annotated[
    Path | None, typer.Option(help="Folder for all of the service's data; in the user's data folder if absent.")
]


def _root(given: Path | None) -> Path:
    from twinset.common.paths import data_folder

    return given or data_folder() / "service"


@keys_app.callback()
def keys() -> None:
    """Make and remove the API keys of `twinset serve`."""


@keys_app.command("add")
def add_key(name: Annotated[str, typer.Argument(help="Whose key.")], root: Root = None) -> None:
    """Make a key and print it; only its hash is stored. Example: `twinset serve-keys add shop`"""
    from twinset.serving.api_keys import Keys

    print(Keys(_root(root) / "keys.json").add(name))


@keys_app.command()
def remove(name: Annotated[str, typer.Argument(help="Whose key.")], root: Root = None) -> None:
    """Remove a key. Example: `twinset serve-keys remove shop`"""
    from twinset.serving.api_keys import Keys

    Keys(_root(root) / "keys.json").remove(name)


@keys_app.command()
def secret(name: Annotated[str, typer.Argument(help="Whose key.")], root: Root = None) -> None:
    """Print the secret with which this key's webhooks are signed. Example: `twinset serve-keys secret shop`"""
    from twinset.serving.webhooks import Secrets

    print(Secrets(_root(root) / "webhooks.key").encoded(name))


@with_request("both", only=CHOICES)
def serve_command(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8080,
    open_: Annotated[bool, typer.Option("--open", help="Require no API key; on a loopback address only.")] = False,
    model: Annotated[str, typer.Option(help="A profile's name, a folder, or a .safetensors checkpoint.")] = "studio",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that draw; each loads the model.")] = 1,
    room: Annotated[int, typer.Option(min=1, help="Most pictures that may wait.")] = 256,
    most_pictures: Annotated[int, typer.Option(min=1, max=256, help="Most pictures of one job.")] = 16,
    keep_hours: Annotated[float, typer.Option(min=0.01, help="Hours until jobs and uploads are deleted.")] = 24.0,
    commercial: Annotated[bool, typer.Option(help="Only parts that may be used commercially.")] = False,
    offline: Annotated[bool, typer.Option(help="Download nothing.")] = False,
    safety: Safety = "warn",
    optional_labels: Annotated[
        bool,
        typer.Option("--optional-labels", help="Let clients order pictures without labels; the law may forbid it."),
    ] = False,
    drain_seconds: Annotated[
        float, typer.Option(min=0.0, help="When told to stop: seconds for jobs under way; others are put back.")
    ] = 30.0,
    engine: Annotated[str, typer.Option(help="processes, or ray: replicas of Ray Serve.")] = "processes",
    root: Root = None,
    **fields: Any,
) -> None:
    """Serve a web page and a REST API; the API is described at /docs.

    Jobs lie in a SQLite file and survive a restart; a worker that dies is replaced and its job drawn by another.

    Examples:

        twinset serve --open

        twinset serve-keys add shop

        twinset serve --host 0.0.0.0 --model sd15 --workers 2 --attention xformers

        RAY_ADDRESS=auto twinset serve --host 0.0.0.0 --model sd15 --workers 8 --engine ray
    """
    if any(find_spec(name) is None for name in NEEDED):
        raise InputError("serving needs more packages; run: pip install 'twinset[serve]'")
    if open_ and host not in ("127.0.0.1", "::1", "localhost"):
        raise InputError(f"--open asks for no keys, but other machines can reach {host!r}; leave one of the two out")
    from twinset.pipelines.loading.packages import require_choices
    from twinset.pipelines.safety import require_level
    from twinset.serving.launcher import run_service

    where = _root(root)
    if not open_ and not (where / "keys.json").is_file():
        raise InputError("nobody has a key; make one: twinset serve-keys add NAME, or use --open on this machine")
    require_level(safety)
    choices = {name: value for name, value in fields.items() if value is not None}
    require_choices(read_request({"prompt": "serve", "model": model} | choices), commercial)
    if engine not in ("processes", "ray"):
        raise InputError(f"--engine {engine!r} is unknown; choose processes or ray")
    _pull_parts(model, commercial, offline)
    settings: dict[str, Any] = {"model": model, "commercial": commercial, "offline": offline, "safety": safety}
    settings |= {"workers": workers, "engine": engine, "choices": choices, "optional_labels": optional_labels}
    say.print(f"page: http://{host}:{port}/  API: http://{host}:{port}/docs", markup=False)
    settings |= {"room": room, "pictures": most_pictures, "keep": keep_hours * 3600, "drain": drain_seconds}
    run_service(where, host, port, open_, **settings)


def _pull_parts(model: str, commercial: bool, offline: bool) -> None:
    """Download a profile's parts before the workers ask for them, so that the bars are seen."""
    from twinset.models.hub.profiles import ON_HUB

    if model in ON_HUB:
        from twinset.pipelines.loading.load import pull_usual
        from twinset.pipelines.loading.needed_parts import Pulling

        pull_usual(model, Pulling(commercial, offline, announce=announce_downloads))
