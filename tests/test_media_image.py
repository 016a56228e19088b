"""Pictures: upright, in RGB, nothing lost on the way in or out, and bad files are named."""

from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest

from cyclegan_media.errors import UserError
from cyclegan_media.media import Image, kind_of, list_media, read_image, write_image
from cyclegan_media.media.limits import MAX_MEGAPIXELS_VARIABLE

SRGB = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()


def noise(dtype: type = np.uint8, size: tuple[int, ...] = (5, 7, 3)) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, top + 1, size).astype(dtype)


def test_kinds_go_by_the_suffix_in_any_case() -> None:
    names = {"a.PNG": "image", "b.jpeg": "image", "c.MP4": "video", "d.mp4.mp3": "audio"}
    assert {name: kind_of(name) for name in names} == names
    assert [kind_of("notes.txt"), kind_of("none"), kind_of(".png")] == [None, None, None]


def test_a_folder_lists_its_own_visible_files_in_natural_order(tmp_path: Path) -> None:
    for name in ("f10.png", "f2.PNG", "f1.jpg", ".hidden.png", ".x.partial-12.png", "a.wav"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "below.png").mkdir()
    assert [path.name for path in list_media(tmp_path, "image")] == ["f1.jpg", "f2.PNG", "f10.png"]
    with pytest.raises(UserError, match="nowhere"):
        list_media(tmp_path / "nowhere", "image")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("transparent", [False, True])
def test_lossless_formats_return_every_bit(
    dtype: type, suffix: str, transparent: bool, tmp_path: Path
) -> None:
    alpha = noise(dtype, (5, 7)) if transparent else None
    write_image(tmp_path / f"a{suffix}", Image(noise(dtype), alpha))
    back = read_image(tmp_path / f"a{suffix}")
    assert back.pixels.dtype == dtype
    np.testing.assert_array_equal(back.pixels, noise(dtype))
    if alpha is None:
        assert back.alpha is None
    else:
        np.testing.assert_array_equal(back.alpha, alpha)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_lossy_formats_come_close(suffix: str, tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64).round().astype(np.uint8)
    pixels = np.stack(
        [np.tile(ramp, (64, 1)), np.tile(ramp[:, None], 64), ramp[::-1] + 0 * ramp[:, None]], -1
    )
    write_image(tmp_path / f"a{suffix}", Image(pixels))
    error = read_image(tmp_path / f"a{suffix}").pixels.astype(float) - pixels
    assert 20 * np.log10(255 / np.sqrt(np.mean(error**2))) > 35


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", np.uint8),
        (".png", np.uint16),
        (".jpg", np.uint8),
        (".tif", np.uint8),
        (".webp", np.uint8),
    ],
)
def test_the_colour_profile_is_kept(suffix: str, dtype: type, tmp_path: Path) -> None:
    write_image(tmp_path / f"a{suffix}", Image(noise(dtype), None, SRGB))
    back = read_image(tmp_path / f"a{suffix}")
    assert back.icc_profile == SRGB
    assert back.pixels.dtype == dtype


def test_sixteen_bits_are_rounded_to_eight_where_the_format_has_no_more(tmp_path: Path) -> None:
    pixels = np.array([[[0, 128, 129], [257 * 100, 65406, 65535]]], np.uint16)
    write_image(tmp_path / "a.bmp", Image(pixels))
    back = read_image(tmp_path / "a.bmp").pixels
    np.testing.assert_array_equal(back, [[[0, 0, 1], [100, 254, 255]]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_exif_orientation_is_turned_upright(
    orientation: int, dtype: type, tmp_path: Path
) -> None:
    upright = noise(dtype)
    # EXIF 2.3: which side of the stored picture is the top and the left of the scene.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    path = tmp_path / "a.png"
    write_image(path, Image(np.ascontiguousarray(stored)))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    insert_chunk(path, b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    np.testing.assert_array_equal(read_image(path).pixels, upright)


def insert_chunk(path: Path, name: bytes, body: bytes) -> None:
    content = path.read_bytes()
    chunk = struct.pack(">I", len(body)) + name + body
    chunk += struct.pack(">I", zlib.crc32(name + body))
    path.write_bytes(content[:33] + chunk + content[33:])


def test_grey_palette_and_one_bit_pictures_become_rgb(tmp_path: Path) -> None:
    grey = noise(np.uint8, (5, 7))
    PIL.Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "grey.png").pixels, np.stack([grey] * 3, axis=-1)
    )
    sixteen = noise(np.uint16, (5, 7))
    PIL.Image.fromarray(sixteen).save(tmp_path / "grey16.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "grey16.png").pixels, np.stack([sixteen] * 3, axis=-1)
    )
    PIL.Image.fromarray(grey > 99).save(tmp_path / "one.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "one.png").pixels, np.stack([(grey > 99) * 255] * 3, axis=-1)
    )
    palette = PIL.Image.fromarray(grey % 3)
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(tmp_path / "palette.png", transparency=1)
    back = read_image(tmp_path / "palette.png")
    np.testing.assert_array_equal(back.pixels, np.eye(3)[grey % 3] * 255)
    np.testing.assert_array_equal(back.alpha, np.where(grey % 3 == 1, 0, 255))


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    PIL.Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "a.jpg", quality=100)
    pixels = read_image(tmp_path / "a.jpg").pixels
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels.astype(int) - [0, 255, 255]).max() <= 3


