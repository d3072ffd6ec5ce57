"""Queries against a plain Python model: same rows, same order, whatever ties, filters and windows there are."""

from __future__ import annotations

import operator
from array import array
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from observe.probe.errors import Refusal
from observe.probe.matching import digits_within
from observe.probe.queries import answer, line, window
from observe.probe.strings import JOIN_AT, Strings
from observe.probe.table import Table
from observe.probe.trees import MAX_BRANCHES, Trees, strategies_of
from observe.probe.wire_table import COLUMNS, STATUS_NAMES, Query

NOW_US = 100_000_000
TEXTS = [
    "Supervisor",
    "Session",
    "Tool",
    "root",
    "session-1",
    "Session-2",
    "tool:search",
    "älter",
    "ÄLTER",
    "a b",
]

AGENTS = st.lists(
    st.fixed_dictionaries(
        {
            "class": st.sampled_from([1, 2, 3]),
            "name": st.sampled_from([0, 4, 5, 6, 8, 9]),
            "status": st.integers(0, 5),
            "mailbox": st.integers(0, 3),
            "handled": st.integers(0, 2**40),
            "since_us": st.integers(0, 2 * NOW_US),
            "activity": st.sampled_from([0, 7]),
        }
    ),
    max_size=40,
)


def table_of(agents: list[dict[str, int]]) -> Table:
    table = Table()
    table.strings.add(1, TEXTS)
    spawned, rows = array("q"), array("q")
    for pid, agent in enumerate(agents, start=1):
        spawned.extend([pid, agent["class"], agent["name"], 0 if pid == 1 else 1, 0, 0, 0])
        rows.extend([pid, agent["status"], agent["mailbox"], agent["mailbox"], agent["handled"], pid % 3])
        rows.extend([agent["since_us"], agent["activity"], agent["since_us"]])
    table.spawn(len(agents), spawned.tobytes(), 50_000_000)
    table.update(len(agents), rows.tobytes(), NOW_US)
    for pid, agent in enumerate(agents, start=1):
        for ago_s in (80, 40, 0)[3 - agent["mailbox"] :]:  # who has most waiting was restarted most often
            table.chains.restarted(pid, pid, NOW_US / 1e6 - ago_s, crashed=ago_s > 0)
    return table


def page(table: Table, **query: Any) -> Any:
    return answer(table, Query(**query), NOW_US, 1.0)


def rows_of(table: Table) -> list[dict[str, Any]]:
    return [line(table, int(row), NOW_US) for row in table.alive()]


def pids(table: Table, **query: Any) -> list[int]:
    return [row[0] for row in page(table, columns=["pid"], **query).rows]


@settings(deadline=None)
@given(
    AGENTS,
    st.sampled_from(COLUMNS),
    st.booleans(),
    st.integers(0, 50),
    st.integers(0, 50),
)
def test_a_page_is_a_slice_of_the_stably_sorted_table(
    agents: list[dict[str, int]], sort: str, descending: bool, offset: int, limit: int
) -> None:
    """Rows that tie stay in the order of their pids, so they do not jump on the screen; nameless ones come last."""
    table = table_of(agents)

    def key(row: dict[str, Any]) -> Any:
        value = row[sort]
        return value.casefold() if isinstance(value, str) else value

    rows = rows_of(table)
    named = [row for row in rows if row[sort] not in (None, "")]
    nameless = [row for row in rows if row[sort] in (None, "")]
    # Texts that differ in case only may come either way, so compare what is sorted by and not who it is.
    expected = [key(row) for row in sorted(named, key=key, reverse=descending) + nameless][
        offset : offset + limit
    ]
    shown = page(table, sort=sort, descending=descending, offset=offset, limit=limit)
    got = [key(dict(zip(COLUMNS, row, strict=True))) for row in shown.rows]
    assert got == expected
    assert (shown.matched, shown.total) == (len(rows), len(rows))
    if sort not in ("name", "activity", "child", "class"):
        order = sorted(rows, key=lambda row: row["pid"])
        order.sort(key=key, reverse=descending)
        assert [row[0] for row in shown.rows] == [row["pid"] for row in order][offset : offset + limit]


