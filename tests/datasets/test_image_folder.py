import builtins

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sklunlearn.datasets import LazyImages, load_image_folder

PIXELS = np.random.default_rng(0).integers(256, size=(6, 3, 5, 4), dtype=np.uint8)
NAMES = ["benign/0.png", "benign/1.PNG", "malignant/2.bmp", "malignant/3.png", "naevus/4.png"]


def save(folder, name, pixels):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels).save(path)


def truncate(path, n_bytes=70):
    path.write_bytes(path.read_bytes()[:n_bytes])


@pytest.fixture
def folder(tmp_path):
    """Five images of three classes, the last with one image only."""
    for name, pixels in zip(NAMES, PIXELS, strict=False):
        save(tmp_path, name, pixels)
    (tmp_path / "notes.txt").touch()
    return tmp_path


@pytest.fixture
def table(folder):
    """The same, in another order."""
    order = [4, 0, 2, 1, 3]
    frame = pd.DataFrame(
        {
            "file": [NAMES[i] for i in order],
            "label": [i % 2 for i in order],
            "device": ["old", "new", "old", "new", "new"],
        }
    )
    frame.to_csv(folder / "meta.csv", index=False)
    return order, frame


def test_class_folders(folder):
    for path in (folder, str(folder)):
        images = load_image_folder(path)
        assert images.data.dtype == np.float32
        np.testing.assert_allclose(images.data, PIXELS[:5] / 255, rtol=1e-6)
    assert images.target.tolist() == ["benign"] * 2 + ["malignant"] * 2 + ["naevus"]
    assert images.target_names == ["benign", "malignant", "naevus"]
    assert images.files == NAMES
    assert images.metadata["label"].tolist() == images.target.tolist()
    assert images.ignored == ["notes.txt"]
    assert images.skipped == []
    assert images.DESCR == f"5 images from {folder}."


def test_uint8_and_return_X_y(folder):
    X, y = load_image_folder(folder, dtype="uint8", return_X_y=True)
    assert X.dtype == np.uint8
    np.testing.assert_array_equal(X, PIXELS[:5])
    assert len(y) == 5


def test_metadata(folder, table):
    order, frame = table
    images = load_image_folder(folder, metadata="meta.csv", dtype="uint8")
    np.testing.assert_array_equal(images.data, PIXELS[order])
    assert images.target.tolist() == frame["label"].tolist()
    assert images.target_names == [0, 1]
    pd.testing.assert_frame_equal(images.metadata, frame)
    other = frame.rename(columns={"file": "path", "device": "y"})
    images = load_image_folder(folder, metadata=other, file="path", label="y")
    assert images.target.tolist() == frame["device"].tolist()


def test_size_and_color(folder):
    save(folder, "naevus/5.png", np.full((2, 7), 51, np.uint8))
    images = load_image_folder(folder, size=(3, 2), color="grey", dtype="uint8")
    assert images.data.shape == (6, 1, 3, 2)
    assert (images.data[5] == 51).all()
    images = load_image_folder(folder, size=4, color="rgb")
    assert images.data.shape == (6, 3, 4, 4)
    np.testing.assert_allclose(images.data[5], 0.2, rtol=1e-6)


def test_16_bits(tmp_path):
    pixels = np.array([[0, 255, 256], [257, 40000, 65535]], dtype=np.uint16)
    save(tmp_path, "a/1.png", pixels)
    X = load_image_folder(tmp_path).data
    np.testing.assert_allclose(X[0, 0], pixels / 65535, rtol=1e-6)
    X = load_image_folder(tmp_path, dtype="uint8").data
    assert X.tolist() == [[[[0, 0, 1], [1, 156, 255]]]]


@pytest.mark.parametrize("n_jobs", [2, -1, 9])
def test_threads(folder, n_jobs):
    images = load_image_folder(folder, n_jobs=n_jobs, dtype="uint8")
    np.testing.assert_array_equal(images.data, PIXELS[:5])


# Images that differ.


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_mixed_sizes(folder, lazy, on_error):
    save(folder, "naevus/5.png", PIXELS[5, :, :3])
    with pytest.raises(ValueError, match="Images differ: 5 of 5x4 pixels") as error:
        load_image_folder(folder, lazy=lazy, on_error=on_error)
    text = str(error.value)
    assert "1 of 3x4 pixels and 3 channels (such as naevus/5.png)" in text
    assert "Pass `size`" in text
    assert "`color`" not in text


@pytest.mark.parametrize("lazy", [False, True])
def test_mixed_channels(folder, lazy):
    save(folder, "naevus/5.png", PIXELS[5, 0])
    with pytest.raises(ValueError, match=r"1 channel \(such as naevus/5\.png\)") as error:
        load_image_folder(folder, lazy=lazy)
    assert "Pass `color`, 'rgb' or 'grey'." in str(error.value)


