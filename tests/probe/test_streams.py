"""Subscriptions: a console that has stopped costs bounded memory and learns what it missed."""

from __future__ import annotations

from typing import Any

import pytest

from observe.probe.errors import Refusal
from observe.probe.streams import (
    BUFFERED_EVENTS,
    MAX_CREDIT,
    MAX_PER_CLIENT,
    MAX_SUBSCRIPTIONS,
    Streams,
    Subscription,
)
from observe.probe.wire_table import Query
from observe.probe.wire_watches import WatchArgs


def watch(streams: Streams, what: Any = "agents", client: bytes = b"a", **facts: Any) -> Subscription:
    return streams.open(client, WatchArgs(what=what, **facts), 0.0)


def events(count: int) -> list[dict[str, Any]]:
    return [{"seq": number} for number in range(1, count + 1)]


def test_the_first_push_goes_at_once_and_the_next_after_the_interval() -> None:
    """A console must not open with an empty screen."""
    streams = Streams()
    one = watch(streams, interval_s=0.5, credit=10)
    assert streams.due(0.0) == [one]
    assert one.stamp(0.0, {"x": 1}) == {"sub": one.sub, "seq": 1, "dropped": 0, "data": {"x": 1}}
    assert streams.due(0.4) == []
    assert streams.next_due() == 0.5
    assert streams.due(0.5) == [one]
    assert one.stamp(0.5, {})["seq"] == 2


def test_without_credit_a_table_waits_and_counts_the_pictures_left_out() -> None:
    """When the console reads again it gets the table of then, not a queue of old ones."""
    streams = Streams()
    one = watch(streams, interval_s=1.0, credit=1)
    one.stamp(0.0, {})
    for now in range(1, 6):
        assert streams.due(float(now)) == []
    assert streams.next_due() == float("inf")
    streams.add_credit(b"a", one.sub, 1)
    assert streams.due(5.0) == [one]
    assert one.stamp(5.0, {})["dropped"] == 4
    assert one.dropped == 0


def test_events_wait_in_a_bounded_buffer_and_the_rest_is_counted() -> None:
    """Nothing is dropped silently, and nothing grows without end."""
    streams = Streams()
    one = watch(streams, "events", credit=0)
    streams.publish(events(BUFFERED_EVENTS - 1))
    streams.publish(events(5), omitted=7)
    assert streams.due(100.0) == []
    streams.add_credit(b"a", one.sub, 1)
    assert streams.due(100.0) == [one]
    taken = one.take_events()
    assert len(taken) == BUFFERED_EVENTS
    assert taken[-1] == {"seq": 5}
    assert one.stamp(100.0, {"events": taken})["dropped"] == 4 + 7


def test_one_flood_larger_than_the_buffer_leaves_the_newest() -> None:
    streams = Streams()
    one = watch(streams, "events")
    streams.publish(events(3 * BUFFERED_EVENTS))
    assert one.take_events()[0] == {"seq": 2 * BUFFERED_EVENTS + 1}
    assert one.dropped == 2 * BUFFERED_EVENTS


def test_a_quiet_events_watch_sends_nothing() -> None:
    streams = Streams()
    one = watch(streams, "events")
    assert streams.due(10.0) == []
    assert streams.next_due() == float("inf")
    streams.publish(events(1))
    assert streams.due(10.0) == [one]


def test_a_push_that_could_not_be_sent_counts_as_left_out() -> None:
    """The socket to that client was full: its numbers must show it."""
    streams = Streams()
    one = watch(streams, "events", credit=1)
    streams.publish(events(3))
    one.dropped = 2
    one.undo(one.stamp(0.0, {"events": one.take_events()}))
    assert (one.credit, one.seq, one.dropped) == (1, 0, 5)
    two = watch(streams, "agents", credit=1)
    two.undo(two.stamp(0.0, {}))
    assert (two.credit, two.seq, two.dropped) == (1, 0, 1)


def test_another_query_is_answered_at_once() -> None:
    """Who types a filter waits for the rows, not for the interval."""
    streams = Streams()
    one = watch(streams, interval_s=60.0, credit=5)
    one.stamp(0.0, {})
    assert streams.due(1.0) == []
    streams.requery(b"a", one.sub, Query(filter="x"), 1.0)
    assert streams.due(1.0) == [one]
    assert one.query == Query(filter="x")


def test_subscriptions_belong_to_the_client_that_opened_them() -> None:
    """Their numbers are easy to guess."""
    streams = Streams()
    one = watch(streams, client=b"a")
    with pytest.raises(Refusal, match="no subscription"):
        streams.add_credit(b"b", one.sub, 1)
    with pytest.raises(Refusal, match="no subscription"):
        streams.requery(b"b", one.sub, Query(), 0.0)
    with pytest.raises(Refusal, match="no subscription"):
        streams.close(b"b", one.sub)
    assert one.credit == 2


def test_subscriptions_are_bounded_for_each_client_and_for_all() -> None:
    streams = Streams()
    for _ in range(MAX_PER_CLIENT):
        watch(streams, client=b"greedy")
    with pytest.raises(Refusal, match="too many") as caught:
        watch(streams, client=b"greedy")
    assert caught.value.code == "busy"
    for number in range(MAX_SUBSCRIPTIONS - MAX_PER_CLIENT):
        watch(streams, client=number.to_bytes(2))
    with pytest.raises(Refusal, match="too many"):
        watch(streams, client=b"late")
    streams.close_all_of(b"greedy")
    watch(streams, client=b"late")


def test_credit_is_bounded() -> None:
    streams = Streams()
    one = watch(streams, credit=900)
    streams.add_credit(b"a", one.sub, 900)
    assert one.credit == MAX_CREDIT


def test_a_client_that_leaves_leaves_nothing() -> None:
    streams = Streams()
    watch(streams, "events", client=b"a")
    watch(streams, "events", client=b"b")
    streams.close_all_of(b"a")
    assert streams.wants_events
    streams.close_all_of(b"b")
    assert not streams.wants_events
    assert streams.statistics() == {"subscriptions": 0, "events_waiting": 0}


def test_only_a_watch_of_agents_takes_a_query() -> None:
    streams = Streams()
    with pytest.raises(Refusal, match="takes no query"):
        watch(streams, "vitals", query=Query())
    one = watch(streams, "vitals")
    with pytest.raises(Refusal, match="takes no query"):
        streams.requery(b"a", one.sub, Query(), 0.0)
