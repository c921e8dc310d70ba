from pathlib import Path

import pytest

from tinysight.classify.pack import pack_store
from tinysight.classify.sources.opening import open_source
from tinysight.samples import draw_samples


@pytest.fixture(scope="session")
def packed_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real store of 60 drawn images of three shapes, 42 of them for training."""
    folder = tmp_path_factory.mktemp("shapes")
    draw_samples(
        folder / "source",
        classes=("circle", "square", "star"),
        train_per_class=15,
        val_per_class=5,
        test_images=1,
    )
    pack_store(open_source(folder / "source"), folder / "store", num_workers=1)
    return folder / "store"
