from __future__ import annotations

from typing import Any

import pytest

from tinysight.classify.sources.index import FoundImage, ImageIndex, build_index, named_apart
from tinysight.errors import DataError


def found(wnid: str, name: str, file: str = "") -> FoundImage:
    return FoundImage("all", wnid, name, file or f"{wnid}/{name}", name)


CAT, DOG = found("cat", "1"), found("dog", "1")


def built(images: list[FoundImage], wnids: list[str], **options: Any) -> ImageIndex:
    return build_index(
        images,
        layout="list",
        where="pets",
        wnids=wnids,
        class_names={"cat": "house cat"},
        read_at=lambda locations: iter([]),
        **options,
    )


def test_classes_are_numbered_in_sorted_order_or_in_that_of_the_source() -> None:
    assert built([CAT, DOG], ["dog", "cat"]).wnids == ("cat", "dog")
    in_order = built([CAT, DOG], ["dog", "cat"], is_order_kept=True)
    assert in_order.wnids == ("dog", "cat")
    assert [image.class_index for image in in_order.images] == [1, 0]
    assert in_order.class_names == ("dog", "house cat")


def test_reading_asks_for_every_place_in_order() -> None:
    asked: list[Any] = []
    index = build_index(
        [CAT, DOG],
        layout="list",
        where="pets",
        wnids=["cat", "dog"],
        class_names={},
        read_at=lambda locations: asked.extend(locations) or iter([b"a", b"b"]),
    )
    assert list(index.read()) == [b"a", b"b"]
    assert asked == ["1", "1"]


def test_no_images_are_a_fault() -> None:
    with pytest.raises(
        DataError,
        match=r"pets: a source must hold labelled images, found none \(it was taken for",
    ):
        built([], ["cat", "dog"])


def test_a_class_without_images_is_named() -> None:
    with pytest.raises(
        DataError, match=r"every class must have images, class 'owl' has none \(1 of 3 classes are"
    ):
        built([CAT, DOG], ["cat", "dog", "owl"])


def test_one_class_is_a_fault() -> None:
    with pytest.raises(
        DataError, match=r"needs at least 2 classes, found only 'cat'. Put the images"
    ):
        built([CAT], ["cat"])


def test_one_name_for_two_images_of_a_class_is_a_fault() -> None:
    with pytest.raises(
        DataError,
        match=r"pets: every image must have a name of its own within its class, 'all/cat/1' occurs "
        r"2 times \(a, b\). Rename or remove all but one.",
    ):
        built([found("cat", "1", "a"), found("cat", "1", "b"), DOG], ["cat", "dog"])


def test_names_that_tell_images_apart_are_kept() -> None:
    assert named_apart([CAT, DOG]) == [CAT, DOG]


@pytest.mark.parametrize("name", ["", "1"])
def test_names_that_do_not_tell_images_apart_give_way_to_places(name: str) -> None:
    images = [found("cat", "1", "x#0"), found("cat", name, "x#1")]
    assert [image.name for image in named_apart(images)] == ["x#0", "x#1"]
