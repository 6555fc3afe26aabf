"""Benchmarks of the Python worker; docs/PERFORMANCE.md has the commands and what they gave."""
