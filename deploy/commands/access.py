"""What commands work on: the running servers, found by the settings or in the home."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.embedded import running_infrastructure
from deploy.fleet import kafka_connection
from deploy.reading import check_kafka
from shared.kernel.kafka import Connection, KafkaTopics
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Access:
    """A way to the running system."""

    settings: Settings
    connection: Connection
    topics: KafkaTopics


def live_settings() -> Settings:
    """The settings with the addresses of the servers that run. Raises NotRunning, or ValidationError."""
    settings = Settings()
    return running_infrastructure(settings).applied_to(settings)


async def access() -> Access:
    """The running system. Raises NotRunning, KafkaSilent."""
    settings = live_settings()
    connection = kafka_connection(settings)
    await check_kafka(connection.bootstrap)
    return Access(settings, connection, KafkaTopics(connection))
