"""What the kernel promises, provoked over the real broker and the real database with two toy services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from deploy.fleet import kafka_connection
from deploy.lanes import lane_of
from schemas.topics import dead_letter_topic
from shared.kernel.codec import state_record
from shared.kernel.ports import TopicPartition
from shared.kernel.postgres import open_store
from shared.kernel.republish import republish
from shared.settings import Settings
from tests.support.bank import Bank
from tests.support.proxy import CommitAnswerLost
from tests.support.toy import TELLER, Balance


@pytest.fixture
async def bank(settings: Settings, tmp_path: Path) -> AsyncIterator[Bank]:
    bank = Bank(settings, kafka_connection(settings), tmp_path)
    await bank.open()
    yield bank
    await bank.close()


async def test_a_gap_is_spooled_and_republishing_closes_it(bank: Bank) -> None:
    """Records that expired unread show as a gap; what follows waits in the spool, in order, until the rows are sent again."""
    bank.start("teller")
    bank.start("ledger")
    await bank.add("acc", times=5)
    await bank.settled()
    bank.stop("ledger")
    await bank.add("acc", times=10)
    await bank.holds("teller", "acc", 15)
    lane = bank.lane("acc")

    async def published() -> bool:
        return await bank.end(lane) >= 15

    await bank.until(published, "all rows are published")
    await bank.expire(lane, 9)
    bank.start("ledger")
    await bank.logged("ledger", event="records expired unread")

    async def spooled() -> bool:
        return bool((await bank.query("ledger", "SELECT count(*) AS n FROM kernel.spool"))[0]["n"] == 6)

    await bank.until(spooled, "six records wait behind the gap")
    assert await bank.totals("ledger") == {"acc": 5}

    store = await open_store(TELLER, bank.dsn("teller"))
    try:
        assert await republish(store, bank.writer, f"{bank.name}_teller", lane, 6, 9) == 4
    finally:
        await store.close()
    await bank.settled()
    assert (await bank.query("ledger", "SELECT count(*) AS n FROM kernel.spool"))[0]["n"] == 0


async def test_a_poisoned_internal_event_waits_with_its_followers_until_replay(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its account stands still; everybody else goes on; `nervure dlq replay` runs it and all that waits behind it once, in order."""
    nervure = bank.command_line(monkeypatch)
    bank.start("teller")
    bank.start("ledger")
    await bank.add("bad", times=4)
    await bank.add("good", times=3)
    await bank.settled()
    bank.stop("ledger")
    await bank.add("bad", times=3)
    await bank.holds("teller", "bad", 7)
    bank.traps.write_text("poison bad\n")
    bank.start("ledger")
    await parked_become(bank, "ledger", ["quarantined"] * 3)
    bank.traps.unlink()
    await bank.add("bad", times=4)
    await bank.add("good", times=4)
    await bank.holds("ledger", "good", 7)
    await parked_become(bank, "ledger", ["quarantined"] * 7)
    assert await bank.told("bad") == [1, 2, 3, 4]

    names = [name for name, _ in await bank.parked("ledger")]
    early = await asyncio.to_thread(nervure, "dlq", "replay", names[1])
    assert (early.code, f"{names[1]} waits behind {names[0]}" in early.err) == (1, True)
    replayed = await asyncio.to_thread(nervure, "dlq", "replay", names[0], "--json")
    assert (replayed.code, replayed.json["replayed"]) == (0, names)
    await bank.add("bad", times=2)
    await bank.settled()
    assert await bank.told("bad") == list(range(1, 14))
    assert (await bank.query("ledger", "SELECT count(*) AS n FROM kernel.quarantine"))[0]["n"] == 0


