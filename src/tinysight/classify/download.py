"""Fetch a published archive: go on where it broke off, and check it before anyone uses it.

Bytes go to ``NAME.part`` beside the target, and only a file with the right checksum gets the
name. ``NAME.part.json`` remembers which version of the file the server was sending, so that a
resumed download is not put together from two versions.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from tinysight import __version__
from tinysight.errors import DataError

STALL_TIMEOUT_S = 30.0
ATTEMPTS = 5
BACKOFF_S = 1.0

_CHUNK_BYTES = 1 << 18
# Answers that another try may turn into the file; every other one is final.
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Archive:
    """A published file and how to know that it is the right one."""

    file_name: str
    url: str
    size_bytes: int
    md5: str
    """Hex digest. It guards against damage, not against forgery: no better digest is published."""


TINY_IMAGENET = Archive(
    file_name="tiny-imagenet-200.zip",
    url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    size_bytes=248_100_043,
    md5="90528d7ca1a48142e341f4ef8d21d0de",
)

ARCHIVES: Mapping[str, Archive] = {"tiny-imagenet": TINY_IMAGENET}
"""What can be fetched, by the name used on the command line."""


@dataclass(frozen=True)
class FetchResult:
    """A complete archive and what it took to get it."""

    path: Path
    size_bytes: int
    md5: str
    received_bytes: int
    """Bytes that came over the network in this call; 0 when the file was already there."""
    seconds: float


class _BrokenOffError(Exception):
    """This try ended early; the next one may go on from there."""


@dataclass
class _Job:
    """One archive on its way from one address to one place."""

    archive: Archive
    url: str
    path: Path
    stall_timeout_s: float
    report: Callable[[int, int], None]
    received_bytes: int = 0

    @property
    def part(self) -> Path:
        return self.path.with_name(self.path.name + ".part")

    @property
    def note(self) -> Path:
        return self.path.with_name(self.path.name + ".part.json")

    @property
    def part_bytes(self) -> int:
        # Unlike Path.exists this takes a name that no file can have.
        return os.path.getsize(self.part) if os.path.exists(self.part) else 0

    def discard_part(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def fault(self, text: str) -> DataError:
        """A fault of the way to the file, with the way around it."""
        proxy = _proxy_of(self.url)
        where = f"{self.url} (through the proxy {proxy})" if proxy else self.url
        return DataError(
            f"{where}: {text}, or fetch the file on another machine and pass it on: "
            f"tinysight data pack /path/to/{self.archive.file_name} --out STORE"
        )

    def disk_fault(self, found: str) -> DataError:
        return DataError(
            f"{self.path}: {self.archive.size_bytes:,} bytes must fit there, found: {found}. "
            f"Make room or choose another folder with --dest, then run the command again; what "
            f"has come so far ({self.part_bytes:,} bytes) is kept."
        )


def fetch_archive(
    archive: Archive,
    dest: Path,
    *,
    url: str | None = None,
    stall_timeout_s: float = STALL_TIMEOUT_S,
    attempts: int = ATTEMPTS,
    backoff_s: float = BACKOFF_S,
    report: Callable[[int, int], None] | None = None,
) -> FetchResult:
    """Bring ``archive`` into the folder ``dest``, or find that it is already there.

    A try that breaks off or stalls is followed by another that goes on where it stopped, after
    a pause that doubles each time. An interruption (also of the process) leaves the ``.part``
    file, and the next call goes on with it.

    Args:
        archive: What to fetch.
        dest: Folder for the file; made when missing.
        url: Another address of the same file.
        stall_timeout_s: Longest wait for a connection or for the next byte, seconds.
        attempts: Tries in a row that may bring nothing new before it gives up.
        backoff_s: Pause before the second try, seconds.
        report: Called with the bytes that are there and the bytes of the whole file.

    Returns:
        Where the checked file lies and what was received.

    Raises:
        DataError: No way to the server, a final refusal, another file than expected, no room,
            or something else in the place of the file or the folder.
    """
    started = time.monotonic()
    url = url or archive.url
    if urlsplit(url).scheme not in ("http", "https"):
        raise DataError(
            f"{url}: the address must begin with http:// or https://. A file that is already on "
            f"this machine needs no fetching: tinysight data pack FILE --out STORE"
        )
    if os.path.exists(dest) and not os.path.isdir(dest):
        raise DataError(
            f"{dest}: must be the folder to put {archive.file_name} into, found a file. "
            f"Choose another folder with --dest."
        )
    job = _Job(archive, url, dest / archive.file_name, stall_timeout_s, report or (lambda *_: None))
    try:
        dest.mkdir(parents=True, exist_ok=True)
        if not _is_complete(job):
            if shutil.disk_usage(dest).free < archive.size_bytes - job.part_bytes:
                raise job.disk_fault(f"{shutil.disk_usage(dest).free:,} bytes free")
            _fill_part(job, attempts, backoff_s)
            os.replace(job.part, job.path)
            job.note.unlink(missing_ok=True)
    except OSError as error:  # network faults were turned into DataError where they arose
        raise job.disk_fault(error.strerror or str(error)) from error
    seconds = time.monotonic() - started
    return FetchResult(job.path, archive.size_bytes, archive.md5, job.received_bytes, seconds)


def _is_complete(job: _Job) -> bool:
    if not job.path.exists():
        return False
    found = _md5_of(job.path)
    if found == job.archive.md5:
        return True
    raise DataError(
        f"{job.path}: a file of this name is already there and must have the MD5 "
        f"{job.archive.md5}, found {found}. Move it away or delete it, then fetch again."
    )


def _fill_part(job: _Job, attempts: int, backoff_s: float) -> None:
    """Fetch into ``job.part`` until it is whole and has the right checksum."""
    opener = urllib.request.build_opener()  # built here: the proxies of now, not of import time
    furthest_bytes = job.part_bytes
    failures = 0
    while True:
        try:
            start_bytes = _receive(opener, job)
            _check_part(job, start_bytes)
            return
        except _BrokenOffError as fault:
            # Only bytes beyond all earlier tries count, or a server that cannot resume and
            # always breaks off would be asked for ever.
            failures = 1 if job.part_bytes > furthest_bytes else failures + 1
            furthest_bytes = max(furthest_bytes, job.part_bytes)
            if failures >= attempts:
                raise job.fault(
                    f"the download must go on, but {attempts} tries in a row brought nothing "
                    f"new; the last one: {fault}. {job.part_bytes:,} of "
                    f"{job.archive.size_bytes:,} bytes are kept in {job.part.name}: run the "
                    f"command again to go on"
                ) from fault
            time.sleep(backoff_s * 2 ** (failures - 1))


def _receive(opener: urllib.request.OpenerDirector, job: _Job) -> int:
    """Make one request and write what comes; return at which byte it began."""
    size_bytes = job.archive.size_bytes
    have_bytes = job.part_bytes
    if have_bytes == size_bytes:
        return have_bytes
    if have_bytes > size_bytes:
        job.discard_part()
        have_bytes = 0
    with _ask(opener, job, have_bytes) as response:
        start_bytes = _start_of(response, job, have_bytes)
        if start_bytes == 0:
            job.discard_part()
            _remember_version(job, response)
        done_bytes = start_bytes
        with open(job.part, "ab") as file:
            job.report(done_bytes, size_bytes)
            for chunk in _chunks(response, job.stall_timeout_s):
                done_bytes += len(chunk)
                if done_bytes > size_bytes:
                    break
                file.write(chunk)
                job.received_bytes += len(chunk)
                job.report(done_bytes, size_bytes)
            file.flush()
            os.fsync(file.fileno())
    if done_bytes > size_bytes:
        job.discard_part()
        raise _another_file(job, "the server sends more")
    if done_bytes < size_bytes:
        raise _BrokenOffError(f"the connection closed after {done_bytes:,} bytes")
    return start_bytes


def _check_part(job: _Job, start_bytes: int) -> None:
    found = _md5_of(job.part)
    if found == job.archive.md5:
        return
    job.discard_part()
    if start_bytes > 0:
        raise _BrokenOffError(f"the pieces did not make the file (MD5 {found})")
    raise job.fault(
        f"the file must have the MD5 {job.archive.md5}, found {found}; it was deleted. "
        f"Give another address with --url"
    )


def _ask(opener: urllib.request.OpenerDirector, job: _Job, have_bytes: int) -> HTTPResponse:
    """Ask for the file from ``have_bytes`` on."""
    headers = {"User-Agent": f"tinysight/{__version__}", "Accept-Encoding": "identity"}
    if have_bytes:
        headers["Range"] = f"bytes={have_bytes}-"
        version = _remembered_version(job)
        if version:
            headers["If-Range"] = version
    request = urllib.request.Request(job.url, headers=headers)
    try:
        response: HTTPResponse = opener.open(request, timeout=job.stall_timeout_s)
        return response
    except HTTPError as error:
        error.close()
        answer = f"{error.code} {error.reason}"
        if error.code == 416:  # the server's file ends before our part does
            job.discard_part()
        elif error.code not in _PASSING_STATUS:
            raise job.fault(
                f"the server must send the file, but it answered {answer}. "
                f"Give another address with --url"
            ) from error
        raise _BrokenOffError(f"the answer was {answer}") from error
    except URLError as error:
        # Before the first byte of a call there is probably no way at all: say so at once.
        reason = _reason_of(error.reason, job)
        if job.received_bytes == 0:
            raise job.fault(
                f"the server must be reachable, but {reason}. Check the network"
            ) from error
        raise _BrokenOffError(reason) from error
    except (OSError, HTTPException) as error:
        raise _BrokenOffError(_reason_of(error, job)) from error


def _start_of(response: HTTPResponse, job: _Job, have_bytes: int) -> int:
    """Return the byte at which the answer begins; the whole file must be of the right size."""
    headers = response.headers
    start_bytes, announced = 0, headers.get("Content-Length")
    if response.status == 206:
        span, _, announced = headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        versions = {_version_of(response), _remembered_version(job)} - {None}
        if not span.startswith(f"{have_bytes}-") or len(versions) > 1:
            job.discard_part()
            raise _BrokenOffError("the server sent another piece than the one asked for")
        start_bytes = have_bytes
    if announced and announced.isdecimal() and int(announced) != job.archive.size_bytes:
        kind = headers.get_content_type()
        raise _another_file(job, f"the server announces {int(announced):,} ({kind})")
    return start_bytes


def _another_file(job: _Job, found: str) -> DataError:
    return job.fault(
        f"the file must have {job.archive.size_bytes:,} bytes, {found}. "
        f"This is another file; give the right address with --url"
    )


def _chunks(response: HTTPResponse, stall_timeout_s: float) -> Iterator[bytes]:
    """Yield what comes as it comes; a fault of the network ends this try and not the download."""
    while True:
        try:
            chunk = response.read1(_CHUNK_BYTES)
        except TimeoutError as error:
            raise _BrokenOffError(f"no byte came for {stall_timeout_s:g} s") from error
        except (OSError, HTTPException) as error:
            raise _BrokenOffError(f"the connection broke: {error}") from error
        if not chunk:
            return
        yield chunk


def _version_of(response: HTTPResponse) -> str | None:
    """Return what names the server's version of the file: a strong ETag, or its date."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):  # If-Range takes no weak ones (RFC 9110, 13.1.5)
        return str(etag)
    return response.headers.get("Last-Modified")


def _remember_version(job: _Job, response: HTTPResponse) -> None:
    note = {"url": job.url, "version": _version_of(response)}
    job.note.write_text(json.dumps(note) + "\n", encoding="utf-8")


def _remembered_version(job: _Job) -> str | None:
    """Return the version of which the part is a piece, when it came from the same address."""
    try:
        note = json.loads(job.note.read_text(encoding="utf-8"))
        return str(note["version"]) if note["url"] == job.url and note["version"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the checksum at the end decides


def _reason_of(error: object, job: _Job) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name {urlsplit(job.url).hostname} could not be resolved ({error.strerror})"
    if isinstance(error, TimeoutError):
        return f"no answer came for {job.stall_timeout_s:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    return str(error)


def _proxy_of(url: str) -> str | None:
    """Return the proxy that ``url`` is fetched through, without its password."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return proxy.rpartition("@")[2]


def _md5_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
