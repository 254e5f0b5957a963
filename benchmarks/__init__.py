"""Benchmarks that asv runs on commits of trtbench: docs/continuous.md."""
