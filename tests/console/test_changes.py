"""What has changed in an agent's state since the last look, and the conversation that it keeps."""

from __future__ import annotations

from typing import Any

from observe.console.changes import SHOWN_S, Changes
from observe.console.conversation import conversation_lines, conversations
from observe.console.detail_lines import waterfall
from observe.console.lines import Folds, Line
from tests.console.driving import console
from tests.console.fake_node import value


def marks(changes: Changes, *keys: str) -> list[str]:
    lines = [Line(key, (("text", "text"),)) for key in keys]
    return [line.text.removeprefix("text").strip() for line in changes.marked(lines)]


def test_a_change_is_marked_with_what_it_was_for_some_seconds() -> None:
    """At first nothing is: one has not looked yet."""
    changes = Changes()
    changes.look(value({"step": 3, "orders": {"a": 1}}), 100.0)
    assert marks(changes, "state/0:step") == [""]
    changes.look(value({"step": 4, "orders": {"a": 1, "b": 2}}), 101.0)
    assert marks(changes, "state/0:step", "state/1:orders/0:a", "state/1:orders/1:b") == [
        "◂ was 3",
        "",
        "◂ new",
    ]
    changes.look(value({"step": 4, "orders": {"a": 1, "b": 2}}), 101.0 + SHOWN_S)
    assert marks(changes, "state/0:step") == [""]


def test_what_is_not_known_changes_nothing_and_a_secret_is_never_told() -> None:
    """A node that does not answer has no state; a key that changed is still a key."""
    changes = Changes()
    changes.look(value({"api_key": "a"}), 1.0)
    changes.look(None, 2.0)
    changes.look(value({"api_key": "b"}), 3.0)
    assert marks(changes, "state/0:api_key") == [""]


async def test_the_agents_page_marks_it_and_another_agent_begins_anew() -> None:
    """Seen from the corner of an eye."""
    async with console() as driver:
        await driver.press("down", "down", "down", "enter")
        await driver.until(lambda: driver.shows("step  3"))
        detail = await driver.node.inspect(4)
        assert detail.state is not None
        items = [(key, value(4) if key == "step" else part) for key, part in detail.state.items or []]
        state = detail.state.model_copy(update={"items": items})
        driver.node.details[4] = detail.model_copy(update={"state": state})
        driver.app.page.poller.wake()
        await driver.until(lambda: driver.shows("◂ was 3"))
        await driver.press("escape", "down", "enter")
        await driver.until(lambda: driver.shows("session-2"))
        assert not driver.shows("◂")


CHAT: list[Any] = [
    {"role": "system", "content": "You help."},
    {"role": "user", "content": "Where is my lamp?\nI wait."},
    {"role": "assistant", "content": None, "tool_calls": "lookup(7)", "usage": 211},
    {"role": "tool", "name": "lookup", "content": "on its way"},
]


def test_a_conversation_is_shown_as_one_reads_it() -> None:
    """Roles, texts, tools, tokens; and nothing for agents without."""
    state = value({"step": 3, "messages": CHAT, "history": ["hello"], "points": [{"x": 1}]})
    [found] = conversations(state)
    assert (found.name, found.total, [one.role for one in found.said]) == (
        "messages", 4, ["system", "user", "assistant", "tool"],
    )  # fmt: skip
    text = [line.text for line in conversation_lines(state, Folds(), 80)]
    assert text[0] == "Conversation  messages, 4 messages"
    assert "user       Where is my lamp?" in text
    assert "           I wait." in text
    assert any("tool_calls lookup(7)" in line for line in text)
    assert any("usage 211" in line for line in text)
    assert conversation_lines(value({"step": 3}), Folds(), 80) == []
    assert conversation_lines(None, Folds(), 80) == []


def test_a_conversation_within_a_part_of_the_state_is_found() -> None:
    """An agent keeps it where it likes."""
    state = value({"progress": {"round": 2, "turns": CHAT[:2]}, "list": [CHAT[:2]]})
    assert [(one.name, one.total) for one in conversations(state)] == [("progress.turns", 2)]


def test_of_a_long_conversation_the_end_is_shown() -> None:
    """What was said last is what matters."""
    state = value({"messages": [{"role": "user", "content": f"word {n}"} for n in range(70)]})
    text = [line.text for line in conversation_lines(state, Folds(), 80)]
    assert "… 20 before these" in text
    assert text[-1].endswith("word 69")


def test_activities_within_each_other_are_a_waterfall() -> None:
    """The outer one began first."""
    assert waterfall(8.0, 8.0, 8) == "━" * 8
    assert waterfall(2.0, 8.0, 8) == " " * 6 + "━" * 2
    assert waterfall(0.0, 8.0, 8) == " " * 7 + "━"
    assert waterfall(0.0, 0.0, 8) == "━" * 8
