"""A cache is a convenience: without a home, a lock or a disk to write on, loaders still answer."""

import errno
import os
from pathlib import Path

import pytest

from genai_utils import data
from genai_utils.data import cache
from genai_utils.data.search import fetch_or_stand_in


def the_file():
    return fetch_or_stand_in("toy")["toy.bin"]


def refusing(code, monkeypatch, *below):
    """Making a folder, a lock or a file below a folder fails, as root would see it too."""
    answer = OSError(code, os.strerror(code))
    mkdir, make = Path.mkdir, cache.tempfile.TemporaryFile

    def inside(path):
        return any(Path(path).is_relative_to(one) for one in below)

    def no_folder(path, *args, **options):
        if inside(path) and not path.exists():
            raise answer
        return mkdir(path, *args, **options)

    def no_file(*args, dir=None, **options):
        if inside(dir):
            raise answer
        return make(*args, dir=dir, **options)

    def no_lock(lock, *_, **__):
        if inside(lock.lock_file):
            raise answer

    monkeypatch.setattr(Path, "mkdir", no_folder)
    monkeypatch.setattr(cache.tempfile, "TemporaryFile", no_file)
    monkeypatch.setattr("filelock.FileLock.acquire", no_lock)


def test_a_read_only_cache_serves_what_it_holds_and_the_rest_is_kept_for_now(
    server, toy, page, body, cached, monkeypatch, tmp_path, capsys
):
    toy(server.url("/toy.bin", page(body)), stand_in="digits")
    cached.parent.mkdir(parents=True)
    cached.write_bytes(body)
    refusing(errno.EROFS, monkeypatch, tmp_path / "a cache")
    assert the_file() == cached and capsys.readouterr().out == ""
    cached.unlink()
    for _ in range(2):
        path = the_file()
        assert path.read_bytes() == body and path.is_relative_to(tmp_path / "for now")
    assert len(server.asked) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"The cache cannot be written to ({cached.parent}: Read-only file system): {cache.LASTS}."
    ]


def test_a_damaged_copy_that_cannot_be_removed_is_passed_over(
    server, toy, page, body, cached, monkeypatch, capsys
):
    toy(server.url("/toy.bin", page(body)), stand_in="digits")
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half")
    unlink = Path.unlink

    def kept(path, **options):
        if path == cached:
            raise PermissionError(13, "Permission denied")
        return unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", kept)
    assert the_file().read_bytes() == body and cached.read_bytes() == b"half"
    assert f"({cached}: Permission denied)" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["a file", "a file/cache"])
def test_a_file_in_the_place_of_the_cache_does_not_matter(
    server, toy, page, body, tmp_path, monkeypatch, capsys, place
):
    (tmp_path / "a file").write_text("in the way")
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path / place))
    toy(server.url("/toy.bin", page(body)), stand_in="digits")
    assert the_file().read_bytes() == body
    assert "The cache cannot be written to" in capsys.readouterr().out


def test_a_folder_in_the_place_of_the_file_does_not_matter(server, toy, page, body, cached):
    cached.mkdir(parents=True)
    toy(server.url("/toy.bin", page(body)), stand_in="digits")
    assert the_file().read_bytes() == body and cached.is_dir()


def test_a_full_disk_of_the_cache_leaves_the_temporary_one(
    server, toy, page, body, cached, monkeypatch, tmp_path, capsys
):
    toy(server.url("/toy.bin", page(body)), stand_in="digits")
    replace = os.replace

    def full(source, target):
        if Path(target).is_relative_to(tmp_path / "a cache"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert the_file().is_relative_to(tmp_path / "for now")
    assert "No space left on device" in capsys.readouterr().out
    assert [path.suffix for path in cached.parent.iterdir()] == [".lock"]


def test_where_nothing_can_be_written_the_error_names_both_places(
    server, toy, page, body, tmp_path, monkeypatch
):
    toy(server.url("/toy.bin", page(body)), stand_in="digits")
    refusing(errno.EROFS, monkeypatch, tmp_path)
    with pytest.raises(data.DataError, match="(?s)a cache.*Read-only file.*for now.*Read-only"):
        the_file()
    cache.for_now.cache_clear()

    def nowhere(**_):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(cache.tempfile, "mkdtemp", nowhere)
    with pytest.raises(data.DataError, match="No usable temporary.*Set GENAI_CACHE or TMPDIR"):
        the_file()


@pytest.mark.parametrize(
    "error", [NotImplementedError("no flock here"), OSError(errno.ENOLCK, "No locks available")]
)
def test_a_disk_without_locks_is_noted_and_used(
    server, toy, page, body, cached, monkeypatch, capsys, error
):
    def no_lock(*_, **__):
        raise error

    monkeypatch.setattr("filelock.FileLock.acquire", no_lock)
    toy(server.url("/toy.bin", page(body, cuts=[100_000])), stand_in="digits")
    parts, retrieve = set(), data.download._retrieve

    def watched(url, file, target, transfer):
        parts.add(transfer.part)
        retrieve(url, file, target, transfer)

    monkeypatch.setattr(data.download, "_retrieve", watched)
    assert the_file() == cached and cached.read_bytes() == body
    # Its part is its own: another process of the same disk would append to the shared one.
    assert parts and data.download.part_of(cached, server.url("/toy.bin", page(body))) not in parts
    assert "has no file locks" in capsys.readouterr().out


def test_a_lock_that_cannot_be_given_back_does_not_take_the_answer(
    server, toy, page, body, cached, monkeypatch
):
    def lost(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("filelock.FileLock.release", lost)
    toy(server.url("/toy.bin", page(body)), stand_in="digits")
    assert the_file() == cached


def test_a_disk_without_modes_does_not_take_the_answer(
    server, toy, page, body, cached, monkeypatch
):
    def none(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", none)
    toy(server.url("/toy.bin", page(body)), stand_in="digits")
    assert the_file() == cached and cached.read_bytes() == body


def test_without_a_home_what_is_fetched_is_kept_for_now(
    server, toy, page, body, homeless, tmp_path, capsys
):
    toy(server.url("/toy.bin", page(body)), stand_in="digits")
    assert the_file().is_relative_to(tmp_path / "for now") and the_file().read_bytes() == body
    assert len(server.asked) == 1
    assert capsys.readouterr().out == f"There is no home folder for a cache: {cache.LASTS}.\n"


@pytest.mark.parametrize("temporary", [True, False])
def test_without_a_home_the_ci_profile_has_its_bundled_data(homeless, monkeypatch, temporary):
    monkeypatch.setenv("GENAI_PROFILE", "ci")
    if not temporary:

        def nowhere(**_):
            raise FileNotFoundError(2, "No usable temporary directory found")

        monkeypatch.setattr(cache.tempfile, "mkdtemp", nowhere)
    assert len(data.mnist("test").x) == 360
    assert len(data.movielens().rating) > 1000
    assert len(data.reviews().texts) == 200 and len(data.shakespeare()) == 300_000
    assert not data.cache_dir().joinpath("judges").exists()


def test_what_is_kept_for_now_goes_when_python_ends(homeless, monkeypatch):
    at_exit = []
    monkeypatch.setattr(
        cache.atexit, "register", lambda *call, **options: at_exit.append((call, options))
    )
    folder = data.cache_dir()
    (folder / "judges").mkdir()
    assert data.cache_dir() == folder
    [((function, *args), options)] = at_exit
    function(*args, **options)
    assert not folder.exists()


def test_a_cache_in_the_place_that_the_user_names(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GENAI_CACHE", "~/mine")
    assert data.cache_dir() == tmp_path / "mine"
