from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from tests.boxes.tables import make_table, write_coco
from tinysight.boxes.analysis import BoxAnalysis, analyse_boxes
from tinysight.boxes.choice_of_k import RuleChoice
from tinysight.boxes.findings import Reading
from tinysight.boxes.reading import read_boxes
from tinysight.cli.anchor_lines import set_lines
from tinysight.numerals import rounded_down
from tinysight.report import anchors_section, box_classes_section
from tinysight.report.anchors_section import describe_proof
from tinysight.report.boxes_page import ExamplePicture, build_boxes_page
from tinysight.report.chart_style import VERMILLION
from tinysight.report.page import Block, Callout, Figure, Page, Pictures, Table, Text, Widget
from tinysight.report.page_html import render_page


@pytest.fixture(scope="module")
def analysis(drawn_reading: Reading) -> BoxAnalysis:
    return analyse_boxes(drawn_reading, (2, 3), certify_s=2)


def table_named(page: Page, name: str) -> Table:
    (found,) = (block for block in page.blocks() if isinstance(block, Table) and block.name == name)
    return found


def test_the_page_opens_with_what_there_is(analysis: BoxAnalysis) -> None:
    page = build_boxes_page(analysis, name="drawn")
    assert page.headline == "400 boxes on 60 images"
    assert "Every box is sound." in page.lead
    assert "With 2 anchors the mean" in page.lead or "With 3 anchors the mean" in page.lead
    assert [section.name for section in page.sections] == [
        "soundness",
        "classes",
        "sizes",
        "images",
        "anchors",
        "choice",
        "published",
        "about",
    ]


def test_classes_that_are_numbers_are_called_classes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = ("10,20,40,60,7\n", "10,20,50,90,7\n", "10,20,50,80,12\n")
    path.write_text("xmin,ymin,xmax,ymax,class\n" + "".join(rows))
    analysis = analyse_boxes(read_boxes(path, image_size_wh=(99, 99)), (1,), certify_s=0)
    page = build_boxes_page(analysis, name="a")
    assert page.lead.startswith("66.7 % of the boxes are of class 7.")
    (classes,) = (section for section in page.sections if section.name == "classes")
    assert classes.lead == "Class 7 has 2 boxes, class 12 has 1: 2.0 times as many."


def test_nothing_is_said_of_images_that_no_column_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("xmin,ymin,xmax,ymax,class\n" + "10,20,40,60,dog\n10,20,50,90,cat\n" * 2)
    analysis = analyse_boxes(read_boxes(path, image_size_wh=(99, 99)), (1,), certify_s=0)
    page = build_boxes_page(analysis, name="a")
    assert page.headline == "4 boxes on images without a name"
    assert "images" not in {section.name for section in page.sections}
    figure = next(block for block in page.blocks() if getattr(block, "name", "") == "class-boxes")
    assert isinstance(figure, Figure)
    assert (figure.title, figure.keys) == ("Boxes of each class", ())
    assert VERMILLION not in str(figure.chart.to_dict()), "no marks for images"
    assert "Images" not in [column.name for column in table_named(page, "class-table").columns]
    assert [stat.label for stat in page.stats if "image" in stat.label] == []
    assert "no image column" in {
        str(cell) for row in table_named(page, "findings").rows for cell in row
    }


@pytest.mark.parametrize(
    ("images", "shown"), [(1, "1.0"), (7, "0.1"), (11, "below 0.1"), (30, "below 0.1")]
)
def test_few_boxes_an_image_are_not_none(tmp_path: Path, images: int, shown: str) -> None:
    table = make_table([(0, 0, 0, 0, 9, 9)], image_wh=[(20, 20)] * images)
    reading = read_boxes(write_coco(table, tmp_path / "few.json"))
    page = build_boxes_page(analyse_boxes(reading, (1,), certify_s=0), name="few")
    assert [stat.value for stat in page.stats if stat.label == "boxes an image"] == [shown]


