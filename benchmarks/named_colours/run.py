"""Are garments that only words name drawn in the colours that the words say? Held-out sentences, English and Chinese.

    python -m twinset.benchmarks.named_colours --sentences 100 --out benchmarks/results/

Each sentence is drawn twice from the same seed at the usual size, half of them with a selfie, in the plain pass: by
its words alone (`--garment-strength 0`) and with its clothes drawn flat and given as pictures, as `twinset generate`
does. Two judges look at each garment that is named and in sight: a rule (the named colour has the largest share of
the region, of patterned cloth an eighth of it, by the nearest of 22 colours in CIEDE2000 under a light of the
picture's class) and a network that takes no part in drawing. True pictures of the same clothes are the ceiling, the
colours of the next sentence's clothes the floor.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from twinset.benchmarks.drawing import as_judged, studio_pipeline
from twinset.benchmarks.figures import Estimate
from twinset.benchmarks.judges import FOLDER, Judges
from twinset.benchmarks.named_colours.sentences import (
    FRAMING_SHARES,
    HELD_OUT,
    NamedPiece,
    NamedSentence,
    named_sentence,
)
from twinset.benchmarks.page import grid
from twinset.figure.colours import HAIR
from twinset.figure.drawn_parsing import draw_layout
from twinset.figure.keypoints import FRAME
from twinset.figure.labels import garment_labels
from twinset.figure.poses import placement
from twinset.perception.garments.colours import colour_shares
from twinset.pipelines.compose import compose
from twinset.pipelines.draw import draw
from twinset.pipelines.joint import Layout
from twinset.pipelines.record import machine, weights_revision
from twinset.pipelines.request import Request
from twinset.pipelines.stages import View
from twinset.pipelines.studio import StudioPipeline
from twinset.prompts.glossary import COLOUR_WORDS
from twinset.scoring.garment import region_inside
from twinset.training.mannequin import render
from twinset.training.mannequin.attributes import ATTRIBUTES
from twinset.training.mannequin.spec import Spec, draw_plain_spec, light_tint
from twinset.training.studio.judges import GARMENT_CLASSES

WAYS = {"words alone": 0.0, "drawn from words": 1.0}
"""Way to the garments' strength."""
LANGUAGES = {"en": "English", "zh": "Chinese"}
IN_SIGHT = 60
"""Pixels that a garment must have in the layout, its rim taken off, to be judged."""
FOUND = 24
"""Pixels of them in which the judge must see such a garment; with fewer it has not been drawn."""
WARMTHS = {"cold": (-1, -0.75, -0.5, -0.25), "neutral": (-0.4, -0.2, 0, 0.2, 0.4), "warm": (0.25, 0.5, 0.75, 1)}
BRIGHTNESS = (0.85, 1.0, 1.12)
LIGHTS = {
    word: np.array([light_tint(warmth) for warmth in warmths])[:, None] * np.array(BRIGHTNESS)[None, :, None]
    for word, warmths in WARMTHS.items()
}
"""Class of light to gains (warmth, brightness, 3) that it may have in Mannequin."""
AMBIGUOUS = {"silver": ("grey", "white")}
"""Names that are either of two colours as long as nobody knows how bright the light is."""
LEAST_SHARE = 1 / 8
"""Of a patterned garment that a colour must have: of checks the ground is a third, and lines blend with it."""


@dataclass(frozen=True)
class Case:
    """A sentence, the person whose clothes it names, and whether the person's selfie is given."""

    number: int
    language: str
    spec: Spec
    sentence: NamedSentence
    with_selfie: bool


@dataclass(frozen=True)
class Judged:
    """What the judges see of one garment, or of the hair, of a picture.

    Attributes:
        case: whose it is.
        part: "dress", "upper", "lower", "shoes" or "hair".
        wanted: colour in the words; of hair without one, the colours of the named garments, which it should not take.
        seen: judge to the colours that it sees, none where there is nothing.
        kind: whether the network sees the kind that is named; NaN of what has no kinds.
    """

    case: Case
    part: str
    wanted: tuple[str, ...]
    seen: dict[str, tuple[str, ...]]
    kind: float = float("nan")


