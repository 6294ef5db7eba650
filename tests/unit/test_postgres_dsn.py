"""Where a service's own database is made: on the same server, under the same conditions."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from shared.kernel.sql import server_and_name
from shared.settings import database_dsn

SERVER = "postgresql://oms:s%2Fcret@db.example:5433"


@pytest.mark.parametrize("parameters", ["", "?sslmode=verify-full", "?sslmode=require&sslrootcert=/etc/ca.pem"])
def test_a_database_is_made_under_the_parameters_it_is_used_with(parameters: str) -> None:
    """A server that refuses plain connections would refuse to make it, or be asked in the clear."""
    dsn = database_dsn(SecretStr(f"{SERVER}/oms{parameters}"), "returns")
    assert dsn == f"{SERVER}/nervure_returns{parameters}"
    assert server_and_name(dsn) == (f"{SERVER}/postgres{parameters}", "nervure_returns")


def test_a_socket_is_a_parameter_too() -> None:
    assert server_and_name("postgresql:///oms?host=/run/postgres") == ("postgresql:///postgres?host=/run/postgres", "oms")
