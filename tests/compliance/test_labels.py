"""Labels: the visible words, the pixel mark, XMP, the C2PA manifest, and `twinset verify`."""

from __future__ import annotations

import io
import json
import re
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.fft import fft2

from tests.helpers.tiny import noise_picture
from twinset import cli
from twinset.benchmarks.labels import ATTACKS, field
from twinset.compliance.labels import carriers, code, signing, visible, xmp
from twinset.compliance.labels.certificate import DEVELOPMENT, signing_certificate
from twinset.compliance.labels.find import find_mark
from twinset.compliance.labels.key import PUBLIC_KEY, key_name, keys_to_try
from twinset.compliance.labels.labelled import NO_ROOM, label_picture, picture_id
from twinset.compliance.labels.mark import add_mark, mark_psnr
from twinset.compliance.labels.verify import verify
from twinset.errors import InputError
from twinset.pipelines.generate import generate
from twinset.pipelines.record import Record, load_record
from twinset.pipelines.replay import replay
from twinset.pipelines.request import read_request
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_plain_spec

KEY, PAYLOAD = b"a key of the tests", 0xC0FFEE42
DRAWN = [render.render_picture(draw_plain_spec(61_000 + i, "train")) for i in range(2)]


@pytest.fixture(scope="module", params=["drawn", "large"])
def marked(request: pytest.FixtureRequest) -> np.ndarray:
    return add_mark(DRAWN[0] if request.param == "drawn" else field(2, (512, 640)), PAYLOAD, KEY).picture


# The code


def test_codewords_are_read_through_noise() -> None:
    rng = np.random.default_rng(0)
    payloads = [0, 1, 2**32 - 1, *rng.integers(0, 2**32, 40).tolist()]
    noise = rng.normal(0, 1 / 1.6, (len(payloads), code.CODE_BITS))
    assert [code.decode_payload(code.encode_payload(p) + n) for p, n in zip(payloads, noise, strict=True)] == payloads


def test_noise_and_nothing_are_no_codewords() -> None:
    rng = np.random.default_rng(1)
    assert code.decode_payload(np.zeros(code.CODE_BITS)) is None
    assert [code.decode_payload(rng.normal(size=code.CODE_BITS)) for _ in range(300)] == [None] * 300
    with pytest.raises(ValueError, match="4294967296"):
        code.encode_payload(2**32)


def test_the_code_is_the_standards() -> None:
    """One bit alone gives the generators 1111001 and 1011011, bit by bit in turn."""
    ones = code._outputs()
    state, told = 0, []
    for bit in (1, 0, 0, 0, 0, 0, 0):
        told.append(ones[state, bit])
        state = (state >> 1) | (bit << 5)
    first, second = np.array(told).T > 0
    assert first.tolist() == [1, 1, 1, 1, 0, 0, 1] and second.tolist() == [1, 0, 1, 1, 0, 1, 1]


# The pixel mark


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_mark_outlasts(marked: np.ndarray, attack: str) -> None:
    done = np.asarray(ATTACKS[attack](Image.fromarray(marked)))
    found = find_mark(done, KEY)
    assert found is not None and found.payload == PAYLOAD
    assert found.mirrored == ("mirrored" in attack)


def test_the_mark_tells_what_was_done(marked: np.ndarray) -> None:
    found = find_mark(np.asarray(Image.fromarray(marked).rotate(2, Image.Resampling.BICUBIC)), KEY)
    assert found is not None and found.turn == pytest.approx(-2, abs=0.3) and found.scale == pytest.approx(1, abs=0.01)
    found = find_mark(np.asarray(ATTACKS["cropped by 10 %, middle"](Image.fromarray(marked))), KEY)
    assert found is not None and found.scale == pytest.approx(1 / 0.9, abs=0.01)


def test_the_mark_is_not_seen() -> None:
    for picture in (*DRAWN, field(2)):
        done = add_mark(picture, PAYLOAD, KEY)
        assert done.psnr == pytest.approx(mark_psnr(done.picture, picture)) and done.psnr > 38
        assert np.abs(done.picture.astype(int) - picture).max() < 24


def test_only_its_key_reads_it(marked: np.ndarray) -> None:
    assert find_mark(marked, b"another key") is None
    assert find_mark(marked, PUBLIC_KEY) is None


@pytest.mark.parametrize(
    "make", [lambda i: DRAWN[i % 2], lambda i: field(i, (192, 256)), lambda i: noise_picture(200, 300, i)]
)
def test_unmarked_pictures_have_none(make) -> None:
    assert [find_mark(make(i), KEY) for i in range(6)] == [None] * 6


