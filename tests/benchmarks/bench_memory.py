"""Peak memory of a request on 20,000 images of 64 x 64 pixels that are read from disk as needed.

Two processes: one that only loads torch, and one that forgets a tenth of the images of a folder,
loaded with ``lazy=True``. Goal: at most 600 MB between their peaks (resident size). The same for a
memory map of bytes that holds the same images, whose pages count as resident once they are read.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

GOAL = 600

CHILD = """
import resource, sys, time
import torch
torch.set_num_threads(1)
what, folder, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
if what != "idle":
    import numpy as np
    from sklearn.frozen import FrozenEstimator
    from skorch import NeuralNetClassifier
    from sklunlearn import BoundaryUnlearner
    from sklunlearn.datasets import load_image_folder
    from sklunlearn.networks import SmallCNN
    if what == "memory map":
        X = np.memmap(folder + "/images", dtype=np.uint8, mode="r", shape=(n, 3, 64, 64))
        y = np.arange(n) % 4
    else:
        data = load_image_folder(folder, metadata="meta.csv", lazy=True, cache_size=100)
        X, y = data.data, data.target
    net = NeuralNetClassifier(SmallCNN, module__n_channels=3, module__n_classes=4,
        criterion=torch.nn.CrossEntropyLoss, classes=[0, 1, 2, 3], train_split=None).initialize()
    forget = np.arange(n) % 10 == 0
    method = BoundaryUnlearner(FrozenEstimator(net), max_epochs=1, random_state=0)
    method.fit(X, y)
    began = time.perf_counter()
    method.unlearn(X, y, forget=forget)
    print(f"{time.perf_counter() - began:.1f} s", file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
"""


def make_folder(folder, n_images):
    """PNG files with a table, and one file of bytes with the same images."""
    from PIL import Image

    rng = np.random.default_rng(0)
    lines = ["file,label"]
    with open(folder / "images", "wb") as raw:
        for i in range(n_images):
            # Smooth, so that the files are small and quickly written.
            coarse = rng.integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
            image = np.kron(coarse, np.ones((16, 16, 1), dtype=np.uint8))
            raw.write(np.ascontiguousarray(image.transpose(2, 0, 1)).tobytes())
            Image.fromarray(image).save(folder / f"{i:05}.png", compress_level=1)
            lines.append(f"{i:05}.png,{i % 4}")
    (folder / "meta.csv").write_text("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    n_images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder), n_images)
        peaks = {}
        for what in ("idle", "folder", "memory map"):
            command = [sys.executable, "-c", CHILD, what, folder, str(n_images)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            peaks[what] = float(done.stdout)
    print(f"{n_images} images, {n_images * 3 * 64 * 64 / 1e6:.0f} MB as bytes")
    for what, peak in peaks.items():
        print(f"{what:12} peak {peak:.0f} MB")
    over = {what: peak - peaks["idle"] for what, peak in peaks.items() if what != "idle"}
    for what, more in over.items():
        print(f"{what:12} {more:.0f} MB more than idle (goal <= {GOAL})")


if __name__ == "__main__":
    main()
