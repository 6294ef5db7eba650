"""Servers with logins and TLS, reached by settings alone; what is set wrongly is named, with its remedy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from deploy.supervisor import System, environ
from schemas.topics import TOPICS
from shared.kernel import kafka
from shared.settings import Settings
from tests.support.cli import Nervure
from tests.support.secured import PASSWORD, USER, Secured, secured_servers

FAILED, MISCONFIGURED = 1, 2


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_servers(Settings(), tmp_path_factory.mktemp("certificates")) as found:
        yield found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client in this process tries twice, and takes the second refusal for an answer."""
    monkeypatch.setattr(kafka, "START_ATTEMPTS", 2)
    monkeypatch.setattr(kafka, "REFUSED_ATTEMPTS", 1)


@pytest.fixture
def right(secured: Secured, tmp_path: Path) -> Settings:
    """Everything set as these servers want it."""
    return Settings(
        home=tmp_path,
        kafka=secured.login,
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_sasl_username=USER,
        kafka_sasl_password=SecretStr(PASSWORD),
        kafka_ca_file=secured.files.authority,
        postgres=postgres(secured),
        partitions=1,
    )


def postgres(secured: Secured, **changes: object) -> SecretStr:
    """The DSN with TLS demanded and the authority named, or with other parameters."""
    parameters = {"sslmode": "verify-full", "sslrootcert": secured.files.authority} | changes
    return SecretStr(f"{secured.postgres}?{'&'.join(f'{name}={value}' for name, value in parameters.items())}")


def wrongly(right: Settings, **changes: Any) -> Nervure:
    return Nervure(environ(right.model_copy(update=changes)))


def test_topics_are_made_a_service_runs_and_answers_an_order(right: Settings) -> None:
    """TLS and SCRAM to Kafka, TLS and a password to Postgres: the service makes its database there, reads, commits, publishes."""
    nervure = Nervure(environ(right))
    with System(right, services=("order_capture",)) as system:
        system.wait_ready()
        line = {"channel_line_ref": "1", "sku": "mug", "quantity": 1, "unit_price_minor": 0}
        order = {"lines": [line], "totals": {"lines_minor": 0, "total_minor": 0}}
        request = {"request_id": "ask", "channel": "web", "channel_order_ref": uuid4().hex[:6], "placed_at": "2026-01-05T09:00:00Z"}
        sent = nervure("send", "-", stdin=json.dumps({"type": "PlaceOrder"} | request | {"order": order}))
        assert sent.code == 0, sent.err
        followed = f"web:{request['channel_order_ref']}"
        story = nervure.until(lambda seen: "order capture" in seen.out, "trace", followed)
        assert story.code == 0 and "order capture" in story.out, story


def test_the_same_broker_by_password_in_the_clear_under_tls_and_by_certificate(right: Settings, secured: Secured) -> None:
    assert wrongly(right)("topics", "create").code == 0
    files = {"kafka_cert_file": secured.files.client_certificate, "kafka_key_file": secured.files.client_key}
    for ways in ({"kafka_sasl_mechanism": "PLAIN"}, {"kafka": secured.mutual, "kafka_security_protocol": "SSL"} | files):
        seen = wrongly(right, **ways)("topics", "list", "--json")
        assert (seen.code, [line["name"] for line in seen.json][: len(TOPICS)]) == (0, [topic.name for topic in TOPICS])


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("setting", "wrong", "remedy"),
    [
        ("kafka_sasl_password", SecretStr("guessed"), "Kafka refuses the login. Remedy: correct NERVURE_KAFKA_SASL_USERNAME"),
        ("kafka_sasl_mechanism", "SCRAM-SHA-256", "NERVURE_KAFKA_SASL_MECHANISM"),
        ("kafka_ca_file", "stranger", "Kafka's certificate is not trusted. Remedy: point NERVURE_KAFKA_CA_FILE to"),
        ("kafka_ca_file", None, "Kafka's certificate is not trusted. Remedy: point NERVURE_KAFKA_CA_FILE to"),
        ("kafka_ca_file", Path("/nowhere.pem"), "A certificate or key file of NERVURE_KAFKA_* can't be used"),
    ],
)
def test_what_kafka_is_told_wrongly_is_named(right: Settings, secured: Secured, setting: str, wrong: Any, remedy: str) -> None:
    seen = wrongly(right, **{setting: secured.files.stranger if wrong == "stranger" else wrong})("topics", "list")
    assert (seen.code, remedy in seen.err.replace("\n", " ")) == (MISCONFIGURED, True), seen


@pytest.mark.usefixtures("impatient")
def test_a_listener_of_another_kind_names_the_protocol(right: Settings, secured: Secured) -> None:
    """It may be a broker that starts, too: so that is said only after the last attempt, and a service would be started again."""
    for changes in ({"kafka_security_protocol": "PLAINTEXT"}, {"kafka": secured.mutual, "kafka_security_protocol": "SSL"}):
        seen = wrongly(right, **changes)("topics", "list")
        assert (seen.code, "set NERVURE_KAFKA_SECURITY_PROTOCOL to what" in seen.err.replace("\n", " ")) == (FAILED, True), seen


def test_what_postgres_is_told_wrongly_is_named(right: Settings, secured: Secured) -> None:
    guessed = SecretStr(postgres(secured).get_secret_value().replace("@", "guessed@"))
    for wrong, remedy in (
        (guessed, "Postgres refuses the login. Remedy: correct user or password in NERVURE_POSTGRES"),
        (postgres(secured, sslmode="disable"), "takes encrypted connections only, add ?sslmode=verify-full"),
        (postgres(secured, sslrootcert=secured.files.stranger), "Postgres' certificate is not trusted. Remedy: in NERVURE_POSTGRES let"),
        (postgres(secured, sslrootcert="/nowhere.pem"), "A certificate or key file that NERVURE_POSTGRES names can't be used"),
        (postgres(secured, sslmode="verify"), "NERVURE_POSTGRES says what can't be. Remedy: correct what stands behind its question mark"),
    ):
        seen = wrongly(right, postgres=wrong)("audit")
        assert (seen.code, remedy in seen.err.replace("\n", " ")) == (MISCONFIGURED, True), seen


@pytest.mark.parametrize("setting", ["kafka_sasl_password", "postgres"])
def test_a_service_that_is_refused_ends_and_says_why(right: Settings, secured: Secured, setting: str) -> None:
    """It is not started again and again: a person has to correct the setting."""
    assert wrongly(right)("topics", "create").code == 0
    wrong = {"kafka_sasl_password": SecretStr("guessed"), "postgres": postgres(secured, sslrootcert=secured.files.stranger)}
    with wrongly(right, **{setting: wrong[setting]}).process("run", "returns", stdout=PIPE, stderr=PIPE) as service:
        said = service.communicate(timeout=30)[1].decode()
    assert (service.returncode, f"NERVURE_{setting.upper()}" in said.splitlines()[-1]) == (MISCONFIGURED, True), said
