from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinysight.classify import batches as batches_module
from tinysight.classify.augment import augment_batch, normalise_batch, shrink_batch
from tinysight.classify.batches import (
    Batch,
    LabelledImages,
    epoch_order,
    evaluation_batches,
    place_images,
    steps_per_epoch,
    training_batches,
)
from tinysight.classify.draws import draw_augmentation
from tinysight.classify.mixing import draw_mixing, mix_batch
from tinysight.classify.settings import AugmentSettings
from tinysight.errors import RecipeError

CPU = torch.device("cpu")
NUM_STORED, SIZE_PX = 90, 12
MEAN, STD = (0.48, 0.45, 0.40), (0.27, 0.26, 0.28)
PLAIN = AugmentSettings(pad_px=0, flip_probability=0.0)
EVERYTHING = AugmentSettings(
    pad_px=2,
    resized_crop_probability=0.5,
    rotate_probability=0.5,
    noise_probability=0.5,
    dropout_probability=0.5,
    dropout_min_px=2,
    dropout_max_px=6,
    mix_probability=0.7,
)
IMAGES_U8 = np.random.default_rng(0).integers(
    0, 256, (NUM_STORED, SIZE_PX, SIZE_PX, 3), dtype=np.uint8
)
TARGETS = np.arange(NUM_STORED) * 10
IMAGES = LabelledImages(IMAGES_U8, TARGETS, MEAN, STD)
ROWS = np.random.default_rng(1).permutation(NUM_STORED)[:70]


def make_batches(recipe: AugmentSettings = EVERYTHING, **over: Any) -> Iterator[Batch]:
    arguments: dict[str, Any] = {
        "images": IMAGES,
        "rows": ROWS,
        "settings": recipe,
        "seed": 7,
        "epoch": 1,
        "batch_size": 16,
        "device": CPU,
    }
    return training_batches(**{**arguments, **over})


def join(parts: list[Batch]) -> Batch:
    def joined(name: str) -> torch.Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    return Batch(joined("images"), joined("targets"), joined("other_targets"), joined("share"))


def assert_equal(a: Batch, b: Batch) -> None:
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.targets, b.targets)
    for name in ("other_targets", "share"):
        mixed_a, mixed_b = getattr(a, name), getattr(b, name)
        assert (mixed_a is None) == (mixed_b is None)
        assert mixed_a is None or torch.equal(mixed_a, mixed_b)


def gather(rows: NDArray[np.int64]) -> torch.Tensor:
    return torch.from_numpy(IMAGES_U8[rows])


@settings(max_examples=30, deadline=None)
@given(num_images=st.integers(0, 500), seed=st.integers(), epoch=st.integers(0, 100))
def test_order_is_a_permutation_fixed_by_seed_and_epoch(
    num_images: int, seed: int, epoch: int
) -> None:
    order = epoch_order(num_images, seed=seed, epoch=epoch)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(num_images))
    assert np.array_equal(order, epoch_order(num_images, seed=seed, epoch=epoch))


@pytest.mark.parametrize("key", [{"seed": 0, "epoch": 1}, {"seed": 1, "epoch": 0}])
def test_another_seed_or_epoch_gives_another_order(key: dict[str, int]) -> None:
    assert not np.array_equal(epoch_order(100, seed=0, epoch=0), epoch_order(100, **key))


@pytest.mark.parametrize(
    ("num_images", "batch_size", "steps"),
    [(0, 256, 0), (1, 256, 1), (256, 256, 1), (257, 256, 2), (77_000, 256, 301)],
)
def test_steps_per_epoch_counts_the_filled_up_batch(
    num_images: int, batch_size: int, steps: int
) -> None:
    assert steps_per_epoch(num_images, batch_size) == steps


