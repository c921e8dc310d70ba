"""A memory that is too small is told, whatever torch calls it, with settings that can be had."""

import pytest
import torch

from tinysight.classify.device_memory import enough_memory, enough_memory_to_look
from tinysight.classify.settings import TrainSettings
from tinysight.errors import RunError, TrainingError

CPU = torch.device("cpu")


def raise_as_on_the_cpu() -> None:
    torch.empty(2**45)


def raise_as_on_a_gpu() -> None:
    raise torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of "
        "which 1.06 GiB is free. Including non-PyTorch memory, this process has 6.9 GiB in use."
    )


def raise_as_beyond_the_allocator() -> None:
    raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later.")


def raise_as_a_library_of_cuda() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


@pytest.mark.parametrize(
    ("fail", "words"),
    [
        (raise_as_on_the_cpu, "torch tried to allocate 140737488355328 bytes"),
        (raise_as_on_a_gpu, "torch tried to allocate 2.00 GiB, and 1.06 GiB is free"),
        (raise_as_beyond_the_allocator, "CUDA error: out of memory"),
        (
            raise_as_a_library_of_cuda,
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        ),
    ],
)
def test_each_of_torchs_words_for_it_is_known(fail: object, words: str) -> None:
    with pytest.raises(RunError) as told, enough_memory_to_look(CPU):
        fail()  # type: ignore[operator]
    assert str(told.value) == (
        f"cpu: its memory must hold the network, the images and what it computes for a batch of "
        f"them, but is too small: {words}. Try --device cpu, or end other programs that use this "
        f"memory."
    )


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), enough_memory(TrainSettings(), CPU):
        raise RuntimeError("shapes do not fit")
    with pytest.raises(RuntimeError, match="shapes"), enough_memory_to_look(CPU):
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "num_processes", "advice"),
    [
        (256, 1, 1, r"of 256 of them|train\.accumulate=2, which takes a batch in smaller parts\.$"),
        (256, 4, 2, r"for 32 of them .* train\.accumulate=8, which takes a batch in"),
        (250, 1, 1, r"for 250 of them .* train\.accumulate=5, which takes a batch in"),
        (4, 2, 2, r"for 1 of them .* with train\.batch_size below 4\.$"),
    ],
)
def test_the_advice_is_a_setting_that_is_admitted(
    batch_size: int, accumulate: int, num_processes: int, advice: str
) -> None:
    settings = TrainSettings(batch_size=batch_size, accumulate=accumulate)
    with (
        pytest.raises(TrainingError, match=advice),
        enough_memory(settings, CPU, num_processes=num_processes),
    ):
        raise_as_on_a_gpu()