def test_a_recall_that_is_not_whole_does_not_read_so(analysis: BoxAnalysis) -> None:
    assert analysis.anchors is not None
    curve = tuple(
        dataclasses.replace(one, best_possible_recall=0.99996) for one in analysis.anchors.curve
    )
    anchors = dataclasses.replace(analysis.anchors, curve=curve)
    page = build_boxes_page(dataclasses.replace(analysis, anchors=anchors), name="drawn")
    (elbow,) = (
        block for block in page.blocks() if isinstance(block, Figure) and block.name == "elbow"
    )
    assert "recall 0.999, WCSS" in elbow.alt
    assert "recall 1.000" not in elbow.alt


def test_every_class_is_in_the_table(analysis: BoxAnalysis) -> None:
    rows = table_named(build_boxes_page(analysis, name="drawn"), "class-table").rows
    assert sum(int(row[1]) for row in rows) == 400  # type: ignore[arg-type]
    assert sum(float(row[2]) for row in rows) == pytest.approx(1)  # type: ignore[arg-type]


def test_of_very_many_classes_the_tables_have_the_largest(
    analysis: BoxAnalysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tables() -> tuple[Table, Table]:
        page = build_boxes_page(analysis, name="drawn")
        return table_named(page, "class-table"), table_named(page, "groups")

    whole, whole_groups = tables()
    assert (whole.title, len(whole.rows)) == ("All classes", 5)
    assert "tables/classes.csv" not in whole.caption
    assert whole_groups.caption == ""
    for module in (box_classes_section, anchors_section):
        monkeypatch.setattr(module, "MOST_CLASS_ROWS", 2)
    cut, groups = tables()
    assert cut.title == "The 2 largest of 5 classes"
    assert cut.caption.endswith("measured on boxes. tables/classes.csv has all classes.")
    assert cut.rows == whole.rows[:2]
    names = {str(row[0]) for row in cut.rows}
    assert {str(row[0]) for row in groups.rows} == names | {"small", "medium", "large"}
    assert set(groups.rows) < set(whole_groups.rows)
    assert analysis.anchors is not None
    assert groups.caption == (
        "Of the classes the 2 largest. `tinysight boxes score FILE --anchors anchors.json "
        f"--k {analysis.anchors.chosen.k} --json` has all."
    )


def test_the_largest_and_the_smallest_class_are_compared(tmp_path: Path) -> None:
    def lead_of(*classes: int, named: str = "ab") -> str:
        table = make_table([(0, owner, 0, 0, 9, 9) for owner in classes], classes=named)
        reading = read_boxes(write_coco(table, tmp_path / "classes.json"))
        page = build_boxes_page(analyse_boxes(reading, (1,), certify_s=0), name="classes")
        (lead,) = (section.lead for section in page.sections if section.name == "classes")
        return lead

    assert lead_of(0, 1) == "Each class has 1 box."
    assert lead_of(0, 2, named="abc") == "Each class with boxes has 1 box."
    assert lead_of(0, 0, 0, 1, 1).endswith(": 1.5 times as many.")


def test_classes_that_never_meet_have_a_sentence_for_a_matrix(tmp_path: Path) -> None:
    def block_after_the_histogram(*images: int) -> Block:
        boxes = [(image, owner, 0, 0, 9, 9) for owner, image in enumerate(images)]
        table = make_table(boxes, image_wh=[(20, 20)] * 3, classes="abc")
        reading = read_boxes(write_coco(table, tmp_path / "pairs.json"))
        page = build_boxes_page(analyse_boxes(reading, (1,), certify_s=0), name="pairs")
        (blocks,) = (section.blocks for section in page.sections if section.name == "images")
        return blocks[1]

    apart = block_after_the_histogram(0, 1, 2)
    assert apart == Text("No image has boxes of two classes.")
    together = block_after_the_histogram(0, 1, 1)
    assert isinstance(together, Figure)
    assert together.name == "class-pairs"
    drawn_px = together.chart.to_dict()["height"]
    assert drawn_px < together.height_px <= drawn_px + 60, "no blank below a small matrix"


def test_no_class_is_singled_out_where_several_have_the_most_boxes(tmp_path: Path) -> None:
    def lead_of(*classes: int) -> str:
        table = make_table([(0, owner, 0, 0, 9, 9) for owner in classes])
        reading = read_boxes(write_coco(table, tmp_path / "classes.json"))
        return build_boxes_page(analyse_boxes(reading, (1,), certify_s=0), name="classes").lead

    assert "of the boxes are" not in lead_of(0, 1)
    assert lead_of(0, 1, 1).startswith("66.7 % of the boxes are dog.")
    assert lead_of(1).startswith("100.0 % of the boxes are dog.")


@pytest.mark.parametrize(
    ("kneedle", "chord", "silhouette", "gain", "said"),
    [
        (3, 3, 3, 3, "The elbow of the log sizes is at 3: every rule says so."),
        (
            *(3, 3, 3, 6),
            "The elbow of the log sizes is at 3, but the gain in mean IoU says 6, so it is not a "
            "clear one: the blue curve says what each further anchor brings.",
        ),
        (
            *(3, 3, 2, None),
            "The elbow of the log sizes is at 3, but the silhouette says 2 and the gain in mean "
            "IoU finds none, so it is not a clear one: the blue curve says what each further "
            "anchor brings.",
        ),
        (
            *(3, 4, 2, 6),
            "There is no clear elbow: kneedle says 3, the chord says 4, the silhouette says 2 and "
            "the gain in mean IoU says 6. Box sizes rarely form clusters. Take as many anchors as "
            "your detector has places for; the blue curve says what each of them brings.",
        ),
        (
            *(None, None, None, None),
            "There is no clear elbow: no rule finds one. Box sizes rarely form clusters. Take as "
            "many anchors as your detector has places for; the blue curve says what each of them "
            "brings.",
        ),
    ],
)
def test_rules_that_differ_are_named_with_what_they_say(
    analysis: BoxAnalysis,
    kneedle: int | None,
    chord: int | None,
    silhouette: int | None,
    gain: int | None,
    said: str,
) -> None:
    anchors = analysis.anchors
    assert anchors is not None
    found = {"kneedle": kneedle, "chord": chord, "silhouette": silhouette, "gain": gain}
    rules = {name: RuleChoice(k, 1.0) for name, k in found.items()}
    choice = dataclasses.replace(anchors.choice, rules=rules)
    section = anchors_section.choice_section(dataclasses.replace(anchors, choice=choice))
    assert section.lead == said


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        ((5,), "The boxes have 1 size: 1 anchor fits exactly."),
        ((5, 9, 14), "The boxes have 3 sizes: 3 anchors fit exactly."),
    ],
)
def test_sizes_that_have_an_anchor_each_need_no_rules(
    sides: tuple[int, ...], said: str, tmp_path: Path
) -> None:
    table = make_table([(0, 0, 0, 0, side, 9) for side in sides * 20], image_wh=[(20, 20)])
    reading = read_boxes(write_coco(table, tmp_path / "same.json"))
    analysis = analyse_boxes(reading, certify_s=0)
    assert analysis.anchors is not None
    section = anchors_section.choice_section(analysis.anchors)
    assert section.lead == said
    assert [type(block) for block in section.blocks] == [Figure]


