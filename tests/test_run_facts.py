import pytest

from tinysight.run_facts import (
    TrainingParts,
    read_guessing,
    read_training_parts,
    short_class_names,
    without_folders,
)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ()),
        (["goldfish, Carassius auratus", "lemon"], ("goldfish", "lemon")),
        (["crane, bird", "crane, machine"], ("crane, bird", "crane, machine")),
        (["", " , x", "lemon"], ("class 0", ", x", "lemon")),
        (["a", "a"], ("a", "a")),
        (["1,5 mm", "2,0 mm"], ("1,5 mm", "2,0 mm")),
    ],
)
def test_first_synonym_names_a_class_where_it_says_enough(
    names: list[str], expected: tuple[str, ...]
) -> None:
    classes = [{"wnid": f"n{index}", "name": name} for index, name in enumerate(names)]
    assert short_class_names(classes) == expected


def test_a_name_that_is_the_id_is_left_whole() -> None:
    names = ["cat, old", "dog, young"]
    assert short_class_names([{"wnid": name, "name": name} for name in names]) == tuple(names)


def test_guessing_gets_the_share_of_the_commonest_class() -> None:
    about = {"classes": [{}, {}], "class_test_images": [2_700, 300]}
    guessing = read_guessing(about)
    assert (guessing.num_classes, guessing.accuracy) == (2, 0.9)
    assert guessing.way == "always naming the commonest class"


@pytest.mark.parametrize("counts", [{}, {"class_test_images": [5, 5, 5, 5]}])
def test_guessing_among_even_classes_gets_one_in_so_many(counts: dict[str, list[int]]) -> None:
    guessing = read_guessing({"classes": [{}] * 4} | counts)
    assert (guessing.accuracy, guessing.way) == (0.25, "guessing")


def test_images_held_back_were_not_trained_on() -> None:
    recipe = {"train": {"tuning_fraction": 0.1}}
    about = {"train_images": 1_234, "tuning_images": 120}
    assert read_training_parts(about, recipe) == TrainingParts(learned_from=1_114, held_back=120)
    older = {"train_images": 1_234}
    assert read_training_parts(older, recipe) == TrainingParts(learned_from=1_111, held_back=123)
    assert read_training_parts(older, {"train": {}}) == TrainingParts(1_234, 0)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("store", "store"),
        ("/data/my store/", "my store"),
        ("C:\\Users\\bob\\secret project\\store\\", "store"),
        ("--out=runs/a", "--out=a"),
        ("augment.x=/a/b", "augment.x=b"),
        ("augment.x=C:\\a\\b", "augment.x=b"),
        ("/data/lr=0.1/store", "store"),
        ("/data/lr=0.1", "lr=0.1"),
        ("train.epochs=2", "train.epochs=2"),
        ("--out=", "--out="),
        ("/", "/"),
        ("", ""),
    ],
)
def test_of_a_path_only_its_last_name_stays(word: str, expected: str) -> None:
    assert without_folders(word) == expected
