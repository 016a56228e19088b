"""Downloads from a real server on this machine: resumed, checked and bounded."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import DATA, Site, serve

from cyclegan_media.datasets.public import Transfer, download
from cyclegan_media.errors import RunError, UserError

SHA256 = hashlib.sha256(DATA).hexdigest()
LOCAL = Transfer(insecure_http=True, first_pause=0.01, timeout=20, retries=2)


@pytest.fixture
def site() -> Iterator[Site]:
    yield from serve()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole(site: Site, tmp_path: Path) -> None:
    assert download(site.url, tmp_path / "a.zip", LOCAL, sha256=SHA256.upper()) == SHA256
    assert (tmp_path / "a.zip").read_bytes() == DATA
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("validator", [{"etag": '"x"'}, {"etag": None, "modified": "yesterday"}])
def test_a_lost_connection_is_resumed_where_it_broke(
    validator: dict[str, str | None], site: Site, tmp_path: Path
) -> None:
    vars(site).update(validator)
    site.drop_after = [100_000, 50_000]
    assert download(site.url, tmp_path / "a.zip", LOCAL) == SHA256
    assert site.asked == [None, "bytes=100000-", "bytes=150000-"]
    assert (tmp_path / "a.zip").read_bytes() == DATA


def test_a_later_call_goes_on_where_the_first_gave_up(site: Site, tmp_path: Path) -> None:
    impatient = Transfer(insecure_http=True, first_pause=0.01, retries=0)
    site.drop_after = [120_000, 0]
    with pytest.raises(RunError, match=r"120000 bytes are kept, run again to go on"):
        download(site.url, tmp_path / "a.zip", impatient)
    assert names(tmp_path) == ["a.zip.part", "a.zip.part.json"]
    assert download(site.url, tmp_path / "a.zip", LOCAL) == SHA256
    assert site.asked[-1] == "bytes=120000-"
    assert names(tmp_path) == ["a.zip"]


def test_a_connection_that_falls_silent_is_taken_up_again(site: Site, tmp_path: Path) -> None:
    site.stall_after = 100_000
    hasty = Transfer(insecure_http=True, first_pause=0.01, timeout=1)
    assert download(site.url, tmp_path / "a.zip", hasty) == SHA256
    assert site.asked == [None, "bytes=100000-"]


def test_a_server_that_drops_at_the_same_byte_for_ever_is_given_up(
    site: Site, tmp_path: Path
) -> None:
    site.ranges, site.drop_after = False, [1000] * 20
    with pytest.raises(RunError, match="1000 of 300000 bytes came"):
        download(site.url, tmp_path / "a.zip", LOCAL)
    assert len(site.asked) == 4  # one that brought something, three that brought nothing new


@pytest.mark.parametrize("change", ["etag", "no ranges", "weak", "no validator", "wrong start"])
def test_a_part_of_another_file_is_never_continued(change: str, site: Site, tmp_path: Path) -> None:
    if change in ("weak", "no validator"):
        site.etag = 'W/"first"' if change == "weak" else None
    site.drop_after = [120_000, 0, 0, 0]
    with pytest.raises(RunError):
        download(site.url, tmp_path / "a.zip", LOCAL)
    site.drop_after = []
    site.data = os.urandom(200_000)
    match change:
        case "etag":
            site.etag = '"second"'
        case "no ranges":
            site.ranges = False
        case "wrong start":
            site.data, site.wrong_start = DATA, True
    digest = download(site.url, tmp_path / "a.zip", LOCAL)
    assert (tmp_path / "a.zip").read_bytes() == site.data
    assert digest == hashlib.sha256(site.data).hexdigest()


def test_a_part_of_another_address_is_not_continued(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"of another file")
    note = {"url": "https://example.org/b.zip", "etag": '"first"', "modified": None, "size": 300000}
    (tmp_path / "a.zip.part.json").write_text(json.dumps(note))
    assert download(site.url, tmp_path / "a.zip", LOCAL) == SHA256
    assert site.asked == [None]


def test_a_file_that_became_shorter_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    site.drop_after = [120_000, 0, 0, 0]
    with pytest.raises(RunError):
        download(site.url, tmp_path / "a.zip", LOCAL)
    site.drop_after, site.data = [], b"short"
    assert download(site.url, tmp_path / "a.zip", LOCAL) == hashlib.sha256(b"short").hexdigest()


def test_busy_servers_are_asked_again_and_absent_files_are_not(site: Site, tmp_path: Path) -> None:
    site.failures = [503, 429]
    assert download(site.url, tmp_path / "a.zip", LOCAL) == SHA256
    site.asked.clear()
    site.failures = [404]
    with pytest.raises(UserError, match="the server answers 404 Not Found"):
        download(site.url, tmp_path / "b.zip", LOCAL)
    assert len(site.asked) == 1
    site.failures = [500] * 9
    with pytest.raises(RunError, match="the server answers 500"):
        download(site.url, tmp_path / "b.zip", LOCAL)
    assert names(tmp_path) == ["a.zip"]


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be reached"):
        download("http://127.0.0.1:9/a.zip", tmp_path / "a.zip", LOCAL)


@pytest.mark.parametrize("length", [True, False])
def test_files_beyond_the_limit_are_refused(length: bool, site: Site, tmp_path: Path) -> None:
    site.length = length
    with pytest.raises(UserError, match=r"is too large: .*299999 bytes are the limit"):
        download(site.url, tmp_path / "a.zip", Transfer(max_bytes=299_999, insecure_http=True))
    assert names(tmp_path) == []
    exactly = Transfer(max_bytes=300_000, insecure_http=True)
    assert download(site.url, tmp_path / "a.zip", exactly) == SHA256


def test_a_disk_that_is_too_small_is_found_out_before(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=299_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(RunError, match="has 299999 bytes left, but 300000 are still to come"):
        download(site.url, tmp_path / "a.zip", LOCAL)


def test_a_wrong_checksum_keeps_nothing(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"its SHA-256 is {SHA256}, not {'0' * 64}"):
        download(site.url, tmp_path / "a.zip", LOCAL, sha256="0" * 64)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.org/a.zip", "is not encrypted"),
        ("file:///etc/passwd", "begins with https"),
        ("ftp://example.org/a.zip", "begins with https"),
        ("example.org/a.zip", "begins with https"),
        ("https:///a.zip", "begins with https"),
        ("https://[/a.zip", "is not an address"),
        ("https://localhost:port/a.zip", "is not an address"),
        ("https://localhost/a b.zip", "is not an address"),
    ],
)
def test_only_https_addresses_are_opened(url: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        download(url, tmp_path / "a.zip")
    assert names(tmp_path) == []


def test_redirects_are_followed_but_not_to_files(site: Site, tmp_path: Path) -> None:
    site.redirect = site.url.replace("/set.zip", "/moved")
    assert download(site.url, tmp_path / "a.zip", LOCAL) == SHA256
    for elsewhere in ("file:///etc/passwd", "ftp://127.0.0.1/a"):
        site.redirect = elsewhere
        with pytest.raises(UserError, match=r"answers 302|leads elsewhere"):
            download(site.url, tmp_path / "b.zip", LOCAL)
    assert names(tmp_path) == ["a.zip"]


@pytest.fixture
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the server's certificate, is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run(
        [openssl, *make, "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    return key, cert


@pytest.fixture
def secure_site(certificate: tuple[Path, Path]) -> Iterator[Site]:
    key, cert = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    yield from serve(context)


def test_https_is_verified_and_never_left(
    secure_site: Site,
    site: Site,
    certificate: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UserError, match="certificate is not to be trusted: self-signed"):
        download(secure_site.url, tmp_path / "a.zip")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    assert download(secure_site.url, tmp_path / "a.zip") == SHA256
    secure_site.redirect = site.url
    for transfer in (Transfer(), LOCAL):
        with pytest.raises(UserError, match=r"leads elsewhere: http://.*is not encrypted"):
            download(secure_site.url, tmp_path / "b.zip", transfer)
    assert site.asked == []
    assert names(tmp_path) == ["a.zip"]
