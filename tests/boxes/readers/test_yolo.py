from __future__ import annotations

import errno
import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tinysight.boxes.findings import Reading
from tinysight.boxes.readers.yolo_names import read_class_names, yaml_files
from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError


def tree(root: Path, labels: dict[str, str], names: str = "names: [dog, cat]\n") -> Path:
    """A YOLO tree with an image of 200 x 100 pixels for each label file and one without."""
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True)
    (root / "data.yaml").write_text("train: images/train\n" + names)
    for name, text in labels.items():
        (root / "labels/train" / f"{name}.txt").write_text(text)
        Image.new("L", (200, 100)).save(root / "images/train" / f"{name}.png")
    Image.new("L", (50, 60)).save(root / "images/train/background.png")
    return root


def kinds(reading: Reading) -> dict[str, int]:
    return {count.kind: count.count for count in reading.findings.by_kind()}


@pytest.mark.parametrize(("name", "folder"), [("_darknet.labels", "."), ("classes.txt", "labels")])
def test_names_may_be_listed_beside_the_labels_of_each_part(
    name: str, folder: str, tmp_path: Path
) -> None:
    lists = {"train": "cat\ndog\n", "valid": "dog\ncat\n"}
    for part, listed in lists.items():
        own = tmp_path / part / folder
        own.mkdir(parents=True)
        (own / name).write_text(listed)
        (own / f"{part}.txt").write_text("1 0.5 0.5 0.2 0.4\n")
    reading = read_boxes(tmp_path, image_size_wh=(10, 10))
    names = [reading.table.class_names[row] for row in reading.table.class_index]
    assert (names, len(reading.findings)) == (["dog", "cat"], 0)
    (tmp_path / "data.yaml").write_text("names: [ant, bee]\n")
    assert read_boxes(tmp_path, image_size_wh=(10, 10)).table.class_names == ("ant", "bee")


