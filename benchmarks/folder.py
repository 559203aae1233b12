"""The benchmark on data of one's own: photos in which garments (and faces) are changed, paired with the truth or not.

    python -m twinset.benchmarks.folder /data/viton-hd --layout viton-hd --pairs paired --model sd15 --out out/viton
    python -m twinset.benchmarks.folder my_pictures/ --layout own --out out/mine

Layouts:
    viton-hd    test/image, test/cloth, and test_pairs.txt with "person.jpg garment.jpg" (Choi et al. 2021)
    dresscode   upper_body, lower_body and dresses, each with images and test_pairs_paired.txt, test_pairs_unpaired.txt
                (Morelli et al. 2022)
    own         photos/NAME.*, garments/NAME.* or garments/NAME.KIND.*; selfies/NAME.*, prompts/NAME.txt where wanted

Paired, everybody is dressed in the garment of the photo, which is then the truth: SSIM and PSNR. Otherwise, and beside
it, the pipeline's own measures (`twinset.pipelines.controller.measures`), which are no independent judges. An
interrupted run goes on. The bundled model recognises the garments' kinds by itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from twinset.benchmarks.figures import Estimate, psnr_each, ssim, summarise
from twinset.common.atomic_files import atomic_path
from twinset.common.image_io import read_picture
from twinset.common.sheets import contact_sheet
from twinset.errors import InputError
from twinset.pipelines.compose import backend_of, compose
from twinset.pipelines.controller.controller import framed, target_of
from twinset.pipelines.controller.measures import MEASURES, measure
from twinset.pipelines.draw import draw
from twinset.pipelines.generate import with_model_defaults
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.loading.load import load_pipeline
from twinset.pipelines.named_files import GarmentPicture
from twinset.pipelines.record import machine
from twinset.pipelines.request import Request

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
CATEGORIES = {"upper_body": "t_shirt", "lower_body": "trousers", "dresses": "dress"}
"""DressCode's categories, and the kind that their garments are taken for."""
SHOWN = 12
PROMPT = "a person"


@dataclass(frozen=True)
class FolderItem:
    """One photo to change.

    Attributes:
        name: of its result.
        photo, garment: files.
        kind: of the garment; None to have it recognised.
        selfie: another face for it, or None.
        prompt: what the photo shows.
        paired: whether the photo itself is the truth.
        layout: of the data set.
    """

    name: str
    photo: Path
    garment: Path
    kind: str | None = None
    selfie: Path | None = None
    prompt: str = PROMPT
    paired: bool = False
    layout: str = "own"


def viton_hd_items(root: Path, pairs: str) -> Iterator[FolderItem]:
    """Items of a VITON-HD folder; its garments are tops."""
    for person, cloth in _rows(root / "test_pairs.txt"):
        cloth = person if pairs == "paired" else cloth
        garment = root / "test" / "cloth" / cloth
        name = f"{Path(person).stem}-{Path(cloth).stem}"
        yield FolderItem(
            name, root / "test" / "image" / person, garment, "t_shirt", None, PROMPT, pairs == "paired", "viton-hd"
        )


def dresscode_items(root: Path, pairs: str) -> Iterator[FolderItem]:
    """Items of a DressCode folder, category by category."""
    for category, kind in CATEGORIES.items():
        listed = root / category / f"test_pairs_{pairs}.txt"
        for person, cloth in _rows(listed) if listed.is_file() else ():
            images = root / category / "images"
            name = f"{category}-{Path(person).stem}-{Path(cloth).stem}"
            yield FolderItem(name, images / person, images / cloth, kind, None, PROMPT, pairs == "paired", "dresscode")


def own(root: Path, pairs: str) -> Iterator[FolderItem]:
    """Items of a folder of one's own, by name; paired says that each garment is the one in its photo."""
    for photo in _pictures(root / "photos"):
        garments = [path for path in _pictures(root / "garments") if path.name.split(".")[0] == photo.stem]
        if not garments:
            raise InputError(f"{str(root / 'garments')!r} has no picture named {photo.stem}; add one for each photo")
        _, *kind, _ = garments[0].name.split(".")
        selfies = [path for path in _pictures(root / "selfies") if path.stem == photo.stem]
        words = root / "prompts" / f"{photo.stem}.txt"
        yield FolderItem(
            photo.stem,
            photo,
            garments[0],
            kind[0] if kind else None,
            selfies[0] if selfies else None,
            words.read_text(encoding="utf-8").strip() if words.is_file() else PROMPT,
            pairs == "paired",
        )


LAYOUTS: dict[str, Callable[[Path, str], Iterator[FolderItem]]] = {
    "viton-hd": viton_hd_items,
    "dresscode": dresscode_items,
    "own": own,
}


