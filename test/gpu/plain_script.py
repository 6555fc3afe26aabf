"""What a notebook user runs on a GPU today: AutoProcessor (with torchvision), chat template, generate.

python plain_script.py CHECKPOINT REQUESTS.json RESULTS.json DTYPE
Requests: [{"messages": [...], "max_new_tokens": n}] with {"type": "image", "url": path} content.
"""

import json
import sys
from pathlib import Path

from transformers import AutoProcessor, Glm4vForConditionalGeneration


def main() -> None:
    checkpoint, requests, results, dtype = sys.argv[1:5]
    processor = AutoProcessor.from_pretrained(checkpoint)
    model = Glm4vForConditionalGeneration.from_pretrained(checkpoint, dtype=dtype, device_map="cuda:0")
    answers = []
    for request in json.loads(Path(requests).read_text()):
        inputs = processor.apply_chat_template(
            request["messages"],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        ).to(model.device)
        output = model.generate(
            **inputs,
            max_new_tokens=request["max_new_tokens"],
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        generated = output.sequences[0][inputs["input_ids"].shape[1] :]
        best = [logits[0].float().topk(2).values for logits in output.logits]
        answers.append(
            {
                "promptTokens": inputs["input_ids"].shape[1],
                "tokenIds": generated.tolist(),
                # How far the best logit is ahead of the next: 0 is a tie, which rounding decides.
                "margins": [(first - second).item() for first, second in best],
                "raw": processor.decode(generated, skip_special_tokens=False),
            }
        )
    Path(results).write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
