"""Does any damaged annotation file end in a traceback or lose a record?

Takes a small sound file of every format, damages it (bytes flipped, cut, repeated, inserted;
values of JSON replaced by others; lines shuffled, fields dropped) and reads it. Each file must
either be read, with accepted + repaired + rejected equal to the records that an independent count
finds, or be refused with a DataError. Each has ``--seconds`` to be read.

    python benchmarks/fuzz_boxes.py [--files 10000] [--seed 0]
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hardware import hardware_line

from tinysight.boxes.policies import POLICIES
from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 0.5, -0.0, 1e308, -1e308, 5e-324, 10**30, 2**63, -(2**63), 1e19,
    float("nan"), float("inf"), "", " ", "7", "007", "1e400", "nan", "x", "\ud800", "é" * 50,
    "[1, 2, 3, 4]", [], [1], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4, 5], ["1", "2", "3", "4"],
    [None] * 4, [[1, 2], [3, 4]], {}, {"x": 1}, {"id": 1}, [[[[[[]]]]]], "{0}", "{position}", "%s",
)  # fmt: skip
ODD_BYTES = (
    b"NaN", b"-Infinity", b"1e400", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"[" * 2000, b"{" * 50,
    b"]", b"}", b",", b",,", b'"', b"'", b"\\u", b"\\ud800", b"\n", b"\r\n", b"\t", b";", b"|",
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<object>", b"</annotation>", b"&b;", b"-", b".", b"e",
    b"9" * 400, b"0.1.2", b"\x1f\x8b", b"PAR1", b"None", b"True", b"# x", b"- y", b"\xc3\x28",
)  # fmt: skip


def coco(rng: random.Random) -> dict[str, Any]:
    """Return a sound COCO file of a few boxes."""
    images = [
        {"id": i, "width": 100, "height": 80, "file_name": f"{i}.jpg"}
        for i in range(rng.randint(1, 6))
    ]
    annotations = [
        {
            "id": i,
            "image_id": rng.choice(images)["id"],
            "category_id": rng.randint(1, 2),
            "bbox": [
                rng.randint(0, 40),
                rng.randint(0, 30),
                rng.randint(1, 50),
                rng.randint(1, 40),
            ],
            "iscrowd": 0,
            "segmentation": [[1, 2, 3, 4]],
        }
        for i in range(rng.randint(0, 30))
    ]
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def via(rng: random.Random) -> dict[str, Any]:
    """Return a sound VIA file."""
    shapes: list[dict[str, Any]] = [
        {"name": "rect", "x": 1, "y": 2, "width": 30, "height": 40},
        {"name": "polygon", "all_points_x": [1, 5, 9], "all_points_y": [2, 8, 3]},
        {"name": "circle", "cx": 30, "cy": 30, "r": 10},
        {"name": "ellipse", "cx": 30, "cy": 30, "rx": 10, "ry": 5},
        {"name": "point", "cx": 3, "cy": 4},
    ]
    return {
        "_via_img_metadata": {
            f"{i}.jpg1": {
                "filename": f"{i}.jpg",
                "size": 1,
                "regions": [
                    {"shape_attributes": dict(shape), "region_attributes": {"class": "dog"}}
                    for shape in rng.sample(shapes, 3)
                ],
            }
            for i in range(3)
        }
    }


def labelme(rng: random.Random) -> dict[str, Any]:
    """Return a sound LabelMe file."""
    shapes: list[dict[str, Any]] = [
        {"shape_type": "rectangle", "points": [[1, 2], [31, 42]]},
        {"shape_type": "polygon", "points": [[1, 2], [5, 8], [9, 3]]},
        {"shape_type": "circle", "points": [[30, 30], [35, 30]]},
        {"shape_type": "mask", "points": [[30, 30], [35, 33]], "mask": "iVBORw0KGgo="},
        {"shape_type": "line", "points": [[30, 30], [35, 30]]},
    ]
    return {
        "version": "5.5.0",
        "shapes": [
            {"label": "dog", "group_id": rng.choice((None, 1)), **shape}
            for shape in rng.choices(shapes, k=rng.randint(0, 6))
        ],
        "imagePath": "a.jpg",
        "imageData": None,
        "imageHeight": 80,
        "imageWidth": 100,
    }


def createml(rng: random.Random) -> list[Any]:
    """Return a sound Create ML file."""
    box = {"x": 30, "y": 40, "width": 20, "height": 30}
    return [
        {
            "image": f"{i}.jpg",
            "annotations": [{"label": "dog", "coordinates": dict(box)}] * rng.randint(0, 3),
        }
        for i in range(rng.randint(1, 4))
    ]


def texts(rng: random.Random) -> dict[str, bytes]:
    """Return one sound file of every text format, by the suffixed name of the format."""
    rows = range(rng.randint(1, 25))
    n = rng.randint
    voc = "".join(
        f"<object><name>dog</name><bndbox><xmin>{n(1, 9)}</xmin><ymin>{n(1, 9)}</ymin>"
        f"<xmax>{n(10, 90)}</xmax><ymax>{n(10, 70)}</ymax></bndbox></object>"
        for _ in rows
    )
    shapes = "".join(
        f'<box label="dog" frame="{i}" outside="{n(0, 1)}" xtl="{n(1, 9)}" ytl="{n(1, 9)}" '
        f'xbr="{n(10, 90)}" ybr="60" rotation="{n(0, 1) * 30}"/>\n'
        f'<polygon label="cat" frame="{i}" points="1,2;{n(3, 9)},5;6,7" group_id="1"/>\n'
        for i in rows
    )
    found = {
        "cvat.xml": f'<annotations><image name="a.jpg" width="100" height="80">\n{shapes}</image>'
        f'<track label="dog">\n{shapes}</track></annotations>',
        "yolo.txt": "".join(f"{n(0, 2)} 0.5 0.5 0.{n(1, 9)} 0.{n(1, 9)}\n" for _ in rows),
        "voc.xml": "<annotation><filename>a.jpg</filename><size><width>100</width>"
        f"<height>80</height></size>{voc}</annotation>",
        "csv.csv": "filename,width,height,class,xmin,ymin,xmax,ymax\n"
        + "".join(f"{i}.jpg,100,80,dog,{n(0, 9)},{n(0, 9)},{n(10, 90)},60\n" for i in rows),
        "plain-rows.txt": "".join(
            f"id: {n(0, 9)}, height: 80, width: 100, bbox:[{n(0, 9)}, {n(0, 9)}, 60, 70],\r\n"
            for _ in rows
        ),
        "wider-face.txt": f"a/b.jpg\n{len(rows)}\n"
        + "".join(f"{n(0, 9)} {n(0, 9)} 10 12 0 0 0 0 0 0 \n" for _ in rows),
        "tiny-imagenet.txt": "".join(f"val_{i}.JPEG\tn01\t0\t{n(0, 9)}\t63\t62\n" for i in rows),
    }
    return {name: text.encode() for name, text in found.items()}


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to four damages."""
    for _ in range(rng.randint(1, 4)):
        data = _damaged_once(data, rng)
    return data


