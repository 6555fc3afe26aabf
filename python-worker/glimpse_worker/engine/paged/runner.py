"""
A batch's tokens go through the model, and the next token of each sequence is sampled: two halves, as only the
second has to know which tokens came before.
"""

from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...bitmask import EVERYTHING, words
from ...device import to_device
from .batch import Decoded, Inputs, Prompts, Sampled, rows
from .decoder import Attend, Decoder
from .graphs import Graphs
from .ops import LayerCache, Ops
from .sampler import Sampler
from .sequence import Chunk, Sequence


@dataclass(frozen=True, slots=True)
class Placed:
    """Features (tokens, hidden) that stand in for the embeddings of a batch's tokens from `row` on."""

    row: int
    features: Tensor


@dataclass(frozen=True, slots=True)
class Forward:
    """
    A batch whose tokens go through the model: the decoder's output, a row for each of `sequences` as it was
    in that epoch, and how its next token is to be sampled.
    """

    sequences: List[Sequence]
    epochs: List[int]
    output: Tensor
    sampled: Sampled

    @classmethod
    def of(cls, sequences: List[Sequence], output: Tensor) -> Forward:
        epochs = [sequence.epoch for sequence in sequences]
        return cls(sequences, epochs, output, Sampled.of(sequences))

    @property
    def current(self) -> list[Sequence]:
        """Those that the next token still counts for."""
        pairs = zip(self.sequences, self.epochs, strict=True)
        return [sequence for sequence, epoch in pairs if sequence.epoch == epoch]


@dataclass(frozen=True, slots=True)
class Launched:
    """Tokens that are being sampled, one for each of `sequences` as it was in that epoch."""

    sequences: List[Sequence]
    epochs: List[int]
    tokens: Tensor
    done: torch.cuda.Event | None

    def read(self) -> list[tuple[Sequence, int]]:
        """Waits for the launch, and gives those tokens that still count."""
        if self.done is not None:
            self.done.synchronize()
        tokens: list[int] = self.tokens.tolist()
        read = zip(self.sequences, self.epochs, tokens, strict=True)
        return [(sequence, token) for sequence, epoch, token in read if sequence.epoch == epoch]


