"""Bytes of a picture in, an upright RGB picture out, or a failure that says what is wrong."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from drawing import encode, noise, photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize

from glimpse_worker.failure import WorkerFailure
from glimpse_worker.media import Picture, padded_size, read_picture
from glimpse_worker.protocol import ErrorCode

FACTOR = 28
ORIENTATION = 0x0112


def read(data: bytes) -> Picture:
    return read_picture(data, 0, FACTOR, "picture 1")


def failure(data: bytes, code: ErrorCode) -> WorkerFailure:
    with pytest.raises(WorkerFailure) as caught:
        read_picture(data, 3, FACTOR, "picture 4")
    assert (caught.value.code, caught.value.media) == (code, 3)
    assert "picture 4" in caught.value.message
    assert caught.value.hint
    return caught.value


def as_transformers_loads_it(data: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.mode == other.mode and np.array_equal(np.asarray(one), np.asarray(other))


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that says how large it is, and nothing more."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT"


OPAQUE = {
    "png": encode(noise(50, 40)),
    "png, interlaced by nobody, grey": encode(noise(50, 40).convert("L")),
    "png, black and white": encode(noise(50, 40).convert("1")),
    "png, palette": encode(noise(50, 40).convert("P")),
    "jpeg": encode(photo(50, 40), "JPEG"),
    "jpeg, progressive": encode(photo(50, 40), "JPEG", progressive=True),
    "jpeg, grey": encode(photo(50, 40).convert("L"), "JPEG"),
    "jpeg, CMYK": encode(photo(50, 40).convert("CMYK"), "JPEG"),
    "webp": encode(photo(50, 40), "WEBP"),
    "webp, lossless": encode(noise(50, 40), "WEBP", lossless=True),
    "gif": encode(noise(50, 40), "GIF"),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_an_opaque_picture_is_what_transformers_loads(name: str) -> None:
    picture = read(OPAQUE[name])
    assert same(picture.image, as_transformers_loads_it(OPAQUE[name]))
    assert (picture.width, picture.height, picture.warnings) == (50, 40, ())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encode(photo(60, 30), format, exif=exif)
    picture = read(data)
    assert same(picture.image, as_transformers_loads_it(data))
    assert (picture.width, picture.height) == ((30, 60) if orientation > 4 else (60, 30))


def test_damaged_exif_leaves_the_picture_as_it_is_stored() -> None:
    plain = encode(photo(60, 30), "JPEG")
    damaged = encode(photo(60, 30), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\xff\x01\x12\0\x03")
    with pytest.warns(UserWarning, match="EXIF"):
        picture = read(damaged)
    assert same(picture.image, read(plain).image)


def test_the_first_view_of_an_mpo_file_is_taken_without_a_warning() -> None:
    views = photo(60, 30), photo(61, 31)
    data = encode(views[0], "MPO", save_all=True, append_images=[views[1]])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    picture = read(data)
    assert (picture.width, picture.warnings) == (60, ())


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_seen_on_white(mode: str) -> None:
    logo = Image.new(mode, (40, 40), (0,) * len(mode))
    logo.paste((0,) * (len(mode) - 1) + (255,), (10, 10, 30, 30))
    seen = read(encode(logo)).image
    assert (seen.getpixel((0, 0)), seen.getpixel((20, 20))) == ((255, 255, 255), (0, 0, 0))


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_palette_colour_is_seen_on_white(format: str) -> None:
    picture = Image.new("P", (40, 40), 1)
    picture.putpalette([0, 0, 0, 200, 0, 0])
    picture.paste(0, (0, 0, 20, 40))
    seen = read(encode(picture, format, transparency=0)).image
    assert (seen.getpixel((5, 5)), seen.getpixel((30, 5))) == ((255, 255, 255), (200, 0, 0))


def test_half_transparent_red_is_seen_as_pink() -> None:
    assert read(encode(Image.new("RGBA", (8, 8), (255, 0, 0, 128)))).image.getpixel((4, 4)) == (255, 127, 127)


def test_a_fully_opaque_alpha_channel_changes_nothing() -> None:
    data = encode(noise(50, 40).convert("RGBA"))
    assert same(read(data).image, as_transformers_loads_it(data))


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    ramp = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    seen = np.asarray(read(encode(Image.fromarray(ramp))).image)
    assert np.array_equal(seen, np.repeat((ramp >> 8).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken_with_a_warning(format: str) -> None:
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue", "green")]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], duration=100)
    picture = read(data)
    assert [warning.code for warning in picture.warnings] == ["IMAGE_FIRST_FRAME"]
    red, green, blue = np.asarray(picture.image).reshape(-1, 3).mean(axis=0)
    assert (red > 240, green < 15, blue < 15) == (True, True, True)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (b"hello, I am a text file", "b'hello, I am '"),
        (b"%PDF-1.7\n", "b'%PDF-1.7"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 'b"<svg'),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
    ],
)
def test_bytes_that_are_no_picture_are_refused_with_their_beginning(data: bytes, what: str) -> None:
    assert what in failure(data, "IMAGE_UNREADABLE").message


@pytest.mark.parametrize("format", ["TIFF", "BMP", "ICO", "PPM"])
def test_other_formats_are_refused(format: str) -> None:
    failure(encode(photo(32, 32), format), "IMAGE_UNREADABLE")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_truncated_picture_is_refused(format: str) -> None:
    data = encode(noise(200, 200), format)
    failure(data[: len(data) // 2], "IMAGE_UNREADABLE")


def test_a_truncated_jpeg_is_called_truncated() -> None:
    data = encode(noise(200, 200), "JPEG")
    message = failure(data[: len(data) // 2], "IMAGE_UNREADABLE").message
    assert "damaged JPEG" in message
    assert "truncated" in message


def png(bits: int, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 4 × 1 pixels whose check sums are right, whatever its chunks before the pixels say."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, bits, colour_type, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + bytes(range(32))))
    middle = b"".join(chunk(*named) for named in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + middle + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"a" * 5_000_000))],
        [(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 5_000_000))],
        [(b"iCCP", b"profile\0\0" + zlib.compress(b"a" * 5_000_000))],
    ],
)
def test_megabytes_of_metadata_do_not_hide_the_picture(chunks: list[tuple[bytes, bytes]]) -> None:
    assert same(read(png(8, 0, *chunks)).image, read(png(8, 0)).image)


def test_a_picture_with_more_metadata_than_is_read_is_not_called_another_format() -> None:
    bomb = b"Comment\0\0" + zlib.compress(b"a" * 20_000_000)
    message = failure(png(8, 0, (b"zTXt", bomb)), "IMAGE_UNREADABLE").message
    assert message.lower().startswith("picture 4 is damaged or unusual: decompressed data too large")


GREY, PALETTE = 0, 3
RED_AND_BLUE = b"\xff\0\0\0\0\xff"


@pytest.mark.parametrize(
    "chunks",
    [[], [(b"PLTE", RED_AND_BLUE), (b"tRNS", bytes(300))]],
    ids=["no palette", "more transparent colours than there are"],
)
def test_a_png_with_an_impossible_palette_is_damaged(chunks: list[tuple[bytes, bytes]]) -> None:
    assert "damaged PNG" in failure(png(8, PALETTE, *chunks), "IMAGE_UNREADABLE").message


@given(
    st.sampled_from([1, 2, 4, 8, 16]),
    st.sampled_from([GREY, 2, PALETTE, 4, 6]),
    st.lists(
        st.tuples(st.sampled_from([b"PLTE", b"tRNS", b"eXIf", b"iCCP", b"acTL"]), st.binary(max_size=300))
    ),
)
def test_any_palette_or_transparency_ends_in_a_picture_or_a_named_failure(
    bits: int, colour_type: int, chunks: list[tuple[bytes, bytes]]
) -> None:
    try:
        outcome = str(read(png(bits, colour_type, *chunks)).image.mode)
    except WorkerFailure as failure:
        outcome = failure.code
    assert outcome in ("RGB", "IMAGE_UNREADABLE")


def test_memory_that_runs_out_while_a_picture_is_turned_is_not_taken_for_damaged_exif(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageOps, "exif_transpose", exhausted)
    with pytest.raises(MemoryError):
        read(OPAQUE["jpeg"])


@given(st.binary(max_size=200), st.integers(0, 400))
def test_damaged_bytes_never_end_in_anything_but_a_picture_or_a_named_failure(
    junk: bytes, place: int
) -> None:
    sound = OPAQUE["gif"]
    damaged = sound[:place] + junk + sound[place + len(junk) :]
    try:
        outcome = str(read(damaged).image.mode)
    except WorkerFailure as failure:
        outcome = failure.code
    assert outcome in ("RGB", "IMAGE_UNREADABLE", "IMAGE_TOO_LARGE")


def test_a_picture_of_more_than_100_megapixels_is_refused_from_its_header() -> None:
    message = failure(png_header(20_000, 20_000), "IMAGE_TOO_LARGE").message
    assert "20000 × 20000 = 400 megapixels" in message


def test_a_picture_of_90_megapixels_is_read_without_a_warning_of_pillow() -> None:
    picture = read(encode(Image.new("1", (10_000, 9_000)), "PNG"))
    assert picture.warnings == ()


def test_a_line_that_would_be_padded_beyond_100_megapixels_is_refused() -> None:
    data = encode(Image.new("1", (200_000, 1)), "PNG")
    assert "padded" in failure(data, "IMAGE_TOO_LARGE").message


@pytest.mark.parametrize(
    ("size", "padded"), [((603, 3), (603, 4)), ((1, 1000), (5, 1000)), ((9999, 30), (9999, 50))]
)
def test_a_picture_beyond_200_to_1_gets_white_at_the_right_or_below(
    size: tuple[int, int], padded: tuple[int, int]
) -> None:
    picture = read(encode(Image.new("RGB", size, "red")))
    assert picture.image.size == padded
    assert (picture.width, picture.height) == size
    assert [warning.code for warning in picture.warnings] == ["IMAGE_PADDED"]
    assert picture.image.getpixel((0, 0)) == (255, 0, 0)
    assert picture.image.getpixel((padded[0] - 1, padded[1] - 1)) == (255, 255, 255)


@pytest.mark.parametrize("size", [(199, 1), (200, 1), (3, 600), (5600, 28)])
def test_a_picture_of_exactly_200_to_1_is_not_padded(size: tuple[int, int]) -> None:
    picture = read(encode(Image.new("RGB", size, "red")))
    assert (picture.image.size, picture.warnings) == (size, ())


@given(st.integers(1, 40), st.integers(1, 10_000), st.booleans())
def test_a_picture_is_padded_exactly_when_transformers_would_refuse_it(
    short: int, long: int, tall: bool
) -> None:
    width, height = (short, long) if tall else (long, short)

    def accepted(width: int, height: int) -> bool:
        try:
            smart_resize(2, height, width, factor=FACTOR)
        except ValueError:
            return False
        return True

    padded = padded_size(width, height, FACTOR)
    assert (padded == (width, height)) == accepted(width, height)
    assert accepted(*padded)
