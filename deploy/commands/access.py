"""What commands work on: the running servers, found by the settings or in the home."""

from __future__ import annotations

from deploy.embedded import running_infrastructure
from shared.settings import Settings


def live_settings() -> Settings:
    """The settings with the addresses of the servers that run. Raises NotRunning, or ValidationError."""
    settings = Settings()
    return running_infrastructure(settings).applied_to(settings)
