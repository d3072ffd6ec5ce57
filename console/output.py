"""Data for programs: results as documents, and documents on stdout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pydantic import BaseModel

Document = dict[str, Any]
"""A result as the protocol describes it: what `--json` prints and what `render` draws."""


def document(result: BaseModel) -> Document:
    """`result` under the protocol's own names (`class`, not `class_name`)."""
    content = _without_absent(result.model_dump(mode="json", by_alias=True))
    assert isinstance(content, dict)
    return content


def _without_absent(part: Any) -> Any:
    """Leave out of each **value** the keys that do not apply: an absent one and an empty one say the same."""
    if isinstance(part, list):
        return [_without_absent(item) for item in part]
    if isinstance(part, dict):
        is_value = "masked" in part and "text" in part
        return {key: _without_absent(item) for key, item in part.items() if item is not None or not is_value}
    return part


def print_json(content: Mapping[str, Any], *, lines: bool = False) -> None:
    """Print one JSON document; with `lines` on a single line, as one of many."""
    click.echo(json.dumps(content, indent=None if lines else 2, allow_nan=False))
