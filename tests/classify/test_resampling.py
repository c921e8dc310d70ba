import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tinysight.classify.resampling import resample, shrinking_weights, stretching_weights

# Start and length of a piece of an axis of 12 pixels.
PIECES = st.tuples(st.integers(0, 11), st.integers(1, 12)).map(
    lambda piece: (piece[0], min(piece[1], 12 - piece[0]))
)


def make_images(num_images: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(num_images)
    return torch.randn(num_images, 12, 12, 3, generator=generator)


def weights_of(which: str, pieces: list[tuple[int, int]]) -> torch.Tensor:
    start, length = torch.tensor(pieces).T
    make = stretching_weights if which == "stretch" else shrinking_weights
    return make(start, length, 12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(PIECES, PIECES), min_size=1, max_size=4))
def test_a_stretched_piece_is_what_torch_makes_of_it(
    pieces: list[tuple[tuple[int, int], tuple[int, int]]],
) -> None:
    images = make_images(len(pieces))
    rows, columns = ([pair[axis] for pair in pieces] for axis in (0, 1))
    ours = resample(images, weights_of("stretch", rows), weights_of("stretch", columns))
    for i, ((top, height), (left, width)) in enumerate(pieces):
        piece = images[i, top : top + height, left : left + width].permute(2, 0, 1)[None]
        expected = F.interpolate(piece, size=(12, 12), mode="bilinear", align_corners=False)
        torch.testing.assert_close(ours[i].permute(2, 0, 1)[None], expected, atol=1e-5, rtol=0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(PIECES, PIECES), min_size=1, max_size=4))
def test_an_image_shrunk_into_a_piece_is_what_torch_makes_of_it(
    pieces: list[tuple[tuple[int, int], tuple[int, int]]],
) -> None:
    images = make_images(len(pieces))
    rows, columns = ([pair[axis] for pair in pieces] for axis in (0, 1))
    ours = resample(images, weights_of("shrink", rows), weights_of("shrink", columns))
    for i, ((top, height), (left, width)) in enumerate(pieces):
        # With pixels repeated first, the mean over each new pixel is over whole old ones.
        fine = images[i].repeat_interleave(height, 0).repeat_interleave(width, 1)
        expected = torch.zeros(12, 12, 3)
        expected[top : top + height, left : left + width] = F.avg_pool2d(
            fine.permute(2, 0, 1)[None], 12
        )[0].permute(1, 2, 0)
        torch.testing.assert_close(ours[i], expected, atol=1e-5, rtol=0)


def test_the_whole_axis_stays_as_it_is() -> None:
    images, whole = make_images(2), [(0, 12), (0, 12)]
    for which in ("stretch", "shrink"):
        weights = weights_of(which, whole)
        assert torch.equal(resample(images, weights, weights), images)


def test_a_piece_without_pixels_has_no_weights() -> None:
    assert not weights_of("shrink", [(3, 0)]).any()
