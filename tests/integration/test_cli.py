"""The command line on a running system: an order sent, followed, told; what goes wrong is found, named, and mended."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
import pytest

from deploy.fleet import SERVICES, kafka_connection, service_dsn
from deploy.health import ask, metrics, ready
from deploy.supervisor import System, environ
from schemas.topics import CHANNEL_ORDERS, ORDER_EVENTS, STOCK_REPORTS
from shared.kernel.kafka import KafkaTopics, KafkaWriter
from shared.kernel.partition import partition_of
from shared.kernel.ports import Outgoing, TopicPartition
from shared.settings import Settings
from tests.support.cli import Nervure, Outcome
from tests.support.planted import edit_row, put_back

T = TypeVar("T")
RUN = uuid4().hex[:6]
CHANNEL, POLICY, TEA = f"cli-{RUN}", f"cli-{RUN}", f"tea-{RUN}"
PARIS, LYON = f"paris-{RUN}", f"lyon-{RUN}"
ORDER = f"{CHANNEL}:1001"

REFERENCE: list[dict[str, Any]] = [
    {"type": "Item", "data": {"sku": TEA, "description": "Green tea", "weight_g": 100}},
    {"type": "Policy", "data": {"policy": POLICY, "locations": [PARIS, LYON], "carrier": f"post-{RUN}"}},
    {"type": "Carrier", "data": {"carrier": f"post-{RUN}"}},
    {"type": "Channel", "data": {"channel": CHANNEL, "policy": POLICY, "unpaid": "accept"}},
]


def location(name: str, latitude: float) -> dict[str, Any]:
    place = {"location": name, "kind": "store", "zone": "Europe/Paris", "country": "FR", "latitude": latitude, "longitude": 2.35}
    return {"type": "Location", "data": place}


def counted(name: str, quantity: int) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    count = {"location": name, "count_id": f"count-{RUN}", "as_of": now, "lines": [{"sku": TEA, "quantity": quantity}]}
    return {"type": "StockCounted", "data": count}


def placed(reference: str, quantity: int) -> dict[str, Any]:
    line = {"channel_line_ref": "l1", "sku": TEA, "quantity": quantity, "unit_price_minor": 990}
    paid = {"payment_id": f"p-{reference}", "amount_minor": 990 * quantity, "status": "authorised"}
    content = {
        "ship_to": {
            "street": ["1 rue de la Paix"],
            "postal_code": "75002",
            "city": "Paris",
            "country": "FR",
            "latitude": 48.8,
            "longitude": 2.3,
        },
        "lines": [line],
        "totals": {"lines_minor": 990 * quantity, "total_minor": 990 * quantity},
        "payments": [paid],
    }
    request = {
        "request_id": f"place-{reference}",
        "channel": CHANNEL,
        "channel_order_ref": reference,
        "placed_at": datetime.now(UTC).isoformat(),
    }
    return {"type": "PlaceOrder", "data": request | {"order": content}}


def cancelled(reference: str) -> dict[str, Any]:
    return {"type": "CancelOrder", "request_id": f"cancel-{reference}", "channel": CHANNEL, "channel_order_ref": reference}


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.fixture(scope="module")
def nervure(system: System) -> Nervure:
    return Nervure(environ(system.settings))


@pytest.fixture(scope="module")
def order(nervure: Nervure, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three teas, of which no store has more than two."""
    folder = tmp_path_factory.mktemp("messages")
    stock = [counted(PARIS, 2), counted(LYON, 2)]
    world = folder / "world.json"
    world.write_text(json.dumps([*REFERENCE, location(PARIS, 48.85), location(LYON, 45.76), *stock]))
    assert nervure("send", world).code == 0
    assert nervure("audit", "--json").json["at_rest"]
    request = folder / "order.json"
    request.write_text(json.dumps(placed("1001", 3)))
    sent = nervure("send", request)
    assert sent.code == 0 and f"Follow it: nervure status {ORDER}" in sent.out

    def instructed(seen: Outcome) -> bool:
        return seen.code == 0 and seen.json["status"] == "in_fulfilment" and seen.json["lines"][0]["released"] == 3

    seen = nervure.until(instructed, "status", ORDER, "--json")
    assert instructed(seen), seen
    return ORDER


