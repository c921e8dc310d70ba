from __future__ import annotations

import itertools
import math
import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
)

from tinysight.classify.schedule import (
    StepSchedule,
    ema_decay_at,
    held_out_px_at,
    image_px_at,
    schedule_at,
)
from tinysight.classify.settings import ScheduleSettings
from tinysight.errors import RecipeError


def one_cycle(
    max_lr: float = 0.1,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    peak_epoch: float = 2.0,
    anneal: str = "linear",
    min_momentum: float = 0.85,
    max_momentum: float = 0.95,
) -> ScheduleSettings:
    return ScheduleSettings(
        kind="one-cycle",
        max_lr=max_lr,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        peak_epoch=peak_epoch,
        anneal=anneal,
        min_momentum=min_momentum,
        max_momentum=max_momentum,
    )


def whole_run(
    settings: ScheduleSettings, *, steps_per_epoch: int, epochs: int
) -> list[StepSchedule]:
    return [
        schedule_at(step, settings, steps_per_epoch=steps_per_epoch, epochs=epochs)
        for step in range(steps_per_epoch * epochs)
    ]


def torch_run(
    build: Callable[[torch.optim.Optimizer], LRScheduler], *, lr: float, num_steps: int
) -> list[tuple[float, float]]:
    """Learning rate and momentum of torch's own scheduler before each of its steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    scheduler = build(optimizer)
    seen = []
    group = optimizer.param_groups[0]
    seen.append((float(group["lr"]), float(group["momentum"])))
    for _ in range(num_steps - 1):
        optimizer.step()
        scheduler.step()
        seen.append((float(group["lr"]), float(group["momentum"])))
    return seen


def torch_one_cycle(
    settings: ScheduleSettings, *, steps_per_epoch: int, epochs: int
) -> list[tuple[float, float]]:
    return torch_run(
        lambda optimizer: OneCycleLR(
            optimizer,
            max_lr=settings.max_lr,
            total_steps=steps_per_epoch * epochs,
            pct_start=settings.peak_epoch / epochs,
            anneal_strategy="cos" if settings.anneal == "cosine" else "linear",
            cycle_momentum=True,
            base_momentum=settings.min_momentum,
            max_momentum=settings.max_momentum,
            div_factor=settings.div_factor,
            final_div_factor=settings.final_div_factor,
        ),
        lr=settings.max_lr,
        num_steps=steps_per_epoch * epochs,
    )


def assert_same(ours: list[StepSchedule], torchs: list[tuple[float, float]]) -> None:
    assert len(ours) == len(torchs)
    for step, (mine, (lr, momentum)) in enumerate(zip(ours, torchs, strict=True)):
        assert mine.lr == pytest.approx(lr, rel=1e-12, abs=1e-12), f"lr of step {step}"
        assert mine.momentum == pytest.approx(momentum, rel=1e-12, abs=1e-12), f"step {step}"


# one-cycle


@pytest.mark.parametrize("anneal", ["linear", "cosine"])
@pytest.mark.parametrize(
    ("peak_epoch", "steps_per_epoch", "epochs"),
    [
        (8.0, 31, 48),
        (2.0, 10, 16),
        (0.0, 7, 3),
        (3.0, 7, 3),
        (2.5, 7, 5),
        (1.3, 3, 4),
        (0.05, 10, 2),
        (0.5, 1, 1),
        (0.0, 1, 1),
    ],
)
def test_one_cycle_is_torchs_one_cycle_at_every_step(
    anneal: str, peak_epoch: float, steps_per_epoch: int, epochs: int
) -> None:
    settings = one_cycle(peak_epoch=peak_epoch, anneal=anneal)
    run = {"steps_per_epoch": steps_per_epoch, "epochs": epochs}
    assert_same(whole_run(settings, **run), torch_one_cycle(settings, **run))


@run_settings(deadline=None)
@given(
    max_lr=st.floats(1e-4, 10.0),
    div_factor=st.floats(1.0, 1e3),
    final_div_factor=st.floats(0.1, 1e5),
    peak_share=st.floats(0.0, 1.0),
    anneal=st.sampled_from(["linear", "cosine"]),
    steps_per_epoch=st.integers(1, 20),
    epochs=st.integers(1, 6),
)
def test_one_cycle_is_torchs_one_cycle_for_any_settings(
    max_lr: float,
    div_factor: float,
    final_div_factor: float,
    peak_share: float,
    anneal: str,
    steps_per_epoch: int,
    epochs: int,
) -> None:
    settings = one_cycle(max_lr, div_factor, final_div_factor, peak_share * epochs, anneal)
    run = {"steps_per_epoch": steps_per_epoch, "epochs": epochs}
    try:
        expected = torch_one_cycle(settings, **run)
    except ZeroDivisionError:  # a rise of one step: torch divides 0 by 0, see the test below
        assert settings.peak_epoch * steps_per_epoch == pytest.approx(1.0)
        return
    ours = whole_run(settings, **run)
    for mine, (lr, momentum) in zip(ours, expected, strict=True):
        assert mine.lr == pytest.approx(lr, rel=1e-9, abs=1e-12 * max_lr)
        assert mine.momentum == pytest.approx(momentum, rel=1e-9)


def test_a_rise_of_one_step_starts_at_the_peak() -> None:
    settings = one_cycle(max_lr=0.1, peak_epoch=1.0)
    first = schedule_at(0, settings, steps_per_epoch=1, epochs=3)
    assert first == StepSchedule(lr=0.1, momentum=0.85)
    only = schedule_at(0, settings, steps_per_epoch=1, epochs=1)
    assert only == StepSchedule(lr=0.1, momentum=0.85)


def test_the_reference_recipe_rises_for_eight_epochs_and_ends_where_it_began() -> None:
    settings = one_cycle(0.01, 100.0, 1.0, 8.0)
    lrs = [at.lr for at in whole_run(settings, steps_per_epoch=301, epochs=48)]
    assert lrs[0] == pytest.approx(0.0001)
    assert max(range(len(lrs)), key=lrs.__getitem__) == 8 * 301 - 1  # last step of the 8th epoch
    assert lrs[8 * 301 - 1] == 0.01
    assert lrs[-1] == pytest.approx(0.0001)


def test_the_final_divisor_divides_the_first_learning_rate_not_the_highest() -> None:
    settings = one_cycle(max_lr=1.0, div_factor=10.0, final_div_factor=100.0)
    last = schedule_at(39, settings, steps_per_epoch=10, epochs=4)
    assert last.lr == pytest.approx(1.0 / 10 / 100)


@run_settings(deadline=None)
@given(
    peak_step=st.integers(1, 60),
    anneal=st.sampled_from(["linear", "cosine"]),
    div_factor=st.floats(1.0, 100.0),
    final_div_factor=st.floats(1.0, 1e4),
)
def test_one_cycle_stays_in_bounds_reaches_its_peak_and_never_jumps(
    peak_step: int, anneal: str, div_factor: float, final_div_factor: float
) -> None:
    steps_per_epoch, epochs = 20, 3
    settings = one_cycle(0.5, div_factor, final_div_factor, peak_step / steps_per_epoch, anneal)
    run = whole_run(settings, steps_per_epoch=steps_per_epoch, epochs=epochs)
    lrs = [at.lr for at in run]
    lowest = 0.5 / div_factor / final_div_factor
    assert all(lowest * (1 - 1e-9) - 1e-15 <= lr <= 0.5 * (1 + 1e-12) for lr in lrs)
    assert max(lrs) == pytest.approx(0.5)
    assert lrs[peak_step - 1] == pytest.approx(0.5)
    # Half a cosine is at most pi/2 times as steep as the straight line.
    shortest = min(length for length in (peak_step - 1, 60 - peak_step) if length > 0)
    steepest = 0.5 * (math.pi / 2) / shortest
    assert all(abs(b - a) <= steepest * (1 + 1e-9) for a, b in itertools.pairwise(lrs))


@run_settings(deadline=None)
@given(peak_epoch=st.floats(0.0, 3.0), anneal=st.sampled_from(["linear", "cosine"]))
def test_momentum_is_as_far_down_as_the_learning_rate_is_up(peak_epoch: float, anneal: str) -> None:
    settings = one_cycle(max_lr=0.1, peak_epoch=peak_epoch, anneal=anneal)
    first_lr, last_lr = 0.1 / 25, 0.1 / 25 / 1e4
    for step, at in enumerate(whole_run(settings, steps_per_epoch=9, epochs=3)):
        foot_lr = first_lr if step <= peak_epoch * 9 - 1 else last_lr
        up = (at.lr - foot_lr) / (0.1 - foot_lr)
        down = (0.95 - at.momentum) / (0.95 - 0.85)
        assert down == pytest.approx(up, abs=1e-9)
        assert 0.85 - 1e-12 <= at.momentum <= 0.95 + 1e-12


def test_equal_momenta_mean_no_cycling() -> None:
    settings = one_cycle(anneal="cosine", min_momentum=0.9, max_momentum=0.9)
    momenta = {at.momentum for at in whole_run(settings, steps_per_epoch=5, epochs=4)}
    assert momenta == {0.9}


# cosine and constant


def warmed_up(kind: str, peak_epoch: float) -> ScheduleSettings:
    return ScheduleSettings(kind=kind, max_lr=0.2, div_factor=20.0, peak_epoch=peak_epoch)


def test_cosine_is_torchs_linear_then_cosine() -> None:
    steps_per_epoch, epochs, warm_up = 6, 5, 12

    def build(optimizer: torch.optim.Optimizer) -> LRScheduler:
        rise = LinearLR(optimizer, start_factor=1 / 20, end_factor=1.0, total_iters=warm_up)
        fall = CosineAnnealingLR(optimizer, T_max=30 - warm_up)
        return SequentialLR(optimizer, [rise, fall], milestones=[warm_up])

    with warnings.catch_warnings():
        # SequentialLR passes on an argument that torch itself has deprecated.
        warnings.simplefilter("ignore", UserWarning)
        expected = torch_run(build, lr=0.2, num_steps=30)
    ours = whole_run(warmed_up("cosine", 2.0), steps_per_epoch=steps_per_epoch, epochs=epochs)
    assert_same(ours, expected)


def test_cosine_without_warm_up_is_torchs_cosine() -> None:
    expected = torch_run(
        lambda optimizer: CosineAnnealingLR(optimizer, T_max=30), lr=0.2, num_steps=30
    )
    assert_same(whole_run(warmed_up("cosine", 0.0), steps_per_epoch=6, epochs=5), expected)


@pytest.mark.parametrize("peak_epoch", [0.0, 1.0, 2.0, 5.0])
def test_constant_is_torchs_linear_warm_up(peak_epoch: float) -> None:
    warm_up = int(peak_epoch * 6)

    def build(optimizer: torch.optim.Optimizer) -> LRScheduler:
        start_factor = 1 / 20 if warm_up else 1.0
        return LinearLR(optimizer, start_factor=start_factor, total_iters=max(warm_up, 1))

    expected = torch_run(build, lr=0.2, num_steps=30)
    assert_same(whole_run(warmed_up("constant", peak_epoch), steps_per_epoch=6, epochs=5), expected)


@pytest.mark.parametrize("kind", ["cosine", "constant"])
@run_settings(deadline=None)
@given(peak_epoch=st.floats(0.0, 4.0))
def test_warm_up_rises_to_the_peak_without_cycling_momentum(kind: str, peak_epoch: float) -> None:
    settings = warmed_up(kind, peak_epoch)
    run = whole_run(settings, steps_per_epoch=8, epochs=4)
    warm_up = [at.lr for at in run[: math.ceil(peak_epoch * 8)]]
    after = [at.lr for at in run[math.ceil(peak_epoch * 8) :]]
    assert warm_up == sorted(warm_up)
    assert after == sorted(after, reverse=True)
    assert all(0.0 < at.lr <= 0.2 for at in run)
    assert {at.momentum for at in run} == {0.9}


def test_a_whole_number_of_warm_up_steps_ends_exactly_at_the_peak() -> None:
    for kind in ("cosine", "constant"):
        at_peak = schedule_at(12, warmed_up(kind, 2.0), steps_per_epoch=6, epochs=5)
        assert at_peak.lr == 0.2


@pytest.mark.parametrize("kind", ["cosine", "constant"])
def test_a_run_of_one_step_uses_the_peak_unless_it_warms_up(kind: str) -> None:
    assert schedule_at(0, warmed_up(kind, 0.0), steps_per_epoch=1, epochs=1).lr == 0.2
    warming = schedule_at(0, warmed_up(kind, 1.0), steps_per_epoch=1, epochs=1)
    assert warming.lr == pytest.approx(0.01)


# faults and side effects


@pytest.mark.parametrize("step", [-1, 30, 31])
def test_a_step_outside_the_run_is_refused(step: int) -> None:
    message = rf"step must be at least 0 and below epochs x steps_per_epoch \(=30\), got {step}\."
    with pytest.raises(ValueError, match=message):
        schedule_at(step, ScheduleSettings(), steps_per_epoch=6, epochs=5)


def test_a_peak_behind_the_last_epoch_is_refused() -> None:
    message = (
        r"schedule\.peak_epoch must be at most train\.epochs \(=5\), got 5\.5\. "
        r"Lower schedule\.peak_epoch or train longer\."
    )
    with pytest.raises(RecipeError, match=message):
        schedule_at(0, ScheduleSettings(peak_epoch=5.5), steps_per_epoch=6, epochs=5)


def test_the_schedule_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import tinysight.classify.schedule"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def sizes(epochs: int, *, own_px: int = 64, **settings: int) -> list[int]:
    schedule = ScheduleSettings(**settings)
    return [image_px_at(epoch, schedule, own_px=own_px) for epoch in range(epochs)]


def test_images_grow_in_equal_shares_of_the_epochs() -> None:
    assert sizes(8, first_image_px=32, full_size_epoch=6) == [32, 32, 32, 48, 48, 48, 64, 64]
    assert sizes(5, first_image_px=32, image_px_step=32, full_size_epoch=3) == [32, 32, 32, 64, 64]
    assert sizes(6, first_image_px=32, image_px_step=8, full_size_epoch=4) == [
        *(32, 40, 48, 56),
        *(64, 64),
    ]
    assert sizes(4, first_image_px=32, full_size_epoch=3) == [32, 32, 48, 64]


@pytest.mark.parametrize(
    "settings",
    [{}, {"full_size_epoch": 3}, {"first_image_px": 64, "full_size_epoch": 3}],
)
def test_images_keep_their_size_where_nothing_smaller_is_asked_for(
    settings: dict[str, int],
) -> None:
    assert sizes(5, **settings) == [64] * 5


@given(
    first=st.integers(32, 96),
    step=st.integers(1, 100),
    full=st.integers(1, 40),
    own_px=st.integers(96, 128),
)
def test_images_never_shrink_and_end_at_their_own_size(
    first: int, step: int, full: int, own_px: int
) -> None:
    found = sizes(
        full + 1, own_px=own_px, first_image_px=first, image_px_step=step, full_size_epoch=full
    )
    assert found == sorted(found)
    assert found[-1] == own_px
    assert found[0] == first


def test_images_may_end_smaller_than_they_are() -> None:
    assert sizes(5, first_image_px=32, full_size_epoch=4, last_image_px=56) == [32, 32, 48, 48, 56]
    assert sizes(3, first_image_px=48, full_size_epoch=2, last_image_px=48) == [48, 48, 48]
    assert sizes(3, last_image_px=48) == [48, 48, 48]
    assert sizes(3, full_size_epoch=2, last_image_px=48) == [48, 48, 48]


@pytest.mark.parametrize(
    ("settings", "held_out"),
    [
        ({}, [64, 64, 64, 64]),
        ({"first_image_px": 32, "full_size_epoch": 3}, [32, 32, 48, 64]),
        # Enlarged crops are learned from at a smaller size; what is looked at is not enlarged.
        ({"last_image_px": 48}, [64, 64, 64, 64]),
        ({"first_image_px": 32, "full_size_epoch": 2, "last_image_px": 48}, [32, 32, 64, 64]),
    ],
)
def test_images_that_are_looked_at_grow_with_those_that_are_learned_from(
    settings: dict[str, int], held_out: list[int]
) -> None:
    schedule = ScheduleSettings(**settings)
    assert [held_out_px_at(epoch, schedule, own_px=64) for epoch in range(4)] == held_out


@pytest.mark.parametrize("name", ["first_image_px", "last_image_px"])
def test_a_size_beyond_the_images_is_a_fault(name: str) -> None:
    with pytest.raises(
        RecipeError,
        match=rf"schedule.{name} \(=48\) must be at most the side of the images "
        r"\(=32 px\)\. Make it smaller or leave it out\.",
    ):
        sizes(1, own_px=32, **{name: 48}, full_size_epoch=1)


def test_the_averaged_weights_start_short_of_memory() -> None:
    assert ema_decay_at(0, 0.999) == 0.1
    assert ema_decay_at(90, 0.999) == 0.91
    assert ema_decay_at(8990, 0.999) == 0.999
    assert ema_decay_at(10**6, 0.999) == 0.999
    assert ema_decay_at(5, 0.2) == 0.2
