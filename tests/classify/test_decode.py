from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.builders import encode, make_pixels
from tests.exif import turned_with_a_damaged_maker
from tinysight.classify import decode
from tinysight.classify.decode import DecodedImage, UndecodableImage, decode_image

SIZE_PX = 16
PIXELS = make_pixels(7, SIZE_PX)
PICTURE = Image.fromarray(PIXELS)
GREY_PIXELS = np.asarray(PICTURE.convert("L"))


def decoded(data: bytes | NDArray[np.uint8], size_px: int = SIZE_PX) -> DecodedImage:
    return decode_image(data, size_px=size_px)


def in_grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pixels[:, :, None], 3, axis=2)


def png_by_hand(
    pixels: NDArray[np.uint16], transparent: int | list[int] | None = None, bits: int = 16
) -> bytes:
    """A PNG from (H, W) or (H, W, 3) values: Pillow writes neither deep colour nor 2-bit grey."""
    height, width = pixels.shape[:2]
    colour = 2 if pixels.ndim == 3 else 0
    values = np.unpackbits(pixels.astype(">u2").reshape(height, -1, 1).view(np.uint8), axis=2)
    rows = np.packbits(values[:, :, -bits:].reshape(height, -1), axis=1)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))]
    if transparent is not None:
        chunks.append((b"tRNS", np.array(transparent, ">u2").tobytes()))
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks += [(b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "PPM", "TIFF", "JPEG", "WEBP"])
def test_plain_rgb_image_is_what_pillow_reads_and_needs_no_repair(file_format: str) -> None:
    data = encode(PICTURE, file_format)
    result = decoded(data)
    np.testing.assert_array_equal(result.pixels_u8, np.asarray(Image.open(io.BytesIO(data))))
    assert result.pixels_u8.dtype == np.uint8
    assert (result.width_px, result.height_px, result.repairs) == (SIZE_PX, SIZE_PX, ())


def test_an_array_is_taken_as_it_is() -> None:
    np.testing.assert_array_equal(decoded(PIXELS).pixels_u8, PIXELS)


@pytest.mark.parametrize(
    ("picture", "repair"),
    [
        (PICTURE.convert("L"), decode.GREY),
        (PICTURE.convert("1"), decode.BILEVEL),
        (PICTURE.convert("P"), decode.PALETTE),
    ],
)
def test_other_pixel_modes_become_rgb_under_their_name(picture: Image.Image, repair: str) -> None:
    result = decoded(encode(picture))
    np.testing.assert_array_equal(result.pixels_u8, np.asarray(picture.convert("RGB")))
    assert result.repairs == (repair,)


@pytest.mark.parametrize(
    ("mode", "file_format", "repair"),
    [("CMYK", "JPEG", decode.CMYK), ("CMYK", "TIFF", decode.CMYK), ("LAB", "TIFF", decode.LAB)],
)
def test_print_and_lab_colours_become_rgb_under_their_name(
    mode: str, file_format: str, repair: str
) -> None:
    picture = Image.new(mode, (SIZE_PX, SIZE_PX), (200, 100, 150, 50)[: 4 if mode == "CMYK" else 3])
    result = decoded(encode(picture, file_format))
    expected = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(result.pixels_u8 - expected).max() <= 3  # JPEG rounds
    assert result.repairs == (repair,)


def test_16_bit_grey_keeps_its_high_byte() -> None:
    deep = GREY_PIXELS.astype(np.uint16) * 256 + 77
    result = decoded(png_by_hand(deep))
    np.testing.assert_array_equal(result.pixels_u8, in_grey(GREY_PIXELS))
    assert result.repairs == (decode.DEEP, decode.GREY)


