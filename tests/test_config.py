from pathlib import Path

import pytest

from tinysight.classify.settings import Recipe
from tinysight.config import find_shipped, load_recipe, override_recipe, shipped_recipes
from tinysight.errors import RecipeError

RECIPES = sorted(
    Path(__file__).parents[1].glob("src/tinysight/recipes/*.toml"), key=lambda path: path.stem
)


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


def test_an_empty_recipe_is_the_defaults(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "")) == Recipe()


def test_a_recipe_changes_only_what_it_names(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "[train]\nepochs = 7\n[schedule]\npeak_epoch = 1"))
    assert recipe.train.epochs == 7
    assert recipe.schedule.peak_epoch == 1.0
    assert recipe.augment == Recipe().augment


def test_every_recipe_file_is_shipped_and_can_be_read() -> None:
    assert len(RECIPES) >= 5
    assert [recipe.name for recipe in shipped_recipes()] == [path.stem for path in RECIPES]
    for path in RECIPES:
        assert load_recipe(path.stem) == load_recipe(str(path))


def test_every_recipe_says_what_it_is_and_how_to_run_it() -> None:
    for shipped in shipped_recipes():
        assert shipped.text.startswith("# ")
        assert len(shipped.summary) > 20
        assert f"tinysight train STORE --recipe {shipped.name} --out RUN" in shipped.text


def test_the_reference_is_the_published_one() -> None:
    recipe = load_recipe("reference-48")
    assert recipe.train.epochs == 48
    assert recipe.train.batch_size == 256
    assert recipe.schedule.max_lr == 0.01
    assert recipe.schedule.div_factor == 100
    assert recipe.schedule.final_div_factor == 1
    assert recipe.schedule.peak_epoch == 8
    assert recipe.schedule.anneal == "linear"
    assert recipe.optimizer.weight_decay == 0.01
    assert recipe.optimizer.decay_norms_and_biases


@pytest.mark.parametrize(
    ("override", "table", "key", "value"),
    [
        ("train.epochs=3", "train", "epochs", 3),
        ("schedule.max_lr=5e-2", "schedule", "max_lr", 0.05),
        ("schedule.max_lr=1", "schedule", "max_lr", 1.0),
        ("train.compile=true", "train", "compile", True),
        ("model.name=compact", "model", "name", "compact"),
        ('model.name="compact"', "model", "name", "compact"),
    ],
)
def test_set_overrides_one_value(override: str, table: str, key: str, value: object) -> None:
    recipe = load_recipe("smoke", [override])
    assert getattr(getattr(recipe, table), key) == value


def test_set_does_not_change_the_values_it_is_given() -> None:
    values = {"train": {"epochs": 4}}
    override_recipe(values, ["train.epochs=9"], where="x")
    assert values == {"train": {"epochs": 4}}


