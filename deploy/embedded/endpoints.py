"""Where the servers are: all that the rest of Nervure needs to know about them."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import SecretStr

from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Endpoints:
    """`kafka` as bootstrap servers (`host:port,...`), `postgres` as a DSN with its password (hence not in the repr)."""

    kafka: str
    postgres: str = field(repr=False)

    def applied_to(self, settings: Settings) -> Settings:
        """The settings of a service that shall use these servers; an embedded broker asks for no login."""
        changes: dict[str, object] = {"kafka": self.kafka, "postgres": SecretStr(self.postgres)}
        if settings.kafka is None:
            changes["kafka_security_protocol"] = "PLAINTEXT"
        return settings.model_copy(update=changes)

    def environ(self) -> dict[str, str]:
        """Environment variables that point a child process to these servers."""
        return {"NERVURE_KAFKA": self.kafka, "NERVURE_POSTGRES": self.postgres}
