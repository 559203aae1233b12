"""`twinset lora`: what LoRA files are, from one form to another, several as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinset.cli.console import say
from twinset.errors import InputError

if TYPE_CHECKING:
    from twinset.adapters.lora.files import LoraFile

LOST_IN_COMFYUI = "ComfyUI reads diffusers' form without the attention layers; give it kohya's form"
lora_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

Source = Annotated[Path, typer.Argument(help="A LoRA file in diffusers', PEFT's, kohya's or LyCORIS' form.")]
Form = Annotated[str, typer.Option("--to", help="kohya (ComfyUI, A1111, diffusers) or diffusers.")]
Family = Annotated[str | None, typer.Option(help="sd15, sdxl or studio; detected from the layers when absent.")]
Precision = Annotated[str, typer.Option("--dtype", help="fp16, bf16 or fp32.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


@lora_app.callback()
def lora() -> None:
    """LoRA files: show what they hold, convert them, merge several into one."""


@lora_app.command()
def info(source: Source, as_json: Json = False) -> None:
    """Show what a LoRA file holds: form, family, layers, ranks, alphas, trigger word, header.

    JSON: `{file, form, family, trigger, embeddings, components, metadata}`; a component is `{layers, ranks, alphas,
    dora, kinds}`, the family null where it is none of sd15, sdxl and studio.

    Example: `twinset lora info jacket.safetensors`
    """
    from twinset.adapters.lora.files import read_lora

    keys = _keys(read_lora(source))
    if as_json:
        print(json.dumps(keys, indent=2, ensure_ascii=False))
        return
    print(
        f"{keys['file']}: {keys['form']} form, family {keys['family'] or 'unknown'}, trigger {keys['trigger'] or '-'}"
    )
    for name, part in keys["components"].items():
        kind = ", ".join(part["kinds"])
        print(
            f"  {name}: {part['layers']} layers, {kind}, rank {_listed(part['ranks'])}, alpha {_listed(part['alphas'])}"
        )
    for word in keys["embeddings"]:
        print(f"  embedding {word!r} is bundled; it is left aside")
    for key, value in sorted(keys["metadata"].items()):
        print(f"  {key} = {value.replace(chr(10), ' ')[:100]}")


@lora_app.command()
def convert(
    source: Source,
    out: Annotated[Path, typer.Argument(help="The file to write, .safetensors.")],
    to: Form = "kohya",
    family: Family = None,
    dtype: Precision = "fp16",
) -> None:
    """Write a LoRA in another form; the header is kept.

    In diffusers' form alphas are multiplied into the weights, since its readers differ in whether they look for them.

    Examples:

        twinset lora convert jacket.safetensors jacket-diffusers.safetensors --to diffusers

        twinset lora convert peft/adapter_model.safetensors jacket.safetensors --to kohya
    """
    from twinset.adapters.lora.bases import base_models, lora_family, named_layers
    from twinset.adapters.lora.files import read_lora
    from twinset.adapters.lora.write import write_lora

    form, precision = _form(to), _dtype(dtype)
    read = read_lora(source)
    models = base_models(_family(family) or lora_family(read))
    kept = {key: value for key, value in read.metadata.items() if key not in ("format", "lora_adapter_metadata")}
    write_lora(out, named_layers(read, models), models, form, kept, precision)
    say.print(f"{out}: {read.form} → {form}", markup=False)
    if form == "diffusers" and "unet" in read.components:
        say.print(f"note: {LOST_IN_COMFYUI}", markup=False)


@lora_app.command()
def merge(
    sources: Annotated[list[str], typer.Argument(help="LoRA files of one family, each file or file=weight.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write, .safetensors.")],
    rank: Annotated[
        int | None, typer.Option(min=1, help="Largest rank; when absent the ranks' sum, which is exact.")
    ] = None,
    to: Form = "kohya",
    family: Family = None,
    dtype: Precision = "fp16",
) -> None:
    """Write one LoRA that adds what several add with their weights.

    Examples:

        twinset lora merge jacket.safetensors=0.8 style.safetensors=0.5 -o both.safetensors

        twinset lora merge jacket.safetensors --rank 8 -o smaller.safetensors
    """
    from twinset.adapters.lora.bases import base_models, lora_family, named_layers
    from twinset.adapters.lora.files import read_lora
    from twinset.adapters.lora.write import merged, standard_metadata, write_lora
    from twinset.pipelines.loading.request_loras import trigger_word
    from twinset.pipelines.named_files import LoraChoice

    form, precision = _form(to), _dtype(dtype)
    choices = [LoraChoice.model_validate(source) for source in sources]
    files = [read_lora(choice.path) for choice in choices]
    base = _family(family) or lora_family(files[0])
    models = base_models(base)
    parts: list[Any] = [(c.weight, named_layers(file, models)) for c, file in zip(choices, files, strict=True)]
    joined = merged(parts, rank, models)
    triggers = ", ".join(dict.fromkeys(word for file in files if (word := trigger_word(file.metadata))))
    write_lora(out, joined, models, form, standard_metadata(joined, base, out.stem, triggers), precision)
    say.print(f"{out}: {len(files)} LoRA(s), rank {max(low.rank for x in joined.values() for low in x.values())}")


def _keys(file: LoraFile) -> dict[str, Any]:
    from twinset.adapters.lora.bases import lora_family
    from twinset.pipelines.loading.request_loras import trigger_word

    try:
        family = lora_family(file)
    except InputError:
        family = None
    components = {
        name: {
            "layers": len(layers),
            "ranks": sorted({low.rank for low in layers.values()}),
            "alphas": sorted({low.alpha for low in layers.values()}),
            "dora": any("DoRA" in low.kind for low in layers.values()),
            "kinds": sorted({low.kind for low in layers.values()}),
        }
        for name, layers in file.components.items()
    }
    keys = {"file": str(file.path), "form": file.form, "family": family, "trigger": trigger_word(file.metadata)}
    return keys | {"embeddings": file.embeddings, "components": components, "metadata": file.metadata}


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _form(form: str) -> Any:
    from twinset.adapters.lora.write import FORMS

    if form not in FORMS:
        raise InputError(f"form {form!r} is unknown; choose one of {', '.join(FORMS)}")
    return form


def _family(family: str | None) -> str | None:
    from twinset.adapters.lora.bases import FAMILIES

    if family is not None and family not in FAMILIES:
        raise InputError(f"family {family!r} is unknown; choose one of {', '.join(FAMILIES)}")
    return family


def _dtype(name: str) -> Any:
    import torch

    known = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
    if name not in known:
        raise InputError(f"dtype {name!r} is unknown; choose one of {', '.join(known)}")
    return known[name]
