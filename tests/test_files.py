import contextlib
import os
import stat

import pytest

from sklunlearn import _files
from sklunlearn._files import atomic_write

resource = pytest.importorskip("resource")


@contextlib.contextmanager
def full_disk(n_bytes):
    """No file can grow beyond n_bytes: Python ignores the signal, so that write fails."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"old")
    return path


def assert_only_the_old_file(path):
    assert os.listdir(path.parent) == ["model"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("data", "content"),
    [(b"\x00\r\n\xff", b"\x00\r\n\xff"), ("é\r\n", b"\xc3\xa9\r\n"), (b"", b"")],
)
def test_replaces_and_makes_files(path, data, content):
    for target in (path, str(path.with_name("other"))):
        atomic_write(target, data)
    assert sorted(os.listdir(path.parent)) == ["model", "other"]
    assert path.read_bytes() == path.with_name("other").read_bytes() == content


def test_the_mode_of_a_file_stays_and_a_new_one_has_that_of_the_umask(path):
    os.chmod(path, 0o640)
    old = os.umask(0o027)
    try:
        atomic_write(path, b"new")
        atomic_write(path.with_name("other"), b"new")
    finally:
        os.umask(old)
    for each in (path, path.with_name("other")):
        assert stat.S_IMODE(os.stat(each).st_mode) == 0o640


def test_a_private_file_is_for_its_owner_only(path):
    os.chmod(path, 0o666)
    for each in (path, path.with_name("other")):
        atomic_write(each, b"new", private=True)
        assert stat.S_IMODE(os.stat(each).st_mode) == 0o600


def test_the_umask_of_the_process_is_never_changed(path, monkeypatch):
    # An interrupt, and files of other threads, could come in between.
    monkeypatch.setattr(_files.os, "umask", None)
    atomic_write(path.with_name("other"), b"new")


@pytest.mark.parametrize("name", ["n" * 255, "ä" * 127])
def test_the_longest_names(path, name):
    atomic_write(path.with_name(name), b"new")
    assert sorted(os.listdir(path.parent)) == sorted(["model", name])


def test_a_link_stays_a_link(path):
    link = path.with_name("link")
    link.symlink_to("model")
    atomic_write(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, MemoryError])
@pytest.mark.parametrize("where", ["fsync", "chmod", "replace"])
def test_whatever_goes_wrong_the_old_file_is_whole(path, monkeypatch, where, error):
    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(_files.os, where, fail)
        with pytest.raises(error):
            atomic_write(path, b"new")
    assert_only_the_old_file(path)


@pytest.mark.parametrize("n_bytes", [0, 1, 4096, 99_999])
def test_a_full_disk_leaves_the_old_file(path, n_bytes):
    with full_disk(n_bytes), pytest.raises(OSError, match="File too large"):
        atomic_write(path, b"x" * 100_000)
    assert_only_the_old_file(path)
    with full_disk(100_000):
        atomic_write(path, b"x" * 100_000)


def test_what_is_no_data_leaves_the_old_file(path):
    with pytest.raises(TypeError):
        atomic_write(path, 3)
    assert_only_the_old_file(path)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        atomic_write(tmp_path / "missing" / "model", b"new")


def test_the_file_is_on_the_disk_before_it_has_its_name_and_the_folder_after(path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def note(*args, name=name, real=real):
            is_folder = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
            calls.append("fsync of the folder" if is_folder else name)
            return real(*args)

        monkeypatch.setattr(_files.os, name, note)
    atomic_write(path, b"new")
    assert calls == ["fsync", "replace", "fsync of the folder"]