# Images that cannot be read, or are not there.


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_all_unreadable_images_are_listed(folder, n_jobs):
    for i in (0, 3):
        truncate(folder / NAMES[i])
    with pytest.raises(OSError, match="2 of 5 images") as error:
        load_image_folder(folder, n_jobs=n_jobs)
    text = str(error.value)
    assert f"{NAMES[0]} cannot be read (" in text
    assert f"{NAMES[3]} cannot be read (" in text
    assert "on_error='skip'" in text
    images = load_image_folder(folder, on_error="skip", n_jobs=n_jobs, dtype="uint8")
    np.testing.assert_array_equal(images.data, PIXELS[[1, 2, 4]])
    assert images.files == images.metadata["file"].tolist() == [NAMES[i] for i in (1, 2, 4)]
    assert images.target.tolist() == ["benign", "malignant", "naevus"]
    assert [name for name, _ in images.skipped] == [NAMES[0], NAMES[3]]
    assert all("cannot be read" in reason for _, reason in images.skipped)


@pytest.mark.parametrize("lazy", [False, True])
def test_missing_and_unreadable_images_of_a_table(folder, table, lazy):
    order, _ = table
    (folder / NAMES[order[0]]).unlink()
    (folder / NAMES[order[2]]).write_text("no image")
    with pytest.raises(OSError, match="2 of 5 images") as error:
        load_image_folder(folder, metadata="meta.csv", lazy=lazy)
    assert f"{NAMES[order[0]]} is missing" in str(error.value)
    images = load_image_folder(folder, metadata="meta.csv", lazy=lazy, on_error="skip")
    assert images.files == [NAMES[i] for i in (order[1], *order[3:])]
    assert images.metadata["device"].tolist() == ["new", "new", "new"]
    assert images.metadata.index.tolist() == [0, 1, 2]
    assert len(images.data) == len(images.target) == 3
    assert len(images.skipped) == 2


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_nothing_can_be_read(folder, lazy, on_error):
    for name in NAMES:
        (folder / name).write_text("no image")
    with pytest.raises(OSError, match="5 of 5 images"):
        load_image_folder(folder, lazy=lazy, on_error=on_error)


@pytest.mark.parametrize("lazy", [False, True])
def test_decompression_bomb(folder, lazy, monkeypatch):
    save(folder, "naevus/5.png", np.zeros((3, 50, 50), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.raises(OSError, match=r"naevus/5\.png has more pixels than is plausible"):
        load_image_folder(folder, lazy=lazy)
    images = load_image_folder(folder, lazy=lazy, on_error="skip")
    assert images.files == NAMES


# Lazily.


@pytest.mark.usefixtures("table")
def test_lazy(folder):
    eager = load_image_folder(folder, metadata="meta.csv", size=3, color="grey")
    lazy = load_image_folder(
        folder, metadata="meta.csv", size=3, color="grey", lazy=True, cache_size=1
    )
    assert isinstance(lazy.data, LazyImages)
    assert lazy.data.cache_size == 1
    assert lazy.data.image_shape == (1, 3, 3)
    np.testing.assert_array_equal(lazy.target, eager.target)
    np.testing.assert_array_equal(lazy.data.targets, eager.target)
    pd.testing.assert_frame_equal(lazy.metadata, eager.metadata)
    for i in range(5):
        x, y = lazy.data[i]
        np.testing.assert_allclose(x, eager.data[i], rtol=1e-6)
        assert y == eager.target[i]


def test_lazy_folder_may_be_relative(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    X, _ = load_image_folder(folder.name, lazy=True, return_X_y=True)
    monkeypatch.chdir("/")
    assert X[0][0].shape == (3, 5, 4)


# Wrong arguments.


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        load_image_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("size", [(3,), (3, 0), (1.5, 2), (1, 2, 3), "large", 0, -1, 2.5])
def test_wrong_size(folder, size):
    with pytest.raises(ValueError, match="size"):
        load_image_folder(folder, size=size)


@pytest.mark.parametrize(
    "params",
    [
        {"color": "red"},
        {"dtype": "float64"},
        {"lazy": 1.5},
        {"cache_size": -1},
        {"on_error": "warn"},
        {"n_jobs": "all"},
        {"label": None},
    ],
)
def test_wrong_parameter(folder, params):
    with pytest.raises(ValueError, match=next(iter(params))):
        load_image_folder(folder, **params)


def test_pillow_is_missing(folder, monkeypatch):
    real_import = builtins.__import__

    def no_pillow(name, *args, **kwargs):
        if name.startswith("PIL"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_pillow)
    with pytest.raises(ImportError, match="pip install pillow"):
        load_image_folder(folder)
