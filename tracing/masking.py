"""Which names and which texts are secrets, and how they are masked before they leave the process.

Two nets, because neither catches all: the *name* under which a value stands (``password``, ``api_key``), and the
*shape* of a text (``sk-…``, a bearer token, a private key). They are for accidents, not for an adversary: a secret
in a plain variable with a plain name and without a known shape is shown.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import Final

MASK: Final = "<masked>"

_ALWAYS: Final = frozenset(
    {
        "password",
        "passwords",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "secrets",
        "credential",
        "credentials",
        "apikey",
        "apikeys",
        "privatekey",
        "secretkey",
        "accesskey",
        "signingkey",
        "encryptionkey",
        "authkey",
        "sessionkey",
        "masterkey",
        "sharedkey",
        "clientsecret",
        "authorization",
        "bearer",
        "jwt",
        "cookie",
        "cookies",
    }
)
"""Words whose values are masked whatever they are, numbers included."""

_TOKENS: Final = frozenset({"token", "tokens", "auth"})
"""Words that name secrets and, in this trade, also counts (`max_tokens`): numbers under them are shown."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_SHAPES: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*"
    r"|\bsk-[A-Za-z0-9_-]{12,}|\b(?:(?:sk|pk|rk)_(?:live|test)|whsec)_[A-Za-z0-9]{8,}"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|hf_|xox[abeprs]-|npm_|pypi-)[A-Za-z0-9_-]{12,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|\bAIza[A-Za-z0-9_-]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)?"  # a JSON web token
    r"|\b[Bb]earer +[A-Za-z0-9._~+/=-]{6,}"
    r"|\b[Bb]asic +[A-Za-z0-9+/]{8,}={0,2}"
    r"|(?<=://)[^\s/:@]{0,80}:[^\s/@]{1,200}(?=@)"  # a password in a URL
)

_ASSIGNED: Final = re.compile(
    r"((?:password|passwd|passphrase|secret|credentials?|authorization|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|token)[\"']? ?[=:] ?)(\"[^\"\n]*\"?|'[^'\n]*'?|[^\s\"',;)}\]]+)",
    re.IGNORECASE,
)
"""`password='x'` inside a text, as reprs and tracebacks write it."""

_SIGNS_OF_SHAPES: Final = (
    "-----BEGIN", "sk-", "_live_", "_test_", "whsec_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "hf_",
    "xox", "npm_", "pypi-", "AKIA", "ASIA", "AIza", "eyJ", "earer", "asic", "://",
)  # fmt: skip
"""One of these stands in every text that `_SHAPES` matches. Looking for them takes a fifteenth of the time, and most texts have
none: this is most of what a record of the audit log, or a value on its way out, costs."""

SHORTEST_SHAPE: Final = 12
"""Characters of the shortest text that `_SHAPES` matches, but for that of a URL, which has a colon."""

_SIGNS_OF_NAMES: Final = ("passw", "passphrase", "secret", "credential", "authorization", "key", "token")
"""Likewise for `_ASSIGNED`, in small letters."""

_NOT_SECRET: Final = frozenset({"none", "true", "false", "str", "int", "bytes"})


@lru_cache(maxsize=4096)
def secrecy(name: str) -> int:
    """2 when everything called `name` is a secret, 1 when its texts are, 0 when it is an ordinary name."""
    words = [word.lower() for word in _WORD.findall(name[:200])]
    pairs = {first + second for first, second in itertools.pairwise(words)}
    if _ALWAYS.intersection(words) or _ALWAYS.intersection(pairs):
        return 2
    return 1 if _TOKENS.intersection(words) else 0


def mask_text(text: str) -> tuple[str, bool]:
    """`text` with whatever looks like a secret replaced, and whether anything was.

    Give it a bounded text, with some characters more than will be shown: a secret that the cut has split would no
    longer look like one.
    """
    if len(text) < SHORTEST_SHAPE and ":" not in text and "=" not in text:
        return text, False
    masked, shapes, assigned = text, 0, 0
    for sign in _SIGNS_OF_SHAPES:
        if sign in text:
            masked, shapes = _SHAPES.subn(MASK, text)
            break
    if ("=" in masked or ":" in masked) and _may_assign(masked):
        masked, assigned = _ASSIGNED.subn(_mask_assigned, masked)
    return masked, shapes > 0 or (assigned > 0 and masked != text)


def _may_assign(text: str) -> bool:
    if not text.isascii():
        return True  # regular expressions know more upper cases than `lower`
    lowered = text.lower()
    return any(word in lowered for word in _SIGNS_OF_NAMES)


def _mask_assigned(match: re.Match[str]) -> str:
    value = match.group(2)
    bare = value.strip("\"'").lower()
    counts = bare.isdigit() and match.group(1).lower().startswith("token")
    if bare in _NOT_SECRET or not bare or bare.startswith(MASK) or counts:
        return match.group(0)
    return f"{match.group(1)}{MASK}"
