"""`twinset mannequin --garment`: pictures for somebody who has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinset.cli import main
from twinset.errors import InputError
from twinset.training.lora.dataset import read_examples
from twinset.training.lora.options import read_options
from twinset.training.mannequin.one_garment import one_garment


def test_a_garment_is_told_in_words() -> None:
    design = one_garment("striped red Hoodie, star")
    assert (design.kind, design.colour_name, design.pattern, design.logo) == ("hoodie", "red", "stripes", "star")
    assert one_garment("t_shirt A").logo == "A"
    with pytest.raises(InputError, match=r"'velvet' is unknown; take of kind: t_shirt, .*; colour: .*"):
        one_garment("velvet hoodie")
    with pytest.raises(InputError, match="'red' names no kind; write, as in 'red striped hoodie'"):
        one_garment("red")


@pytest.mark.parametrize("kind", ["hoodie", "dress", "skirt"])
def test_many_people_wear_it_and_the_folder_can_be_learnt(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["mannequin", "--garment", f"red {kind}", "--count", "3", "--out", str(tmp_path / "mine")]
    monkeypatch.setattr("sys.argv", ["twinset", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0 and "train it: twinset train lora --data" in " ".join(capsys.readouterr().err.split())
    found = read_examples(read_options({"data": tmp_path / "mine"}))
    assert [example.picture.name for example in found] == ["000.png", "001.png", "002.png", "flat.png"]
    for example in found[:3]:
        picture = np.asarray(Image.open(example.picture).convert("RGB"), np.float32)
        cloth = picture[np.asarray(Image.open(str(example.mask))) > 127]
        assert len(cloth) > 200 and cloth[:, 0].mean() > cloth[:, 1:].mean() + 40  # it is red
    assert len({example.picture.read_bytes() for example in found}) == 4