def test_what_cannot_be_told_of_one_image_is_a_note(tmp_path: Path) -> None:
    table = make_table([(0, 0, 0, 0, 5, 9)], image_wh=[(20, 20)])
    reading = read_boxes(write_coco(table, tmp_path / "one.json"))
    page = build_boxes_page(analyse_boxes(reading, certify_s=0), name="one")
    (section,) = (section for section in page.sections if section.name == "anchors")
    callout = section.blocks[0]
    assert isinstance(callout, Callout)
    assert callout.severity == "note"
    assert "anchors cannot be told: one image is too few." in callout.text


def test_asked_sets_are_listed_with_their_bounds(analysis: BoxAnalysis) -> None:
    assert analysis.anchors is not None
    rows = table_named(build_boxes_page(analysis, name="drawn"), "sets").rows
    assert [(row[0], row[3]) for row in rows] == [
        (one.k, one.upper_bound) for one in analysis.anchors.sets
    ]


def test_the_table_of_sets_rounds_bounds_and_gaps_up(analysis: BoxAnalysis) -> None:
    assert analysis.anchors is not None
    sets = tuple(
        dataclasses.replace(one, upper_bound=0.81231, gap=0.00121) for one in analysis.anchors.sets
    )
    loose = dataclasses.replace(analysis, anchors=dataclasses.replace(analysis.anchors, sets=sets))
    table = table_named(build_boxes_page(loose, name="drawn"), "sets")
    shown = [column.show(cell) for column, cell in zip(table.columns, table.rows[0], strict=True)]
    assert shown[3:5] == ["0.8124", "0.121 %"]
    exact = [column.exact(cell) for column, cell in zip(table.columns, table.rows[0], strict=True)]
    assert exact[3:5] == ["0.81231", "0.00121"], "a copied table has all digits"


