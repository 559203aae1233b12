"""A request's options are declared once, and every door has each of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from pydantic import ConfigDict, Field, create_model
from typer.testing import CliRunner

from twinset.cli import app
from twinset.cli.request_options import with_request
from twinset.errors import InputError
from twinset.pipelines.options import Option, Use, option_of
from twinset.pipelines.request import CHOICES, READERS, Request
from twinset.serving.comfyui_fields import FILE, OWN, node_inputs
from twinset.serving.contract import PATHS, JobRequest, job_fields
from twinset.serving.queue import JobQueue
from twinset.serving.repository import Repository
from twinset.serving.storage import Files
from twinset.serving.worker import LostError, Worker

NEW = "glitter"


class Glittering(Request):
    """A request with an option that nothing else in the project knows."""

    glitter: Annotated[
        float, Field(ge=0.0, le=3.0, description="How much it glitters."), Option(label=("Glitter", "闪光"), step=0.5)
    ] = 0.5


def flags(command: str) -> dict[str, str]:
    """The command line's options: field → flags."""
    click: Any = typer.main.get_command(app)
    return {str(p.name): " ".join([*p.opts, *p.secondary_opts]) for p in click.commands[command].params}


@pytest.mark.parametrize(("command", "use"), [("generate", "scene"), ("tryon", "photo")])
def test_the_command_line_has_every_option(command: str, use: Use) -> None:
    expected = {name for name, field in Request.model_fields.items() if option_of(field).use in ("both", use)}
    assert set(flags(command)) - {"commercial", "offline", "device", "memory", "out", "as_json", "help"} == expected


def test_a_new_option_reaches_the_command_line() -> None:
    values: dict[str, Any] = {}
    small = typer.Typer()

    @small.command()
    @with_request("scene", model=Glittering)
    def draw(**fields: Any) -> None:
        values.update(fields)

    told = CliRunner().invoke(small, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    assert "--glitter" in told and "How much it glitters. [0 to 3]" in told and "0.5" in told
    assert CliRunner().invoke(small, ["--prompt", "park", "--glitter", "2", "--garment", "dress=a.png"]).exit_code == 0
    request = Glittering.model_validate({name: value for name, value in values.items() if value is not None})
    assert request.glitter == 2.0 and request.garments[0].kind == "dress" and request.way == "joint"


def test_a_new_option_reaches_rest_page_and_comfyui(monkeypatch: pytest.MonkeyPatch) -> None:
    from twinset.serving.web import controls, translations

    fields = job_fields(Glittering)
    assert NEW in fields and not {"model", "loras", "safety", "faces", "parser", "attention"} & set(fields)
    job: Any = create_model("job", __config__=ConfigDict(extra="forbid"), **fields)
    assert job.model_json_schema()["properties"][NEW]["maximum"] == 3.0
    assert node_inputs(job)["options"][NEW] == (
        "FLOAT",
        {"tooltip": "How much it glitters.", "advanced": False, "default": 0.5, "min": 0.0, "max": 3.0, "step": 0.5},
    )
    monkeypatch.setattr(controls, "JobRequest", job)
    monkeypatch.setitem(translations.WORDS, NEW, ("Glitter", "闪光"))
    slider = controls.knob(NEW)
    assert (slider.minimum, slider.maximum, slider.step, slider.value) == (0.0, 3.0, 0.5, 0.5)


def test_every_option_is_on_the_page_or_has_a_component_of_its_own() -> None:
    from twinset.serving.web.controls import KNOBS

    own = {"prompt", "selfies", "garments", "photo", "pose", "consent"}
    unlabelled = {"face", "repair_seconds", "labels"}
    """Fields that the page leaves at their defaults."""
    assert set(KNOBS) | own | unlabelled | {"webhook"} == set(JobRequest.model_fields)


def test_comfyui_knows_every_option() -> None:
    assert json.loads(FILE.read_text(encoding="utf-8")) == json.loads(json.dumps(node_inputs())), (
        "run: python -m twinset.serving.comfyui_fields"
    )
    assert set(node_inputs()["options"]) | set(OWN) == set(JobRequest.model_fields)


def test_every_option_says_what_it_does() -> None:
    assert [name for name, field in Request.model_fields.items() if not field.description] == []
    assert set(PATHS) <= set(Request.model_fields)


def test_options_have_the_names_that_people_know() -> None:
    generate = flags("generate")
    assert generate["selfies"] == "--selfie" and generate["garments"] == "--garment" and generate["loras"] == "--lora"
    assert generate["labels"] == "--labels --no-labels" and generate["repair_seconds"] == "--repair-seconds"
    assert flags("tryon")["photo"] == "photo"


def test_the_version_is_told(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["--version"])
    assert told.exit_code == 0 and told.output.startswith("twinset ")


def test_whoever_inspects_or_serves_chooses_packages_and_networks() -> None:
    """By the same declaration as `generate`: the same flags, for what the command does with them."""
    drawing = flags("generate")
    for command, names in (("inspect", READERS), ("serve", CHOICES)):
        offered = flags(command)
        assert {name: offered.get(name) for name in names} == {name: drawing[name] for name in names}
        assert not (set(CHOICES) - set(names)) & set(offered)


@pytest.mark.parametrize("command", [["inspect", "me.png"], ["serve", "--open"]])
def test_drawn_people_are_read_by_the_models_own_networks(
    command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for choice in (["--faces", "insightface"], ["--pose-estimator", "openpose"], ["--parser", "schp=a.onnx"]):
        answer = CliRunner().invoke(app, [*command, *choice])
        assert isinstance(answer.exception, InputError) and "are for photographs" in str(answer.exception)
    answer = CliRunner().invoke(app, [*command, "--faces", "eyes"])
    assert isinstance(answer.exception, InputError) and "faces" in str(answer.exception)


def test_the_services_own_choices_reach_every_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: dict[str, Any] = {}
    monkeypatch.setattr("twinset.serving.launcher.run_service", lambda *_, **settings: started.update(settings))
    monkeypatch.setattr("twinset.cli.serve._pull_parts", lambda *_: None)
    line = ["serve", "--open", "--model", "sd15", "--parser", "schp=a.onnx", "--root", str(tmp_path)]
    assert CliRunner().invoke(app, line).exit_code == 0
    chosen = started["choices"]
    assert chosen == {"parser": "schp=a.onnx", "faces": "profile", "pose_estimator": "rtmlib", "attention": "native"}
    drawn: list[Request] = []

    def draw(request: Request, *_: Any) -> Any:
        drawn.append(request)
        raise LostError

    repository = Repository(tmp_path / "jobs.sqlite")
    queue = JobQueue(repository)
    queue.add("me", json.dumps({"owner": "me", "prompt": "in the park", "seed": 1}), 1)
    Worker(queue, Files(tmp_path, repository), draw, "sd15", choices=chosen).once()
    assert drawn[0].parser is not None and (drawn[0].parser.form, drawn[0].model) == ("schp", "sd15")
