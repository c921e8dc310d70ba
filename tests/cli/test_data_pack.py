from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.builders import (
    Files,
    encode,
    image_folder_files,
    make_pixels,
    make_tiny_imagenet,
    real_tiny_imagenet_files,
    tiny_imagenet_files,
    write_tree,
    write_zip,
)
from tinysight import cli
from tinysight.classify import pack
from tinysight.classify.pack import pack_store
from tinysight.classify.sources.opening import open_source
from tinysight.classify.store import load_store

Capture = pytest.CaptureFixture[str]


def run_pack(source: Path, *options: str, workers: int = 1) -> int:
    out = str(source.parent / "store")
    words = ["data", "pack", str(source), "--out", out, "--workers", str(workers), *options]
    return cli.main(words)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_pack_prints_one_json_object_with_what_is_in_the_store(
    tmp_path: Path, capsys: Capture
) -> None:
    source = make_tiny_imagenet(tmp_path, classes=3, per_class=10, val_per_class=0)
    assert run_pack(source, "--size", "8", "--json") == cli.OK
    result = json.loads(capsys.readouterr().out)
    store = load_store(tmp_path / "store")
    assert (result["images"], result["train"], result["test"]) == (30, 21, 9)
    assert (result["classes"], result["rejected"]) == (3, 0)
    assert result["split_digest"] == store.split_digest
    assert result["seconds"] > 0
    assert result["read"] == result["accepted"] + result["repaired"] + result["rejected"]


def test_options_are_those_of_the_library(tmp_path: Path) -> None:
    source = make_tiny_imagenet(tmp_path)
    options = ["--split", "60/40", "--seed", "7", "--classes", "2", "--size", "16"]
    assert run_pack(source, *options, "--wrong-size", "resize", "--allow-rejected", "0.5") == cli.OK
    pack_store(
        open_source(source, num_classes=2),
        tmp_path / "expected",
        split="60/40",
        seed=7,
        size_px=16,
        num_workers=1,
    )
    for path in (tmp_path / "expected").iterdir():
        assert (tmp_path / "store" / path.name).read_bytes() == path.read_bytes()


def test_of_many_endings_the_rarest_are_counted_only(tmp_path: Path, capsys: Capture) -> None:
    others = [*(f"cat/{name}.csv" for name in "ab"), "README", *(f"dog/x.{e}" for e in "stuvw")]
    files = image_folder_files(per_class=10) | dict.fromkeys(others, b"")
    assert run_pack(write_tree(tmp_path / "pets", files), "--size", "8") == cli.OK
    assert (
        "other files: 8 (2 .csv, 1 without an ending, 1 .s, 1 .t, 1 .u, and 2 other endings)\n"
        in capsys.readouterr().out
    )


def test_summary_names_repairs_rejections_duplicates_and_what_was_left_out(
    tmp_path: Path, capsys: Capture
) -> None:
    same = encode(make_pixels(77))
    files = image_folder_files(per_class=10) | {
        "cat/same.png": same,
        "dog/same.png": same,
        "dog/grey.png": encode(make_pixels(5)[:, :, 0]),
        "dog/empty.png": b"",
        "dog/text.png": b"text",
        "dog/notes.txt": b"",
        "cover.png": same,
        "owl/1.heic": b"",
    }
    source = write_tree(tmp_path / "pets", files)
    assert run_pack(source, "--size", "8", "--allow-rejected", "0.1") == cli.OK
    text = capsys.readouterr().out
    assert "source      pets: image folder\n" in text
    assert "images      25 read = 22 accepted + 1 repaired + 2 rejected\n" in text
    assert "1 repaired: grey\n" in text
    assert "rejected: dog/empty.png: empty file\n" in text
    assert "rejected: dog/text.png: not an image (begins with b'text')\n" in text
    assert "left out    images without a label: 1, other files: 2 (1 .heic, 1 .txt)\n" in text
    assert "            folders with other files only: 1, such as owl\n" in text
    assert "duplicates  groups of equal files: 1, with two labels: 1, in both parts" in text
    assert "cat/same.png (cat) = dog/same.png (dog)\n" in text


