"""What all tests share."""

from __future__ import annotations

import signal

from hypothesis import settings

# A shell without job control starts what it puts in the background with SIGINT ignored, and every child would inherit
# that: the tests that press Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run: a failure belongs to the change that made it. Look for new ones with
# `pytest --hypothesis-profile=explore`.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile("fixed")
