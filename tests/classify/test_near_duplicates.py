from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.fft import dctn

from tinysight.classify import near_duplicates
from tinysight.classify.near_duplicates import (
    CHROMA_FREQUENCIES,
    LUMA_FREQUENCIES,
    NEAR_DISTANCE,
    DuplicatePairs,
    describe_images,
    find_duplicate_pairs,
)

SIZE_PX = 32


def make_pictures(count: int, seed: int = 0) -> np.ndarray:
    """Soft blobs of colour, as far from each other as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    size = (SIZE_PX, SIZE_PX)
    return np.stack([np.asarray(Image.fromarray(one).resize(size)) for one in small])


def find(images: np.ndarray, **options: float) -> DuplicatePairs:
    """Pairs among files that all differ."""
    return find_duplicate_pairs(images, [str(row) for row in range(len(images))], **options)


def pairs_of(found: DuplicatePairs) -> list[tuple[int, int]]:
    return [(first, second) for first, second in found.rows.tolist()]


def recompressed(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(file))


def rescaled(image: np.ndarray) -> np.ndarray:
    size = (SIZE_PX * 3 // 4, SIZE_PX * 3 // 4)
    return np.asarray(Image.fromarray(image).resize(size).resize((SIZE_PX, SIZE_PX)))


ALTERATIONS = {
    "compressed": lambda image: recompressed(image, 60),
    "scaled down and up": rescaled,
    "brighter": lambda image: (image * 0.8 + 50).astype(np.uint8),
    "noisy": lambda image: (
        image.astype(int) + np.random.default_rng(1).integers(-8, 9, image.shape)
    ).clip(0, 255).astype(np.uint8),
}  # fmt: skip


@pytest.mark.parametrize("kind", ALTERATIONS)
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_an_altered_copy_is_found(kind: str, is_mirrored: bool) -> None:
    images = make_pictures(40)
    copy = ALTERATIONS[kind](images[7])
    images[31] = copy[:, ::-1] if is_mirrored else copy
    found = find(images)
    assert pairs_of(found) == [(7, 31)]
    assert found.is_mirrored.tolist() == [is_mirrored]
    assert found.is_identical.tolist() == [False]
    assert 0 < found.distances[0] <= NEAR_DISTANCE


def test_a_copy_of_the_pixels_has_distance_0() -> None:
    images = make_pictures(10)
    images[4] = images[2]
    images[9] = images[2, :, ::-1]
    found = find(images)
    assert pairs_of(found) == [(2, 4), (2, 9), (4, 9)]
    assert found.is_mirrored.tolist() == [False, True, True]
    assert found.distances.tolist() == [0, 0, 0]


def test_equal_files_are_paired_with_the_first_of_them_and_come_first() -> None:
    images = make_pictures(8)
    images[[3, 6, 7]] = images[0]
    images[5] = recompressed(images[1], 60)
    found = find_duplicate_pairs(images, ["a", "b", "c", "a", "d", "e", "a", "f"])
    assert pairs_of(found) == [(0, 3), (0, 6), (0, 7), (3, 7), (6, 7), (1, 5)]
    assert found.is_identical.tolist() == [True, True, False, False, False, False]
    assert (np.diff(found.distances) >= 0).all()
    assert found.found == 6


def test_equal_files_are_paired_across_the_split_where_they_can_be() -> None:
    images = make_pictures(9)
    images[[2, 4, 6, 7]] = images[0]
    images[5] = images[3]
    files = ["a", "b", "a", "c", "a", "c", "a", "a", "d"]
    is_train = np.array([False, True, False, True, True, True, False, True, True])
    found = find_duplicate_pairs(images, files, is_train=is_train)
    assert pairs_of(found) == [(0, 4), (0, 7), (2, 4), (3, 5), (4, 6)]
    assert found.is_identical.all()


def test_pairs_are_those_of_a_search_without_shortcuts() -> None:
    images = make_pictures(60)
    rng = np.random.default_rng(5)
    for row in range(30):  # blends of two pictures, at all distances from both
        share = rng.uniform(0.5, 1)
        images[30 + row] = share * images[row] + (1 - share) * images[(row + 7) % 30]
    x = describe_images(images).astype(np.float64)
    y = describe_images(np.concatenate([images[:, :, ::-1], images]))[:60].astype(np.float64)
    # Mirrored pictures have the same root mean squares, so both are whitened alike.
    expected = {}
    for first in range(60):
        for second in range(first + 1, 60):
            squares = (x[first] ** 2).sum() + (x[second] ** 2).sum()
            plain = ((x[first] - x[second]) ** 2).sum() / squares
            mirrored = ((x[first] - y[second]) ** 2).sum() / squares
            if min(plain, mirrored) <= 0.3:
                expected[first, second] = (min(plain, mirrored), mirrored < plain)
    found = find(images, most_distance=0.3)
    assert len(expected) > 15
    assert set(pairs_of(found)) == set(expected)
    for pair, distance, is_mirrored in zip(
        pairs_of(found), found.distances, found.is_mirrored, strict=True
    ):
        assert distance == pytest.approx(expected[pair][0], abs=2e-5)
        assert is_mirrored == expected[pair][1]


def test_the_size_of_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_pictures(50)
    images[20:40] = [recompressed(image, 30) for image in images[:20]]
    expected = find(images, most_distance=0.5)
    monkeypatch.setattr(near_duplicates, "_BLOCK_IMAGES", 7)
    monkeypatch.setattr(near_duplicates, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(near_duplicates, "_PAIRS_AT_ONCE", 2)
    found = find(images, most_distance=0.5)
    assert len(found.rows) >= 20
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_too_many_pairs_are_counted_and_the_closest_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.concatenate([make_pictures(20), make_pictures(20)])
    images[20:30] = [recompressed(image, 60) for image in images[:10]]
    expected = find(images)
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 12)
    found = find(images)
    assert found.found == expected.found == 20
    np.testing.assert_array_equal(found.rows, expected.rows[:12])


def test_plain_pictures_are_compared_as_files_only() -> None:
    images = np.full((4, SIZE_PX, SIZE_PX, 3), 80, np.uint8)
    images[2:] = 200
    assert pairs_of(find(images)) == []
    found = find_duplicate_pairs(images, ["a", "b", "c", "c"])
    assert pairs_of(found) == [(2, 3)]


def test_one_image_has_no_pair() -> None:
    assert len(find(make_pictures(1)).rows) == 0


def test_progress_ends_with_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "_BLOCK_IMAGES", 8)
    reports: list[tuple[int, int]] = []
    find_duplicate_pairs(
        make_pictures(30), list("a" * 30), on_progress=lambda *report: reports.append(report)
    )
    assert len(reports) == 4
    assert reports == sorted(reports)
    assert reports[-1] == (30, 30)


@pytest.mark.parametrize("size_px", [4, 32])
def test_descriptions_are_whitened_cosine_transforms(size_px: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, size_px, size_px, 3), dtype=np.uint8)
    red, green, blue = np.moveaxis(images.astype(np.float64), 3, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    low, lower = min(LUMA_FREQUENCIES, size_px), min(CHROMA_FREQUENCIES, size_px)

    def lowest(channel: np.ndarray, count: int) -> np.ndarray:
        return dctn(channel, axes=(1, 2), norm="ortho")[:, :count, :count].reshape(20, -1)

    parts = [lowest(luma, low)[:, 1:], lowest(red - luma, lower), lowest(blue - luma, lower)]
    expected = np.concatenate(parts, axis=1)
    expected /= np.sqrt((expected**2).mean(axis=0))
    np.testing.assert_allclose(describe_images(images), expected, atol=2e-3)


def test_grey_pictures_have_no_colour_to_compare() -> None:
    images = make_pictures(10)
    images[:] = images[..., :1]
    described = describe_images(images)
    assert np.abs(described[:, LUMA_FREQUENCIES**2 - 1 :]).max() < 0.01
    images[8] = recompressed(images[3], 60)
    images[8] = images[8, ..., :1]
    assert pairs_of(find(images)) == [(3, 8)]


def test_the_27_pairs_of_equal_files_of_tiny_imagenet_are_found(real_shards: Path) -> None:
    columns = ["split", "wnid", "jpeg"]
    splits, wnids, sha256s = [], [], []
    for number in range(4):
        for batch in pq.ParquetFile(real_shards / f"part-{number}.parquet").iter_batches(
            batch_size=2000, columns=columns
        ):
            splits += batch["split"].to_pylist()
            wnids += batch["wnid"].to_pylist()
            sha256s += [hashlib.sha256(jpeg.as_buffer()).hexdigest() for jpeg in batch["jpeg"]]
    plain = np.zeros((len(sha256s), 1, 1, 3), np.uint8)  # only the files are of interest
    found = find_duplicate_pairs(plain, sha256s)
    assert len(found.rows) == 27
    assert found.is_identical.all()
    assert all(wnids[first] != wnids[second] for first, second in pairs_of(found))
    across = [splits[first] != splits[second] for first, second in pairs_of(found)]
    assert sum(across) == 7


def test_near_duplicates_in_two_real_classes_are_found(real_shards: Path) -> None:
    shard = pq.ParquetFile(real_shards / "part-0.parquet")
    rows = shard.read_row_groups([11, 39]).to_pylist()  # German shepherd, Labrador retriever
    images = np.stack(
        [np.asarray(Image.open(io.BytesIO(row["jpeg"])).convert("RGB")) for row in rows]
    )
    found = find_duplicate_pairs(images, [row["file_name"] for row in rows])
    files = [{rows[row]["file_name"] for row in pair} for pair in pairs_of(found)]
    assert files == [
        {"n02099712_247.JPEG", "n02099712_377.JPEG"},
        {"n02106662_485.JPEG", "n02106662_63.JPEG"},
    ]
    assert found.is_mirrored.tolist() == [False, True]
