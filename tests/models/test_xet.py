"""`twinset models pull sd15` from a hub that serves over Xet, with the real client library and small files."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.helpers.hub import COMMIT, LARGE, NOBODY, PICKLE, WEIGHTS, Hub, sha256
from tests.helpers.hub import hub as hub
from tests.helpers.hub import tiny as tiny
from tests.helpers.hub import xet_hub as xet_hub
from tests.helpers.xet import CHUNK, xet_hash
from twinset import cli
from twinset.models.hub import lockfile as lock
from twinset.models.hub import profiles
from twinset.models.hub.download import locate
from twinset.models.hub.parts import Part, Profile

FILE = "unet/model.safetensors"


def models(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run `twinset models` as a shell would; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["twinset", "models", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def transfers(hub: Hub) -> int:
    """How many times files were sent out of Xet's storage."""
    return len([path for path in hub.xet_requests if path.startswith("/xet/xorb/")])


@pytest.fixture
def sd15(xet_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """The profile with the hashes and revisions of small files, all different, where the real ones are pinned."""
    real = profiles.resolve("sd15")

    def contents(name: str) -> bytes:
        return (WEIGHTS if name.endswith(".safetensors") else PICKLE) + name.encode() * (3 * CHUNK // len(name))

    xet_hub.files = {
        name: contents(name) if name.endswith(LARGE) else json.dumps({"of": name}).encode()
        for part in real.parts
        for name in (f"{part.repo}/{path}" for path in part.wanted)
    }

    def small(part: Part) -> Part:
        pinned = part.sha256 and sha256(xet_hub.files[f"{part.repo}/{part.file}"])
        return replace(part, sha256=pinned, size=None, revision=part.revision and COMMIT)

    profile = replace(real, parts=tuple(map(small, real.parts)))
    monkeypatch.setitem(profiles.ON_HUB, "sd15", profile)
    return profile


@pytest.fixture
def pulled(xet_hub: Hub, tiny: Profile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """The large file of the profile `tiny`, behind all links."""
    assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 0
    assert transfers(xet_hub) == 1
    capsys.readouterr()
    return (locate(tiny, tiny.parts[0], FILE) or Path()).resolve()


def damage(path: Path) -> None:
    path.chmod(0o644)  # the hub's library makes it read-only
    path.write_bytes(path.read_bytes()[:-1] + b"?")


class TestWholeProfile:
    def test_pull_and_then_offline(
        self, sd15: Profile, xet_hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        wanted = {f"{part.repo}/{path}": (part, path) for part in sd15.chosen() for path in part.wanted}
        large = [name for name in wanted if name.endswith(LARGE)]
        assert models(monkeypatch, "pull", "sd15", "--endpoint", xet_hub.url, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert told["ok"] and [part["part"] for part in told["parts"]] == [part.name for part in sd15.chosen()]
        sources = {f"{p['repo']}/{f['path']}": f["source"] for p in told["parts"] for f in p["files"]}
        pinned = {name for name, (part, path) in wanted.items() if part.sha256 and path == part.file}
        assert sources == {name: "profile" if name in pinned else "lock" for name in wanted}
        assert pinned and set(large) - pinned  # both kinds came over Xet, and nothing large came otherwise:
        assert transfers(xet_hub) == len(large)
        assert {name for method, name, _ in xet_hub.requests if method == "GET"} == set(wanted) - set(large)
        for name in large:
            local = locate(sd15, *wanted[name]) or Path()
            assert local.read_bytes() == xet_hub.files[name]
            assert local.resolve().name == xet_hash(name) != sha256(xet_hub.files[name])
        xet_hub.requests.clear()
        xet_hub.xet_requests.clear()
        assert models(monkeypatch, "pull", "sd15", "--offline") == 0 and models(monkeypatch, "check", "sd15") == 0
        assert models(monkeypatch, "pull", "sd15", "--endpoint", NOBODY) == 0  # everything is here, and known
        assert xet_hub.requests == xet_hub.xet_requests == []

    def test_one_damaged_file_of_many(
        self, sd15: Profile, xet_hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        models(monkeypatch, "pull", "sd15", "--endpoint", xet_hub.url)
        unet = next(path for path in sd15.part("base").wanted if path.startswith("unet/") and path.endswith(LARGE))
        for part, path in ((sd15.part("base"), unet), (sd15.part("vae"), str(sd15.part("vae").file))):
            damage((locate(sd15, part, path) or Path()).resolve())
        before = transfers(xet_hub)
        capsys.readouterr()
        assert models(monkeypatch, "check", "sd15") == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert f"base has changed: {unet!r}" in line and "vae is damaged or a different file" in line
        assert "; run: twinset models pull sd15 (or, " in line
        assert models(monkeypatch, "pull", "sd15", "--endpoint", xet_hub.url) == 0
        assert transfers(xet_hub) == before + 2 and models(monkeypatch, "check", "sd15") == 0


class TestDamagedFile:
    def test_is_replaced_by_the_command_that_the_line_names(
        self, pulled: Path, xet_hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        damage(pulled)
        for command in (["check", "tiny"], ["pull", "tiny", "--offline"]):
            assert models(monkeypatch, *command) == 2
            line = capsys.readouterr().err.strip().splitlines()[-1]
            assert "; run: twinset models pull tiny (or, if you know why it changed, delete its entry in " in line
        assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 0
        assert transfers(xet_hub) == 2 and pulled.read_bytes() == WEIGHTS
        assert models(monkeypatch, "check", "tiny") == 0

    def test_of_another_program_is_compared_with_the_hub(
        self, pulled: Path, xet_hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock.lock_path().unlink()
        assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 0
        assert transfers(xet_hub) == 1  # whole: it is recorded as it is
        lock.lock_path().unlink()
        damage(pulled)
        assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 0
        assert transfers(xet_hub) == 2 and pulled.read_bytes() == WEIGHTS
        entry = lock.read_lock()[f"someone/tiny@main:{FILE}"]
        assert entry == {"sha256": sha256(WEIGHTS), "commit": COMMIT}

    def test_may_be_deleted(self, pulled: Path, xet_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        pulled.unlink()
        assert models(monkeypatch, "check", "tiny") == 2
        assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 0
        assert pulled.read_bytes() == WEIGHTS and models(monkeypatch, "check", "tiny") == 0


def failure(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that says what went wrong, behind those that say what is downloaded."""
    *announced, line = capsys.readouterr().err.strip().splitlines()
    assert announced[0].startswith("downloading 1 part(s), ") and len(announced) == 2
    return line


class TestTransfer:
    def test_that_went_wrong_is_repeated_once(
        self, tiny: Profile, xet_hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        xet_hub.flips[FILE] = 1
        assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 0
        assert transfers(xet_hub) == 2 and models(monkeypatch, "check", "tiny") == 0

    @pytest.mark.parametrize("pinned", [True, False])
    def test_that_always_goes_wrong_is_refused(
        self,
        pinned: bool,
        tiny: Profile,
        xet_hub: Hub,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        part = replace(tiny.parts[0], sha256=sha256(WEIGHTS) if pinned else None)
        monkeypatch.setitem(profiles.ON_HUB, "tiny", replace(tiny, parts=(part,)))
        xet_hub.flips[FILE] = 9
        assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 2
        line = failure(capsys)
        assert repr(FILE) in line and sha256(WEIGHTS) in line and "another mirror" in line
        assert transfers(xet_hub) == 2 and not lock.lock_path().exists()
        xet_hub.flips.clear()
        assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 0  # nothing wrong was left behind

    def test_file_that_the_hub_itself_changed_comes_once(
        self, pulled: Path, tiny: Profile, xet_hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        """Downloading it again would change nothing: the line says what does."""
        xet_hub.files[FILE] = WEIGHTS[:-1] + b"!"
        pulled.unlink()
        assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert f"lock says {sha256(WEIGHTS)}, and {xet_hub.url} serves the same file: " in line
        assert transfers(xet_hub) == 2 and f"delete its entry in {str(lock.lock_path())!r}" in line
        entries = json.loads(lock.lock_path().read_text())
        del entries["files"][f"someone/tiny@main:{FILE}"]
        lock.lock_path().write_text(json.dumps(entries))
        assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 0
        assert models(monkeypatch, "check", "tiny") == 0


class TestFailure:
    @pytest.mark.parametrize(
        ("address", "status"),
        [
            ("/xet/v1/", 404),
            ("/xet/v1/", 403),
            ("/xet/v1/", 503),
            ("/xet/xorb/", 404),
            ("/xet/xorb/", 429),
            ("/api/models/", 404),
            ("/api/models/", 401),
            ("/api/models/", 500),
        ],
    )
    def test_status_is_one_line(
        self,
        address: str,
        status: int,
        tiny: Profile,
        xet_hub: Hub,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        xet_hub.statuses[address] = status
        assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 2
        line = failure(capsys)
        host = xet_hub.url.removeprefix("http://")
        assert f"part 'unet' (someone/tiny): {FILE!r} did not download completely from {xet_hub.url}" in line
        assert f"(Xet: HTTP {status}, {host}); " in line and "pull again (complete files are kept)" in line
        assert ("set HF_TOKEN" if status == 429 else "set HF_HUB_DISABLE_XET=1") in line

    @pytest.mark.parametrize("address", [NOBODY, "http://nowhere.invalid", "no address"])
    def test_no_route_to_xet_and_its_remedy(
        self,
        address: str,
        tiny: Profile,
        xet_hub: Hub,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        xet_hub.cas_url = address
        assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 2
        line = failure(capsys)
        assert "(Xet: " in line and "where Xet is blocked, set HF_HUB_DISABLE_XET=1" in line
        assert "://" not in address or f"no answer, {address.removeprefix('http://')}" in line
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        xet_hub.xet_requests.clear()
        assert models(monkeypatch, "pull", "tiny", "--endpoint", xet_hub.url) == 0
        assert models(monkeypatch, "check", "tiny") == 0 and xet_hub.xet_requests == []
