"""Holds the paged engine's logits in bfloat16 against a float32 forward of transformers, on random weights.

PYTHONPATH=.:python-worker python test/gpu/logits.py [--model-shape embedded]

Exits with 1 when, for prompts, for reused prefixes or for decoding with any size of graph, the engine's
largest or RMS error exceeds 1.5 times that of transformers' own bfloat16 forward of the same tokens. With
`embedded` on the CPU, to try the script.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from bench.captures import Captures
from bench.client import Asked, Client, Stream
from bench.models import Subject, random_weights
from bench.plain import Inputs, inputs_of
from bench.prompts import Texts, jpegs
from torch import Tensor

from glimpse_worker.engine.paged import assembly
from glimpse_worker.engine.paged.decode_graphs import LADDER
from glimpse_worker.engine.paged.sampler import Rows, Sampler, uniforms

MOST = 1.5
KV_CACHE_BYTES = 4 * 1024**3
ROWS_OF_EACH = 4
"""How many logits of each kind are compared."""
PROMPTS = (64, 640, 3000)
"""Tokens of texts; the longest is computed in chunks."""


@dataclass(frozen=True)
class Place:
    """Where logits belong: to the token number `index` that a request has generated."""

    request: int
    index: int


class Recorder:
    """Copies the logits that the engine's sampler is given. Decoding goes through graphs of `sizes`."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.kind = ""
        self.found: dict[str, dict[Place, Tensor]] = defaultdict(dict)
        self._sizes = sizes
        self._places: dict[float, Place | None] = {}
        self._sampled: list[tuple[Tensor, Tensor]] = []

    def expect(self, request: int, seed: int, tokens: int) -> None:
        """
        A request's logits are known by their random number, unless two tokens have the same: of so many in
        24 bits some do, and they are not compared.
        """
        numbers = uniforms(np.full(tokens, seed, dtype=np.uint64), np.arange(tokens, dtype=np.uint64))
        for index, number in enumerate(numbers.tolist()):
            self._places[number] = None if number in self._places else Place(request, index)

    def around(self, sampler: Sampler) -> Sampler:
        choose = sampler.choose

        def recorded(
            logits: Tensor, rows: Rows, seen: Tensor | None, slots: Tensor, allowed: Tensor | None
        ) -> Tensor:
            self._sampled.append((logits.clone(), rows.uniform.clone()))
            return choose(logits, rows, seen, slots, allowed)

        sampler.choose = recorded  # type: ignore[method-assign]
        return sampler

    def collect(self) -> None:
        """On the engine's thread, after a step was read and before the next is launched."""
        for logits, numbers in self._sampled:
            self._take(logits, numbers)
        self._sampled.clear()

    def _take(self, logits: Tensor, numbers: Tensor) -> None:
        size = next((size for size in self._sizes if size >= len(numbers)), None)
        decoding = "decode" if size is None else graph_kind(size)
        for row, number in enumerate(numbers.tolist()):
            place = self._places.get(number)
            if place is None:
                continue
            of_kind = self.found[decoding if place.index else self.kind]
            if len(of_kind) < ROWS_OF_EACH:
                of_kind.setdefault(place, logits[row].float().cpu())


def graph_kind(size: int) -> str:
    return f"decode, graph of {size:3}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-shape", choices=("9b", "embedded"), default="9b")
    shape = parser.parse_args().model_shape
    device = torch.device("cuda" if shape == "9b" else "cpu")
    subject = random_weights(shape, device, torch.bfloat16)
    recorder = Recorder(LADDER if device.type == "cuda" else ())
    asked, streams = run_engine(subject, recorder)
    places = {place for found in recorder.found.values() for place in found}
    model: Any = subject.model()
    theirs = logits_of(subject, model, asked, streams, places)
    exact = logits_of(subject, model.float(), asked, streams, places)
    print(f"{'':28}  rows  largest error   theirs  ratio        RMS   theirs ratio")
    if device.type == "cuda" and (missing := {graph_kind(size) for size in LADDER} - set(recorder.found)):
        print(f"nothing to compare: {', '.join(sorted(missing))}")
        sys.exit(1)
    good = [compare(kind, found, theirs, exact) for kind, found in sorted(recorder.found.items())]
    sys.exit(0 if all(good) else 1)


