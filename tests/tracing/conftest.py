"""What the tests of tracing share."""

from __future__ import annotations

from importlib.util import find_spec

_NEED = {"test_web.py": "fastapi", "test_other_instrumentations.py": "openinference"}

# The extra `test` brings them; whoever has an older environment can run the other tests all the same.
collect_ignore = [name for name, package in _NEED.items() if find_spec(package) is None]