def test_all_batches_are_full_and_the_last_is_filled_up_from_the_start_of_the_order() -> None:
    seen = list(make_batches(PLAIN))
    assert [len(batch.targets) for batch in seen] == [16] * 5
    order = epoch_order(70, seed=7, epoch=1)
    expected_rows = ROWS[np.concatenate([order, order[:10]])]
    targets = torch.cat([batch.targets for batch in seen])
    assert np.array_equal(targets.numpy(), TARGETS[expected_rows])
    images = torch.cat([batch.images for batch in seen])
    assert torch.equal(images, normalise_batch(gather(expected_rows), mean=MEAN, std=STD))


def test_fewer_images_than_a_batch_are_repeated_until_it_is_full() -> None:
    (batch,) = make_batches(PLAIN, rows=ROWS[:3], batch_size=8)
    order = epoch_order(3, seed=7, epoch=1)
    assert batch.targets.tolist() == TARGETS[ROWS[:3][np.tile(order, 3)[:8]]].tolist()


def test_a_repeated_image_is_drawn_for_anew() -> None:
    recipe = AugmentSettings(pad_px=5)
    (batch,) = make_batches(recipe, rows=ROWS[:1], batch_size=8)
    assert len({image.numpy().tobytes() for image in batch.images}) > 1


def test_a_batch_is_gathered_augmented_and_mixed_by_position() -> None:
    draws = draw_augmentation(EVERYTHING, 80, size_px=SIZE_PX, seed=7, epoch=1)
    mixing = draw_mixing(EVERYTHING, 80, size_px=SIZE_PX, seed=7, epoch=1)
    rows = ROWS[np.resize(epoch_order(70, seed=7, epoch=1), 80)]
    images = augment_batch(gather(rows), draws, EVERYTHING, mean=MEAN, std=STD)
    images, other_targets = mix_batch(images, torch.from_numpy(TARGETS[rows]), mixing, EVERYTHING)
    expected = Batch(images, torch.from_numpy(TARGETS[rows]), other_targets, mixing.share)
    assert_equal(join(list(make_batches())), expected)


def test_images_are_made_smaller_after_everything_else() -> None:
    (whole, *_), (small, *_) = make_batches(), make_batches(image_px=6)
    assert small.images.shape == (16, 3, 6, 6)
    assert small.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(small.images, shrink_batch(whole.images, 6))
    assert torch.equal(small.targets, whole.targets)


