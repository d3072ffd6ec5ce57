"""What has changed in an agent's state since the last look, and the conversation that it keeps."""

from __future__ import annotations

from observe.console.changes import SHOWN_S, Changes
from observe.console.conversation import conversation_lines
from observe.console.detail_lines import waterfall
from observe.console.lines import Folds, Line
from observe.probe.wire_conversations import ConversationLine, SaidLine, ToolCall
from tests.console.driving import console
from tests.console.fake_facts import value


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


def talk(*said: SaidLine, before: int = 0) -> ConversationLine:
    numbered = [one.model_copy(update={"number": before + number}) for number, one in enumerate(said)]
    return ConversationLine(name="progress.turns", total=before + len(said), said=numbered)


def said(text: str, role: str = "user", *, calls: list[ToolCall] | None = None, **uses: int) -> SaidLine:
    return SaidLine(number=0, role=role, text=text, calls=calls or [], uses=uses)


def test_a_conversation_is_shown_as_one_reads_it() -> None:
    """Roles, texts, tools, tokens; and nothing for agents without."""
    found = talk(
        said("You help.", "system"), said("Where is my lamp?\nI wait."),
        said("", "assistant", calls=[ToolCall(name="lookup", arguments='{"n": 7}')], prompt_tokens=1211, completion_tokens=9),
        said("on its way", "tool"),
    )  # fmt: skip
    text = [line.text for line in conversation_lines([found], Folds(), 80)]
    assert text == [
        "Conversation  progress.turns, 4 messages",
        "system     You help.",
        "user       Where is my lamp?",
        "           I wait.",
        'assistant  → lookup {"n": 7}',
        "           tokens: prompt 1,211, completion 9",
        "tool       on its way",
    ]
    assert conversation_lines([], Folds(), 80) == []


def test_of_a_long_conversation_the_end_is_shown_and_what_came_before_unfolds() -> None:
    """What was said last is what matters."""
    found = talk(*(said(f"word {n}") for n in range(40)), before=60)
    folds = Folds()
    text = [line.text for line in conversation_lines([found], folds, 80)]
    assert text[1:3] == ["90 messages before these", "user       word 30"]
    assert text[-1].endswith("word 39")
    folds.set("conversation/progress.turns/earlier", True)
    text = [line.text for line in conversation_lines([found], folds, 80)]
    assert text[2:4] == ["… 60 messages before them, not told", "user       word 0"]


def test_a_long_message_unfolds() -> None:
    """One that fills the screen would hide all others."""
    found = talk(said("\n".join(f"line {n}" for n in range(20))))
    folds = Folds()
    lines = conversation_lines([found], folds, 80)
    assert lines[-1].text.strip() == "… 14 lines more: Enter unfolds"
    folds.set(lines[1].key, True)
    assert conversation_lines([found], folds, 80)[-1].text.strip() == "line 19"


def test_activities_within_each_other_are_a_waterfall() -> None:
    """The outer one began first."""
    assert waterfall(8.0, 8.0, 8) == "━" * 8
    assert waterfall(2.0, 8.0, 8) == " " * 6 + "━" * 2
    assert waterfall(0.0, 8.0, 8) == " " * 7 + "━"
    assert waterfall(0.0, 0.0, 8) == "━" * 8
