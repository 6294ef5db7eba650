"""When a server is there and won't have us: what is set wrongly, said with its remedy. Waiting doesn't mend these."""

from __future__ import annotations

import ssl

import asyncpg
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError


class KafkaRefuses(KafkaError):  # type: ignore[misc]
    """Kafka does not have us as we are."""

    def __str__(self) -> str:
        return str(self.args[0])


class KafkaLoginRefused(KafkaRefuses):
    """Kafka refuses the login. Remedy: correct NERVURE_KAFKA_SASL_USERNAME, NERVURE_KAFKA_SASL_PASSWORD or NERVURE_KAFKA_SASL_MECHANISM."""


class KafkaNotTrusted(KafkaRefuses):
    """Kafka's certificate is not trusted. Remedy: point NERVURE_KAFKA_CA_FILE to the PEM file of the authority that signed it, and
    NERVURE_KAFKA to the name or address it was made out to."""


class KafkaSpeaksOtherwise(KafkaRefuses):
    """Kafka takes connections, but not of this kind, or it has only begun to start. Remedy: set NERVURE_KAFKA_SECURITY_PROTOCOL to what
    this listener is (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL); where it asks for a certificate, set NERVURE_KAFKA_CERT_FILE and
    NERVURE_KAFKA_KEY_FILE."""


class PostgresRefuses(Exception):
    """Postgres does not have us as we are."""


class PostgresLoginRefused(PostgresRefuses):
    """Postgres refuses the login. Remedy: correct user or password in NERVURE_POSTGRES, or, where it takes encrypted connections only, add
    ?sslmode=verify-full&sslrootcert=FILE to it."""


class PostgresNotTrusted(PostgresRefuses):
    """Postgres' certificate is not trusted. Remedy: in NERVURE_POSTGRES let sslrootcert=FILE name the PEM file of the authority that signed
    it, and the host be the name or address it was made out to."""


class PostgresUnfit(PostgresRefuses):
    """NERVURE_POSTGRES says what can't be. Remedy: correct what stands behind its question mark (sslmode, sslrootcert, sslcert, sslkey)."""


def kafka_refusal(error: BaseException, spoken_to: bool) -> KafkaRefuses | None:
    """What a failed connection to a broker means; None where it may be another one soon. `spoken_to`: it took the connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return KafkaNotTrusted(error.verify_message)
    if isinstance(error, SaslAuthenticationFailed | UnsupportedSaslMechanismError):
        return KafkaLoginRefused(_reason(error))
    return KafkaSpeaksOtherwise(_reason(error)) if spoken_to else None


def postgres_refusal(error: BaseException) -> PostgresRefuses | None:
    """What a failed connection to a database server means; None where it may be another one soon."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return PostgresNotTrusted(error.verify_message)
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return PostgresLoginRefused(str(error))
    return PostgresUnfit(str(error)) if isinstance(error, asyncpg.exceptions.ClientConfigurationError) else None


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
