"""What is wrong with the words is said before a model is loaded, in plain English and once."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from twinset.cli import app
from twinset.cli.console import mishap, report
from twinset.cli.draw import draw_request
from twinset.errors import InputError
from twinset.pipelines.record import Record
from twinset.pipelines.request import Request, read_request
from twinset.serving.contract import read_order

LOADING = {"commercial": False, "offline": True, "device": "cpu", "memory": None}


@pytest.mark.parametrize(
    ("prompt", "said"), [("a {red|blue dress", "balance its braces"), ("a __colour__ dress", "wildcard without a file")]
)
def test_a_template_that_cannot_be_read_is_said_before_the_model(prompt: str, said: str, tmp_path: Path) -> None:
    fields = {"prompt": prompt, "model": str(tmp_path / "no-model")}
    with pytest.raises(InputError, match=said):
        draw_request(fields, tmp_path / "out", False, **LOADING)
    with pytest.raises(InputError, match=said):
        read_order({"prompt": prompt})
    assert not (tmp_path / "out").exists()


def test_a_lora_that_is_not_there_is_said_before_the_model(tmp_path: Path) -> None:
    fields = {
        "prompt": "red dress",
        "model": str(tmp_path / "no-model"),
        "loras": (str(tmp_path / "coat.safetensors"),),
    }
    with pytest.raises(InputError, match=r"LoRA '.*coat\.safetensors' is not a file"):
        draw_request(fields, tmp_path / "out", False, **LOADING)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EISDIR, errno.ENOENT, errno.ENOSPC, errno.EROFS])
def test_errors_of_the_system_are_plain(code: int) -> None:
    line = mishap(OSError(code, os.strerror(code), "out/0007.png"))
    assert line is not None and "Errno" not in line and "'out/0007.png'" in line and os.strerror(code) in line


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as error:
        (tmp_path / "file" / "out").mkdir(parents=True)
    assert (
        mishap(error.value)
        == f"Not a directory: {str(tmp_path / 'file' / 'out')!r}; check the path and its permissions"
    )


def test_notes_of_several_pictures_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    request = read_request({"prompt": "red dress, a castle", "seed": 1, "num": 2})
    report([drawn(request, index, ["the same", f"of {index}"]) for index in (0, 1)], Path("out"), as_json=False)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert [line for line in lines if "safety" not in line] == ["note: the same", "note: of 0", "note: of 1"]


def drawn(request: Request, index: int, notes: list[str]) -> Record:
    """A record without its picture."""
    return Record(
        picture=f"{index}.png", sha256="", index=index, seed=1 + index, request=request, inputs={},
        composed={"notes": notes}, model={}, machine={}, scores={}, scored_by="", faults=[], controller=[], seconds=0.0,
    )  # fmt: skip


def test_the_brief_names_loras_and_what_is_not_understood() -> None:
    made = CliRunner().invoke(app, ["brief", "<lora:boots:0.7>, red dress, quantum foam", "--json"])
    shown = json.loads(made.stdout)
    assert shown["loras"] == ["boots=0.7"] and shown["brief"]["rest"] == ["quantum foam"]
    assert any("quantum foam" in note for note in shown["notes"])
    assert "quantum foam" in CliRunner().invoke(app, ["brief", "red dress, quantum foam"]).stdout
