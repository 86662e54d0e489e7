import contextlib
import io
import re
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

from sklunlearn import BoundaryUnlearner, RetrainUnlearner, _demo, _demo_plot, _training
from sklunlearn.__main__ import main

NETWORKS = ["original", "unlearned", "retrained"]


@pytest.fixture(autouse=True)
def one_thread():
    # As in the demonstration, so that both compute the same.
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Folder and printed text of a run without arguments but --output."""
    folder = tmp_path_factory.mktemp("digits") / "made" / "by the demo"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["--output", str(folder)]) == 0
    return folder, out.getvalue()


@pytest.fixture
def no_run(monkeypatch):
    def run(*args, **kwargs):
        raise AssertionError("the demonstration started")

    monkeypatch.setattr(_demo, "run", run)


def read_table(text):
    """Rows of the table: name and numbers, seconds and speed-up included."""
    lines = [line.split() for line in text.splitlines()]
    table = {line[0]: line[1:] for line in lines if line and line[0] in NETWORKS}
    assert list(table) == NETWORKS
    assert [len(values) for values in table.values()] == [5, 6, 6]
    return {name: [float(value.rstrip("x")) for value in row] for name, row in table.items()}


def is_picture(path):
    image = matplotlib.image.imread(path)[..., :3]
    white = (image == 1).all(axis=2)
    vermilion = np.isclose(image, np.array([213, 94, 0]) / 255, atol=0.01).all(axis=2)
    enough = 0.05 < np.mean(~white) < 0.6 and vermilion.sum() > 2000
    # Nothing is cut off: the outermost pixels are blank.
    edges = [white[0], white[-1], white[:, 0], white[:, -1]]
    return image.shape == (1080, 1575, 3) and enough and all(edge.all() for edge in edges)


def test_digits_table(digits):
    _, text = digits
    table = read_table(text)
    # As many threes as a stratified split of 183 leaves on either side.
    for name, (forget_train, forget_test, retain_train, retain_test, *_) in table.items():
        assert np.isclose(forget_train * 128, round(forget_train * 128), atol=0.1)
        assert np.isclose(forget_test * 55, round(forget_test * 55), atol=0.1)
        assert retain_train > 0.97 and retain_test > 0.93, name
    assert min(table["original"][:2]) > 0.9
    assert max(table["unlearned"][:2]) < 0.1
    assert table["retrained"][:2] == [0, 0]
    assert table["unlearned"][5] > 1 and table["retrained"][5] == 1


def test_digits_text(digits):
    folder, text = digits
    blocks = text.split("\n\n")
    assert len(blocks) == 4
    assert blocks[0].startswith("digits: 1797 images of 10 classes, 30% of them held out")
    assert "class '3'" in blocks[0]
    assert len(blocks[1].splitlines()) == 5
    for words in ("forget accuracy", "retain accuracy", "seconds", "speed-up over", "retraining"):
        assert words in blocks[1]
    assert "retrained" in blocks[2]
    assert blocks[3] == f"Picture: {folder / 'digits-forget-3.png'}\n"
    assert max(map(len, text.replace(str(folder), "").splitlines())) <= 100
    assert not re.search("erase|guarantee", text)


def test_digits_picture(digits):
    folder, _ = digits
    assert [path.name for path in folder.iterdir()] == ["digits-forget-3.png"]
    assert is_picture(folder / "digits-forget-3.png")


def test_quiet_table_is_that_of_an_independent_computation(tmp_path, capsys):
    X, y = load_wine(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=7
    )
    mask = y_train == 1

    def accuracies(model):
        correct = [model.predict(X_train) == y_train, model.predict(X_test) == y_test]
        sides = list(zip(correct, [y_train, y_test], strict=True))
        return [c[y == 1].mean() for c, y in sides] + [c[y != 1].mean() for c, y in sides]

    unlearner = BoundaryUnlearner(random_state=7).fit(X_train, y_train)
    expected = [accuracies(unlearner)]
    expected.append(accuracies(unlearner.unlearn(X_train, y_train, forget=mask)))
    retrained = RetrainUnlearner(random_state=7).fit(X_train, y_train, forget=mask)
    expected.append(accuracies(retrained))

    arguments = ["--data", "wine", "--forget", "1", "--seed", "7", "--quiet"]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 5 and err == ""
    table = [row[:4] for row in read_table(out).values()]
    np.testing.assert_allclose(table, expected, atol=0.00051)
    assert is_picture(tmp_path / "wine-forget-class_1.png")


def test_breast_cancer_by_name(tmp_path, capsys):
    arguments = ["--data", "breast_cancer", "--forget", "benign", "--output", str(tmp_path)]
    assert main(arguments) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("breast_cancer: 569 rows of 2 classes")
    table = read_table(out)
    # All that is left to say is the other class.
    assert table["retrained"][:4] == [0, 0, 1, 1]
    assert is_picture(tmp_path / "breast_cancer-forget-benign.png")


def test_base_training_is_not_done_twice_and_retraining_sees_no_forget_row(monkeypatch):
    trained_on = []
    train = _training._train_net

    def spy(net, X, y, classes, **options):
        trained_on.append((X, y, net.module__mean))
        return train(net, X, y, classes, **options)

    monkeypatch.setattr(_training, "_train_net", spy)
    random_state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    rows, picture = _demo.run(_demo.load("wine"), "class_0", 0)

    assert len(trained_on) == 2
    X, y, _ = trained_on[0]
    X_retain, y_retain, mean = trained_on[1]
    np.testing.assert_array_equal(X_retain, X[y != 0])
    np.testing.assert_array_equal(y_retain, y[y != 0])
    np.testing.assert_allclose(mean, X_retain.mean(axis=0, dtype=float), rtol=1e-6)

    assert rows[0].speed_up is None
    assert rows[1].speed_up == pytest.approx(rows[2].seconds / rows[1].seconds)
    np.testing.assert_array_equal(picture.X, X[picture.shown])
    assert (y[picture.shown] == 0).all() and len(set(picture.shown)) == 4
    # Nothing of the process is changed.
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.get_num_threads() == n_threads


def test_boundary_points_are_those_of_the_unlearner():
    X, y = load_wine(return_X_y=True)
    X, y, forget = X.astype(np.float32), np.array(["a", "b", "c"])[y], y == 2
    unlearner = BoundaryUnlearner(random_state=0).fit(X, y)
    unlearner.unlearn(X, y, forget=forget)
    shown = np.flatnonzero(forget)[[30, 2, 11, 4]]
    boundary = _demo._find_boundary(unlearner, X, y, forget, shown)
    # What the unlearner kept of its own search.
    own = unlearner.search_.logits.numpy()[[30, 2, 11, 4]]
    np.testing.assert_array_equal(boundary.crossed, unlearner.search_.crossed[[30, 2, 11, 4]])
    np.testing.assert_array_equal(boundary.labels, np.array(["a", "b"])[own[:, :2].argmax(axis=1)])
    with torch.no_grad():
        logits = unlearner.fitted_.module_(torch.from_numpy(boundary.X)).numpy()
    np.testing.assert_allclose(logits, own, rtol=1e-3, atol=1e-3)
    assert boundary.crossed.all() and (logits.argmax(axis=1) != 2).all()


def test_format_table():
    rows = [
        _demo.Row("original", (1, 0.98765), (0.5, 0), 12.3456),
        _demo.Row("unlearned", (0.25, 0), (1, 1), 0.5, 2.04),
        _demo.Row("retrained", (0, 0), (1, 1), 1.02, 1.0),
    ]
    *header, first, second, third = _demo.format_table(rows).splitlines()
    assert first.split() == ["original", "1.000", "0.988", "0.500", "0.000", "12.35"]
    assert second.split() == ["unlearned", "0.250", "0.000", "1.000", "1.000", "0.50", "2.0x"]
    assert third.split() == ["retrained", "0.000", "0.000", "1.000", "1.000", "1.02", "1.0x"]
    # Columns end where their headings end.
    ends = [match.end() for match in re.finditer(r"\S+", header[1])]
    for line in (second, third):
        assert [match.end() for match in re.finditer(r"\S+", line)][1:] == ends
    assert [match.end() for match in re.finditer(r"\S+", first)][1:] == ends[:-1]


def test_picture_of_rows_that_the_search_did_not_carry_across(tmp_path):
    rng = np.random.default_rng(0)
    picture = _demo.Bunch(
        data="digits",
        label="3",
        classes=[str(digit) for digit in range(10)],
        shown=np.arange(4),
        X=rng.uniform(0, 16, size=(4, 1, 8, 8)),
        boundary=_demo.Bunch(
            X=rng.uniform(-5, 20, size=(4, 1, 8, 8)),
            labels=["1", "2", "4", "5"],
            crossed=np.array([True, False, True, False]),
        ),
        probabilities={name: rng.dirichlet(np.ones(10), size=4) for name in NETWORKS},
    )
    _demo_plot.draw(picture, tmp_path / "picture.png")
    assert is_picture(tmp_path / "picture.png")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--data", "iris"], ["--data", "'iris'", "digits", "breast_cancer", "wine"]),
        (["--forget", "10"], ["--forget", "'10' is not a class of digits", "0, 1, 2", "9)"]),
        (["--forget", "three"], ["'three'", "choose from 0, 1, 2"]),
        (["--forget", ""], ["'' is not a class"]),
        (["--data", "wine", "--forget", "class_3"], ["class_0 or 0, class_1 or 1, class_2 or 2"]),
        (["--data", "breast_cancer", "--forget", "2"], ["malignant or 0, benign or 1"]),
        (["--seed", "-1"], ["--seed", "'-1' is not an integer from 0"]),
        (["--seed", "1.5"], ["'1.5' is not an integer from 0"]),
        (["--seed", "one"], ["'one' is not an integer from 0"]),
        (["--seed", str(2**32)], ["is not an integer from 0 to 4294967295"]),
        (["--output", "file"], ["--output", "cannot write", "file", "File exists"]),
        (["--output", "file/folder"], ["--output", "cannot write", "Not a directory"]),
        (["--output"], ["--output", "expected one argument"]),
        (["--epochs", "3"], ["--epochs"]),
        (["wine"], ["wine"]),
    ],
)
def test_wrong_argument(arguments, words, tmp_path, monkeypatch, capsys, no_run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("of the user's")
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert out == ""
    assert re.fullmatch(r"python -m sklunlearn: error: [^\n]+\n", err)
    for word in words:
        assert word in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "of the user's"


def test_folder_that_is_not_writable(tmp_path, monkeypatch, capsys, no_run):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    # Not by chmod, which does not bind the superuser.
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(SystemExit) as stopped:
        main(["--output", str(tmp_path)])
    assert stopped.value.code == 2
    _, err = capsys.readouterr()
    assert err.count("\n") == 1 and "Permission denied" in err and str(tmp_path) in err


def test_picture_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    def draw(picture, path):
        raise OSError(28, "No space left on device")

    rows = [_demo.Row(name, (0, 0), (1, 1), 1.0, 1.0) for name in NETWORKS]
    monkeypatch.setattr(_demo, "run", lambda *args, **kwargs: (rows, None))
    monkeypatch.setattr(_demo_plot, "draw", draw)
    with pytest.raises(SystemExit) as stopped:
        main(["--quiet", "--output", str(tmp_path)])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == _demo.format_table(rows) + "\n"  # what was computed is not lost
    assert err.count("\n") == 1 and "digits-forget-3.png" in err and "No space left" in err


def test_help(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    for option in ("--data", "--forget", "--seed", "--output", "--quiet"):
        assert f"  {option} " in out
    words = " ".join(out.split())
    for default in ("(default: digits)", "(default: 3 for digits", "(default: 0)", "demo-output)"):
        assert default in words
    assert max(map(len, out.splitlines())) <= 80
    assert out.count("\n  python -m sklunlearn") == 3


def test_defaults_and_where_they_go(tmp_path, monkeypatch, capsys):
    calls = []

    def run(data, label, seed, *, progress):
        calls.append((data.name, label, seed, progress))
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo, "run", run)
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["--data", "wine"], ["--data", "breast_cancer", "--seed", "5"]):
        assert main(arguments) == 130
        _, err = capsys.readouterr()
        assert err == "interrupted\n"
    assert calls == [
        ("digits", "3", 0, False),
        ("wine", "class_0", 0, False),
        ("breast_cancer", "malignant", 5, False),
    ]
    assert (tmp_path / "demo-output").is_dir()
    assert not list((tmp_path / "demo-output").iterdir())


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_bar_on_a_terminal(quiet, tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(_demo_plot, "draw", lambda picture, path: None)
    main(["--data", "wine", "--output", str(tmp_path), *(["--quiet"] * quiet)])
    shown = terminal.getvalue()
    if quiet:
        assert shown == ""
    else:
        assert all(stage in shown for stage in ("training", "unlearning", "retraining"))
        assert shown.endswith("\r")  # it is gone at the end


def test_as_a_module(tmp_path):
    arguments = [sys.executable, "-m", "sklunlearn", "--forget", "ten"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("python -m sklunlearn: error: argument --forget: 'ten'")
    assert not list(tmp_path.iterdir())
