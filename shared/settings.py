"""What an operator may set: environment variables that begin with NERVURE_. Nothing is configured elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def user_cache() -> Path:
    """Where downloads of all homes of this user are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nervure"


class Settings(BaseSettings):
    """The settings of one process. An empty variable counts as not set; secrets don't show in its text."""

    model_config = SettingsConfigDict(env_prefix="NERVURE_", env_ignore_empty=True, frozen=True, use_attribute_docstrings=True)

    home: Path = Path(".nervure")
    """Folder of the embedded servers: their data, logs, ports and passwords."""

    cache: Path = Field(default_factory=user_cache)
    """Folder of what was downloaded once for all homes."""

    maven: str | None = None
    """URL of a mirror of Maven Central for the embedded broker's jars; without it Maven Central itself."""

    kafka: str | None = None
    """Bootstrap servers of an existing Kafka, `host:port,host:port`; without it the embedded one."""

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How clients reach that Kafka."""

    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """How clients log in, where the protocol is one with SASL."""

    kafka_sasl_username: str | None = None
    """Login name at Kafka."""

    kafka_sasl_password: SecretStr | None = None
    """Password at Kafka."""

    kafka_ca_file: Path | None = None
    """PEM file of the authorities that may sign Kafka's certificate; without it those the system trusts."""

    kafka_cert_file: Path | None = None
    """PEM file of the client's own certificate, where Kafka asks for one."""

    kafka_key_file: Path | None = None
    """PEM file of the private key that belongs to `kafka_cert_file`."""

    kafka_key_password: SecretStr | None = None
    """Password of that key, if it has one."""

    postgres: SecretStr | None = None
    """DSN of an existing Postgres server, `postgresql://user:password@host:port/database`; without it the embedded one.
    The user needs CREATEDB unless the services' databases exist. Over TLS: `?sslmode=verify-full&sslrootcert=FILE` at its end."""

    partitions: int = Field(default=4, ge=1, le=1024)
    """Partitions of each topic when it is created: the most replicas of a service that can share its work."""

    replication: int = Field(default=1, ge=1, le=15)
    """Copies of each partition when its topic is created; 3 where the broker has three nodes or more."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What a service process writes to its log."""

    health_host: str = "127.0.0.1"
    """Address on which a service process answers /livez, /readyz and /metrics."""

    health_port: int = Field(default=0, ge=0, le=65_535)
    """Port of the same; 0 takes a free one, which the log names."""

    outbox_keep_s: int = Field(default=7 * 86_400, ge=0)
    """How long sent messages can still be sent again by `nervure lanes republish`, in seconds."""

    publish_gate: Literal["off", "standby", "archive"] = "off"
    """What must hold a commit before anything of it is published: nobody, the standbys named below, or Postgres' archive of WAL. With a
    gate, a restore to the end of what holds it is never behind its topics. The embedded Postgres has neither standby nor archive."""

    publish_gate_standbys: str = ""
    """The standbys' `application_name`s, by comma: each of them must have flushed a commit. The user of NERVURE_POSTGRES needs the role
    pg_read_all_stats to see that."""

    views: Path | None = None
    """Folder in which each replica keeps what it has read of whole topics, so that its next start takes seconds where there are millions of
    inventory levels. A cache: it may be deleted at any time. Without it everything is read at each start; beside the embedded servers it is
    `views` in the home."""

    journal: Literal["off", "on"] = "off"
    """Whether services write every commit to a journal topic too, before anything of it is published: then `nervure lanes reconcile`
    repairs a database that was restored to an older state."""

    @model_validator(mode="after")
    def _gate_is_complete(self) -> Self:
        if (self.publish_gate == "standby") != bool(self.publish_gate_standbys.strip(", ")):
            raise ValueError("NERVURE_PUBLISH_GATE=standby and NERVURE_PUBLISH_GATE_STANDBYS go together: set both or neither")
        return self

    @model_validator(mode="after")
    def _login_is_complete(self) -> Self:
        login = (self.kafka_sasl_mechanism, self.kafka_sasl_username, self.kafka_sasl_password)
        if self.kafka_security_protocol.startswith("SASL") and None in login:
            raise ValueError(
                f"NERVURE_KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} needs NERVURE_KAFKA_SASL_MECHANISM, "
                "NERVURE_KAFKA_SASL_USERNAME and NERVURE_KAFKA_SASL_PASSWORD too"
            )
        return self

    @model_validator(mode="after")
    def _certificate_is_complete(self) -> Self:
        if (self.kafka_cert_file is None) != (self.kafka_key_file is None):
            raise ValueError("NERVURE_KAFKA_CERT_FILE and NERVURE_KAFKA_KEY_FILE go together: set both or neither")
        return self


def database_name(service: str) -> str:
    """The database that a service keeps to itself."""
    return f"nervure_{service}"


def database_dsn(server: SecretStr, service: str) -> str:
    """The DSN of a service's own database on a Postgres server; the database is not created here."""
    parts = urlsplit(server.get_secret_value())
    return urlunsplit(parts._replace(path=f"/{database_name(service)}"))
