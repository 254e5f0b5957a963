"""trtbench: one model, one suite file, every inference runtime, one clock."""

__version__ = "0.1.0"