def test_status_is_a_page_and_a_document(nervure: Nervure, order: str) -> None:
    page, document = nervure("status", order).out, nervure("status", "1001", "--json")
    assert order in page and "in fulfilment" in page and "Waits for location" in page
    assert [line["released"] for line in document.json["lines"]] == [3]


def test_status_of_an_order_nobody_placed(nervure: Nervure, order: str) -> None:
    seen = nervure("status", f"{CHANNEL}:9999")
    assert seen.code == 1 and f"No order {CHANNEL}:9999 is known." in seen.err


def test_the_trace_reads_as_a_story(nervure: Nervure, order: str) -> None:
    told = nervure("trace", order).out
    for said in (
        f"placed the order: 3 x {TEA}, 29.70 EUR, home to 75002 Paris FR",
        "answered PlaceOrder: accepted <- 1",
        "the order is split",
        f"Chosen: {LYON} (",
        "No other plan was possible.",
        "Promise: delivery by ",
        f"instructed {PARIS}: ",
    ):
        assert said in told, told
    story = nervure("trace", order, "--json").json["story"]
    assert [chapter["number"] for chapter in story] == list(range(1, len(story) + 1))
    assert all(chapter["cause"] is not None and chapter["cause"] < chapter["number"] for chapter in story[1:])


def test_lanes_tell_how_far_everybody_is(nervure: Nervure, order: str) -> None:
    lanes = nervure("lanes", "--json").json
    commands = [lane for lane in lanes if lane["topic"] == "oms.inventory.commands.v1"]
    assert sum(lane["committed"] for lane in commands) >= 2
    assert all(reader["missing"] is None for lane in lanes for reader in lane["readers"])


def test_republished_messages_have_no_effect_twice(nervure: Nervure, order: str) -> None:
    lane = next(lane for lane in nervure("lanes", "--json").json if lane["topic"] == "oms.sourcing.decisions.v1" and lane["kept_from"])
    sent = nervure("lanes", "republish", lane["topic"], lane["partition"], "--from", lane["kept_from"], "--json")
    assert sent.json["to"] == lane["committed"]
    assert nervure("audit", "--json").json["violations"] == []


def test_what_is_not_kept_cannot_be_republished(nervure: Nervure, order: str) -> None:
    seen = nervure("lanes", "republish", "oms.sourcing.decisions.v1", 0, "--from", 1, "--to", 1_000_000)
    assert seen.code == 1 and "can't be sent again" in seen.err
    assert nervure("lanes", "republish", CHANNEL_ORDERS.name, 0, "--from", 1).code == 1


def test_topics_are_all_there(nervure: Nervure) -> None:
    seen = nervure("topics", "list", "--json")
    assert seen.code == 0 and all(line["partitions"] for line in seen.json)
    assert nervure("topics", "create").out == "All topics exist already.\n"
    assert nervure("topics", "create", "--json").json == {"created": []}


def test_a_file_may_be_checked_without_being_sent(nervure: Nervure, order: str) -> None:
    """Right or wrong, nothing is published, and no running system is needed."""
    checked = nervure("send", "-", "--check", stdin=json.dumps(placed("7777", 1)))
    assert (checked.code, checked.out) == (0, "1 message is right; nothing was sent.\n")
    assert nervure("send", "-", "--check", "--json", stdin=json.dumps(placed("7777", 1))).json == {"sent": [], "checked": 1, "problems": []}
    wrong = nervure("send", "-", "--check", "--json", stdin=json.dumps(placed("7777", -1)))
    assert wrong.code == 2 and "order.lines.0.quantity" in {problem["field"] for problem in wrong.json["problems"]}
    assert nervure("status", f"{CHANNEL}:7777").code == 1


