"""What the kernel promises, provoked over the real broker and the real database with two toy services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from deploy.fleet import kafka_connection
from shared.kernel.postgres import open_store
from shared.kernel.republish import republish
from shared.settings import Settings
from tests.support.bank import Bank
from tests.support.proxy import CommitAnswerLost
from tests.support.toy import TELLER


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


async def test_a_poisoned_internal_event_waits_with_its_followers_until_replay(bank: Bank) -> None:
    """Its account stands still, in order; everybody else goes on; replay ends it exactly once."""
    bank.traps.write_text("poison bad\n")
    bank.start("teller")
    bank.traps.unlink()
    bank.start("teller", replica=1)
    await bank.add("good", times=3)
    bank.start("ledger")
    await bank.settled()
    bank.traps.write_text("poison bad\n")
    bank.stop("teller")
    bank.stop("teller", replica=1)
    await bank.add("bad", times=4)
    await bank.add("good", times=4)
    bank.traps.unlink()
    bank.start("teller")
    await bank.holds("teller", "bad", 4)
    await bank.settled()

    bank.stop("teller")
    await bank.add("bad", times=3)
    await bank.add("good", times=3)
    bank.stop("ledger")
    bank.start("teller")
    await bank.holds("teller", "bad", 7)
    bank.traps.write_text("poison bad\n")
    bank.start("ledger")
    await bank.holds("ledger", "good", 10)

    async def parked() -> bool:
        rows = await bank.query("ledger", "SELECT status, count(*) AS n FROM kernel.parked GROUP BY status")
        return {row["status"]: row["n"] for row in rows} == {"quarantined": 3}

    await bank.until(parked, "the poisoned event and its two followers are parked")
    assert (await bank.totals("ledger"))["bad"] == 4
    bank.traps.unlink()
    await bank.query("ledger", "UPDATE kernel.parked SET status = 'replay' RETURNING number")
    await bank.settled()
    assert (await bank.query("ledger", "SELECT count(*) AS n FROM kernel.quarantine"))[0]["n"] == 0


async def test_a_poisoned_external_fact_becomes_exactly_one_dead_letter(bank: Bank) -> None:
    """The rest of its batch takes effect; replay after the mend books it."""
    bank.traps.write_text("poison bad\n")
    await bank.add("bad", times=1)
    await bank.add("good", times=20)
    bank.start("teller")
    bank.start("ledger")
    await bank.holds("ledger", "good", 20)

    async def dead() -> bool:
        return [row["status"] for row in await bank.query("teller", "SELECT status FROM kernel.parked")] == ["dead"]

    await bank.until(dead, "one dead letter")
    bank.traps.unlink()
    await bank.query("teller", "UPDATE kernel.parked SET status = 'replay' RETURNING number")
    await bank.settled()


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


async def copy_database(dsn: str, suffix: str) -> None:
    head, _, name = dsn.rpartition("/")
    admin = await asyncpg.connect(f"{head}/postgres")
    await admin.execute(f'CREATE DATABASE "{name}_{suffix}" TEMPLATE "{name}"')
    await admin.close()


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
    bank.traps.write_text(f"stall {first} 60\n")
    await bank.add(first, times=5)
    await bank.add(second, times=5)
    await bank.logged("teller", replica=1, action="claimed", partitions=2)
    bank.traps.unlink()
    await bank.settled()
    refused = [entry["error"] for entry in bank.log("teller", replica=0) if entry.get("action") == "claim_again"]
    assert [error for error in refused if error.startswith("NotOwner")], f"what it decided was lost for another reason: {refused}"
