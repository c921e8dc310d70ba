from __future__ import annotations

import re
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.builders import image_folder_files, write_zip
from tinysight.classify.sources import zip_archive
from tinysight.classify.sources.index import Unreadable
from tinysight.classify.sources.zip_archive import ZipTree
from tinysight.errors import DataError

CONTENT = {"a/1.txt": b"one" * 100, "a/2.txt": b"", "b/3.txt": bytes(range(256))}


def archive_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_zip(Path(folder) / "a.zip", CONTENT).read_bytes()


ARCHIVE = archive_bytes()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_as_zipfile_reads_them(tmp_path: Path, method: int) -> None:
    tree = ZipTree(write_zip(tmp_path / "a.zip", CONTENT, method))
    assert tree.names == list(CONTENT)
    assert list(tree.read_many(tree.names)) == list(CONTENT.values())


def test_members_with_a_long_extra_field_or_a_name_in_another_script_are_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("bild-ü-画像.png")
        entry.extra = struct.pack("<HH", 0x9999, 400) + bytes(400)
        archive.writestr(entry, b"content" * 50)
    assert list(ZipTree(path).read_many(["bild-ü-画像.png"])) == [b"content" * 50]


def write_raw_name(path: Path, raw: bytes, extra: bytes = b"") -> Path:
    """Write an archive of one member whose name is these bytes, without the flag of UTF-8."""
    placeholder = "x" * len(raw)
    entry = zipfile.ZipInfo(placeholder)
    entry.extra = extra
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, b"content" * 50)
    path.write_bytes(path.read_bytes().replace(placeholder.encode(), raw))
    return path


def unicode_path(name: bytes, raw: bytes) -> bytes:
    """The extra field with a name in UTF-8 that goes with a raw one; others stand before it."""
    body = b"\1" + struct.pack("<I", zlib.crc32(raw)) + name
    other = struct.pack("<HH", 0x5455, 5) + bytes(5)
    return other + struct.pack("<HH", 0x7075, len(body)) + body


UTF_8_NAME, CP437_NAME = "画/ü.png".encode(), "é/ü.png".encode("cp437")


@pytest.mark.parametrize(
    ("raw", "extra", "name"),
    [
        (UTF_8_NAME, b"", "画/ü.png"),
        (CP437_NAME, b"", "é/ü.png"),
        (b"__/_.png", unicode_path(UTF_8_NAME, b"__/_.png"), "画/ü.png"),
        (b"new/_.png", unicode_path(UTF_8_NAME, b"__/_.png"), "new/_.png"),
    ],
)
def test_names_without_the_flag_of_utf_8_are_what_their_packer_meant(
    tmp_path: Path, raw: bytes, extra: bytes, name: str
) -> None:
    tree = ZipTree(write_raw_name(tmp_path / "a.zip", raw, extra))
    assert tree.names == [name]
    assert list(tree.read_many([name])) == [b"content" * 50]


@pytest.mark.parametrize("name", [b"../evil.png", b"a\\..\\evil.png", b"/evil.png"])
def test_a_name_in_an_extra_field_that_leads_out_is_refused(tmp_path: Path, name: bytes) -> None:
    path = write_raw_name(tmp_path / "a.zip", b"a.png", unicode_path(name, b"a.png"))
    found = re.escape(repr(name.decode()))
    with pytest.raises(
        DataError, match=f"a.zip: names in an archive must stay inside it, found {found}. Do not"
    ):
        ZipTree(path)


def test_an_archive_after_other_bytes_is_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", CONTENT)
    path.write_bytes(b"#!self-extracting\n" + path.read_bytes())
    tree = ZipTree(path)
    assert list(tree.read_many(tree.names)) == list(CONTENT.values())


def test_hidden_files_of_file_managers_are_left_out(tmp_path: Path) -> None:
    extra = {"__MACOSX/a/._1.txt": b"", "a/.DS_Store": b""}
    assert ZipTree(write_zip(tmp_path / "a.zip", CONTENT | extra)).names == list(CONTENT)


def test_empty_folders_are_known(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (
            "full/", "full/1.txt", "empty/", "nested/", "nested/empty/", "alone/within/",
            "hidden/.DS_Store", "hidden/.git/config", "__MACOSX/empty/._1", ".git/objects/",
        ):  # fmt: skip
            archive.writestr(name, b"")
    assert ZipTree(path).empty_folders == [
        "alone", "alone/within", "empty", "hidden", "nested", "nested/empty",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "it is empty"),
        (b"<html>Not Found</html>", r"it begins with b'<htm' instead of b'PK"),
    ],
)
def test_what_is_no_zip_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"a.zip: must be a whole zip archive, {found}"):
        ZipTree(path)


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", image_folder_files())
    whole = path.read_bytes()
    for length in (len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(
            DataError, match=r"a.zip: must be a whole zip archive, its directory at the end is miss"
        ):
            ZipTree(path)


@pytest.mark.parametrize(
    "name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", ".//evil", "./C:/evil"]
)
def test_a_name_that_leads_out_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"a.zip: names in an archive must stay inside it, found '"):
        ZipTree(write_zip(tmp_path / "a.zip", CONTENT | {name: b"x"}))


