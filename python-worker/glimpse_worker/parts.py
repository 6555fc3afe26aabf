"""The generated text, taken apart while it arrives: thinking, answer, markup, boxes."""

from __future__ import annotations

from collections.abc import Sequence

from .boxes import BoxReader
from .protocol import MarkupPart, Part, TextPart, ThinkingPart
from .stops import begun_stop, find_stop
from .tags import ANSWER, BOX, END_ANSWER, END_BOX, END_THINK, TAGS, THINK, TagScanner

SectionPart = type[ThinkingPart] | type[TextPart]
"""A section is known by the part that its text becomes."""

SECTION_AFTER: dict[str, SectionPart] = {THINK: ThinkingPart, END_THINK: TextPart, ANSWER: TextPart}


class Parser:
    """A pure function of the text, however it is cut into pushes; what was given is never taken back.

    - Tags are markup and switch between two sections, thinking and answer. Text begins as answer, so output
      without tags is answer. A missing `</think>` is made good by `<answer>`, a missing `</answer>` by the
      end. `</think>` without `<think>` is markup only: what came before it was given as answer and stays
      answer.
    - White space at the borders of a section is markup.
    - In the answer, a stop string is markup, and so is everything after it. It is looked for in the answer's
      text, across box tokens, from the first character on that is no white space; of several, the first to be
      complete counts.
    - Box tokens are markup, the text between them stays text; in the answer, boxes follow the closing token,
      or the end of the section where that token is missing. A box of a JSON object follows its brace.
    """

    def __init__(self, stop: Sequence[str], boxes: BoxReader) -> None:
        self.stop_met = False
        """Whether a stop string was met."""
        self._stop = stop
        self._boxes = boxes
        self._scanner = TagScanner()
        self._section: SectionPart = TextPart
        self._blank = True
        """Whether the section has had nothing but white space."""
        self._held = ""
        """Text that may prove to be a stop string, or white space at the border."""
        self._held_tags: list[tuple[int, str]] = []
        """Box tokens amid `_held`, each with its position there."""
        self._ended = False
        self._parts: list[Part] = []
        self._position = 0
        self._thoughts: list[tuple[int, int]] = []
        self._thought_from: int | None = None

    def push(self, text: str) -> None:
        for piece in self._scanner.push(text):
            self._take(piece)

    def push_tag(self, tag: str) -> None:
        """A tag that is known not to be text, for callers that call `push_plain` for what is."""
        self._take(tag)

    def push_plain(self, text: str) -> None:
        """Text that is known to hold no tag, whatever it spells."""
        self._take_text(text)

    def end(self) -> None:
        """The answer is over: what was held back is decided, and everything pushed later is markup."""
        self._take(self._scanner.finish())
        if not self._ended:
            self._end_section()
            self._end_thought(self._position)
            self._ended = True

    def drain(self) -> list[Part]:
        """The parts that have become certain since the last call; neighbours differ in kind, boxes apart."""
        parts, self._parts = self._parts, []
        return parts

    @property
    def thinking(self) -> bool:
        """Whether the text so far ends inside the thinking."""
        return self._thought_from is not None and not self._ended

    def thoughts(self) -> list[tuple[int, int]]:
        """Where the text is thinking, tags included: character positions from, up to."""
        running = [] if self._thought_from is None else [(self._thought_from, self._position)]
        return self._thoughts + running

    def _take(self, piece: str) -> None:
        if piece in TAGS:
            self._take_tag(piece)
        else:
            self._take_text(piece)

    def _take_tag(self, tag: str) -> None:
        start = self._position
        self._position += len(tag)
        if self._ended:
            self._give(MarkupPart, tag)
        elif tag in (BOX, END_BOX):
            self._held_tags.append((len(self._held), tag))
            self._settle()
        else:
            self._switch(tag, start)

    def _take_text(self, text: str) -> None:
        self._position += len(text)
        if self._ended:
            self._give(MarkupPart, text)
        else:
            self._held += text
            self._settle()

    def _switch(self, tag: str, start: int) -> None:
        self._end_section()
        self._give(MarkupPart, tag)
        section = self._section if tag == END_ANSWER else SECTION_AFTER[tag]
        if section is ThinkingPart and self._thought_from is None:
            self._thought_from = start
        elif section is TextPart:
            self._end_thought(start if tag == ANSWER else self._position)
        self._section = section

    def _end_section(self) -> None:
        self._release(len(self._held.rstrip()), self._section)
        self._release(len(self._held), MarkupPart)
        self._parts.extend(self._boxes.close())
        self._blank = True

    def _end_thought(self, position: int) -> None:
        if self._thought_from is not None:
            self._thoughts.append((self._thought_from, position))
            self._thought_from = None

    def _settle(self) -> None:
        """Gives what no later text can change."""
        if self._blank:
            self._release(len(self._held) - len(self._held.lstrip()), MarkupPart)
            self._blank = self._held == ""
        stop = self._stop if self._section is TextPart else ()
        met = find_stop(self._held, stop)
        if met is None:
            certain = begun_stop(self._held, stop)
            self._release(len(self._held[:certain].rstrip()), self._section)
        else:
            self._release(len(self._held[:met].rstrip()), self._section)
            self._end_at_stop()

    def _end_at_stop(self) -> None:
        self._parts.extend(self._boxes.close())
        self._release(len(self._held), MarkupPart)
        self._ended = self.stop_met = True

    def _release(self, size: int, kind: SectionPart | type[MarkupPart]) -> None:
        """Gives the first `size` characters of what is held, and the box tokens up to there."""
        given = 0
        while self._held_tags and self._held_tags[0][0] <= size:
            position, tag = self._held_tags.pop(0)
            self._give(kind, self._held[given:position])
            self._give_box_token(tag)
            given = position
        self._give(kind, self._held[given:size])
        self._held = self._held[size:]
        self._held_tags = [(position - size, tag) for position, tag in self._held_tags]

    def _give_box_token(self, tag: str) -> None:
        self._give(MarkupPart, tag)
        self._parts.extend(self._boxes.close())
        if tag == BOX:
            self._boxes.open()

    def _give(self, kind: SectionPart | type[MarkupPart], text: str) -> None:
        pieces = self._boxes.read(text) if kind is TextPart else [(text, [])]
        for piece, boxes in pieces:
            self._append(kind, piece)
            self._parts.extend(boxes)

    def _append(self, kind: SectionPart | type[MarkupPart], text: str) -> None:
        last = self._parts[-1] if self._parts else None
        if text and isinstance(last, kind):
            self._parts[-1] = kind(last.text + text)
        elif text:
            self._parts.append(kind(text))