def test_official_split_says_what_became_of_each_part(tmp_path: Path, capsys: Capture) -> None:
    names = [f"{part}/{name}" for part in ("train", "val", "test") for name in ("cat", "dog")]
    source = write_tree(tmp_path / "pets", image_folder_files(tuple(names), per_class=2))
    assert run_pack(source, "--split", "official") == cli.OK
    text = capsys.readouterr().out
    assert "split       official, seed 0: 8 train, 4 test\n" in text
    assert "the source's test is the test part\n" in text
    assert "the source's val is the train part\n" in text


def test_long_lists_are_cut_short_and_say_where_the_rest_is(
    tmp_path: Path, capsys: Capture
) -> None:
    files = image_folder_files(per_class=10)
    for number in range(7):
        files[f"cat/twin{number}.png"] = files[f"dog/{number}.png"]
        files[f"cat/text{number}.png"] = b"text"
    source = write_tree(tmp_path / "pets", files)
    assert run_pack(source, "--allow-rejected", "1") == cli.OK
    text = capsys.readouterr().out
    assert text.count("rejected: cat/text") == 5
    assert f"all 7 are in {tmp_path / 'store' / 'rejected.csv'}" in text
    assert f"all of them: tinysight data show {tmp_path / 'store'}" in text
    with open(tmp_path / "store" / "rejected.csv", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 7


def test_progress_goes_to_stderr(tmp_path: Path, capsys: Capture) -> None:
    assert run_pack(make_tiny_imagenet(tmp_path), "--size", "8", "--json") == cli.OK
    captured = capsys.readouterr()
    assert "pack: 36 of 36 images" in captured.err
    json.loads(captured.out)


def without(files: Files, *starts: str) -> Files:
    return {name: content for name, content in files.items() if not name.startswith(starts)}


def not_a_zip(folder: Path) -> Path:
    (folder / "a.zip").write_bytes(b"<html>404</html>")
    return folder / "a.zip"


def truncated_zip(folder: Path) -> Path:
    path = write_zip(folder / "a.zip", tiny_imagenet_files())
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def traversing_zip(folder: Path) -> Path:
    return write_zip(folder / "a.zip", tiny_imagenet_files() | {"../../evil.png": b"x"})


def no_class_list(folder: Path) -> Path:
    return write_tree(folder / "a", without(tiny_imagenet_files(), "wnids.txt"))


def no_class_folder(folder: Path) -> Path:
    return write_tree(folder / "a", without(tiny_imagenet_files(), "train/n03"))


def no_images(folder: Path) -> Path:
    return write_tree(folder / "a", {"cat/readme.txt": b"x", "dog/readme.txt": b"x"})


def one_class(folder: Path) -> Path:
    return write_tree(folder / "a", image_folder_files(("cat",)))


def too_few_images(folder: Path) -> Path:
    return write_tree(folder / "a", image_folder_files(per_class=1))


def all_unreadable(folder: Path) -> Path:
    return write_tree(folder / "a", dict.fromkeys(image_folder_files(), b"x"))


def nowhere(folder: Path) -> Path:
    return folder / "a"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (not_a_zip, "a.zip: must be a whole zip archive, it begins with b'<htm' instead of "),
        (truncated_zip, "a.zip: must be a whole zip archive, its directory at the end is missing"),
        (traversing_zip, "names in an archive must stay inside it, found '../../evil.png'"),
        (no_class_list, "a: wnids.txt must be there and readable, it is missing. Get the whole"),
        (no_class_folder, "gives val_0.JPEG the class n03, so train/n03/images must hold images"),
        (no_images, "a: must hold images in one folder a class (.bmp, "),
        (one_class, "a: a classifier needs at least 2 classes, found only 'cat'. Put the images"),
        (too_few_images, "class 'cat': must have enough images for both parts of the split"),
        (all_unreadable, "a: at most 1.00% of the images may be rejected, 20 of 20 were: 20 not a"),
        (nowhere, "a: must be a folder or an archive that can be read, No such file or directory"),
    ],
)
def test_bad_input_gives_one_message_exit_1_and_nothing_written(
    tmp_path: Path, capsys: Capture, build: Callable[[Path], Path], message: str
) -> None:
    source = build(tmp_path)
    before = names_in(tmp_path)
    assert run_pack(source) == cli.FAULT
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("tinysight: ")
    assert message in error
    assert names_in(tmp_path) == before


