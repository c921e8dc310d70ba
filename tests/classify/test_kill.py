"""A process that is killed at a random moment, again and again, ends with the same bits."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tinysight import run_folder, whole_files
from tinysight.classify.pack import pack_store
from tinysight.classify.sources.opening import open_source
from tinysight.samples import draw_samples

KILLS = 40


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path) -> None:
    draw_samples(tmp_path / "source", train_per_class=30, val_per_class=10, test_images=1)
    pack_store(open_source(tmp_path / "source"), tmp_path / "store")
    settings = ["train.epochs=60", "train.batch_size=32", "train.checkpoint_every_s=0.2"]
    words = [sys.executable, "-m", "tinysight", "train", str(tmp_path / "store"), "--out"]
    changes = [word for setting in settings for word in ("--set", setting)]
    subprocess.run([*words, str(tmp_path / "whole"), "--recipe", "smoke", *changes], check=True)

    chance = random.Random(0)
    parts = tmp_path / "parts"
    kills = 0
    while not (parts / run_folder.METRICS).exists():
        again = ["--resume"] if (parts / run_folder.RUN).exists() else []
        recipe = [] if again else ["--recipe", "smoke", *changes]
        with subprocess.Popen([*words, str(parts), *recipe, *again]) as process:
            started_at = time.monotonic()
            wait_s = chance.uniform(2.0, 8.0) if kills < KILLS else 600.0
            while process.poll() is None and time.monotonic() - started_at < wait_s:
                time.sleep(0.01)
            if process.poll() is None:
                process.kill()
                kills += 1
        for path in (parts / run_folder.HISTORY, parts / run_folder.STEPS):
            whole_files.read_records(path)  # never torn in the middle
    assert kills >= 5
    ours, theirs = (load_file(tmp_path / name / run_folder.MODEL) for name in ("whole", "parts"))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    steps = [
        whole_files.read_records(tmp_path / name / run_folder.STEPS) for name in ("whole", "parts")
    ]
    assert steps[0] == steps[1]
