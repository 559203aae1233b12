"""`twinset train lora`, `twinset lora` and `twinset generate --lora`, as a shell runs them."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
# (a file's layers may be changes of other kinds)
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import lora_people as lp
from tests.helpers.tiny import save_tiny
from twinset import cli
from twinset.adapters.lora.bases import FAMILIES, base_models, lora_family, named_layers
from twinset.adapters.lora.files import Layers, LowRank, read_lora
from twinset.adapters.lora.write import merged, standard_metadata, write_lora
from twinset.errors import InputError
from twinset.pipelines.generate import generate
from twinset.pipelines.loading.request_loras import loras_on
from twinset.pipelines.named_files import LoraChoice
from twinset.pipelines.record import load_record
from twinset.pipelines.replay import replay
from twinset.pipelines.request import Request, read_request
from twinset.pipelines.studio import StudioPipeline


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def pipe(model: Path) -> StudioPipeline:
    pipe: Any = StudioPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lp.write_people(tmp_path_factory.mktemp("data") / "my_jacket", 2)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["twinset", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def low(module: nn.Module, rank: int, alpha: float, dora: bool = False) -> LowRank:
    """Random addition for a layer of known shape."""
    if isinstance(module, nn.Conv2d):
        down, up = (rank, module.in_channels, *module.kernel_size), (module.out_channels, rank, 1, 1)
    else:
        down, up = (rank, module.in_features), (module.out_features, rank)  # type: ignore[attr-defined]
    return LowRank(torch.randn(down) / 8, torch.randn(up) / 8, alpha, torch.rand(up[0]) + 0.5 if dora else None)  # type: ignore[arg-type]


def some_layers(family: str, alpha: float = 1.0, dora: bool = False) -> dict[str, Layers]:
    """Additions to the first layers of some sorts in every model of a family."""
    torch.manual_seed(7)
    found: dict[str, Layers] = {}
    for component, model in base_models(family).items():
        endings = ("attn1.to_q", "attn2.to_out.0", "ff.net.2", "conv1") if component == "unet" else ("q_proj", "fc2")
        named = dict(model.named_modules())
        chosen = [next(name for name in named if name.endswith(ending)) for ending in endings]
        found[component] = {name: low(named[name], 2, alpha, dora) for name in chosen}
    return found


def product(part: LowRank) -> Tensor:
    return part.alpha / part.rank * part.up.float().flatten(1) @ part.down.float().flatten(1)


# Training


@pytest.mark.long
def test_train_lora_from_a_folder_to_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "jacket.safetensors"
    given = ["--data", data, "--model", model, "--kind", "hoodie", "--rank", 2, "--batch", 2, "--samples", 1, "-o", out]
    assert run(monkeypatch, "train", "lora", *given, "--steps", 3, "--sample-every", 2, "--no-masked", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(out) and told["steps"] == 3 and told["trigger"] == "myjacket"
    assert [path.name for path in sorted((tmp_path / "jacket.run" / "samples").iterdir())] == [
        "000002.png",
        "000003.png",
    ]
    assert read_lora(out).metadata["ss_network_dim"] == "2"
    assert run(monkeypatch, "train", "lora", "--recipe", out.with_suffix(".toml"), "--steps", 2, "-o", out) == 2
    assert "was started with steps = 3, not 2" in " ".join(capsys.readouterr().err.split())
    assert run(monkeypatch, "train", "lora", "--recipe", out.with_suffix(".toml"), "-o", out) == 0  # nothing left to do


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "lora", "-o", "x.safetensors"], "data is missing; give it, as in --data my_jacket/"),
        (["train", "lora", "--data", "nowhere", "-o", "x.safetensors"], "is neither a folder nor a .toml file"),
        (["train", "lora", "--data", ".", "-o", "x.pt"], "needs the ending .safetensors"),
        (["train", "lora", "--data", ".", "--rank", "0", "-o", "x.safetensors"], "rank = 0"),
        (["train", "lora", "--recipe", "nowhere.toml", "-o", "x.safetensors"], "is not a file; one lies beside"),
        (["train", "lora", "--rnk", "3", "-o", "x.safetensors"], "No such option: --rnk"),
        (["train", "nowhere.toml"], "recipe 'nowhere.toml' is not a file"),
        (["lora", "convert", "a.safetensors", "b.safetensors", "--to", "peft"], "form 'peft' is unknown"),
        (["lora", "info", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_mistakes_become_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    model: Path,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "twinset.pipelines.loading.load.load_pipeline", lambda *_, **__: StudioPipeline.from_pretrained(model)
    )
    assert run(monkeypatch, *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_every_option_is_an_option_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    from typer.main import get_command

    from twinset.training.lora.options import LoraOptions

    command: Any = get_command(cli.app)
    known = {parameter.name: parameter for parameter in command.commands["train"].commands["lora"].params}
    assert set(LoraOptions.model_fields) <= set(known)
    assert all(known[name].help for name in LoraOptions.model_fields)
    assert known["learning_rate"].help.endswith("[default: 0.0002; studio: 0.001]")
    assert known["targets"].help.endswith("[default: attention-mlp; studio: all]")


# Files


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dora", [False, True])
def test_conversions_keep_what_is_added(
    family: str, dora: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers, models = some_layers(family, alpha=1.0, dora=dora), base_models(family)
    first = write_lora(
        tmp_path / "a.safetensors",
        layers,
        models,
        "kohya",
        standard_metadata(layers, family, "a", "jckt"),
        torch.float32,
    )
    for source, target, form in (("a", "b", "diffusers"), ("b", "c", "kohya")):
        given = [
            tmp_path / f"{source}.safetensors",
            tmp_path / f"{target}.safetensors",
            "--to",
            form,
            "--dtype",
            "fp32",
        ]
        assert run(monkeypatch, "lora", "convert", *given) == 0
    assert lora_family(read_lora(first)) == family
    for name in "abc":
        file = read_lora(tmp_path / f"{name}.safetensors")
        assert file.metadata["modelspec.trigger_phrase"] == "jckt"
        found = named_layers(file, models)
        for component, expected in layers.items():
            assert found[component].keys() == expected.keys()
            for layer, part in expected.items():
                torch.testing.assert_close(product(found[component][layer]), product(part))
                if dora:
                    torch.testing.assert_close(found[component][layer].magnitude, part.magnitude)


@pytest.mark.parametrize(
    ("ranks", "alphas", "said"),
    [
        ((2, 2), (1.0, 1.0), ("2", "1.0")),
        ((2, 3), (1.0, 1.0), ("Dynamic", "1.0")),
        ((2, 2), (1.0, 4.0), ("2", "Dynamic")),
        ((3, 2), (4.0, 1.0), ("Dynamic", "Dynamic")),
    ],
)
def test_ranks_and_alphas_that_differ_are_dynamic(
    ranks: tuple[int, int], alphas: tuple[float, float], said: tuple[str, str]
) -> None:
    """As sd-scripts' own tools have it; the convolutions' own beside them, in numbers that are text."""
    linear, wide = nn.Linear(8, 8), nn.Conv2d(8, 8, 3)
    parts = {"q": low(linear, ranks[0], alphas[0]), "conv1": low(wide, ranks[1], alphas[1])}
    metadata = standard_metadata({"unet": parts}, "sd15", "a")
    assert metadata["ss_network_module"] == "networks.lora"
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == said
    assert json.loads(metadata["ss_network_args"]) == {"conv_dim": str(ranks[1]), "conv_alpha": str(alphas[1])}
    plain = standard_metadata(
        {"unet": {"q": parts["q"], "p": low(nn.Conv2d(8, 8, 1), ranks[0], alphas[0])}}, "sd15", "a"
    )
    assert plain["ss_network_args"] == "{}" and plain["ss_network_dim"] == str(ranks[0])
    assert "modelspec.trigger_phrase" not in plain


def test_kohyas_keys_are_those_that_comfyui_reads(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    for family, expected in {
        "sd15": {
            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
            "lora_unet_down_blocks_0_resnets_0_conv1",
            "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
        },
        "sdxl": {
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
            "lora_unet_input_blocks_1_0_in_layers_2",
            "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
            "lora_te2_text_model_encoder_layers_0_mlp_fc2",
        },
    }.items():
        path = write_lora(
            tmp_path / f"{family}.safetensors", some_layers(family, 1.0), base_models(family), "kohya", {}
        )
        state = load_file(path)
        assert expected <= {key.split(".")[0] for key in state}
        assert all(
            float(state[f"{stem}.alpha"]) == 1.0 and len(state[f"{stem}.lora_down.weight"]) == 2 for stem in expected
        )


def test_merging_adds_and_a_lower_rank_is_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = base_models("studio")
    one, other = some_layers("studio", 1.0), {"unet": some_layers("studio", 4.0)["unet"]}
    for name, layers in (("a", one), ("b", other)):
        metadata = standard_metadata(layers, "studio", name, name * 3)
        write_lora(tmp_path / f"{name}.safetensors", layers, models, "kohya", metadata, torch.float32)
    sources = [f"{tmp_path / 'a.safetensors'}=0.5", f"{tmp_path / 'b.safetensors'}=-1"]
    assert run(monkeypatch, "lora", "merge", *sources, "-o", tmp_path / "c.safetensors", "--dtype", "fp32") == 0
    file = read_lora(tmp_path / "c.safetensors")
    assert file.metadata["modelspec.trigger_phrase"] == "aaa, bbb"
    found = named_layers(file, models)
    for layer, part in one["unet"].items():
        expected = 0.5 * product(part) - product(other["unet"][layer])
        torch.testing.assert_close(product(found["unet"][layer]), expected)
        cut = merged([(1.0, {"unet": {layer: found["unet"][layer]}})], rank=1)["unet"][layer]
        s = torch.linalg.svdvals(expected)
        torch.testing.assert_close((product(cut) - expected).norm(), s[1:].norm(), rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="is a DoRA's"):
        merged([(1.0, some_layers("studio", dora=True))])


def test_info_tells_what_a_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = some_layers("sd15", 1.0)
    path = tmp_path / "a.safetensors"
    write_lora(path, layers, base_models("sd15"), "kohya", standard_metadata(layers, "sd15", "a", "jckt"))
    assert run(monkeypatch, "lora", "info", path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["form"], told["family"], told["trigger"]) == ("kohya", "sd15", "jckt")
    unet = {"layers": 4, "ranks": [2], "alphas": [1.0], "dora": False, "kinds": ["LoRA"]}
    assert told["components"]["unet"] == unet and told["embeddings"] == []
    assert run(monkeypatch, "lora", "info", path) == 0
    assert "text_encoder: 2 layers, LoRA, rank 2, alpha 1" in capsys.readouterr().out


def test_files_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    layers, models = some_layers("studio"), base_models("studio")
    with pytest.raises(InputError, match=r"needs the ending \.safetensors"):
        write_lora(tmp_path / "a.pt", layers, models, "kohya", {})
    (tmp_path / "b.safetensors").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_lora(tmp_path / "b.safetensors", layers, models, "kohya", {})
    assert [path.name for path in tmp_path.iterdir()] == ["b.safetensors"]
    name, part = next(iter(layers["unet"].items()))
    layers["unet"][name] = LowRank(part.down * 1e6, part.up, part.alpha)
    with pytest.raises(InputError, match=r"is not finite in torch\.float16"):
        write_lora(tmp_path / "c.safetensors", layers, models, "kohya", {})


# Generation


@pytest.fixture(scope="module")
def jacket(pipe: StudioPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A strong LoRA of the tiny pipeline."""
    torch.manual_seed(3)
    named = dict(pipe.unet.named_modules())
    layers = {"unet": {name: low(m, 2, 16.0) for name, m in named.items() if name.endswith(("to_q", "to_v", "conv1"))}}
    path = tmp_path_factory.mktemp("lora") / "jacket.safetensors"
    return write_lora(path, layers, {"unet": pipe.unet}, "kohya", standard_metadata(layers, "studio", "jacket", "jckt"))


