"""Pulling from a hub on the loopback, what is refused, and the lock file."""

from __future__ import annotations

import errno
import json
import re
import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import close_session, constants

from tests.helpers.hub import COMMIT, NOBODY, PICKLE, WEIGHTS, Hub, sha256
from tests.helpers.hub import hub as hub
from tests.helpers.hub import tiny as tiny
from twinset.errors import InputError
from twinset.models.hub import lockfile as lock
from twinset.models.hub.download import PendingPart, check_parts, pull_parts, require_intact
from twinset.models.hub.download_errors import explain
from twinset.models.hub.parts import Profile


def with_part(profile: Profile, **changes: Any) -> Profile:
    return replace(profile, parts=(replace(profile.parts[0], **changes),))


def pull_all(profile: Profile, hub: Hub, offline: bool = False) -> list[str]:
    return [report.state for report in pull_parts(profile, profile.parts, endpoint=hub.url, offline=offline)]


def states(profile: Profile) -> list[str]:
    return [report.state for report in check_parts(profile)]


def cached(tmp_path: Path, name: str) -> Path:
    return next((tmp_path / "hub").rglob(f"snapshots/*/{name}"))


# Pulling


def test_first_pull_records_and_the_next_needs_no_network(hub: Hub, tiny: Profile) -> None:
    assert states(tiny) == ["missing"]
    assert pull_all(tiny, hub) == ["ok"]
    assert {path for _, path, _ in hub.requests} == set(tiny.parts[0].wanted)
    entries = json.loads(lock.lock_path().read_text())["files"]
    entry = entries["someone/tiny@main:unet/model.safetensors"]
    assert len(entries) == 2 and entry == {"sha256": sha256(WEIGHTS), "commit": COMMIT}
    hub.requests.clear()
    assert states(tiny) == ["ok"] and pull_all(tiny, hub, offline=True) == ["ok"]
    assert hub.requests == []


def test_all_files_of_a_part_come_from_the_commit_of_the_first(hub: Hub, tiny: Profile, tmp_path: Path) -> None:
    """Also when the main branch moves on meanwhile, and for whoever pulls again later with the same lock."""
    hub.next_commit = "d" * 40
    assert pull_all(tiny, hub) == ["ok"] and hub.commit != COMMIT
    entries = lock.read_lock()
    assert len(entries) == 2 and {entry["commit"] for entry in entries.values()} == {COMMIT}
    assert {path.name for path in (tmp_path / "hub").rglob("snapshots/*")} == {COMMIT}
    shutil.rmtree(tmp_path / "hub")
    assert pull_all(tiny, hub) == ["ok"]
    assert {path.name for path in (tmp_path / "hub").rglob("snapshots/*")} == {COMMIT}


@pytest.mark.parametrize(
    ("data", "sound"),
    [
        ((2).to_bytes(8, "little") + b"{}", True),  # nothing but its header
        ((3).to_bytes(8, "little") + b"{}", False),  # the header would end behind the file
        ((2).to_bytes(8, "little") + b"[]", False),
        ((2).to_bytes(8, "little"), False),
        (b"{}", False),
    ],
)
def test_headers_of_safetensors(data: bytes, sound: bool, hub: Hub, tiny: Profile) -> None:
    hub.files["unet/model.safetensors"] = data
    if sound:
        assert pull_all(tiny, hub) == ["ok"]
        return
    with pytest.raises(InputError, match="is not a safetensors file, despite its name"):
        pull_all(tiny, hub)
    assert not lock.lock_path().exists()


def test_download_that_breaks_off_goes_on_from_there(hub: Hub, tiny: Profile) -> None:
    hub.breaks.add("unet/model.safetensors")
    assert pull_all(tiny, hub) == ["ok"]
    ranges = [wanted for method, path, wanted in hub.requests if method == "GET" and path.endswith(".safetensors")]
    assert ranges == [None, f"bytes={len(WEIGHTS) // 2 // 65536 * 65536}-"]


def test_pinned_hash_is_kept(hub: Hub, tiny: Profile) -> None:
    assert pull_all(with_part(tiny, sha256=sha256(WEIGHTS), files=()), hub) == ["ok"]
    assert not lock.lock_path().exists()
    with pytest.raises(
        InputError, match=rf"has SHA-256 {sha256(WEIGHTS)}, profile says {'0' * 64}, and {hub.url} serves the same file"
    ):
        pull_all(with_part(tiny, sha256="0" * 64), hub)
    assert not lock.lock_path().exists()