def test_watch_goes_on_until_its_time_is_over(nervure: Nervure, order: str) -> None:
    """Line by line for machines; in a terminal one page that is drawn again."""
    lines = [json.loads(line) for line in nervure("watch", "--for", 2.5, "--json").out.splitlines()]
    assert len(lines) >= 2 and all(line["orders"]["in_fulfilment"] >= 1 for line in lines)
    assert all(replica["inputs_a_second"] is not None for replica in lines[-1]["replicas"])
    seen = in_a_terminal(nervure, "watch", "--for", "2.5")
    assert seen.count("order_capture-0") >= 2 and "in fulfilment" in seen and "dead letters" in seen


def in_a_terminal(nervure: Nervure, *arguments: str) -> str:
    """What a command prints where its output is a terminal."""
    ours, theirs = pty.openpty()
    with nervure.process(*arguments, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        text = b""
        with suppress(OSError):  # the end of a terminal that nobody holds any more
            while chunk := os.read(ours, 65_536):
                text += chunk
        assert process.wait(30) == 0, text.decode()
    os.close(ours)
    return text.decode()


def test_watch_shows_orders_and_services(nervure: Nervure, order: str) -> None:
    seen = nervure("watch", "--once", "--json").json
    assert seen["orders"]["in_fulfilment"] >= 1
    assert {replica["replica"] for replica in seen["replicas"]} == {f"{service}-0" for service in SERVICES}
    assert "order_capture-0" in nervure("watch", "--once").out


def test_nothing_is_sent_unless_everything_is_right(nervure: Nervure, order: str, tmp_path: Path) -> None:
    file = tmp_path / "cancels.jsonl"
    file.write_text(json.dumps(cancelled("1001")) + "\n" + json.dumps(cancelled("10 01")) + "\n")
    seen = nervure("send", file)
    assert seen.code == 2 and "message 2, channel_order_ref" in seen.err and "Nothing was sent" in seen.err
    assert not any(chapter["type"] == "CancelOrder" for chapter in nervure("trace", order, "--json").json["story"])


def test_messages_come_from_standard_input_too(nervure: Nervure, order: str) -> None:
    sent = nervure("send", "-", "--json", "--type", "PlaceOrder", stdin=json.dumps(placed("1002", 5)["data"]))
    assert [each["key"] for each in sent.json["sent"]] == [f"{CHANNEL}:1002"]
    seen = nervure.until(lambda seen: seen.code == 0 and seen.json["lines"][0]["backordered"] > 0, "status", f"{CHANNEL}:1002", "--json")
    assert "stock" in [waiting["reason"] for waiting in seen.json["waiting"]]


# ---- dead letters ----


def hostile(system: System, topic: str, key: str) -> None:
    async def send() -> None:
        writer = KafkaWriter(kafka_connection(system.settings))
        await writer.start()
        at = TopicPartition(topic, partition_of(key, system.settings.partitions))
        headers = (("ce_type", b"nervure.StockCounted"), ("ce_source", b"/test"), ("ce_id", uuid4().hex.encode()))
        await writer.send({at: [Outgoing(key.encode(), b"\xff\x00{", headers)]})
        await writer.stop()

    run(send())


def test_a_dead_letter_is_shown_replayed_and_discarded(nervure: Nervure, system: System, order: str) -> None:
    hostile(system, STOCK_REPORTS.name, PARIS)
    seen = nervure.until(lambda seen: PARIS in seen.out, "dlq", "list", "--json")
    letter = next(each for each in seen.json if each["key"] == PARIS)
    assert letter["status"] == "dead" and letter["reason"] == "undecodable"
    assert "StockCounted from oms.stock.reports.v1" in nervure("dlq", "show", letter["name"]).out
    assert nervure("dlq", "show", letter["name"], "--json").json == letter | {"behind": []}
    again = nervure("dlq", "replay", letter["name"])
    assert again.code == 1 and "failed again" in again.out
    assert nervure("dlq", "discard", letter["name"], "--json").json == {"discarded": letter["name"], "behind": []}
    assert letter["name"] not in nervure("dlq", "list").out
    assert nervure("dlq", "discard", letter["name"]).code == 1
    assert nervure("dlq", "show", "inventory/999999").code == 1


async def _quarantine(settings: Settings, row: str, offsets: Sequence[int]) -> list[str]:
    """Inputs that returns could not decide, one behind the other; what failed has been mended meanwhile."""
    headers = {"ce_type": "nervure.OrderHeld", "ce_source": "/test", "ce_id": str(uuid4()), "ce_lane": "order_capture/1", "ce_seq": "1"}
    stored = json.dumps([[name, value.encode().hex()] for name, value in headers.items()])
    connection = await asyncpg.connect(service_dsn(settings, "returns"))
    try:
        await connection.execute("INSERT INTO kernel.quarantine (kind, id, reason) VALUES ('purchase', $1, 'KeyError')", row)
        numbers = [
            await connection.fetchval(
                "INSERT INTO kernel.parked"
                " (status, topic, partition, off, appended_ms, key, value, headers, reason, detail, waits_for, sent)"
                " VALUES ('quarantined', $1, 0, $2, 0, $3, '{}', $4, 'KeyError', '', $5, true) RETURNING number",
                ORDER_EVENTS.name,
                offset,
                row.encode(),
                stored,
                [f"purchase {row}"],
            )
            for offset in offsets
        ]
    finally:
        await connection.close()
    return [f"returns/{number}" for number in numbers]


def test_quarantined_inputs_are_replayed_in_their_order(nervure: Nervure, system: System, order: str) -> None:
    first, second, third = run(_quarantine(system.settings, f"{CHANNEL}:quarantined", [10**15, 10**15 + 1, 10**15 + 2]))
    assert nervure("audit", "--json").code == 1
    assert f"Waiting behind it: {second}, {third}" in nervure("dlq", "show", first).out
    early = nervure("dlq", "replay", second)
    assert early.code == 1 and f"{second} waits behind {first}" in early.err
    discarded = nervure("dlq", "discard", first)
    assert discarded.code == 0 and f"nervure dlq replay {second}" in discarded.out
    replayed = nervure("dlq", "replay", second, "--json")
    assert (replayed.code, replayed.json) == (0, {"replayed": [second, third], "status": "replayed"})
    nervure.until(lambda seen: not seen.json["violations"], "audit", "--json")
    assert not {first, second, third} & {each["name"] for each in nervure("dlq", "list", "--json").json}


# ---- a gap ----


async def _lose(settings: Settings, service: str, topic: str, key: str) -> tuple[int, int]:
    """The service, which must not run, will read only the last record of the key's partition; returns partition and lane mark."""
    at = TopicPartition(topic, partition_of(key, settings.partitions))
    ends = await KafkaTopics(kafka_connection(settings)).ends([at])
    connection = await asyncpg.connect(service_dsn(settings, service))
    try:
        await connection.execute(
            "UPDATE kernel.position SET next = $3 WHERE topic = $1 AND partition = $2", at.topic, at.partition, ends[at] - 1
        )
        mark = await connection.fetchval("SELECT seq FROM kernel.lane_in WHERE topic = $1 AND partition = $2", at.topic, at.partition)
    finally:
        await connection.close()
    return at.partition, mark or 0


def test_a_gap_is_named_with_the_command_that_closes_it(nervure: Nervure, system: System, order: str) -> None:
    """Returns missed all that was said of an order but the last; what it then reads waits until the rest is sent again."""
    system.terminate("returns")
    nervure.until(lambda _: {each.state for each in system.replicas() if each.service == "returns"} == {"stopped"}, "topics", "list")
    assert nervure("send", "-", stdin=json.dumps([placed("1003", 50), cancelled("1003")])).code == 0
    nervure.until(lambda seen: seen.code == 0 and seen.json["status"] == "cancelled", "status", f"{CHANNEL}:1003", "--json")
    partition, mark = run(_lose(system.settings, "returns", ORDER_EVENTS.name, f"{CHANNEL}:1003"))
    system.launch("returns")
    seen = nervure.until(lambda seen: seen.code == 1, "lanes")
    missed, command = seen.out.splitlines()[-2:]
    assert missed.startswith(f"returns misses {mark + 1} to ") and f"of {ORDER_EVENTS.name}, partition {partition}." in missed, seen.out
    assert nervure("audit", "--json", "--wait", 1).json["violations"] != []
    told = next(lane for lane in nervure("lanes", "--json").json if (lane["topic"], lane["partition"]) == (ORDER_EVENTS.name, partition))
    reader = next(reader for reader in told["readers"] if reader["service"] == "returns")
    assert (reader["missing"][0], reader["spooled"] >= 1) == (mark + 1, True)
    assert command.split()[:3] == ["nervure", "lanes", "republish"]
    assert nervure(*command.split()[1:]).code == 0
    assert nervure.until(lambda seen: seen.code == 0, "lanes").code == 0
    system.wait_ready()
    assert nervure("audit", "--json").json["violations"] == []


# ---- audit and rebuild ----


@pytest.fixture
def planted(request: pytest.FixtureRequest, system: System, order: str) -> Iterator[tuple[str, str]]:
    """A wrong row in one database, which is as it was afterwards: (service, row)."""
    service: str = request.param
    row = f"{TEA}:{PARIS}" if service == "inventory" else order
    before = run(edit_row(system.settings, service, row))
    yield service, row
    run(put_back(system.settings, service, row, before))


@pytest.mark.parametrize("planted", SERVICES, indirect=True)
def test_a_wrong_row_is_named(nervure: Nervure, planted: tuple[str, str]) -> None:
    service, row = planted
    audit = nervure("audit", "--json")
    assert audit.code == 1
    assert any(row in each["what"] and each["service"] == service for each in audit.json["violations"]), audit.out
    rebuilt = nervure("rebuild", service)
    assert rebuilt.code == 1 and row in rebuilt.out
    told = nervure("rebuild", service, "--json").json
    assert row in {each["id"] for each in told["differences"]} and told["rows"] > 0 and told["events"] > 0


@pytest.mark.parametrize("planted", ["returns"], indirect=True)
def test_what_no_command_may_mend_is_left_to_a_person(nervure: Nervure, planted: tuple[str, str]) -> None:
    """With what to do; nothing is changed, dry or not."""
    for options in (["--dry-run"], []):
        seen = nervure("repair", "--json", *options)
        assert (seen.code, seen.json["mended"]) == (1, [])
        [left] = seen.json["left"]
        assert left["what"] == f"purchase {planted[1]}" and "put the row back" in left["remedy"]
    assert "0 mended, 1 left for a person." in nervure("repair").out


@pytest.mark.parametrize("planted", ["sourcing"], indirect=True)
def test_the_audit_goes_on_beside_the_system(nervure: Nervure, planted: tuple[str, str]) -> None:
    """Line by line for machines, as figures for Prometheus, and to its end when it is told to."""
    command = ("audit", "--follow", "--every", "0.5", "--port", "0")
    with nervure.process(*command, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        port = int(process.stderr.readline().decode().rpartition(":")[2].removesuffix("/metrics\n"))
        lines = [json.loads(line) for line in islice(process.stdout, 6)]
        [found] = [line for line in lines if line["event"] == "found"]
        assert (found["check"], found["service"], found["what"]) == ("rows_equal_their_events", "sourcing", f"order {planted[1]}")
        assert [line["violations"] for line in lines if line["event"] == "round"][-1] == 1
        status, text = ask(port, "/metrics")
        assert status == 200 and 'nervure_audit_violations{check="rows_equal_their_events"} 1' in text
        assert 'nervure_audit_violations{check="lanes_are_gapless"} 0' in text
        for name in ("round_timestamp_seconds", "round_seconds", "candidates", "cut_seconds"):
            assert f"\nnervure_audit_{name} " in f"\n{text}"
        process.send_signal(signal.SIGINT)
        assert b"Traceback" not in process.communicate(timeout=30)[1]
        assert process.returncode == 130
    page = nervure("audit", "--follow", "--every", 0.5, "--for", 3)
    assert page.code == 1 and "WRONG rows_equal_their_events: sourcing order" in page.out and "Ctrl-C ends it" in page.out


def test_the_audit_is_clean(nervure: Nervure, order: str) -> None:
    audit = nervure("audit")
    assert audit.code == 0 and "31 checks: clean." in audit.out, audit.out
    assert all(nervure("rebuild", service).code == 0 for service in SERVICES)


# ---- a replica started by hand ----


def test_a_replica_runs_in_the_foreground_and_drains(nervure: Nervure, system: System, order: str) -> None:
    """It takes its share, says so, and leaves without a trace; the exit code tells that it was asked to."""
    with nervure.process("run", "returns", "--replica", 3, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        port = next(port for line in process.stderr if (port := health_port(line)))
        nervure.until(lambda _: not ready(port), "topics", "list")
        assert ready(port) == ""
        assert metrics(port)["claims_total"] >= 1
        process.send_signal(signal.SIGTERM)
        words = [line for line in process.communicate(timeout=30)[1].splitlines() if b'"view snapshot kept"' not in line]
        assert b'"drained"' in words[-1]
        assert process.returncode == 0
    assert nervure("audit", "--json").json["violations"] == []


def health_port(line: bytes) -> int:
    """Where a replica that says in this line of its log that it has started tells how it is; 0 where it says something else."""
    entry = json.loads(line) if line.startswith(b"{") else {}
    return int(entry["health_port"]) if entry.get("action") == "started" else 0


# ---- nothing runs, or asked wrongly ----


@pytest.fixture
def nowhere(tmp_path: Path) -> Nervure:
    return Nervure({"NERVURE_HOME": str(tmp_path), "NERVURE_KAFKA": "", "NERVURE_POSTGRES": ""})


@pytest.mark.parametrize(
    "command",
    [
        ["status", "web:1"],
        ["trace", "web:1"],
        ["lanes"],
        ["dlq", "list"],
        ["audit"],
        ["audit", "--follow"],
        ["repair"],
        ["watch"],
        ["topics", "list"],
    ],
    ids=" ".join,
)
def test_where_nothing_runs_every_command_says_how_to_start(nowhere: Nervure, command: list[str]) -> None:
    seen = nowhere(*command)
    assert seen.code == 3 and "Start them with `nervure up`" in seen.err


def test_wrong_settings_are_named(nowhere: Nervure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NERVURE_PARTITIONS", "many")
    seen = nowhere("lanes")
    assert seen.code == 2 and "NERVURE_PARTITIONS" in seen.err


def test_a_service_needs_a_name_and_servers(nowhere: Nervure) -> None:
    assert nowhere("run", "warehouse").code == 2
    assert nowhere("run", "returns").code == 2


def test_a_broker_that_does_not_answer_is_named() -> None:
    unreachable = Nervure({"NERVURE_KAFKA": "127.0.0.1:9", "NERVURE_POSTGRES": "postgresql://nobody@127.0.0.1:9/x"})
    seen = unreachable("trace", "web:1")
    assert seen.code == 1 and "Kafka does not answer at 127.0.0.1:9" in seen.err
    seen = unreachable("dlq", "list")
    assert seen.code == 1 and "Postgres does not answer" in seen.err
