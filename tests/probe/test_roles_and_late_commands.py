"""Who may do what, verb by verb; and 1,000 commands of each kind that must not be carried out, on a real socket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest

from observe.probe.keys import RANK, new_key_pair
from observe.probe.wire import VERBS
from observe.probe.wire_base import Command
from tests.probe.fake_service import FakeService
from tests.probe.raw_client import RawClient

KEYS: Final = {role: new_key_pair() for role in RANK}

TABLE: Final = {
    "policies": "viewer", "reload_policies": "admin",
    "log": "viewer",
    "budgets": "viewer",
    "names": "viewer",
    "dead_letters": "viewer",
    "resend": "operator",
    "hello": "viewer", "ping": "viewer", "vitals": "viewer", "agents": "viewer", "inspect": "viewer", "stack": "viewer",
    "tree": "viewer", "crashes": "viewer", "deaths": "viewer", "findings": "viewer", "workers": "viewer", "consoles": "viewer", "watch": "viewer", "rewatch": "viewer",
    "credit": "viewer", "unwatch": "viewer", "where": "viewer", "kill": "operator", "suspend": "operator",
    "resume": "operator", "stop": "operator", "restart": "operator", "next_rung": "operator", "send": "operator",
    "mailbox": "operator", "cancel_activity": "operator", "checkpoint": "operator", "contain": "operator", "reset_budget": "operator",
    "edit": "admin", "log_level": "operator", "collect_garbage": "operator", "canary": "operator", "yield": "admin",
    "reload": "admin", "code": "viewer", "audit": "viewer", "audit_head": "viewer", "audit_proof": "viewer", "audit_keys": "viewer", "rotate_key": "admin", "tasks": "viewer", "task": "viewer", "cancel_task": "operator",
    "groups": "viewer", "approvals": "viewer", "approve": "operator", "refuse": "operator", "control": "operator", "trace": "operator", "trace_function": "operator", "profile": "operator",
}  # fmt: skip
"""The role that each verb takes at least. A new verb needs a row here, that somebody has thought about."""


MORE: Final[dict[str, dict[str, Any]]] = {
    "send": {"message": 1},
    "mailbox": {"do": "drop", "oldest": 1},
    "contain": {"level": "isolated"},
    "cancel_activity": {"activity": "tool:search"},
    "edit": {"field": "count", "value": 1},
    "cancel_task": {"task": 1},
    "resend": {"letter": 1},
    "reload": {"modules": ["shop"]},
    "trace": {"selector": "finding:none"},
    "trace_function": {"function": "nothing:at_all"},
    "log_level": {"logger": "observe", "level": "INFO"},
}
"""What some commands need beside the agent."""


@pytest.fixture(scope="module")
def service() -> Iterator[FakeService]:
    clients = [{"name": role, "public_key": pair[0], "role": role} for role, pair in KEYS.items()]
    with FakeService(clients=clients) as made:
        made.start()
        made.shop()
        made.synced_client()
        yield made


def client_of(service: FakeService, role: str) -> RawClient:
    return service.client_with_key(*KEYS[role])


def test_every_verb_has_its_row() -> None:
    assert {verb: role for verb, (role, _) in VERBS.items()} == TABLE


@pytest.mark.parametrize("role", RANK)
def test_each_role_is_forbidden_exactly_what_the_table_says(service: FakeService, role: str) -> None:
    """Asked over a socket. What is allowed gets another answer, if only that arguments are missing."""
    client = client_of(service, role)
    for verb, needed in TABLE.items():
        model = VERBS[verb][1]
        args: dict[str, Any] = {"not": "an argument"}
        if issubclass(model, Command):
            wanted = client.command(999_999) | MORE.get(verb, {})
            args = {key: value for key, value in wanted.items() if key in model.model_fields}
        reply = service.declining(client, client.ask(verb, args))
        forbidden = not reply["ok"] and reply["error"]["code"] == "forbidden"
        assert forbidden == (RANK[role] < RANK[needed]), (verb, reply)


@pytest.mark.parametrize(
    ("role", "changes"),
    [
        ("operator", {"incarnation": "another"}),
        ("operator", {"expires_at": 0.0}),
        ("operator", {"later": True}),
        ("viewer", {}),
    ],
    ids=["stale", "expired", "unknown field", "wrong role"],
)
def test_none_of_a_thousand_is_carried_out(service: FakeService, role: str, changes: dict[str, Any]) -> None:
    client = client_of(service, role)
    for _ in range(50):  # twenty at a time: who leaves 64 answers unread loses its place
        numbers = [client.ask("kill", client.command(2, **changes)) for _ in range(20)]
        assert not any(client.reply(number)["ok"] for number in numbers)
    assert kills(service) == 0


def test_a_command_that_is_repeated_a_thousand_times_is_carried_out_once(service: FakeService) -> None:
    """And each repetition gets the first answer."""
    client = client_of(service, "operator")
    command = client.command(3, command_id=f"again-{time.monotonic_ns()}")
    first = client.ask("kill", command)
    outcome = {"done": True, "what": "killed", "pid": 3, "reason": "killed", "took_s": 0.0}
    service.answer(service.expect("kill"), outcome)
    assert client.result(first) == outcome
    for _ in range(50):  # twenty at a time: who leaves 64 answers unread loses its place
        numbers = [client.ask("kill", command) for _ in range(20)]
        assert all(client.result(number) == outcome for number in numbers)
    assert kills(service) == 0


def kills(service: FakeService) -> int:
    """Kills that the service was asked for and that nobody expected, once everything before has arrived."""
    client = client_of(service, "admin")
    number = client.ask("inspect", {"agent": 2})  # takes the same way as a kill, so it comes after them
    found: int = 0
    while True:
        assert service.control.poll(20_000)
        _, frame = service.control.recv_multipart()

        question: dict[str, Any] = msgpack.unpackb(frame)
        found += int(question["op"] == "kill")
        if question["op"] == "inspect":
            service.decline(question, "internal", "no")
            client.reply(number)
            return found
