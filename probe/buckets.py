"""Buckets of durations, two to each power of two of microseconds: what a service counts and its probe reads."""

from __future__ import annotations


def bucket(duration_us: int) -> int:
    """The number of a duration's bucket: 1 µs is in 2, a second in 41, ten minutes are in 60."""
    bits = max(duration_us, 1).bit_length()
    return 2 * bits + (duration_us >> (bits - 2) & 1 if bits > 1 else 0)


def bucket_end_us(number: int) -> int:
    """Where a bucket ends, and the next begins."""
    bits, upper = divmod(number, 2)
    return 1 << bits if upper or bits < 2 else 3 << (bits - 2)
