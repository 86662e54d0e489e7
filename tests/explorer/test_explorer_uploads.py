"""Uploads are read with limits, and what cannot be used is refused with a reason."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sklunlearn.explorer import _uploads
from sklunlearn.explorer._guard import MAX_SECONDS
from sklunlearn.explorer._knobs import _MAX_EPOCHS
from sklunlearn.explorer._sessions import MAX_RUNS
from sklunlearn.explorer._uploads import UploadError, read_upload


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "session"
    folder.mkdir()
    return folder


def write_csv(path, header, lines):
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def png(value, side=8):
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side), value, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_zip(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_csv(tmp_path, folder):
    lines = [f"{i},{2 * i},{'ab'[i % 2]},site{i % 3}" for i in range(40)]
    source = read_upload(write_csv(tmp_path / "a.csv", "u,v,label,meta_site", lines), folder)
    assert source.kind == "points"
    assert len(source.y) == 28 and len(source.y_test) == 12
    # Each row stays with its label and its metadata.
    u = np.concatenate([source.X, source.X_test])[:, 0]
    assert sorted(u) == list(range(40))
    assert ["ab"[int(v) % 2] for v in source.X[:, 0]] == source.y.tolist()
    assert [f"site{int(v) % 3}" for v in source.X[:, 0]] == source.metadata["meta_site"].tolist()


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("u,v,label", ["1,2,a", "3,red,b"] * 10, r"column 'v', line 3: 'red' is no number"),
        ("u,v", ["1,2"] * 20, "no column `label`"),
        ("u;label", ["1;a"] * 20, "no column `label`"),
        ("u,u,label", ["1,2,a"] * 20, "names a column twice"),
        ("u,label", ["1,a", ",b"] * 10, "missing or infinite"),
        ("u,label", ["1,a", "2,"] * 10, "rows without a label"),
        ("u,label", [f"{i},{i}" for i in range(40)], "40 different labels"),
        ("u,label", ["1,a"] * 20, "1 different labels"),
        ("u,label", ["1,a"] * 20 + ["1,b"], "1 rows of class 'b'"),
        ("u,label", ["1,a", "1e300,b"] * 10, "beyond float32"),
        ("label", ["a", "b"] * 10, r"X of shape \(20, 0\)"),
        ("u,label", [f"9,{i},{'ab'[i % 2]}" for i in range(20)], "line 2: 3 values, expected 2"),
        ("u,label", ["1"] * 20, "line 2: 1 values"),
        ("u,label", ["1,a", "2,b"] * 10 + ["1," + "a" * 10**5], "label of more than 60 characters"),
        ("u,label", ["1\0,a"] * 20, "NUL bytes"),
        (",".join(f"c{i}" for i in range(300)) + ",label", [], "no rows"),
        (",".join(f"c{i}" for i in range(500)) + ",label", [], "501 columns"),
    ],
)
def test_csv_refused(tmp_path, folder, header, lines, message):
    with pytest.raises(UploadError, match=message):
        read_upload(write_csv(tmp_path / "a.csv", header, lines), folder)


def test_csv_too_many_rows(tmp_path, folder):
    path = write_csv(tmp_path / "a.csv", "u,label", ["1,a", "2,b"] * 2501)
    with pytest.raises(UploadError, match="takes 5000"):
        read_upload(path, folder)


@pytest.mark.parametrize("name", ["a.exe", "a", "a.csv.gz", "a.pkl"])
def test_wrong_type(tmp_path, folder, name):
    path = tmp_path / name
    path.write_bytes(b"MZ")
    with pytest.raises(UploadError, match=r"neither \.csv, \.npz nor \.zip"):
        read_upload(path, folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00\x81", "u,label\n1,\xe4\n".encode("latin-1"), "u\n".encode("utf-16")],
)
def test_csv_in_another_encoding(tmp_path, folder, content):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UploadError, match="no CSV file in UTF-8"):
        read_upload(path, folder)


def test_200_megabytes(tmp_path, folder):
    path = tmp_path / "a.npz"
    with open(path, "wb") as file:
        file.truncate(200 * 10**6)  # a hole, which takes no space
    with pytest.raises(UploadError, match="has 200 MB, the explorer takes 20 MB"):
        read_upload(path, folder)


def test_npz(tmp_path, folder):
    X = np.arange(40.0)[:, None] * np.ones(3)
    np.savez(tmp_path / "a.npz", X=X, y=np.arange(40) % 2)
    source = read_upload(tmp_path / "a.npz", folder)
    assert source.kind == "table" and source.X.dtype == np.float32
    assert (source.X[:, 0] % 2 == source.y.astype(int)).all()


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("the file was run",))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.zeros((20, 2))}, "expected arrays X and y"),
        ({"X": np.array([Payload()] * 20), "y": np.zeros(20)}, "not of Python objects"),
        ({"X": np.zeros((20, 2)), "y": np.zeros(20)}, "expected one integer or text"),
        ({"X": np.zeros((20, 2)), "y": np.zeros((20, 2), dtype=int)}, "expected one integer"),
        ({"X": np.zeros((20, 2)), "y": np.arange(10) % 2}, "20 rows, but 10 labels"),
        ({"X": np.zeros((20, 2), dtype=complex), "y": np.arange(20) % 2}, "expected numbers"),
        ({"X": np.zeros((20, 5, 9, 9)), "y": np.arange(20) % 2}, "1 or 3 channels first"),
        ({"X": np.eye(20, 300), "y": np.arange(20) % 2}, "at most 200 features"),
    ],
)
def test_npz_refused(tmp_path, folder, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UploadError, match=message):
        read_upload(tmp_path / "a.npz", folder)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("'<f8', 'fortran_order': False, 'shape': (10000000000, 2)", "but it is shorter"),
        ("'<f8', 'fortran_order': False, 'shape': (-40, -2)", "but it is shorter"),
        (f"'<f8', 'fortran_order': False, 'shape': ({2**70}, 0)", "cannot be read"),
        ("('<f8', (1000,)), 'fortran_order': False, 'shape': (40, 2)", "but it is shorter"),
        ("'|O', 'fortran_order': False, 'shape': (40, 2)", "holds Python objects"),
        ("'<f8', 'fortran_order': __import__('os'), 'shape': (40, 2)", "cannot be read"),
        ("(", "cannot be read"),
    ],
)
def test_npz_header_that_lies(tmp_path, folder, monkeypatch, header, message):
    text = f"{{'descr': {header}}}\n".encode("latin-1")
    content = np.lib.format.magic(1, 0) + struct.pack("<H", len(text)) + text + bytes(640)
    y = io.BytesIO()
    np.save(y, np.arange(40) % 2)
    path = write_zip(tmp_path / "a.npz", {"X.npy": content, "y.npy": y.getvalue()})
    if "shorter" in message:  # no memory is reserved for what is not there
        monkeypatch.delattr(np.lib.format, "read_array")
    with pytest.raises(UploadError, match=message):
        read_upload(path, folder)


def test_npz_with_another_entry_of_the_name(tmp_path, folder):
    np.savez(tmp_path / "a.npz", X=np.zeros((20, 2)), y=np.arange(20) % 2)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("X", b"what np.load would take")
    with pytest.raises(UploadError, match="expected arrays X and y"):
        read_upload(tmp_path / "a.npz", folder)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_damage_inside(tmp_path, folder, compression):
    rng = np.random.default_rng(0)
    path = write_zip(tmp_path / "a.zip", {"a/0.png": rng.bytes(4000)}, compression)
    content = bytearray(path.read_bytes())
    content[37:90] = bytes(range(100, 153))  # the compressed data begin there
    path.write_bytes(content)
    with pytest.raises(UploadError, match="cannot be unpacked"):
        read_upload(path, folder)


def test_memory_of_what_small_files_hold(tmp_path, folder, monkeypatch):
    monkeypatch.setitem(_uploads.LIMITS, "values", 1000)
    np.savez(tmp_path / "a.npz", X=np.ones((600, 2), dtype=bool), y=np.arange(600) % 2)
    with pytest.raises(UploadError, match="1200 values, the explorer takes 1000"):
        read_upload(tmp_path / "a.npz", folder)


def test_zip_repeats_a_name(tmp_path, folder):
    path = write_zip(tmp_path / "a.zip", images())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a/0.png", png(0))
    with pytest.raises(UploadError, match="two entries of one name"):
        read_upload(path, folder)


def test_format_behind_the_name(tmp_path, folder):
    """Pillow goes by content, and starts another program for some formats."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(buffer, "EPS")
    path = write_zip(tmp_path / "a.zip", {**images(), "a/x.png": buffer.getvalue()})
    with pytest.raises(UploadError, match="is no image"):
        read_upload(path, folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../../evil.png,a", "lies outside"),
        ("0.png," + "a" * 61, "more than 60 characters"),
        ("0.png,a,b", "line 2: 3 values"),
    ],
)
def test_zip_with_bad_metadata(tmp_path, folder, line, message):
    entries = {f"{i}.png": png(10 * i) for i in range(20)}
    path = write_zip(tmp_path / "a.zip", {**entries, "metadata.csv": f"file,label\n{line}\n"})
    with pytest.raises(UploadError, match=message):
        read_upload(path, folder)


