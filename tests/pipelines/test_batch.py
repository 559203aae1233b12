"""Batches: what a manifest comes to, and that every picture of it exists exactly once, whatever happens."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.helpers.tiny import noise_picture
from twinset import cli
from twinset.common.hashing import file_hash
from twinset.compliance.consent import ConsentBook, read_statement
from twinset.compliance.labels.verify import verify
from twinset.errors import InputError
from twinset.pipelines.batch import run as run_room
from twinset.pipelines.batch.formats import FORMATS, in_format
from twinset.pipelines.batch.ledger import Ledger
from twinset.pipelines.batch.manifest import Item, item_seed, items_of, read_batch_manifest
from twinset.pipelines.batch.page import TEMPLATES, write_pages
from twinset.pipelines.batch.run import BatchOutcome, batch_drawing, run_batch
from twinset.pipelines.generate import REMEDY
from twinset.pipelines.record import Record, load_record, save_picture, save_record

SMALL: dict[str, Any] = {
    "people": {"mei": {"words": "long black hair"}, "bo": {"words": "short hair"}},
    "looks": {"red": {"words": "red dress"}, "blue": {"words": "blue hoodie"}},
    "scenes": {"beach": "on the beach"},
    "poses": ["standing", "waving"],
}


def manifest(folder: Path, **more: Any) -> Path:
    path = folder / "promo.yaml"
    path.write_text(yaml.safe_dump(SMALL | more, sort_keys=False), encoding="utf-8")
    return path


def items(folder: Path, **more: Any) -> list[Item]:
    return items_of(read_batch_manifest(manifest(folder, **more)), folder)


def drawn(item: Item, folder: Path) -> tuple[Record, tuple[float, float]]:
    """Instead of a pipeline: noise by the item's seed."""
    seed = item.request.seed or 0
    name = f"{seed}.png"
    hashed = save_picture(Image.fromarray(noise_picture(64, 48, seed)), folder / name)
    record = Record(
        picture=name, sha256=hashed, index=0, seed=seed, request=item.request, inputs={}, composed={},
        model={"name": "none", "revision": ""}, machine={}, scores={"identity": 0.5}, scored_by="", faults=[],
        controller=[], seconds=0.01,
    )  # fmt: skip
    save_record(record, folder)
    return record, (0.5, 0.3)


def whole(out: Path, wanted: list[Item]) -> bool:
    """Every item is there once, its picture is the one of its seed, and nothing else is."""
    ledger = Ledger(out)
    for item in wanted:
        folder = out / "items" / item.name
        record = load_record(folder / f"{item.request.seed}.json")
        expected = noise_picture(64, 48, item.request.seed or 0)
        with Image.open(folder / record.picture) as file:
            if not (ledger.done(item) and np.array_equal(np.asarray(file), expected)):
                return False
    return sorted(p.name for p in (out / "items").iterdir()) == sorted(item.name for item in wanted)


# The manifest


def test_a_manifest_comes_to_its_products(tmp_path: Path) -> None:
    found = items(tmp_path, variants=2, leave_out=["bo/red/*"])
    assert len(found) == 2 * 3 * 2 and len({item.name for item in found}) == 12
    assert not [item for item in found if (item.person, item.look) == ("bo", "red")]
    pairs = [(item.person, item.look) for item in found]
    assert sum(one != other for one, other in pairwise(pairs)) == 2  # side by side
    assert found[0].request.prompt == "long black hair, red dress, on the beach" and found[0].request.pose == "standing"