def test_file_that_changed_since_its_first_pull_is_refused(hub: Hub, tiny: Profile, tmp_path: Path) -> None:
    pull_all(tiny, hub)
    shutil.rmtree(tmp_path / "hub")
    hub.files["unet/config.json"] = b'{"other": 1}'
    with pytest.raises(InputError, match=r"unet has changed: 'unet/config.json'") as error:
        pull_all(tiny, hub)
    assert str(lock.lock_path()) in str(error.value) and "\n" not in str(error.value)


def test_damaged_cache_is_found_and_mended(hub: Hub, tiny: Profile, tmp_path: Path) -> None:
    pull_all(tiny, hub)
    blob = cached(tmp_path, "unet/model.safetensors").resolve()
    blob.write_bytes(WEIGHTS[:-1] + b"\0")
    reports = list(check_parts(tiny))
    assert [report.state for report in reports] == ["changed"]
    with pytest.raises(InputError, match=r"; run: twinset models pull tiny \(or, "):
        require_intact(tiny, reports)
    with pytest.raises(InputError, match=r"; run: twinset models pull tiny \(or, "):
        pull_all(tiny, hub, offline=True)
    assert pull_all(tiny, hub) == ["ok"] and states(tiny) == ["ok"]


def test_files_of_another_program_are_compared_with_the_hub(hub: Hub, tiny: Profile, tmp_path: Path) -> None:
    """Nothing is known of them until a pull compares large ones with what the hub announces, and records them."""
    pull_all(tiny, hub)
    lock.lock_path().unlink()
    assert states(tiny) == ["unrecorded"]
    cached(tmp_path, "unet/model.safetensors").write_bytes(WEIGHTS + b"?")
    assert pull_all(tiny, hub) == ["ok"] and states(tiny) == ["ok"]
    assert cached(tmp_path, "unet/model.safetensors").read_bytes() == WEIGHTS


