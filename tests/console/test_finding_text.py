"""`observe findings`, as text: whoever reads it at night needs no second command to know what happened."""

from __future__ import annotations

from typing import Any

from observe.console.finding_text import MOST_LINES, finding_text


def finding(**facts: Any) -> dict[str, Any]:
    known = {
        "check": "deviates",
        "text": "1 agent deviating",
        "cause": "",
        "advice": "fence it in",
        "evidence": {},
        "filter": "",
    }
    return known | facts


def test_the_steps_that_led_to_a_violation_are_shown() -> None:
    seen = {
        "policy": "refunds",
        "state": "start",
        "sequence": "begin tool:search, begin tool:refund",
        "times": 2,
    }
    lines = list(finding_text(finding(evidence=seen, filter="pid=5", cause="a new prompt"), "shop"))
    assert lines[0] == "deviates            1 agent deviating"
    assert [line.strip() for line in lines[1:]] == [
        "because: a new prompt",
        "fence it in",
        "policy: refunds",
        "state: start",
        "sequence: begin tool:search, begin tool:refund",
        "times: 2",
        "show them: observe ps shop --filter 'pid=5'",
    ]


def test_a_long_stack_is_cut_and_what_agents_say_of_themselves_stays_in_its_line() -> None:
    frames = [f"frame {number}\x1b[31m\nred" for number in range(MOST_LINES + 4)]
    lines = list(finding_text(finding(evidence={"stack": frames}), "shop"))
    assert len(lines) == 2 + 1 + MOST_LINES + 1
    assert lines[-1].strip() == "and 4 more"
    assert not any("\x1b" in line or "\n" in line for line in lines)
