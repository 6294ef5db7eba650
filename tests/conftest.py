"""The servers of a test run, and the system that runs on them."""

pytest_plugins = ["tests.support.infra", "tests.support.running"]
