"""One launch: a batch's tokens go through the model, and the next token of each sequence is sampled."""

from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...bitmask import Bitmask, words
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
        return self._graphs is not None and self._graphs.capture_next(self._compute, self._forward)

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
        sampled = [sequence for sequence, _ in ends]
        for sequence in sampled:
            self._note_occurred(sequence)
        last = to_device(np.array([row for _, row in ends]), self.device)
        how, allowed = Sampled.of(sampled), self._allowed(sampled)
        integers, floats = to_device(how.integers, self.device), to_device(how.floats, self.device)
        slots = integers[0].long()
        tokens = self._sampler.choose(
            self._decoder.logits(output[last]),
            rows(integers, floats),
            self._seen if how.penalised else None,
            slots,
            None if allowed is None else to_device(allowed, self.device),
        )
        self._last[:, slots] = tokens
        return self._launched(sampled, tokens)

    def decode(self, sequences: List[Sequence]) -> Launched:
        """Computes the token that was sampled last in each sequence, and samples the next."""
        decoded, sampled = Decoded.of(sequences, self._page_size), Sampled.of(sequences)
        allowed = self._allowed(sequences)
        if self._graphs is not None:
            tokens = self._graphs.decode(decoded, sampled, allowed)
            if tokens is not None:
                return self._launched(sequences, tokens)
        inputs = Inputs.upload(decoded, sampled, self.device)
        masks = None if allowed is None else to_device(allowed, self.device)
        return self._launched(sequences, self._compute(inputs, sampled.penalised, masks))

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

    def _compute(self, inputs: Inputs, penalised: bool, allowed: Tensor | None) -> Tensor:
        """The next token of each row, int64 (n,), which is kept too. Nothing in here waits for the device."""
        positions, kv, lengths = inputs.decoded
        slots = inputs.slots

        def attend(q: Tensor, cache: LayerCache) -> Tensor:
            return self._ops.decode_attention(q, cache, inputs.table, lengths)

        turn = lengths.long() % 2
        computed = self._last[turn, slots]
        if penalised:
            # Not when it was sampled: a launch that is repeated must not find its own token here.
            self._seen.index_put_((slots, computed), self._one)
        output = self._forward(self._decoder.embed(computed), positions, kv, attend)
        seen = self._seen if penalised else None
        tokens = self._sampler.choose(self._decoder.logits(output), inputs.rows, seen, slots, allowed)
        self._last[1 - turn, slots] = tokens
        return tokens

    def _launched(self, sequences: List[Sequence], tokens: Tensor) -> Launched:
        epochs = [sequence.epoch for sequence in sequences]
        tokens = tokens[: len(sequences)]
        if self.device.type == "cpu":
            return Launched(sequences, epochs, tokens, None)
        on_host = torch.empty(len(tokens), dtype=tokens.dtype, pin_memory=True)
        on_host.copy_(tokens, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        return Launched(sequences, epochs, on_host, done)

    def _allowed(self, sequences: List[Sequence]) -> Bitmask | None:
        """Which ids each may choose, (n, words); None where all may choose any."""
        if all(sequence.allowed is None for sequence in sequences):
            return None
        everything = np.full(words(self._decoder.vocabulary), -1, dtype=np.int32)
        return np.stack([everything if s.allowed is None else s.allowed(s.ids) for s in sequences])

    def _note_occurred(self, sequence: Sequence) -> None:
        """Which ids have occurred, for the repetition penalty, whatever has been noted in the slot before."""
        if sequence.sampling.repetition_penalty != 1:
            self._seen[sequence.slot] = 0
            self._seen[sequence.slot, to_device(np.array(sequence.ids), self.device)] = 1
