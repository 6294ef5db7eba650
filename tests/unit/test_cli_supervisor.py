"""What `nervure up` is asked for, and what its children are told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.cli import app
from deploy.commands.up import ReplicasUnfit, replica_counts
from deploy.errors import explain
from deploy.fleet import KafkaFileUnfit, UnknownService, kafka_connection, service_dsn, service_name
from deploy.run import running, with_views
from deploy.supervisor import BACKOFF_S, NotUp, Replica, System, _Child, environ, fleet
from shared.settings import Settings


def test_replicas_are_named_by_service() -> None:
    assert replica_counts(["sourcing=2", "order-capture=1,returns=3"]) == {"sourcing": 2, "order_capture": 1, "returns": 3}
    assert replica_counts([]) == {}


@pytest.mark.parametrize("text", ["sourcing", "sourcing=", "sourcing=0", "sourcing=many", "sourcing=65", ""])
def test_replicas_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(ReplicasUnfit, match="--replicas sourcing=2"):
        replica_counts([text])


def test_a_service_has_one_name() -> None:
    assert service_name("fulfilment-tracking") == "fulfilment_tracking"
    with pytest.raises(UnknownService):
        service_name("warehouse")


def test_a_child_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        home=Path("/somewhere"),
        kafka="broker:9092",
        postgres=SecretStr("postgresql://me:secret@db/x"),
        partitions=7,
        views=Path("/views"),
        log_level="debug",
    )
    for name, value in environ(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings
    assert service_dsn(Settings(), "returns") == "postgresql://me:secret@db/nervure_returns"


def test_views_are_kept_where_the_settings_say_and_beside_an_embedded_broker_in_the_home() -> None:
    home, found = Path("/somewhere"), {"kafka": "broker:9092", "postgres": SecretStr("postgresql://me:secret@db/x")}
    for asked, folder in (
        (Settings(home=home), home / "views"),
        (Settings(home=home, views=Path("/views")), Path("/views")),
        (Settings(home=home, kafka="broker:9092"), None),
    ):
        settings = with_views(asked, asked.model_copy(update=found))
        assert settings.views == folder
        file = running(settings, "order-capture", 2).snapshot
        assert file == (folder / "order_capture-2.snapshot" if folder is not None else None)


def test_login_and_protocol_reach_the_client() -> None:
    settings = Settings(
        kafka="broker:9092",
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism="SCRAM-SHA-256",
        kafka_sasl_username="oms",
        kafka_sasl_password=SecretStr("secret"),
    )
    arguments = kafka_connection(settings).arguments()
    assert (arguments["sasl_mechanism"], arguments["sasl_plain_username"], arguments["sasl_plain_password"]) == (
        "SCRAM-SHA-256",
        "oms",
        "secret",
    )
    assert "ssl_context" not in arguments


def test_tls_makes_a_context_or_says_which_file_is_unfit(tmp_path: Path) -> None:
    settings = Settings(kafka="broker:9092", kafka_security_protocol="SSL")
    assert kafka_connection(settings).ssl_context is not None
    with pytest.raises(KafkaFileUnfit) as caught:
        kafka_connection(settings.model_copy(update={"kafka_ca_file": tmp_path / "missing.pem"}))
    assert explain(caught.value).startswith("A certificate or key file of NERVURE_KAFKA_* can't be used. Remedy: ")


def test_a_home_without_services_says_how_to_start_them(tmp_path: Path) -> None:
    with pytest.raises(NotUp, match="Start them with `nervure up`"):
        fleet(tmp_path)


def test_errors_show_no_local_variables() -> None:
    assert app.pretty_exceptions_show_locals is False


@pytest.mark.parametrize(
    ("code", "state"), [(0, "stopped"), (1, "waits to restart"), (-9, "waits to restart"), (2, "misconfigured"), (3, "needs a person")]
)
def test_a_process_starts_again_unless_a_person_must_act(tmp_path: Path, code: int, state: str) -> None:
    said: list[str] = []
    system = System(Settings(home=tmp_path), on_change=said.append)
    child = _Child(Replica(service="returns", number=0, health_port=1, log=tmp_path / "returns-0.log"))
    system._ended(child, code)
    assert child.replica.state == state and child.replica.last_exit == code
    assert said and said[0].startswith("returns-0: ended ") and state in said[0]
    assert fleet(tmp_path).replicas == ()


def test_a_process_that_keeps_failing_waits_longer(tmp_path: Path) -> None:
    said: list[str] = []
    system = System(Settings(home=tmp_path), on_change=said.append)
    child = _Child(Replica(service="returns", number=0, health_port=1, log=tmp_path / "returns-0.log"), started_s=time.monotonic())
    for _ in range(len(BACKOFF_S) + 1):
        system._ended(child, 1)
    waits = [line.rpartition(" in ")[2] for line in said]
    assert waits == [f"{seconds:g} s" for seconds in (*BACKOFF_S, BACKOFF_S[-1])]
