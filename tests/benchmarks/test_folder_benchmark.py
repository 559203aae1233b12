"""The benchmark on folders: layouts are read as published, results are kept, the truth is compared with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinset.benchmarks import folder
from twinset.benchmarks.folder import folder_items, main
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import render_flat
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_plain_spec
from twinset.training.mannequin.viton import write_viton


@pytest.fixture(scope="module")
def viton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("viton")
    write_viton(root, 2, "held_out", start=900_900_000)
    return root


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 12, 3), dtype=np.uint8)).save(path)


def test_viton_hd_pairs(viton: Path) -> None:
    paired, unpaired = folder_items(viton, "viton-hd", "paired"), folder_items(viton, "viton-hd", "unpaired")
    assert [item.photo.name == item.garment.name for item in paired] == [True, True]
    assert [item.photo.name == item.garment.name for item in unpaired] == [False, False]
    assert all(item.paired for item in paired) and not any(item.paired for item in unpaired)
    assert paired[0].garment.parent.name == "cloth" and len(folder_items(viton, "viton-hd", "paired", 1)) == 1


def test_dresscode_goes_category_by_category(tmp_path: Path) -> None:
    for category in ("upper_body", "dresses"):
        for name in ("000001_0.jpg", "000001_1.jpg", "000002_1.jpg"):
            picture(tmp_path / category / "images" / name)
        (tmp_path / category / "test_pairs_paired.txt").write_text("000001_0.jpg\t000001_1.jpg\n", encoding="utf-8")
        (tmp_path / category / "test_pairs_unpaired.txt").write_text("000001_0.jpg 000002_1.jpg\n\n", encoding="utf-8")
    paired = folder_items(tmp_path, "dresscode", "paired")
    assert [(item.kind, item.garment.name) for item in paired] == [
        ("t_shirt", "000001_1.jpg"),
        ("dress", "000001_1.jpg"),
    ]
    assert [item.garment.name for item in folder_items(tmp_path, "dresscode", "unpaired")] == ["000002_1.jpg"] * 2


def test_ones_own_folder(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "anna.png")
    with pytest.raises(InputError, match="no picture named anna"):
        folder_items(tmp_path, "own", "unpaired")
    picture(tmp_path / "garments" / "anna.coat.png")
    picture(tmp_path / "selfies" / "anna.jpg")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "anna.txt").write_text("on the beach\n", encoding="utf-8")
    (item,) = folder_items(tmp_path, "own", "unpaired")
    assert (item.kind, item.prompt, item.paired) == ("coat", "on the beach", False) and item.selfie is not None


def test_what_is_missing_is_said(tmp_path: Path, viton: Path) -> None:
    with pytest.raises(InputError, match="is missing; it lists"):
        folder_items(tmp_path, "viton-hd", "paired")
    with pytest.raises(InputError, match="contains nothing in the layout dresscode"):
        folder_items(tmp_path, "dresscode", "paired")
    (tmp_path / "test_pairs.txt").write_text("a.jpg b.jpg\n", encoding="utf-8")
    with pytest.raises(InputError, match="is listed, but not there"):
        folder_items(tmp_path, "viton-hd", "paired")


@pytest.mark.slow
def test_a_run_writes_results_keeps_pictures_and_names_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = draw_plain_spec(61_001, "train")
    for name in ("good", "bad"):
        (tmp_path / "data" / "photos").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "garments").mkdir(parents=True, exist_ok=True)
        scene = render.render_scene(spec) if name == "bad" else render.render_picture(spec)
        Image.fromarray(scene).save(tmp_path / "data" / "photos" / f"{name}.png")
        flat = render_flat(spec.garments["upper"])
        Image.fromarray(flat).save(tmp_path / "data" / "garments" / f"{name}.{spec.garments['upper'].kind}.png")
    arguments = [str(tmp_path / "data"), "--pairs", "paired", "--out", str(tmp_path / "out")]
    main(arguments)
    stored = json.loads((tmp_path / "out" / "folder.json").read_text(encoding="utf-8"))
    assert stored["figures"]["ssim"]["people"] == 1 and stored["figures"]["ssim"]["mean"] > 0.6
    assert stored["figures"]["garment_colour"]["mean"] < 15
    assert len(stored["failed"]) == 1 and "shows nobody" in stored["failed"][0]
    assert (tmp_path / "out" / "folder.png").is_file() and "| ssim |" in capsys.readouterr().out
    written = (tmp_path / "out" / "drawn" / "good.png").stat().st_mtime_ns
    monkeypatch.setattr(folder, "draw", lambda *_: pytest.fail("it is there already"))
    main(arguments)
    assert (tmp_path / "out" / "drawn" / "good.png").stat().st_mtime_ns == written
