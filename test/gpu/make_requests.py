"""Draws the pictures of the GPU parity test and writes its requests: python make_requests.py DIRECTORY"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

MAX_NEW_TOKENS = 32
SIZES = {"4k": (3840, 2160), "banner": (5572, 28), "tower": (28, 5572), "odd": (1023, 767), "tiny": (20, 33)}


def picture(width: int, height: int) -> Image.Image:
    """Smooth colours with noise: every resize shows."""
    generator = np.random.default_rng(width * height)
    y, x = np.mgrid[0:height, 0:width]
    colours = np.stack((x * 255 / width, y * 255 / height, (x + y) % 256), axis=-1)
    return Image.fromarray(np.clip(colours + generator.normal(0, 20, colours.shape), 0, 255).astype(np.uint8))


def request(question: str, *paths: str) -> dict[str, object]:
    content = [*({"type": "image", "url": path} for path in paths), {"type": "text", "text": question}]
    return {"messages": [{"role": "user", "content": content}], "max_new_tokens": MAX_NEW_TOKENS}


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    paths = {name: str(directory / f"{name}.png") for name in SIZES}
    for name, size in SIZES.items():
        picture(*size).save(paths[name])
    requests = [request("describe this image", path) for path in paths.values()]
    requests.append(request("compare these images", paths["odd"], paths["tiny"]))
    requests.append(request("Who are you?"))
    (directory / "requests.json").write_text(json.dumps(requests))


if __name__ == "__main__":
    main()
