"""What profilers say of a run."""
