from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from tinysight import cli
from tinysight.classify import download
from tinysight.cli import data_fetch, main

BODY = bytes(range(256)) * 9000


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a small archive that takes the place of Tiny ImageNet."""
    archive = replace(
        download.TINY_IMAGENET, size_bytes=len(BODY), md5=hashlib.md5(BODY).hexdigest()
    )
    monkeypatch.setattr(download, "ARCHIVES", {"tiny-imagenet": archive})
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / archive.file_name).write_bytes(BODY)
    with HTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{archive.file_name}"
        server.shutdown()
        thread.join()


def test_names_on_the_command_line_are_those_of_the_library() -> None:
    assert set(data_fetch._NAMES) == set(download.ARCHIVES)


def test_fetch_says_where_the_file_is_and_what_comes_next(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dest = tmp_path / "data"
    assert main(["data", "fetch", "tiny-imagenet", "--dest", str(dest), "--url", url]) == 0
    path = dest / "tiny-imagenet-200.zip"
    assert path.read_bytes() == BODY
    captured = capsys.readouterr()
    assert captured.out == (
        f"{path}: 2,304,000 bytes (2,304,000 received), "
        f"MD5 {hashlib.md5(BODY).hexdigest()} as it must be\n"
        f"next: tinysight data pack {path} --out STORE\n"
    )
    assert "download: 2 of 2 MB, " in captured.err


def test_second_fetch_finds_the_file_already_there(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "fetch", "tiny-imagenet", "--dest", str(tmp_path / "data"), "--url", url]
    assert main(words) == 0
    capsys.readouterr()
    assert main(words) == 0
    assert "2,304,000 bytes (already there), MD5" in capsys.readouterr().out


def test_json_is_one_object(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "fetch", "tiny-imagenet", "--dest", str(tmp_path / "data"), "--url", url]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.pop("seconds") >= 0
    assert result == {
        "path": str(tmp_path / "data" / "tiny-imagenet-200.zip"),
        "bytes": len(BODY),
        "md5": hashlib.md5(BODY).hexdigest(),
        "received_bytes": len(BODY),
    }


def test_fault_is_one_message_that_names_the_way_around(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "fetch", "tiny-imagenet", "--dest", str(tmp_path / "data")]
    assert main([*words, "--url", f"{url}.old"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"tinysight: {url}.old: the server must send the file, but it answered 404 File not found. "
        f"Give another address with --url, or fetch the file on another machine and pass it on: "
        f"tinysight data pack /path/to/tiny-imagenet-200.zip --out STORE\n"
    )


def test_interrupt_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "fetch_archive", interrupt)
    assert main(["data", "fetch", "tiny-imagenet", "--dest", str(tmp_path)]) == cli.STOPPED
    expected = "tinysight: stopped; run the same command again to go on\n"
    assert capsys.readouterr().err == expected


def test_progress_is_shown_once_a_megabyte() -> None:
    seen: list[tuple[int, int]] = []
    report = data_fetch._in_whole_mb(lambda *now: seen.append(now))
    for done_bytes in range(0, 3_500_001, 100_000):
        report(done_bytes, 3_500_000)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
