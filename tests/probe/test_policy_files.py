"""Files of policies: what they mean, and what is said of those that are wrong; and the node's policies from a client."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from observe.audit.reading import read as read_log
from observe.probe import Probe
from observe.probe.client import connect
from observe.probe.errors import RemoteError
from observe.probe.finding_names import NAMES
from observe.probe.policy_check import Asked, check
from observe.probe.policy_files import parse
from observe.runtime import Agent, Node
from observe.runtime.caps import Cap
from observe.runtime.conformance import Machine
from observe.runtime.errors import PoliciesRefused
from observe.runtime.policies import OnFinding
from tests.probe.live import eventually, private_runtime

WHOLE = """\
version: 1
rules:
  - policy: small
    effect: allow
    on: tool:refund
    where: {amount: "<=100", again: false, "0": 7}
  - policy: refunds
    effect: approve
    on: tool:refund
    agents: [Session, teller-*]
    hours: 18:00-08:00
    reason: >-
      more than a machine
      may give away
    approvers: [support]
    timeout_s: 60
    on_timeout: allow
    two_person: true
    escalate:
      - {after_s: 10, to: shift lead}
  - {policy: ledger, effect: deny, kind: send, on: ledger}
  - {policy: drop, effect: contain, level: restricted, on: "tool:drop*", tools: ["tool:look"], recipients: []}
machines:
  - {policy: paid, only: begin tool:ship, after: end tool:pay, within_s: 60, once: false, per: order}
  - {policy: deleted, never: begin tool:search, after: end tool:delete, until: message undo, effect: deny}
  - {policy: retries, at_most: 3, of: fail tool:*, until: end tool:*, per: name, effect: contain, level: isolated}
  - policy: orders
    agents: [Nobody]
    start: open
    states:
      open: {message pay: paid, begin tool:ship: violation}
      paid: {state done=True: open}
    expires: {paid: 3600}
    fields: [done]
    reason: it is paid for first
caps:
  - {policy: answer, per: step, agents: [Session], cost: 0.5, tokens: 1000, reason: one answer}
  - policy: searches
    per: tenant
    tool_calls: 40
    of: ["tool:search*"]
    every_s: 86400
    effect: contain
    level: restricted
    warn_at: 0.5
    warn_level: monitored
    tools: ["model:*"]
    recipients: [ledger]
findings:
  - {policy: loops, check: same_call, level: restricted, agents: [Looper], tools: ["model:*"], reason: it loops}
"""


def put(file: Path, text: str | None) -> None:
    """Save a file, or remove it."""
    if text is None:
        file.unlink()
    else:
        file.write_text(text)


LEVEL = "a level, one of monitored, restricted, isolated, suspended, killed, belongs to `contain`, and to nothing else"


def faults(text: str | bytes) -> list[str]:
    with pytest.raises(PoliciesRefused) as caught:
        parse(text.encode() if isinstance(text, str) else text, "f")
    return [fault.text_of("f") for fault in caught.value.faults]


def test_every_word_of_a_file_reaches_its_rule() -> None:
    small, refunds, ledger, drop = parse(WHOLE.encode(), "f").rules
    assert small.where == {"amount": "<=100", "again": "False", "0": "7"}
    assert (refunds.agents, refunds.hours) == (("Session", "teller-*"), "18:00-08:00")
    assert refunds.reason == "more than a machine may give away"
    assert (refunds.approvers, refunds.timeout_s, refunds.on_timeout) == (("support",), 60, "allow")
    assert (refunds.two_person, refunds.escalate) == (True, ((10, "shift lead"),))
    assert (ledger.kind, ledger.on, ledger.effect) == ("send", "ledger", "deny")
    assert (drop.level, drop.tools, drop.recipients) == ("restricted", ("tool:look",), ())


def test_every_word_of_a_machine_reaches_it() -> None:
    paid, deleted, retries, orders = parse(WHOLE.encode(), "f").machines
    assert paid == Machine.only(
        "paid", "begin tool:ship", after="end tool:pay", within_s=60, once=False, per="order"
    )
    assert deleted == Machine.never(
        "deleted", "begin tool:search", after="end tool:delete", until="message undo", effect="deny"
    )
    assert retries == Machine.at_most(
        "retries", 3, "fail tool:*", until="end tool:*", per="name", effect="contain", level="isolated"
    )
    assert orders.states["paid"] == {"state done=True": "open"}
    assert (orders.agents, orders.expires, orders.fields) == (("Nobody",), {"paid": 3600}, ("done",))
    assert orders.reason == "it is paid for first"
    assert parse(WHOLE.encode(), "f").findings == (
        OnFinding(
            "loops", "same_call", "restricted", agents=("Looper",), tools=("model:*",), reason="it loops"
        ),
    )


def test_every_word_of_a_cap_reaches_it() -> None:
    answer, searches = parse(WHOLE.encode(), "f").caps
    assert answer == Cap("answer", "step", agents=("Session",), cost=0.5, tokens=1000, reason="one answer")
    assert searches == Cap(
        "searches", "tenant", tool_calls=40, of=("tool:search*",), every_s=86_400, effect="contain", level="restricted",
        warn_at=0.5, warn_level="monitored", tools=("model:*",), recipients=("ledger",),
    )  # fmt: skip


def test_what_is_wrong_with_a_cap_is_told_with_its_line() -> None:
    text = """\