def test_second_image_of_a_label_file_is_left_out_with_a_finding(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n"})
    Image.new("L", (300, 300)).save(root / "images/train/a.webp")
    reading = read_boxes(root)
    assert reading.table.image_names == ("a.png", "background.png")
    assert reading.table.xywh_px == pytest.approx(np.array([[80, 30, 40, 40]]))
    (finding,) = reading.findings
    assert (finding.kind, finding.action) == ("repeated_image_name", "rejected")
    assert str(finding) == (
        f"{root / 'images/train/a.webp'}: an image must have a name of its own without its suffix, "
        f"as its label file has it, but a.png has the same. Left out; rename one of them, with its "
        f"label file."
    )


def test_boxes_outside_the_folders_of_labels_are_left_out_with_a_finding(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n"})
    other_texts = {
        "train.txt": "images/train/a.png\n",
        "classes.txt": "1 2 3 4 5\n",
        "log.txt": "epoch 1 0.5 0.5 0.2 0.4\n",
        "images/train/empty.txt": "",
    }
    for name, text in other_texts.items():
        (root / name).write_text(text)
    (root / "extra").mkdir()
    box = "1 0.5 0.5 0.3 0.3\n"
    stray = {"extra/b.txt": box * 2, "extra/c.txt": "damaged\n" + box, "images/train/a.txt": box}
    for name, text in stray.items():
        (root / name).write_text(text)
    reading = read_boxes(root)
    assert (reading.boxes_read, reading.accepted, reading.rejected) == (1, 1, 0)
    assert sorted(str(finding) for finding in reading.findings) == [
        f"{root / name}: label files must be in a folder called labels where a tree has one, but "
        f"this file of boxes is in none. Left out; name it or its folder as well to read it."
        for name in sorted(stray)
    ]
    assert {(finding.kind, finding.action) for finding in reading.findings} == {
        ("label_file_elsewhere", "rejected")
    }
    both = read_boxes([root, root / "extra"], image_size_wh=(10, 10))
    assert (both.boxes_read, both.accepted) == (5, 4)
    assert kinds(both)["label_file_elsewhere"] == 1


@pytest.mark.parametrize("name", ["notes", "readme"])
def test_text_of_boxes_called_as_a_remark_is_a_label_file(name: str, tmp_path: Path) -> None:
    for stem in (name, "a"):
        (tmp_path / f"{stem}.txt").write_text("0 0.5 0.5 0.2 0.4\n")
        Image.new("L", (200, 100)).save(tmp_path / f"{stem}.png")
    (tmp_path / "README.roboflow.txt").write_text("5 images were exported.\n")
    (tmp_path / "classes.txt").write_text("dog\n")
    Image.new("L", (200, 100)).save(tmp_path / "README.roboflow.png")
    reading = read_boxes(tmp_path)
    assert sorted(reading.table.image_names) == ["README.roboflow.png", "a.png", f"{name}.png"]
    assert (reading.accepted, len(reading.findings)) == (2, 0)


def test_label_file_called_notes_is_found_in_a_tree(tmp_path: Path) -> None:
    reading = read_boxes(tree(tmp_path, {"notes": "0 0.5 0.5 0.2 0.4\n"}))
    assert (reading.accepted, reading.table.image_names) == (1, ("notes.png", "background.png"))


def test_tree_is_read_with_sizes_from_its_images(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n1 0.1 0.2 0.1 0.2\n", "b": ""})
    reading = read_boxes(root)
    table = reading.table
    assert (reading.format, str(reading.box_order)) == ("yolo", "cxcywh:rel")
    assert table.xywh_px == pytest.approx(np.array([[80, 30, 40, 40], [10, 10, 20, 20]]))
    assert table.image_names == ("a.png", "b.png", "background.png")
    assert table.image_wh_px.tolist() == [[200, 100], [200, 100], [50, 60]]
    assert table.class_names == ("dog", "cat")
    assert len(reading.findings) == 0


def test_single_label_file_needs_a_size(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("0 0.5 0.5 0.2 0.4\n")
    text = "need the sizes of their images, and of 1 image none is known. Pass --images DIR or"
    with pytest.raises(DataError, match=text):
        read_boxes(path)
    table = read_boxes(path, image_size_wh=(200, 100)).table
    assert table.xywh_px == pytest.approx(np.array([[80, 30, 40, 40]]))
    assert table.image_names == ("a",), "no image was seen, so none is named"
    images = tmp_path / "elsewhere"
    images.mkdir()
    Image.new("L", (400, 100)).save(images / "a.png")
    table = read_boxes(path, images_dir=images).table
    assert table.image_wh_px.tolist() == [[400, 100]]
    assert table.image_names == ("a.png",)


def test_bad_lines_are_named_and_good_ones_kept(tmp_path: Path) -> None:
    text = (
        "0 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2\n\ndog 0.5 0.5 0.2 0.4\n5 0.5 0.5 0.2 0.4\n0 0.5 x 1 1\n"
    )
    reading = read_boxes(tree(tmp_path, {"a": text}))
    assert (reading.boxes_read, reading.accepted, reading.rejected) == (5, 1, 4)
    found = {finding.record: finding.message for finding in reading.findings}
    assert found == {
        "line 2": "a box must have four numbers, got [0.5, 0.5, 0.2]. Left out.",
        "line 4": "a line must begin with a class number from 0 up, got dog. Left out.",
        "line 5": "the class number must be one of `names`, got 5. Left out.",
        "line 6": "a box must have four numbers, got [0.5, 'x', 1.0, 1.0]. Left out.",
    }


def test_empty_label_file_among_others_is_an_image_without_objects(tmp_path: Path) -> None:
    texts = {"a.txt": "", "b.txt": "0 0.5 0.5 0.2 0.4\n", "c.txt": "\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    reading = read_boxes([tmp_path / name for name in texts], image_size_wh=(200, 100))
    assert (reading.format, reading.images, reading.accepted) == ("yolo", 3, 1)
    assert len(reading.findings) == 0
    text = (
        "a.txt: must hold box annotations, but it is empty. If it is the YOLO label file of an "
        "image without objects, name its folder or pass --format yolo."
    )
    with pytest.raises(DataError, match=re.escape(text)):
        read_boxes([tmp_path / "a.txt", tmp_path / "c.txt"])
    (tmp_path / "a.json").write_text("")
    with pytest.raises(DataError, match=r"a\.json: must hold box annotations, but it is empty\.$"):
        read_boxes([tmp_path / "a.json", tmp_path / "b.txt"])


def test_image_of_a_gzipped_label_file_is_found(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.new("L", (200, 100)).save(images / "l.jpg")
    path = tmp_path / "l.txt.gz"
    path.write_bytes(gzip.compress(b"0 0.5 0.5 0.2 0.4\n"))
    table = read_boxes(path, images_dir=images).table
    assert (table.image_names, table.image_wh_px.tolist()) == (("l.jpg",), [[200, 100]])
    assert read_boxes(path, image_size_wh=(9, 9)).table.image_names == ("l",)


def test_outline_gives_the_box_around_it(tmp_path: Path) -> None:
    reading = read_boxes(tree(tmp_path, {"a": "1 0.1 0.2 0.5 0.4 0.3 0.8\n"}))
    assert reading.table.xywh_px == pytest.approx(np.array([[20, 20, 80, 60]]))
    assert len(reading.findings) == 0


KEYPOINTS = {
    "kpt_shape: [2, 2]": "0.45 0.4 0.55 0.6",
    "kpt_shape:\n  - 2\n  - 3": "0.45 0.4 2 0 0 0",
    "kpt_shape: [3, 3]  # x, y, visible": "0.45 0.4 2 0.55 0.6 1 0 0 0",
}


@pytest.mark.parametrize("confidence", ["", " 0.9"])
@pytest.mark.parametrize("shape", KEYPOINTS)
def test_keypoints_after_a_box_are_left_aside(shape: str, confidence: str, tmp_path: Path) -> None:
    line = f"1 0.5 0.5 0.2 0.4 {KEYPOINTS[shape]}{confidence}\n"
    polygon = "0 0.1 0.2 0.5 0.4 0.3 0.8\n"
    names = f"{shape}\nnames: [dog, cat]\n"
    reading = read_boxes(tree(tmp_path, {"a": line, "b": polygon}, names))
    assert reading.table.xywh_px == pytest.approx(np.array([[80, 30, 40, 40], [20, 20, 80, 60]]))
    assert len(reading.findings) == 0


@pytest.mark.parametrize("shape", KEYPOINTS)
def test_keypoints_that_nothing_speaks_of_are_doubted(shape: str, tmp_path: Path) -> None:
    line = f"1 0.5 0.5 0.2 0.4 {KEYPOINTS[shape]}\n"
    is_outline = len(line.split()) % 2 == 1
    reading = read_boxes(tree(tmp_path, {"a": line * 2, "b": line}))
    found = [finding.message for finding in reading.findings if finding.kind == "outlines_doubtful"]
    numbers = re.findall(r"\d", shape)[:2]
    done = "read as" if is_outline else "rejected as neither boxes nor"
    expected = (
        f"lines of {len(line.split())} numbers are {done} outlines, but in all 3 of them the "
        f"points after the first two lie in the box of centre and size that the first four numbers "
        f"would be. If they are keypoints, state kpt_shape: [{', '.join(numbers)}] in the yaml of "
        f"their folder."
    )
    assert found == [expected]
    assert reading.rejected == (0 if is_outline else 3)


@pytest.mark.parametrize(
    "lines",
    [
        ["1 0.1 0.2 0.5 0.4 0.3 0.8"] * 3,
        ["1 0.5 0.5 0.2 0.4 0.45 0.4 0.55 0.6"] * 2,
        ["1 0.5 0.5 0.2 0.4 0.45 0.4 0.55 0.6"] * 2 + ["1 0.5 0.5 0.2 0.4 0.45 0.4"],
    ],
    ids=["points elsewhere", "too few", "of several lengths"],
)
def test_outlines_are_not_doubted(lines: list[str], tmp_path: Path) -> None:
    reading = read_boxes(tree(tmp_path, {"a": "\n".join(lines)}))
    assert "outlines_doubtful" not in kinds(reading)


def test_confidence_after_a_box_is_left_aside(tmp_path: Path) -> None:
    reading = read_boxes(tree(tmp_path, {"a": "1 0.5 0.5 0.2 0.4 0.93\n"}))
    assert reading.table.xywh_px == pytest.approx(np.array([[80, 30, 40, 40]]))


@pytest.mark.parametrize(
    "names",
    [
        "names: [dog, cat]\n",
        "names: ['dog', \"cat\"]  # two\n",
        "names:\n- dog\n- cat\nnc: 2\n",
        "names:\n  0: dog\n  1: 'cat'\n",
        "names: {0: dog, 1: cat}\n",
        "names: [\n  dog,\n  cat,\n]\n",
    ],
)
def test_names_are_read_however_yaml_writes_them(names: str, tmp_path: Path) -> None:
    assert read_boxes(tree(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n"}, names)).table.class_names == (
        "dog",
        "cat",
    )


@pytest.mark.parametrize(
    "names",
    [
        "names: [ 'a [old]', b, c, d ]",
        'names: {0: "a", 1: "b}", 2: c, 3: d}  # four',
        "names: ['it''s', \"a, b]c\", 'F #1', שלום]  # my names",
        "names: [F#1, a:b, http://x, 'd: e', \"\", '', long  name]",
        "names: [a,  # the first, [\n  # none\n  'b', c d\n]\nnc: 3",
        "names:  # below\n  [a, b]",
        "names: {'0': a, \"1\" : b,}",
        "names:\n  - 'it''s'\n  - \"q \\\"x\\\"\"\n  - 'F #1'\n  - plain # c\n",
        'names:\n- a]\n# none\n- b, c {d}\n\n- "\\x41\\u05d0\\U0001F600\\t\\\\"\nnc: 3',
        "names:\n  0: 'it''s'\n  2: \"d: e\"\n  1: 'F #1' # c\n  3: c:d\ntrain: x",
        "\ufeffnames: [a]",
    ],
)
def test_quotes_and_signs_in_names_are_read_as_yaml_reads_them(names: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(names, encoding="utf-8")
    expected = yaml.safe_load(names)["names"]
    as_dict = dict(enumerate(expected)) if isinstance(expected, list) else expected
    assert read_class_names(tmp_path, yaml_files(tmp_path)) == {
        int(number): name for number, name in as_dict.items()
    }


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("names: ['a' 'b']", "'a' 'b']"),
        ("names: [a, [b]]", "[b]]"),
        ("names: {a, b}", "a, b}"),
        ('names: ["a\\q"]', '"a\\q"]'),
        ("names:\n- a\n- [b]\n", "- [b]"),
        ("names:\n- a\n  and more\n", "and more"),
        ("names:\n- a\n- b: c\n", "- b: c"),
        ("names:\n  dog: 0\n", "dog: 0"),
        ("names:\nnc: 3\n", "nothing"),
        ("names: dog\n", "dog"),
    ],
)
def test_name_that_cannot_be_read_is_refused(names: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(names, encoding="utf-8")
    text = (
        f"data.yaml: `names` must be a list, or a mapping from class numbers, of names; got "
        f"{found!r}. Write it as names: [first, second]."
    )
    with pytest.raises(DataError, match=re.escape(text)):
        read_class_names(tmp_path, yaml_files(tmp_path))


def test_list_of_names_that_does_not_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [a, 'b]'\n")
    text = "data.yaml: `names` must be a whole list, but its ] is missing. Mend the file."
    with pytest.raises(DataError, match=re.escape(text)):
        read_class_names(tmp_path, yaml_files(tmp_path))


def test_the_yaml_that_is_named_is_the_one_that_is_read(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n"})
    (root / "coco.yaml").write_text("names: [old, older]\nkpt_shape: [1, 2]\n")
    (root / "hyp.yaml").write_text("lr0: 0.01\n")
    assert read_boxes(root / "data.yaml").table.class_names == ("dog", "cat")
    assert read_boxes(root / "coco.yaml").table.class_names == ("old", "older")
    assert read_boxes(root / "hyp.yaml").table.class_names == ("0",)
    text = (
        f"{root}: must have one yaml file with class names, but `names` of coco.yaml and data.yaml "
        f"differ. Name the one that counts as well: {root / 'data.yaml'}."
    )
    with pytest.raises(DataError, match=re.escape(text)):
        read_boxes(root)
    (root / "coco.yaml").write_text("names: {0: dog, 1: cat}\n")
    assert read_boxes(root).table.class_names == ("dog", "cat")


def test_each_tree_has_its_own_names(tmp_path: Path) -> None:
    line = "0.5 0.5 0.2 0.4\n"
    first = tree(tmp_path / "A", {"a": f"0 {line}1 {line}"})
    second = tree(tmp_path / "B", {"a": f"0 {line}1 {line}2 {line}"}, "names: [car, dog]\n")
    third = tree(tmp_path / "C", {"c": f"7 {line}"}, "")
    reading = read_boxes([first, second, third])
    table = reading.table
    assert table.class_names == ("dog", "cat", "car", "7")
    assert [table.class_names[row] for row in table.class_index] == [
        *("dog", "cat"),
        *("car", "dog"),
        "7",
    ]
    assert table.num_images == 6, "images of different trees stay apart"
    assert [finding.message for finding in reading.findings] == [
        "the class number must be one of `names`, got 2. Left out."
    ]


def test_two_numbers_of_one_name_stay_two_classes(tmp_path: Path) -> None:
    line = "0.5 0.5 0.2 0.4\n"
    names = "names: [dog, dog]\n"
    first = tree(tmp_path / "A", {"a": f"0 {line}1 {line}"}, names)
    second = tree(tmp_path / "B", {"b": f"1 {line}"}, names + "nc: 2\n")
    assert read_boxes([first, second]).table.class_index.tolist() == [0, 1, 1]


def test_names_that_are_not_understood_are_refused(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n"}, "names: *anchor\n")
    text = "data.yaml: `names` must be a list, or a mapping from class numbers, of names; got"
    with pytest.raises(DataError, match=re.escape(text)):
        read_boxes(root)


def test_classes_without_names_are_numbers(tmp_path: Path) -> None:
    reading = read_boxes(tree(tmp_path, {"a": "3 0.5 0.5 0.2 0.4\n"}, ""))
    assert (reading.table.class_names, reading.table.category_ids) == (("3",), (3,))


def test_label_file_that_is_a_broken_link_is_a_finding(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": "0 0.5 0.5 0.2 0.4\n"})
    (root / "labels/train/z.txt").symlink_to(tmp_path / "nowhere")
    reading = read_boxes(root)
    assert (reading.accepted, kinds(reading)) == (1, {"unreadable_file": 1})


def test_folder_behind_a_link_is_read_and_a_broken_one_is_a_finding(tmp_path: Path) -> None:
    root = tree(tmp_path / "data", {"a": "0 0.5 0.5 0.2 0.4\n"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.txt").write_text("0 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4\n")
    (elsewhere / "back").symlink_to(root)  # a loop
    (root / "labels/val").symlink_to(elsewhere)
    (root / "labels/gone").symlink_to(tmp_path / "nothing")
    (root / "images/val").mkdir()
    Image.new("L", (200, 100)).save(root / "images/val/b.png")
    reading = read_boxes(root)
    assert (reading.boxes_read, reading.images) == (3, 3)
    (finding,) = reading.findings
    assert (finding.kind, finding.action) == ("unreadable_folder", "rejected")
    assert str(finding) == (
        f"{root / 'labels/gone'}: the link must lead to a folder, but No such file or directory. "
        f"What is in it is left out; mend it."
    )


def test_two_trees_may_link_to_one_folder_of_images(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    for name in "ab":
        Image.new("L", (200, 100)).save(pool / f"{name}.png")
        part = tmp_path / "data" / name
        (part / "labels").mkdir(parents=True)
        (part / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.4\n")
        (part / "images").symlink_to(pool)
    reading = read_boxes(tmp_path / "data")
    assert (reading.accepted, reading.images, kinds(reading)) == (2, 2, {})
    assert reading.table.image_wh_px.tolist() == [[200, 100], [200, 100]]


def test_boxes_in_pixels_are_recognised_and_told(tmp_path: Path) -> None:
    lines = "".join(f"0 {100 + i} {50 + i} {150 - 2 * i} {60 - 2 * i}\n" for i in range(20))
    reading = read_boxes(tree(tmp_path, {"a": lines}))
    assert (str(reading.box_order), kinds(reading)) == ("cxcywh", {"box_order": 1})
    assert reading.table.xywh_px[0].tolist() == [25, 20, 150, 60]


@pytest.mark.parametrize("num_points", [3, 4, 5, 6])
def test_confidence_after_an_outline_is_left_aside(num_points: int, tmp_path: Path) -> None:
    outline = " ".join(["0.1 0.2", "0.4 0.2", "0.3 0.6", *["0.2 0.3"] * (num_points - 3)])
    line = f"1 {outline} 0.87\n"
    reading = read_boxes(tree(tmp_path, {"a": line * 2, "b": line}))
    assert reading.table.xywh_px == pytest.approx(np.array([[20, 20, 60, 40]] * 3))
    assert len(reading.findings) == 0


PARTS = ("labels/train", "labels", "labels/train/a.txt")


def check_part(reading: Reading, part: str) -> None:
    """Class 1 is the cat; a.png is the image of the box, and background.png is beside it."""
    assert reading.table.class_names == ("dog", "cat")
    assert len(reading.findings) == 0
    names = ("a.png",) if part.endswith(".txt") else ("a.png", "background.png")
    assert reading.table.image_names == names
    np.testing.assert_array_equal(reading.table.xywh_px, [[80, 30, 40, 40]])


@pytest.mark.parametrize("part", PARTS)
def test_part_of_a_tree_has_the_names_and_images_of_the_tree(part: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "set", {"a": "1 0.5 0.5 0.2 0.4\n"})
    check_part(read_boxes(root / part), part)


@pytest.mark.parametrize(
    ("place", "part"), [("labels/train", "."), ("labels", "train"), ("labels/train", "a.txt")]
)
def test_part_of_a_tree_may_be_named_from_inside(
    place: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path / "set", {"a": "1 0.5 0.5 0.2 0.4\n"})
    monkeypatch.chdir(root / place)
    check_part(read_boxes(part), part)


def test_part_of_a_tree_may_be_named_by_a_link(tmp_path: Path) -> None:
    root = tree(tmp_path / "set", {"a": "1 0.5 0.5 0.2 0.4\n"})
    (tmp_path / "mine").symlink_to(root / "labels/train")
    check_part(read_boxes(tmp_path / "mine"), "mine")
    check_part(read_boxes(tmp_path / "mine/a.txt"), "a.txt")


@pytest.mark.parametrize("part", PARTS)
def test_labels_of_a_tree_may_be_a_link(part: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "set", {"a": "1 0.5 0.5 0.2 0.4\n"})
    (root / "labels").rename(tmp_path / "annotations")
    (root / "labels").symlink_to(tmp_path / "annotations")
    check_part(read_boxes(root / part), part)


@pytest.mark.parametrize("part", ["train", "train/labels", "train/labels/a.txt"])
def test_names_above_a_part_of_a_tree_are_found(part: str, tmp_path: Path) -> None:
    """As Roboflow lays it out: train/images, train/labels, and data.yaml above both."""
    for folder in ("images", "labels"):
        (tmp_path / "train" / folder).mkdir(parents=True)
    (tmp_path / "train/labels/a.txt").write_text("1 0.5 0.5 0.2 0.4\n")
    Image.new("L", (200, 100)).save(tmp_path / "train/images/a.png")
    (tmp_path / "data.yaml").write_text("names: [dog, cat]\n")
    (tmp_path / "other.yaml").write_text("names: what?\n")  # not for us
    reading = read_boxes(tmp_path / part)
    assert reading.table.class_names == ("dog", "cat")
    np.testing.assert_array_equal(reading.table.image_wh_px, [[200, 100]])


@pytest.mark.parametrize("part", PARTS)
def test_names_beside_the_labels_come_before_those_of_the_tree(part: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "set", {"a": "1 0.5 0.5 0.2 0.4\n"})
    (root / "labels/train/classes.txt").write_text("ant\nbee\n")
    assert read_boxes(root / part).table.class_names == ("ant", "bee")


def test_keypoints_of_the_tree_count_where_names_are_beside_the_labels(tmp_path: Path) -> None:
    root = tree(tmp_path / "set", {"a": "1 0.5 0.5 0.2 0.4 0.1 0.1\n"})
    (root / "data.yaml").write_text("names: [dog, cat]\nkpt_shape: [1, 2]\n")
    (root / "labels/train/classes.txt").write_text("ant\nbee\n")
    for part in (".", *PARTS):
        np.testing.assert_array_equal(read_boxes(root / part).table.xywh_px, [[80, 30, 40, 40]])


@pytest.mark.parametrize("place", ["mine", "labels/mine", "train"])
def test_whole_tree_asks_nothing_above_it_that_is_not_its_own(place: str, tmp_path: Path) -> None:
    """Only the folder of a part, such as train, has its names above it."""
    root = tree(tmp_path / place, {"a": "1 0.5 0.5 0.2 0.4\n"}, names="")
    for above in root.parents[: len(Path(place).parts)]:
        (above / "data.yaml").write_text("names: [wrong, other]\n")
    (tmp_path / "images/mine").mkdir(parents=True)
    Image.new("L", (9, 9)).save(tmp_path / "images/mine/stranger.png")
    table = read_boxes(root).table
    assert table.class_names == (("wrong", "other") if place == "train" else ("1",))
    assert table.image_names == ("a.png", "background.png")


@pytest.mark.parametrize("part", PARTS)
def test_of_two_yaml_files_of_a_tree_the_named_one_counts_for_a_part(
    part: str, tmp_path: Path
) -> None:
    root = tree(tmp_path / "set", {"a": "1 0.5 0.5 0.2 0.4\n"})
    (root / "old.yaml").write_text("names: [old, older]\n")
    text = (
        f"{root}: must have one yaml file with class names, but `names` of data.yaml and old.yaml "
        f"differ. Name the one that counts as well: {root / 'old.yaml'}."
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        read_boxes(root / part)
    reading = read_boxes([root / part, root / "old.yaml"])
    assert reading.table.class_names == ("old", "older")
    assert len(reading.table.xywh_px) == 1
    check_part(read_boxes([root / "data.yaml", root / part]), part)


def test_yaml_files_beside_a_single_label_file_are_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 0.5 0.5 0.2 0.4\n")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"names: [{name}, b]\n")
    path = tmp_path / "a.txt"
    assert read_boxes(path, image_size_wh=(10, 10)).table.class_names == ("1",)
    named = read_boxes([path, tmp_path / "two.yaml"], image_size_wh=(10, 10))
    assert named.table.class_names == ("two", "b")


def test_what_cannot_be_read_around_a_part_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path / "set", {"a": "1 0.5 0.5 0.2 0.4\n"})
    scan, access = Path.iterdir, os.access

    def refuse(path: Path) -> Iterator[Path]:
        if path == root:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", refuse)
        assert read_boxes(root / "labels/train").table.class_names == ("1",)
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path).suffix != ".yaml" and access(path, mode)
    )
    assert read_boxes(root / "labels/train").table.class_names == ("1",)


def test_images_of_label_files_that_are_named_one_by_one_are_found(tmp_path: Path) -> None:
    root = tree(tmp_path / "set", {"a": "1 0.5 0.5 0.2 0.4\n", "b": "0 0.5 0.5 1 1\n"})
    Image.new("L", (10, 10)).save(root / "images/train/b.webp")
    reading = read_boxes([root / "labels/train/a.txt", root / "labels/train/b.txt"])
    assert reading.table.image_names == ("a.png", "b.png")
    assert reading.table.image_wh_px.tolist() == [[200, 100], [200, 100]]
    assert kinds(reading) == {"repeated_image_name": 1}
