"""The page on data sets: its code runs, and it names every loader."""

import numpy as np
import pytest
from pages import DOCS, code_blocks
from PIL import Image

from sklunlearn import datasets


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """The folder of images that the page is about."""
    made = datasets.make_device_shift(40, random_state=0)
    files = []
    for i, (x, y) in enumerate(zip(made.data, made.target, strict=True)):
        path = tmp_path / "scans" / made.target_names[y] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((x.transpose(1, 2, 0) * 255).astype(np.uint8)).save(path)
        files.append(f"{path.parent.name}/{path.name}")
    dx = [made.target_names[y] for y in made.target]
    table = made.metadata.assign(file=files, dx=dx)
    table.to_csv(tmp_path / "scans" / "meta.csv", index=False)
    monkeypatch.chdir(tmp_path)


def test_code_runs(scans):
    names = {}
    for block in code_blocks("datasets.md"):
        if not any(name.startswith("fetch_") for name in block.co_names):  # no network here
            exec(block, names)
    assert names["images"].data.image_shape == (3, 16, 16)
    assert names["mask"].sum() > 0


def test_every_loader_is_named():
    for name in datasets.__all__:
        assert name == "LazyImages" or f"`{name}`" in (DOCS / "datasets.md").read_text()