version: 1
caps:
  - {policy: none}
  - {policy: less, cost: 0}
  - {policy: more, cost: .inf}
  - {policy: of, cost: 1, of: ["tool:*"]}
  - {policy: level, cost: 1, effect: contain}
  - {policy: step, cost: 1, per: step, every_s: 60}
  - {policy: half, tool_calls: 1.5}
  - {policy: exits, cost: 1, effect: exit}
  - {policy: level, cost: 1}
"""
    assert faults(text) == [
        "f:3: none: a cap has at least one of tool_calls, tokens, cost, and each of them is above 0",
        "f:4: less: cost: Input should be greater than 0",
        "f:5: more: cost: Input should be a valid number",
        "f:6: of: it says which tool_calls are counted, and there is no limit for them",
        "f:7: level: " + LEVEL,
        "f:8: step: a step's counters begin with the step, so every_s makes no sense there",
        "f:9: half: tool_calls: Input should be a valid integer",
        "f:10: exits: effect: Input should be 'report', 'deny' or 'contain'",
    ]
    assert faults("version: 1\ncaps:\n  - {policy: a, cost: 1}\n  - {policy: a, cost: 2}\n") == [
        "f:4: a: another policy has this name"
    ]


@pytest.mark.parametrize("document", ["policies.md", "conformance.md"])
def test_the_files_of_the_documents_are_right(document: str) -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / document).read_text()
    found = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    for one in found:
        parse(("" if one.startswith("version") else "version: 1\n").encode() + one.encode(), document)
    assert found


def test_what_is_wrong_with_a_machine_is_told_with_its_line() -> None:
    text = """\
version: 1
machines:
  - {policy: none}
  - {policy: two, only: a, never: b, after: c}
  - {policy: lacks, only: a}
  - {policy: more, never: a, after: b, within_s: 5}
  - policy: states
    start: open
    states:
      open: {message pay: paid}
  - {policy: level, at_most: 3, of: a, effect: contain}
findings:
  - {policy: check, check: same_cal, level: isolated}
  - {policy: tools, check: stuck, level: isolated, tools: []}
rules:
  - {policy: none, effect: deny, on: a}
"""
    assert faults(text) == [
        "f:3: none: give one of `states`, `only`, `never`, `at_most`: what must happen in which order",
        "f:4: two: give one of `states`, `only`, `never`, `at_most`: what must happen in which order",
        "f:5: lacks: after: `only` needs it",
        "f:6: more: within_s: it does not belong to `never`",
        "f:7: states: 'message pay' leads from 'open' to 'paid', which is none of its states",
        "f:11: level: " + LEVEL,
        "f:13: check: there is no check 'same_cal'; there are " + ", ".join(NAMES),
        "f:14: tools: tools and recipients belong to the level restricted",
    ]
    assert faults(
        "version: 1\nrules: [{policy: a, effect: deny, on: b}]\nmachines: [{policy: a, at_most: 1, of: b}]\n"
    ) == ["f:3: a: another policy has this name"]


def test_all_that_is_wrong_is_told_at_once_with_line_and_policy() -> None:
    text = """\
