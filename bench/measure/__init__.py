"""Measuring: clocks, the sampling loop, its stop rule, the boundaries, telemetry and accuracy."""
