"""Compares the worker's pixel tensors with those of transformers' processor, which needs torchvision.

python pixels.py CHECKPOINT REQUESTS_DIRECTORY; prints one line per picture and exits with 1 when one differs.
"""

import sys
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoImageProcessor

from glimpse_worker.media import read_picture
from glimpse_worker.pixels import image_pixels, patches, to_tensor
from glimpse_worker.preprocessing import read_preprocessing


def main() -> None:
    checkpoint, directory = map(Path, sys.argv[1:3])
    processor = AutoImageProcessor.from_pretrained(checkpoint)
    numbers, _ = read_preprocessing(checkpoint)
    differ = False
    for path in sorted(directory.glob("*.png")):
        theirs = processor([Image.open(path).convert("RGB")], return_tensors="pt")
        ours = image_pixels(to_tensor(read_picture(path.read_bytes(), 0, numbers.factor, "").image), numbers)
        made = patches(ours.frames, numbers)
        difference = (theirs["pixel_values"] - made).abs().max().item()
        same_grid = theirs["image_grid_thw"][0].tolist() == list(ours.grid)
        print(f"{path.name}: grid {list(ours.grid)} {same_grid}, largest difference {difference:.2e}")
        differ = differ or not same_grid or not torch.equal(theirs["pixel_values"], made)
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
