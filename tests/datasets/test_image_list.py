import os

import numpy as np
import pandas as pd
import pytest

from sklunlearn.datasets._image_list import list_class_folders, list_metadata, some


@pytest.fixture
def touch(tmp_path):
    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def test_some():
    assert some(["a", "b"]) == "a, b"
    assert some(list(range(5)), 3) == "0, 1, 2 and 2 more"


# Class folders.


def test_class_folders(touch):
    folder = touch(
        "b/2.PNG",
        "b/10.jpg",
        "a/deep/er/x.TiFf",
        "a/1.webp",
        "a/notes.txt",
        "a/Thumbs.db",
        "a/.hidden.png",
        "a/.trash/y.png",
        ".git/z.png",
        "readme.md",
        "loose.png",
    )
    listed = list_class_folders(folder)
    assert listed.files == ["a/1.webp", "a/deep/er/x.TiFf", "b/10.jpg", "b/2.PNG"]
    assert listed.target.tolist() == ["a", "a", "b", "b"]
    assert listed.metadata["file"].tolist() == listed.files
    assert listed.metadata["label"].tolist() == ["a", "a", "b", "b"]
    assert sorted(listed.ignored) == ["a/Thumbs.db", "a/notes.txt", "loose.png", "readme.md"]
    assert listed.missing == []


def test_class_folder_may_be_a_link(touch, tmp_path):
    folder = touch("data/a/1.png", "elsewhere/2.png") / "data"
    os.symlink(tmp_path / "elsewhere", folder / "b")
    assert list_class_folders(folder).files == ["a/1.png", "b/2.png"]


def test_no_class_folders(touch):
    with pytest.raises(ValueError, match="one folder a class") as error:
        list_class_folders(touch("1.png", "notes.txt"))
    assert "It holds 1.png, notes.txt." in str(error.value)
    assert "`metadata`" in str(error.value)


def test_empty_folder(tmp_path):
    with pytest.raises(ValueError, match="has no images"):
        list_class_folders(tmp_path)


def test_empty_class_folder(touch):
    with pytest.raises(ValueError, match=r"hold no image: b, c\. Every folder counts as a class"):
        list_class_folders(touch("a/1.png", "b/notes.txt", "c/.hidden.png"))


# A table.


def listed(folder, **columns):
    return list_metadata(folder, pd.DataFrame(columns), "file", "label")


def test_csv(touch):
    folder = touch("x/1.png", "2.dat", "3.png")
    # With the mark that spreadsheets put in front.
    text = "\ufefffile,label,device,age\nx\\1.png,b,old,30\n./2.dat,a,new,\n"
    (folder / "meta.csv").write_text(text, encoding="utf-8")
    for metadata in ("meta.csv", folder / "meta.csv"):
        result = list_metadata(folder, metadata, "file", "label")
        assert result.files == ["x/1.png", "2.dat"]
        assert result.target.tolist() == ["b", "a"]
        assert result.metadata.columns.tolist() == ["file", "label", "device", "age"]
        assert result.metadata["age"].isna().tolist() == [False, True]
        assert result.missing == result.ignored == []


def test_codes_keep_their_zeros(touch):
    folder = touch("1.png", "2.png", "3.png")
    rows = ["file,label,patient,site,age,share", "1.png,1,007,010,7,0.5", "2.png,0,12,,8,"]
    (folder / "meta.csv").write_text("\n".join([*rows, "3.png,0,3,011,9,0"]))
    result = list_metadata(folder, "meta.csv", "file", "label")
    table = result.metadata
    assert table["patient"].tolist() == ["007", "12", "3"]
    assert table["site"].dropna().tolist() == ["010", "011"]
    assert table["age"].tolist() == [7, 8, 9]
    assert table["share"].dropna().tolist() == [0.5, 0.0]
    assert result.target.tolist() == [1, 0, 0]


def test_csv_of_semicolons(touch):
    folder = touch("1.png")
    (folder / "meta.csv").write_text("file;label\n1.png;0\n")
    with pytest.raises(ValueError, match=r"no column 'file', only file;label.* divided by commas"):
        list_metadata(folder, "meta.csv", "file", "label")


