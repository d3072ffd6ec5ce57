"""The alphabetical order of texts that keep coming, however they come: all at once, a few, in a thread."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observe.probe import ranking
from observe.probe.ranking import LAST, Ranking


def in_order(made: Ranking, texts: list[str]) -> list[str]:
    ranks = made.ranks().tolist()
    assert ranks[0] == LAST
    return [texts[number] for number in sorted(range(1, len(texts)), key=ranks.__getitem__)]


@given(pieces=st.lists(st.lists(st.text(alphabet="abäß€\U0001f600", max_size=5), max_size=80), max_size=6))
def test_ranks_are_the_order_of_the_texts_after_each_addition(pieces: list[list[str]]) -> None:
    texts = [""]
    made = Ranking(texts)
    for piece in pieces:
        texts += piece
        assert in_order(made, texts) == sorted(texts[1:])


def test_few_among_many_are_put_in_and_equal_ones_keep_their_order() -> None:
    texts = ["", *(f"n{number % 500:03}" for number in range(3000))]
    made = Ranking(texts)
    made.ranks()
    texts += ["n250", "zz", "", "n000"]
    ranks = made.ranks().tolist()
    assert in_order(made, texts) == sorted(texts[1:])
    same = [number for number, text in enumerate(texts) if text == "n250"]
    assert sorted(same, key=ranks.__getitem__) == same


def test_many_are_ordered_in_a_thread_and_others_may_come_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MANY", 100)
    texts = ["", *(f"näme-{number * 7919 % 5000}" for number in range(5000))]
    made = Ranking(texts)
    assert made.prepare()
    assert not made.prepare()  # one at a time
    texts += ["aa", "zz"]
    assert in_order(made, texts) == sorted(texts[1:])
    assert not [one for one in threading.enumerate() if one.name == "observe:ranking"]
    assert not made.prepare()  # two are not worth it