def test_uniform_and_odd_pictures_are_survived() -> None:
    for shape in ((256, 192), (40, 900), (33, 17)):
        assert find_mark(np.full((*shape, 3), 200, np.uint8), KEY) is None
    grey = add_mark(np.full((256, 192, 3), 128, np.uint8), PAYLOAD, KEY)
    found = find_mark(grey.picture, KEY)
    assert found is not None and found.payload == PAYLOAD
    long = add_mark(field(4, (1200, 256)), PAYLOAD, KEY)
    found = find_mark(long.picture, KEY)
    assert found is not None and found.payload == PAYLOAD


def test_the_pilot_is_standard_normal_over_keys() -> None:
    """What the threshold rests on."""
    values = carriers.in_band(carriers.whitened(carriers.canonical(carriers.luma(DRAWN[1]), 144)))
    pilots = []
    for number in range(120):
        signs, owners = carriers.carriers.__wrapped__(f"key {number}".encode(), 144).middle(values.shape)
        pilots.append(carriers.correlations(values, signs, owners)[-1])
    assert abs(np.mean(pilots)) < 0.35 and np.std(pilots) == pytest.approx(1, abs=0.25)


def test_tones_lie_where_they_are_looked_for() -> None:
    frequency = np.array([[0.125, -0.2]])
    down, across = np.mgrid[:64, :80]
    wave = np.cos(2 * np.pi * (0.125 * down - 0.2 * across))
    spectrum = np.abs(np.asarray(fft2(wave, (128, 160))))
    assert carriers.at_frequencies(spectrum, frequency)[0] == pytest.approx(spectrum.max(), rel=0.01)


def test_a_mark_keeps_to_its_place() -> None:
    picture = field(6, (512, 640))
    where = np.zeros(picture.shape[:2], bool)
    where[100:500, 100:450] = True
    done = add_mark(picture, PAYLOAD, KEY, where)
    np.testing.assert_array_equal(done.picture[~where], picture[~where])
    found = find_mark(done.picture, KEY)
    assert found is not None and found.payload == PAYLOAD
    assert done.psnr == pytest.approx(mark_psnr(done.picture[where], picture[where])) and done.psnr > 36


# The visible label


@pytest.mark.parametrize("text", visible.WORDINGS)
def test_offered_words_fulfil_the_standard(text: str) -> None:
    assert visible.fulfils_gb45438(text) and visible.check_text(f" {text} ") == text


