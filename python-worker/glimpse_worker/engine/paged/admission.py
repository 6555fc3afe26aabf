"""A prepared request → one that the scheduler can run."""

from __future__ import annotations

from collections.abc import Sequence as List

from transformers import GenerationConfig, PreTrainedTokenizerFast

from ...failure import WorkerFailure
from ...guide import Guide
from ...output import Output
from ...prepare import Prepared
from ...protocol import Generate
from ...sampling import resolve_sampling, stop_token_ids
from ...tags import ANSWER, END_THINK, THINK
from .inbox import Arrived
from .request import Generation, Thinking
from .sequence import Sequence
from .shown import Shown
from .spans import Patchwork, find_spans


class Admission:
    """What all requests of a checkpoint have in common: its tokenizer, its defaults and its sizes."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        defaults: GenerationConfig,
        *,
        vocabulary: int,
        merge_size: int,
        page_size: int,
    ) -> None:
        self._tokenizer = tokenizer.backend_tokenizer
        self._defaults = defaults
        self._stop_token_ids = stop_token_ids(defaults)
        self._vocabulary = vocabulary
        self._merge_size = merge_size
        self._page_size = page_size
        self._close = self._encode(END_THINK + ANSWER)
        self._skip = self._encode(THINK + END_THINK + ANSWER)
        self._orders = 0

    def admit(self, arrived: Arrived) -> Generation:
        """Raises INVALID_REQUEST for generated ids that the model does not have."""
        message, prepared = arrived.request.message, arrived.prepared
        generated = message.generated or ()
        self._check(generated)
        shown = Shown([], {}, arrived.features)
        grammar = arrived.grammar
        patchworks = _take_pixels(prepared, shown)
        shown.spans = find_spans(prepared.prompt.token_types, patchworks, self._merge_size)
        sequence = Sequence(
            arrived.request.order,
            prepared.prompt.ids,
            shown.spans,
            merge_size=self._merge_size,
            page_size=self._page_size,
            max_new_tokens=prepared.max_new_tokens,
            sampling=resolve_sampling(message.options, self._defaults),
            generated=generated,
            allowed=None if grammar is None else Guide(grammar, len(prepared.prompt.ids)),
        )
        if generated and sequence.allowed is not None:
            # What does not follow the grammar is refused here, not in a step.
            sequence.allowed(sequence.ids)
        output = Output(
            self._decode,
            stop_token_ids=self._stop_token_ids,
            stop=message.options.stop or (),
            geometries=[medium.geometry for medium in prepared.media],
            places=prepared.places,
            tags=None if grammar is None else grammar.tokens.tags,
        )
        return Generation(message.key, sequence, shown, output, self._thinking(message))

    def renew(self, generation: Generation, arrived: Arrived) -> None:
        """Gives a request what it shows once more, after it was let go of."""
        generation.shown.features = arrived.features
        _take_pixels(arrived.prepared, generation.shown)

    def _thinking(self, message: Generate) -> Thinking | None:
        limit = message.options.max_thinking_tokens
        return None if limit is None else Thinking(limit, self._close, self._skip)

    def _check(self, generated: List[int]) -> None:
        highest = max(generated, default=0)
        if highest >= self._vocabulary:
            raise WorkerFailure(
                "INVALID_REQUEST",
                f"generated: expected ids below {self._vocabulary}, got {highest}",
                hint="Go on only with ids that the same model has generated.",
            )

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _decode(self, ids: List[int]) -> str:
        # Raw text is what a script prints that keeps special tokens.
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))


def _take_pixels(prepared: Prepared, shown: Shown) -> list[Patchwork]:
    """The patchworks in the order of the prompt; puts the pixels of those that were decoded into `shown`."""
    patchworks: list[Patchwork] = []
    for index in prepared.order:
        medium = prepared.media[index]
        height, width = medium.size
        patchworks += [Patchwork(key, height, width) for key in medium.keys]
        if medium.pixels is not None:
            shown.pixels.update(zip(medium.keys, medium.pixels.frames, strict=True))
    return patchworks