def test_what_happened_in_the_last_minute_is_a_column_like_any_other() -> None:
    """Who crashed a thousand times last week is well now; who did twice in this minute is not."""
    quiet: dict[str, int] = {
        "class": 2, "name": 4, "status": 1, "mailbox": 0, "handled": 0, "since_us": 0, "activity": 0
    }  # fmt: skip
    table = table_of([{**quiet, "mailbox": restarts} for restarts in (0, 3, 1, 2)])
    shown = page(table, sort="restarts_min", descending=True, columns=["pid", "restarts_min", "crashes_min"])
    assert shown.rows == [[2, 2, 1], [4, 2, 1], [3, 1, 0], [1, 0, 0]]
    assert pids(table, filter="crashes_min>0") == [2, 4]
    later_us = NOW_US + 61_000_000
    assert answer(table, Query(filter="restarts_min>0"), later_us, 1.0).matched == 0


@given(
    st.integers(0, 2**32), st.sampled_from([1, 2, 7, 1000, 10**9]), st.integers(0, 5100), st.integers(0, 1000)
)
@settings(deadline=None)
def test_selection_gives_what_sorting_would(seed: int, values: int, offset: int, limit: int) -> None:
    """Large tables are never sorted, only selected from; with many ties that is easy to get wrong."""
    key = np.random.default_rng(seed).integers(0, values, 5000)
    assert (
        window(key, offset, limit).tolist()
        == np.argsort(key, kind="stable")[offset : offset + limit].tolist()
    )


@settings(deadline=None)
@given(
    AGENTS,
    st.lists(
        st.sampled_from(["session", "SESSION", "idle", "tool:", "1", "12", "ält", "sup", "zzz", "e"]),
        max_size=3,
    ),
)
def test_every_term_of_a_filter_must_hold(agents: list[dict[str, int]], terms: list[str]) -> None:
    """A part of name, class, status or activity, or the exact pid."""
    table = table_of(agents)

    def holds(row: dict[str, Any], term: str) -> bool:
        texts = [row[column] or "" for column in ("name", "class", "status", "activity")]
        return any(term.casefold() in text.casefold() for text in texts) or term == str(row["pid"])

    expected = [row["pid"] for row in rows_of(table) if all(holds(row, term) for term in terms)]
    shown = page(table, filter=" ".join(terms), sort="pid", descending=False, columns=["pid"], limit=1000)
    assert [row[0] for row in shown.rows] == expected
    assert shown.matched == len(expected)


@settings(deadline=None)
@given(
    AGENTS,
    st.sampled_from(["pid", "mailbox", "handled", "status_s", "activity_s", "reductions"]),
    st.sampled_from("<>="),
    st.integers(-1, 60),
)
def test_comparisons_are_of_what_is_shown(
    agents: list[dict[str, int]], column: str, sign: str, number: int
) -> None:
    """`status_s>30` must find exactly the rows that show more than 30."""
    table = table_of(agents)
    compare = {"<": operator.lt, ">": operator.gt, "=": operator.eq}[sign]
    expected = [row["pid"] for row in rows_of(table) if compare(row[column], number)]
    assert pids(table, filter=f"{column}{sign}{number}", sort="pid", descending=False, limit=1000) == expected


def test_text_is_compared_whole_and_without_regard_to_case() -> None:
    """`name=w1` must not find w10."""
    agents = [
        {"class": 2, "name": 5, "status": 1, "mailbox": 0, "handled": 0, "since_us": 0, "activity": 7},
        {"class": 2, "name": 0, "status": 4, "mailbox": 0, "handled": 0, "since_us": 0, "activity": 0},
        {"class": 3, "name": 8, "status": 1, "mailbox": 0, "handled": 0, "since_us": 0, "activity": 0},
    ]
    table = table_of(agents)
    assert pids(table, filter="name=SESSION-1") == [1]
    assert pids(table, filter="name=session") == []
    assert pids(table, filter="name=") == [2]
    assert pids(table, filter="class=session", sort="pid", descending=False) == [1, 2]
    assert pids(table, filter="status=waiting") == [2]
    assert pids(table, filter="Activity=tool:search") == [1]
    assert pids(table, filter="name=ÄLTER") == [3]


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10_000),
    st.sampled_from(["7", "77", "7777", "ä", "a\0b", "x" * 9, "text", "7\0", "T"]),
    st.data(),
)
def test_searching_many_texts_finds_what_asking_each_would(more: int, term: str, data: st.DataObject) -> None:
    """From some thousand texts on they are searched as one, which is easy to get wrong at the borders."""
    texts = [f"{number}" for number in range(JOIN_AT + 5000)]
    for number in data.draw(st.lists(st.integers(0, JOIN_AT), max_size=5)):
        texts[number] = data.draw(st.sampled_from(["", "ä7", "\0", "a\0b", "77\0", "Text 7"]))
    strings = Strings()
    strings.add(1, texts)
    expected = [False, *(term.casefold() in text.casefold() for text in texts)]
    assert strings.matching(term).tolist() == expected
    later = [f"{number} text" for number in range(more)]
    strings.add(len(texts) + 1, later)
    assert strings.matching(term).tolist() == expected + [term.casefold() in text for text in later]


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("colour=red", "no_such_column", "no column 'colour'"),
        ("mailbox>many", "bad_request", "'many' is not a number"),
        ("mailbox>", "bad_request", "'' is not a number"),
        ("name>5", "bad_request", "text and has no order"),
    ],
)
def test_a_filter_that_makes_no_sense_says_so(text: str, code: str, says: str) -> None:
    """An empty table would look like an answer."""
    with pytest.raises(Refusal, match=says) as caught:
        page(table_of([]), filter=text)
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize("text", [">5", "a.b=c", "=", "1=1", "(", "\\", "%", "a" * 1000, "\x00"])
def test_odd_texts_are_searched_for(text: str) -> None:
    """Names hold whatever people put there; nothing of it is a pattern."""
    assert pids(table_of([]), filter=text) == []


