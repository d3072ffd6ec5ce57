"""Who is let in: exactly the keys of the list, by CURVE, in our domain."""

from __future__ import annotations

import pytest
from zmq.utils import z85

from observe.probe.errors import Refusal
from observe.probe.keys import ZAP_DOMAIN, KeyHolder, KeyRing, new_key_pair
from observe.probe.wire import VERBS

PUBLIC, SECRET = new_key_pair()
KEY = z85.decode(PUBLIC)


def ring() -> KeyRing:
    return KeyRing([KeyHolder("ann", PUBLIC, "viewer")])


def request(
    *,
    version: bytes = b"1.0",
    domain: bytes = ZAP_DOMAIN,
    mechanism: bytes = b"CURVE",
    credentials: tuple[bytes, ...] = (KEY,),
) -> list[bytes]:
    return [version, b"7", domain, b"127.0.0.1", b"", mechanism, *credentials]


def test_a_known_key_is_let_in_under_its_own_name() -> None:
    """The user id that libzmq then puts on every message is the key: nobody can claim another's."""
    reply = ring().zap_reply(request())
    assert reply == [b"1.0", b"7", b"200", b"OK", PUBLIC.encode(), b""]


@pytest.mark.parametrize(
    "asked",
    [
        request(domain=b""),
        request(domain=b"*"),
        request(domain=b"other"),
        request(mechanism=b"NULL", credentials=()),
        request(mechanism=b"PLAIN", credentials=(b"ann", b"secret")),
        request(mechanism=b"CURVE", credentials=()),
        request(credentials=(KEY, KEY)),
        request(credentials=(KEY[:31],)),
        request(credentials=(KEY + b"\0",)),
        request(credentials=(b"\0" * 32,)),
        request(credentials=(z85.decode(new_key_pair()[0]),)),
        request(credentials=(PUBLIC.encode(),)),
        request(version=b"2.0"),
        [],
        [b"1.0"],
        request()[:5],
    ],
)
def test_everybody_else_is_turned_away(asked: list[bytes]) -> None:
    """Each of these has been somebody's hole."""
    keys = ring()
    reply = keys.zap_reply(asked)
    assert len(reply) == 6
    assert reply[2] in (b"400", b"500")
    assert reply[4] == b""
    assert keys.refused == 1


def test_an_unknown_user_id_is_nobody() -> None:
    with pytest.raises(Refusal) as caught:
        ring().holder("None")
    assert caught.value.code == "forbidden"


def test_each_role_may_do_what_those_below_it_may() -> None:
    """Written out, so that a changed table is a changed test."""
    may = {
        role: {verb for verb in VERBS if KeyHolder("x", PUBLIC, role).may(verb)}
        for role in ("viewer", "operator", "admin")
    }
    reading = {
        "policies",
        "log",
        "budgets",
        "names",
        "dead_letters",
        "hello", "ping", "vitals", "agents", "inspect", "stack", "tree", "crashes", "findings", "deaths", "watch",
        "rewatch", "credit", "unwatch", "where", "workers", "consoles",
        "tasks", "task", "groups", "approvals", "audit", "audit_head", "audit_proof", "audit_keys", "code",
    }  # fmt: skip
    assert may["viewer"] == reading
    acting = {
        "resend",
        "kill", "suspend", "resume", "stop", "restart", "next_rung", "send", "mailbox", "cancel_activity", "checkpoint",
        "contain", "reset_budget", "approve", "refuse", "log_level", "collect_garbage", "cancel_task", "control", "trace", "trace_function", "profile", "canary",
    }  # fmt: skip
    assert may["operator"] == reading | acting
    reloading = {"reload", "reload_policies"}
    assert may["admin"] == reading | acting | reloading | {"edit", "rotate_key", "yield"} == set(VERBS)


def test_a_fingerprint_tells_keys_apart_and_is_no_key() -> None:
    one, other = KeyHolder("a", PUBLIC, "viewer"), KeyHolder("a", new_key_pair()[0], "viewer")
    assert one.fingerprint != other.fingerprint
    assert len(one.fingerprint) == 16
    assert one.fingerprint not in PUBLIC
