import json
import shlex
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from PIL import Image

from tinysight.classify.picture_predictions import predict_images
from tinysight.cli import main, predict
from tinysight.numerals import percent
from tinysight.report import pictures

QUICK = ("--recipe", "smoke", "--set", "train.epochs=2", "--set", "train.batch_size=8")


@pytest.fixture(scope="module")
def finished(packed_shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["train", str(packed_shapes), "--out", str(run), *QUICK]) == 0
    return run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.effect_noise((120, 80), 60).save(path)
    return path


def test_predict_prints_the_likeliest_classes_of_each_picture(
    finished: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(finished), str(photo), str(photo), "--top", "2"]) == 0
    printed = capsys.readouterr()
    first, second = printed.out.rstrip().split("\n\n")
    assert first == second
    heading, *lines = first.split("\n")
    assert heading == f"{photo}: 120x80 px (grey, resized, cropped to its centre)"
    (prediction,) = predict_images(finished, [photo], top_k=2).predictions
    assert [line.split("%")[0].strip() for line in lines] == [
        percent(prob).removesuffix(" %") for prob in prediction.probs
    ]
    assert printed.err == ""


def test_predict_prints_one_json_object_and_names_what_failed(
    finished: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a picture")
    words = ["predict", str(finished), str(text), str(photo), str(tmp_path / "absent"), "--json"]
    assert main(words) == 1
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert printed.out.count("\n") == 1
    (image,) = result["images"]
    assert image["file"] == str(photo)
    assert [set(entry) for entry in image["top"]] == [{"index", "wnid", "name", "probability"}] * 3
    assert sum(entry["probability"] for entry in image["top"]) == pytest.approx(1)
    assert [entry["reason"] for entry in result["unusable"]] == ["not an image", "not readable"]
    assert result["sheet"] is None
    formats = "Give a file in one of the formats BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP."
    must = "must be a picture that can be read, found:"
    assert printed.err.splitlines() == [
        f"tinysight: {text}: {must} not an image (begins with b'not '). {formats}",
        f"tinysight: {tmp_path / 'absent'}: {must} not readable (No such file or directory). "
        f"{formats}",
    ]


@pytest.mark.parametrize(
    ("size", "found"),
    [
        (
            (8000, 4200),
            "too many pixels (8000x4200 px, more than 33,554,432; save it smaller).",
        ),
        (
            (20000, 1),
            "too large when resized (20000x1 px would become 1280000x64 px, more than "
            "33,554,432; cut out a part that is less long).",
        ),
    ],
)
def test_what_mends_a_picture_that_is_too_large_is_said(
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    size: tuple[int, int],
    found: str,
) -> None:
    path = tmp_path / "large.png"
    Image.new("1", size).save(path)
    assert main(["predict", str(finished), str(path)]) == 1
    assert capsys.readouterr().err == (
        f"tinysight: {path}: must be a picture that can be read, found: {found}\n"
    )


def test_names_of_pictures_are_shown_on_one_line_and_faults_before_results(
    finished: Path, photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    named = photo.rename(tmp_path / "a\x1b[2J\nb.png")
    with redirect_stderr(sys.stdout):
        assert main(["predict", str(finished), str(named), str(tmp_path / "c\x1b[2J\nd")]) == 1
    fault, heading, *_ = capfd.readouterr().out.split("\n")
    assert fault.startswith(f"tinysight: {tmp_path}/c [2J d: must be a picture that can be read")
    assert heading.startswith(f"{tmp_path}/a [2J b.png: 120x80 px")


def test_a_reader_that_closes_early_does_not_hide_what_could_not_be_used(
    finished: Path, photo: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "tinysight", "predict", finished, photo, tmp_path / "absent"]
    shell = f"{shlex.join(map(str, words))} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n"
    assert "absent: must be a picture that can be read" in done.stderr
    assert done.stderr.count("\n") == 1


def test_predict_draws_what_the_network_saw(
    finished: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    assert main(["predict", str(finished), str(photo), str(photo), "--out", str(sheet)]) == 0
    assert f"{sheet} shows where the network looked" in capsys.readouterr().out
    with Image.open(sheet) as image:
        assert image.format == "PNG"
        assert min(image.size) >= 64


def test_a_long_sheet_is_cut_and_says_so(
    finished: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []
    monkeypatch.setattr(predict, "_MOST_DRAWN", 2)
    monkeypatch.setattr(
        pictures,
        "contact_sheet",
        lambda images, captions, **words: (
            titles.append((len(images), words["title"])) or photo_of()
        ),
    )
    sheet = str(tmp_path / "sheet.png")
    assert main(["predict", str(finished), *[str(photo)] * 3, "--out", sheet]) == 0
    assert titles == [(4, "finished: what speaks for the first guess, first 2 pictures")]


def photo_of() -> Image.Image:
    return Image.new("RGB", (8, 8))


def test_no_sheet_is_drawn_when_nothing_could_be_read(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    assert main(["predict", str(finished), str(tmp_path / "absent"), "--out", str(sheet)]) == 1
    out, err = capsys.readouterr()
    assert (out, "absent: must be a picture that can be read" in err) == ("", True)
    assert not sheet.exists()


def test_a_sheet_that_cannot_be_written_is_named_before_any_work(
    finished: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(finished), str(photo), "--out", str(tmp_path / "sheet.jpg")]) == 1
    assert "--out must be a file that ends with .png" in capsys.readouterr().err
    assert main(["predict", str(finished), str(photo), "--out", "/no/such/folder/sheet.png"]) == 1
    assert "--out must be in a folder that exists" in capsys.readouterr().err


def test_a_sheet_is_not_written_over_a_picture(
    finished: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = photo.read_bytes()
    out = photo.parent / ".." / photo.parent.name / photo.name
    assert main(["predict", str(finished), str(photo), "--out", str(out)]) == 1
    assert (
        f"{out}: --out must not write over the pictures, which would be lost. Choose another --out."
    ) in capsys.readouterr().err
    assert photo.read_bytes() == before


def test_a_sheet_is_not_written_over_a_file_of_the_run(
    finished: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to(finished)
    out = tmp_path / "link" / "curves.png"
    before = out.read_bytes()
    assert main(["predict", str(finished), str(photo), "--out", str(out)]) == 1
    assert (
        f"{out}: --out must not write over the files of the run itself, which would be lost. "
        f"Choose another --out."
    ) in capsys.readouterr().err
    assert out.read_bytes() == before


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_top_is_a_whole_number(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "run", "x.png", "--top", count])
    assert "must be a whole number from 1 up" in capsys.readouterr().err