def test_all_faults_are_said_at_once_with_the_nearest_name(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[train]\nmax_Lr = 3\nepoch = 4\nprecision = "bf17"\nbatch_size = 0\n[shedule]\nx = 1\n'
        "[augment]\ndropout_min_px = 20\nflip_probability = 30\n",
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: 6 faults."
    text = str(caught.value)
    assert "train.max_Lr: unknown key, did you mean schedule.max_lr? Known here: epochs," in text
    assert "train.epoch: unknown key, did you mean epochs?" in text
    assert (
        "train.precision: must be 'auto', 'bf16' or 'fp32', got 'bf17', did you mean bf16?" in text
    )
    assert "train.batch_size: must be greater than or equal to 2, got 0." in text
    assert "shedule: unknown key, did you mean schedule?" in text
    assert "augment.flip_probability: must be less than or equal to 1, got 30." in text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["augment.dropout_min_px=20", "augment.dropout_max_px=16"],
            r"augment.dropout_min_px \(=20\) must be at most dropout_max_px \(=16\)\.",
        ),
        (
            ["train.batch_size=6", "train.accumulate=2"],
            r"train.batch_size \(=6\) must be a multiple of 2 x accumulate \(=4\)\.",
        ),
        (
            ["schedule.min_momentum=0.95"],
            r"min_momentum \(=0.95\) must be at most max_momentum \(=0.9\)",
        ),
        (
            ["train.loss=nll"],
            r"label_smoothing \(=0.1\) must be 0 with loss nll; use cross-entropy",
        ),
        (
            ["train.epochs=1"],
            r"schedule.peak_epoch \(=2.0\) must be at most train.epochs \(=1\); of a shorter run "
            r"lower it too, for instance schedule.peak_epoch=0.25\.",
        ),
        (
            ["augment.mix_probability=1", "augment.mixup_alpha=0", "augment.cutmix_alpha=0"],
            r"mix_probability \(=1.0\) must be 0 when mixup_alpha, cutmix_alpha and "
            r"resizemix_max_side are all 0",
        ),
        (
            ["augment.resizemix_max_side=0.05"],
            r"augment.resizemix_max_side \(=0.05\) must be 0 or at least 0.1\.",
        ),
        (
            ["schedule.first_image_px=16", "schedule.full_size_epoch=2"],
            r"schedule.first_image_px \(=16\) must be 0 or at least 32, the smallest image",
        ),
        (
            ["schedule.last_image_px=16"],
            r"schedule.last_image_px \(=16\) must be 0 or at least 32, the smallest image",
        ),
        (
            [
                "schedule.first_image_px=48",
                "schedule.last_image_px=40",
                "schedule.full_size_epoch=2",
            ],
            r"schedule.last_image_px \(=40\) must be 0 or at least first_image_px \(=48\)\.",
        ),
        (
            ["schedule.first_image_px=48"],
            r"schedule.full_size_epoch \(=0\) must be above 0 with first_image_px \(=48\), or no "
            r"epoch has images of that size; say with which epoch they have their last size\.",
        ),
        (
            ["augment.alternate_flips=true", "augment.flip_probability=0"],
            r"augment.flip_probability \(=0.0\) must be 0.5 with alternate_flips, which shows each "
            r"image both ways; set alternate_flips = false for any other\.",
        ),
        (
            ["augment.resized_crop_min_area=0"],
            r"augment.resized_crop_min_area: must be greater than 0, got 0",
        ),
        (
            ["schedule.full_size_epoch=10"],
            r"schedule.full_size_epoch \(=10\) must be below train.epochs \(=10\), so that "
            r"training ends at the last size; of a shorter run lower it too, for instance "
            r"schedule.full_size_epoch=6\.",
        ),
        (
            ["schedule.max_lr=1e300"],
            r"schedule.max_lr: must be less than or equal to 10{30}, got 1e\+300\.",
        ),
        (
            ["optimizer.muon_lr_ratio=1e300"],
            r"optimizer.muon_lr_ratio: must be less than or equal to 1000000, got 1e\+300\.",
        ),
        (
            ["optimizer.weight_decay=1e300"],
            r"optimizer.weight_decay: must be less than or equal to 1000000, got 1e\+300\.",
        ),
        (
            ["augment.pad_px=10000000000000000000"],
            r"augment.pad_px: must be less than or equal to 1048576, got 10000000000000000000\.",
        ),
        (
            ["augment.dropout_max_px=10000000000000000000"],
            r"augment.dropout_max_px: must be less than or equal to 1048576, got 1",
        ),
        (["train.epochs=3.5"], r"train.epochs: must be a valid integer, got 3.5\."),
        (["train.epochs=true"], r"train.epochs: must be a valid integer, got True\."),
        (["model=3"], r"model: must be a table of settings, got 3\."),
        (["schedule.max_lr=nan"], r"schedule.max_lr: must be (a finite number|greater than 0)"),
    ],
)
def test_an_impossible_value_is_named_with_its_bound(overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe("smoke", overrides)
    assert str(caught.value).startswith("recipe smoke with --set: 1 fault.")


def faults_of(name: str, overrides: list[str]) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(name, overrides)
    head, *faults = str(caught.value).splitlines()
    assert head.endswith(f" {len(faults)} fault{'s' * (len(faults) > 1)}.")
    return [fault.strip() for fault in faults]


PEAK = (
    "schedule.peak_epoch (=4.0) must be at most train.epochs (=3); of a shorter run lower it too, "
    "for instance schedule.peak_epoch=0.75."
)
FULL_SIZE = (
    "schedule.full_size_epoch (=12) must be below train.epochs (=3), so that training ends at the "
    "last size; of a shorter run lower it too, for instance schedule.full_size_epoch=2."
)
BATCH = "train.batch_size: must be greater than or equal to 2, got 0."


def test_a_shorter_run_is_told_all_that_it_must_shorten() -> None:
    assert faults_of("cpu", ["train.epochs=3"]) == [PEAK, FULL_SIZE]
    shorter = ["train.epochs=3", "schedule.peak_epoch=0.75", "schedule.full_size_epoch=2"]
    assert load_recipe("cpu", shorter).train.epochs == 3


def test_a_run_of_one_epoch_is_told_to_let_no_images_grow() -> None:
    (fault,) = faults_of("cpu", ["train.epochs=1", "schedule.peak_epoch=0.25"])
    advice = ["schedule.full_size_epoch=0", "schedule.first_image_px=0"]
    assert fault.endswith(f"for instance {' with '.join(advice)}.")
    load_recipe("cpu", ["train.epochs=1", "schedule.peak_epoch=0.25", *advice])


@pytest.mark.parametrize(
    ("overrides", "faults"),
    [
        (["train.batch_size=0"], [BATCH, PEAK, FULL_SIZE]),
        (["schedule.peak_epoch=-1"], ["schedule.peak_epoch: must be greater than or equal to 0,"]),
        (["train=3"], ["train: must be a table of settings, got 3."]),
        (
            ["train.batch_size=7", "train.loss=nll", "schedule.min_momentum=0.95"],
            [
                "schedule.min_momentum (=0.95) must be at most max_momentum (=0.9).",
                "train.batch_size (=7) must be a multiple of 2 x accumulate (=2).",
                "train.label_smoothing (=0.1) must be 0 with loss nll; use cross-entropy.",
                PEAK,
                FULL_SIZE,
            ],
        ),
    ],
)
def test_no_fault_hides_another(overrides: list[str], faults: list[str]) -> None:
    table = [override for override in overrides if override == "train=3"]
    found = faults_of("cpu", table or ["train.epochs=3", *overrides])
    assert len(found) == len(faults)
    assert all(each.startswith(fault) for each, fault in zip(found, faults, strict=True))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", r"--set: must be KEY=VALUE such as train.epochs=3, got 'train.epochs'"),
        ("=3", r"--set: must be KEY=VALUE such as train.epochs=3, got '=3'"),
        ("train.epochs.x=3", r"--set train.epochs.x=3: epochs must be a table of settings"),
    ],
)
def test_an_override_that_is_not_one_is_explained(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("smoke", [override])


def test_of_two_overrides_the_one_that_makes_a_value_of_a_table_is_blamed() -> None:
    with pytest.raises(
        RecipeError,
        match=r"^--set train=3: train must be a table of settings, got a value\. Name one of its "
        r"settings\.$",
    ):
        load_recipe("smoke", ["train=3", "train.batch_size=0"])


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(
        RecipeError,
        match=r"recipe 'smok': must be the name of a shipped recipe or of a TOML file, "
        r"did you mean smoke\? Shipped: baseline",
    ):
        find_shipped("smok")


def test_a_missing_recipe_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml: a recipe must be a readable TOML file"):
        load_recipe(str(tmp_path / "none.toml"))


def test_a_recipe_may_begin_with_the_byte_order_mark_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf[train]\r\nepochs = 3\r\n")
    assert load_recipe(str(path)).train.epochs == 3


def test_a_file_that_is_not_toml_is_named_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"mine\.toml: a recipe must be TOML, but .*line 1"):
        load_recipe(write(tmp_path, "[train\n"))


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"readable TOML file, but it is not UTF-8 text"):
        load_recipe(str(path))
