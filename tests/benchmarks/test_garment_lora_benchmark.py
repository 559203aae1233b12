"""The benchmark of garment LoRAs on a tiny pipeline: people, pictures and figures fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.lora_people import options, pipeline
from twinset.benchmarks import garment_lora as bench
from twinset.benchmarks.figures import bootstrap
from twinset.benchmarks.judges import FOLDER, Judges
from twinset.training.lora.train import train_lora


@pytest.mark.slow
@pytest.mark.skipif(not (FOLDER / "garment" / "config.json").is_file(), reason="the judges are not here")
def test_from_a_garment_to_its_figures(tmp_path: Path) -> None:
    pipe = pipeline()
    subject = bench.new_subject(pipe, 1, 2)
    assert subject.garment.logo and subject.garment.pattern == "plain" and len(subject.shown) == 12
    worn = {spec.garments["upper"] for spec in subject.shown} | {p.spec.garments["upper"] for p in subject.people}
    assert worn == {subject.garment} and all(p.spec.garments["upper"] != subject.garment for p in subject.others)
    assert not {spec.identity for spec in subject.shown} & {person.spec.identity for person in subject.people}
    data = bench.photographed(subject, tmp_path / "data")
    lora = train_lora(pipe, options(data, steps=1), tmp_path / "x.safetensors").out
    pictures = bench.all_ways(pipe, subject, lora, 1)
    assert {way: rows.shape for way, rows in pictures.items()} == dict.fromkeys(bench.WAYS, (2, 256, 192, 3))
    assert not np.array_equal(pictures["words"], pictures["flat picture"])
    figures = bench.judged(Judges.load(), subject, pictures)
    assert figures.keys() == {*bench.WAYS, "truth"}
    assert figures["truth"]["garment"].mean() > 0.5 > figures["words"]["garment"].mean()
    text = bench.garment_page({way: {n: bootstrap(v) for n, v in row.items()} for way, row in figures.items()}, 1.0, 1)
    assert "| garment similarity ↑ |" in text and "nan" not in text