@pytest.mark.parametrize("ground", [0, 255, 128])
@pytest.mark.parametrize("size", [(192, 256), (900, 512)])
def test_the_words_are_high_enough_and_stand_out(ground: int, size: tuple[int, int]) -> None:
    plain = Image.new("RGB", size, (ground,) * 3)
    done = np.asarray(visible.draw_label(plain, "生成", "bottom_right"))[..., 0].astype(int)
    rows, columns = np.nonzero(done != ground)  # on black the words alone
    label = done[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    plate = 105 * ground // 255  # what a translucent black leaves of the ground
    rim = 2 if ground else 0
    ink = np.nonzero(label[rim : len(label) - rim, rim : label.shape[1] - rim] > (plate + 255) / 2)
    assert np.ptp(ink[0]) + 1 >= 0.05 * min(size) and columns.min() > size[0] / 2
    assert np.abs(label - plate).min() <= 2 and 255 - plate > 140


@pytest.mark.parametrize("corner", ["top_left", "top_right", "bottom_left", "bottom_right"])
def test_the_label_is_in_its_corner(corner: str) -> None:
    plain = Image.fromarray(DRAWN[0])
    rows, columns = np.nonzero((np.asarray(visible.draw_label(plain, "AI生成", corner)) != DRAWN[0]).any(-1))  # type: ignore[arg-type]
    assert (rows.mean() < 128) == corner.startswith("top") and (columns.mean() < 96) == corner.endswith("left")
    assert visible.draw_label(plain, "AI生成", "none") is plain


def test_words_that_cannot_be_drawn_are_refused() -> None:
    with pytest.raises(InputError, match=r"lacks \(你好\)"):
        visible.check_text("你好AI")
    with pytest.raises(InputError, match="is empty"):
        visible.check_text("  ")
    with pytest.raises(InputError, match="wider than the picture"):
        visible.draw_label(Image.new("RGB", (64, 64)), "AI generated by an algorithm of mine", "top_left")
    with pytest.raises(InputError, match="label_corner"):
        read_request({"prompt": "x", "label_corner": "middle"})


# XMP


def test_the_aigc_field_is_as_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINSET_PRODUCER", "91110000MA000000XX")
    told = json.loads(xmp.aigc_field("00ff"))
    assert list(told) == [
        "Label", "ContentProducer", "ProduceID", "ReservedCode1", "ContentPropagator", "PropagateID", "ReservedCode2",
    ]  # fmt: skip
    assert (told["Label"], told["ContentProducer"], told["ProduceID"]) == ("1", "91110000MA000000XX", "00ff")
    monkeypatch.setenv("TWINSET_PRODUCER", "a company")
    with pytest.raises(InputError, match="'a company' is not printable ASCII"):
        xmp.aigc_field("00ff")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_files_carry_xmp(format: xmp.Format) -> None:
    values = xmp.properties("00ff", edited=True)
    data = xmp.encode_png(Image.fromarray(DRAWN[0]), values, format)
    assert data == xmp.encode_png(Image.fromarray(DRAWN[0]), values, format)
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        packet = xmp.read_xmp(picture)
    assert packet is not None
    assert {name: xmp.read_property(packet, name) for name in values} == values
    where = {"PNG": b"iTXtXML:com.adobe.xmp\0", "JPEG": b"http://ns.adobe.com/xap/1.0/\0", "WEBP": b"XMP "}[format]
    assert where in data


def test_existing_xmp_is_updated_by_property() -> None:
    old = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
      <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/png"
        xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/" TC260:AIGC="old"><dc:source>me</dc:source></rdf:Description>
      </rdf:RDF></x:xmpmeta>"""
    new = xmp.packet({xmp.AIGC: "a < b"}, old)
    assert xmp.read_property(new, xmp.AIGC) == "a < b" and new.count(b"AIGC>") == 2 and b'"old"' not in new
    assert xmp.read_property(new, "{http://purl.org/dc/elements/1.1/}source") == "me" and b"image/png" in new
    assert xmp.packet({xmp.AIGC: "a < b"}, new).count(b"AIGC>") == 2
    with pytest.raises(InputError, match="document type"):
        xmp.packet({}, b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    with pytest.raises(InputError, match="damaged"):
        xmp.packet({}, b"<a>")


# The whole


def labelled(picture: np.ndarray, **more: Any):
    return label_picture(Image.fromarray(picture), "AI生成", "bottom_right", "0007.png", **more)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "0007.png"
    path.write_bytes(labelled(DRAWN[0]).data)
    return path


def test_all_layers_are_read_and_agree(saved: Path) -> None:
    found = verify(saved)
    assert found.layers == ["mark", "xmp", "c2pa"] and not found.broken and found.notes == ()
    digits = picture_id(DRAWN[0])
    assert found.xmp and found.xmp["aigc"]["ProduceID"][8:] == digits[:24]
    assert found.mark and found.mark["payload"] == found.xmp["aigc"]["ProduceID"][:8] and found.mark["key"] == "public"
    assert found.c2pa and found.c2pa["state"] == "Valid" and found.c2pa["issuer"] == DEVELOPMENT
    assert found.c2pa["faults"] == [] and found.c2pa["development"] and found.c2pa["signer"] == "own"


def test_all_but_the_signature_is_the_same_each_time() -> None:
    one, other = labelled(DRAWN[0]), labelled(DRAWN[0])
    assert one.sha256 == other.sha256 and one.data != other.data
    np.testing.assert_array_equal(np.asarray(one.picture), np.asarray(Image.open(io.BytesIO(other.data))))
    assert labelled(DRAWN[1]).sha256 != one.sha256


def test_a_changed_file_is_told(saved: Path, tmp_path: Path) -> None:
    data, broken = saved.read_bytes(), tmp_path / "broken.png"
    start = data.index(b"iTXt")
    end = start + 4 + int.from_bytes(data[start - 4 : start], "big")
    chunk = data[start:end].replace(b"Twinset", b"Whoever")
    broken.write_bytes(data[:start] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[end + 4 :])
    assert verify(broken).broken and "c2pa" not in verify(broken).layers
    swapped = tmp_path / "swapped.png"  # another picture's metadata
    swapped.write_bytes(xmp.encode_png(labelled(DRAWN[0]).picture, xmp.properties("ab" * 16, edited=False)))
    assert "disagree" in verify(swapped).notes[0]


def test_the_mark_is_left_when_metadata_goes(saved: Path, tmp_path: Path) -> None:
    Image.open(saved).convert("RGB").resize((144, 192)).save(tmp_path / "sent.jpg", quality=75)
    assert verify(tmp_path / "sent.jpg").layers == ["mark"]


def test_ones_own_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TWINSET_MARK_KEY", "secret")
    done = labelled(DRAWN[0])
    (tmp_path / "own.png").write_bytes(done.data)
    assert done.told["key"] == key_name(b"secret") != "public" and list(keys_to_try()) == ["own", "public"]
    assert (verify(tmp_path / "own.png").mark or {})["key"] == "own"
    monkeypatch.delenv("TWINSET_MARK_KEY")
    assert verify(tmp_path / "own.png").layers == ["xmp", "c2pa"]


@pytest.mark.long
def test_a_photo_is_an_ingredient_and_keeps_its_pixels(tmp_path: Path) -> None:
    photo, path = field(8, (512, 640)), tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x010F] = "SECRETCAMERA"
    Image.fromarray(photo).save(path, exif=exif)
    drawn = photo.copy()
    drawn[200:220, 200:220] = 255 - drawn[200:220, 200:220]
    few = labelled(drawn, photo=(path, photo))
    assert few.told["mark"] is None and NO_ROOM in few.told["notes"]
    drawn[100:560, 60:460] = field(10, (400, 460))
    done = labelled(drawn, photo=(path, photo))
    changed = (np.asarray(done.picture) != photo).any(-1)
    changed[570:, 340:] = False  # the visible label
    assert done.told["mark"] and not changed[(drawn == photo).all(-1)].any()
    assert b"c2pa.opened" in done.data and b"compositeWithTrained" in done.data and b"SECRETCAMERA" not in done.data
    (tmp_path / "done.png").write_bytes(done.data)
    assert verify(tmp_path / "done.png").layers == ["mark", "xmp", "c2pa"]


def test_a_signed_photo_brings_its_manifest(saved: Path) -> None:
    photo = np.asarray(Image.open(saved))
    drawn = photo.copy()
    drawn[50:60, 50:60] = 0
    done = labelled(drawn, photo=(saved, photo))
    manifests = signing._manifests("image/png", done.data) or {}
    assert len(manifests["manifests"]) == 2 and manifests["validation_state"] == "Valid"


def test_without_the_package_the_picture_is_marked_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    monkeypatch.setattr(signing, "find_spec", lambda _: None)
    done = labelled(DRAWN[0])
    assert done.told["signed"] is None and done.told["notes"] == [signing.MISSING]
    (tmp_path / "a.png").write_bytes(done.data)
    assert verify(tmp_path / "a.png").layers == ["mark", "xmp"] and "not checked" in verify(tmp_path / "a.png").notes[0]


def test_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = signing_certificate(tmp_path / "c2pa")
    assert made.development and made == signing_certificate(tmp_path / "c2pa")
    assert (tmp_path / "c2pa" / "development.pem").stat().st_mode & 0o077 == 0
    for name, data in {"CERT": made.chain, "KEY": made.key}.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.setenv("TWINSET_C2PA_CERT", str(tmp_path / "CERT"))
    with pytest.raises(InputError, match="TWINSET_C2PA_KEY = None"):
        labelled(DRAWN[0])
    monkeypatch.setenv("TWINSET_C2PA_KEY", str(tmp_path / "KEY"))
    assert labelled(DRAWN[0]).told["signed"] == "own"
    (tmp_path / "KEY").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="not an unencrypted PEM private key"):
        labelled(DRAWN[0])


# Generation and the command line


FIELDS = {"prompt": "short hair", "seed": 7, "steps": 2, "repair": False}


@pytest.mark.long
def test_pictures_are_labelled_and_replayed(studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (record,) = generate(studio, read_request(FIELDS), tmp_path)
    found, stored = verify(tmp_path / record.picture), load_record(tmp_path / "0007.json")
    assert found.layers == ["mark", "xmp", "c2pa"] and found.mark and found.mark["payload"] == stored.labels["mark"]
    assert stored.labels["text"] == "AI生成" and stored.labels["psnr"] > 38 and stored.labels == record.labels
    path, equal = replay(studio, stored, tmp_path / "again")
    assert equal and verify(path).layers == found.layers
    monkeypatch.setenv("TWINSET_MARK_KEY", "another")
    with pytest.raises(InputError, match="marked with the key public, this run has"):
        replay(studio, stored, tmp_path / "again")


def test_labels_can_be_refused(studio, tmp_path: Path) -> None:
    (record,) = generate(studio, read_request(FIELDS | {"labels": False}), tmp_path)
    found = verify(tmp_path / record.picture)
    assert (found.layers, record.labels) == ([], {})
    with pytest.raises(InputError, match="lacks"):
        generate(studio, read_request(FIELDS | {"label_text": "你好"}), tmp_path)


def test_records_of_format_2_are_replayed_without_labels(studio, tmp_path: Path) -> None:
    (record,) = generate(studio, read_request(FIELDS | {"labels": False}), tmp_path)
    old: dict[str, Any] = record.model_dump(mode="json") | {"format": 2}
    del old["labels"]
    old["request"] = {k: v for k, v in old["request"].items() if not k.startswith("label")}
    assert not Record.model_validate(old).request.labels


def test_verify_command(saved: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["twinset", "verify", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0)

    Image.fromarray(DRAWN[1]).save(tmp_path / "plain.png")
    assert run(saved, "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert set(told) == {"picture", "mark", "xmp", "c2pa", "notes", "layers", "proven", "verdicts", "broken"}
    assert run(saved, tmp_path / "plain.png") == 1
    assert re.search("no label says so|no label", capsys.readouterr().out)
    assert run(tmp_path / "gone.png") == 2 and "gone.png" in capsys.readouterr().err
