"""Draws the pictures of the end-to-end tests into a directory: python draw_pictures.py DIRECTORY"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WHITE = (255, 255, 255)


def canvas(width: int, height: int, ground: object = WHITE) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), ground)
    return image, ImageDraw.Draw(image)


def red_circle(width: int = 224, height: int = 224) -> Image.Image:
    image, draw = canvas(width, height)
    side = min(width, height)
    draw.ellipse((side // 4, side // 4, side * 3 // 4, side * 3 // 4), fill="red")
    return image


def two_shapes(width: int = 224, height: int = 196) -> Image.Image:
    image, draw = canvas(width, height)
    draw.rectangle((20, 40, 90, 110), fill="blue")
    draw.polygon(((150, 150), (130, 90), (190, 110)), fill="green")
    return image


def word(text: str, width: int = 224, height: int = 112) -> Image.Image:
    image, draw = canvas(width, height)
    draw.text((20, 30), text, fill="black", font=ImageFont.load_default(30))
    return image


def moving_circle(frame: int) -> Image.Image:
    image, draw = canvas(112, 112)
    draw.ellipse((8 + frame * 9, 40, 38 + frame * 9, 70), fill="red")
    return image


def main() -> None:
    directory = Path(sys.argv[1])
    red_circle().save(directory / "circle.png")
    two_shapes().save(directory / "shapes.png")
    word("GLIMPSE").save(directory / "glimpse.png")
    word("EXIT 42", 336, 112).save(directory / "exit.png")
    red_circle(112, 112).save(directory / "small.png")
    canvas(84, 84, "yellow")[0].save(directory / "yellow.png")
    canvas(196, 168, "blue")[0].save(directory / "blue.png")
    for frame in range(8):
        moving_circle(frame).save(directory / f"frame{frame}.png")

    # One picture in every format and mode that people have.
    circle = red_circle()
    circle.save(directory / "circle.jpg", quality=95)
    circle.save(directory / "circle.webp", lossless=True)
    circle.convert("P").save(directory / "circle.gif")
    circle.convert("CMYK").save(directory / "circle-cmyk.jpg", quality=95)
    transparent = Image.new("RGBA", circle.size, (0, 0, 0, 0))
    ImageDraw.Draw(transparent).ellipse((56, 56, 168, 168), fill=(255, 0, 0, 255))
    transparent.save(directory / "circle-alpha.png")
    frames = [red_circle(), canvas(224, 224, "blue")[0]]
    frames[0].save(directory / "animated.gif", save_all=True, append_images=frames[1:], duration=100)

    # Upright only after its EXIF orientation (6: turned by 90°) is applied.
    exif = Image.Exif()
    exif[0x0112] = 6
    two_shapes(224, 196).transpose(Image.Transpose.ROTATE_90).save(directory / "turned.png", exif=exif)

    (directory / "text.png").write_text("This is a text file that somebody named .png.\n")
    whole = (directory / "circle.jpg").read_bytes()
    (directory / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("1", (20_000, 20_000)).save(directory / "huge.png")
    banner, draw = canvas(8400, 41)
    draw.rectangle((4000, 1, 4084, 39), fill="blue")
    banner.save(directory / "banner.png")


if __name__ == "__main__":
    main()
