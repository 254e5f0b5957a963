"""trtbench: one model, one suite file, every inference runtime, one clock."""

__version__ = "0.2.0"