def _damaged_once(data: bytes, rng: random.Random) -> bytes:
    at, to = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    to = min(to, at + 200)
    match rng.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[to:]
        case 2:
            return data[:to] + data[at:]
        case 3:
            return data[:at] + rng.choice(ODD_BYTES) + data[at:]
        case 4:
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    lines = data.splitlines(True)
    return b"".join(rng.sample(lines, len(lines)))


def damaged_json(value: Any, rng: random.Random) -> Any:
    """Return a JSON value with one to four of its parts replaced, dropped or repeated."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, 4)):
        holder, key = rng.choice(list(_places(value)))
        kind = rng.randrange(3)
        if kind == 0:
            holder[key] = copy.deepcopy(rng.choice(ODD_VALUES))
        elif kind == 1:
            del holder[key]
        elif isinstance(holder, list):
            holder.append(holder[key])
        else:
            holder[rng.choice(("id", "bbox", "x"))] = copy.deepcopy(rng.choice(ODD_VALUES))
        if not value:
            break
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def records_of(kind: str, value: Any) -> int | None:
    """Return how many records a damaged JSON value has, None where it is not said."""
    if kind in ("coco", "labelme"):
        key = "annotations" if kind == "coco" else "shapes"
        records = value.get(key) if isinstance(value, dict) else None
        return len(records) if isinstance(records, list) else None
    if kind == "createml" and isinstance(value, list):
        # An image that is no object is a record, and so is anything but a list or null in it.
        lists = [
            entry.get("annotations") if isinstance(entry, dict) else [entry] for entry in value
        ]
        return sum(
            len(records) if isinstance(records, list) else records is not None for records in lists
        )
    return None


def cvat_records(data: bytes) -> int | None:
    """Return how many shapes a damaged CVAT file has, None where it is no sound XML."""
    shapes = ("box", "polygon", "ellipse", "mask", "cuboid", "polyline", "points", "skeleton")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    count = sum(element.tag in shapes for element in root)
    for owner in root:
        if owner.tag in ("image", "track"):
            inner = [element for element in owner if element.tag not in ("tag", "attribute")]
            count += sum(
                owner.tag == "image" or e.get("outside", "").lower() not in ("1", "true")
                for e in inner
            )
    return count


def full_lines(data: bytes) -> int:
    """Return how many lines of a YOLO file are not blank."""
    return sum(1 for line in data.splitlines() if line.strip())


def one_file(rng: random.Random, folder: Path) -> tuple[Path, str, int | None]:
    """Write one damaged file and return it with its format and the records in it, if known."""
    makers = {"coco": coco, "via": via, "labelme": labelme, "createml": createml}
    kind = rng.choice(("coco", "coco", "coco", *makers, "text", "text", "text", "gz"))
    if kind in makers:
        value = damaged_json(makers[kind](rng), rng)
        text = json.dumps(value)
        expected = records_of(kind, value)
        data = text.encode("utf-8", errors="replace")
        if rng.random() < 0.3:
            data, expected = damaged_bytes(data, rng), None
        path, name = folder / "a.json", kind
    elif kind == "gz":
        data = damaged_bytes(gzip.compress(json.dumps(coco(rng)).encode(), mtime=0), rng)
        path, name, expected = folder / "a.json.gz", "coco", None
    else:
        suffixed, data = rng.choice(list(texts(rng).items()))
        data = damaged_bytes(data, rng)
        path, name = folder / f"a{Path(suffixed).suffix}", Path(suffixed).stem
        expected = None
        if not _is_wrapped(data) and name in ("yolo", "cvat"):
            expected = full_lines(data) if name == "yolo" else cvat_records(data)
    path.write_bytes(data)
    return path, name, expected


def _is_wrapped(data: bytes) -> bool:
    return data.startswith((b"\x1f\x8b", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))


def read_one(path: Path, name: str, expected: int | None, rng: random.Random) -> str:
    """Read one file and return how it ended; raise for what must not happen."""
    options: dict[str, Any] = {"policy": rng.choice(POLICIES)}
    if rng.random() < 0.7:
        options["format"] = name
    if rng.random() < 0.5:
        options["image_size_wh"] = (100, 80)
    if rng.random() < 0.2:
        options["box_order"] = rng.choice(("xywh", "yxyx", "xyxy:1", "cxcywh:rel"))
    try:
        reading = read_boxes(path, **options)
    except DataError as fault:
        text = str(fault)
        assert text.startswith((str(path), "--", "`")), text
        assert len(text) < 1500, text
        return "refused"
    counts = reading.accepted + reading.repaired + reading.rejected
    assert counts == reading.boxes_read, reading
    assert reading.table.num_boxes == reading.accepted + reading.repaired, reading
    if expected is not None and options.get("format") == name:
        assert reading.boxes_read == expected, (reading.boxes_read, expected)
    listed = [str(finding) for finding in reading.findings]
    assert len(listed) == len(reading.findings)
    assert sum(count.count for count in reading.findings.by_kind()) == len(listed)
    assert not reading.rejected or listed, "a record was rejected without a finding"
    return "read with findings" if listed else "read"


def main() -> int:
    """Read damaged files and print how they ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0, help="most for one file")
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    ends: Counter[str] = Counter()
    formats: Counter[str] = Counter()
    slowest = 0.0
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        for number in range(arguments.files):
            rng = random.Random(f"{arguments.seed}:{number}")
            path, format_name, expected = one_file(rng, Path(name))
            before = time.process_time()
            try:
                end = read_one(path, format_name, expected, rng)
            except Exception:
                print(f"--seed {arguments.seed}, file {number} ({format_name}):", file=sys.stderr)
                traceback.print_exc()
                print(path.read_bytes()[:2000], file=sys.stderr)
                end = "TRACEBACK"
            taken = time.process_time() - before
            slowest = max(slowest, taken)
            ends[end] += 1
            formats[format_name] += 1
            if taken > arguments.seconds:
                ends["TOO SLOW"] += 1
            path.unlink()
    print(hardware_line())
    print(f"{arguments.files:,} files, seed {arguments.seed}: {time.perf_counter() - start:.0f} s")
    print(", ".join(f"{count:,} {format_name}" for format_name, count in formats.most_common()))
    print(", ".join(f"{count:,} {end}" for end, count in ends.most_common()))
    print(f"slowest file: {slowest * 1000:.0f} ms")
    return 1 if ends["TRACEBACK"] or ends["TOO SLOW"] else 0


if __name__ == "__main__":
    sys.exit(main())
