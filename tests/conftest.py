"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# The same examples in every run: a failure belongs to the change that made it. Look for new ones with
# `pytest --hypothesis-profile=explore`.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile("fixed")
