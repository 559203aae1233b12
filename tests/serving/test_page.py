"""The web page, in a real browser: from a selfie to the download, in two languages, and what it says of errors."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.helpers.orders import orders
from tests.helpers.page_service import SCRIPT, picture, served
from tests.helpers.tiny import noise_picture
from twinset.compliance.labels.verify import verify
from twinset.figure import poses
from twinset.serving.api_keys import Keys
from twinset.serving.web.page import PATH
from twinset.serving.web.pose_gallery import caption, pose_pictures
from twinset.serving.web.translations import WORDS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
browsing = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page is not looked at")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, whose camera shows a film."""
    frame, film = io.BytesIO(), tmp_path_factory.mktemp("camera") / "film.mjpeg"
    Image.fromarray(noise_picture(320, 240, 3)).save(frame, "JPEG")
    film.write_bytes(frame.getvalue() * 5)
    camera = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    arguments = ["--no-sandbox", *camera, f"--use-file-for-fake-video-capture={film}"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "GRADIO_RUN_HISTORY"):
        monkeypatch.setenv(name, "")


def opened(browser: Browser, url: str, locale: str = "en-GB") -> Page:
    page = browser.new_context(locale=locale, viewport={"width": 1300, "height": 1200}).new_page()
    page.set_default_timeout(20_000)
    page.goto(url)
    page.wait_for_selector("#prompt textarea")
    return page


def agree(page: Page) -> None:
    page.locator("#whose input, #whose textarea").first.fill("Mei")
    page.locator("#agreed input").first.check()


@pytest.mark.long
@browsing
def test_from_a_selfie_to_the_download(browser: Browser, tmp_path: Path) -> None:
    with served(tmp_path / "service") as (url, service):
        page = opened(browser, url)  # the service's root leads to the page
        foreign: list[str] = []
        page.on("request", lambda asked: foreign.append(asked.url) if url not in asked.url else None)
        page.fill("#prompt textarea", "short hair")
        page.set_input_files("#selfie input[type=file]", picture(tmp_path / "me.png"))
        page.set_input_files("#garments input[type=file]", [picture(tmp_path / f"{n}.png", n) for n in (1, 2)])
        page.wait_for_selector("#selfie img")
        page.click("#draw")
        expect(page.locator("#status .wrong")).to_contain_text("tick the box")
        assert not service.queue.counts()
        agree(page)
        page.get_by_text("More settings").click()
        page.locator("#knob-steps input, #knob-steps textarea").fill("many")
        page.click("#draw")
        expect(page.locator("#status .wrong")).to_contain_text("Denoising steps: 'many' is not a number")
        page.locator("#knob-steps input, #knob-steps textarea").fill("0")
        page.click("#draw")
        expect(page.locator("#status .wrong")).to_contain_text("greater than or equal to 1")
        page.locator("#knob-steps input, #knob-steps textarea").fill("")
        page.locator("#poses button").nth(1).click()
        expect(page.locator("#pose input")).to_have_value("walking")
        page.click("#draw")
        expect(page.locator("#status .good")).to_contain_text("pictures: 1", timeout=30_000)
        expect(page.locator("#scores")).to_contain_text("corrected: light of the dress")
        expect(page.locator("#scores")).to_contain_text("still wrong: the identity is low")
        expect(page.locator("#scores")).to_contain_text(SCRIPT)
        assert page.evaluate("window.hacked") is None
        with page.expect_download() as download:
            page.locator("#files a").first.click()
        kept = tmp_path / "kept.png"
        download.value.save_as(kept)
        told = verify(kept)
        assert told.mark and told.xmp and told.c2pa, told
        (request,) = orders(service.repository)
        for part in ('"pose": "walking"', '"selfies": ["', '"consent": "'):
            assert part in request, request
        assert request.count('"upload": "') == 2 and foreign == []


