"""Passes: pure functions from a normalised graph to another that computes the same."""