def tiff_by_hand(pixels: NDArray[np.uint8], bits: int, *, white_is_zero: bool) -> bytes:
    """A grey TIFF of 8, 12 or 16 bits: Pillow writes neither 12 bits nor white as 0."""
    values = pixels.astype(np.uint16) << (bits - 8)
    if white_is_zero:
        values = 2**bits - 1 - values
    height, width = pixels.shape
    if bits == 12:  # two values in three bytes
        digits = np.unpackbits(values.astype(">u2").reshape(height, -1, 1).view(np.uint8), axis=2)
        data = np.packbits(digits[:, :, -bits:].reshape(height, -1), axis=1).tobytes()
    else:
        data = values.astype(f"<u{bits // 8}").tobytes()
    fields = {
        256: width, 257: height, 258: bits, 259: 1, 262: int(not white_is_zero), 273: 8, 277: 1,
        278: height, 279: len(data),
    }  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    directory = struct.pack("<H", len(fields)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


@pytest.mark.parametrize(
    ("bits", "white_is_zero"), [(8, False), (8, True), (12, False), (16, False), (16, True)]
)
def test_grey_tiff_of_any_depth_is_black_where_it_says_so(bits: int, white_is_zero: bool) -> None:
    result = decoded(tiff_by_hand(GREY_PIXELS, bits, white_is_zero=white_is_zero))
    np.testing.assert_array_equal(result.pixels_u8, in_grey(GREY_PIXELS))
    assert result.repairs == ((decode.DEEP, decode.GREY) if bits > 8 else (decode.GREY,))


def test_16_bit_colour_keeps_its_high_byte() -> None:
    result = decoded(png_by_hand(PIXELS.astype(np.uint16) * 256 + 77))
    np.testing.assert_array_equal(result.pixels_u8, PIXELS)
    assert result.repairs == (decode.DEEP,)


def test_16_bit_grey_with_a_transparent_value_shows_white_there() -> None:
    deep = GREY_PIXELS.astype(np.uint16) * 256 + 77
    result = decoded(png_by_hand(deep, transparent=int(deep[0, 0])))
    expected = np.where(GREY_PIXELS == GREY_PIXELS[0, 0], 255, GREY_PIXELS)
    np.testing.assert_array_equal(result.pixels_u8, in_grey(expected.astype(np.uint8)))
    assert result.repairs == (decode.DEEP, decode.GREY, decode.ALPHA)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_of_few_bits_with_a_transparent_value_shows_white_there(bits: int) -> None:
    values = np.arange(SIZE_PX**2, dtype=np.uint16).reshape(SIZE_PX, SIZE_PX) % 2**bits
    scaled = in_grey((values * (255 // (2**bits - 1))).astype(np.uint8))
    for transparent in range(2**bits):
        result = decoded(png_by_hand(values, transparent, bits))
        expected = np.where(values[:, :, None] == transparent, 255, scaled)
        np.testing.assert_array_equal(result.pixels_u8, expected)
        assert result.repairs == (decode.BILEVEL if bits == 1 else decode.GREY, decode.ALPHA)


def test_16_bit_colour_with_a_transparent_value_shows_white_there() -> None:
    deep = PIXELS.astype(np.uint16) * 256 + 77
    result = decoded(png_by_hand(deep, deep[0, 0].tolist()))
    expected = PIXELS.copy()
    expected[(PIXELS == PIXELS[0, 0]).all(axis=2)] = 255
    np.testing.assert_array_equal(result.pixels_u8, expected)
    assert result.repairs == (decode.DEEP, decode.ALPHA)


def test_transparency_is_laid_on_white() -> None:
    rgba = np.dstack([PIXELS, np.full((SIZE_PX, SIZE_PX), 255, dtype=np.uint8)])
    rgba[:4, :, 3] = 0
    rgba[4:8, :, 3] = 128
    result = decoded(encode(Image.fromarray(rgba)))
    assert (result.pixels_u8[:4] == 255).all()
    half = (PIXELS[4:8].astype(float) * 128 + 255 * 127) / 255
    assert np.abs(result.pixels_u8[4:8] - half).max() <= 1
    np.testing.assert_array_equal(result.pixels_u8[8:], PIXELS[8:])
    assert result.repairs == (decode.ALPHA,)


def test_transparent_colour_of_a_palette_is_laid_on_white() -> None:
    picture = PICTURE.convert("P")
    hidden = picture.getpixel((0, 0))
    result = decoded(encode(picture, transparency=hidden))
    assert (result.pixels_u8[np.asarray(picture) == hidden] == 255).all()
    assert result.repairs == (decode.PALETTE, decode.ALPHA)


# What each orientation asks for, by hand: the stored image is turned so that it stands upright.
UPRIGHT = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_exif_orientation_is_undone(orientation: int, file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = decoded(encode(PICTURE, file_format, exif=exif))
    np.testing.assert_array_equal(result.pixels_u8, UPRIGHT[orientation](PIXELS))
    assert result.repairs == (decode.ROTATED,)


def test_exif_orientation_of_a_jpeg_is_undone_and_its_size_is_that_of_the_upright_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(np.hstack([PIXELS, PIXELS]))
    result = decoded(encode(wide, "JPEG", exif=exif))
    assert (result.width_px, result.height_px) == (SIZE_PX, 2 * SIZE_PX)
    assert result.repairs == (decode.ROTATED, decode.CROPPED)


def test_a_tag_beside_the_orientation_may_be_damaged() -> None:
    exif = b"Exif\0\0" + turned_with_a_damaged_maker()
    result = decoded(encode(PICTURE, "PNG", exif=exif))
    np.testing.assert_array_equal(result.pixels_u8, UPRIGHT[6](PIXELS))
    assert result.repairs == (decode.ROTATED,)


def test_an_upright_orientation_is_no_repair() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    assert decoded(encode(PICTURE, "JPEG", exif=exif)).repairs == ()


def test_first_frame_of_an_animation_is_taken() -> None:
    data = encode(PICTURE, save_all=True, append_images=[PICTURE.rotate(90)])
    result = decoded(data)
    np.testing.assert_array_equal(result.pixels_u8, PIXELS)
    assert result.repairs == (decode.ANIMATED,)


def test_first_picture_of_a_multi_picture_jpeg_is_taken() -> None:
    data = encode(PICTURE, "MPO", save_all=True, append_images=[PICTURE.rotate(90)])
    result = decoded(data)
    np.testing.assert_array_equal(result.pixels_u8, decoded(encode(PICTURE, "JPEG")).pixels_u8)
    assert result.repairs == (decode.ANIMATED,)


def test_transparent_colour_is_laid_on_white() -> None:
    hidden = PICTURE.getpixel((0, 0))
    result = decoded(encode(PICTURE, transparency=hidden))
    assert (result.pixels_u8[(PIXELS == hidden).all(axis=2)] == 255).all()
    assert result.repairs == (decode.ALPHA,)


def test_another_size_is_scaled_by_its_shorter_side_and_cropped_to_its_centre() -> None:
    wide = Image.fromarray(np.hstack([PIXELS] * 3)).resize((96, 32))
    result = decoded(encode(wide))
    expected = wide.resize((48, 16), Image.Resampling.BILINEAR).crop((16, 0, 32, 16))
    np.testing.assert_array_equal(result.pixels_u8, np.asarray(expected))
    assert result.repairs == (decode.RESIZED, decode.CROPPED)
    assert (result.width_px, result.height_px) == (96, 32)


def test_an_image_with_the_right_shorter_side_is_only_cropped() -> None:
    wide = np.hstack([np.zeros_like(PIXELS), PIXELS, np.zeros_like(PIXELS)])
    result = decoded(encode(wide))
    np.testing.assert_array_equal(result.pixels_u8, PIXELS)
    assert result.repairs == (decode.CROPPED,)


@given(width=st.integers(1, 40), height=st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_every_size_gives_the_size_asked_for(width: int, height: int) -> None:
    picture = Image.new("RGB", (width, height), (10, 20, 30))
    result = decoded(encode(picture))
    assert result.pixels_u8.shape == (SIZE_PX, SIZE_PX, 3)
    assert (result.pixels_u8 == (10, 20, 30)).all()


@pytest.mark.parametrize("size", [(1_000_000, 1), (1, 1_000_000)])
def test_a_thin_image_that_would_be_huge_when_resized_is_refused(size: tuple[int, int]) -> None:
    width, height = size
    resized = f"{width * 64}x{height * 64}"
    with pytest.raises(
        UndecodableImage,
        match=f"too large when resized: {width}x{height} px would become {resized} px, more than "
        "33,554,432; cut out a part that is less long",
    ):
        decoded(encode(Image.new("RGB", size)), 64)


def test_the_thinnest_image_that_can_be_resized_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_IMAGE_PX", 64 * 16 * SIZE_PX)
    assert decoded(encode(Image.new("RGB", (64, 1)))).pixels_u8.shape == (SIZE_PX, SIZE_PX, 3)
    with pytest.raises(
        UndecodableImage, match="too large when resized: 65x1 px would become 1040x"
    ):
        decoded(encode(Image.new("RGB", (65, 1))))


def test_another_size_is_rejected_when_told_to() -> None:
    with pytest.raises(UndecodableImage, match="wrong size: 8x8 px, not 16x16"):
        decode_image(encode(make_pixels(0, 8)), size_px=16, wrong_size="reject")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"This is text.", "not an image: begins with b'This'"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut off"),
    ],
)
def test_what_is_no_image_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(UndecodableImage, match=message):
        decoded(data)


def test_values_without_a_known_range_are_refused() -> None:
    with pytest.raises(UndecodableImage, match="values without a known range: mode F"):
        decoded(encode(Image.new("F", (SIZE_PX, SIZE_PX)), "TIFF"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("side_px", "detail"),
    [
        (5_793, "5793x5793 px, more than 33,554,432; save it smaller"),
        (10_000, "10000x10000 px, more than 33,554,432; save it smaller"),
        (60_000, "more than 33,554,432; save it smaller"),  # where Pillow does not tell the size
    ],
)
def test_a_decompression_bomb_is_refused_before_it_is_inflated(side_px: int, detail: str) -> None:
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    data = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk
        + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IDAT" + b"\0" * 4
    )  # fmt: skip
    with pytest.raises(UndecodableImage) as caught:
        decoded(data)
    assert (caught.value.reason, caught.value.detail) == ("too many pixels", detail)


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {}),
    ],
)
def test_a_file_cut_off_anywhere_is_refused_or_has_all_its_pixels(
    file_format: str, options: dict[str, object]
) -> None:
    data = encode(PICTURE, file_format, **options)
    whole = decoded(data).pixels_u8
    num_refused = 0
    for length in range(len(data)):
        try:
            np.testing.assert_array_equal(decoded(data[:length]).pixels_u8, whole)
        except UndecodableImage:
            num_refused += 1
    assert num_refused > len(data) - 25  # only what follows the pixels can be spared


@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(deadline=None, max_examples=200)
def test_a_changed_byte_never_raises_anything_else(place: int, value: int) -> None:
    for data in (JPEG, PNG, GIF):
        changed = bytearray(data)
        changed[place % len(data)] = value
        try:
            assert decoded(bytes(changed)).pixels_u8.shape == (SIZE_PX, SIZE_PX, 3)
        except UndecodableImage:
            pass  # every other exception fails the test


JPEG, PNG, GIF = (encode(PICTURE, file_format) for file_format in ("JPEG", "PNG", "GIF"))