@pytest.mark.long
@browsing
def test_history_deletes_for_good(browser: Browser, tmp_path: Path) -> None:
    with served(tmp_path) as (url, service):
        page = opened(browser, url)
        page.fill("#prompt textarea", "x")
        page.click("#draw")
        expect(page.locator("#status .good")).to_be_visible(timeout=30_000)
        (job,) = service.repository.jobs.held()
        page.get_by_role("tab", name="History").click()
        page.click("#refresh")
        page.locator("#history button").first.click()
        expect(page.locator("#history-pictures img").first).to_be_visible()
        assert list((tmp_path / "page").rglob(f"{job}*"))
        page.click("#delete")
        expect(page.locator("#history-status .good")).to_be_visible()
        assert not service.queue.counts() and not list(tmp_path.rglob(f"*{job}*"))


@pytest.mark.long
@browsing
def test_cancelling_and_a_full_queue_are_told(browser: Browser, tmp_path: Path) -> None:
    with served(tmp_path, room=1) as (url, service):
        page, other = opened(browser, url), opened(browser, url)
        page.fill("#prompt textarea", "5 seconds")
        page.click("#draw")
        expect(page.locator("#status")).to_contain_text("drawing picture 1 of 1")
        other.fill("#prompt textarea", "x")
        other.click("#draw")
        expect(other.locator("#status .wrong")).to_contain_text("the queue is full")
        page.click("#cancel")
        expect(page.locator("#status .good")).to_contain_text("cancelled")
        assert service.queue.counts() == {"cancelled": 1}


@pytest.mark.long
@browsing
def test_what_is_no_picture_is_told_in_chinese(browser: Browser, tmp_path: Path) -> None:
    with served(tmp_path / "service", draws=False) as (url, service):
        page = opened(browser, url, "zh-CN")
        expect(page.get_by_role("tab", name="试衣镜")).to_be_visible()
        expect(page.locator("#draw")).to_have_text("生成")
        page.click("#draw")
        expect(page.locator("#status .wrong")).to_contain_text("没有文字")
        (tmp_path / "broken.png").write_bytes(b"\x89PNG no picture")
        page.fill("#prompt textarea", "短发")
        page.set_input_files("#garments input[type=file]", str(tmp_path / "broken.png"))
        page.wait_for_selector("#garments img")
        page.click("#draw")
        expect(page.locator("#status .wrong")).to_contain_text("不是可识别的图片")
        assert not service.queue.counts() and not list((tmp_path / "service" / "uploads").iterdir())


@pytest.mark.long
@browsing
def test_a_batch_draws_each_look_with_each_sentence(browser: Browser, tmp_path: Path) -> None:
    with served(tmp_path / "service", room=2) as (url, service):  # smaller than the batch: it waits for room
        page = opened(browser, url)
        page.get_by_role("tab", name="Batch").click()
        page.fill("#sentences textarea", "beach\n\npark")
        page.set_input_files("#batch-garments input[type=file]", [picture(tmp_path / f"{n}.png", n) for n in (1, 2)])
        expect(page.locator("#batch-garments img")).to_have_count(2)
        page.click("#draw-all")
        expect(page.locator("#batch-status .good")).to_contain_text("4 of 4 done, 0 failed", timeout=40_000)
        assert service.queue.counts() == {"done": 4}
        asked = orders(service.repository)
        assert sum('"prompt": "park"' in one for one in asked) == 2 and len(set(asked)) == 4


