from __future__ import annotations

from tests.report.test_charts import make_row, rows_drawn
from tinysight.report.page import Columns, Figure, Fold, Section, Table, Text
from tinysight.report.training_section import build_training_section

RECIPE = {"train": {"label_smoothing": 0.0}}


def figures_of(section: Section) -> dict[str, Figure]:
    return {
        figure.name: figure
        for block in section.blocks
        if isinstance(block, Columns)
        for figure in block.blocks
        if isinstance(figure, Figure)
    }


def test_every_curve_has_its_figure_with_words_for_those_who_cannot_see_it() -> None:
    steps = [{"step": n, "loss": 1.0, "lr": 0.1 * n, "momentum": 0.9} for n in range(3)]
    section = build_training_section([make_row(0), make_row(1)], steps, RECIPE)
    figures = figures_of(section)
    assert list(figures) == ["accuracy", "loss", "lr", "momentum", "speed"]
    assert "Train goes from 20.0 % to 30.0 %. Test goes from 15.0 % to 25.0 %." in (
        figures["accuracy"].alt
    )
    assert "highest at step 2, 0.2, and ends at 0.2." in figures["lr"].alt
    assert [key.label for key in figures["loss"].keys] == ["train", "test"]
    assert section.lead == (
        "After 2 epochs the network gets 30.0 % of the training images right and 25.0 % of the "
        "test images."
    )


def test_run_without_steps_has_no_curves_by_step() -> None:
    section = build_training_section([make_row(0)], [], RECIPE)
    assert list(figures_of(section)) == ["accuracy", "loss", "speed"]
    assert section.lead.startswith("After 1 epoch the network")
    assert figures_of(section)["accuracy"].alt.endswith("Train is 20.0 %. Test is 15.0 %.")


def test_averaged_weights_are_what_the_sentence_is_about() -> None:
    section = build_training_section([make_row(0, ema_test_accuracy=0.5)], [], RECIPE)
    assert "and 50.0 % of the test images." in section.lead


def test_smoothed_labels_explain_a_training_loss_above_the_test_loss() -> None:
    def remark(smoothing: float) -> str:
        recipe = {"train": {"label_smoothing": smoothing}}
        section = build_training_section([make_row(0)], [], recipe)
        return " ".join(block.text for block in section.blocks if isinstance(block, Text))

    assert "smoothed labels (0.1)" in remark(0.1)
    assert "smoothed" not in remark(0.0)


def test_growing_images_are_marked_and_explained() -> None:
    history = [make_row(n, image_px=px, test_image_px=px) for n, px in enumerate((32, 32, 64))]
    section = build_training_section(history, [], RECIPE)
    (remark,) = [block.text for block in section.blocks if isinstance(block, Text)]
    assert remark.endswith(" The training and test images grew: 32 px up to epoch 2, then 64 px.")
    for name in ("accuracy", "loss", "speed"):
        chart = figures_of(section)[name].chart
        assert [{"epochs": 2, "image_px": 64}] in rows_drawn(chart), name


def test_table_of_epochs_has_what_was_measured() -> None:
    history = [make_row(0, ema_test_accuracy=0.4), make_row(1, momentum=None)]
    section = build_training_section(history, [], RECIPE)
    (fold,) = [block for block in section.blocks if isinstance(block, Fold)]
    (table,) = fold.blocks
    assert isinstance(table, Table)
    names = [column.name for column in table.columns]
    assert names[0] == "Epoch"
    assert "Test accuracy, averaged weights" in names
    assert [row[0] for row in table.rows] == [1, 2]
    assert table.rows[1][names.index("Momentum")] is None


def test_run_without_an_epoch_says_so() -> None:
    section = build_training_section([], [], RECIPE)
    assert [block.text for block in section.blocks if isinstance(block, Text)] == [
        "No epoch is finished yet. Curves appear after the first one."
    ]


def test_the_smallest_learning_rate_has_two_digits() -> None:
    def digits_of(*rates: float) -> int:
        history = [make_row(epoch) | {"lr": lr} for epoch, lr in enumerate(rates)]
        table = next(
            block.blocks[0]
            for block in build_training_section(history, [], RECIPE).blocks
            if isinstance(block, Fold)
        )
        assert isinstance(table, Table)
        return next(column.digits for column in table.columns if column.name == "Learning rate")

    assert digits_of(0.1, 0.02) == 5
    assert digits_of(0.1, 2e-7) == 8
    assert digits_of(0.1, 0.0) == 5