@pytest.mark.parametrize("labels", [[1, 0], [1.0, 2.0], ["b", "a"], [True, False]])
def test_labels_keep_their_type(touch, labels):
    result = listed(touch("1.png", "2.png"), file=["1.png", "2.png"], label=labels)
    assert result.target.tolist() == labels
    assert type(result.target.tolist()[0]) is type(labels[0])


def test_frame_with_any_index(touch):
    table = pd.DataFrame({"f": ["1.png"], "dx": [3]}, index=["patient"])
    result = list_metadata(touch("1.png"), table, "f", "dx")
    assert result.metadata.index.tolist() == [0]
    assert table.index.tolist() == ["patient"]


def test_absolute_path_inside(touch):
    folder = touch("x/1.png")
    assert listed(folder, file=[str(folder / "x" / "1.png")], label=["a"]).files == ["x/1.png"]


@pytest.mark.parametrize("column", ["file", "label"])
def test_a_column_that_is_there_twice(touch, column):
    table = pd.DataFrame([["1.png", 0, column]], columns=["file", "label", column])
    with pytest.raises(ValueError, match=f"`metadata` has several columns {column!r}"):
        list_metadata(touch("1.png"), table, "file", "label")


def test_missing_files(touch):
    result = listed(touch("1.png"), file=["1.png", "2.png", ""], label=[0, 1, 1])
    assert result.missing == [("2.png", "is missing"), (".", "is missing")]


def test_missing_csv(touch):
    folder = touch("other.csv")
    with pytest.raises(FileNotFoundError, match="There is no file") as error:
        list_metadata(folder, "meta.csv", "file", "label")
    assert str(folder / "meta.csv") in str(error.value)
    assert "has other.csv" in str(error.value)


@pytest.mark.parametrize("content", [b"", b'file,label\n"a.png,1\n', b"file\xff\xfe\n1\n"])
def test_no_csv(tmp_path, content):
    (tmp_path / "meta.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"meta\.csv cannot be read as a CSV file"):
        list_metadata(tmp_path, "meta.csv", "file", "label")


def test_metadata_of_another_type(tmp_path):
    with pytest.raises(TypeError, match="must be a DataFrame or the path of a CSV file, got 3"):
        list_metadata(tmp_path, 3, "file", "label")


@pytest.mark.parametrize("names, wrong", [(("path", "label"), "file"), (("file", "dx"), "label")])
def test_wrong_column(tmp_path, names, wrong):
    table = pd.DataFrame([["1.png", 0]], columns=list(names))
    with pytest.raises(ValueError, match=f"has no column '{wrong}', only {', '.join(names)}"):
        list_metadata(tmp_path, table, "file", "label")


@pytest.mark.parametrize("column", ["file", "label"])
def test_missing_values(touch, column):
    columns = {"file": ["1.png", "2.png", "3.png"], "label": ["a", "b", "c"]}
    columns[column][1:] = [None, np.nan]
    with pytest.raises(ValueError, match=rf"has no {column} in rows 1, 2 \(counted from 0\)"):
        listed(touch("1.png"), **columns)


def test_labels_of_two_kinds(touch):
    with pytest.raises(ValueError, match="numbers in some rows and texts in others"):
        listed(touch("1.png", "2.png"), file=["1.png", "2.png"], label=[1, "a"])


def test_duplicates(touch):
    with pytest.raises(ValueError, match=r"more than once: 1\.png\. One row would be forgotten"):
        listed(touch("1.png", "x/2.png"), file=["1.png", "x/../1.png", "2.png"], label=[0, 1, 2])


@pytest.mark.parametrize("name", ["../1.png", "x/../../1.png", "..", "/etc/passwd", "..\\1.png"])
def test_path_that_leads_outside(touch, name):
    with pytest.raises(ValueError, match="lies outside of"):
        listed(touch("x/2.png"), file=["x/2.png", name], label=[0, 1])


def test_name_that_starts_with_dots(touch):
    assert listed(touch("..a/1.png"), file=["..a/1.png"], label=[0]).files == ["..a/1.png"]


def test_no_rows(tmp_path):
    with pytest.raises(ValueError, match="has no rows"):
        listed(tmp_path, file=[], label=[])