def images(n=20):
    return {f"{'ab'[i % 2]}/{i}.png": png(10 * i) for i in range(n)}


def test_zip_of_folders(tmp_path, folder):
    source = read_upload(write_zip(tmp_path / "a.zip", images()), folder)
    assert source.kind == "images" and source.X.shape == (14, 1, 8, 8)
    values = np.round(source.X[:, 0, 0, 0] * 255 / 10).astype(int)
    assert ["ab"[value % 2] for value in values] == source.y.tolist()


def test_zip_with_metadata(tmp_path, folder):
    entries = {f"{i}.png": png(10 * i) for i in range(20)}
    table = ["file,label,device", *(f"{i}.png,{'ab'[i % 2]},d{i % 4}" for i in range(20))]
    entries["metadata.csv"] = "\n".join(table)
    source = read_upload(write_zip(tmp_path / "a.zip", entries), folder)
    numbers = [int(name.removesuffix(".png")) for name in source.metadata["file"]]
    assert source.metadata["device"].tolist() == [f"d{i % 4}" for i in numbers]
    assert np.round(source.X[:, 0, 0, 0] * 25.5).astype(int).tolist() == numbers


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../evil.png", "leads out of the archive"),
        ("a/../../evil.png", "leads out of the archive"),
        ("/etc/evil.png", "leads out of the archive"),
        ("..\\evil.png", "leads out of the archive"),
        ("C:/evil.png", "leads out of the archive"),
        ("a/run.py", r"expected only \.png and \.jpg"),
        ("a/inner.zip", r"expected only \.png and \.jpg"),
        ("a/false.png", "is no image"),
    ],
)
def test_zip_refused(tmp_path, folder, name, message):
    path = write_zip(tmp_path / "a.zip", {**images(), name: b"nothing"})
    with pytest.raises(UploadError, match=message):
        read_upload(path, folder)
    assert not (tmp_path / "evil.png").exists()


