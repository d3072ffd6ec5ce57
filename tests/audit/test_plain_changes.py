"""Differences of fields that are secrets by their names, in records."""

from __future__ import annotations

from typing import Any

import pytest

from observe.audit.plain import MASK, plain


class Pins:
    """What is called a pin is a secret."""

    name = "pins"

    def is_secret(self, name: str, value: object) -> bool:
        return name == "pin"

    def mask(self, text: str) -> str:
        return text


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"path": "/card/pin", "old": "1", "new": "2"}, {"path": "/card/pin", "old": MASK, "new": MASK}),
        ({"path": "pin", "old": None, "new": 2}, {"path": "pin", "old": None, "new": MASK}),
        ({"path": "/pinned", "old": "1", "new": "2"}, {"path": "/pinned", "old": "1", "new": "2"}),
        ({"path": "/pin"}, {"path": "/pin"}),
        ({"path": 3, "old": "1"}, {"path": 3, "old": "1"}),
    ],
)
def test_old_and_new_are_masked_where_the_path_says_so(change: dict[str, Any], kept: dict[str, Any]) -> None:
    assert plain({"diff": [change]}, Pins()) == {"diff": [kept]}


def test_the_sentence_beside_them_does_not_have_them_either() -> None:
    what = "pin of Card 2 was '1' and is '2'"
    change = {"path": "/pin", "old": "1", "new": "2"}
    made = plain({"diff": [change], "what": what}, Pins())
    assert made["what"] == f"/pin changed; {MASK}"
    made = plain({"diff": [change | {"path": "/limit"}], "what": what}, Pins())
    assert made["what"] == what