@pytest.mark.long
@browsing
def test_a_key_is_asked_for(browser: Browser, tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    key = keys.add("shop")
    with served(tmp_path, keys) as (url, service):
        page = browser.new_context(locale="en-GB").new_page()
        assert page.request.get(url + PATH + "/config").status == 401
        upload: Any = {"files": {"name": "a.png", "mimeType": "image/png", "buffer": b"x"}}
        assert page.request.post(url + PATH + "/gradio_api/upload", multipart=upload).status == 401
        page.goto(url)
        for secret, shown in (("tw_wrong", False), (key, True)):
            page.locator("input").nth(0).fill("shop")
            page.locator("input").nth(1).fill(secret)
            page.get_by_role("button").first.click()
            expect(page.locator("#prompt textarea")).to_have_count(int(shown))
        page.fill("#prompt textarea", "x")
        page.click("#draw")
        expect(page.locator("#status .good")).to_be_visible(timeout=30_000)
        assert len(service.repository.jobs.latest("shop")) == 1


@pytest.mark.long
@browsing
def test_the_mirror_shows_the_camera_and_keeps_nothing(browser: Browser, tmp_path: Path) -> None:
    with served(tmp_path / "service") as (url, service):
        page = opened(browser, url)
        page.get_by_role("tab", name="Live mirror").click()
        page.set_input_files("#mirror-garment input[type=file]", picture(tmp_path / "coat.png"))
        page.locator("#whose input, #whose textarea").last.fill("Mei")
        page.locator("#agreed input").last.check()
        page.get_by_text("Click to Access Webcam").click()
        page.locator("#camera button[aria-label='capture photo']").click()
        expect(page.locator("#mirror-status")).to_contain_text("pictures/s", timeout=30_000)
        expect(page.locator("#mirror img")).to_be_visible()
        page.context.close()
        deadline = time.monotonic() + 60

        def left() -> list[Any]:
            return [*orders(service.repository), *service.files.uploads.iterdir()]

        while left() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left()


@browsing
@pytest.mark.parametrize(
    ("patience", "seconds"), [(2.0, 6), pytest.param(60.0, 90, marks=pytest.mark.slow)], ids=["fast", "real"]
)
def test_streams_live_as_long_as_their_jobs(browser: Browser, tmp_path: Path, patience: float, seconds: int) -> None:
    """A draw and then a batch over the guard's patience with bodies, and the heartbeat all the while."""
    with served(tmp_path, patience=patience) as (url, service):
        page, ended = browser.new_context(locale="en-GB", viewport={"width": 1300, "height": 1200}).new_page(), []
        for event in ("requestfailed", "requestfinished"):
            page.on(event, lambda asked: ended.append((asked.failure, asked.url)))
        page.goto(url)
        page.fill("#prompt textarea", f"a dress, {seconds} seconds")
        page.click("#draw")
        expect(page.locator("#status")).to_contain_text("drawing picture 1 of 1", timeout=20_000)
        expect(page.locator("#status .good")).to_contain_text("pictures: 1", timeout=1000 * (seconds + 60))
        expect(page.locator("#pictures img").first).to_be_visible()
        page.screenshot(path=tmp_path / "drawn.png")
        page.get_by_role("tab", name="Batch").click()
        page.fill("#sentences textarea", f"beach, {seconds // 2} seconds\npark, {seconds // 2} seconds")
        page.click("#draw-all")
        done = expect(page.locator("#batch-status .good"))
        done.to_contain_text("2 of 2 done, 0 failed", timeout=1000 * (seconds + 60))
        page.screenshot(path=tmp_path / "batch.png")
        assert service.queue.counts() == {"done": 3}
        streams = [(failure, url) for failure, url in ended if "/heartbeat/" in url or "/queue/data" in url]
        assert len(streams) == 2 and all("/queue/data" in url for _, url in streams), streams  # the heartbeat goes on
        assert {failure for failure, _ in ended} <= {None, "net::ERR_ABORTED"}, ended  # the page itself ends them


def test_every_text_is_there_in_both_languages_with_the_same_values() -> None:
    import string

    for name, (english, chinese) in WORDS.items():
        used = [{part[1] for part in string.Formatter().parse(text) if part[1]} for text in (english, chinese)]
        assert used[0] == used[1] and english and chinese, name


def test_the_pose_gallery_shows_all_poses() -> None:
    shown = pose_pictures()
    assert [told for _, told in shown] == [caption(name) for name in poses.NAMED]
    assert caption("walking") == "walking 走路" and len({one.tobytes() for one, _ in shown}) == len(poses.NAMED)
