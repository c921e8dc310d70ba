"""A compiled run is the plain one: the same steps, images of every size, averaged weights."""

import copy
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch._dynamo.exc import TorchDynamoException

from tests.classify.conftest import make_recipe, make_store
from tinysight import run_folder, whole_files
from tinysight.classify import training
from tinysight.classify.batches import Batch
from tinysight.classify.compiling import (
    MAX_GRAPHS,
    compile_changes,
    compile_mode,
    compile_network,
    compiler_cache,
    working_compiler,
)
from tinysight.classify.models import build_model
from tinysight.classify.placement import place_model
from tinysight.classify.run import train_run
from tinysight.classify.settings import Recipe, TrainSettings
from tinysight.classify.stopping import StopRequest
from tinysight.classify.training import forward_backward
from tinysight.errors import TrainingError


@pytest.mark.parametrize(
    ("device", "num_processes", "accumulate", "mode"),
    [
        ("cpu", 1, 1, None),
        ("cuda", 1, 1, "reduce-overhead"),
        ("cuda", 1, 2, None),
        ("cuda", 2, 1, None),
    ],
)
def test_cuda_graphs_only_where_gradients_need_not_wait(
    device: str, num_processes: int, accumulate: int, mode: str | None
) -> None:
    settings = TrainSettings(accumulate=accumulate)
    assert compile_mode(settings, torch.device(device), num_processes=num_processes) == mode


@pytest.mark.parametrize("num_processes", [1, 2])
def test_no_process_searches_for_kernels_anew(num_processes: int) -> None:
    cuda = torch.device("cuda")
    mode = compile_mode(TrainSettings(), cuda, num_processes=num_processes) or "default"
    options = torch._inductor.list_mode_options(mode)
    assert not options.get("max_autotune")
    assert not options.get("coordinate_descent_tuning")


def test_every_size_of_images_may_have_its_graphs() -> None:
    compile_changes(lambda images: images)
    assert torch._dynamo.config.recompile_limit >= MAX_GRAPHS


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch's compiler uses torch.jit
def test_a_compiler_that_is_not_there_is_told() -> None:
    with (
        torch._inductor.config.patch({"cpp.cxx": (None, "/nowhere/g++")}),
        pytest.raises(
            TrainingError,
            match=r"^train\.compile: torch must find a C\+\+ compiler that works, .*/nowhere/g\+\+"
            r".* Install them \(g\+\+, python3-dev\), or start again in another folder with "
            r"train\.compile=false\.$",
        ),
        working_compiler(),
    ):
        torch.compile(lambda x: torch.sin(x) + 1)(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx",
            r"torch must find a C\+\+ compiler that works, and on a GPU the headers of Python as "
            r"well, but InvalidCxxCompiler: No .*\. Install them \(g\+\+, python3-dev\),",
        ),
        (
            "CppCompileError: C++ compile error\n\nCommand:\ng++ main.cpp",
            r"torch must find a C\+\+ compiler that works, .* but CppCompileError: C\+\+ compile "
            r"error\. Install them",
        ),
        (
            "CalledProcessError: Command '['/usr/bin/gcc', 'main.c']' returned exit status 1.",
            r"torch must find a C\+\+ compiler .* returned exit status 1\. Install them",
        ),
        (
            "Cannot find a working triton installation. Either the package is not installed or it "
            "is too old.",
            r"on a GPU torch must find triton and a GPU that triton can compile for, but Cannot "
            r"find a working .* too old\. Install a triton that fits torch where it is missing,",
        ),
        (
            "Found Tesla P100 which is too old to be supported by the triton GPU compiler",
            r"on a GPU torch must find triton and .*, but Found Tesla P100 which .* Install a",
        ),
        (
            "AssertionError: a node without users\nset TORCHDYNAMO_VERBOSE=1",
            r"torch's compiler failed: AssertionError: a node without users\. Try another version "
            r"of torch,",
        ),
    ],
)
def test_what_keeps_torch_from_compiling_is_told(words: str, told: str) -> None:
    way_out = r"or start again in another folder with train\.compile=false\.$"
    fault = TorchDynamoException(words)
    with (
        pytest.raises(TrainingError, match=rf"^train\.compile: {told}.*{way_out}"),
        working_compiler(),
    ):
        raise fault


@pytest.mark.parametrize(
    "fault",
    [
        "_dynamo.exc.BackendCompilerFailed",
        "_inductor.exc.InductorError",
        "_inductor.exc.TritonMissing",
        "_inductor.exc.GPUTooOldForTriton",
    ],
)
def test_torchs_own_faults_of_its_compiler_are_known(fault: str) -> None:
    module, _, name = fault.rpartition(".")
    assert issubclass(getattr(import_module(f"torch.{module}"), name), TorchDynamoException)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("Failed to find C compiler. Please specify via CC environment variable.", TrainingError),
        ("CUDA out of memory in a C compiler", RuntimeError),
        ("shapes do not fit", RuntimeError),
    ],
)
def test_only_the_want_of_a_compiler_is_told_so(words: str, fault: type[Exception]) -> None:
    with pytest.raises(fault, match=words), working_compiler():
        raise RuntimeError(words)