def test_transparency_goes_on_white_where_the_format_has_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.zeros((1, 3, 3), np.uint8)
    alpha = np.array([[0, 51, 255]], np.uint8)
    with caplog.at_level(logging.WARNING):
        write_image(tmp_path / "a.bmp", Image(pixels, alpha))
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp").pixels[0, :, 0], [255, 204, 0])
    assert "no transparency" in caplog.text


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_animations_and_pages_are_refused(suffix: str, tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (8, 8), (k * 80, 0, 0)) for k in range(3)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="holds 3 pictures"):
        read_image(tmp_path / f"a{suffix}")


def test_a_camera_file_with_further_views_is_read_as_its_first(tmp_path: Path) -> None:
    views = [PIL.Image.new("RGB", (8, 8), (k * 80, 0, 0)) for k in range(2)]
    views[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=views[1:])
    assert read_image(tmp_path / "a.jpg").pixels[0, 0, 0] <= 2


def test_a_decompression_bomb_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.png"
    write_image(path, Image(noise()))
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"60000 × 60000 pixels .* 200 megapixels"):
        read_image(path)
    monkeypatch.setenv(MAX_MEGAPIXELS_VARIABLE, "0.00001")
    write_image(path, Image(noise()), overwrite=True)
    with pytest.raises(UserError, match=MAX_MEGAPIXELS_VARIABLE):
        read_image(path)
    monkeypatch.setenv(MAX_MEGAPIXELS_VARIABLE, "much")
    with pytest.raises(UserError, match="not a number"):
        read_image(path)


def test_reading_leaves_pillows_own_limit_as_it_was(tmp_path: Path) -> None:
    before = PIL.Image.MAX_IMAGE_PIXELS
    write_image(tmp_path / "a.png", Image(noise()))
    read_image(tmp_path / "a.png")
    assert before == PIL.Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".bmp", ".gif"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_a_truncated_picture_is_named(
    suffix: str, share: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / f"whole{suffix}"
    write_image(whole, Image(noise(size=(64, 64, 3))))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    with pytest.raises(UserError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_truncated_sixteen_bit_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, Image(noise(np.uint16, (64, 64, 3))))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(UserError, match=r"a\.png: is damaged"):
        read_image(path)


def test_floating_point_pictures_are_refused(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match="floating-point"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("a.xyz", (4, 4, 3), "cannot write a picture as '.xyz'"),
        ("a.webp", (4, 20_000, 3), "20000 × 4 pixels cannot be written as WEBP"),
        ("a.jpg", (4, 70_000, 3), "70000 × 4 pixels cannot be written as JPEG"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_without_a_trace(
    name: str, size: tuple[int, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        write_image(tmp_path / name, Image(np.zeros(size, np.uint8)))
    assert list(tmp_path.iterdir()) == []


def test_real_pictures_are_read_as_pillow_reads_them(shared_data: Path) -> None:
    path = shared_data / "images" / "monet.jpg"
    with PIL.Image.open(path) as picture:
        np.testing.assert_array_equal(read_image(path).pixels, np.asarray(picture))