@pytest.mark.parametrize("certify_s", [0.0, 2.0])
def test_the_key_has_the_proved_bound_only_where_there_is_one(
    certify_s: float, drawn_reading: Reading
) -> None:
    page = build_boxes_page(analyse_boxes(drawn_reading, (2,), certify_s=certify_s), name="drawn")
    (elbow,) = (
        block for block in page.blocks() if isinstance(block, Figure) and block.name == "elbow"
    )
    assert ("proved upper bound" in [key.label for key in elbow.keys]) == (certify_s > 0)


def test_the_page_and_the_terminal_print_the_same_digits(analysis: BoxAnalysis) -> None:
    anchors = analysis.anchors
    assert anchors is not None
    printed = list(set_lines(anchors.sets, anchors.choice, anchors.num_boxes, 0))
    page = build_boxes_page(analysis, name="drawn")
    sets, rules = table_named(page, "sets"), table_named(page, "rules")
    for row in sets.rows:
        (line,) = (line for line in printed if re.match(rf" +{row[0]}  ", line))
        shown = [column.show(cell) for column, cell in zip(sets.columns, row, strict=True)]
        assert line.split()[1:4] == [shown[2], shown[5], shown[3]]
        assert f"within {shown[4]} of the best possible" in line
        (one,) = (one for one in anchors.sets if one.k == row[0])
        assert f"within {shown[4]} of the best possible" in describe_proof(one)
    shares = [rules.columns[2].show(row[2]) for row in rules.rows]
    said = " ".join(line for line in printed if "kneedle" in line or "silhouette" in line)
    assert re.findall(r"\(([^)]+ %)\)", said) == shares


def test_over_half_is_a_fraction_as_in_the_terminal(analysis: BoxAnalysis) -> None:
    assert analysis.anchors is not None
    table = table_named(build_boxes_page(analysis, name="drawn"), "groups")
    group = analysis.anchors.quality.by_size[0]
    assert table.columns[4].show(table.rows[0][4]) == rounded_down(group.over_half or 0.0, 4)


@pytest.mark.parametrize(("ks", "title"), [((2,), "The sets that were asked for"), (None, "")])
def test_sets_that_nobody_asked_for_are_called_so(
    ks: tuple[int, ...] | None, title: str, tmp_path: Path
) -> None:
    table = make_table([(0, 0, 0, 0, side, 9) for side in (5, 9, 14)], image_wh=[(20, 20)])
    reading = read_boxes(write_coco(table, tmp_path / "few.json"))
    page = build_boxes_page(analyse_boxes(reading, ks, certify_s=0), name="few")
    assert table_named(page, "sets").title == (title or "The sets fitted by default")


