"""Files: searched in the right order, verified, resumed, locked; nothing half-written is used."""

import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import genai_utils
from genai_utils import data
from genai_utils.data import download


def the_file():
    return data.fetch("toy")["toy.bin"]


def offset(header):
    return int(header.removeprefix("bytes=").rstrip("-")) if header else 0


def leftovers(cached):
    """What lies beside the file, but for its lock."""
    if not cached.parent.exists():
        return []
    return sorted(p.name for p in cached.parent.iterdir() if p.suffix != ".lock" and p != cached)


def test_a_download_lands_whole_in_the_cache_and_is_not_repeated(server, toy, page, body, cached):
    toy(server.url("/toy.bin", page(body)))
    assert the_file() == cached  # the path of the cache holds a space
    assert cached.read_bytes() == body
    assert leftovers(cached) == []
    assert the_file() == cached and len(server.asked) == 1


def test_a_packed_download_is_unpacked_and_its_unpacked_digest_checked(
    server, toy, page, body, cached
):
    toy(server.url("/toy.bin.gz", page(gzip.compress(body))))
    assert the_file().read_bytes() == body
    assert leftovers(cached) == []


def test_a_server_that_unpacks_on_the_way_is_understood(server, toy, page, body):
    toy(server.url("/toy.bin.gz", page(body)))
    assert the_file().read_bytes() == body


