"""The tokens that the TypeScript side is held to are those that the worker counts."""

from __future__ import annotations

import json

from resize_vectors import FILE, limits_of, make_vectors

WRITTEN = json.loads(FILE.read_text())


def test_the_worker_gives_every_vector_its_tokens() -> None:
    # Written by tests/resize_vectors.py, whose docstring says how.
    assert WRITTEN["vectors"] == make_vectors()


def test_the_vectors_limits_are_those_that_the_worker_was_asked_with() -> None:
    assert WRITTEN["limits"] == {name: limits_of(name) for name in WRITTEN["limits"]}


def test_the_vectors_reach_both_bounds_and_what_is_padded() -> None:
    images = [vector for vector in WRITTEN["vectors"] if vector["limits"] == "published image"]
    tokens = [vector["tokens"] for vector in images]
    assert min(tokens) == 8
    assert max(tokens) > 6_000
    ratios = [max(v["width"], v["height"]) / min(v["width"], v["height"]) for v in images]
    assert max(ratios) > 200
