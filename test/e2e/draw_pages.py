"""Draws pages of text, long pictures and videos into a directory: python draw_pages.py DIRECTORY"""

import sys
from pathlib import Path

from draw_pictures import canvas
from PIL import Image, ImageFont

TABLE = (("Fruit", "Count"), ("Apple", "3"), ("Pear", "12"))
RECEIPT = (("Coffee", "2.50"), ("Bagel", "3.20"), ("TOTAL", "5.70"))


def page(*lines: tuple[str, int], width: int = 224) -> Image.Image:
    """Lines under each other, each in letters of so many pixels."""
    image, draw = canvas(width, 20 + sum(size + 8 for _, size in lines))
    top = 8
    for line, size in lines:
        draw.text((12, top), line, fill="black", font=ImageFont.load_default(size))
        top += size + 8
    return image


def table() -> Image.Image:
    image, draw = canvas(168, 112)
    font = ImageFont.load_default(18)
    for row, cells in enumerate(TABLE):
        for column, cell in enumerate(cells):
            draw.text((18 + 72 * column, 14 + 28 * row), cell, fill="black", font=font)
    draw.line((10, 38, 156, 38), fill="black")
    return image


def receipt() -> Image.Image:
    image, draw = canvas(168, 140)
    font = ImageFont.load_default(16)
    draw.text((52, 8), "CORNER", fill="black", font=font)
    for row, (name, price) in enumerate(RECEIPT):
        top = 36 + 26 * row
        draw.text((12, top), name, fill="black", font=font)
        draw.text((156, top), price, fill="black", font=font, anchor="ra")
    draw.line((12, 112, 156, 112), fill="black")
    return image


def tall_and_wide(directory: Path) -> None:
    tall, draw = canvas(120, 720)
    draw.ellipse((30, 500, 90, 560), fill="green")
    draw.rectangle((20, 80, 80, 140), fill="red")
    tall.save(directory / "tall.png")
    wide, draw = canvas(840, 140)
    draw.ellipse((600, 40, 660, 100), fill="purple")
    draw.polygon(((130, 30), (190, 100), (70, 100)), fill="orange")
    wide.save(directory / "wide.png")


def square(colour: str | None) -> Image.Image:
    image, draw = canvas(112, 112)
    if colour:
        draw.rectangle((36, 40, 76, 80), fill=colour)
    return image


def videos(directory: Path) -> None:
    colours = {
        "turning": ["red", "red", "blue", "blue"],
        "appearing": [None, None, "green", "green"],
        "disappearing": ["green", "green", None, None],
    }
    for name, shown in colours.items():
        for index, colour in enumerate(shown):
            square(colour).save(directory / f"{name}{index}.png")
    for index in range(4):
        image, draw = canvas(140, 112)
        draw.text((14 + 8 * index, 40), "BREAK", fill="black", font=ImageFont.load_default(26))
        image.save(directory / f"text{index}.png")


def main() -> None:
    directory = Path(sys.argv[1])
    page(("blorfen", 26)).save(directory / "word.png")
    page(("Drompel Vast", 10)).save(directory / "small-letters.png")
    page(("open daily", 20), ("9 to 5", 20), ("ring twice", 20)).save(directory / "lines.png")
    page(("Shopping", 28), ("- milk", 17), ("- bread", 17), ("- two lamps", 17)).save(directory / "list.png")
    table().save(directory / "table.png")
    receipt().save(directory / "receipt.png")
    tall_and_wide(directory)
    videos(directory)


if __name__ == "__main__":
    main()
