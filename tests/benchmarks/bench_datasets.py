"""Time of loading a folder of small images, against a bare loop with Pillow.

10,000 grey PNG files of 28x28 pixels in 10 class folders, as float32:

- `load_image_folder`, which also finds the files, checks them and makes the metadata;
- a loop that is given the paths, opens each, and divides by 255;
- `load_image_folder(lazy=True)`, which reads only heads, and then one pass over all rows in
  batches, without and with everything in its cache.

All numbers are medians over the rounds, and ratios those of paired runs. The files are read once
before, so that they come from memory on both sides.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sklunlearn.datasets import load_image_folder

N_CLASSES = 10


def write(folder, n_images):
    """Random images in class folders; their paths."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(n_images):
        path = Path(folder) / str(i % N_CLASSES) / f"{i:05d}.png"
        path.parent.mkdir(exist_ok=True)
        # Blurred by repetition: noise alone does not compress, as images do.
        pixels = rng.integers(256, size=(7, 7), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        Image.fromarray(pixels).save(path)
        paths.append(str(path))
    return paths


def bare(paths):
    """The images, by a loop with nothing around it."""
    images = np.empty((len(paths), 1, 28, 28), dtype=np.float32)
    for i, path in enumerate(paths):
        with Image.open(path) as image:
            images[i, 0] = np.asarray(image)
    images /= 255
    return images


def one_pass(images):
    """Read all rows in batches of 64."""
    for start in range(0, len(images), 64):
        images.__getitems__(range(start, min(start + 64, len(images))))


def seconds(function, *args, **kwargs):
    """What a call takes, and what it returns."""
    start = time.perf_counter()
    result = function(*args, **kwargs)
    return time.perf_counter() - start, result


def main():
    """Run the rounds and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        paths = sorted(write(folder, args.images))
        np.testing.assert_array_equal(bare(paths), load_image_folder(folder).data)
        for _ in range(args.rounds):
            row = {}
            row["bare loop"], _ = seconds(bare, paths)
            row["eager"], _ = seconds(load_image_folder, folder)
            row["lazy: heads"], lazy = seconds(load_image_folder, folder, lazy=True)
            row["lazy: pass"], _ = seconds(one_pass, lazy.data)
            row["lazy: cached"], _ = seconds(one_pass, lazy.data)
            row["eager / bare"] = row["eager"] / row["bare loop"]
            found.append(row)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name in found[0]:
        print(f"{name:13} {statistics.median(row[name] for row in found):7.2f}")


if __name__ == "__main__":
    main()