def cases(first: int, count: int) -> list[Case]:
    """`count` sentences in each language, of the held-out split from `HELD_OUT` on; every second with a selfie."""
    split = "held_out" if first >= HELD_OUT else "train"
    made = []
    for number in range(first, first + 2 * count):
        language, spec = ("en", "zh")[number % 2], draw_plain_spec(number, split)
        sentence = named_sentence(spec, language, number)
        made.append(Case(number, language, spec, sentence, number // 2 % 2 == 0))
    return made


# Pictures


def draw_case(pipe: StudioPipeline, case: Case, steps: int, guidance: float) -> dict[str, np.ndarray]:
    """The case's pictures by way, their layout, and a true picture of the same clothes with its parsing map."""
    true = replace(case.spec, framing=case.sentence.framing, where=placement(case.sentence.framing))
    with TemporaryDirectory() as folder:
        selfie = Path(folder) / "selfie.png"
        Image.fromarray(render.render_selfie(case.spec.restyled(np.random.default_rng(case.number), plain=True))).save(
            selfie
        )
        asked = Request(
            prompt=case.sentence.text,
            seed=case.number,
            framing=case.sentence.framing,  # type: ignore[arg-type]
            selfies=(selfie,) if case.with_selfie else (),
            steps=steps,
            guidance=guidance,
        )
        made = {"truth": render.render_picture(true), "true labels": render.render_parsing(true)}
        for way, strength in WAYS.items():
            request = asked.model_copy(update={"garment_strength": strength})
            composition = compose(pipe, request)
            seen = as_judged(draw(pipe, request, composition, 0))
            made |= {way: seen, "labels": in_kind(case, View(FRAME).layout(composition.layout))}
    return made


def in_kind(case: Case, layout: Layout) -> np.ndarray:
    """The layout's parsing map; of the clothes that were meant, should the reader have understood others."""
    meant = [garment_labels(piece.kind) for piece in case.sentence.pieces]
    if all(np.isin(layout.labels, labels).any() for labels in meant):
        return layout.labels
    return draw_layout(layout.keypoints, case.spec.kinds, "short")


def pictures_of(pipe: StudioPipeline, options: argparse.Namespace, revision: str) -> Iterator[dict[str, np.ndarray]]:
    """Every case's pictures; those that an earlier run drew are read."""
    name = f"{revision[:12]}-{options.steps}-{options.guidance:g}"
    folder = options.out / "drawn" / f"named-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = cases(options.first_seed, options.sentences)
    for case in track(chosen, description="drawing", console=Console(stderr=True)):
        path = folder / f"{case.number}.npz"
        if not path.exists():
            unfinished = path.with_suffix(".part.npz")
            np.savez_compressed(unfinished, **draw_case(pipe, case, options.steps, options.guidance))  # type: ignore[arg-type]
            unfinished.replace(path)
        yield dict(np.load(path))


# Judges


def judge_case(judges: Judges, case: Case, picture: np.ndarray, labels: np.ndarray) -> list[Judged]:
    """Every named garment that is in sight, and the hair.

    Args:
        judges: who look.
        case: what was asked for.
        picture: uint8 (256, 192, 3).
        labels: uint8 (256, 192), where its clothes should be.
    """
    reading = judges.read(picture[None])
    attributes = {name: ATTRIBUTES[name][classes[0]] for name, classes in reading.attributes.items()}
    found = []
    for piece in case.sentence.pieces:
        region = region_inside(labels, garment_labels(piece.kind))
        if region.sum() >= IN_SIGHT:
            region &= np.isin(reading.parsing[0], garment_labels(piece.kind))
            found.append(judge_piece(judges, case, piece, picture, region, attributes))
    worn = tuple({piece.colour for piece in case.sentence.pieces} & set(HAIR))
    wanted = (case.sentence.hair_colour,) if case.sentence.hair_colour else worn
    return [*found, *([Judged(case, "hair", wanted, {"network": (attributes["hair_colour"],)})] if wanted else [])]


def judge_piece(
    judges: Judges, case: Case, piece: NamedPiece, picture: np.ndarray, region: np.ndarray, attributes: dict[str, str]
) -> Judged:
    """One garment.

    Args:
        judges: who look.
        case: of the picture.
        piece: what was asked for.
        picture: uint8 (256, 192, 3).
        region: bool (256, 192), where it should be and the parser sees such a thing.
        attributes: what the network sees in the picture as a whole; it knows shoes in no other way.
    """
    shoes, wanted = piece.slot == "shoes", (piece.colour,)
    if region.sum() < FOUND:
        return Judged(case, piece.slot, wanted, {"rule": (), "network": ()}, float("nan") if shoes else 0.0)
    lights = LIGHTS[attributes["light"]].reshape(-1, 3)
    rule = named_colours(colour_shares(picture, region, lights), piece.pattern)
    if shoes:
        return Judged(case, piece.slot, wanted, {"rule": rule, "network": (attributes["shoes_colour"],)})
    classes = judges.garment_classes([picture], [region])
    colour, kind = (GARMENT_CLASSES[name][int(classes[name][0])] for name in ("colour", "kind"))
    return Judged(case, piece.slot, wanted, {"rule": rule, "network": (colour,)}, float(kind == piece.kind))


def named_colours(found: Sequence[tuple[str, float]], pattern: str) -> tuple[str, ...]:
    """The colours that a garment may be called by: of plain cloth the main one, else all with a fair share."""
    shares: dict[str, float] = {}
    for name, share in found:
        for key in AMBIGUOUS.get(name) or (colour_key(name),):
            shares[key] = shares.get(key, 0.0) + share
    least = max(shares.values()) if pattern == "plain" else LEAST_SHARE
    return tuple(key for key in shares if shares[key] >= least)


def colour_key(name: str) -> str:
    """The key of the glossary's colours that a colour's name belongs to."""
    return next(key for key, words in COLOUR_WORDS.items() if name in words)


# Figures


def shares(found: Sequence[Judged], judge: str, turned: bool = False) -> np.ndarray:
    """Of each garment whether a judge sees its colour, (N,); `turned` against the next one's colour instead."""
    wanted = [each.wanted for each in found]
    wanted = [*wanted[1:], *wanted[:1]] if turned else wanted
    return np.array([bool({*each.seen[judge]} & {*key}) for each, key in zip(found, wanted, strict=True)], float)


def estimate(found: Sequence[Judged], right: np.ndarray, draws: int = 2000) -> Estimate:
    """Share of garments and its 95 % percentile bootstrap interval over sentences.

    Args:
        found: N garments; those of one sentence are resampled together.
        right: float (N,), NaN where nothing is known.
        draws: number of resamples.
    """
    known = np.isfinite(right)
    numbers = [each.case.number for each in found]
    _, owner = np.unique(np.array(numbers)[known], return_inverse=True) if known.any() else (None, np.zeros(0, int))
    if not known.any():
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    hits, counts = np.bincount(owner, right[known]), np.bincount(owner)
    picked = np.random.default_rng(0).integers(len(counts), size=(draws, len(counts)))
    low, high = np.percentile(hits[picked].sum(1) / counts[picked].sum(1), [2.5, 97.5])
    return Estimate(float(right[known].mean()), float(low), float(high), int(known.sum()))


def figures(found: Sequence[Judged]) -> dict[str, dict[str, Estimate]]:
    """Group of garments to its figures, of one way and one language."""
    clothes = [each for each in found if each.part != "hair"]
    groups = {"all named garments": clothes}
    groups |= {part: [e for e in clothes if e.part == part] for part in ("dress", "upper", "lower", "shoes")}
    groups |= {f"framing {name}": [e for e in clothes if e.case.sentence.framing == name] for name in FRAMING_SHARES}
    groups |= {"with a selfie": [e for e in clothes if e.case.with_selfie]}
    groups |= {"without": [e for e in clothes if not e.case.with_selfie]}
    rows = {name: _of_clothes(group) for name, group in groups.items()}
    rows["other sentence's colours"] = {
        judge: estimate(clothes, shares(clothes, judge, turned=True)) for judge in ("rule", "network")
    }
    hair = [each for each in found if each.part == "hair"]
    for name, coloured in (("hair: the named colour", True), ("hair: a named garment's colour", False)):
        group = [each for each in hair if bool(each.case.sentence.hair_colour) == coloured]
        rows[name] = {"network": estimate(group, shares(group, "network"))}
    return rows


def _of_clothes(found: Sequence[Judged]) -> dict[str, Estimate]:
    by_judge = {judge: shares(found, judge) for judge in ("rule", "network")}
    by_judge["both"] = by_judge["rule"] * by_judge["network"]
    by_judge["kind"] = np.array([each.kind for each in found])
    return {name: estimate(found, right) for name, right in by_judge.items()}


# Results


def colour_table(results: dict[str, dict[str, dict[str, dict[str, Estimate]]]]) -> str:
    """Markdown: one table per language, a row per group, a column per way and judge."""
    text = ""
    for language, ways in results.items():
        columns = [(way, judge) for judge in ("rule", "network") for way in ways] + [(way, "kind") for way in ways]
        heads = [f"{judge if judge == 'kind' else f'colour, {judge}'}: {way}" for way, judge in columns]
        text += f"### {LANGUAGES[language]}\n\n| % right | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}\n"
        for group in next(iter(ways.values())):
            cells = [_cell(ways[way][group].get(judge)) for way, judge in columns]
            text += f"| {group} | {' | '.join(cells)} |\n"
        text += "\n"
    return text


def _cell(value: Estimate | None) -> str:
    if value is None or not value.people:
        return "–"
    return f"{value.mean * 100:.0f} [{value.low * 100:.0f}, {value.high * 100:.0f}] of {value.people}"


def write_named_colours(
    out: Path, results: Any, made: Sequence[tuple[Case, dict[str, np.ndarray]]], run: dict[str, Any]
) -> None:
    """Write `named_colours.json`, `.md` and `.png` into a folder."""
    plain = {
        language: {
            way: {group: {name: asdict(e) for name, e in row.items()} for group, row in groups.items()}
            for way, groups in ways.items()
        }
        for language, ways in results.items()
    }
    text = json.dumps({"run": run, "figures": plain}, indent=1, ensure_ascii=False).replace("NaN", "null")
    (out / "named_colours.json").write_text(text + "\n", encoding="utf-8")
    shown = {language: [pair for pair in made if pair[0].language == language][:12] for language in LANGUAGES}
    lines = [f"{row + 1}. {LANGUAGES[k]}: {c.sentence.text}\n" for k in shown for row, (c, _) in enumerate(shown[k])]
    sheet = "The rows of [named_colours.png](named_colours.png), from above, left and right:\n\n" + "".join(lines)
    (out / "named_colours.md").write_text(colour_table(results) + sheet, encoding="utf-8")
    columns = {
        f"{LANGUAGES[language]}: {way}": [pictures[way] for _, pictures in pairs]
        for language, pairs in shown.items()
        for way in WAYS
    }
    grid(columns).save(out / "named_colours.png")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=100, help="in each language")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--model", default="studio", help="profile or model folder")
    parser.add_argument("--judges", type=Path, default=FOLDER, help="folder of the judges")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--first-seed", type=int, default=HELD_OUT, help="others below it, such as 60000, for tuning")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write `named_colours.json`, `named_colours.md` and `named_colours.png`."""
    options = parse_options(arguments)
    started = time.perf_counter()
    judges, pipe = Judges.load(options.judges), studio_pipeline(options.model)
    revision = weights_revision(Path(pipe.name_or_path))
    chosen = cases(options.first_seed, options.sentences)
    made = list(zip(chosen, pictures_of(pipe, options, revision), strict=True))
    results: dict[str, dict[str, Any]] = {language: {} for language in LANGUAGES}
    for language in LANGUAGES:
        own = [pair for pair in made if pair[0].language == language]
        for way in (*WAYS, "truth"):
            labels = "true labels" if way == "truth" else "labels"
            found = [each for case, drawn in own for each in judge_case(judges, case, drawn[way], drawn[labels])]
            results[language][way] = figures(found)
    run = {
        "sentences": options.sentences,
        "first_seed": options.first_seed,
        "steps": options.steps,
        "guidance": options.guidance,
        "model": {"name": options.model, "revision": revision},
        "machine": machine(pipe.device),
        "seconds": round(time.perf_counter() - started, 1),
    }
    write_named_colours(options.out, results, made, run)
    Console().print((options.out / "named_colours.md").read_text(encoding="utf-8"), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