def test_the_slider_has_every_k_and_starts_at_the_chosen_one(analysis: BoxAnalysis) -> None:
    assert analysis.anchors is not None
    (widget,) = (
        block
        for block in build_boxes_page(analysis, name="drawn").blocks()
        if isinstance(block, Widget) and block.kind == "anchors"
    )
    assert [one["k"] for one in widget.data["sets"]] == list(range(1, 11))
    chosen = widget.data["sets"][widget.options["chosen"]]
    assert chosen["k"] == analysis.anchors.chosen.k
    assert "No " in chosen["said"]
    assert sum(widget.data["sizes"][2::3]) == pytest.approx(analysis.anchors.num_boxes, abs=2)


def test_a_proof_is_said_with_what_it_proves(analysis: BoxAnalysis) -> None:
    assert analysis.anchors is not None
    one = analysis.anchors.sets[0]
    assert one.upper_bound is not None
    text = describe_proof(one)
    bound = float(re.findall(r"than ([\d.]+) on these", text)[0])
    assert text.startswith("No 2 anchors can reach more than")
    assert one.upper_bound <= bound + 1e-12 < one.upper_bound + 1e-4 + 1e-12
    tight = dataclasses.replace(one, upper_bound=0.81231, gap=0.00121)
    # Rounded up: what is printed must hold as well.
    assert "more than 0.8124 on these boxes: these are within 0.121 %" in describe_proof(tight)
    single = dataclasses.replace(tight, anchors_wh_px=tight.anchors_wh_px[:1])
    assert describe_proof(single).startswith(
        "No 1 anchor can reach more than 0.8124 on these boxes: this one is within 0.121 %"
    )
    nothing = dataclasses.replace(one, upper_bound=None, gap=None, is_proof_finished=False)
    assert describe_proof(nothing) == (
        "Nothing is proved yet of how good anchors can be, as the time ran out; "
        "--certify SECONDS gives more."
    )
    assert describe_proof(dataclasses.replace(nothing, is_proof_finished=None)) == ""
    assert ("More time would bring" in text) == (one.is_proof_finished is False)


def test_findings_stand_first_with_what_was_done(tmp_path: Path) -> None:
    table = make_table([(0, 0, 90, 90, 20, 20), (0, 1, 0, 0, 9, 9)])
    reading = read_boxes(write_coco(table, tmp_path / "leaving.json"))
    page = build_boxes_page(analyse_boxes(reading, (1,), certify_s=0), name="leaving")
    (row,) = table_named(page, "findings").rows
    assert row[:3] == ("over edge", 1, "repaired")
    assert table_named(page, "findings").columns[3].kind == "prose"
    callout = page.sections[0].blocks[0]
    assert isinstance(callout, Callout)
    assert callout.text == "2 records read: 1 accepted as it is, 1 repaired, 0 rejected."
    assert callout.severity == "note"


def make_voc(folder: Path, *names: str) -> Path:
    """Pascal VOC files with a box each; those called broken cannot be read."""
    for name in names:
        text = (
            f"<annotation><filename>{name}.jpg</filename>"
            "<size><width>100</width><height>100</height></size>"
            "<object><name>dog</name><bndbox><xmin>11</xmin><ymin>11</ymin><xmax>50</xmax>"
            "<ymax>50</ymax></bndbox></object></annotation>"
        )
        (folder / f"{name}.xml").write_text("<annotation><" if "broken" in name else text)
    return folder


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("one", "two"), ""),
        (("one", "broken"), "1 file could not be read."),
        (("one", "broken-1", "broken-2"), "2 files could not be read."),
    ],
)
def test_files_that_cannot_be_read_are_warned_of(
    tmp_path: Path, names: tuple[str, ...], said: str
) -> None:
    reading = read_boxes(make_voc(tmp_path, *names))
    assert reading.rejected == 0, "no box is known of"
    page = build_boxes_page(analyse_boxes(reading, (1,), certify_s=0), name="voc")
    callout = page.sections[0].blocks[0]
    assert isinstance(callout, Callout)
    assert callout.severity == ("warning" if said else "good")
    assert callout.text.endswith(f"0 rejected. {said}".rstrip())
    assert page.lead.startswith(f"100.0 % of the boxes are dog. {said or 'Every box is sound.'}")