def run_engine(subject: Subject, recorder: Recorder) -> tuple[list[Asked], list[Stream]]:
    """
    Everything that was asked, and what came of it. No step is launched before the one before it was read.
    """
    on_gpu = subject.device.type == "cuda"
    sizes = replace(assembly.GPU if on_gpu else assembly.CPU, lookahead=0)
    memory = KV_CACHE_BYTES if on_gpu else None
    captures = Captures()
    with recording(recorder):
        client = Client(lambda emit: subject.engine(emit, memory, captures.progress, sizes))
    if on_gpu:
        captures.wait()
    client.on_step = recorder.collect
    asked: list[Asked] = []
    streams: list[Stream] = []

    def run(kind: str, batch: list[Asked]) -> list[Stream]:
        recorder.kind = kind
        for number, one in enumerate(batch, len(asked)):
            recorder.expect(number, seed=number + 1, tokens=one.max_new_tokens)
        ended = client.run(batch)
        asked.extend(batch)
        streams.extend(ended)
        return ended

    first, again = questions(subject)
    for one in first:
        run("prompt", [one])
    reused = [stream for one in again for stream in run("prompt after a reused prefix", [one])]
    if not all(stream.done.usage.cached_tokens for stream in reused):
        raise RuntimeError("no prefix was reused")
    run("prompts in one batch", fading(subject, sizes.max_running))
    client.engine.close()
    return asked, streams


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Engines that are assembled meanwhile have their samplers watched."""
    kernels = assembly._kernels

    def watched(model: Any) -> tuple[Any, Sampler]:
        ops, sampler = kernels(model)
        return ops, recorder.around(sampler)

    with patch.object(assembly, "_kernels", watched):
        yield


def questions(subject: Subject) -> tuple[list[Asked], list[Asked]]:
    """Requests, and others that begin like them."""
    texts = Texts(subject.prompts)
    longest = subject.checkpoint.context_length // 2
    plain = [texts.of(min(tokens, longest)) for tokens in PROMPTS]
    pictures = jpegs(1, 672, 672)
    first = [*(Asked(text) for text in plain), Asked(texts.own(64), pictures)]
    return first, [Asked(plain[1] + texts.own(32)), Asked(texts.own(64), pictures)]


def fading(subject: Subject, count: int) -> list[Asked]:
    """Streams that end a few at a time, so that batches of every size are decoded, down to one row."""
    texts = Texts(subject.prompts, seed=1)
    alone = count - 4
    return [
        Asked(texts.of(48), max_new_tokens=4 + index // 4 + max(0, index - alone)) for index in range(count)
    ]


def logits_of(
    subject: Subject, model: Any, asked: list[Asked], streams: list[Stream], places: set[Place]
) -> dict[Place, Tensor]:
    """Those of transformers' forward over the prompt and all that the engine has generated."""
    found: dict[Place, Tensor] = {}
    for request in sorted({place.request for place in places}):
        inputs = inputs_of(subject, asked[request])
        prompt = inputs["input_ids"].shape[1]
        here = [place for place in places if place.request == request]
        rows = torch.tensor([prompt + place.index - 1 for place in here], device=subject.device)
        model.model.rope_deltas = None
        with torch.inference_mode():
            output = model(**continued(inputs, streams[request].ids), logits_to_keep=rows, use_cache=False)
        found |= zip(here, output.logits[0].float().cpu(), strict=True)
    return found


def continued(inputs: Inputs, ids: list[int]) -> Inputs:
    """The inputs of a prompt and what follows it."""
    more = torch.tensor([ids], device=inputs["input_ids"].device)
    following = {"input_ids": more, "attention_mask": torch.ones_like(more), "mm_token_type_ids": 0 * more}
    return inputs | {name: torch.cat((inputs[name], tensor), dim=1) for name, tensor in following.items()}


def compare(
    kind: str, found: dict[Place, Tensor], theirs: dict[Place, Tensor], exact: dict[Place, Tensor]
) -> bool:
    """Prints the errors of one kind, and says whether they are small enough. NaN is not."""
    ours_error = torch.stack([logits - exact[place] for place, logits in found.items()])
    their_error = torch.stack([theirs[place] - exact[place] for place in found])
    largest, their_largest = ours_error.abs().max().item(), their_error.abs().max().item()
    rms, their_rms = (error.square().mean().sqrt().item() for error in (ours_error, their_error))
    good = largest <= MOST * their_largest and rms <= MOST * their_rms
    print(
        f"{kind:28} {len(found):5} {largest:14.3e} {their_largest:8.2e} {largest / their_largest:6.2f} "
        f"{rms:10.3e} {their_rms:8.2e} {rms / their_rms:5.2f} {'' if good else 'TOO LARGE'}"
    )
    return good


if __name__ == "__main__":
    main()