@pytest.mark.parametrize(
    ("text", "weight", "name"),
    [
        ("a.safetensors", 1.0, "a.safetensors"),
        ("a.safetensors=0.8", 0.8, "a.safetensors"),
        ("x=y/a.bin", 1.0, "x=y/a.bin"),
    ],
)
def test_lora_text(text: str, weight: float, name: str) -> None:
    choice = read_request({"prompt": "x", "loras": [text]}).loras[0]
    assert choice.weight == weight and str(choice.path) == name
    with pytest.raises(InputError, match="less than or equal to 4"):
        read_request({"prompt": "x", "loras": ["a.safetensors=9"]})


@pytest.mark.long
def test_a_lora_is_recorded_replayed_and_gone_afterwards(pipe: StudioPipeline, jacket: Path, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    plain = Request(prompt="short hair, beach", seed=7, steps=2, model=pipe.name_or_path)
    worn = plain.model_copy(update={"loras": (LoraChoice(path=jacket, weight=0.8),)})
    bare = generate(pipe, plain, tmp_path / "bare")[0]
    (record,) = generate(pipe, worn, tmp_path / "worn")
    assert record.sha256 != bare.sha256
    assert record.inputs.keys() == {str(jacket)} and record.request.loras[0].weight == 0.8
    assert record.composed["triggers"] == ["jckt"]
    assert any("has the trigger word 'jckt', which the prompt lacks" in note for note in record.composed["notes"])
    state = pipe.unet.state_dict()
    assert state.keys() == before.keys() and all(torch.equal(state[name], before[name]) for name in before)
    assert generate(pipe, plain, tmp_path / "again")[0].sha256 == bare.sha256  # nothing of it is left
    known = load_record(tmp_path / "worn" / "0007.json")
    assert replay(pipe, known, tmp_path / "replay")[1]
    jacket_bytes = jacket.read_bytes()
    jacket.write_bytes(jacket_bytes[:-2] + b"\0\0")
    with pytest.raises(InputError, match="is not the file that the record used"):
        replay(pipe, known, tmp_path / "replay")
    jacket.write_bytes(jacket_bytes)


def test_loras_are_off_after_an_error(pipe: StudioPipeline, jacket: Path, tmp_path: Path) -> None:
    classes = [type(module) for module in pipe.unet.modules()]
    with pytest.raises(RuntimeError), loras_on(pipe, [LoraChoice(path=jacket)] * 2):
        raise RuntimeError
    missing = LoraChoice(path=tmp_path / "no.safetensors")
    with pytest.raises(InputError), loras_on(pipe, [LoraChoice(path=jacket), missing]):
        pass
    foreign = write_lora(tmp_path / "f.safetensors", some_layers("studio"), base_models("studio"), "kohya", {})
    with pytest.raises(InputError), loras_on(pipe, [LoraChoice(path=jacket), LoraChoice(path=foreign)]):
        pass
    assert [type(module) for module in pipe.unet.modules()] == classes
