from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tinysight.classify import download
from tinysight.classify.download import ARCHIVES, TINY_IMAGENET, Archive, fetch_archive
from tinysight.classify.randomness import keyed_generator
from tinysight.errors import DataError

BODY = keyed_generator(0, "archive").bytes(700_001)
OTHER_BODY = keyed_generator(1, "archive").bytes(700_001)
ARCHIVE = Archive(
    file_name="images.zip",
    url="http://127.0.0.1:9/images.zip",
    size_bytes=len(BODY),
    md5=hashlib.md5(BODY).hexdigest(),
)
PASS_IT_ON = (
    "or fetch the file on another machine and pass it on: "
    "tinysight data pack /path/to/images.zip --out STORE"
)

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A loopback server that answers request after request from a list; the last one repeats."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [send_file()]
        self.requests: list[Message] = []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                index = min(len(outer.requests), len(outer.answers) - 1)
                outer.requests.append(self.headers)
                self.close_connection = True
                outer.answers[index](self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.closing = self.closing  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self.http.server_port}/images.zip"

    def asked_ranges(self) -> list[str | None]:
        return [headers.get("Range") for headers in self.requests]


def send_file(
    body: bytes = BODY,
    *,
    stop_after: int | None = None,
    knows_ranges: bool = True,
    etag: str | None = '"one"',
    date: str | None = None,
    checks_if_range: bool = True,
    length: int | None = None,
    chunked: bool = False,
    then: Callable[[BaseHTTPRequestHandler], None] = lambda _: None,
) -> Answer:
    """Answer as a file server does, and break off after ``stop_after`` bytes of this answer."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        span, version = request.headers.get("Range"), request.headers.get("If-Range")
        start = 0
        if span and knows_ranges and (not checks_if_range or version in (None, etag, date)):
            start = int(span.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if chunked:
            request.send_header("Transfer-Encoding", "chunked")
        else:
            request.send_header("Content-Length", str(length or len(body) - start))
        if etag:
            request.send_header("ETag", etag)
        if date:
            request.send_header("Last-Modified", date)
        request.end_headers()
        end = len(body) if stop_after is None else start + stop_after
        if chunked:
            piece = body[start:end]
            request.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(piece), piece))
        else:
            request.wfile.write(body[start:end])
        request.wfile.flush()
        then(request)

    return answer


def send_status(code: int) -> Answer:
    return lambda request: request.send_error(code)


def hang(request: BaseHTTPRequestHandler) -> None:
    request.server.closing.wait(20)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.closing.set()
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def fetch(server: Server, dest: Path, **changes: object) -> download.FetchResult:
    options: dict[str, object] = {"url": server.url, "backoff_s": 0.001, "stall_timeout_s": 5.0}
    return fetch_archive(ARCHIVE, dest, **(options | changes))  # type: ignore[arg-type]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_arrives_whole_and_nothing_else_is_left(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = fetch(server, tmp_path / "new" / "folder", report=lambda *now: seen.append(now))
    assert result.path.read_bytes() == BODY
    assert (result.size_bytes, result.md5) == (len(BODY), ARCHIVE.md5)
    assert result.received_bytes == len(BODY)
    assert names_in(result.path.parent) == ["images.zip"]
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)


def test_complete_file_is_known_by_its_checksum_and_not_fetched(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "images.zip").write_bytes(BODY)
    result = fetch(server, tmp_path)
    assert result.received_bytes == 0
    assert server.requests == []


def test_another_file_in_the_way_is_named_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"my holidays")
    found = hashlib.md5(b"my holidays").hexdigest()
    message = (
        f"images.zip: a file of this name is already there and must have the MD5 {ARCHIVE.md5}, "
        f"found {found}. Move it away or delete it, then fetch again."
    )
    with pytest.raises(DataError, match=message):
        fetch(server, tmp_path)
    assert (tmp_path / "images.zip").read_bytes() == b"my holidays"


def test_download_that_breaks_off_half_way_goes_on_from_there(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [send_file(stop_after=300_000), send_file()]
    result = fetch(server, tmp_path)
    assert result.path.read_bytes() == BODY
    assert result.received_bytes == len(BODY)
    assert server.asked_ranges() == [None, "bytes=300000-"]
    assert server.requests[1]["If-Range"] == '"one"'


def test_many_breaks_are_borne_as_long_as_each_try_brings_something(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [send_file(stop_after=100_000)]
    result = fetch(server, tmp_path, attempts=2)
    assert result.path.read_bytes() == BODY
    assert len(server.requests) == 8


def test_interrupted_process_leaves_a_part_that_the_next_one_completes(
    server: Server, tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 200_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path, report=interrupt)
    part_bytes = (tmp_path / "images.zip.part").stat().st_size
    assert part_bytes > 200_000
    assert not (tmp_path / "images.zip").exists()
    result = fetch(server, tmp_path)
    assert result.path.read_bytes() == BODY
    assert result.received_bytes == len(BODY) - part_bytes
    assert server.asked_ranges()[1] == f"bytes={part_bytes}-"
    assert names_in(tmp_path) == ["images.zip"]


def test_last_modified_is_used_where_the_etag_is_weak(server: Server, tmp_path: Path) -> None:
    date = "Fri, 12 Dec 2014 09:00:00 GMT"
    weak = 'W/"x"'
    server.answers = [
        send_file(stop_after=9, etag=weak, date=date),
        send_file(etag=weak, date=date),
    ]
    fetch(server, tmp_path)
    assert server.requests[1]["If-Range"] == date
    assert server.asked_ranges()[1] == "bytes=9-"


def test_server_without_versions_is_still_resumed(server: Server, tmp_path: Path) -> None:
    server.answers = [send_file(stop_after=9, etag=None), send_file(etag=None)]
    assert fetch(server, tmp_path).path.read_bytes() == BODY
    assert server.requests[1]["If-Range"] is None
    assert server.asked_ranges()[1] == "bytes=9-"


def test_server_that_ignores_ranges_starts_the_file_anew(server: Server, tmp_path: Path) -> None:
    server.answers = [send_file(stop_after=300_000), send_file(knows_ranges=False)]
    result = fetch(server, tmp_path)
    assert result.path.read_bytes() == BODY
    assert result.received_bytes == 300_000 + len(BODY)


def test_server_that_cannot_resume_and_always_breaks_off_is_given_up(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [send_file(stop_after=300_000, knows_ranges=False)]
    message = (
        "the download must go on, but 3 tries in a row brought nothing new; the last one: the "
        "connection closed after 300,000 bytes. 300,000 of 700,001 bytes are kept in "
        f"images.zip.part: run the command again to go on, {PASS_IT_ON}"
    )
    with pytest.raises(DataError, match=message):
        fetch(server, tmp_path, attempts=3)
    assert len(server.requests) == 3
    assert (tmp_path / "images.zip.part").stat().st_size == 300_000


def test_file_that_changes_between_tries_is_not_put_together(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [send_file(OTHER_BODY, stop_after=300_000), send_file(etag='"two"')]
    result = fetch(server, tmp_path)
    assert result.path.read_bytes() == BODY
    assert server.requests[1]["If-Range"] == '"one"'
    assert len(server.requests) == 2


def test_changed_file_is_noticed_when_the_server_ignores_if_range(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [
        send_file(OTHER_BODY, stop_after=300_000),
        send_file(etag='"two"', checks_if_range=False),
    ]
    assert fetch(server, tmp_path).path.read_bytes() == BODY
    assert server.asked_ranges() == [None, "bytes=300000-", None]


def test_pieces_of_two_versions_without_names_are_found_by_the_checksum(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [send_file(OTHER_BODY, stop_after=9, etag=None), send_file(etag=None)]
    assert fetch(server, tmp_path).path.read_bytes() == BODY
    assert server.asked_ranges() == [None, "bytes=9-", None]


def test_piece_from_another_place_than_asked_is_refused(server: Server, tmp_path: Path) -> None:
    def send_wrong_piece(request: BaseHTTPRequestHandler) -> None:
        request.send_response(206)
        request.send_header("Content-Range", f"bytes 0-8/{len(BODY)}")
        request.send_header("Content-Length", "9")
        request.end_headers()
        request.wfile.write(BODY[:9])

    server.answers = [send_file(stop_after=9), send_wrong_piece, send_file()]
    assert fetch(server, tmp_path).path.read_bytes() == BODY
    assert server.asked_ranges() == [None, "bytes=9-", None]


@pytest.mark.parametrize("part", [BODY + b"?", BODY[:-1] + b"?", OTHER_BODY[:500_000]])
def test_useless_part_from_earlier_is_thrown_away(
    server: Server, tmp_path: Path, part: bytes
) -> None:
    (tmp_path / "images.zip.part").write_bytes(part)
    assert fetch(server, tmp_path).path.read_bytes() == BODY
    assert names_in(tmp_path) == ["images.zip"]


def test_whole_part_from_earlier_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "images.zip.part").write_bytes(BODY)
    result = fetch_archive(ARCHIVE, tmp_path)
    assert result.path.read_bytes() == BODY
    assert result.received_bytes == 0


def test_part_goes_on_from_another_address(server: Server, tmp_path: Path) -> None:
    (tmp_path / "images.zip.part").write_bytes(BODY[:1000])
    (tmp_path / "images.zip.part.json").write_text('{"url": "http://elsewhere", "version": "a"}')
    assert fetch(server, tmp_path).received_bytes == len(BODY) - 1000
    assert server.requests[0]["If-Range"] is None


def test_damaged_note_beside_the_part_does_no_harm(server: Server, tmp_path: Path) -> None:
    (tmp_path / "images.zip.part").write_bytes(BODY[:1000])
    (tmp_path / "images.zip.part.json").write_text("{")
    assert fetch(server, tmp_path).received_bytes == len(BODY) - 1000


def test_server_file_shorter_than_the_part_starts_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "images.zip.part").write_bytes(BODY[:1000])
    server.answers = [send_file(BODY[:500]), send_file()]
    assert fetch(server, tmp_path).path.read_bytes() == BODY
    assert server.asked_ranges() == ["bytes=1000-", None]


def test_chunked_answer_without_a_length_arrives_whole(server: Server, tmp_path: Path) -> None:
    server.answers = [send_file(chunked=True)]
    assert fetch(server, tmp_path).path.read_bytes() == BODY


def test_wrong_announced_length_is_refused_before_any_byte(server: Server, tmp_path: Path) -> None:
    server.answers = [send_file(length=12_345)]
    message = (
        r"images.zip: the file must have 700,001 bytes, the server announces 12,345 "
        rf"\(text/plain\). This is another file; give the right address with --url, {PASS_IT_ON}"
    )
    with pytest.raises(DataError, match=message):
        fetch(server, tmp_path)
    assert len(server.requests) == 1
    assert names_in(tmp_path) == []


def test_file_longer_than_it_must_be_is_cut_off_and_refused(server: Server, tmp_path: Path) -> None:
    server.answers = [send_file(BODY + b"?", chunked=True)]
    message = "the file must have 700,001 bytes, the server sends more. This is another file"
    with pytest.raises(DataError, match=message):
        fetch(server, tmp_path)
    assert names_in(tmp_path) == []


def test_wrong_checksum_is_refused_and_nothing_is_left(server: Server, tmp_path: Path) -> None:
    server.answers = [send_file(OTHER_BODY)]
    found = hashlib.md5(OTHER_BODY).hexdigest()
    message = (
        f"images.zip: the file must have the MD5 {ARCHIVE.md5}, found {found}; it was deleted. "
        f"Give another address with --url, {PASS_IT_ON}"
    )
    with pytest.raises(DataError, match=message):
        fetch(server, tmp_path)
    assert len(server.requests) == 1
    assert names_in(tmp_path) == []


def test_stalled_server_times_out_and_the_next_try_goes_on(server: Server, tmp_path: Path) -> None:
    server.answers = [send_file(stop_after=300_000, then=hang), send_file()]
    assert fetch(server, tmp_path, stall_timeout_s=0.2).path.read_bytes() == BODY
    assert server.asked_ranges() == [None, "bytes=300000-"]


def test_server_that_stalls_each_time_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers = [send_file(stop_after=9, then=hang), hang]
    message = "2 tries in a row brought nothing new; the last one: no answer came for 0.1 s. 9 of"
    with pytest.raises(DataError, match=message):
        fetch(server, tmp_path, stall_timeout_s=0.1, attempts=2)


def test_stall_in_the_middle_is_named(server: Server, tmp_path: Path) -> None:
    server.answers = [send_file(stop_after=9, then=hang)]
    with pytest.raises(DataError, match=r"the last one: no byte came for 0\.1 s\. 9 of 700,001"):
        fetch(server, tmp_path, stall_timeout_s=0.1, attempts=1)


def test_passing_trouble_of_the_server_is_tried_again(server: Server, tmp_path: Path) -> None:
    server.answers = [send_status(503), send_status(429), send_file()]
    assert fetch(server, tmp_path).path.read_bytes() == BODY


def test_lasting_trouble_of_the_server_is_named(server: Server, tmp_path: Path) -> None:
    server.answers = [send_status(503)]
    with pytest.raises(DataError, match="the last one: the answer was 503 Service Unavailable"):
        fetch(server, tmp_path)
    assert len(server.requests) == download.ATTEMPTS


def test_final_answer_is_not_asked_for_twice(server: Server, tmp_path: Path) -> None:
    server.answers = [send_status(404)]
    message = (
        "images.zip: the server must send the file, but it answered 404 Not Found. "
        f"Give another address with --url, {PASS_IT_ON}"
    )
    with pytest.raises(DataError, match=message):
        fetch(server, tmp_path)
    assert len(server.requests) == 1


def test_pauses_between_tries_double(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.answers = [send_status(503)]
    with pytest.raises(DataError):
        fetch(server, tmp_path, attempts=4, backoff_s=1.0)
    assert pauses == [1.0, 2.0, 4.0]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_refused_connection_is_named_at_once(tmp_path: Path) -> None:
    message = (
        "the server must be reachable, but the connection was refused. Check the network, "
        f"{PASS_IT_ON}"
    )
    with pytest.raises(DataError, match=message):
        fetch_archive(ARCHIVE, tmp_path, url=f"http://127.0.0.1:{closed_port()}/images.zip")


def test_unknown_host_name_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    message = (
        r"http://cs231n.example/images.zip: the server must be reachable, but the name "
        r"cs231n.example could not be resolved \(Name or service not known\). Check the network"
    )
    with pytest.raises(DataError, match=message):
        fetch_archive(ARCHIVE, tmp_path, url="http://cs231n.example/images.zip")


def test_network_that_swallows_everything_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", fail)
    with pytest.raises(DataError, match=r"must be reachable, but no answer came for 2\.5 s"):
        fetch_archive(ARCHIVE, tmp_path, stall_timeout_s=2.5)


def test_network_that_goes_away_half_way_is_waited_for(server: Server, tmp_path: Path) -> None:
    def close_for_good(_: BaseHTTPRequestHandler) -> None:
        server.http.socket.close()
        server.closing.wait(0.05)

    server.answers = [send_file(stop_after=9, then=close_for_good)]
    message = "2 tries in a row brought nothing new; the last one: the connection was refused"
    with pytest.raises(DataError, match=message):
        fetch(server, tmp_path, attempts=2, backoff_s=0.1)
    assert (tmp_path / "images.zip.part").read_bytes() == BODY[:9]


def test_proxy_that_refuses_is_named_without_its_password(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = server.url.removeprefix("http://").removesuffix("/images.zip")
    monkeypatch.setenv("http_proxy", f"http://me:secret@{host}")
    server.answers = [send_status(407)]
    message = (
        rf"http://data.example/images.zip \(through the proxy {host}\): the server must send "
        r"the file, but it answered 407 Proxy Authentication Required"
    )
    with pytest.raises(DataError, match=message) as caught:
        fetch_archive(ARCHIVE, tmp_path, url="http://data.example/images.zip")
    assert "secret" not in str(caught.value)


def test_proxy_that_opens_no_tunnel_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", server.url.removesuffix("/images.zip"))
    message = (
        r"through the proxy http://127.0.0.1:\d+\): the server must be reachable, but "
        r"Tunnel connection failed: 501 Unsupported method"
    )
    with pytest.raises(DataError, match=message):
        fetch_archive(ARCHIVE, tmp_path, url="https://data.example/images.zip")


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    message = (
        "file:///etc/images.zip: the address must begin with http:// or https://. A file that is "
        "already on this machine needs no fetching: tinysight data pack FILE --out STORE"
    )
    with pytest.raises(DataError, match=message):
        fetch_archive(ARCHIVE, tmp_path, url="file:///etc/images.zip")


def test_too_little_room_is_named_before_any_request(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 4_000))
    message = (
        r"images.zip: 700,001 bytes must fit there, found: 4,000 bytes free. Make room or choose "
        r"another folder with --dest, then run the command again; what has come so far "
        r"\(0 bytes\) is kept."
    )
    with pytest.raises(DataError, match=message):
        fetch(server, tmp_path)
    assert server.requests == []


def test_disk_that_fills_up_while_writing_is_named_and_the_part_goes_on_later(
    server: Server, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource", reason="only POSIX limits the size of a file")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, old[1]))
    try:
        with pytest.raises(DataError, match=f"found: {os.strerror(errno.EFBIG)}. Make room"):
            fetch(server, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert 0 < (tmp_path / "images.zip.part").stat().st_size <= 300_000
    assert fetch(server, tmp_path).path.read_bytes() == BODY


def test_file_where_the_folder_should_be_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    message = "data: must be the folder to put images.zip into, found a file. Choose another"
    with pytest.raises(DataError, match=message):
        fetch(server, tmp_path / "data")


def test_folder_with_a_name_that_none_can_have_is_named(server: Server, tmp_path: Path) -> None:
    dest = tmp_path / ("a" * 300)
    message = (
        f"{dest}/images.zip: 700,001 bytes must fit there, found: File name too long. Make room or "
        f"choose another folder with --dest"
    )
    with pytest.raises(DataError, match=message):
        fetch(server, dest)
    assert not server.requests


def test_tiny_imagenet_is_pinned_by_size_and_checksum() -> None:
    assert ARCHIVES["tiny-imagenet"] is TINY_IMAGENET
    assert TINY_IMAGENET.url == "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    assert TINY_IMAGENET.size_bytes == 248_100_043
    assert TINY_IMAGENET.md5 == "90528d7ca1a48142e341f4ef8d21d0de"