def test_an_items_seed_does_not_depend_on_the_others(tmp_path: Path) -> None:
    before = {item.name: item.request.seed for item in items(tmp_path)}
    people = {**SMALL["people"], "new": {"words": "red hair"}}
    after = {item.name: item.request.seed for item in items(tmp_path, people=people, variants=3)}
    assert before.items() <= after.items() and len(set(after.values())) == len(after)
    assert {i.request.seed for i in items(tmp_path, seed=1)}.isdisjoint(before.values())
    assert item_seed(0, "a") == item_seed(0, "a") != item_seed(0, "b")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peopel": {}}, "peopel"), ({"people": {}}, "people"), ({"formats": ["cube"]}, "'cube' is unknown"),
        ({"people": {"../x": {}}}, "people"), ({"defaults": {"prompt": "x"}}, "'prompt' cannot be set here"),
        ({"defaults": {"stepps": 3}}, "'stepps' cannot be set here"), ({"prompt": "$nobody"}, "none of"),
        ({"leave_out": ["mei"]}, "not person/look/scene"), ({"leave_out": ["*/*/*"]}, "leaves out every"),
        ({"looks": {"a": {"garments": ["gone.png"]}}}, "'gone.png' is not a file"), ({"variants": 10**9}, "variants"),
        ({"people": {"a": {"selfies": ["me.png"]}}}, "has selfies but no consent"), ({"seed": -1}, "seed"),
        ({"defaults": {"steps": 0}}, "steps"),
    ],
)  # fmt: skip
def test_wrong_manifests_are_refused_in_one_line(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        items(tmp_path, **fields)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system ['true']", "- a", "{", "\x00", "[" * 3000])
def test_what_is_no_manifest_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="manifest"):
        read_batch_manifest(tmp_path / "m.yaml")


@pytest.mark.parametrize("name", ["promo", "team-avatars", "lookbook"])
def test_templates_are_manifests(name: str, tmp_path: Path) -> None:
    assert len(items_of(read_batch_manifest(TEMPLATES / f"{name}.yaml"), tmp_path)) >= 3


# Exactly once


def test_a_batch_goes_on_where_it_was(tmp_path: Path) -> None:
    wanted, out = items(tmp_path), tmp_path / "out"
    asked: list[str] = []

    def counted(item: Item, folder: Path) -> tuple[Record, tuple[float, float]]:
        asked.append(item.name)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return drawn(item, folder)

    with pytest.raises(KeyboardInterrupt):
        run_batch(wanted, out, counted)
    assert run_batch(wanted, out, counted) == BatchOutcome(5, 3, {})
    assert len(asked) == 9 and asked[3] == asked[4] and whole(out, wanted)
    assert run_batch(wanted, out, counted) == BatchOutcome(0, 8, {}) and len(asked) == 9


@pytest.mark.long
def test_a_hundred_kills(tmp_path: Path) -> None:
    """SIGKILL at random points; then one run to the end."""
    wanted, out, dice = items(tmp_path, variants=12), tmp_path / "out", random.Random(0)
    kills, began = 0, time.monotonic()
    while kills < 100:
        child = os.fork()
        if child == 0:
            run_batch(wanted, out, drawn)
            os._exit(0)
        time.sleep(dice.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if (out / "items").is_dir() and len(list((out / "items").iterdir())) > len(wanted) * 0.8:
            for name in dice.sample(sorted(p.name for p in (out / "items").iterdir()), 30):
                os.rename(out / "items" / name, out / f"taken-{name}-{kills}")  # so that there is work for all kills
        assert time.monotonic() - began < 100
    outcome = run_batch(wanted, out, drawn)
    assert outcome.drawn + outcome.kept == len(wanted) and not outcome.failed and whole(out, wanted)
    assert not list((out / "unfinished").iterdir())


def test_what_was_damaged_or_asked_otherwise_is_drawn_anew(tmp_path: Path) -> None:
    wanted, out = items(tmp_path), tmp_path / "out"
    run_batch(wanted, out, drawn)
    first = out / "items" / wanted[0].name
    (first / f"{wanted[0].request.seed}.png").write_bytes(b"cut off")
    (out / "items" / wanted[1].name / "item.json").write_text("{", encoding="utf-8")
    assert run_batch(wanted, out, drawn) == BatchOutcome(2, 6, {}) and whole(out, wanted)
    changed = items(tmp_path, defaults={"steps": 3})
    assert run_batch(changed, out, drawn).drawn == 8 and whole(out, changed)


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    wanted, out = items(tmp_path), tmp_path / "out"
    with Ledger(out).claimed(), pytest.raises(InputError, match="is in use by another run"):
        run_batch(wanted, out, drawn)


def test_failures_have_reasons_and_are_retried_alone(tmp_path: Path) -> None:
    wanted, out, broken, asked = items(tmp_path), tmp_path / "out", {1: "x", 2: "y"}, []

    def sometimes(item: Item, folder: Path) -> tuple[Record, tuple[float, float]]:
        asked.append(item.name)
        number = wanted.index(item)
        if number in broken:
            raise (
                InputError(f"refused 1 of 1 pictures (too far); {REMEDY}") if number == 1 else RuntimeError("no memory")
            )
        return drawn(item, folder)

    outcome = run_batch(wanted, out, sometimes)
    assert outcome.drawn == 6 and set(outcome.failed) == {wanted[1].name, wanted[2].name}
    ledger = Ledger(out)
    assert (ledger.failure(wanted[1].name) or {})["state"] == "refused"
    assert outcome.failed[wanted[2].name] == "RuntimeError: no memory"
    page = write_pages(wanted, out, "promo").read_text("utf-8")
    assert "no memory" in page and page.count("<li ") == 8 and 'data-state="refused"' in page
    broken.clear()
    asked.clear()
    assert (
        run_batch(wanted, out, sometimes, retry=True) == BatchOutcome(2, 0, {})
        and len(asked) == 2
        and whole(out, wanted)
    )


def test_people_who_did_not_agree_are_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINSET_CONSENT", str(tmp_path / "consent"))
    Image.fromarray(noise_picture(20, 20)).save(tmp_path / "me.png")
    far, now = date.today() + timedelta(days=9), datetime.now(UTC)
    book = ConsentBook()
    given = [
        book.record(read_statement(person=p, purposes=(what,), until=far, given=now))
        for p, what in (("Mei", "promotion"), ("Bo", "training"))
    ]
    faces = [{"selfies": ["me.png"], "consent": one} for one in given]
    wanted = items(tmp_path, people={"mei": faces[0], "bo": faces[1]}, poses=["standing"])
    outcome = run_batch(wanted, tmp_path / "out", drawn)
    assert outcome.drawn == 2 and all("covers training, not promotion" in why for why in outcome.failed.values())
    book.withdraw(given[0])
    assert len(run_batch(wanted, tmp_path / "other", drawn).failed) == 4


@pytest.mark.slow
def test_on_ray_every_item_exists_once_although_workers_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="needs the package ray")
    house = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (house, os.environ.get("PYTHONPATH")))))
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    from twinset.pipelines.batch.ray_engine import run_batch_on_ray

    wanted, out, deaths = items(tmp_path, variants=4), tmp_path / "out", tmp_path / "deaths"
    deaths.mkdir()

    def dying(item: Item, folder: Path) -> tuple[Record, tuple[float, float]]:
        made = drawn(item, folder)
        mark = deaths / item.name
        if (item.request.seed or 0) % 3 == 0 and not mark.exists():  # once, with all files there but not published
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return made

    outcome = run_batch_on_ray(wanted, out, lambda: dying, gate=lambda item: None, workers=2, resources={"num_cpus": 1})
    assert not outcome.failed and outcome.drawn + outcome.kept == len(wanted) and whole(out, wanted)
    assert len(list(deaths.iterdir())) > 3
    again = run_batch_on_ray(wanted, out, lambda: dying, gate=lambda item: None, workers=2, resources={"num_cpus": 1})
    assert again == BatchOutcome(0, len(wanted), {})


