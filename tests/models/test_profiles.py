"""Model profiles, their licences, and `twinset models`. The hub is on the loopback (tests/helpers/hub.py)."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.helpers.hub import Hub, sha256
from tests.helpers.hub import hub as hub
from tests.helpers.hub import tiny as tiny
from twinset import cli
from twinset.errors import InputError
from twinset.models.hub import lockfile as lock
from twinset.models.hub import profiles
from twinset.models.hub.parts import Part, Profile
from twinset.models.hub.profiles import clean_names, require_commercial, resolve

ALL = profiles.profiles()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run `twinset models` as a shell would; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["twinset", "models", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


# What the profiles say


@pytest.mark.parametrize("profile", ALL, ids=lambda profile: profile.name)
def test_every_part_says_where_it_comes_from_and_what_is_allowed(profile: Profile) -> None:
    assert len({part.name for part in profile.parts}) == len(profile.parts)
    for part in profile.parts:
        assert part.licence and part.url and part.wanted
        assert part.sha256 is None or (part.file and re.fullmatch("[0-9a-f]{64}", part.sha256))
        assert part.revision is None or re.fullmatch("[0-9a-f]{40}", part.revision)
        assert not any(name.endswith(".bin") for name in part.files)
        if part.name in ("identity_adapter", "face_adapter", "instantid_adapter"):
            assert part.recogniser and profile.part(part.recogniser)
        if part.substitute:
            assert not part.commercial and profile.part(part.substitute).commercial


@pytest.mark.parametrize(
    "path", ["model.pkl", "code.py", "weights.pt", "extra.bin", "../up.json", "/root.json", "a\\b.json"]
)
def test_parts_hold_nothing_that_may_run_or_lies_outside(path: str) -> None:
    with pytest.raises(ValueError, match="may not hold"):
        Part(name="x", repo="a/b", files=(path,), licence="MIT", url="-")


def test_unknown_profile_and_part_list_the_known() -> None:
    with pytest.raises(InputError, match=r"'sd3' is unknown; choose one of studio, sd15, sdxl"):
        resolve("sd3")
    with pytest.raises(InputError, match=r"'nose' is unknown in profile 'sd15'; choose among base, safety_checker"):
        resolve("sd15").part("nose")


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_commercial_use_is_refused_with_substitutes(name: str) -> None:
    profile = resolve(name)
    with pytest.raises(InputError) as error:
        require_commercial(profile, profile.chosen())
    line = str(error.value)
    for words in ("use face_adapter instead", "use auraface instead", "FaceID weights exist for buffalo_l only"):
        assert words in line
    assert "parser (LicenseRef-NVIDIA-SegFormer): no clean substitute is known" in line
    assert f"twinset models pull {name} --commercial --part base" in line and "\n" not in line
    require_commercial(profile, profile.chosen(clean_names(profile, profile.chosen())))


def test_studio_may_be_used_commercially() -> None:
    studio = resolve("studio")
    require_commercial(studio, studio.chosen())
    assert studio.chosen() and all(part.commercial for part in studio.chosen())


# Command line


def test_check_studio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "check", "studio", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"profile", "ok", "parts"} and told["ok"]
    assert set(told["parts"][0]) == {"part", "repo", "optional", "state", "files"}
    assert set(told["parts"][0]["files"][0]) == {"path", "local", "state", "sha256", "expected", "source"}


def test_one_flipped_byte_and_one_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(profiles.BUNDLED, folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert run(monkeypatch, "check", folder, "--json") == 2
    out, err = capsys.readouterr()
    assert {part["part"]: part["state"] for part in json.loads(out)["parts"] if part["state"] != "ok"} == {
        "vae": "changed",
        "unet": "missing",
    }
    line = err.strip().splitlines()[-1]
    assert (
        line.startswith("twinset: ") and sha256(bytes(data)) in line and "missing unet" in line and "restore it" in line
    )
    assert run(monkeypatch, "check", folder, "--part", "clip") == 0


@pytest.mark.parametrize("entry", ['{"../a.json": "%s"}', '{"a.pkl": "%s"}', '{"a.json": "%.9s"}', "{}", "nonsense"])
def test_wrong_checksums(entry: str, tmp_path: Path) -> None:
    (tmp_path / "checksums.json").write_text(entry.replace("%s", "0" * 64).replace("%.9s", "0" * 9))
    with pytest.raises(InputError, match=r"checksums.json' .*restore it"):
        resolve(str(tmp_path))


def test_pull_and_check_commands(
    hub: Hub, tiny: Profile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", "tiny") == 2
    assert "missing unet; run: twinset models pull tiny" in capsys.readouterr().err
    assert run(monkeypatch, "check", "sdxl", "--part", "vae", "--part", "yunet") == 2
    assert "missing vae, yunet; run: twinset models pull sdxl --part vae --part yunet" in capsys.readouterr().err
    assert run(monkeypatch, "pull", "tiny", "--endpoint", hub.url, "--commercial", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] and [file["source"] for file in told["parts"][0]["files"]] == ["lock", "lock"]
    assert run(monkeypatch, "check", "tiny") == 0
    lock.lock_path().unlink()
    assert run(monkeypatch, "check", "tiny") == 2
    assert "twinset models pull tiny --offline" in capsys.readouterr().err
    assert run(monkeypatch, "pull", "tiny", "--offline") == 0 and run(monkeypatch, "check", "tiny") == 0


def test_list_and_licences(hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["profile"] for one in listed] == ["studio", "sd15", "sdxl"]
    keys = "part repo file revision sha256 licence commercial optional recogniser substitute url note bytes present"
    assert set(listed[1]["parts"][0]) == set(keys.split())
    assert all(part["present"] for part in listed[0]["parts"]) and not any(p["present"] for p in listed[1]["parts"])
    assert run(monkeypatch, "licences", "--json") == 0
    judged = {one["profile"]: one for one in json.loads(capsys.readouterr().out)}
    assert judged["studio"]["commercial"] and not judged["sdxl"]["commercial"]
    assert set(judged["sdxl"]) == {"profile", "commercial", "clean", "parts"}
    assert run(monkeypatch, "list") == 0 and run(monkeypatch, "licences", "studio", "--commercial") == 0
    assert "face_encoder" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pull", "nope"], "'nope' is unknown"),
        (["check", "sd15", "--part", "nose"], "'nose' is unknown"),
        (["pull", "sd15", "--commercial"], "use face_adapter instead"),
        (["licences", "sdxl", "--commercial"], "is refused for commercial use"),
        (["licences", "--commercial"], "needs a profile"),
        (["pull", "sd15", "--endpoint", "mirror"], "'mirror' is not a URL"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("twinset: ") and words in lines[0]
