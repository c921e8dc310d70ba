from __future__ import annotations

from pathlib import Path

import pytest

from tinysight.errors import RunError
from tinysight.overwriting import require_other_file


def test_what_is_read_is_not_written_over_by_whatever_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    require_other_file(tmp_path / "b", [tmp_path / "a"], what="the pictures")
    require_other_file(tmp_path / "b", [tmp_path], what="the pictures")
    for out in (tmp_path / "a", tmp_path / "link", tmp_path / "x" / ".." / "a"):
        with pytest.raises(RunError) as caught:
            require_other_file(out, [tmp_path / "a"], what="pictures", option="--csv")
        assert str(caught.value) == (
            f"{out}: --csv must not write over pictures, which would be lost. Choose another --csv."
        )