def test_a_name_with_backslashes_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"aXbXc.png": b"x"})
    path.write_bytes(path.read_bytes().replace(b"aXbXc", b"a\\..\\"))
    with pytest.raises(DataError, match="names in an archive must stay inside it"):
        ZipTree(path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a/1.txt": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flags in the directory
    path.write_bytes(data)
    with pytest.raises(
        DataError, match=r"a.zip: must not be encrypted, a/1.txt is. Unpack it with"
    ):
        ZipTree(path)


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a/1.txt": b"x", "a/2.txt": b"y"})
    path.write_bytes(path.read_bytes().replace(b"a/2.txt", b"a/1.txt"))
    with pytest.raises(DataError, match=r"every file must be there once, a/1.txt is there twice"):
        ZipTree(path)


def test_names_that_begin_with_a_dot_and_a_slash_are_ordinary(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    names = ("./", "./full/", "./full/1.txt", "./full/./2.txt", "./empty/", "./full/.hidden")
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    tree = ZipTree(path)
    assert tree.names == ["full/1.txt", "full/2.txt"]
    assert list(tree.read_many(tree.names)) == [b"./full/1.txt", b"./full/./2.txt"]
    assert tree.empty_folders == ["empty"]


def test_links_are_not_followed_but_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("link.png")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    tree = ZipTree(path)
    assert tree.names == ["link.png"]
    assert list(tree.read_many(tree.names)) == [
        Unreadable("a link, and links in archives are not followed")
    ]


def one_member(tmp_path: Path, content: bytes, change: tuple[int, bytes]) -> bytes | Unreadable:
    """Read the only member after some bytes of its entry in the directory were changed."""
    path = write_zip(tmp_path / "a.zip", {"a": content})
    data = bytearray(path.read_bytes())
    offset, replacement = change
    start = data.index(b"PK\x01\x02") + offset
    data[start : start + len(replacement)] = replacement
    path.write_bytes(data)
    return next(ZipTree(path).read_many(["a"]))


CRC_AT, SIZE_AT, METHOD_AT, LOCAL_HEADER_AT = 16, 24, 10, 42


def test_a_member_with_another_checksum_is_not_given_out(tmp_path: Path) -> None:
    payload = one_member(tmp_path, b"content", (CRC_AT, b"\0\0\0\0"))
    assert payload == Unreadable("damaged in the archive: its checksum differs")


def test_a_member_longer_than_promised_is_not_inflated_to_its_end(tmp_path: Path) -> None:
    payload = one_member(tmp_path, bytes(10**6), (SIZE_AT, struct.pack("<I", 10)))
    assert payload == Unreadable("damaged in the archive: its checksum differs")


def test_a_member_that_says_it_is_huge_is_not_read(tmp_path: Path) -> None:
    payload = one_member(tmp_path, b"content", (SIZE_AT, struct.pack("<I", 2**30)))
    assert payload == Unreadable("larger than 64 MiB")


def test_a_method_that_is_not_known_is_named(tmp_path: Path) -> None:
    payload = one_member(tmp_path, b"content", (METHOD_AT, struct.pack("<H", 12)))
    assert payload == Unreadable("packed by method 12; only stored and deflate are read")


def test_a_header_that_is_not_there_is_told(tmp_path: Path) -> None:
    payload = one_member(tmp_path, b"content", (LOCAL_HEADER_AT, struct.pack("<I", 5)))
    assert payload == Unreadable("no local header where the directory of the archive says")


def test_damaged_deflate_data_is_told(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a": bytes(range(256)) * 4})
    data = bytearray(path.read_bytes())
    data[31:36] = b"\xff" * 5
    path.write_bytes(data)
    payload = next(ZipTree(path).read_many(["a"]))
    assert isinstance(payload, Unreadable)
    assert payload.reason.startswith("damaged in the archive")


def test_a_missing_member_is_told(tmp_path: Path) -> None:
    tree = ZipTree(write_zip(tmp_path / "a.zip", CONTENT))
    assert list(tree.read_many(["b/none"])) == [Unreadable("missing")]


@given(place=st.integers(0, 10**6), value=st.integers(0, 255))
@example(place=ARCHIVE.index(b"PK\x01\x02") + 6, value=99)  # version needed to extract
@example(place=ARCHIVE.index(b"PK\x05\x06") + 12, value=7)  # size of the directory
@settings(deadline=None, max_examples=300)
def test_a_changed_byte_never_raises_anything_else(place: int, value: int) -> None:
    whole = bytearray(ARCHIVE)
    whole[place % len(whole)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zip"
        path.write_bytes(whole)
        try:
            tree = ZipTree(path)
        except DataError:
            return
        for name, payload in zip(tree.names, tree.read_many(tree.names), strict=True):
            assert isinstance(payload, Unreadable) or payload == CONTENT.get(name, payload)


def test_largest_file_is_64_mib() -> None:
    assert zip_archive.MAX_FILE_BYTES == 64 * 2**20
