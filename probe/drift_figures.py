"""The figures of drift: how unlike its baseline a window of activities is, each with a limit that chance does not reach."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any, Final

from observe.probe.drift_baseline import BASELINE, FAILED, NAMES, WINDOW, Baseline, Window

MIX: Final = 0.40
ORDER: Final = 0.30
"""Bits a transition: as if each were a fifth less likely than in the baseline."""
ORDER_ERRORS: Final = 8.0
"""More than for the means: what an agent does next depends on more than on what it did last, so transitions are less random
than the statistic believes."""
ROW: Final = 50
"""Transitions from an activity that the baseline must know, to say which ones follow it."""
RARE: Final = 0.5
"""Of what is not expected at all, so many are."""

FAILURES: Final = 0.2
FAILURE_ERRORS: Final = 5.0
DURATIONS: Final = 2.0
"""As a logarithm to base 2: a factor of 4."""
TOKENS: Final = math.log2(3)

LIKE: Final = 0.15
"""Divergence up to which the mix of another goal is called alike."""

Found = tuple[float, str, dict[str, Any]]
"""How far, in words, and the figures."""


def compare(window: Window, others: Iterable[Baseline] = ()) -> Found:
    """How far an agent is from its baseline, as a share of what is too much: 1 and above is drift. In words, and in figures.

    `others`: the baselines of the class at other goals. What behaves like one of them is said to.
    """
    base = window.baseline
    now = _shares(window)
    before = [one / base.total for one in base.counts]
    mix = divergence(now, before)
    share, usual = sum(event >= FAILED for event in window.events) / WINDOW, base.failed / base.total
    errors = (share - usual) / math.sqrt(max(usual * (1 - usual), 1 / base.total) / WINDOW)
    slower, slower_far = base.durations.differs(list(window.durations), DURATIONS)
    more, more_far = base.tokens.differs([one for one in window.tokens if one], TOKENS)
    order, order_far, surprise = transitions(base, window.in_order())
    parts = [
        (mix / MIX, f"activities differ by {mix:.2f} (Jensen-Shannon): {_most(base, now, before)}"),
        (order_far, f"they follow each other otherwise, by {order:.2f} bits: {surprise}"),
        (
            min((share - usual) / FAILURES, errors / FAILURE_ERRORS),
            f"{share:.0%} fail against {usual:.0%}",
        ),
        (slower_far, f"they take {_times(slower)} as long"),
        (more_far, f"they use {_times(more)} the tokens"),
    ]
    figures: dict[str, Any] = {
        "mix": round(mix, 3), "order": round(order, 3), "failed": round(share, 3), "failed_before": round(usual, 3),
        "durations": round(2**slower, 3), "tokens": round(2**more, 3), "window": WINDOW, "baseline": int(base.total),
    }  # fmt: skip
    far = max(part for part, _ in parts)
    told = [text for part, text in parts if part >= min(1.0, far)]
    if base.goal:
        figures["goal"] = base.goal
    if far >= 1.0:
        like = _like(window, base, others)
        if like is not None:
            figures["like"] = like
            told.append(f"as at the goal {like}" if like else "as without a goal")
    text = "; ".join(told)
    return far, f"at the goal {base.goal}: {text}" if base.goal else text, figures


def divergence(one: list[float], other: list[float]) -> float:
    """Jensen and Shannon's, to base 2: 0 for the same shares, 1 where nothing is shared."""
    found = 0.0
    for here, there in zip(one, other, strict=True):
        middle = (here + there) / 2
        if here:
            found += here * math.log2(here / middle)
        if there:
            found += there * math.log2(there / middle)
    return max(found / 2, 0.0)


def transitions(base: Baseline, events: bytes) -> tuple[float, float, str]:
    """How otherwise activities follow each other: bits a transition, that as a share of what is too much, and the worst one.

    A likelihood-ratio test (G) of the window against the chain of first order of the baseline, given what went before, so that
    another mix alone is none; less its degrees of freedom, which is what chance makes of it, and per transition.
    """
    rows: dict[int, dict[int, int]] = {}
    for event, following in itertools.pairwise(events):
        row = rows.setdefault(event & ~FAILED, {})
        row[following & ~FAILED] = row.get(following & ~FAILED, 0) + 1
    found = 0.0
    freedom = used = 0
    worst: tuple[float, int, int, float] = (0.0, 0, 0, 0.0)
    for name, row in rows.items():
        known = base.pairs.get(name, {})
        total = sum(known.values())
        if total < ROW:
            continue
        seen = sum(row.values())
        used += seen
        cells = 0
        rare_seen, rare_expected = sum(count for one, count in row.items() if one not in known), 0.0
        deviance = 0.0
        for following, count in known.items():
            expected, here = seen * count / total, row.get(following, 0)
            if expected < 1:
                rare_seen, rare_expected = rare_seen + here, rare_expected + expected
            else:
                cells += 1
                deviance += _deviance(here, expected)
        if rare_seen or rare_expected:
            cells += 1
            deviance += _deviance(rare_seen, max(rare_expected, RARE))
        found += deviance / (1 + seen / total)  # the baseline is an estimate as well
        freedom += max(cells - 1, 0)
        for following, here in row.items():
            expected = seen * known.get(following, 0.0) / total
            if here - expected > worst[0]:
                worst = (here - expected, name, following, expected)
    if used < WINDOW / 2:
        return 0.0, 0.0, ""
    beyond = max(found - freedom, 0.0)
    bits = beyond / (2 * math.log(2) * used)
    far = min(bits / ORDER, beyond / math.sqrt(2 * max(freedom, 1)) / ORDER_ERRORS)
    more, name, following, expected = worst
    return (
        bits,
        far,
        f"{base.name(following)} after {base.name(name)} {more + expected:.0f} times against {expected:.0f}",
    )


def _deviance(seen: float, expected: float) -> float:
    return 2 * ((seen * math.log(seen / expected) if seen else 0.0) - (seen - expected))


def _shares(window: Window) -> list[float]:
    counts = [0] * (NAMES + 1)
    for event in window.events:
        counts[event & ~FAILED] += 1
    return [one / WINDOW for one in counts]


def _most(base: Baseline, now: list[float], before: list[float]) -> str:
    """The activity whose share has grown most."""
    place = max(range(len(now)), key=lambda at: now[at] - before[at])
    return f"{base.name(place)} {now[place]:.0%} against {before[place]:.0%}"


def _like(window: Window, base: Baseline, others: Iterable[Baseline]) -> str | None:
    """The goal at which such a mix of activities is usual. None: there is none, or it is this one."""
    names = {number: name for name, number in base.names.items()}
    shares: dict[str, float] = {}
    for event in window.events:
        name = names.get(event & ~FAILED, "")
        shares[name] = shares.get(name, 0.0) + 1 / WINDOW
    nearest, best = None, min(LIKE, _apart(shares, base))
    for other in others:
        if other is not base and other.total >= BASELINE and (apart := _apart(shares, other)) < best:
            nearest, best = other.goal, apart
    return nearest


def _apart(shares: dict[str, float], base: Baseline) -> float:
    theirs = {name: base.counts[number] / base.total for name, number in base.names.items()}
    names = list(shares.keys() | theirs.keys())
    return divergence([shares.get(name, 0.0) for name in names], [theirs.get(name, 0.0) for name in names])


def _times(logarithm: float) -> str:
    return f"{2**logarithm:.2g} times"
