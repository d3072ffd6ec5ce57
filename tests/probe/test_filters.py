"""The filter language: what it reads, what it refuses and where, and what it offers to write next."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from observe.probe.errors import Refusal
from observe.probe.filters import OPERATORS, Comparison, FilterError, Text, complete, parse, quote, unit_of
from observe.probe.queries import answer
from observe.probe.table import Table
from observe.probe.wire_table import COLUMNS, STATUS_NAMES, TEXT_COLUMNS, Query
from tests.probe.test_queries import NOW_US, pids, table_of


@pytest.fixture(scope="module")
def table() -> Table:
    def agent(**facts: int) -> dict[str, int]:
        usual = {"class": 2, "name": 0, "status": 1, "mailbox": 0, "handled": 0, "activity": 0}
        return usual | {"since_us": NOW_US - 2_000_000} | facts

    return table_of(
        [
            agent(**{"class": 1, "name": 4}),
            agent(name=5, status=4, activity=7, since_us=NOW_US - 40_000_000, mailbox=3),
            agent(name=6, status=4, mailbox=2000),
            agent(**{"class": 3, "name": 10, "handled": 1_500_000}),
        ]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [1, 2, 3, 4]),
        ("class=Session mailbox>100 status=waiting", [3]),
        ("tool:search", [2]),
        ("-session", [1, 4]),
        ("!status=waiting", [1, 4]),
        ("status!=waiting", [1, 4]),
        ("status=idle,waiting mailbox>0", [2, 3]),
        ("-status=idle,waiting", []),
        ("status!=idle,waiting", []),
        ("status~wait", [2, 3]),
        ("pid=1,4,99", [1, 4]),
        ("pid!=1,4,99", [2, 3]),
        ("mailbox>=3 mailbox<=2k", [2, 3]),
        ("mailbox>=2k", [3]),
        ("mailbox=2_000", [3]),
        ("handled>1.5M", []),
        ("handled>=1.5M", [4]),
        ("status_s>30s", [2]),
        ("status_s>30000ms", [2]),
        ("status_s>0.5m", [2]),
        ("status_s<1h status_s>10", [2]),
        ("activity_s>39s", [2]),
        ("reductions<1ms reductions>=2us", [2]),
        ("load<50%", [1, 2, 3, 4]),
        ("name~SESSION", [2, 3]),
        ("name!~session", [1, 4]),
        ("supervisor=1", [2, 3, 4]),
        ("supervisor=ROOT", [2, 3, 4]),
        ("supervisor=nobody", []),
        ("supervisor!=root", [1]),
        ('name="a b"', [4]),
        ('"a b"', [4]),
        ('-"a b"', [1, 2, 3]),
        ('name=root,"a b"', [1, 4]),
        ("name=", []),
        ("name!=", [1, 2, 3, 4]),
        ('"status=idle"', []),
        ('session -"1"', [3]),
        ("  session\t mailbox>3 ", [3]),
    ],
)
def test_a_filter_finds_what_it_says(table: Table, text: str, expected: list[int]) -> None:
    assert pids(table, filter=text, sort="pid", descending=False) == expected


@pytest.mark.parametrize(
    ("text", "code", "position", "says", "hint"),
    [
        ("idle statu=waiting", "no_such_column", 5, "no column 'statu'", "did you mean status?"),
        ("a mailbox>1x", "bad_request", 11, "'x' is no unit of mailbox", "k, K, M, G"),
        ("mailbox>2MB", "bad_request", 9, "'MB' is no unit of mailbox", "10 or 1k"),
        ("age_s>ten", "bad_request", 6, "'ten' is not a number", "age_s>10s"),
        ("age_s>=1e999", "bad_request", 7, "out of range", "age_s>=10s"),
        ("status=waitin", "bad_request", 7, "'waitin' is no status", "waiting"),
        ("class>Tool", "bad_request", 6, "text and has no order", "class=Tool"),
        ("mailbox~5", "bad_request", 8, "contains nothing", "mailbox=5"),
        ("mailbox=1,,2", "bad_request", 10, "'' is not a number", "mailbox=10"),
        ("supervisor=", "bad_request", 11, "no supervisor", "pid or its name"),
        ('idle name="a b', "bad_request", 10, "quote is not closed", "end the text"),
        ("x " * 40, "bad_request", 64, "more than 32 terms", "leave some out"),
        ("pid=" + ",".join("1" * 101), "bad_request", 0, "more than 100 values", "several"),
    ],
)
def test_what_cannot_be_read_says_where_and_what_to_write(
    text: str, code: str, position: int, says: str, hint: str
) -> None:
    with pytest.raises(FilterError, match=says) as caught:
        parse(text)
    assert (caught.value.code, caught.value.position) == (code, position)
    assert f"at character {position + 1}" in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_can_be_compared(table: Table, column: str) -> None:
    """By every operator that makes sense for it; the others are refused in words."""
    value = {"status": "idle", "containment": "isolated"}.get(column, "1")
    for operator in OPERATORS:
        sensible = operator in (
            ("=", "!=", "~", "!~") if column in TEXT_COLUMNS else ("=", "!=", "<", "<=", ">", ">=")
        )
        if sensible:
            page = answer(table, Query(filter=f"{column}{operator}{value}"), NOW_US, 1.0)
            rest = answer(table, Query(filter=f"-{column}{operator}{value}"), NOW_US, 1.0)
            assert page.matched + rest.matched == 4
        else:
            with pytest.raises(FilterError, match=column):
                parse(f"{column}{operator}{value}")


@given(st.text(max_size=20), st.sampled_from(["name", "class", "activity", "child"]))
def test_a_quoted_value_means_itself(value: str, column: str) -> None:
    """Names may hold anything: what a console writes for one must find that one."""
    assert parse(f"{column}={quote(value)} idle") == (Comparison(column, "=", (value,)), Text("idle"))


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_a_refusal(text: str) -> None:
    """People type it character by character."""
    refused: Refusal | None = None
    try:
        answer(table_of([]), Query(filter=text), NOW_US, 1.0)
    except Refusal as refusal:
        refused = refusal
    assert refused is None or refused.hint


def test_negation_does_not_bring_back_the_dead() -> None:
    mortal = table_of(
        [{"class": 2, "name": 5, "status": 1, "mailbox": 0, "handled": 0, "since_us": 1, "activity": 0}] * 3
    )
    mortal.exit(1, (2).to_bytes(8, "little"))
    assert pids(mortal, filter="-nothing", sort="pid", descending=False) == [1, 3]
    assert pids(mortal, filter="mailbox!=7", sort="pid", descending=False) == [1, 3]


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("mail", ["mailbox", "mailbox_max"]),
        ("idle -stat", ["status", "status_s"]),
        ("status", ["status=", "status!=", "status~", "status!~"]),
        ("mailbox", ["mailbox=", "mailbox!=", "mailbox>", "mailbox>=", "mailbox<", "mailbox<="]),
        ("status=w", ["waiting"]),
        ("status=idle,", list(STATUS_NAMES[:-1])),
        ("class=s", ["Session", '"Shop Keeper"']),
        ('class="sh', ['"Shop Keeper"']),
        ("age_s>10m", ["10ms", "10min"]),
        ("age_s>", []),
        ("session", []),
        ("", []),
    ],
)
def test_completion_offers_columns_operators_and_values(text: str, offered: list[str]) -> None:
    known = {"class": ["Session", "Tool", "Shop Keeper"]}
    assert [one.text for one in complete(text, known=known)] == offered


def test_what_completion_offers_can_be_read() -> None:
    """Putting an offer in its place gives a filter, or a column that still waits for its operator and value."""
    known = {"class": ['a "b"']}
    for text in ("class=", "status=w", "age_s>5", "-load<5"):
        for one in complete(text, known=known):
            assert parse(text[: one.start] + one.text)
            assert one.meaning
    assert complete("mailbox>1k rest", cursor=7)[0] == complete("mailbox")[0]
    assert {unit_of(column) for column in COLUMNS} >= {"text", "count", "seconds", "microseconds", "share"}
