"""The servers of a test run."""

pytest_plugins = ["tests.support.infra"]
