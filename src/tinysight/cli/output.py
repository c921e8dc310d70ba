"""Results on stdout: text for people, or one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tinysight.run_folder import finite_or_null


def print_json(result: Mapping[str, Any]) -> None:
    """Print exactly one JSON object; a number that is not finite becomes null."""
    print(json.dumps(finite_or_null(result), ensure_ascii=False))
