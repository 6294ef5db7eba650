"""When Kafka is there and won't have us: what is set wrongly, said with its remedy. Waiting doesn't mend these."""

from __future__ import annotations

import ssl

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


def kafka_refusal(error: BaseException, spoken_to: bool) -> KafkaRefuses | None:
    """What a failed connection to a broker means; None where it may be another one soon. `spoken_to`: it took the connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return KafkaNotTrusted(error.verify_message)
    if isinstance(error, SaslAuthenticationFailed | UnsupportedSaslMechanismError):
        return KafkaLoginRefused(_reason(error))
    return KafkaSpeaksOtherwise(_reason(error)) if spoken_to else None


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