def folder_items(root: Path, layout: str, pairs: str, limit: int | None = None) -> list[FolderItem]:
    """The items of a folder.

    Raises:
        InputError: there are none, or a file that is listed is missing.
    """
    found = list(LAYOUTS[layout](root, pairs))[:limit]
    if not found:
        raise InputError(
            f"{str(root)!r} contains nothing in the layout {layout}; see --help for the files that it needs"
        )
    for path in (path for item in found for path in (item.photo, item.garment) if not path.is_file()):
        raise InputError(f"{str(path)!r} is listed, but not there; complete the data set")
    return found


def try_on_and_measure(pipe: JointPass, item: FolderItem, path: Path, seed: int) -> dict[str, float]:
    """Draw an item in photo mode, save what the family's frame shows, and measure it; a result that is there is kept.

    Returns:
        Measure to value; `ssim` and `psnr_each` where the photo is the truth.
    """
    told = item.layout == "own" or backend_of(pipe).family != "studio"  # a data set's tops are of many drawn kinds
    request = Request(
        prompt=item.prompt,
        photo=item.photo,
        garments=(GarmentPicture(path=item.garment, kind=item.kind if told else None),),
        selfies=(item.selfie,) if item.selfie else (),
        seed=seed,
        model=pipe.name_or_path or "",
    )
    request = with_model_defaults(pipe, request)
    composition = compose(pipe, request)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            drawn = framed(composition, request, draw(pipe, request, composition, 0))
            Image.fromarray(drawn).save(temporary, format="PNG")
    picture = np.asarray(Image.open(path))
    values = measure(backend_of(pipe), picture, target_of(pipe, composition)).values
    if item.paired and composition.photo is not None:
        truth = composition.photo.seen[None]
        values |= {"ssim": float(ssim(picture[None], truth)[0]), "psnr": float(psnr_each(picture[None], truth)[0])}
    return values


def run_items(
    pipe: JointPass, items: Sequence[FolderItem], out: Path, seed: int = 0
) -> tuple[dict[str, Estimate], list[str]]:
    """Draw and measure all items.

    Returns:
        Figures with their intervals, and a line for each item that could not be drawn.
    """
    rows, failed = [], []
    for item in track(items, description="drawing", console=Console(stderr=True)):
        try:
            rows.append(try_on_and_measure(pipe, item, out / "drawn" / f"{item.name}.png", seed))
        except InputError as error:
            failed.append(f"{item.name}: {error}")
    names = [name for name in (*MEASURES, "ssim", "psnr") if any(name in row for row in rows)]
    return summarise({name: np.array([row.get(name, np.nan) for row in rows]) for name in names}), failed


def write_results(
    out: Path, items: Sequence[FolderItem], figures: dict[str, Estimate], failed: list[str], said: dict
) -> None:
    """Write `folder.json`, `folder.md` and `folder.png`: photo, garment, result."""
    out.mkdir(parents=True, exist_ok=True)
    content = {"run": said, "failed": failed, "figures": {name: asdict(value) for name, value in figures.items()}}
    text = json.dumps(content, indent=1, ensure_ascii=False).replace("NaN", "null")
    (out / "folder.json").write_text(text + "\n", encoding="utf-8")
    lines = [f"| {name} | {e.mean:.3f} [{e.low:.3f}, {e.high:.3f}] | {e.people} |\n" for name, e in figures.items()]
    (out / "folder.md").write_text("| measure | mean | photos |\n| --- | ---: | ---: |\n" + "".join(lines), "utf-8")
    drawn = [item for item in items if (out / "drawn" / f"{item.name}.png").is_file()][:SHOWN]
    if drawn:
        files = [(item.photo, item.garment, out / "drawn" / f"{item.name}.png") for item in drawn]
        contact_sheet([[read_picture(path, "picture") for path in row] for row in files]).save(out / "folder.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark on a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--layout", choices=LAYOUTS, default="own")
    parser.add_argument("--pairs", choices=("paired", "unpaired"), default="unpaired")
    parser.add_argument("--model", default="studio", help="profile or model folder")
    parser.add_argument("--out", type=Path, default=Path("out/folder"))
    parser.add_argument("--limit", type=int, help="photos at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    items = folder_items(options.data, options.layout, options.pairs, options.limit)
    pipe: Any = load_pipeline(options.model)
    pipe.set_progress_bar_config(disable=True)
    figures, failed = run_items(pipe, items, options.out, options.seed)
    said = {name: str(getattr(options, name)) for name in ("data", "layout", "pairs", "model", "seed")}
    write_results(options.out, items, figures, failed, said | {"photos": len(items), "machine": machine(pipe.device)})
    console = Console()
    console.print((options.out / "folder.md").read_text(encoding="utf-8"), markup=False, soft_wrap=True)
    for line in failed:
        console.print(line, style="yellow", markup=False)


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """The first two words of each line."""
    if not path.is_file():
        raise InputError(f"{str(path)!r} is missing; it lists which person wears which garment")
    for line in path.read_text(encoding="utf-8").splitlines():
        person, garment, *_ = [*line.split(), "", ""]
        if person and garment:
            yield person, garment


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in ENDINGS)


if __name__ == "__main__":
    main()