@pytest.mark.parametrize(
    "device",
    [
        pytest.param("cpu", marks=pytest.mark.slow),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch's compiler uses torch.jit
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores")  # its advice on newer GPUs
def test_every_gradient_of_a_compiled_network_is_the_plain_one(device: str) -> None:
    recipe = make_recipe(train={"compile": True, "precision": "fp32"})
    place = torch.device(device)
    plain = place_model(build_model(recipe.model, 3, seed=0), recipe.train, place).train()
    twin = copy.deepcopy(plain)
    compiled = compile_network(twin, recipe.train, place, num_processes=1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):  # on CUDA a warm-up, the recording of a graph, and replays of it
        images = torch.randn(8, 3, 32, 32, generator=generator).to(place)
        images = images.contiguous(memory_format=torch.channels_last)
        batch = Batch(images, torch.randint(3, (8,), generator=generator).to(place))
        for network in (plain, compiled):
            forward_backward(network, batch, recipe, stop=StopRequest())
        for (name, own), other in zip(plain.named_parameters(), twin.parameters(), strict=True):
            assert own.grad is not None
            assert other.grad is not None
            apart = float((own.grad - other.grad).norm() / own.grad.norm().clamp(min=1e-3))
            assert apart < 1e-2, name
            own.data -= 0.01 * own.grad
            other.data.copy_(own.data)
            own.grad = other.grad = None


@pytest.mark.parametrize(
    ("found", "cache"),
    [
        ({}, "unknown"),
        ({"fxgraph_cache_miss": 3}, "cold"),
        ({"fxgraph_cache_bypass": 1}, "cold"),
        ({"fxgraph_cache_hit": 3}, "warm"),
        ({"fxgraph_cache_hit": 3, "fxgraph_cache_miss": 1}, "mixed"),
    ],
)
def test_where_graphs_came_from_is_told(
    found: dict[str, int], cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch._dynamo.utils, "counters", {"inductor": found})
    assert compiler_cache() == cache
    monkeypatch.delattr(torch._dynamo.utils, "counters")
    assert compiler_cache() == "unknown"


def test_a_compiled_run_writes_down_where_its_graphs_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "compile_network", lambda network, *_, **__: network)
    monkeypatch.setattr(training, "compile_changes", lambda change: change)
    monkeypatch.setattr(torch._dynamo.utils, "counters", {"inductor": {"fxgraph_cache_hit": 2}})
    store = make_store(tmp_path / "store")
    for is_compiled in (False, True):
        run = tmp_path / f"compiled-{is_compiled}"
        recipe = make_recipe(train={"epochs": 1, "compile": is_compiled})
        train_run(store, recipe, run, device=torch.device("cpu"))
        environment = whole_files.read_json(run / run_folder.ENVIRONMENT)
        assert environment.get("compiler_cache") == ("warm" if is_compiled else None)


def growing_recipe(accumulate: int, *, is_compiled: bool) -> Recipe:
    """Three epochs of five steps at 32, 48 and 64 px, with everything that a record may use."""
    return make_recipe(
        augment={"pad_px": 2, "alternate_flips": True, "mix_probability": 0.5},
        optimizer={"name": "muon"},
        schedule={
            "max_lr": 0.05,
            "peak_epoch": 1.0,
            "first_image_px": 32,
            "image_px_step": 16,
            "full_size_epoch": 2,
        },
        train={"accumulate": accumulate, "compile": is_compiled, "evaluate_every": 3},
    )


@pytest.mark.parametrize(
    "device",
    [
        pytest.param("cpu", marks=pytest.mark.slow),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch's compiler uses torch.jit
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores")  # its advice on newer GPUs
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_compiled_run_has_the_losses_of_the_plain_one(
    device: str, accumulate: int, tmp_path: Path
) -> None:
    store = make_store(tmp_path / "store", size_px=64)
    losses = []
    for is_compiled in (False, True):
        run = tmp_path / f"compiled-{is_compiled}"
        recipe = growing_recipe(accumulate, is_compiled=is_compiled)
        result = train_run(store, recipe, run, device=torch.device(device))
        assert "ema_test_accuracy" in result.last
        losses.append([row["loss"] for row in whole_files.read_records(run / run_folder.STEPS)])
    plain, compiled = losses
    # Rounding grows from step to step, so the first ones are the ones that tell.
    assert compiled[:5] == pytest.approx(plain[:5], rel=1e-2)
    assert compiled == pytest.approx(plain, rel=0.2, abs=0.1)
