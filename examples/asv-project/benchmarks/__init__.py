"""Benchmarks that asv runs on commits of tinynet."""
