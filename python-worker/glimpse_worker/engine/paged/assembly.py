"""The parts of the paged engine, put together for a model that is loaded."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import torch
from transformers import Glm4vForConditionalGeneration

from ...protocol import Progress
from ..counting import TokenCounter
from ..interface import Emit
from ..opening import Opened
from ..readiness import describe, pulse_on
from .admission import Admission
from .capturing import Capturing
from .decode_graphs import DecodeGraphs
from .decoder import Decoder
from .engine import PagedEngine
from .features import FeatureCache
from .graphs import Graphs
from .inbox import Inbox
from .intake import Intake
from .memory import allocate_caches, free_memory, plan_memory
from .ops import Ops
from .pages import Pages
from .prompt_graphs import PromptGraphs
from .runner import Runner
from .sampler import Sampler, TorchSampler
from .scheduler import Scheduler
from .shown import Encoder
from .torch_ops import TorchOps
from .vision import VisionTower

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sizes:
    """
    `ahead` requests are prepared while `max_running` run; a step computes at most `token_budget` tokens. With
    `lookahead` steps, see PagedEngine.
    """

    page_size: int
    max_running: int
    ahead: int
    token_budget: int
    lookahead: int


CPU = Sizes(page_size=16, max_running=16, ahead=8, token_budget=512, lookahead=0)
GPU = Sizes(page_size=64, max_running=256, ahead=64, token_budget=2048, lookahead=1)


def assemble(
    opened: Opened,
    kv_cache_memory_bytes: int | None,
    progress: Progress,
    emit: Emit,
    sizes: Sizes | None = None,
) -> PagedEngine:
    """A running engine. `sizes` are those of the model's device unless a test has others."""
    model, checkpoint = opened.model, opened.checkpoint
    sizes = sizes or (CPU if model.device.type == "cpu" else GPU)
    ops, sampler = _kernels(model)
    decoder = Decoder(model, ops)
    tower = VisionTower(model.model.visual, checkpoint.image, ops)
    plan = plan_memory(
        decoder,
        page_size=sizes.page_size,
        asked=kv_cache_memory_bytes,
        free=free_memory(model.device),
        most_tokens=sizes.max_running * checkpoint.context_length,
    )
    caches = allocate_caches(decoder, plan.pages, sizes.page_size)
    # One request alone always has room, to its last token.
    checkpoint = replace(
        checkpoint, context_length=min(checkpoint.context_length, plan.pages * sizes.page_size)
    )
    features = FeatureCache(plan.feature_bytes)
    max_pages = -(-checkpoint.context_length // sizes.page_size)
    graphs = _graphs(decoder, ops, max_pages, sizes, progress)
    inbox: Inbox = Inbox()
    return PagedEngine(
        describe(
            opened,
            engine="paged",
            slots=sizes.max_running + sizes.ahead,
            kv_cache_tokens=plan.pages * sizes.page_size,
        ),
        pulse_on([model.device]),
        inbox,
        Intake(checkpoint, opened.prompts, opened.grammars, features, inbox),
        Admission(
            opened.tokenizer,
            model.generation_config,
            vocabulary=decoder.vocabulary,
            merge_size=checkpoint.image.merge_size,
            page_size=sizes.page_size,
        ),
        Scheduler(
            Pages(plan.pages),
            page_size=sizes.page_size,
            max_running=sizes.max_running,
            token_budget=sizes.token_budget,
        ),
        Encoder(tower, features),
        Runner(
            decoder,
            ops,
            sampler,
            caches,
            page_size=sizes.page_size,
            max_running=sizes.max_running,
            graphs=graphs,
        ),
        TokenCounter(checkpoint, opened.prompts, emit),
        emit,
        lookahead=sizes.lookahead,
    )


def _graphs(decoder: Decoder, ops: Ops, max_pages: int, sizes: Sizes, progress: Progress) -> Graphs | None:
    """Where the operations are torch's there is nothing to capture, or it would not be worth it."""
    if isinstance(ops, TorchOps):
        return None
    from .triton_ops import TritonOps

    assert isinstance(ops, TritonOps)
    device = decoder.device
    return Graphs(
        DecodeGraphs(device, nobody=sizes.max_running, max_pages=max_pages),
        PromptGraphs(device, ops, hidden_size=decoder.hidden_size, dtype=decoder.dtype, max_pages=max_pages),
        Capturing(device),
        lambda done, total: progress("graphs", done, total),
    )


def _kernels(model: Glm4vForConditionalGeneration) -> tuple[Ops, Sampler]:
    """
    Triton's on a GPU, for the dtypes that models have there: the tiles of float32 do not fit. Kernels are
    compiled when they are first used, so one is tried: it may not be possible.
    """
    if model.device.type == "cpu" or model.dtype == torch.float32:
        return TorchOps(), TorchSampler()
    try:
        from .kernels.sampling import TritonSampler
        from .triton_ops import TritonOps

        ops = TritonOps(model.device)
        norm = model.model.language_model.norm
        ops.rms_norm(torch.ones_like(norm.weight)[None], norm.weight, norm.variance_epsilon)
        return ops, TritonSampler()
    except Exception as error:
        logger.warning(
            "Triton's kernels cannot be compiled (%s: %s), so torch's own are used, which are several times "
            "slower; a C compiler may be missing",
            type(error).__name__,
            error,
        )
        return TorchOps(), TorchSampler()