@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_download_is_neither_used_nor_kept(server, toy, page, body, cached, packed):
    sent = gzip.compress(body) if packed else body
    path = "/toy.bin.gz" if packed else "/toy.bin"
    toy(server.url(path, page(sent, truncated_to=len(sent) // 2)))
    with pytest.raises(data.DataError, match=f"(?s)toy.bin .*{path}: a damaged or different file"):
        the_file()
    assert not cached.exists() and leftovers(cached) == []


def test_a_wrong_digest_is_refused_and_the_next_address_used(server, toy, page, body, cached):
    wrong = bytes(len(body))  # of the right size
    first = server.url("/first", page(wrong))
    toy(first)
    with pytest.raises(data.DataError, match="SHA-256 does not match"):
        the_file()
    assert not cached.exists() and leftovers(cached) == []
    toy(first, server.url("/second", page(body)))
    assert the_file().read_bytes() == body


def test_damage_is_never_covered_by_a_stand_in(server, toy, page, body):
    toy(server.url("/toy.bin", page(bytes(len(body)))), stand_in="digits")
    with pytest.raises(data.DataError, match="SHA-256 does not match"):
        data.search.fetch_or_stand_in("toy")


def test_a_broken_transfer_goes_on_where_it_stopped(server, toy, page, body, cached):
    toy(server.url("/toy.bin", page(body, cuts=[100_000, 50_000])))
    assert the_file().read_bytes() == body
    starts = [offset(asked) for _, asked in server.asked]
    assert len(starts) == 3 and starts[0] == 0
    assert 80_000 < starts[1] <= 100_000 and 110_000 < starts[2] <= 150_000
    assert leftovers(cached) == []


def test_a_server_that_comes_back_later_is_asked_for_the_rest(server, toy, page, body, cached):
    toy(server.url("/toy.bin", page(body, cuts=[100_000, 0, 0, 0])))
    with pytest.raises(data.DataError, match="could not be fetched"):
        the_file()
    assert not cached.exists()
    server.asked.clear()
    assert the_file().read_bytes() == body
    assert len(server.asked) == 1 and 80_000 < offset(server.asked[0][1]) <= 100_000
    assert leftovers(cached) == []


def test_a_server_without_ranges_starts_again_from_the_beginning(server, toy, page, body):
    toy(server.url("/toy.bin", page(body, ranges=False, cuts=[100_000])))
    assert the_file().read_bytes() == body


def test_a_server_that_always_breaks_off_is_given_up(server, toy, page, body, cached):
    toy(server.url("/toy.bin", page(body, ranges=False, cuts=[100_000] * 100)))
    with pytest.raises(data.DataError, match="could not be fetched"):
        the_file()
    assert len(server.asked) < 10 and not cached.exists()


@pytest.mark.parametrize("old", [b"\xff" * 1000, b"\xff" * 1_000_000])
def test_the_beginning_of_another_file_is_not_continued_for_ever(
    server, toy, page, body, cached, old
):
    file = toy(server.url("/toy.bin", page(body)))
    cached.parent.mkdir(parents=True)
    download.part_of(cached, file.urls[0]).write_bytes(old)
    assert the_file().read_bytes() == body
    assert leftovers(cached) == []


def test_a_transfer_killed_after_its_last_byte_is_finished(server, toy, page, body, cached):
    file = toy(server.url("/toy.bin", page(body)))
    cached.parent.mkdir(parents=True)
    download.part_of(cached, file.urls[0]).write_bytes(body)
    assert the_file().read_bytes() == body
    assert server.asked == [("/toy.bin", f"bytes={len(body)}-")]


@pytest.mark.parametrize("status", [404, 500])
def test_the_second_address_serves_where_the_first_does_not(server, toy, page, body, status):
    toy(server.url("/gone", page(b"", status=status)), server.url("/toy.bin", page(body)))
    assert the_file().read_bytes() == body


def test_the_second_address_serves_where_the_first_is_dead(server, toy, page, body, dead_url):
    toy(dead_url, server.url("/toy.bin", page(body)))
    assert the_file().read_bytes() == body


def test_without_a_network_the_error_says_what_to_get_and_where_to_put_it(toy, dead_url, cached):
    toy(dead_url)
    with pytest.raises(data.DataError) as error:
        the_file()
    for said in ("toy.bin", dead_url, str(cached), "GENAI_DATA", "<folder>/toy/toy.bin"):
        assert said in str(error.value)


def test_the_ci_profile_asks_no_server(server, toy, page, body, monkeypatch):
    monkeypatch.setenv("GENAI_PROFILE", "ci")
    toy(server.url("/toy.bin", page(body)))
    with pytest.raises(data.DataError, match="ci profile uses no network"):
        the_file()
    assert server.asked == []


@pytest.mark.parametrize("old", [b"", bytes(range(256)) * 600, bytes(307_200)])
def test_a_damaged_copy_in_the_cache_is_replaced(server, toy, page, body, cached, old):
    toy(server.url("/toy.bin", page(body)))
    cached.parent.mkdir(parents=True)
    cached.write_bytes(old)
    assert the_file().read_bytes() == body


@pytest.mark.parametrize("profile", ["ci", "cpu"])
def test_a_damaged_copy_in_the_cache_is_not_left_there(toy, dead_url, cached, monkeypatch, profile):
    monkeypatch.setenv("GENAI_PROFILE", profile)
    toy(dead_url)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half")
    with pytest.raises(data.DataError, match="has 4 bytes instead of 307,200"):
        the_file()
    assert not cached.exists()


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_genai_data_comes_first_packed_or_not(
    server, toy, page, body, tmp_path, monkeypatch, ending
):
    toy(server.url("/toy.bin", page(body)))
    mine = tmp_path / "mine" / "toy" / f"toy.bin{ending}"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(gzip.compress(body) if ending else body)
    monkeypatch.setenv("GENAI_DATA", str(tmp_path / "mine"))
    assert the_file() == mine and data.read_bytes(mine) == body
    assert server.asked == []


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_copy_in_genai_data_is_named_and_left_alone(
    server, toy, page, body, tmp_path, monkeypatch, dead_url, capsys, packed
):
    mine = tmp_path / "mine" / "toy" / ("toy.bin.gz" if packed else "toy.bin")
    mine.parent.mkdir(parents=True)
    half = gzip.compress(body)[:500] if packed else body[:500]
    mine.write_bytes(half)
    monkeypatch.setenv("GENAI_DATA", str(tmp_path / "mine"))
    toy(dead_url, stand_in="digits")
    problem = "is no whole gzip file" if packed else "has 500 bytes instead of 307,200"
    with pytest.raises(data.DataError, match=f"not used: {mine} {problem}"):
        data.search.fetch_or_stand_in("toy")
    toy(server.url("/toy.bin", page(body)))
    assert the_file().read_bytes() == body  # a good copy elsewhere serves, and the bad one is named
    assert f"{mine} {problem}" in capsys.readouterr().out
    assert mine.read_bytes() == half


def test_genai_data_that_is_no_folder_is_an_error_that_says_so(toy, tmp_path, monkeypatch):
    toy()
    monkeypatch.setenv("GENAI_DATA", str(tmp_path / "nothing"))
    with pytest.raises(data.DataError, match="GENAI_DATA is .*nothing.*no folder"):
        the_file()


@pytest.mark.parametrize("when", ["receiving", "putting in place"])
def test_a_full_disk_is_named_and_leaves_nothing(
    server, toy, page, body, cached, monkeypatch, when
):
    toy(server.url("/toy.bin", page(body)), stand_in="digits")

    def full(*_):
        raise OSError(28, "No space left on device")

    def half_then_full(self, url):
        self.part.write_bytes(body[:1000])
        full()

    if when == "receiving":
        monkeypatch.setattr(download.Transfer, "_stream", half_then_full)
    else:
        monkeypatch.setattr(os, "replace", full)
    with pytest.raises(data.DataError, match="No space left on device"):
        data.search.fetch_or_stand_in("toy")
    assert not cached.exists() and leftovers(cached) == []


def test_a_file_without_an_address_is_missing_and_not_there(toy):
    toy()
    with pytest.raises(data.DataError, match="no address is known"):
        the_file()


# One slow import of the package; each line it reads starts a process that fetches.
LAUNCHER = """
import os, sys
from genai_utils import data
url, digest, size = sys.argv[1:]
file = data.File("toy/toy.bin", (url,), digest, int(size))
data.catalogue["toy"] = data.Dataset("toy", "Toy", "", "", "", "", (file,))
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.write(1, f"got {data.fetch('toy')['toy.bin']}\\n".encode())
        os._exit(0)
    os.write(1, f"started {pid}\\n".encode())
"""


@pytest.fixture
def start_fetching():
    """start(file) -> process; each start_one(process) starts one more process that fetches."""
    if not hasattr(os, "fork"):
        pytest.skip("processes are started with fork, which this system lacks")
    started = []

    def start(file):
        root = str(Path(genai_utils.__file__).parents[1])
        paths = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, file.urls[0], file.sha256, str(file.size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def start_one(process):
    process.stdin.write("go\n")
    process.stdin.flush()
    word, pid = process.stdout.readline().split()
    assert word == "started"
    return int(pid)


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_two_processes_at_once_make_one_download_even_after_one_was_killed(
    server, toy, page, body, cached, start_fetching
):
    """One is killed half-way: nothing is in place. Then two at once: one of them gets the rest."""
    answer = threading.Event()
    file = toy(server.url("/toy.bin", page(body, cuts=[100_000], wait=answer)))
    process = start_fetching(file)
    first = start_one(process)
    part = download.part_of(cached, file.urls[0])
    until(lambda: part.exists() and part.stat().st_size > 50_000)
    os.kill(first, signal.SIGKILL)
    assert not cached.exists() and leftovers(cached) == [part.name]

    server.asked.clear()
    start_one(process)
    start_one(process)
    until(lambda: server.asked)
    time.sleep(0.3)  # time enough for the other one to ask as well, were it not held
    answer.set()
    got = [process.stdout.readline().strip() for _ in range(2)]
    assert got == [f"got {cached}"] * 2
    assert len(server.asked) == 1 and offset(server.asked[0][1]) > 50_000
    assert cached.read_bytes() == body and leftovers(cached) == []


def test_an_unknown_data_set_is_an_error_that_suggests_the_nearest():
    with pytest.raises(ValueError, match="(?s)no data set 'minst'.*mean 'mnist'.*photographs"):
        data.fetch("minst")
    with pytest.raises(ValueError, match="no data set 3"):
        data.fetch(3)


@pytest.mark.parametrize("name", [name for name, d in data.catalogue.items() if d.files])
def test_every_catalogued_file_is_the_real_one(name, real_data):
    paths = data.fetch(name)
    assert len(paths) == len(data.catalogue[name].files)
    assert all(str(path).startswith(real_data) for path in paths.values())
