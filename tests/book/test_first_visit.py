"""What a first visit loads (`benchmarks/book.py`): bytes as they are sent, and the bound."""

import gzip
import json
import sys
import urllib.request

import pytest

from benchmarks import book


@pytest.fixture
def site(tmp_path):
    """A page with a picture that is near and one that is far below, served."""
    (tmp_path / "page.html").write_text(
        '<article><img src="near.svg" width="200" height="200"><p style="height:20000px">text</p>'
        '<img src="far.svg" width="200" height="200" loading="lazy"></article>'
    )
    for name, size in (("near", 5_000), ("far", 9_000)):
        svg = '<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>'
        (tmp_path / f"{name}.svg").write_text(svg + " " * size)
    (tmp_path / "raw.png").write_bytes(bytes(300))
    book.Site.sent.clear(), book.Site.packed.clear()
    server, address = book.served(tmp_path)
    yield tmp_path, address
    server.shutdown()


def test_what_is_sent_is_compressed_and_counted(site):
    folder, address = site
    for name, packed in (("near.svg", True), ("raw.png", False)):
        with urllib.request.urlopen(address + name) as answer:
            body = answer.read()
        assert (answer.headers["Content-Encoding"] == "gzip") == packed
        assert (gzip.decompress(body) if packed else body) == (folder / name).read_bytes()
        assert book.Site.sent[f"/{name}"] == len(body)


def test_a_visit_counts_what_is_near(site, browser):
    folder, address = site
    browser.cdp("Network.enable")
    found = book.visit(browser, address, "page", slow=False)
    files = [path for path in book.Site.packed if "far" not in path and "raw" not in path]
    assert found["files"] == 2 and found["bytes"] == sum(len(book.Site.packed[f]) for f in files)


def test_a_page_over_the_bound_is_told_and_an_error(tmp_path, monkeypatch, capsys):
    visits = {"one": {"bytes": 999_000, "files": 4}, "two": {"bytes": 1_001_000, "files": 5}}
    monkeypatch.setattr(book, "KEPT", tmp_path / "book.json")
    monkeypatch.setattr(
        book, "pages", lambda folder, names, slow: ((name, visits[name]) for name in names)
    )
    assert book.main([str(tmp_path), "--pages", "one"]) == 0
    assert book.main([str(tmp_path), "--pages", "two"]) == 1
    said = capsys.readouterr().out
    assert "999 kB" in said and said.count("OVER 1 MB") == 1
    assert json.loads((tmp_path / "book.json").read_text())["pages"] == visits


def test_a_command_is_timed_and_told_beside_its_machine(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(book, "KEPT", tmp_path / "book.json")
    monkeypatch.setattr(book, "imports", lambda: {"python": book.timed(sys.executable, "-c", "0")})
    assert book.main(["--import"]) == 0
    kept = json.loads((tmp_path / "book.json").read_text())["commands"]["python"]
    assert kept["wall"] > 0 and kept["processor"] >= 0 and kept["machine"] and kept["cores"] >= 1
    assert f"{kept['processor']:.1f} s of the processor" in capsys.readouterr().out
