"""The longer run of the fuzz tests, outside CI: `python -m tests.fuzz`. What it drives is in `harness.py`."""
