"""What a customer gets back for a return: the one part of the shop that is written to be edited while the shop is open.

The service runs a copy of this file, `refunds.py` in its directory of code, as a module of its own:
`observe reload shop refunds` takes what has been saved there into the running service. It has a bug, which the tutorial
mends that way.
"""

from __future__ import annotations

SHARES = {
    "kettle": 1.0,
    "toaster": 1.0,
    "coffee grinder": 1.0,
    "teapot": 1.0,
    "bread knife": 0.8,
    "cast-iron pan": 1.0,
    "set of towels": 0.5,
    "apron": 0.5,
    "kitchen scale": 1.0,
    "espresso machine": 1.0,
}
"""The part of the price that comes back: used textiles and blades are worth less to us."""


def refund(item: str, price: float) -> float:
    """What comes back for `item`, bought for `price`, in the same money."""
    return round(price * SHARES[item], 2)