def test_named_pickle_is_taken_and_a_renamed_one_is_not(hub: Hub, tiny: Profile) -> None:
    assert pull_all(with_part(tiny, file="unet/model.bin"), hub) == ["ok"]
    hub.files["unet/model.safetensors"] = PICKLE
    with pytest.raises(InputError, match="is not a safetensors file, despite its name"):
        pull_all(tiny, hub)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "GatedRepo", "accept the licence at https://huggingface.co/someone/tiny and set HF_TOKEN"),
        (404, "RepoNotFound", "renamed, removed or made private; see https://example.com/card"),
        (404, "RevisionNotFound", "has no revision 'main'"),
        (404, "EntryNotFound", "has no file 'unet/model.safetensors'"),
        (500, "", "check the network"),
    ],
)
def test_refusals_of_the_hub_are_one_line(hub: Hub, tiny: Profile, status: int, code: str, words: str) -> None:
    hub.refusals["someone/tiny"] = (status, code)
    with pytest.raises(InputError, match=re.escape(words)) as error:
        pull_all(tiny, hub)
    assert "\n" not in str(error.value) and "someone/tiny" in str(error.value)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (
            {"statuses": {"/large/": 404}},
            r"\(HTTP 404, localhost:\d+\); check the network and its proxy and pull again",
        ),
        ({"statuses": {"/large/": 403}}, r"\(HTTP 403, localhost:\d+\); check"),
        ({"statuses": {"/large/": 500}}, r"\(HTTP 500, localhost:\d+\); check"),
        ({"statuses": {"/large/": 429}}, r"\(HTTP 429, localhost:\d+\); wait and pull again .*, set HF_TOKEN"),
        ({"statuses": {"/someone/": 503}}, r"\(HTTP 503, 127.0.0.1:\d+\); check"),
        ({"statuses": {"/someone/": 200}}, r"\(it does not answer as a model hub\); check"),
        ({"hangs": {"/large/"}}, r"\((Read|Connect)Timeout.*, localhost:\d+\); check"),
        ({"hangs": {"/someone/"}}, r"\((Read|Connect)Timeout.*, 127.0.0.1:\d+\); check"),
        ({"large_url": NOBODY}, r"\(ConnectError.*, 127.0.0.1:9\); check"),
        ({"large_url": "http://nowhere.invalid"}, r"\(ConnectError.*, nowhere.invalid\); check"),
        ({"large_url": "ftp://nowhere.invalid"}, r"\(UnsupportedProtocol.*\); check"),
    ],
)
def test_hosts_that_fail_are_named(
    faults: dict[str, Any], words: str, hub: Hub, tiny: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub sends the client to another host for large files, which a firewall may know nothing of."""
    if "/large/" in faults.get("hangs", ()):
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.05)
    elif "hangs" in faults:  # no other request of this test is answered, so that none can be too slow
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.05)
        monkeypatch.setattr("huggingface_hub.file_download._ETAG_RETRY_TIMEOUT", 0.05)
    hub.large_url = hub.url.replace("127.0.0.1", "localhost")
    for name, value in faults.items():
        setattr(hub, name, value)
    with pytest.raises(
        InputError, match=rf"'unet/model.safetensors' did not download completely from {hub.url} {words}"
    ) as error:
        pull_all(tiny, hub)
    assert "\n" not in str(error.value) and "someone/tiny" in str(error.value)


@pytest.mark.parametrize(
    ("proxy", "words"),
    [("", r"\(ProxyError: 501 .*, hub.invalid\); check the network and its proxy"), ("nonsense", "Unknown scheme")],
)
def test_proxies_that_fail(proxy: str, words: str, hub: Hub, tiny: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"{proxy}://proxy" if proxy else hub.url)  # the hub connects nobody to others
    close_session()  # a new one reads the variable
    with pytest.raises(InputError, match=words) as error:
        list(pull_parts(tiny, tiny.parts, endpoint="https://hub.invalid"))
    close_session()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Task error: File reconstruction error: IO Error: No space left on device (os error 28)"),
    ],
)
def test_no_room(error: Exception, tiny: Profile) -> None:
    """As the file system says it, and as hf_xet does on a full one."""
    part = tiny.parts[0]
    line = explain(error, part, part.wanted[0], COMMIT, offline=False, endpoint=NOBODY)
    assert f"no space for 'unet/model.safetensors' in {constants.HF_HUB_CACHE!r}; free some, or set HF_HOME" in line


def test_cache_that_may_not_be_written(hub: Hub, tiny: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/cache/blobs")

    monkeypatch.setattr("huggingface_hub.file_download.os.makedirs", refuse)  # for tests may run as root
    with pytest.raises(InputError, match="'/cache/blobs' is not writable; fix its permissions, or set HF_HOME"):
        pull_all(tiny, hub)


def test_no_network(hub: Hub, tiny: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"lacks 'unet/model.safetensors' in the cache .* without --offline"):
        pull_all(tiny, hub, offline=True)
    with pytest.raises(InputError, match=r"from http://127.0.0.1:9 \(ConnectError.*127.0.0.1:9\); check the network"):
        list(pull_parts(tiny, tiny.parts, endpoint=NOBODY))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="the network is switched off"):
        pull_all(tiny, hub)
    assert hub.requests == []


# The lock file


def test_lock_keeps_what_it_knows(hub: Hub) -> None:
    first, other = {"sha256": "1", "commit": "a"}, {"sha256": "2", "commit": "b"}
    threads = [threading.Thread(target=lock.record, args=({f"file {i}": first},)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lock.read_lock()) == 8
    assert lock.record({"file 0": other, "file 8": other})["file 0"] == first
    assert len(lock.read_lock()) == 9


def test_crash_while_writing_leaves_the_old_lock(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    lock.record({"file": {"sha256": "1", "commit": "a"}})

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", crash)
    with pytest.raises(KeyboardInterrupt):
        lock.record({"another": {"sha256": "2", "commit": "b"}})
    assert set(lock.read_lock()) == {"file"}
    assert not list(lock.lock_path().parent.glob("*.part"))


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', '{"files": {"a": 1}}'])
def test_damaged_lock_is_refused(hub: Hub, tiny: Profile, text: str) -> None:
    lock.lock_path().parent.mkdir(parents=True)
    lock.lock_path().write_text(text)
    with pytest.raises(InputError, match=r"lock file .* is damaged"):
        pull_all(tiny, hub)


def test_what_will_be_downloaded_is_announced_with_its_size(hub: Hub, tiny: Profile) -> None:
    told: list[list[tuple[str, int]]] = []

    def announce(pending: Sequence[PendingPart]) -> None:
        told.append([(each.part.name, each.size) for each in pending])
        assert not [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]

    list(pull_parts(tiny, tiny.parts, endpoint=hub.url, announce=announce))
    list(pull_parts(tiny, tiny.parts, endpoint=hub.url, announce=announce))
    assert told == [[("unet", sum(len(hub.files[path]) for path in tiny.parts[0].wanted))]]


def test_a_disk_without_room_is_refused_before_the_first_byte(
    hub: Hub, tiny: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5))
    with pytest.raises(InputError, match=r"GB are to be downloaded into .*free some, or set HF_HOME elsewhere"):
        pull_all(tiny, hub)
    assert not [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]