def test_alternating_flips_show_each_image_both_ways_in_two_epochs() -> None:
    recipe = AugmentSettings(pad_px=0, alternate_flips=True)

    def by_row(epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        batches = make_batches(recipe, epoch=epoch, batch_size=70)
        images = next(batches).images
        order = np.argsort(epoch_order(70, seed=7, epoch=epoch))
        plain = normalise_batch(gather(ROWS), mean=MEAN, std=STD)
        seen = images[torch.from_numpy(order)]
        return (seen == plain).flatten(1).all(1), (seen == plain.flip(3)).flatten(1).all(1)

    (is_plain, is_flipped), (was_plain, was_flipped) = by_row(2), by_row(3)
    assert torch.equal(is_plain, ~is_flipped)
    assert torch.equal(is_plain, was_flipped)
    assert torch.equal(is_flipped, was_plain)
    assert 20 < int(is_plain.sum()) < 50


def test_a_recipe_without_mixing_gives_one_target_an_image() -> None:
    batch = next(make_batches(PLAIN))
    assert batch.other_targets is None
    assert batch.share is None


@pytest.mark.parametrize("batch_size", [2, 8, 64])
def test_images_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    reference = join(list(make_batches(batch_size=70)))
    seen = join(list(make_batches(batch_size=batch_size)))
    for name in ("images", "targets", "other_targets", "share"):
        assert torch.equal(getattr(seen, name)[:70], getattr(reference, name)), name


@pytest.mark.parametrize("first_step", [0, 1, 4, 5])
def test_a_resumed_epoch_goes_on_with_the_same_batches(first_step: int) -> None:
    expected = list(make_batches())[first_step:]
    seen = list(make_batches(first_step=first_step))
    assert len(seen) == len(expected)
    for a, b in zip(seen, expected, strict=True):
        assert_equal(a, b)


def test_resuming_does_not_compute_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []

    def counting(*args: Any, **kwargs: Any) -> torch.Tensor:
        computed.append(1)
        return augment_batch(*args, **kwargs)

    monkeypatch.setattr(batches_module, "augment_batch", counting)
    next(make_batches(first_step=4))
    assert len(computed) == 1


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_parts_of_the_processes_joined_are_the_batch_of_one_process(world_size: int) -> None:
    parts = [list(make_batches(part=(rank, world_size))) for rank in range(world_size)]
    for whole, *pieces in zip(make_batches(), *parts, strict=True):
        assert {len(piece.targets) for piece in pieces} == {16 // world_size}
        assert_equal(join(pieces), whole)


def test_batches_are_float32_in_channels_last_memory() -> None:
    for batch in make_batches():
        assert batch.images.shape == (16, 3, SIZE_PX, SIZE_PX)
        assert batch.images.dtype == torch.float32
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.targets.dtype == torch.int64
        assert batch.share is not None
        assert batch.share.dtype == torch.float32


@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_mapped_file_and_a_tensor_give_the_batches_of_the_array(
    tmp_path: Path, as_tensor: bool
) -> None:
    np.save(tmp_path / "images.npy", IMAGES_U8)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    images_u8 = torch.from_numpy(np.array(mapped)) if as_tensor else mapped
    images = replace(IMAGES, images_u8=images_u8)
    for seen, expected in zip(make_batches(images=images), make_batches(), strict=True):
        assert_equal(seen, expected)


def test_cutting_a_batch_keeps_order_and_memory_format() -> None:
    batch = next(make_batches())
    parts = batch.split(4)
    assert [len(part.targets) for part in parts] == [4] * 4
    assert all(part.images.is_contiguous(memory_format=torch.channels_last) for part in parts)
    assert_equal(join(parts), batch)


def test_cutting_a_batch_without_mixing_keeps_it_without() -> None:
    batch = next(make_batches(PLAIN))
    (whole,) = batch.split(1)
    assert_equal(whole, batch)


def test_a_batch_is_cut_into_equal_parts_only() -> None:
    with pytest.raises(AssertionError, match="parts must be equal"):
        next(make_batches()).split(3)


@pytest.mark.parametrize("batch_size", [1, 7, 16, 70, 200])
def test_evaluation_shows_every_image_once_in_order(batch_size: int) -> None:
    seen = list(evaluation_batches(IMAGES, ROWS, batch_size=batch_size, device=CPU))
    assert len(seen) == steps_per_epoch(70, batch_size)
    images = torch.cat([images for images, _ in seen])
    targets = torch.cat([targets for _, targets in seen])
    assert torch.equal(images, normalise_batch(gather(ROWS), mean=MEAN, std=STD))
    assert np.array_equal(targets.numpy(), TARGETS[ROWS])


def test_evaluation_accepts_rows_that_cannot_be_written() -> None:
    rows = ROWS.copy()
    rows.flags.writeable = False
    (batch,) = evaluation_batches(IMAGES, rows, batch_size=70, device=CPU)
    assert len(batch[1]) == 70


def test_evaluation_of_no_image_has_no_batches() -> None:
    nothing = evaluation_batches(IMAGES, ROWS[:0], batch_size=8, device=CPU)
    assert list(nothing) == []


def test_images_for_the_cpu_stay_where_they_are() -> None:
    assert place_images(IMAGES_U8, CPU) is IMAGES_U8


def test_images_for_another_device_are_copied_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # "meta" holds no values, so the copy is watched where it is written.
    np.save(tmp_path / "images.npy", IMAGES_U8)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    monkeypatch.setattr(batches_module, "_UPLOAD_BYTES", IMAGES_U8[:32].nbytes)
    placed = place_images(mapped, torch.device("meta"))
    assert isinstance(placed, torch.Tensor)
    assert placed.shape == IMAGES_U8.shape
    assert placed.dtype == torch.uint8
    assert placed.device.type == "meta"


def test_images_that_are_not_on_the_device_are_refused() -> None:
    message = (
        r"^`images_u8` must be on the device of the batches \(meta\), found on cpu\. "
        r"Call place_images once and pass its result\.$"
    )
    with pytest.raises(ValueError, match=message):
        make_batches(device=torch.device("meta"))
    with pytest.raises(ValueError, match=message):
        evaluation_batches(
            IMAGES,
            ROWS,
            batch_size=8,
            device=torch.device("meta"),
        )


@pytest.mark.parametrize(("batch_size", "world_size"), [(16, 3), (6, 2), (5, 1), (0, 1), (-4, 2)])
def test_a_batch_that_cannot_be_shared_out_in_pairs_is_refused(
    batch_size: int, world_size: int
) -> None:
    with pytest.raises(
        RecipeError,
        match=rf"^train\.batch_size \(={batch_size}\) must be a positive multiple of 2 x the "
        rf"number of processes \(={world_size}\)\. Change the batch size or the number of "
        r"processes\.$",
    ):
        make_batches(batch_size=batch_size, part=(0, world_size))


def test_training_on_no_image_is_refused() -> None:
    with pytest.raises(
        RecipeError,
        match=r"^The training part must hold at least 1 image, found 0\. Pack more data\.$",
    ):
        make_batches(rows=ROWS[:0])


def test_global_generators_are_left_alone() -> None:
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    list(make_batches())
    numpy_after = np.random.get_state()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(numpy_after[1], numpy_before[1])
    assert numpy_after[2] == numpy_before[2]


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_cuda_gives_the_batches_of_the_cpu_without_waiting_for_the_device() -> None:
    cuda = torch.device("cuda")
    placed = place_images(IMAGES_U8, cuda)
    iterator = make_batches(images=replace(IMAGES, images_u8=placed), device=cuda)
    torch.cuda.set_sync_debug_mode("error")
    try:
        seen = list(iterator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for batch, expected in zip(seen, make_batches(), strict=True):
        torch.testing.assert_close(batch.images.cpu(), expected.images, atol=1e-3, rtol=0)
        assert torch.equal(batch.targets.cpu(), expected.targets)


@pytest.mark.parametrize(
    "augment",
    [
        AugmentSettings(
            resized_crop_probability=0.5,
            rotate_probability=0.5,
            noise_probability=0.5,
            dropout_probability=0.5,
            mix_probability=0.7,
            resizemix_max_side=0.8,
            alternate_flips=True,
        ),
        AugmentSettings(resized_crop_probability=0.5),
    ],
    ids=["everything", "shrunk with the crop"],
)
def test_compiled_batches_are_the_same_and_one_graph_for_each_size(
    augment: AugmentSettings,
) -> None:
    rng = np.random.default_rng(0)
    images_u8 = rng.integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
    graphs = []

    def count(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    def compiler(change: Callable[..., Any]) -> Callable[..., Any]:
        # A part that cannot be in the graph, such as a count that depends on the draws, raises.
        return torch.compile(change, dynamic=False, fullgraph=True, backend=count)

    torch._dynamo.reset()
    for epoch, image_px in ((0, 32), (1, 32), (2, 64), (3, 64)):
        plain, compiled = (
            training_batches(
                LabelledImages(images_u8, np.arange(24) % 5, MEAN, STD),
                np.arange(24),
                augment,
                seed=0,
                epoch=epoch,
                batch_size=8,
                device=CPU,
                image_px=image_px,
                compiler=each,
            )
            for each in (None, compiler)
        )
        for one, other in zip(plain, compiled, strict=True):
            torch.testing.assert_close(one.images, other.images, atol=1e-5, rtol=0)
            assert torch.equal(one.targets, other.targets)
            if augment.mix_probability:
                assert torch.equal(one.other_targets, other.other_targets)
                assert torch.equal(one.share, other.share)
    assert len(graphs) == 2