def test_folders_that_cannot_be_read_are_warned_of_with_the_files(tmp_path: Path) -> None:
    folder = make_voc(tmp_path, "one", "broken")
    (folder / "more").symlink_to(tmp_path / "nowhere")
    page = build_boxes_page(analyse_boxes(read_boxes(folder), (1,), certify_s=0), name="voc")
    assert "1 file and 1 folder could not be read." in page.lead


def test_rejected_records_and_files_are_both_told(tmp_path: Path) -> None:
    folder = make_voc(tmp_path, "one", "broken", "two")
    bad = (folder / "two.xml").read_text().replace("<xmax>50</xmax>", "<xmax>nan</xmax>")
    (folder / "two.xml").write_text(bad)
    page = build_boxes_page(analyse_boxes(read_boxes(folder), (1,), certify_s=0), name="voc")
    assert "1 file could not be read. 1 record of 2 could not be used." in page.lead


@pytest.mark.parametrize(
    ("images", "lead"),
    [
        ((0, 1, 2), "Every image has 1 box."),
        ((0, 0, 1, 1, 2, 2), "Every image has 2 boxes."),
        ((0, 0, 1, 2), "Half of the images have 1 box or fewer, none has more than 2."),
        ((0, 1), "No image has more than 1 box."),
    ],
)
def test_images_with_as_many_boxes_each_are_told_at_once(
    tmp_path: Path, images: tuple[int, ...], lead: str
) -> None:
    boxes = [(image, 0, 0, 0, 9, 9 + number) for number, image in enumerate(images)]
    table = make_table(boxes, image_wh=[(90, 90)] * 3)
    reading = read_boxes(write_coco(table, tmp_path / "images.json"))
    page = build_boxes_page(analyse_boxes(reading, (1,), certify_s=0), name="images")
    assert [section.lead for section in page.sections if section.name == "images"] == [lead]


@pytest.mark.parametrize(
    ("owners", "said"),
    [
        ("aab", "1 box lies almost exactly on another box of the same class, 1 on one of another"),
        ("ab", "1 box lies almost exactly on a box of another class."),
        ("abab", "2 boxes lie almost exactly on another box of the same class, "),
    ],
)
def test_boxes_that_lie_on_others_are_counted_from_one(
    owners: str, said: str, tmp_path: Path
) -> None:
    boxes = [(0, "ab".index(owner), 5, 5, 60, 60) for owner in owners]
    table = make_table(boxes, classes="ab")
    reading = read_boxes(write_coco(table, tmp_path / "twice.json"))
    page = build_boxes_page(analyse_boxes(reading, (1,), certify_s=0), name="twice")
    callouts = [block.text for block in page.blocks() if isinstance(block, Callout)]
    assert len([text for text in callouts if text.startswith(said)]) == 1


def test_unbalanced_classes_are_counted_once(tmp_path: Path) -> None:
    boxes = [(0, int(number == 0), 0, 0, 9, 9 + number) for number in range(60)]
    reading = read_boxes(write_coco(make_table(boxes), tmp_path / "uneven.json"))
    page = build_boxes_page(analyse_boxes(reading, (1,), certify_s=0), name="uneven")
    (classes,) = (section for section in page.sections if section.name == "classes")
    assert classes.lead == "cat has 59 boxes, dog has 1: 59 times as many."
    callout = classes.blocks[0]
    assert isinstance(callout, Callout)
    assert callout.text == "The classes are unbalanced."


def test_many_rare_classes_are_counted_with_a_comma(tmp_path: Path) -> None:
    names = tuple(f"kind {number}" for number in range(1_010))
    boxes = [(0, number, 0, 0, 9, 9) for number in range(1_010)]
    reading = read_boxes(write_coco(make_table(boxes, classes=names), tmp_path / "rare.json"))
    page = build_boxes_page(analyse_boxes(reading, (1,), certify_s=0), name="rare")
    texts = [block.text for block in page.blocks() if isinstance(block, Callout)]
    assert any(" and 1,005 more." in text for text in texts)


