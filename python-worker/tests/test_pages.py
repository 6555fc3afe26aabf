"""No page of the KV cache has two writers, none is lost, and known content stays as long as there is room."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from glimpse_worker.engine.paged.pages import Pages

KEYS = [b"a", b"b", b"c", b"d", b"e", b"f"]


class PagesAgainstAModel(RuleBasedStateMachine):
    """
    The model: what each owner holds, which key says what is in a page, and the pages that nobody holds though
    their content is known, in the order in which they are given away.
    """

    def __init__(self) -> None:
        super().__init__()
        self.owners: list[list[int]] = []
        self.page_of: dict[bytes, int] = {}
        self.idle: list[int] = []

    @initialize(count=st.integers(1, 9))
    def start(self, count: int) -> None:
        self.pages = Pages(count)
        self.free = set(range(count))

    @rule(count=st.integers(0, 10))
    def take(self, count: int) -> None:
        taken = self.pages.take(count)
        if count > len(self.free) + len(self.idle):
            assert taken is None
            return
        assert taken is not None
        assert len(taken) == len(set(taken)) == count
        from_free = min(count, len(self.free))
        assert set(taken[:from_free]) <= self.free
        assert taken[from_free:] == self.idle[: count - from_free]
        self.free -= set(taken)
        self.idle = self.idle[count - from_free :]
        self.page_of = {key: page for key, page in self.page_of.items() if page not in taken}
        self.owners.append(taken)

    @rule(keys=st.lists(st.sampled_from(KEYS), max_size=6, unique=True), more=st.integers(0, 3))
    def reuse(self, keys: list[bytes], more: int) -> None:
        """What an admission does: whether there is room is known before anything is taken."""
        known: list[int] = []
        for key in keys:
            if key not in self.page_of:
                break
            known.append(self.page_of[key])
        found = self.pages.find(keys)
        assert found == known
        room = self.pages.available - self.pages.idle_among(found)
        self.pages.share(found)
        assert self.pages.available == room
        self.idle = [page for page in self.idle if page not in found]
        self.owners.append(found)
        if more <= room:
            self.take(more)
        else:
            assert self.pages.take(more) is None

    @precondition(lambda self: any(self.owners))
    @rule(data=st.data(), key=st.sampled_from(KEYS))
    def publish(self, data: st.DataObject, key: bytes) -> None:
        page = data.draw(st.sampled_from(sorted({page for owner in self.owners for page in owner})))
        self.pages.publish(page, key)
        if key not in self.page_of and page not in self.page_of.values():
            self.page_of[key] = page

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        gone = self.owners.pop(data.draw(st.integers(0, len(self.owners) - 1)))
        self.pages.release(gone)
        for page in reversed(gone):
            if any(page in owner for owner in self.owners):
                continue
            if page in self.page_of.values():
                self.idle.append(page)
            else:
                self.free.add(page)

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "pages"):
            assert self.pages.available == len(self.free) + len(self.idle)
            assert self.pages.idle_among(range(self.pages.count)) == len(self.idle)
            for key in KEYS:
                assert self.pages.find([key]) == ([self.page_of[key]] if key in self.page_of else [])


PagesAgainstAModel.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
test_pages_are_handed_out_shared_and_given_back_as_a_simple_model_says = PagesAgainstAModel.TestCase


def _published(pages: Pages, keys: list[bytes]) -> list[int]:
    taken = pages.take(len(keys))
    assert taken is not None
    for page, key in zip(taken, keys, strict=True):
        pages.publish(page, key)
    return taken


def test_the_beginning_of_a_prompt_stays_known_longer_than_its_end() -> None:
    pages = Pages(4)
    prompt = _published(pages, [b"a", b"b", b"c", b"d"])
    pages.release(prompt)
    pages.take(2)
    assert pages.find([b"a", b"b", b"c", b"d"]) == prompt[:2]


def test_the_prompt_that_was_let_go_of_first_is_forgotten_first() -> None:
    pages = Pages(4)
    older, newer = _published(pages, [b"a", b"b"]), _published(pages, [b"c", b"d"])
    pages.release(older)
    pages.release(newer)
    pages.take(2)
    assert pages.find([b"a"]) == []
    assert pages.find([b"c", b"d"]) == newer


def test_using_a_prompt_again_keeps_it_known() -> None:
    pages = Pages(2)
    used, other = _published(pages, [b"a"]), _published(pages, [b"b"])
    pages.release(used)
    pages.release(other)
    pages.share(used)
    pages.release(used)
    pages.take(1)
    assert pages.find([b"a"]) == used
    assert pages.find([b"b"]) == []


def test_free_pages_are_used_before_known_content_is_given_up() -> None:
    pages = Pages(3)
    known = _published(pages, [b"a"])
    pages.release(known)
    pages.take(2)
    assert pages.find([b"a"]) == known


def test_a_page_is_not_handed_out_while_one_of_its_users_is_left() -> None:
    pages = Pages(1)
    shared = _published(pages, [b"a"])
    pages.share(shared)
    pages.release(shared)
    assert pages.available == 0
    assert pages.take(1) is None
    pages.release(shared)
    assert pages.take(1) == shared


def test_content_that_is_known_twice_is_found_where_it_was_first() -> None:
    pages = Pages(2)
    [first], [second] = _published(pages, [b"a"]), _published(pages, [b"a"])
    pages.release([second])
    assert pages.find([b"a"]) == [first]
    assert pages.take(1) == [second]
    assert pages.find([b"a"]) == [first]


@pytest.mark.parametrize("count", [0, 3])
def test_as_many_pages_as_asked_for_or_none(count: int) -> None:
    pages = Pages(3)
    taken = pages.take(count)
    assert taken is not None
    assert len(taken) == count
    assert pages.take(4 - count) is None
    assert pages.available == 3 - count
