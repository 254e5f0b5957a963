"""Converters: one file per family of ops, found by its name; each function writes the layers of one op."""