@pytest.mark.parametrize("query", [{"sort": "nope"}, {"columns": ["pid", "nope"]}])
def test_an_unknown_column_lists_those_that_exist(query: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match="'nope'") as caught:
        page(table_of([]), **query)
    assert caught.value.code == "no_such_column"
    assert "mailbox_max" in caught.value.hint


def test_columns_come_as_asked_for() -> None:
    agent = {
        "class": 2,
        "name": 5,
        "status": 4,
        "mailbox": 2,
        "handled": 9,
        "since_us": NOW_US - 1_500_000,
        "activity": 7,
    }
    shown = page(table_of([agent]), columns=["status", "pid", "activity_s", "pid"])
    assert shown.columns == ["status", "pid", "activity_s", "pid"]
    assert shown.rows == [["waiting", 1, 1.5, 1]]
    assert page(table_of([agent]), columns=[]).rows == [[]]


def test_a_window_behind_the_end_is_empty_and_still_counts() -> None:
    """A console whose table shrinks must learn how far it may scroll."""
    agent = {"class": 2, "name": 5, "status": 4, "mailbox": 2, "handled": 9, "since_us": 0, "activity": 7}
    shown = page(table_of([agent]), offset=10**15)
    assert (shown.rows, shown.matched, shown.offset) == ([], 1, 10**15)


def test_a_page_has_at_most_a_thousand_rows() -> None:
    with pytest.raises(ValidationError):
        Query(limit=1001)


# -- the tree ----------------------------------------------------------------------------------------------------------


def tree_of(parents: dict[int, int]) -> Trees:
    """Agents with these supervisors; strings as above."""
    table = Table()
    table.strings.add(1, TEXTS)
    rows = array("q", [number for pid, parent in parents.items() for number in (pid, 1, 0, parent, 0, 0, 0)])
    table.spawn(len(parents), rows.tobytes(), 0)
    return Trees(table)


def test_a_tree_is_cut_by_depth_and_width_and_says_so() -> None:
    """What is left out must be countable, or people take the part for the whole."""
    trees = tree_of({1: 0, 2: 1, 3: 1, 4: 1, 5: 2, 6: 5})
    top = trees.branch(trees.root(), 2, 2, {1: ("one_for_one", 3, 5.0, 2)})
    assert [child.pid for child in top.children] == [2, 3]
    assert top.children_total == 3
    assert top.by_status == {"starting": 3}
    assert (top.strategy, top.intensity, top.period_s, top.restarts_within) == ("one_for_one", 3, 5.0, 2)
    (grandchild,) = top.children[0].children
    assert (grandchild.pid, grandchild.children, grandchild.children_total) == (5, [], 1)


def test_a_tree_follows_the_table() -> None:
    """Its index is kept between questions; an agent that exits must leave it."""
    trees = tree_of({1: 0, 2: 1})
    assert trees.branch(trees.root(), 1, 10, {}).children_total == 1
    trees.table.exit(1, array("q", [2]).tobytes())
    assert trees.branch(trees.root(), 1, 10, {}).children_total == 0


