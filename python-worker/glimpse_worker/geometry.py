"""From the model's box coordinates back to the pixels of the picture that the caller sent."""

from __future__ import annotations

from dataclasses import dataclass

GRID = 1000
"""zai-org/GLM-V: boxes are "scaled to 1000" (README), integers 0 to 999, per mille (GUI guide)."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """A picture in the canvas that the model sees. All in pixels of the original picture.

    `width` and `height` are those after EXIF orientation. The picture lies at the canvas's left and top;
    an unpadded one is its own canvas.
    """

    width: int
    height: int
    canvas_width: int
    canvas_height: int

    @classmethod
    def unpadded(cls, width: int, height: int) -> Geometry:
        return cls(width, height, canvas_width=width, canvas_height=height)

    def to_pixels(self, grid_box: Box) -> Box:
        """Maps a box of the model's grid to pixels: corners in order, clipped to the picture, hundredths
        kept.
        """
        x1, y1, x2, y2 = grid_box
        xs = sorted(_place(x, self.canvas_width, self.width) for x in (x1, x2))
        ys = sorted(_place(y, self.canvas_height, self.height) for y in (y1, y2))
        return (xs[0], ys[0], xs[1], ys[1])


def _place(coordinate: float, canvas: int, size: int) -> float:
    pixel = coordinate / GRID * canvas
    return round(min(max(pixel, 0.0), float(size)), 2)
