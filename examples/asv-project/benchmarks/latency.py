"""The suite of the installed commit; a suite beside this folder would be from_suite("suites/tinynet.yaml")."""

from importlib.resources import files

from bench.integrations.asv import from_suite

Tinynet = from_suite(files("tinynet") / "suite.yaml")
