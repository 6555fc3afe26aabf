"""Boxes of the model land on the caller's own picture."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from glimpse_worker.geometry import Geometry


def test_a_box_scales_with_the_picture() -> None:
    assert Geometry.unpadded(640, 480).to_pixels((0, 250, 500, 1000)) == (0.0, 120.0, 320.0, 480.0)


def test_what_lies_in_the_padding_is_clipped() -> None:
    strip = Geometry(width=8000, height=20, canvas_width=8000, canvas_height=40)
    assert strip.to_pixels((0, 0, 1000, 1000)) == (0.0, 0.0, 8000.0, 20.0)
    assert strip.to_pixels((100, 250, 200, 750)) == (800.0, 10.0, 1600.0, 20.0)
    column = Geometry(width=20, height=8000, canvas_width=40, canvas_height=8000)
    assert column.to_pixels((250, 100, 750, 200)) == (10.0, 800.0, 20.0, 1600.0)


def test_swapped_corners_are_put_in_order() -> None:
    assert Geometry.unpadded(100, 100).to_pixels((900, 800, 100, 200)) == (10.0, 20.0, 90.0, 80.0)


@given(
    st.integers(1, 9000),
    st.integers(1, 9000),
    st.integers(0, 50),
    st.integers(0, 50),
    st.tuples(*[st.floats(-1e9, 1e9)] * 4),
)
def test_a_box_never_leaves_the_picture(
    width: int, height: int, right: int, below: int, box: tuple[float, float, float, float]
) -> None:
    geometry = Geometry(width, height, width + right, height + below)
    x1, y1, x2, y2 = geometry.to_pixels(box)
    assert 0 <= x1 <= x2 <= width
    assert 0 <= y1 <= y2 <= height
