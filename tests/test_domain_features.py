import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from sklunlearn._domain_features import domain_features
from sklunlearn._style import image_style

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(23, 2, 8, 9)).astype(np.float32)


class ReadBatches(Dataset):
    """Rows that count how many of them are asked for at once."""

    def __init__(self, X):
        self.X, self.most = X, 0

    def __len__(self):
        return len(self.X)

    def __getitems__(self, indices):
        self.most = max(self.most, len(indices))
        return [(torch.tensor(self.X[i]), 0) for i in indices]

    def __getitem__(self, i):
        return self.__getitems__([i])[0]


def test_images_are_read_in_batches(tmp_path):
    expected = image_style(IMAGES, IMAGES.std(dtype=np.float64))
    np.save(tmp_path / "X.npy", IMAGES)
    data = ReadBatches(IMAGES)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    tensors = TensorDataset(torch.tensor(IMAGES), torch.zeros(23))
    for X in (IMAGES, data, mapped, tensors, torch.tensor(IMAGES), IMAGES.tolist()):
        features, names = domain_features(X, batch_size=5)
        np.testing.assert_allclose(features, expected, rtol=1e-6, atol=1e-6)
        assert len(names) == features.shape[1]
    assert data.most == 5


def test_tables():
    table = pd.DataFrame(
        {
            "age": [1, 2, 3, 4, np.nan],
            "sex": [0, 0, 0, 1, 0],
            "site": [1, 2, 3, 4, 5],
            "none": np.nan,
        }
    )
    features, names = domain_features(table, batch_size=2)
    assert names == ["missing_age", "missing_none", "scaled_age", "scaled_sex", "scaled_site",
                     "scaled_none"]  # fmt: skip
    expected = np.array(
        [
            [0, 0, 0, 0, 1],
            [1, 1, 1, 1, 1],
            np.array([1, 2, 3, 4, 2.5]) / 1.5 - 2.5 / 1.5,  # quartiles 1.75 and 3.25
            [0, 0, 0, 1, 0],  # its quartiles are equal: in its own unit
            np.array([-2, -1, 0, 1, 2]) / 2,
            [0, 0, 0, 0, 0],
        ]
    ).T
    np.testing.assert_allclose(features, expected, rtol=1e-6)
    assert domain_features(table.to_numpy())[1][:2] == ["missing_x0", "missing_x3"]


def test_embeddings():
    features, names = domain_features(IMAGES, lambda batch: batch[:, 0, :2, 0], batch_size=5)
    np.testing.assert_array_equal(features, IMAGES[:, 0, :2, 0].astype(np.float64))
    assert names == ["embedding_0", "embedding_1"] and features.dtype == np.float64


class NoLength(Dataset):
    def __getitem__(self, i):
        raise AssertionError


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (IMAGES[0, 0, 0], ValueError, "X must hold numbers"),
        (["a", "b"], ValueError, "X must hold numbers"),
        ([["a"], ["b"]], ValueError, "X must hold numbers"),
        (IMAGES[:0], ValueError, "X has no rows"),
        (IMAGES[:, 0], ValueError, r"rows of shape \(8, 9\)"),
        (IMAGES[:, :, :3], ValueError, "at least 4 x 4 pixels"),
        (np.full((3, 1, 8, 8), np.nan), ValueError, "infinite or missing"),
        (np.full((3, 1, 8, 8), np.inf), ValueError, "infinite or missing"),
        (np.ones((3, 1, 8, 8)), ValueError, "All pixels of X are equal"),
        ([[1.0, np.inf]], ValueError, "infinite"),
        (NoLength(), TypeError, "without `__len__`"),
    ],
)
def test_errors_of_features(X, error, message):
    with pytest.raises(error, match=message):
        domain_features(X)
