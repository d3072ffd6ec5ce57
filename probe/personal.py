"""Personal data in texts that are kept for years: found by shape, as far as that tells it apart from other numbers.

E-mail addresses, numbers of payment cards (ISO/IEC 7812, with their check digit), IBANs (ISO 13616, likewise), telephone numbers as
ITU-T E.123 writes them for abroad (`+49 170 1234567`), US social security numbers; and whatever stands under a name that says so. For
accidents, not for an adversary: people's names and addresses have no shape.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import Final

from observe.audit.plain import MASK

SHORTEST: Final = 6
"""Characters of the shortest text that is looked at: `a@b.de`."""

_EMAIL: Final = re.compile(r"[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")

_MAYBE: Final = re.compile(r"\d[\d ()./-]{5,30}\d")
"""In every text with one of the numbers below. One alternative, which begins with a digit: most texts are passed over quickly."""

SHORTEST_NUMBER: Final = 9

_CARD: Final = re.compile(
    r"(?<![\w.-])(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|3[47]\d\d|3[0689]\d\d|6(?:011|5\d\d))(?:[ -]?\d){9,15}(?![\w-])"
)
_LENGTHS: Final = {4: (13, 16, 19), 5: (16,), 2: (16,), 6: (16, 19), 34: (15,), 37: (15,)} | dict.fromkeys(
    (30, 36, 38, 39), (14,)
)
"""How many digits numbers of cards have that begin so."""

_IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_PHONE: Final = re.compile(r"(?<![\w+])\+[1-9](?:[ ()./-]{0,2}\d){7,14}(?!\w)")
_SSN: Final = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_NAMES: Final = frozenset(
    {
        "email", "emails", "mail", "phone", "telephone", "mobile", "ssn", "iban", "passport", "birthday", "birthdate", "dob",
        "firstname", "lastname", "fullname", "surname", "cardnumber", "creditcard", "postaladdress", "streetaddress",
    }
)  # fmt: skip
"""What stands under one of these words, or two of them in a row, is personal."""


@lru_cache(maxsize=4096)
def is_personal(name: str) -> bool:
    """Whether whatever is called so is personal data."""
    words = [word.lower() for word in _WORD.findall(name[:200])]
    pairs = {first + second for first, second in itertools.pairwise(words)}
    return bool(_NAMES.intersection(words) or _NAMES.intersection(pairs))


def mask_personal(text: str, kept: str = "") -> str:
    """The text, with what is personal in it replaced. `kept`: a text that looks like an e-mail address and is none, as a node's name."""
    if len(text) < SHORTEST:
        return text
    if "@" in text:
        text = _EMAIL.sub(lambda found: found[0] if found[0] == kept else MASK, text)
    if len(text) < SHORTEST_NUMBER or _MAYBE.search(text) is None:
        return text
    text = _CARD.sub(lambda found: MASK if _is_card(found[0]) else found[0], text)
    text = _IBAN.sub(lambda found: MASK if _is_iban(found[0]) else found[0], text)
    return _SSN.sub(MASK, _PHONE.sub(MASK, text))


def _is_card(text: str) -> bool:
    """By the check digit (Luhn, ISO/IEC 7812-1, annex B)."""
    digits = [int(one) for one in text if one.isdigit()]
    if len(digits) not in _LENGTHS[digits[0] if digits[0] != 3 else 10 * digits[0] + digits[1]]:
        return False
    total = sum(digits[-1::-2]) + sum(sum(divmod(2 * one, 10)) for one in digits[-2::-2])
    return total % 10 == 0


def _is_iban(text: str) -> bool:
    """By the check digits (ISO 7064, MOD 97-10)."""
    bare = text.replace(" ", "")
    return int("".join(str(int(one, 36)) for one in bare[4:] + bare[:4])) % 97 == 1
