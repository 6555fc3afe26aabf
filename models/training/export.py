"""The checkpoint's files: `export(model, directory)` writes everything that `models/embedded` holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import Glm4vConfig, Glm4vForConditionalGeneration

from .vocabulary import FILE as TOKENIZER
from .vocabulary import MARKS, SIZE, SPECIALS

MOST_BYTES = 16_000_000
"""What the repository has room for: the weights have to be smaller."""

ID = {text: id for id, text in enumerate((*SPECIALS, *MARKS), SIZE - len(SPECIALS) - len(MARKS))}
PADDING = ID["<|endoftext|>"]
STOPS = [ID["<|endoftext|>"], ID["<|user|>"], ID["<|observation|>"]]

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
SHORTEST_EDGE = 112 * 112
PICTURE_PIXELS = 2 * 28 * 28 * 96
"""96 tokens; a still picture counts as two frames."""

CLIP_PIXELS = 112 * 140 * 8
"""Height, width and frames of the largest clip."""

CONTEXT = 2048

TEMPLATE = r"""[gMASK]<sop>
{%- for m in messages -%}
{%- if m.role == 'system' %}<|system|>{{ '\n' }}{{ m.content if m.content is string else m.content[0].text }}
{%- elif m.role == 'user' %}<|user|>{{ '\n' }}
{%- if m.content is string %}{{ m.content }}
{%- else %}{%- for c in m.content %}
{%- if c.type == 'video' or 'video' in c %}<|begin_of_video|><|video|><|end_of_video|>
{%- elif c.type in ['image', 'image_url'] or 'image' in c %}<|begin_of_image|><|image|><|end_of_image|>
{%- elif c.type == 'text' %}{{ c.text }}{%- endif %}{%- endfor %}{%- endif %}
{%- elif m.role == 'assistant' %}<|assistant|>{{ '\n' }}{{ m.content if m.content is string else m.content[0].text }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{{ '\n' }}{% endif %}"""  # noqa: E501


def configuration(*, vision_layers: int, text_layers: int, width: int, gated_width: int) -> dict[str, Any]:
    """
    config.json. The width of the vision part's own feed-forward is `out_hidden_size`, so both parts have one
    width; its `intermediate_size` is the merger's only.
    """
    return {
        "dtype": "bfloat16",
        "image_end_token_id": ID["<|end_of_image|>"],
        "image_start_token_id": ID["<|begin_of_image|>"],
        "image_token_id": ID["<|image|>"],
        "model_type": "glm4v",
        "text_config": {
            "attention_dropout": 0.0,
            "eos_token_id": STOPS,
            "hidden_act": "silu",
            "hidden_size": width,
            "initializer_range": 0.02,
            "intermediate_size": gated_width,
            "max_position_embeddings": CONTEXT,
            "model_type": "glm4v_text",
            "num_attention_heads": 8,
            "num_hidden_layers": text_layers,
            "num_key_value_heads": 2,
            "pad_token_id": PADDING,
            "rms_norm_eps": 1e-05,
            # With the usual theta the eight frequencies of a head tell no twelve columns apart.
            "rope_parameters": {
                "mrope_section": [2, 3, 3],
                "partial_rotary_factor": 0.5,
                "rope_theta": 100.0,
                "rope_type": "default",
            },
            "use_cache": True,
            "vocab_size": SIZE,
        },
        "tie_word_embeddings": False,
        "transformers_version": "5.17.0",
        "video_end_token_id": ID["<|end_of_video|>"],
        "video_start_token_id": ID["<|begin_of_video|>"],
        "video_token_id": ID["<|video|>"],
        "vision_config": {
            "attention_bias": False,
            "attention_dropout": 0.0,
            "depth": vision_layers,
            "hidden_act": "silu",
            "hidden_size": width,
            "image_size": 112,
            "in_channels": 3,
            "initializer_range": 0.02,
            "intermediate_size": 2 * width,
            "model_type": "glm4v_vision",
            "num_heads": 4,
            "out_hidden_size": width,
            "patch_size": 14,
            "rms_norm_eps": 1e-05,
            "rope_parameters": {"rope_theta": 10000.0, "rope_type": "axial"},
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    }


def new_model(config: dict[str, Any]) -> Glm4vForConditionalGeneration:
    """In float32, with transformers' own initial weights."""
    model = Glm4vForConditionalGeneration(Glm4vConfig.from_dict(config))
    in_float32: Glm4vForConditionalGeneration = model.float()  # type: ignore[no-untyped-call]
    return in_float32


def parts_of(model: Glm4vForConditionalGeneration) -> tuple[dict[str, Any], dict[str, Any]]:
    """What config.json says of its vision part and of its text part."""
    config = model.config.to_dict()
    return config["vision_config"], config["text_config"]


def export(model: Glm4vForConditionalGeneration, directory: Path) -> None:
    """Raises ValueError, and writes nothing, where the weights have no room in the repository."""
    weights = {
        name: tensor.detach().to("cpu", torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
    }
    size = sum(tensor.nbytes for tensor in weights.values())
    if size >= MOST_BYTES:
        raise ValueError(
            f"the weights take {size:,} bytes; expected less than {MOST_BYTES:,}: train fewer layers"
        )
    directory.mkdir(parents=True, exist_ok=True)
    # Whoever reads the directory meanwhile finds whole weights.
    file = directory / "model.safetensors.part"
    save_file(weights, file, metadata={"format": "pt"})
    if file.stat().st_size >= MOST_BYTES:
        size = file.stat().st_size
        file.unlink()
        raise ValueError(f"model.safetensors takes {size:,} bytes; expected less than {MOST_BYTES:,}")
    file.chmod(0o644)
    file.replace(directory / "model.safetensors")
    vision, text = parts_of(model)
    config = configuration(
        vision_layers=vision["depth"],
        text_layers=text["num_hidden_layers"],
        width=text["hidden_size"],
        gated_width=text["intermediate_size"],
    )
    _write(directory / "config.json", config)
    _write(directory / "generation_config.json", _generation())
    _write(directory / "preprocessor_config.json", _preprocessor("Glm4vImageProcessor", PICTURE_PIXELS))
    sampling = {"fps": 2, "num_frames": 8}
    clips = _preprocessor("Glm4vVideoProcessor", CLIP_PIXELS) | sampling
    _write(directory / "video_preprocessor_config.json", clips)
    _write(directory / "tokenizer_config.json", _tokenizer())
    shutil.copyfile(TOKENIZER, directory / "tokenizer.json")
    (directory / "chat_template.jinja").write_text(TEMPLATE)


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n")


def _generation() -> dict[str, Any]:
    return {"eos_token_id": STOPS, "pad_token_id": PADDING, "do_sample": False, "max_new_tokens": 128}


def _preprocessor(kind: str, most_pixels: int) -> dict[str, Any]:
    key = "image_processor_type" if "Image" in kind else "video_processor_type"
    return {
        "image_mean": IMAGE_MEAN,
        "image_std": IMAGE_STD,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "processor_class": "Glm4vProcessor",
        "size": {"shortest_edge": SHORTEST_EDGE, "longest_edge": most_pixels},
        key: kind,
    }


def _tokenizer() -> dict[str, Any]:
    """Thoughts, answers and boxes are no special tokens, so that `skip_special_tokens` keeps them."""
    added = {
        str(id): {
            "content": text,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "single_word": False,
            "special": text in SPECIALS,
        }
        for text, id in ID.items()
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "pad_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": list(SPECIALS),
        "model_input_names": ["input_ids", "attention_mask"],
        "processor_class": "Glm4vProcessor",
    }