# Looks


@pytest.mark.parametrize("name", list(FORMATS))
def test_formats_have_their_size_and_keep_the_head(name: str) -> None:
    picture = Image.new("RGB", (192, 256), (40, 120, 200))
    picture.paste((250, 10, 10), (80, 40, 112, 72))
    page = in_format(picture, name, (0.5, 0.22))
    assert page.size == (FORMATS[name] or picture.size)
    red = (np.abs(np.asarray(page).astype(int) - (250, 10, 10)) < 12).all(-1)
    assert red.mean() > 0.4 * (32 * 32) / (192 * 256)
    edge = np.asarray(page).astype(int)[5, 5]
    assert np.abs(edge - (40, 120, 200)).max() < 25


def test_the_page_escapes_what_it_tells(tmp_path: Path) -> None:
    wanted = items(tmp_path, scenes={"beach": "<script>alert(1)</script>"})
    run_batch(wanted, tmp_path / "out", drawn)
    text = write_pages(wanted, tmp_path / "out", "<b>").read_text("utf-8")
    assert "<script>alert" not in text and "<b>" not in text and "&lt;script&gt;" in text
    assert {p.name for p in (tmp_path / "out" / "sheets").iterdir()} == {
        "person-mei.png", "person-bo.png", "look-red.png", "look-blue.png"
    }  # fmt: skip


