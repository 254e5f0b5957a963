"""suites/smoke.yaml under asv."""

from bench.integrations.asv import from_suite

Smoke = from_suite("suites/smoke.yaml", qps=True)
