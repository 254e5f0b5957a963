"""Showing: each module renders data that is already there to text; nothing here measures, probes or writes files."""