# With a pipeline


@pytest.mark.long
def test_the_bundled_model_draws_a_batch(tmp_path: Path, studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every format is labelled; a garment is looked at once for all its pictures."""
    from twinset.pipelines.studio import StudioPipeline

    looked: list[bool] = []
    plain = StudioPipeline._piece
    monkeypatch.setattr(StudioPipeline, "_piece", lambda self, flat: looked.append(True) or plain(self, flat))
    garment = str(Path(__file__).resolve().parents[2] / "examples" / "garment.png")
    wanted = items(
        tmp_path, looks={"dots": {"garments": [f"dress={garment}"]}}, formats=["original", "story"],
        defaults={"steps": 1, "repair": False, "label_corner": "top_left"},
    )  # fmt: skip
    outcome = run_batch(wanted, tmp_path / "out", batch_drawing(studio), ("original", "story"))
    assert outcome == BatchOutcome(4, 0, {}) and len(looked) <= 1
    entry = Ledger(tmp_path / "out").entry(wanted[0].name) or {}
    for file in entry["formats"].values():
        path = tmp_path / "out" / "items" / wanted[0].name / file
        assert {"xmp", "c2pa", "mark"} <= set(verify(path).layers)
    assert file_hash(path) == entry["files"][path.name]
    with Image.open(path) as story:
        corner = np.asarray(story.convert("L"))[20:140, 20:260]
    assert corner.max() > 240 and corner.min() < 120  # the label's words on their plate


def test_the_command_draws_reports_and_estimates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from twinset.cli import batch as batch_command

    monkeypatch.setattr(batch_command, "_draw", lambda *given: drawn)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["twinset", "batch", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    path, out = manifest(tmp_path), tmp_path / "out"
    code, told, _ = run(path, "-o", out, "--dry-run", "--json")
    assert code == 0 and json.loads(told) == {"items": 8, "missing": 8, "seconds_each": 0.01, "seconds": 0}
    assert not out.exists()
    code, told, _ = run(path, "-o", out, "--json")
    assert code == 0 and json.loads(told)["drawn"] == 8 and (out / "index.html").is_file()
    code, _, err = run(path, "-o", out)
    assert code == 0 and "0 drawn, 8 already there" in err
    monkeypatch.setattr(run_room, "consented", lambda item: (_ for _ in ()).throw(InputError("not agreed")))
    code, _, err = run(path, "-o", tmp_path / "other")
    assert code == 1 and "not agreed" in err and "--retry-failed" in err
    assert run("template", "team-avatars")[1].startswith("# One avatar")
    assert "choose local or ray" in run(path, "--engine", "spark")[2]