def test_zip_link(tmp_path, folder):
    path = tmp_path / "a.zip"
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UploadError, match="leads out of the archive"):
        read_upload(path, folder)


def test_zip_bomb(tmp_path, folder):
    path = write_zip(tmp_path / "a.zip", {"a/0.png": bytes(30 * 10**6)})
    assert path.stat().st_size < 10**5
    with pytest.raises(UploadError, match="200 times as many"):
        read_upload(path, folder)
    assert list(folder.iterdir()) == []


def test_zip_that_lies_about_its_sizes(tmp_path, folder):
    path = write_zip(tmp_path / "a.zip", {"a/0.png": bytes(10**6)})
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 1000)  # unpacked size in the directory
    path.write_bytes(content)
    with pytest.raises(UploadError):
        read_upload(path, folder)
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 1000


def test_picture_too_large(tmp_path, folder):
    path = write_zip(tmp_path / "a.zip", {"a/0.png": png(0, side=65)}, zipfile.ZIP_STORED)
    with pytest.raises(UploadError, match="65 x 65 pixels"):
        read_upload(path, folder)


def test_npz_bomb(tmp_path, folder):
    np.savez_compressed(tmp_path / "a.npz", X=np.zeros((10**6, 20)), y=np.zeros(10**6, dtype=int))
    with pytest.raises(UploadError, match="unpacks from"):
        read_upload(tmp_path / "a.npz", folder)


def test_damaged_archive(tmp_path, folder):
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(UploadError, match="no archive"):
        read_upload(path, folder)


def test_limits_are_those_of_the_documentation():
    text = (Path(__file__).parents[2] / "docs" / "explorer.md").read_text(encoding="utf-8")
    limits = _uploads.LIMITS
    assert limits["bytes"] == 20_000_000
    for sentence in (
        f"of the runs the last {MAX_RUNS} are kept",
        f"A run may take {_MAX_EPOCHS} epochs and {MAX_SECONDS} seconds",
        f"An upload may have {limits['bytes'] // 10**6} MB, {limits['rows']} rows, "
        f"{limits['features']} features or {limits['side']} pixels on a side, "
        f"{limits['values'] // 10**6} million values and {limits['classes']} classes, whose names "
        f"have up to {limits['characters']} characters.",
    ):
        assert sentence in " ".join(text.split())