def test_a_bomb_in_a_zip_is_rejected_by_name_and_not_inflated(
    tmp_path: Path, capsys: Capture
) -> None:
    path = write_zip(tmp_path / "a.zip", image_folder_files())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("cat/bomb.png", "w") as member:
            for _ in range(80):
                member.write(bytes(2**20))
    assert run_pack(path, "--allow-rejected", "0.1") == cli.OK
    assert "rejected: cat/bomb.png: not readable in its source (larger than 64 MiB)" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--classes", "0"], "--classes: must be a whole number from 1 up, got '0'"),
        (["--classes", "abc"], "--classes: must be a whole number from 1 up, got 'abc'"),
        (["--size", "1e3"], "--size: must be a whole number from 1 up, got '1e3'"),
        (["--workers", "-1"], "--workers: must be a whole number from 1 up, got '-1'"),
        (["--allow-rejected", "ten"], "--allow-rejected: must be a number from 0 to 1, got 'ten'."),
        (["--allow-rejected", "2"], "--allow-rejected: must be a number from 0 to 1, got '2'."),
        (["--wrong-size", "stretch"], "--wrong-size: invalid choice: 'stretch'"),
        (["--no"], "unrecognized arguments: --no"),
    ],
)
def test_wrong_words_are_a_usage_fault(
    tmp_path: Path, capsys: Capture, option: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        run_pack(tmp_path, *option)
    assert exit_info.value.code == cli.USAGE
    assert message in capsys.readouterr().err


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """Ctrl-C as Python handles it, also where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interrupts")
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_leaves_nothing_and_says_so(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, stop: signal.Signals
) -> None:
    source = make_tiny_imagenet(tmp_path)
    monkeypatch.setattr(pack, "decode_into_rows", lambda *_, **__: signal.raise_signal(stop))
    before = signal.getsignal(signal.SIGTERM)
    assert run_pack(source) == cli.STOPPED
    assert f"tinysight: stopped; {tmp_path / 'store'} was not written" in capsys.readouterr().err
    assert names_in(tmp_path) == [source.name]
    assert signal.getsignal(signal.SIGTERM) is before


FULL_DISK = """
import resource, sys
from tinysight import cli
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # the system refuses larger files
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of files")
def test_files_that_cannot_grow_give_one_message_and_leave_nothing(tmp_path: Path) -> None:
    source = make_tiny_imagenet(tmp_path)
    words = ["data", "pack", str(source), "--out", str(tmp_path / "store"), "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == cli.FAULT
    assert done.stderr == (
        f"tinysight: {tmp_path / 'store'}: the store must be written whole, File too large. "
        f"Free some space or choose another --out.\n"
    )
    assert names_in(tmp_path) == [source.name]


def test_real_images_are_packed_with_two_workers(
    tmp_path: Path, capsys: Capture, real_shards: Path
) -> None:
    files = real_tiny_imagenet_files(real_shards, classes=10, per_class=50)
    source = write_zip(tmp_path / "tiny-imagenet-200.zip", files)
    assert run_pack(source, "--json", workers=2) == cli.OK
    result = json.loads(capsys.readouterr().out)
    assert (result["images"], result["train"], result["test"]) == (1000, 700, 300)
    assert (result["classes"], result["rejected"], result["read"]) == (10, 0, 1000)
    modes = [
        Image.open(io.BytesIO(content)).mode
        for name, content in files.items()
        if name.endswith(".JPEG")
    ]
    assert result["repairs"] == {"grey": modes.count("L")}
