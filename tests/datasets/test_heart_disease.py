import shutil

import numpy as np
import pandas as pd
import pytest
from realdata import find_data

from sklunlearn.datasets import _base, _heart_disease, fetch_heart_disease

FILES = {
    "cleveland": "63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0\n"
    "38.0,1.0,3.0,138.0,175.0,0.0,0.0,173.0,0.0,0.0,1.0,?,3.0,2\n",
    "hungarian": "28,1,2,130,132,0,2,185,0,0,?,?,?,0\n",
    "switzerland": "32,1,1,95,0,?,0,127,0,.7,1,?,?,1\n",
    "va": "55,1,3,0,0,0,1,155,0,1.5,2,?,?,3\n56,0,4,120,200,?,?,?,?,?,?,?,?,0\n",
}


def publish(monkeypatch, folder, files):
    """Let these files be downloaded by copying."""
    folder.mkdir()
    for site, text in files.items():
        (folder / f"processed.{site}.data").write_text(text)
        monkeypatch.setitem(_heart_disease._N_ROWS, site, text.count("\n"))

    def retrieve(url, target):
        start, name = url.rsplit("/", 1)
        assert start == "https://archive.ics.uci.edu/ml/machine-learning-databases/heart-disease"
        shutil.copyfile(folder / name, target)

    monkeypatch.setattr(_base, "urlretrieve", retrieve)


@pytest.fixture
def published(tmp_path, monkeypatch):
    publish(monkeypatch, tmp_path / "web", FILES)


def test_arrays(published, tmp_path):
    heart = fetch_heart_disease(data_home=tmp_path)
    assert heart.data.shape == (6, 13)
    assert heart.data.dtype == np.float64
    np.testing.assert_array_equal(heart.data[0], [63, 1, 1, 145, 233, 1, 2, 150, 0, 2.3, 3, 0, 6])
    assert heart.target.tolist() == [0, 1, 0, 1, 1, 0]
    assert heart.target.dtype == np.int64
    sites = ["cleveland"] * 2 + ["hungarian", "switzerland"] + ["va"] * 2
    assert heart.metadata["site"].tolist() == sites
    # A question mark is a missing value; so is a 0 of cholesterol or blood pressure only.
    nan = {(row, heart.feature_names[column]) for row, column in np.argwhere(np.isnan(heart.data))}
    assert {row for row, name in nan if name == "chol"} == {3, 4}
    assert {row for row, name in nan if name == "trestbps"} == {4}
    assert {name for row, name in nan if row == 1} == {"ca"}
    assert {name for row, name in nan if row == 2} == {"slope", "ca", "thal"}
    assert len([1 for row, _ in nan if row == 5]) == 8
    assert "frame" not in heart


def test_frame(published, tmp_path):
    heart = fetch_heart_disease(data_home=tmp_path, as_frame=True)
    assert isinstance(heart.data, pd.DataFrame)
    assert heart.data.columns.tolist() == heart.feature_names
    assert heart.target.name == "target"
    assert heart.frame.columns.tolist() == [*heart.feature_names, "target"]
    assert heart.frame.index.equals(heart.metadata.index)
    X, y = fetch_heart_disease(data_home=tmp_path, as_frame=True, return_X_y=True)
    assert X.equals(heart.data)
    assert y.equals(heart.target)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "columns"),
        (FILES["va"].splitlines(keepends=True)[0], "1 rows of 14 columns instead of 2"),
        (FILES["va"].replace(",3\n", "\n"), None),
        (FILES["va"].replace("55", "<html>"), "convert"),
        (FILES["va"].replace(",3\n", ",?\n"), "no diagnosis"),
    ],
)
def test_damaged_file(published, tmp_path, text, reason):
    fetch_heart_disease(data_home=tmp_path)
    path = tmp_path / "sklunlearn" / "heart_disease_va.data"
    path.write_text(text)
    with pytest.raises(OSError, match="is damaged") as error:
        fetch_heart_disease(data_home=tmp_path)
    assert str(path) in str(error.value)
    assert reason is None or reason in str(error.value)


def test_published_counts():
    assert sum(_heart_disease._N_ROWS.values()) == 920


@pytest.mark.skipif(find_data("heart_disease.csv") is None, reason="needs heart_disease.csv")
def test_whole_data(tmp_path, monkeypatch):
    table = pd.read_csv(find_data("heart_disease.csv"))
    texts = {
        site: rows.drop(columns="site").to_csv(header=False, index=False, na_rep="?")
        for site, rows in table.groupby("site")
    }
    counts = dict(_heart_disease._N_ROWS)
    publish(monkeypatch, tmp_path / "web", texts)
    assert counts == _heart_disease._N_ROWS  # the files have as many rows as the code says
    heart = fetch_heart_disease(data_home=tmp_path, as_frame=True)
    assert heart.target.sum() == (table["num"] > 0).sum() == 509
    assert heart.data["chol"].isna().sum() == (table["chol"].isna() | (table["chol"] == 0)).sum()
    assert heart.metadata["site"].tolist() == sorted(
        table["site"], key=["cleveland", "hungarian", "switzerland", "va"].index
    )


def test_not_to_be_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"heart_disease_cleveland\.data"):
        fetch_heart_disease(data_home=tmp_path, download_if_missing=False)
    with pytest.raises(ValueError, match="as_frame"):
        fetch_heart_disease(data_home=tmp_path, as_frame="yes")
