"""Which servers a test run takes: those that are named, else containers where they are asked for and an engine answers, else embedded."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import SecretStr

from deploy.embedded import Endpoints
from shared.settings import Settings
from tests.support import infra

NAMED = Settings(kafka="kafka.example:9092", postgres=SecretStr("postgresql://db.example/oms"))
NOWHERE = "tcp://127.0.0.1:9"


class Engine(BaseHTTPRequestHandler):
    """A container engine that tells its version and makes nothing."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"ApiVersion": "1.44", "Version": "27"}).encode())

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.send_error(500)

    def log_message(self, format: str, *args: object) -> None:
        """Tells nobody."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a running engine is asked."""
    asked: list[str] = []
    monkeypatch.setattr(Engine, "asked", asked, raising=False)
    with HTTPServer(("127.0.0.1", 0), Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        yield asked
        server.shutdown()


def test_servers_that_are_named_are_taken_whatever_else_is_asked_for(monkeypatch: pytest.MonkeyPatch, engine: list[str]) -> None:
    """Nothing is started, in containers neither."""
    monkeypatch.setenv("NERVURE_TEST_INFRA", "containers")
    with infra.servers(NAMED) as found:
        assert found == Endpoints(kafka="kafka.example:9092", postgres="postgresql://db.example/oms")
    assert [path.rpartition("/")[2] for path in engine] == ["version"]


def test_an_engine_answers_or_it_is_said_that_none_does(
    monkeypatch: pytest.MonkeyPatch, engine: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert infra.engine_answers()
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    assert not infra.engine_answers()
    assert "the servers are embedded ones" in capsys.readouterr().err


def test_nobody_asks_for_an_engine_unless_containers_are_wanted(monkeypatch: pytest.MonkeyPatch, engine: list[str]) -> None:
    monkeypatch.delenv("NERVURE_TEST_INFRA", raising=False)
    with infra.servers(NAMED):
        assert engine == []


def test_a_broker_in_a_container_is_configured_as_the_embedded_one() -> None:
    """But for what the container sets by itself."""
    found = dict(infra.broker_settings())
    assert found["auto.create.topics.enable"] == "false"
    assert not found.keys() & set(infra.CONTAINERS_OWN)
