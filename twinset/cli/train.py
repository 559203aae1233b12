"""`twinset train`: a garment LoRA, one adapter of a model, or the bundled model from nothing."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from twinset.cli.console import load, say
from twinset.cli.derived_options import with_options
from twinset.common.atomic_files import plain_reason
from twinset.errors import InputError
from twinset.training.adapters.options import AdapterOptions, ControlOptions, GarmentOptions, IdentityOptions
from twinset.training.core.options import Options, checked, read_recipe
from twinset.training.lora.options import LoraOptions

if TYPE_CHECKING:
    from twinset.training.core.loop import FitResult

File = Annotated[Path, typer.Option("--out", "-o", help="The LoRA file to write, .safetensors.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="What to write: a .safetensors file, or a folder (see above).")]
RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", "--config", help="Recipe (TOML) of an earlier training; options given here override it."),
]
Run = Annotated[Path | None, typer.Option(help="Folder of the run; the file's name with .run if absent.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over even if there is a run already.")]
Commercial = Annotated[bool, typer.Option(help="Only parts that may be used commercially.")]
Offline = Annotated[bool, typer.Option(help="Download nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


class _BaseIsDefault(TyperGroup):
    """`twinset train recipe.toml` is `twinset train base recipe.toml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front where none is named."""
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else ["base", *args])


train_app = typer.Typer(cls=_BaseIsDefault, rich_markup_mode="markdown")


@train_app.callback()
def train() -> None:
    """Train a garment LoRA (lora), one adapter (identity, garment, control), or the bundled model (base)."""


@train_app.command()
def base(
    recipe: Annotated[Path, typer.Argument(help="Recipe file.")] = Path("training/studio.toml"),
    only: Annotated[list[str] | None, typer.Option(help="A stage to run; repeatable. All when absent.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder for runs and checkpoints.")] = Path("runs"),
) -> None:
    """Train a whole model from nothing by its recipe; an interrupted run goes on where it stopped."""
    if not recipe.is_file():
        raise InputError(f"recipe {str(recipe)!r} is not a file; give a recipe such as training/studio.toml")
    from twinset.training.studio.recipe import Recipe

    stages = Recipe(tomllib.loads(recipe.read_text(encoding="utf-8")), runs).stages()
    for name in only or ():
        if name not in stages:
            raise InputError(f"stage {name!r} is unknown; choose among {', '.join(stages)}")
    for name, stage in stages.items():
        if not only or name in only:
            say.rule(name)
            stage()


@train_app.command("lora")
@with_options(LoraOptions)
def train_lora_command(
    out: File,
    recipe: RecipeFile = None,
    run: Run = None,
    fresh: Fresh = False,
    commercial: Commercial = False,
    offline: Offline = False,
    as_json: AsJson = False,
    **chosen: Any,
) -> None:
    """Train a LoRA of one garment from 5 to 30 pictures of it, to be worn by anybody.

    The folder holds pictures, and if you like name.txt or name.caption (captions) and name.mask.png (white on the
    garment); folders of sd-scripts (`10_jckt coat`) and its data set tables (TOML) are read as they are. What is
    interrupted goes on where it stopped when the same command is given again, and with more --steps after its end.
    Beside the file its recipe is written, which gives the same LoRA again.
    JSON: `{file, recipe, run, steps, seconds, loss, trigger}`.

    Examples:

        twinset train lora --data my_jacket/ --trigger jckt --kind coat -o jacket.safetensors

        twinset train lora --data my_jacket/ --model sdxl --rank 32 --precision bf16 -o jacket.safetensors

        twinset train lora --recipe jacket.toml --seed 2 -o second.safetensors

        accelerate launch --num_processes 4 -m twinset train lora --data my_jacket/ --model sdxl -o jacket.safetensors

        twinset generate --prompt "wearing jckt coat, in the park" --selfie me.png --lora jacket.safetensors
    """
    options, folder = _begun(LoraOptions, "lora", chosen, recipe, out, run, fresh)
    from twinset.training.lora.train import check_before_loading, train_lora

    check_before_loading(options, out, folder)
    with _stoppable(folder):
        pipe = load(options.model, commercial, offline, parts=options.needed_parts or None)
        trained = train_lora(pipe, options, out, folder, _print_line)
    result = _result(trained.out, trained.recipe, folder, trained.fit) | {"trigger": options.word}
    called = " ".join(filter(None, (options.word, (options.garment_kind or "").replace("_", " "))))
    _report(result, f'twinset generate --prompt "wearing {called}" --lora {trained.out}', as_json)


@train_app.command()
@with_options(IdentityOptions)
def identity(
    out: Out,
    recipe: RecipeFile = None,
    run: Run = None,
    fresh: Fresh = False,
    commercial: Commercial = False,
    offline: Offline = False,
    as_json: AsJson = False,
    **chosen: Any,
) -> None:
    """Train an identity adapter for the model's face recogniser; everything else stays as it is.

    For sd15 and sdxl a file in IP-Adapter-FaceID's layout, begun anew: with `--commercial` for a recogniser of free
    licence, which has no public adapter. For studio a folder, trained on from the model's own. Without --data the
    people are drawn. What is interrupted goes on when the same command is given again.

    Examples:

        twinset train identity --data my_people/ --model sd15 --commercial -o faces.safetensors

        twinset train identity --model studio --people 2000 --steps 500 -o faces
    """
    _train_adapter(IdentityOptions, "identity", chosen, recipe, out, run, fresh, commercial, offline, as_json)


@train_app.command()
@with_options(GarmentOptions)
def garment(
    out: Out,
    recipe: RecipeFile = None,
    run: Run = None,
    fresh: Fresh = False,
    commercial: Commercial = False,
    offline: Offline = False,
    as_json: AsJson = False,
    **chosen: Any,
) -> None:
    """Train an adapter that makes a picture obey a garment's own picture; everything else stays as it is.

    For sd15 and sdxl a file in IP-Adapter-Plus's layout, begun anew. For studio a folder, trained on from the model's
    own. Without --data the people are drawn. What is interrupted goes on when the same command is given again.

    Examples:

        twinset train garment --data viton-hd/ --layout viton-hd --model sd15 --precision bf16 -o cloth.safetensors

        twinset train garment --model studio --people 2000 --steps 500 -o cloth
    """
    _train_adapter(GarmentOptions, "garment", chosen, recipe, out, run, fresh, commercial, offline, as_json)


@train_app.command()
@with_options(ControlOptions)
def control(
    out: Out,
    recipe: RecipeFile = None,
    run: Run = None,
    fresh: Fresh = False,
    commercial: Commercial = False,
    offline: Offline = False,
    as_json: AsJson = False,
    **chosen: Any,
) -> None:
    """Train a ControlNet on human-parsing maps (no public one exists) or on skeletons.

    A folder that diffusers reads: for sd15 and sdxl begun as the UNet's own encoder, for studio trained on from the
    model's own. The parsing map's colours are written beside it as palette.json. Without --data the people are drawn.
    What is interrupted goes on when the same command is given again.

    Examples:

        twinset train control --data DressCode/ --layout dresscode --model sdxl --precision bf16 -o parsing-control

        twinset train control --kind pose --data my_people/ --model sd15 -o pose-control
    """
    _train_adapter(ControlOptions, "control", chosen, recipe, out, run, fresh, commercial, offline, as_json)


def _train_adapter(
    kind: type[AdapterOptions], name: str, chosen: dict[str, Any], recipe: Path | None, out: Path, run: Path | None,
    fresh: bool, commercial: bool, offline: bool, as_json: bool,
) -> None:  # fmt: skip
    options, folder = _begun(kind, name, chosen, recipe, out, run, fresh)
    from twinset.training.adapters.train import train_adapter

    with _stoppable(folder):
        trained = train_adapter(load(options.model, commercial, offline), options, out, folder, _print_line)
    use = {
        "identity": "pipe.load_adapter",
        "garment": "pipe.load_adapter",
        "control": "ControlNetModel.from_pretrained",
    }
    called = f"{use[name]}({str(trained.out)!r}" + (f", {name!r})" if trained.out.suffix else ")")
    _report(_result(trained.out, trained.recipe, folder, trained.fit), called, as_json)


def _begun(
    kind: type[Options],
    name: str,
    chosen: dict[str, Any],
    recipe: Path | None,
    out: Path,
    run: Path | None,
    fresh: bool,
) -> tuple[Options, Path]:
    """The options, checked, and the folder of the run, emptied where a fresh one is asked for."""
    if find_spec("tensorboard") is None:
        raise InputError("training needs the package tensorboard; run: pip install 'twinset[train]'")
    from twinset.training.core.run_folder import forget_run, processes

    processes()  # before anything is put on a GPU
    own = {name: value for name, value in chosen.items() if value is not None}
    fields = (read_recipe(recipe, kind) if recipe else {}) | own
    options, folder = checked(kind, fields, str(recipe) if recipe else f"train {name}"), run or out.with_suffix(".run")
    if fresh:
        forget_run(folder)
    return options, folder


@contextmanager
def _stoppable(run: Path) -> Iterator[None]:
    """Turns errors that the user can fix into one line."""
    try:
        yield
    except KeyboardInterrupt:
        say.print(f"stopped; run the same command again to resume from the last checkpoint in {run}", markup=False)
        raise typer.Exit(130) from None
    except (FloatingPointError, OSError) as error:
        raise InputError(plain_reason(error)) from error


def _print_line(line: str) -> None:
    say.print(line, markup=False)


def _result(file: Path, recipe: Path, run: Path, fit: FitResult) -> dict[str, Any]:
    loss = fit.figures.get("loss")
    return {
        "file": str(file), "recipe": str(recipe), "run": str(run),
        "steps": fit.step, "seconds": round(fit.seconds, 1), "loss": loss,
    }  # fmt: skip


def _report(result: dict[str, Any], use: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, indent=2))
        return
    say.print(f"{result['file']}: {result['steps']} steps in {result['seconds']:.0f} s", markup=False)
    say.print(f"use it: {use}", markup=False)
