"""Benchmarks that ship: `tandem bench ...`."""
