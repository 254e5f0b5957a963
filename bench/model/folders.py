"""The names of folders that more than one package knows."""

# Where runs go, and are looked for, without --store.
RESULTS = "results"
