"""Pictures that users give: normalised, or refused in one line."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.fuzz_pictures import encoded, heic, photo, rounds
from twinset.common import image_io as pictures
from twinset.common.image_io import read_picture
from twinset.errors import InputError


def png(
    width: int, height: int, *chunks: tuple[bytes, bytes], kind: int = 2, depth: int = 8, rows: bytes = b""
) -> bytes:
    """A PNG file from its parts (PNG specification, section 5)."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    listed = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body)) for tag, body in listed
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def wide_gamut() -> bytes:
    """An ICC profile with gamma 1.0 and sRGB's primaries (ICC.1:2001-04): linear light."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)  # identity
    text = b"desc\0\0\0\0" + struct.pack(">I", 7) + b"linear\0" + bytes(4 + 4 + 2 + 1 + 67)
    tags = {
        b"desc": text, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.4361, 0.2225, 0.0139), b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        value += bytes(-len(value) % 4)
        table += tag + struct.pack(">II", at + len(body), len(value))
        body += value
    size = struct.pack(">I", 128 + len(table) + len(body))
    header = (
        size + b"lcms\x02\x10\0\0mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28) + b"\0\0\xf6\xd6\0\1\0\0\0\0\xd3\x2d"
    )
    return header.ljust(128, b"\0") + table + body


class TestForms:
    @pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF"])
    def test_accepted_by_content_whatever_the_name(self, form: str, tmp_path: Path) -> None:
        path = tmp_path / "picture.txt"
        path.write_bytes(encoded(photo(), form))
        found = read_picture(path)
        assert found.shape == (40, 48, 3) and found.dtype == np.uint8
        assert np.abs(found.astype(int) - np.asarray(photo())).mean() < 20
        np.testing.assert_array_equal(found, read_picture(path.read_bytes()))
        np.testing.assert_array_equal(found, read_picture(str(path)))

    def test_heic(self) -> None:
        pytest.importorskip("pillow_heif")
        data = heic(photo(64, 48))
        assert data is not None
        assert np.abs(read_picture(data).astype(int) - np.asarray(photo(64, 48))).mean() < 10

    def test_heic_without_its_package_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
        with pytest.raises(InputError, match=r"selfie is HEIC, which needs .*pip install 'twinset\[heic\]'"):
            read_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(80), "selfie")

    @pytest.mark.parametrize(
        ("data", "kind"),
        [
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS"),
            (b"8BPS\0\1" + bytes(40), "PSD"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
            (b"\xef\xbb\xbf <?xml version='1.0'?><svg/>", "SVG"),
            (encoded(photo(), "TIFF"), "TIFF"),
            (encoded(photo(), "BMP"), "BMP"),
            (b"%PDF-1.7\n", "PDF"),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "AVIF"),
            (b"hello", "no known"),
            (b"", "no known"),
        ],
    )  # fmt: skip
    def test_others_are_refused_though_named_png(self, data: bytes, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(data)
        with pytest.raises(InputError, match=rf"garment '.*a.png' cannot .*: it is .*{kind}.*; save it as JPEG, PNG"):
            read_picture(path, "garment")

    def test_polyglots_are_refused(self) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("a.class", b"x" * 90)
        sound = encoded(photo(), "JPEG")
        assert read_picture(sound + b"ftyp a film follows").shape == (40, 48, 3)
        for data, kind in [
            (sound + archive.getvalue(), "ZIP"),
            (encoded(photo(), "PNG") + b"<?php system($_GET[0]); ?>", "script"),
            (encoded(photo(), "GIF", comment=b"*/<ScRiPt>alert(1)</script>"), "script"),
            (encoded(photo(), "JPEG", comment=b"%PDF-1.4 obj"), "PDF"),
        ]:
            with pytest.raises(InputError, match=f"and also a .*{kind}"):
                read_picture(data)


class TestLimits:
    def test_bomb_of_22_kb_is_refused_before_it_is_decoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bomb = png(13300, 13300, kind=0, depth=1, rows=bytes(13300 * (1 + 13300 // 8 + 1)))
        assert len(bomb) < 30_000
        monkeypatch.setattr(pictures, "_in_srgb", None)  # decoding would fail
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(InputError, match=r"13300 x 13300 pixels; shrink it below 64 mega"):
                read_picture(bomb)

    @pytest.mark.parametrize("size", [(20000, 20000), (1, 20000), (20000, 1), (3, 3), (0, 5), (90, 1600)])
    def test_sizes(self, size: tuple[int, int]) -> None:
        with pytest.raises(InputError, match=r"x .* pixels|cannot be read"):
            read_picture(png(*size))

    @pytest.mark.parametrize("chunk", [b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xfe\x3f\0" * 2])
    def test_webp_canvas_is_measured_before_it_is_allocated(self, chunk: bytes) -> None:
        with pytest.raises(InputError, match="16383 x 16383 pixels"):
            read_picture(b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk)

    @pytest.mark.parametrize("tag", [b"zTXt", b"iCCP"])
    def test_text_and_profile_bombs(self, tag: bytes) -> None:
        body = b"note\0\0" + zlib.compress(bytes(100_000_000), 9)
        with pytest.raises(InputError, match="cannot be read as PNG"):
            read_picture(png(16, 16, (tag, body), rows=bytes(16 * 49)))

    def test_jpeg_of_many_scans(self) -> None:
        with pytest.raises(InputError, match="200 scans"):
            read_picture(encoded(photo(), "JPEG") + b"\xff\xda\0\0" * 199)

    def test_bytes(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(pictures, "MOST_BYTES", 500)
        path = tmp_path / "a.png"
        path.write_bytes(bytes(501))
        for source in (path, bytes(501)):
            with pytest.raises(InputError, match=r"has 501 bytes; make it smaller than 500"):
                read_picture(source)

    def test_missing_files(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "none.png", "a\0b"):
            with pytest.raises(InputError, match="is not a file; check the path") as error:
                read_picture(path, "selfie")
            assert "\n" not in str(error.value)


class TestNormalised:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, orientation: int) -> None:
        """What a viewer shows has red at the upper left."""
        upright = Image.new("RGB", (32, 16), "white")
        upright.paste("red", (0, 0, 16, 8))
        back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
        stored = upright if orientation == 1 else upright.transpose(Image.Transpose(back[orientation]))
        exif = Image.Exif()
        exif[0x0112] = orientation
        np.testing.assert_array_equal(read_picture(encoded(stored, "PNG", exif=exif)), np.asarray(upright))

    def test_torn_exif_leaves_the_picture(self) -> None:
        data = encoded(photo(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
        assert read_picture(data).shape == (40, 48, 3)

    def test_embedded_profile(self) -> None:
        """Half of linear light is 188 in sRGB."""
        grey = Image.new("RGB", (16, 16), (128, 128, 128))
        found = read_picture(encoded(grey, "PNG", icc_profile=wide_gamut()))
        assert np.abs(found.astype(int) - 188).max() <= 1
        clear = Image.new("RGBA", (16, 16), (128, 128, 128, 0))
        assert (read_picture(encoded(clear, "PNG", icc_profile=wide_gamut())) == 255).all()

    def test_broken_profile_is_left_aside(self) -> None:
        grey = Image.new("RGB", (16, 16), (128, 128, 128))
        assert (read_picture(encoded(grey, "PNG", icc_profile=b"none of ours" * 20)) == 128).all()

    def test_alpha_on_white(self) -> None:
        clear, half = Image.new("RGBA", (16, 16), (200, 0, 0, 0)), Image.new("RGBA", (16, 16), (200, 0, 0, 51))
        assert (read_picture(encoded(clear, "PNG")) == 255).all()
        np.testing.assert_allclose(read_picture(encoded(half, "PNG"))[0, 0], (244, 204, 204), atol=1)
        palette = Image.new("P", (16, 16), 0)
        palette.putpalette([10, 20, 30])
        assert (read_picture(encoded(palette, "PNG", transparency=0)) == 255).all()
        assert (read_picture(encoded(palette, "PNG"))[0, 0] == (10, 20, 30)).all()

    def test_other_modes(self) -> None:
        ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(16, 0)
        found = read_picture(encoded(Image.fromarray(ramp), "PNG"))
        np.testing.assert_array_equal(found[0, :, 0], np.arange(256))
        cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
        assert np.abs(read_picture(encoded(cmyk, "JPEG")).astype(int)[0, 0] - (255, 0, 0)).max() < 6
        for mode, value in (("L", 90), ("LA", (90, 255)), ("1", 1)):
            level = 255 if mode == "1" else 90
            assert (read_picture(encoded(Image.new(mode, (16, 16), value), "PNG")) == level).all()

    def test_first_frame(self) -> None:
        frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
        data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:] * 299)
        np.testing.assert_array_equal(read_picture(data)[8, 8], (255, 0, 0))

    @pytest.mark.parametrize(
        ("size", "expected"),
        [((2160, 1920), (1215, 1080)), ((1920, 2160), (1080, 1215)), ((4000, 1000), (1920, 480)), ((1000, 900), None)],
    )
    def test_working_size(self, size: tuple[int, int], expected: tuple[int, int] | None) -> None:
        data = encoded(Image.new("RGB", size, "green"), "PNG")
        assert read_picture(data).shape[1::-1] == (expected or size)
        assert read_picture(data, box=None).shape[1::-1] == size

    def test_working_size_of_a_turned_picture(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        assert read_picture(encoded(Image.new("RGB", (2160, 1080)), "PNG", exif=exif)).shape == (1920, 960, 3)


@pytest.mark.filterwarnings("ignore")
def test_mutated_pictures_are_read_or_refused() -> None:
    outcomes = Counter(outcome for _, outcome, _ in rounds(400, seed=1))
    assert min(outcomes["read"], outcomes["refused"]) > 40
