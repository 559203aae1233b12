"""`twinset train`: a garment LoRA from a folder of pictures, and the bundled model from nothing."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperGroup

from twinset.console import load, say
from twinset.errors import InputError

if TYPE_CHECKING:
    from twinset.training.lora.options import LoraOptions
    from twinset.training.lora.train import Trained


class _BaseIsDefault(TyperGroup):
    """`twinset train recipe.toml` is `twinset train base recipe.toml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front where none is named."""
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else ["base", *args])


train_app = typer.Typer(cls=_BaseIsDefault, rich_markup_mode="markdown")


@train_app.callback()
def train() -> None:
    """Train a garment LoRA (lora), or the bundled model from nothing (base)."""


@train_app.command()
def base(
    recipe: Annotated[Path, typer.Argument(help="Recipe file.")] = Path("training/studio.toml"),
    only: Annotated[list[str] | None, typer.Option(help="A stage to run; repeatable. All when absent.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder for runs and checkpoints.")] = Path("runs"),
) -> None:
    """Train a whole model from nothing by its recipe; an interrupted run goes on where it stopped."""
    if not recipe.is_file():
        raise InputError(f"recipe {str(recipe)!r} is not a file; give a recipe such as training/studio.toml")
    from twinset.training.recipe import Recipe

    stages = Recipe(tomllib.loads(recipe.read_text(encoding="utf-8")), runs).stages()
    for name in only or ():
        if name not in stages:
            raise InputError(f"stage {name!r} is unknown; choose among {', '.join(stages)}")
    for name, stage in stages.items():
        if not only or name in only:
            say.rule(name)
            stage()


def lora(
    out: Annotated[Path, typer.Option("--out", "-o", help="The LoRA file to write, .safetensors.")],
    recipe: Annotated[
        Path | None, typer.Option(help="TOML of an earlier training; options given here come before it.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of the run; the file's name with .run if absent.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start from nothing where there is a run already.")] = False,
    commercial: Annotated[bool, typer.Option(help="Only parts that may be used commercially.")] = False,
    offline: Annotated[bool, typer.Option(help="Download nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
    **given: Any,
) -> None:
    """Train a LoRA of one garment from 5 to 30 pictures of it, and put it on anybody.

    The folder holds pictures, and if you like name.txt (captions) and name.mask.png (white on the garment). What is
    interrupted goes on where it stopped when the same command is given again. Beside the file its recipe is written,
    which gives the same LoRA again. JSON: `{file, recipe, run, steps, seconds, loss, trigger}`.

    Examples:

        twinset train lora --data my_jacket/ --trigger jckt --kind coat -o jacket.safetensors

        twinset train lora --data my_jacket/ --model sdxl --rank 32 --precision bf16 -o jacket.safetensors

        twinset train lora --recipe jacket.toml --seed 2 -o second.safetensors

        twinset generate --prompt "wearing jckt coat, in the park" --selfie me.png --lora jacket.safetensors
    """
    from twinset.training.lora.options import read_options, read_recipe

    _need_tensorboard()
    from twinset.training.lora.train import forget_run

    own = {name: value for name, value in given.items() if value is not None}
    options = read_options((read_recipe(recipe) if recipe else {}) | own, str(recipe) if recipe else "train lora")
    folder = run or out.with_suffix(".run")
    if fresh:
        forget_run(folder)
    trained = _train(options, out, folder, commercial, offline)
    result = {
        "file": str(trained.file),
        "recipe": str(trained.recipe),
        "run": str(trained.run),
        "steps": trained.fit.step,
        "seconds": round(trained.fit.seconds, 1),
        "loss": trained.fit.figures.get("loss"),
        "trigger": options.word,
    }
    if as_json:
        print(json.dumps(result, indent=2))
        return
    say.print(f"{trained.file}: {trained.fit.step} steps in {trained.fit.seconds:.0f} s", markup=False)
    called = " ".join(filter(None, (options.word, (options.kind or "").replace("_", " "))))
    say.print(f'use it: twinset generate --prompt "wearing {called}" --lora {trained.file}', markup=False)


def _need_tensorboard() -> None:
    if find_spec("tensorboard") is None:
        raise InputError("training needs the package tensorboard; run: pip install 'twinset[train]'")


def _train(options: LoraOptions, out: Path, run: Path, commercial: bool, offline: bool) -> Trained:
    """Load the base model and train; what the user can mend becomes one line."""
    from twinset.training.lora.train import train_lora

    pipe = load(options.model, commercial, offline)
    try:
        return train_lora(pipe, options, out, run, lambda line: say.print(line, markup=False))
    except KeyboardInterrupt:
        say.print(f"stopped; the same command goes on from the last checkpoint in {run}", markup=False)
        raise typer.Exit(130) from None
    except (FloatingPointError, OSError) as error:
        raise InputError(" ".join(str(error).split())) from error


# One option for each field of `LoraOptions`, so that command line, recipe and Python know the same ones.


def _with_options(command: Any) -> Any:
    """The command with a parameter for every field in place of `**given`, None where it is not given."""
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    own = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters if p.kind is not p.VAR_KEYWORD]
    fields = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _annotations().items()
    ]
    command.__signature__ = inspect.Signature([*fields, *own])
    command.__annotations__ = {p.name: p.annotation for p in (*fields, *own)}
    return command


def _annotations() -> dict[str, Any]:
    """Field → what typer makes an option of; the help is the field's line in the class's docstring."""
    from twinset.training.lora.options import LoraOptions

    said = _described(inspect.getdoc(LoraOptions) or "")
    found: dict[str, Any] = {}
    for name, field in LoraOptions.model_fields.items():
        default = "" if field.default is None or field.is_required() else f" [default: {field.default}]"
        found[name] = Annotated[_plain(field.annotation) | None, typer.Option(help=said[name] + default)]
    return found


def _plain(annotation: Any) -> Any:
    """The type that a command line reads: pydantic checks the rest."""
    kinds = [kind for kind in (bool, int, float, Path) if kind in (annotation, *get_args(annotation))]
    return kinds[0] if kinds else str


def _described(docstring: str) -> dict[str, str]:
    """Attribute → its description, from a Google-style docstring."""
    entries = re.split(r"\n    (?=\w+: )", docstring.partition("Attributes:\n")[2].rstrip())
    pairs = (entry.strip().partition(": ") for entry in entries)
    return {name: " ".join(text.split()) for name, _, text in pairs}


train_app.command()(_with_options(lora))
