"""The page on data sets: its code runs, and it names every loader."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sklunlearn import datasets

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


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
    for block in BLOCKS:
        code = compile(block, "docs/datasets.md", "exec")
        if "fetch_" not in block:
            exec(code, names)
    assert names["images"].data.image_shape == (3, 16, 16)
    assert names["mask"].sum() > 0


def test_every_loader_is_named():
    for name in datasets.__all__:
        assert name == "LazyImages" or f"`{name}`" in PAGE