def test_of_many_children_those_in_trouble_are_shown() -> None:
    """One that restarts again and again among a hundred thousand is why one looks."""
    table = Table()
    table.strings.add(1, TEXTS)
    rows: list[int] = [1, 1, 0, 0, 0, 0, 0]
    for pid in range(2, 300):
        restarts, crashes = (3, 3) if pid == 290 else (5, 0) if pid == 280 else (0, 0)
        rows += [pid, 1, 0, 1, 0, restarts, crashes]
    table.spawn(299, array("q", rows).tobytes(), 0)
    trees = Trees(table)
    top = trees.branch(trees.root(), 1, 4, {})
    assert [child.pid for child in top.children] == [290, 280, 2, 3]
    assert top.children_total == 298


def test_a_huge_tree_shows_its_upper_levels() -> None:
    """400 supervisors of 400 agents each do not fit into a reply; the first level must not be lost to the second."""
    parents = {1: 0} | dict.fromkeys(range(2, 102), 1)
    parents |= {pid: 2 + pid % 100 for pid in range(102, 102 + 3 * MAX_BRANCHES)}
    trees = tree_of(parents)
    top = trees.branch(trees.root(), 8, 1000, {})
    assert len(top.children) == 100
    assert 1 + 100 + sum(len(child.children) for child in top.children) == MAX_BRANCHES
    assert top.children[-1].children_total == 3 * MAX_BRANCHES // 100


def test_a_loop_of_supervisors_ends() -> None:
    """No service should say so, but one that does must not hang its probe."""
    trees = tree_of({1: 0, 2: 3, 3: 2})
    row = trees.table.row_of(2)
    assert row is not None
    assert trees.branch(row, 24, 10, {}).children[0].pid == 3


def test_an_empty_node_has_no_tree() -> None:
    with pytest.raises(Refusal) as caught:
        tree_of({}).root()
    assert caught.value.code == "no_such_agent"


def test_strategies_that_cannot_be_read_are_left_out() -> None:
    """They come from the service, which may have another version of a supervisor."""
    result = {
        "supervisors": [
            [1, "one_for_one", 1, 5, 0],
            [2, None, 1, 5.0, 0],
            "x",
            [3],
            [4, "one_for_all", 1, 5.0],
        ]
    }
    assert strategies_of(result) == {1: ("one_for_one", 1, 5.0, 0), 4: ("one_for_all", 1, 5.0, None)}
    assert strategies_of({"supervisors": 5}) == {}
    assert strategies_of(None) == {}


def test_all_status_names_have_a_number() -> None:
    """The names are the runtime's; the probe does not import it."""
    from observe.runtime.agent import STATUS_NAMES as THEIRS

    assert STATUS_NAMES == THEIRS


# -- child ids that are numbers ------------------------------------------------------------------------------------------


@given(
    values=st.lists(st.integers(0, 10**7) | st.integers(0, 10**18), max_size=40),
    text=st.integers(0, 10**4).map(str) | st.from_regex(r"\A[0-9]{1,5}\Z") | st.sampled_from(["", "x", "1x"]),
)
def test_digits_are_found_in_numbers_as_in_their_texts(values: list[int], text: str) -> None:
    found = digits_within(text, np.array(values, dtype=np.int64))
    assert found.tolist() == [text in str(value) for value in values]


def numbered() -> Table:
    """Three children with numbers for ids, one with a text, one without."""
    table = Table()
    table.strings.add(1, ["Session", "cart"])
    rows = [(pid, 1, 0, 0, child, 0, 0, 0) for pid, child in enumerate([~17, ~2, 2, 0, ~170], start=1)]
    table.spawn(len(rows), array("q", [value for row in rows for value in row]).tobytes(), 1)
    return table


@pytest.mark.parametrize(
    ("text", "pids"),
    [
        ("child=17", [1]),
        ("child=017", []),
        ("child~17", [1, 5]),
        ("child!~17", [2, 3, 4]),
        ("child=cart,2", [2, 3]),
        ("child~ar", [3]),
        ("child=", [4]),
    ],
)
def test_children_with_numbers_are_found_by_them(text: str, pids: list[int]) -> None:
    page = answer(numbered(), Query(filter=text, sort="pid", descending=False), 1, 0.0)
    assert [row["pid"] for row in page.as_dicts()] == pids


def test_children_with_numbers_are_shown_as_text_and_sorted_as_numbers_behind_all_texts() -> None:
    page = answer(numbered(), Query(sort="child", descending=False), 1, 0.0)
    assert [row["child"] for row in page.as_dicts()] == ["cart", "2", "17", "170", ""]
