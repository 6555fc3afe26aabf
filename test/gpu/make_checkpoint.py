"""Writes a GLM-4.1V-9B checkpoint with random weights in the layout that zai-org publishes.

Same shapes, same file names, same special ids, sharded safetensors with an index: what `launch({ model })`
has to load, without 20 GB to download. Run on a GPU machine: python make_checkpoint.py DIRECTORY
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import Glm4vConfig, Glm4vForConditionalGeneration

BASE_VOCABULARY = 151_329
VOCABULARY = 151_552
ADDED_TOKENS = [
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
    "<|image|>",
    "<|video|>",
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "<|begin_of_box|>",
    "<|end_of_box|>",
]
NOT_SPECIAL = {"<think>", "</think>", "<answer>", "</answer>", "<|begin_of_box|>", "<|end_of_box|>"}
IDS = {token: BASE_VOCABULARY + index for index, token in enumerate(ADDED_TOKENS)}
STOP_IDS = [IDS["<|endoftext|>"], IDS["<|user|>"], IDS["<|observation|>"]]

CONFIG = {
    "architectures": ["Glm4vForConditionalGeneration"],
    "model_type": "glm4v",
    "image_start_token_id": IDS["<|begin_of_image|>"],
    "image_end_token_id": IDS["<|end_of_image|>"],
    "video_start_token_id": IDS["<|begin_of_video|>"],
    "video_end_token_id": IDS["<|end_of_video|>"],
    "image_token_id": IDS["<|image|>"],
    "video_token_id": IDS["<|video|>"],
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "text_config": {
        "model_type": "glm4v_text",
        "attention_bias": True,
        "attention_dropout": 0.0,
        "pad_token_id": STOP_IDS[0],
        "eos_token_id": STOP_IDS,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "initializer_range": 0.02,
        "intermediate_size": 13696,
        "max_position_embeddings": 65536,
        "num_attention_heads": 32,
        "num_hidden_layers": 40,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "rope_scaling": {"rope_type": "default", "mrope_section": [8, 12, 12]},
        "partial_rotary_factor": 0.5,
        "use_cache": True,
        "vocab_size": VOCABULARY,
    },
    "vision_config": {
        "model_type": "glm4v",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "depth": 24,
        "hidden_act": "silu",
        "hidden_size": 1536,
        "image_size": 336,
        "in_channels": 3,
        "initializer_range": 0.02,
        "intermediate_size": 13696,
        "num_heads": 12,
        "out_hidden_size": 4096,
        "patch_size": 14,
        "rms_norm_eps": 1e-05,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}

PREPROCESSOR = {
    "size": {"shortest_edge": 12544, "longest_edge": 9633792},
    "do_rescale": True,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "processor_class": "Glm4vProcessor",
}


def write_tokenizer(directory: Path, template: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: index for index, character in enumerate(alphabet)} | IDS
    # Every id that the model can write has a text, as a real answer has.
    for index in set(range(VOCABULARY)) - set(vocabulary.values()):
        vocabulary[f"w{index}"] = index
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    for token in ADDED_TOKENS:
        added = AddedToken(token, special=token not in NOT_SPECIAL, normalized=False)
        (tokenizer.add_tokens if token in NOT_SPECIAL else tokenizer.add_special_tokens)([added])
    assert all(tokenizer.token_to_id(token) == number for token, number in IDS.items())
    assert tokenizer.get_vocab_size() == VOCABULARY
    tokenizer.save(str(directory / "tokenizer.json"))
    write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 65536,
            "pad_token": "<|endoftext|>",
            "eos_token": "<|endoftext|>",
            "padding_side": "left",
            "clean_up_tokenization_spaces": False,
            "additional_special_tokens": [token for token in ADDED_TOKENS if token not in NOT_SPECIAL],
            "processor_class": "Glm4vProcessor",
        },
    )
    (directory / "chat_template.jinja").write_text(template.read_text())


def write_weights(directory: Path) -> None:
    config = Glm4vConfig.from_dict(CONFIG)
    torch.manual_seed(20)
    with torch.device("meta"):
        model: Any = Glm4vForConditionalGeneration(config)
    model = model.to(torch.bfloat16).to_empty(device="cuda")
    randomise(model)
    model.save_pretrained(directory, max_shard_size="5GB")


def randomise(model: torch.nn.Module) -> None:
    """Weights as transformers initialises those of Glm4v, drawn from torch's generator of their device."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("norm.weight", "layernorm.weight", "norm1.weight", "norm2.weight")):
                parameter.fill_(1.0)
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(std=0.02)


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_small_files(directory: Path) -> None:
    """Everything but the weights."""
    write_json(directory / "config.json", CONFIG)
    write_json(
        directory / "generation_config.json",
        {
            "_from_model_config": True,
            "do_sample": True,
            "eos_token_id": STOP_IDS,
            "pad_token_id": STOP_IDS[0],
            "temperature": 0.8,
            "top_p": 0.6,
            "top_k": 2,
        },
    )
    write_json(
        directory / "preprocessor_config.json",
        {**PREPROCESSOR, "image_processor_type": "Glm4vImageProcessor"},
    )
    video_size = {"shortest_edge": 12544, "longest_edge": 47040000}
    write_json(
        directory / "video_preprocessor_config.json",
        {**PREPROCESSOR, "size": video_size, "fps": 2, "video_processor_type": "Glm4vVideoProcessor"},
    )
    embedded = Path(__file__).resolve().parents[2] / "models" / "embedded"
    write_tokenizer(directory, embedded / "chat_template.jinja")


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    write_weights(directory)
    # Last, so that the published spelling of the configuration is what gets loaded, not save_pretrained's.
    write_small_files(directory)
    print(
        sum(path.stat().st_size for path in directory.iterdir()),
        "bytes in",
        len(list(directory.iterdir())),
        "files",
    )


if __name__ == "__main__":
    main()