version: 1
rules:
  - policy: small
    effect: alow
    on: tool:refund
  - policy: refunds
    effect: deny
    agent: [Session]
    on: 5
    where:
      amount: [1]
  - effect: deny
    on: tool:*
  - policy: late
    effect: deny
    on: tool:*
    timeout_s: 5
"""
    assert faults(text) == [
        "f:4: small: effect: Input should be 'allow', 'deny', 'approve' or 'contain'",
        "f:8: refunds: agent: there is no such word here",
        "f:9: refunds: on: Input should be a valid string",
        "f:11: refunds: where.amount: a text, a number, true or false is wanted",
        "f:12: number 3: policy: Field required",
        "f:14: late: timeout_s: only rules that `approve` have that",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "f: policies begin with `version: 1` and `rules:`"),
        ("version: 1\n", "f:1: it has no `rules:`, `machines:`, `caps:` or `findings:`"),
        ("version: 2\nrules: []\n", "f:1: version: Input should be 1"),
        ("version: 1\nrules:\nversion: 1\n", "f:3: 'version' stands twice"),
        ("version: 1\nrules: [{on: a, on: b}]\n", "f:2: 'on' stands twice"),
        ("version: 1\nrules: &r [*r]\n", "f:2: aliases are not taken"),
        ("version: 1\nx: &x [1]\nrules: *x\n", "f:2: aliases are not taken: write it out"),
        ("version: !!python/name:os.system\n", "f:1: the tag"),
        ("version: [1\n", "f:2: no YAML"),
        (b"\xff\xfe\x00", "f: no YAML"),
        ("version: 1\nrules: " + "[" * 5000, "f"),
        ("version: 1\nrules: " + "[" * 30 + "]" * 30, "f:2: it is longer or deeper"),
        ("#" * 2_000_000, "f: it has more than"),
        (
            "version: 1\nrules:\n- {policy: a, effect: deny, on: b}\n- {policy: a, effect: deny, on: c}\n",
            "f:4: a: another policy has this name",
        ),
    ],
)
def test_what_is_no_file_of_policies_is_refused(text: str | bytes, why: str) -> None:
    """An empty file above all: it must not mean that everything is allowed."""
    assert faults(text)[0].startswith(why)


@pytest.mark.parametrize(
    ("kind", "names", "whose", "arguments", "minute", "answer"),
    [
        (
            "activity",
            ["tool:refund"],
            ["Session"],
            {"amount": 50, "again": False, "0": 7},
            0,
            ("allow", "small"),
        ),
        ("activity", ["tool:refund"], ["Session"], {"amount": 500}, 60, ("approve", "refunds")),
        ("activity", ["tool:refund"], ["Session"], {"amount": 500}, 720, ("allow", "")),
        ("activity", ["tool:refund"], ["Other", "teller-7"], {}, 60, ("approve", "refunds")),
        ("send", ["Book", "ledger"], ["Session"], {}, 60, ("deny", "ledger")),
        ("activity", ["tool:drop-all"], [""], {}, 60, ("contain", "drop")),
    ],
)
def test_a_file_says_what_it_would_say(tmp_path: Path, kind: Any, names: Any, whose: Any, arguments: Any, minute: int, answer: tuple[str, str]) -> None:  # fmt: skip
    file = tmp_path / "p.yaml"
    put(file, WHOLE)
    said = check(file, Asked(kind, names, whose, arguments, minute))
    assert said["faults"] == []
    assert (said["answer"]["effect"], said["answer"]["policy"]) == answer


class Looper(Agent):
    async def handle(self, message: Any) -> Any:
        async with self.activity(message):
            return message


class Session(Agent):
    async def handle(self, message: Any) -> Any:
        async with self.activity(message):
            return message


async def test_policies_from_a_client_and_in_the_audit_log(tmp_path: Path) -> None:
    """What holds, how often it has decided; a file read on demand; each loading and refusal on record."""
    file, audit = tmp_path / "shop.yaml", tmp_path / "audit"
    put(file, WHOLE)
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch):
        async with (
            Node("shop", policies=file) as node,
            Probe(node, placement="thread", audit=audit, tick_s=0.02),
            connect("shop", timeout_s=20.0) as client,
        ):
            session = await node.spawn(Session)
            with pytest.raises(Exception, match="tool:drop"):
                await session.call("tool:drop-all")
            held = await client.policies()
            assert (held.source, held.loads, held.refused, held.judges) == (str(file), 1, "", 0)
            assert [(rule.policy, rule.fitted, rule.denied) for rule in held.rules] == [
                ("small", 0, 0), ("refunds", 0, 0), ("ledger", 0, 0), ("drop", 1, 0),
            ]  # fmt: skip
            other = await node.spawn(Session)
            assert await other.call("tool:delete") == "tool:delete"
            with pytest.raises(Exception, match="tool:search"):
                await other.call("tool:search")
            survivor = await node.spawn(Session, name="survivor")
            await survivor.call("tool:ship")
            [machine, *_] = (await client.policies()).machines
            assert (machine.policy, machine.violations, machine.denied) == ("paid", 1, 0)
            found = await eventually(client.findings, lambda found: len(found.findings) > 0)
            [finding] = found.findings
            assert (finding.check, finding.count, finding.pid) == ("deviates", 1, survivor.pid)
            assert finding.evidence["expected"] == "end tool:pay"
            assert finding.evidence["actual"] == "begin tool:ship"
            looper = await node.spawn(Looper, name="looper")
            for _ in range(5):
                await looper.call("tool:poll")
            containment, agent = node.govern().containment, node.control.find("looper")
            await eventually(
                lambda: asyncio.sleep(0.02, containment.level_of(agent)), lambda level: level != "none"
            )
            with pytest.raises(Exception, match="it is restricted: it loops"):
                await looper.call("tool:poll")
            assert await looper.call("model:chat") == "model:chat"
            assert containment.describe(agent).startswith(
                "restricted by finding same_call by policy loops: it loops"
            )
            assert (await client.policies()).findings[0].contained == 1
            put(file, WHOLE.replace("effect: allow", "effect: alow"))
            with pytest.raises(RemoteError) as caught:
                await client.reload_policies("a mistake")
            assert f"{file}:4: small: effect" in str(caught.value)
            assert "shop.yaml:4" in (await client.policies()).refused
            put(file, WHOLE.replace("<=100", "<=10"))
            acted = await client.reload_policies("stricter")
            now = await client.policies()
            assert (acted.facts["before"], acted.facts["version"]) == (held.version, now.version)
            assert (now.rules[0].where["amount"], now.refused) == ("<=10", "")

            def on_record() -> list[tuple[str, str]]:
                found = [one for one in read_log(audit)[0] if one.what.endswith("policies")]
                return [(one.what, one.phase) for one in found]

            async def records() -> list[tuple[str, str]]:
                return await asyncio.to_thread(on_record)

            def deviations() -> list[tuple[str, str]]:
                found = [one.outcome for one in read_log(audit)[0] if one.what == "governed_violation"]
                return [(str(one["policy"]), str(one["sequence"])) for one in found if one]

            assert await asyncio.to_thread(deviations) == [
                ("deleted", "end tool:delete, begin tool:search"),
                ("paid", "begin tool:ship"),
            ]
            said = await eventually(
                records, lambda found: found.count(("governed_policies", "completed")) >= 2
            )
            assert said.count(("governed_policies", "failed")) >= 1
            assert [phase for what, phase in said if what == "reload_policies"] == [
                "requested", "failed", "requested", "completed",
            ]  # fmt: skip


async def test_a_node_without_policies_says_so(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch):
        async with (
            Node("bare") as node,
            Probe(node, placement="thread", audit=tmp_path),
            connect("bare", timeout_s=20.0) as client,
        ):
            assert (await client.policies()).source == ""
            with pytest.raises(RemoteError, match="has no policies"):
                await client.reload_policies()
