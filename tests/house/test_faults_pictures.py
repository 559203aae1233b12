"""Pictures as they should not be, sent to the service and given as selfies."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from starlette.testclient import TestClient

from tests.common.test_picture import png
from tests.helpers.decoder_faults import crash, hang
from tests.helpers.fuzz_pictures import encoded, heic, mutated, photo, seeds
from twinset.common.image_io import read_picture
from twinset.errors import InputError
from twinset.pipelines.compose import compose
from twinset.pipelines.request import Request
from twinset.serving import storage as files
from twinset.serving.app import Limits, Service, create_app

SELFIE = np.asarray(Image.open(Path(__file__).resolve().parents[2] / "examples" / "selfie.png").convert("RGB"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service(tmp_path_factory.mktemp("service"), None, Limits())


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def status(client: TestClient, data: bytes) -> int:
    answer = client.post("/v1/uploads", files={"file": ("a.png", data)})
    assert answer.status_code == 201 or answer.json()["remedy"], answer.text
    return answer.status_code


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a.class", b"x" * 90)
    return file.getvalue()


@pytest.mark.parametrize("data", [
    b"\xc5\xd0\xd3\xc6" + bytes(40), b"\xef\xbb\xbf <?xml version='1.0'?><svg/>", encoded(photo(), "TIFF"),
    encoded(photo(), "PNG") + archive(), archive() + encoded(photo(), "PNG"), encoded(photo(), "JPEG") + archive(),
    encoded(photo(), "PNG") + b"<HTML><body>", encoded(photo(), "JPEG", comment=b"%PDF-1.4 obj"),
], ids=["EPS", "SVG", "TIFF", "PNG and ZIP", "ZIP and PNG", "JPEG and ZIP", "PNG and HTML", "PDF"])  # fmt: skip
def test_other_formats_and_two_in_one_file(data: bytes, client: TestClient) -> None:
    assert status(client, data) == 415


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(photo(), "JPEG", exif=exif)


def frames() -> bytes:
    colours = [Image.new("RGB", (16, 16), name) for name in ("blue", "green")] * 150
    return encoded(Image.new("RGB", (16, 16), "red"), "GIF", save_all=True, append_images=colours[:299])


@pytest.mark.parametrize(("data", "wanted"), [
    (encoded(Image.new("CMYK", (16, 16)), "JPEG"), 201), (turned(), 201), (frames(), 201),
    (encoded(Image.fromarray(np.zeros((16, 16), np.uint16)), "PNG"), 201),
    (encoded(Image.new("RGBA", (16, 16), (200, 0, 0, 9)), "PNG"), 201),
    (png(1, 20_000, rows=bytes(4 * 20_000)), 422), (png(20_000, 1, rows=bytes(60_001)), 422), (png(0, 5), 422),
], ids=["CMYK", "turned", "300 frames", "16 bits", "alpha", "1 x 20000", "20000 x 1", "nothing"])  # fmt: skip
def test_odd_pictures_are_taken_or_refused(data: bytes, wanted: int, client: TestClient) -> None:
    assert status(client, data) == wanted


def most_memory(service: Service) -> int:
    """MiB that the decoder's process has had at most."""
    (pool,) = [one.pool for one in service.decoder.processes if one.pool is not None]
    (process,) = pool._processes.values()
    told = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", told)[0]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' /proc")
@pytest.mark.parametrize(("tag", "head"), [(b"zTXt", b"note\0\0"), (b"iCCP", b"note\0\0"), (b"iTXt", b"n\0\1\0\0\0")])
def test_metadata_of_100_mb_costs_no_memory(tag: bytes, head: bytes, client: TestClient, service: Service) -> None:
    assert status(client, encoded(photo(), "PNG")) == 201
    before = most_memory(service)
    bomb = png(16, 16, (tag, head + zlib.compress(bytes(100_000_000), 9)), rows=bytes(16 * 49))
    assert len(bomb) < 100_000
    assert status(client, bomb) == 422
    assert most_memory(service) - before < 30


def test_mutants_are_never_the_services_fault(client: TestClient) -> None:
    found: Counter[int] = Counter()
    for index, data in enumerate(list(seeds().values()) * 8):
        found[status(client, mutated(data, np.random.default_rng([11, index])))] += 1
    assert found.keys() <= {201, 413, 415, 422} and found[422] > 20, found


def test_mutants_of_heic() -> None:
    """Its decoder raises ValueError, EOFError and SyntaxError too."""
    data = heic(photo(64, 48))
    if data is None:
        pytest.skip("needs pillow-heif")
    outcomes: Counter[str] = Counter()
    for index in range(250):
        try:
            read_picture(mutated(data, np.random.default_rng([12, index])), "selfie")
        except InputError as error:
            assert "\n" not in str(error) and str(error).startswith("selfie")
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
    assert outcomes["refused"] > 100


# The decoder's process


@pytest.mark.parametrize("fault", [crash, hang])
def test_a_decoder_that_dies_or_hangs_costs_one_upload(
    fault: Any, client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(client, encoded(photo(), "PNG")) == 201
    kept = len(list(service.files.uploads.iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(files, "fault_of", fault)
        patch.setattr(files, "DECODING", 0.5 if fault is hang else 20.0)
        assert status(client, encoded(photo(), "PNG")) == 422
    assert client.get("/health").status_code == 200 and len(list(service.files.uploads.iterdir())) == kept
    service.decoder.close()


# Faces


def noted(studio: Any, picture: np.ndarray, folder: Path, face: str = "largest") -> list[str]:
    Image.fromarray(picture).save(folder / "me.png")
    request = Request(prompt="beach", seed=1, selfies=(folder / "me.png",), face=face, hair="seed")
    return list(compose(studio, request).notes)


def smiley() -> np.ndarray:
    page = Image.new("RGB", (256, 256), "white")
    draw = ImageDraw.Draw(page)
    draw.ellipse((40, 40, 216, 216), fill="yellow", outline="black", width=4)
    for x in (90, 150):
        draw.ellipse((x, 90, x + 15, 115), fill="black")
    draw.arc((85, 100, 170, 180), 20, 160, fill="black", width=5)
    return np.asarray(page)


def small(width: int) -> np.ndarray:
    page = np.full((512, 512, 3), 255, np.uint8)
    face = np.asarray(Image.fromarray(SELFIE).resize((width, width * 4 // 3), Image.Resampling.LANCZOS))
    page[100 : 100 + face.shape[0], 200 : 200 + width] = face
    return page


@pytest.mark.parametrize("picture", [np.full((256, 256, 3), 200, np.uint8), smiley(), SELFIE[::-1], small(30)],
                         ids=["nobody", "cartoon", "upside down", "a few pixels"])  # fmt: skip
def test_a_picture_without_a_usable_face_says_so(picture: np.ndarray, studio: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"selfie '.*me\.png' shows no face; give a picture with the face upright"):
        noted(studio, picture, tmp_path)


@pytest.mark.long
def test_a_face_that_is_hard_to_recognise_is_told(studio: Any, tmp_path: Path) -> None:
    assert noted(studio, SELFIE, tmp_path) == []
    two = np.concatenate([SELFIE, SELFIE], 1)
    assert "shows 2 faces; the largest is used" in noted(studio, two, tmp_path)[0]
    assert "shows 2 faces; number 2 from the left is used" in noted(studio, two, tmp_path, "2")[0]
    assert any("the face is small (20 px between the eyes)" in note for note in noted(studio, small(80), tmp_path))
    with pytest.raises(InputError, match="face '9' is not among the 2 found"):
        noted(studio, two, tmp_path, "9")
