"""Benchmarks: one module for each claim. Run them with `python -m benchmarks`; see README.md here."""
