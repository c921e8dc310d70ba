"""Results on stdout: text for people, or one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from tinysight.run_folder import finite_or_null


def print_json(result: Mapping[str, Any]) -> None:
    """Print exactly one JSON object; a number that is not finite becomes null."""
    plain = finite_or_null(result)
    text = json.dumps(plain, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # JSON has escapes of its own
        text = json.dumps(plain)
    print(text)