def test_a_single_thing_is_spoken_of_as_such(tmp_path: Path) -> None:
    boxes = [(0, 0, 5, 5, 60, 60), (0, 0, 5, 5, 60, 60), (0, 0, 70, 5, 40, 40)]
    table = make_table(boxes, image_wh=[(100, 100)] * 2, classes=("dog",))
    reading = read_boxes(write_coco(table, tmp_path / "single.json"))
    page = build_boxes_page(analyse_boxes(reading, (1,), certify_s=0), name="single")
    shown = [f"{stat.value} {stat.label}" for stat in page.stats]
    assert shown[0] == "1 class"
    assert shown[2:4] == ["1 image without boxes", "1 finding"]
    callouts = [block.text for block in page.blocks() if isinstance(block, Callout)]
    assert "1 box lies almost exactly on another box of the same class." in callouts
    first = read_boxes(write_coco(make_table(boxes[2:], classes=("dog",)), tmp_path / "one.json"))
    html = render_page(build_boxes_page(analyse_boxes(first, (1,), certify_s=0), name="one"))
    assert "Inside its image: " in html
    assert "dog: 1 box." in html


def test_a_file_without_boxes_gives_a_page_that_says_so(tmp_path: Path) -> None:
    reading = read_boxes(write_coco(make_table(), tmp_path / "none.json"))
    page = build_boxes_page(analyse_boxes(reading, certify_s=0), name="none")
    assert page.headline == "0 boxes on 1 image"
    assert page.lead == "There are no boxes."
    assert [section.name for section in page.sections] == ["soundness", "anchors", "about"]
    text = page.sections[1].blocks[0]
    assert isinstance(text, Text)
    assert "There are 0 distinct box sizes" in text.text
    assert render_page(page) == render_page(page)


def test_examples_are_pictures_of_the_page(analysis: BoxAnalysis) -> None:
    png = b"\x89PNG\r\n\x1a\n"
    examples = [ExamplePicture(png, 7, 7), ExamplePicture(png, 30, 80)]
    page = build_boxes_page(analysis, name="drawn", examples=examples)
    (pictures,) = (block for block in page.blocks() if isinstance(block, Pictures))
    assert [item.number for item in pictures.items] == [0, 1]
    assert [item.caption for item in pictures.items] == ["", "The 30 largest of 80 boxes"]
    assert pictures.items[1].alt == "Example image 2 with its boxes and the anchors nearest to them"
    assert page.pictures == (png, png)
    assert "Dashed: the best anchor of each" in render_page(page)


def test_examples_without_anchors_are_not_said_to_have_some(analysis: BoxAnalysis) -> None:
    bare = dataclasses.replace(analysis, anchors=None, why_no_anchors="There are none.")
    page = build_boxes_page(bare, name="drawn", examples=[ExamplePicture(b"\x89PNG", 2, 2)])
    (pictures,) = (block for block in page.blocks() if isinstance(block, Pictures))
    assert pictures.items[0].alt == "Example image 1 with its boxes"
    (section,) = (section for section in page.sections if section.name == "examples")
    assert isinstance(section.blocks[0], Text)
    assert section.blocks[0].text == "The boxes as annotated."


def test_no_side_of_the_slider_is_rounded_to_nothing(tmp_path: Path) -> None:
    boxes = [(0, 0, 1.0, 1.0, 20.0 + side, 30.0) for side in range(12)]
    table = make_table([*boxes, (0, 0, 50, 50, 0.003, 20)], image_wh=[(640, 480)])
    reading = read_boxes(write_coco(table, tmp_path / "thin.json"))
    page = build_boxes_page(analyse_boxes(reading, (3,), certify_s=0), name="thin")
    (widget,) = (block for block in page.blocks() if isinstance(block, Widget))
    assert min(widget.data["sizes"]) == 0.003
    assert min(side for one in widget.data["sets"] for wh in one["anchors"] for side in wh) > 0
