"""A stand-in is for a missing network alone; whatever else happens is said, with its cure."""

import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests

from genai_utils import data
from genai_utils.data import download
from genai_utils.data.search import fetch_or_stand_in


def refused(*said):
    """No stand-in, though the toy has one: a DataError that says all of this. Gives its text."""
    with pytest.raises(data.DataError) as error:
        fetch_or_stand_in("toy")
    assert type(error.value) is data.DataError
    for words in said:
        assert words in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "the server refuses it (HTTP 401 Unauthorized)"),
        (403, "the server refuses it (HTTP 403 Forbidden)"),
        (404, "the server does not have it (HTTP 404 Not Found)"),
        (429, "the server cannot give it now (HTTP 429 Too Many Requests); try again later"),
        (500, "the server cannot give it now (HTTP 500 Internal Server Error); try again later"),
        (503, "the server cannot give it now (HTTP 503 Service Unavailable); try again later"),
        (511, "the network wants you to log in first (HTTP 511"),
        (599, "the server cannot give it now (HTTP 599); try again later"),
    ],
)
def test_a_mirror_that_answers_with_an_error_is_no_missing_network(
    server, toy, page, status, said, capsys
):
    url = server.url("/toy.bin", page(b"", status=status))
    toy(url, stand_in="digits")
    refused(f"not fetched: {url}: {said}", "put it, packed or not, at <folder>/toy/toy.bin")
    assert capsys.readouterr().out == ""


def test_one_dead_mirror_beside_one_that_refuses_is_no_missing_network(server, toy, page, dead_url):
    for urls in ((0, 1), (1, 0)):
        both = dead_url, server.url("/toy.bin", page(b"", status=403))
        toy(*(both[i] for i in urls), stand_in="digits")
        refused("127.0.0.1 cannot be reached", "HTTP 403 Forbidden")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (407, "the proxy 127.0.0.1:{port} asks for a name and a password (HTTP 407"),
        (403, "refuses"),
        (502, "HTTP 502"),
    ],
)
def test_a_proxy_that_refuses_is_named_and_its_password_is_not(
    server, toy, monkeypatch, scheme, status, said
):
    monkeypatch.delenv("NO_PROXY")
    server.proxy_says, port = status, server.server_port
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://me:secret@127.0.0.1:{port}")
    toy(f"{scheme}://files.invalid/toy.bin", stand_in="digits")
    text = refused(said.format(port=port))
    assert "secret" not in text and len(server.asked) == 1
    if status == 407:
        assert f"set HTTPS_PROXY=http://NAME:PASSWORD@127.0.0.1:{port}" in text


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("http://me:secret@127.0.0.1:{dead}", "the proxy 127.0.0.1:{dead} cannot be reached; mend"),
        ("http://", "Please check proxy URL"),
        ("socks9://me:secret@127.0.0.1:1", "the request cannot be made"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_setting_to_mend(toy, monkeypatch, dead_url, proxy, said):
    monkeypatch.delenv("NO_PROXY")
    dead = dead_url.split(":")[-1].split("/")[0]
    monkeypatch.setenv("HTTPS_PROXY", proxy.format(dead=dead))
    toy("https://files.invalid/toy.bin", stand_in="digits")
    text = refused(said.format(dead=dead))
    assert "secret" not in text and "network" not in text


@pytest.fixture
def no_names(monkeypatch):
    """Names cannot be looked up, as without a network."""

    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)


def test_without_a_network_the_stand_in_serves_and_the_line_says_why(toy, no_names, capsys):
    toy("https://files.invalid/toy.bin", stand_in="digits")
    assert fetch_or_stand_in("toy") is None and fetch_or_stand_in("toy") is None
    assert capsys.readouterr().out.splitlines() == [
        "Toy is not on this machine (no network: the name files.invalid cannot be looked up): "
        "using the bundled digits instead."
    ]


def test_a_connection_that_nobody_takes_is_a_missing_network(toy, monkeypatch, dead_url, capsys):
    toy(dead_url, stand_in="digits")
    assert fetch_or_stand_in("toy") is None

    def slow(*_, **__):
        raise requests.ConnectTimeout("timed out")

    monkeypatch.setattr(requests, "get", slow)
    toy("https://files.invalid/a", stand_in="photographs")
    data.search._stood_in.clear()
    assert fetch_or_stand_in("toy") is None
    first, second = capsys.readouterr().out.splitlines()
    assert "(no network: 127.0.0.1 cannot be reached)" in first
    assert "(no network: no answer from files.invalid in 10 seconds)" in second


def test_a_server_that_hangs_up_or_is_silent_is_no_missing_network(
    server, toy, page, body, monkeypatch
):
    toy(server.url("/toy.bin", page(b"", status=0)), stand_in="digits")
    refused("the connection broke off (Remote end closed connection without response)")
    answer = threading.Event()
    monkeypatch.setattr(download, "TIMEOUT", (5, 0.2))
    toy(server.url("/toy.bin", page(body, cuts=[0, 0], wait=answer)), stand_in="digits")
    refused("the server was silent for")
    answer.set()


def test_a_transfer_that_breaks_off_for_good_is_no_missing_network(
    server, toy, page, body, monkeypatch
):
    """The network goes away in the middle: the rest comes another time."""
    url = server.url("/toy.bin", page(body, cuts=[100_000]))
    toy(url, stand_in="digits")
    get = requests.get

    def once(*args, **options):
        monkeypatch.setattr(requests, "get", gone)
        return get(*args, **options)

    def gone(*_, **__):
        raise requests.ConnectTimeout("timed out")

    monkeypatch.setattr(requests, "get", once)
    refused("the connection broke off after 98,304 bytes; try again to go on")
    monkeypatch.setattr(requests, "get", get)
    assert fetch_or_stand_in("toy")["toy.bin"].read_bytes() == body


def test_a_page_to_log_in_that_comes_instead_of_the_file_is_said_to_be_one(
    server, toy, page, body, cached
):
    url = server.url("/toy.bin.gz", page(b"\n<!DOCTYPE html><title>Welcome to the hotel</title>"))
    toy(url, stand_in="digits")
    refused(f"{url}: a web page came instead of the file: open the address in a browser")
    assert not cached.exists()


@pytest.mark.parametrize("url", ["https://", "https://[files/toy.bin", "files/toy.bin"])
def test_an_address_that_is_none_is_no_damaged_file(toy, url):
    toy(url, stand_in="digits")
    assert "damaged" not in refused("the request cannot be made")


def test_a_file_of_certificates_that_is_not_there_is_no_full_disk(toy, monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    toy("https://127.0.0.1:1/toy.bin", stand_in="digits")
    text = refused("none.pem")
    assert "written" not in text


def test_a_certificate_that_is_not_known_is_named_with_the_cure(toy, tmp_path, server):
    if not shutil.which("openssl"):
        pytest.skip("openssl, which makes the certificate, is not on this machine")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    secure = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    threading.Thread(target=secure.serve_forever, args=(0.01,), daemon=True).start()
    try:
        toy(f"https://127.0.0.1:{secure.server_port}/toy.bin", stand_in="digits")
        refused("the certificate of 127.0.0.1 is not known (self", "set REQUESTS_CA_BUNDLE")
    finally:
        secure.shutdown()
        secure.server_close()
    # A server that speaks no TLS at all: no certificate is to blame.
    toy(f"https://127.0.0.1:{server.server_port}/toy.bin", stand_in="digits")
    refused("no secure connection to 127.0.0.1")
