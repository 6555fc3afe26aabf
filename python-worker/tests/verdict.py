"""Whether the engine's ids are the oracle's."""

from __future__ import annotations

from collections.abc import Sequence

from oracle import Told, oracle

MAX_EXCUSED = 2


class Verdict:
    """
    Collects what differs. Where the oracle's choice was nearer than `near` to another one, sums that are made
    in another order may tip it: that is excused, and so is what follows from it, but not often.
    """

    def __init__(self, near: float) -> None:
        self._near = near
        self._compared = 0
        self._excused = 0
        self._wrong: list[str] = []

    def compare(self, name: str, ids: Sequence[int], told: Told, *, cut: bool = False) -> None:
        """`cut`: `ids` may be no more than the beginning."""
        self._compared += 1
        both = zip(ids, told.ids, strict=False)
        different = next((index for index, (ours, theirs) in enumerate(both) if ours != theirs), None)
        if different is None:
            if len(ids) != len(told.ids) and not (cut and len(ids) < len(told.ids)):
                self._wrong.append(f"{name}: {len(ids)} ids instead of {len(told.ids)}")
        elif told.margins[different] < self._near:
            self._excused += 1
        else:
            self._wrong.append(
                f"{name}: {oracle().text(ids)!r} instead of {oracle().text(told.ids)!r}, from id {different} "
                f"on, where the margin is {told.margins[different]:.1e}"
            )

    def __str__(self) -> str:
        return f"{self._compared} compared, {self._excused} excused, {len(self._wrong)} wrong"

    def check(self) -> None:
        assert not self._wrong, "\n".join(self._wrong)
        assert self._excused <= MAX_EXCUSED
