"""When Postgres is there and won't have us: what is set wrongly, said with its remedy. Waiting doesn't mend these."""

from __future__ import annotations

import ssl

import asyncpg


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


def postgres_refusal(error: BaseException) -> PostgresRefuses | None:
    """What a failed connection to a database server means; None where it may be another one soon."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return PostgresNotTrusted(error.verify_message)
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return PostgresLoginRefused(str(error))
    return PostgresUnfit(str(error)) if isinstance(error, asyncpg.exceptions.ClientConfigurationError) else None
