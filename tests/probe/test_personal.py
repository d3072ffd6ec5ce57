"""What is personal in a text, and what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observe.audit.plain import MASK
from observe.probe.personal import is_personal, mask_personal


@pytest.mark.parametrize(
    "text",
    [
        "ann@example.com",
        "a.b+c@mail.example.co.uk",
        "4111111111111111",
        "4111 1111 1111 1111",
        "5500-0000-0000-0004",
        "378282246310005",
        "DE89 3704 0044 0532 0130 00",
        "GB82WEST12345698765432",
        "+49 170 1234567",
        "+1 (202) 555-0143",
        "078-05-1120",
    ],
)
@pytest.mark.parametrize("around", ["{}", "said {}, and then", "to=<{}>", "mail:{};"])
def test_what_is_personal_is_masked_wherever_it_stands(text: str, around: str) -> None:
    assert mask_personal(around.format(text)) == around.format(MASK)


@pytest.mark.parametrize(
    "text",
    [
        "shop@localhost",
        "4111 1111 1111 1112",  # its check digit is wrong
        "DE89 3704 0044 0532 0130 01",
        "order 12014, 3 items, 640.00",
        "2026-11-27 03:08:43.123456",
        "1795748798810727000",  # nanoseconds
        "pid 475, session-181, line 108",
        "a1b2c3d4-4111-1111-1111-111111111111",
        "127.0.0.1:40123",
        "version 62ede6293554",
        "192.168.100.200",
        "x + 1234567890",
        "diff: +12 -3",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert mask_personal(text) == text


def test_a_nodes_own_name_is_no_address() -> None:
    text = "attached to shop@db.example.com, told ops@db.example.com"
    assert mask_personal(text, "shop@db.example.com") == f"attached to shop@db.example.com, told {MASK}"


@pytest.mark.parametrize(
    "name", ["email", "customer_email", "userPhone", "card_number", "creditCard", "IBAN", "dob"]
)
def test_names_say_so(name: str) -> None:
    assert is_personal(name)


@pytest.mark.parametrize("name", ["name", "address", "agent", "number", "emailer", "card", "class"])
def test_ordinary_names_do_not(name: str) -> None:
    assert not is_personal(name)


@given(st.text(max_size=300))
def test_any_text_is_masked_once_and_for_all(text: str) -> None:
    """Nothing raises, and what is left is not masked again."""
    masked = mask_personal(text)
    assert mask_personal(masked) == masked
