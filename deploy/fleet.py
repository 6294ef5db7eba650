"""The five services by name, and what a process needs to reach their broker and their databases."""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from schemas.topics import TOPICS, Topic
from shared.kernel.kafka import Connection, KafkaTopics
from shared.kernel.model import Service
from shared.settings import Settings, database_dsn

SERVICES = ("order_capture", "inventory", "sourcing", "fulfilment_tracking", "returns")
"""In the order in which an order meets them."""
FILES = ("sslrootcert", "sslcert", "sslkey")
"""Parameters of a DSN that name files."""


class UnknownService(Exception):
    """There is no such service. Remedy: name one of order_capture, inventory, sourcing, fulfilment_tracking, returns."""


class NoKafka(Exception):
    """NERVURE_KAFKA is not set. Remedy: point it to a broker, or let `nervure up` start everything on this machine."""


class NoPostgres(Exception):
    """NERVURE_POSTGRES is not set. Remedy: point it to a server, or let `nervure up` start everything on this machine."""


class KafkaFileUnfit(Exception):
    """A certificate or key file of NERVURE_KAFKA_* can't be used. Remedy: check that it exists and is PEM."""


class PostgresFileUnfit(Exception):
    """A certificate or key file that NERVURE_POSTGRES names can't be used. Remedy: check that it exists and is PEM."""


def service_name(text: str) -> str:
    """The service meant by `order-capture` or `order_capture`. Raises UnknownService."""
    name = text.replace("-", "_")
    if name not in SERVICES:
        raise UnknownService(text)
    return name


def load_service(name: str) -> Service[Any]:
    """The wiring of a service; its package is imported only now."""
    module = importlib.import_module(f"services.{service_name(name)}.service")
    service: Service[Any] = module.service
    return service


def reads_by_service(services: Sequence[str] = SERVICES) -> Mapping[str, tuple[Topic, ...]]:
    """Which topics each service has as inputs: each has a dead-letter topic of its own there."""
    return {name: tuple(load_service(name).reads) for name in services}


async def create_topics(settings: Settings, services: Sequence[str] = SERVICES) -> list[str]:
    """Makes what is missing of the topic table, the dead-letter topics and, where they are kept, the journals; returns the new names."""
    topics = KafkaTopics(kafka_connection(settings))
    reads = reads_by_service(services)
    return await topics.create(settings.partitions, settings.replication, reads, journals=settings.journal == "on")


def owner_topics(service: str) -> tuple[Topic, ...]:
    """What a service writes."""
    return tuple(topic for topic in TOPICS if topic.owner == service)


def kafka_connection(settings: Settings) -> Connection:
    """How to reach the broker the settings name. Raises NoKafka, KafkaFileUnfit."""
    if settings.kafka is None:
        raise NoKafka
    password = settings.kafka_sasl_password
    return Connection(
        bootstrap=settings.kafka,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism or "PLAIN",
        sasl_username=settings.kafka_sasl_username,
        sasl_password=password.get_secret_value() if password else None,
        ssl_context=_ssl_context(settings) if settings.kafka_security_protocol.endswith("SSL") else None,
    )


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    password = settings.kafka_key_password
    try:
        context = ssl.create_default_context(cafile=str(settings.kafka_ca_file) if settings.kafka_ca_file else None)
        if settings.kafka_cert_file:
            context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file, password.get_secret_value() if password else None)
    except (OSError, ssl.SSLError) as error:
        raise KafkaFileUnfit(str(error)) from error
    return context


def service_dsn(settings: Settings, service: str) -> str:
    """The DSN of a service's own database. Raises NoPostgres, PostgresFileUnfit."""
    if settings.postgres is None:
        raise NoPostgres
    dsn = database_dsn(settings.postgres, service)
    _check_files(dict(parse_qsl(urlsplit(dsn).query)))
    return dsn


def _check_files(parameters: Mapping[str, str]) -> None:
    """The client would only say that some file isn't there, and go on trying. Raises PostgresFileUnfit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if trusted := parameters.get("sslrootcert"):
            context.load_verify_locations(cafile=trusted)
        if own := parameters.get("sslcert"):
            context.load_cert_chain(own, parameters.get("sslkey"), parameters.get("sslpassword", ""))
    except (OSError, ssl.SSLError) as error:
        named = ", ".join(f"{name}={value}" for name, value in parameters.items() if name in FILES)
        raise PostgresFileUnfit(f"{named}: {error}") from error
