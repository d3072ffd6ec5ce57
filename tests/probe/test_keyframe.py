"""A picture as one map: what is put away comes back, small, and what earlier versions wrote is read."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from observe.probe import keyframe
from observe.probe.codec import decode, encode
from observe.probe.feed import Feed
from observe.probe.frames import ClassRisk
from observe.probe.picture import Picture
from observe.probe.queries import answer
from observe.probe.table import FLOATS, INTS
from observe.probe.wire_table import Query
from tests.probe.test_findings import Patient


def shop(agents: int) -> Picture:
    patient = Patient()
    for pid in range(1, agents + 1):
        patient.agent(pid, supervisor=1, activity=pid % 4, for_s=pid, mailbox=pid * pid * 1000)
    patient.picture.table.rotate(1_000_000)
    patient.picture.table.rotate(2_000_000)
    return patient.picture


def empty() -> Picture:
    return Patient().picture


def restored(key: dict[str, Any]) -> Picture:
    picture = empty()
    keyframe.restore(key, picture)
    return picture


def page(picture: Picture) -> Any:
    return answer(picture.table, Query(sort="pid", limit=1000), 10**15, 0.0)


@pytest.mark.parametrize("gone", [[], [3, 4]])
def test_what_is_put_away_comes_back(gone: list[int]) -> None:
    before = shop(100)
    if gone:
        before.table.exit(len(gone), array("q", gone).tobytes())
    before.table.contain(7, "isolated")
    before.table.contain(9, "monitored")
    known = ClassRisk.model_validate({"class": "Session", "facts": [0.5] * 9, "declared": 0.1})
    before.risks.take([known])
    key = decode(encode(keyframe.take(before, Feed(before))))
    assert page(restored(key)) == page(before)
    assert restored(key).risks.to_map() == [known.model_dump(by_alias=True)]
    assert restored(key).table.contained() == {"isolated": [7], "monitored": [9]}


def test_a_picture_without_agents_comes_back() -> None:
    before = empty()
    after = restored(decode(encode(keyframe.take(before, Feed(before)))))
    assert len(after.table) == 0
    assert after.table.strings[1] == "Session"


def test_a_row_takes_a_third_of_what_its_columns_take() -> None:
    size = len(encode(keyframe.take(shop(1100), Feed(empty())))) - len(
        encode(keyframe.take(shop(100), Feed(empty())))
    )
    assert size < 1000 * 8 * (len(INTS) + len(FLOATS)) / 3


def test_what_earlier_versions_wrote_is_read() -> None:
    before = shop(10)
    key = keyframe.take(before, Feed(before))
    del key["size"]
    key["strings"] = [before.table.strings[number] for number in range(1, len(before.table.strings))]
    key["ints"] = {name: before.table.ints(name).tobytes() for name in INTS}
    key["floats"] = {name: before.table.floats(name).tobytes() for name in FLOATS}
    assert page(restored(decode(encode(key)))) == page(before)


@pytest.mark.parametrize("column", [["<u1", 0, b"123"], ["O", 0, b""], [], ["<i8", 0]])
def test_nonsense_is_refused(column: list[Any]) -> None:
    before = shop(10)
    key = keyframe.take(before, Feed(before))
    key["ints"]["pid"] = column
    with pytest.raises(ValueError):
        restored(key)
