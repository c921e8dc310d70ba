"""The whole way on real images: needs TINYSIGHT_DATA, and says so where it is missing."""

import json
from pathlib import Path

import pytest

from tinysight.cli import main


@pytest.mark.timeout(600)  # minutes on one core without AMX
def test_three_real_classes_are_packed_learned_and_evaluated(
    real_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, run = str(tmp_path / "store"), str(tmp_path / "run")
    assert main(["data", "pack", str(real_shards), "--classes", "3", "--out", store, "--json"]) == 0
    packed = json.loads(capsys.readouterr().out)
    assert (packed["images"], packed["train"], packed["test"]) == (1650, 3 * 385, 3 * 165)
    assert packed["rejected"] == 0

    # Small images but for the last epoch: minutes less on a processor without units for bf16.
    changes = ["train.epochs=6", "train.evaluate_every=6", "schedule.first_image_px=32"]
    changes += ["schedule.image_px_step=32", "schedule.full_size_epoch=5"]
    recipe = ["--recipe", "smoke", *(word for change in changes for word in ("--set", change))]
    assert main(["train", store, "--out", run, *recipe, "--json"]) == 0
    trained = json.loads(capsys.readouterr().out)
    assert trained["test_accuracy"] > 0.5  # chance is 0.33

    assert main(["evaluate", run, "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["images"] == 3 * 165
    assert evaluated["test_accuracy"] == pytest.approx(trained["test_accuracy"], abs=1e-9)