async def test_a_poisoned_external_fact_becomes_exactly_one_dead_letter(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of its batch takes effect; `nervure dlq replay` fails while the rule is broken, and books it after the mend."""
    nervure = bank.command_line(monkeypatch)
    bank.traps.write_text("poison bad\n")
    await bank.add("bad", times=1)
    await bank.add("good", times=20)
    bank.start("teller")
    bank.start("ledger")
    await bank.holds("ledger", "good", 20)
    await parked_become(bank, "teller", ["dead"])
    name = (await bank.parked("teller"))[0][0]
    again = await asyncio.to_thread(nervure, "dlq", "replay", name)
    assert (again.code, "failed again" in again.out, await bank.parked("teller")) == (1, True, [(name, "dead")])
    bank.traps.unlink()
    replayed = await asyncio.to_thread(nervure, "dlq", "replay", name, "--json")
    assert (replayed.code, replayed.json) == (0, {"replayed": [name], "status": "replayed"})
    await bank.settled()
    letters = TopicPartition(dead_letter_topic(bank.adds.name, f"{bank.name}_teller"), 0)

    async def told() -> bool:
        return await bank.end(letters) >= 1 and all(row["sent"] for row in await bank.query("teller", "SELECT sent FROM kernel.parked"))

    await bank.until(told, "the dead letter is told")
    assert await bank.end(letters) == 1, "it is told once, however often it is tried"


async def test_a_discarded_input_lets_its_followers_go_on(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never takes effect; what waited behind it is replayed without it, and nothing waits any more."""
    nervure = bank.command_line(monkeypatch)
    bank.start("teller")
    await bank.add("bad", times=3)
    await bank.holds("teller", "bad", 3)
    bank.traps.write_text("poison bad\n")
    bank.start("ledger")
    await parked_become(bank, "ledger", ["quarantined"] * 3)
    bank.traps.unlink()
    names = [name for name, _ in await bank.parked("ledger")]
    discarded = await asyncio.to_thread(nervure, "dlq", "discard", names[0], "--json")
    assert (discarded.code, discarded.json) == (0, {"discarded": names[0], "behind": names[1:]}), discarded.err
    replayed = await asyncio.to_thread(nervure, "dlq", "replay", names[1], "--json")
    assert (replayed.code, replayed.json["replayed"]) == (0, names[1:])
    await bank.add("bad", times=1)
    await bank.holds("ledger", "bad", 3)
    assert await bank.told("bad") == [2, 3, 4]


async def parked_become(bank: Bank, service: str, statuses: list[str]) -> None:
    async def there() -> bool:
        return [status for _, status in await bank.parked(service)] == statuses

    await bank.until(there, f"{service} has parked {statuses}")


async def test_a_database_behind_its_topics_is_refused(bank: Bank) -> None:
    """Restored to an older state, a service doesn't start: it would give numbers a second time."""
    bank.start("teller")
    await bank.add("acc", times=3)
    await bank.holds("teller", "acc", 3)
    assert bank.stop("teller") == 0
    await copy_database(bank.dsn("teller"), "older")
    bank.start("teller")
    await bank.add("acc", times=3)
    await bank.holds("teller", "acc", 6)
    assert bank.stop("teller") == 0
    process = bank.start("teller", postgres=f"{bank.dsn('teller')}_older")
    assert process.wait(40) != 0
    assert "DatabaseBehind" in bank.log_path("teller").read_text()


async def test_a_stale_document_is_repaired_before_compaction_could_keep_it(bank: Bank) -> None:
    """As a publisher leaves it that was paused and woke up: an old version behind the newest."""
    bank.start("teller")
    await bank.add("acc", times=5)

    async def shows(total: int) -> bool:
        return bool(await bank.records(bank.balances)) and await bank.last_shown("acc") == total

    await bank.until(lambda: shows(5), "the document shows all")
    stale = state_record(f"{bank.name}_teller", 1, "acc", 1, datetime.now(UTC), Balance(account="acc", total=1, version=1))
    at = TopicPartition(bank.balances.name, bank.lane("acc").partition)
    assert await bank.writer.send({at: [stale]}) == {at: 1}
    await bank.logged("teller", action="publish_again")
    await bank.until(lambda: shows(5), "the document shows all again")
    assert [entry["ids"] for entry in bank.log("teller") if entry.get("action") == "publish_again"] == [["acc"]]


async def copy_database(dsn: str, suffix: str) -> None:
    head, _, name = dsn.rpartition("/")
    admin = await asyncpg.connect(f"{head}/postgres")
    await admin.execute(f'CREATE DATABASE "{name}_{suffix}" TEMPLATE "{name}"')
    await admin.close()


async def test_what_was_committed_is_in_its_topic_when_a_service_has_stopped(bank: Bank) -> None:
    """Told to stop in the middle of its work, it leaves nothing behind that the next one must send."""
    bank.start("teller")
    await bank.add("acc", times=8000)

    async def busy() -> bool:
        return (await bank.totals("teller")).get("acc", 0) > 0

    await bank.until(busy, "the teller has begun")
    assert bank.stop("teller") == 0
    told = sorted({seq for _, seq in map(lane_of, await bank.records(bank.added))})
    lanes = await bank.query(
        "teller", "SELECT l.seq, s.seq AS sent FROM kernel.lane_out l JOIN kernel.lane_sent s USING (topic, partition)"
    )
    committed = max(lane["seq"] for lane in lanes)
    assert told == list(range(1, committed + 1))
    assert all(lane["sent"] == lane["seq"] for lane in lanes)
    bank.start("teller")
    bank.start("ledger")
    await bank.settled()


async def test_a_lost_commit_answer_changes_nothing(bank: Bank) -> None:
    """The commit took effect and nobody was told: the service finds out from the store, and nothing is done twice."""
    proxy = CommitAnswerLost(bank.dsn("teller"))
    through = await proxy.start()
    bank.start("teller", postgres=through)
    bank.start("ledger")
    await bank.add("acc", times=5)
    await bank.settled()
    for _ in range(3):
        proxy.armed = True
        await bank.add("acc", times=20)
        await bank.settled()
    assert proxy.lost == 3
    assert len([entry for entry in bank.log("teller") if "CommitUnknown" in entry.get("error", "")]) >= 1
    await proxy.stop()


async def test_a_replica_evicted_in_the_middle_of_a_batch_changes_nothing(bank: Bank) -> None:
    """It holds its locks and thinks it owns the partition; another has claimed it meanwhile: its commit is refused by the claim's epoch,
    and each amount is booked once."""
    first, second = bank.account(0), bank.account(0, 1)
    bank.start("teller", replica=0)
    bank.start("ledger")
    await bank.logged("teller", replica=0, action="claimed", partitions=2)
    bank.start("teller", replica=1)
    for replica in (0, 1):
        await bank.logged("teller", replica=replica, action="claimed", partitions=1)
    await bank.add(first, times=3)
    await bank.settled()
    said = len(bank.log("teller", replica=1))
    bank.traps.write_text(f"stall {first} 60\n")
    await bank.add(first, times=5)
    await bank.add(second, times=5)
    await bank.logged("teller", replica=1, since=said, action="claimed", partitions=2)
    bank.traps.unlink()
    await bank.settled()
    refused = [entry["error"] for entry in bank.log("teller", replica=0) if entry.get("action") == "claim_again"]
    assert [error for error in refused if error.startswith("NotOwner")], f"what it decided was lost for another reason: {refused}"


async def test_after_an_outage_nothing_is_judged_on_old_state(bank: Bank) -> None:
    """An external message waits for the internal ones that were told before it, however many they are."""
    bank.start("teller")
    await bank.add("acc", times=9000)
    await bank.holds("teller", "acc", 9000)

    async def published() -> bool:
        return await bank.end(bank.lane("acc")) >= 9000

    await bank.until(published, "all rows are published")
    await bank.close_account("acc")
    bank.start("ledger")
    await bank.settled()

    async def closed() -> bool:
        return len(await bank.closed("acc")) == 1

    await bank.until(closed, "the ledger has closed the account")
    assert await bank.closed("acc") == [9000]