class Runner:
    """
    Owns what lies on the device for the running sequences: their pages of keys and values, and for each slot
    the token that was sampled last and the ids that occurred. The last slot is nobody's: the rows that fill
    up a captured batch. A launch that failed, even at its very end, can be repeated: it leaves what it began
    with.
    """

    def __init__(
        self,
        decoder: Decoder,
        ops: Ops,
        sampler: Sampler,
        caches: list[LayerCache],
        *,
        page_size: int,
        max_running: int,
        graphs: Graphs | None = None,
    ) -> None:
        self.device = decoder.device
        self._decoder = decoder
        self._ops = ops
        self._sampler = sampler
        self._caches = caches
        self._page_size = page_size
        # A slot's tokens take turns in two rows, so that a launch does not overwrite the one it computes.
        self._last = torch.zeros(2, max_running + 1, dtype=torch.int64, device=self.device)
        self._seen = torch.zeros(max_running + 1, decoder.vocabulary, dtype=torch.uint8, device=self.device)
        self._one = torch.ones((), dtype=torch.uint8, device=self.device)
        self._graphs = graphs

    def capture_next(self) -> bool:
        """Captures one more graph; False when there is none left to capture."""
        return self._graphs is not None and self._graphs.capture_next(
            self._compute, self._decoder.logits, self._forward
        )

    def prefill(self, chunks: List[Chunk], placed: List[Placed]) -> Launched | None:
        """
        Computes chunks of known tokens; None when none of them reaches its sequence's end. `placed` counts
        rows in the order of `chunks`.
        """
        prompts = Prompts.of(chunks, self._page_size)
        hidden = self._decoder.embed(to_device(prompts.ids, self.device))
        for place in placed:
            hidden[place.row : place.row + len(place.features)] = place.features
        output = self._compute_prompts(prompts, hidden)
        ends = [
            (chunk.sequence, row.first + row.count - 1)
            for chunk, row in zip(chunks, prompts.chunks, strict=True)
            if chunk.samples
        ]
        if not ends:
            return None
        for sequence, _ in ends:
            self._note_occurred(sequence)
        last = to_device(np.array([row for _, row in ends]), self.device)
        return self.sample(Forward.of([sequence for sequence, _ in ends], output[last]))

    def decode(self, sequences: List[Sequence]) -> Forward:
        """
        Computes the token that was sampled last in each sequence, whether it was read or not. To be sampled
        before anything else is computed.
        """
        decoded = Decoded.of(sequences, self._page_size)
        output = None if self._graphs is None else self._graphs.decoding.run(decoded)
        if output is None:
            output = self._compute(Inputs.upload(decoded, self.device))
        return Forward.of(sequences, output[: len(sequences)])

    def sample(self, forward: Forward) -> Launched:
        """Samples the next token of each sequence, all ids of which have been read, and keeps it."""
        how = forward.sampled
        integers, floats = to_device(how.integers, self.device), to_device(how.floats, self.device)
        slots, turns = integers[:2].long()
        tokens = self._sampler.choose(
            self._decoder.logits(forward.output),
            rows(integers[2], floats),
            self._seen if how.penalised else None,
            slots,
            self._allowed(forward),
        )
        self._last[turns, slots] = tokens
        return self._launched(forward, tokens)

    def _compute_prompts(self, prompts: Prompts, hidden: Tensor) -> Tensor:
        """The decoder's output for the embeddings of `prompts`, maybe with more rows after theirs."""
        if self._graphs is not None:
            output = self._graphs.prompts.run(prompts, hidden)
            if output is not None:
                return output
        table = to_device(prompts.table, self.device)

        def attend(q: Tensor, cache: LayerCache) -> Tensor:
            return self._ops.prefill_attention(q, cache, table, prompts.chunks)

        positions, slots = to_device(prompts.positions, self.device), to_device(prompts.slots, self.device)
        return self._forward(hidden, positions, slots, attend)

    def _forward(self, hidden: Tensor, positions: Tensor, slots: Tensor, attend: Attend) -> Tensor:
        return self._decoder.forward(hidden, positions, slots, self._caches, attend)

    def _compute(self, inputs: Inputs) -> Tensor:
        """The decoder's output for the token kept of each row. Nothing in here waits for the device."""
        positions, kv, lengths, slots = inputs.integers

        def attend(q: Tensor, cache: LayerCache) -> Tensor:
            return self._ops.decode_attention(q, cache, inputs.table, lengths)

        rows = slots.long()
        computed = self._last[lengths.long() % 2, rows]
        # Not when it was sampled: a launch that is repeated must not find its own token here.
        self._seen.index_put_((rows, computed), self._one)
        return self._forward(self._decoder.embed(computed), positions, kv, attend)

    def _launched(self, forward: Forward, tokens: Tensor) -> Launched:
        if self.device.type == "cpu":
            return Launched(forward.sequences, forward.epochs, tokens, None)
        on_host = torch.empty(len(tokens), dtype=tokens.dtype, pin_memory=True)
        on_host.copy_(tokens, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        return Launched(forward.sequences, forward.epochs, on_host, done)

    def _allowed(self, forward: Forward) -> Tensor | None:
        """Which ids each row may choose, for Sampler.choose; None where all may choose any."""
        if all(sequence.allowed is None for sequence in forward.sequences):
            return None
        size = (len(forward.sequences), words(self._decoder.vocabulary))
        masks = torch.empty(size, dtype=torch.int32, pin_memory=self.device.type != "cpu")
        for row, sequence, epoch in zip(masks.numpy(), forward.sequences, forward.epochs, strict=True):
            allowed = sequence.allowed if sequence.epoch == epoch else None
            row[:] = EVERYTHING if allowed is None else allowed(sequence.ids)
        return masks.to(self.device, non_blocking=True)

    def _note_occurred(self, sequence: Sequence) -> None:
        """Which ids have occurred, for the repetition penalty, whatever has been noted in the slot before."""
        if sequence.sampling.repetition_penalty != 1:
            self._seen[sequence.slot] = 0
            self._seen[sequence.slot, to_device(np.array(sequence.ids), self.device)] = 1
