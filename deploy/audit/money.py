"""Checks on money: never more captured than authorised, never more given back than taken, cents add up. Minor units throughout."""

from __future__ import annotations

from deploy.audit.books import Books
from deploy.audit.findings import Findings
from deploy.audit.ledger import Ledger

CAPTURE = "order_capture"


def captures_stay_within_authorisations(_: Books, ledger: Ledger, found: Findings) -> None:
    """No payment is asked for more than its channel or provider says is authorised."""
    for order, money in ledger.money.items():
        for payment in {name for kind, name, _ in money.asked.values() if kind == "capture"}:
            asked, room = money.asked_for("capture", payment), money.most(payment, "authorised")
            found.require(asked <= room, CAPTURE, f"{order} {payment}", f"captures of {asked} were asked for, {room} is authorised")


def refunds_stay_within_captures(_: Books, ledger: Ledger, found: Findings) -> None:
    """No order is given back more than was taken for it."""
    for order, money in ledger.money.items():
        taken = money.asked_for("capture") + sum(
            money.most(name, "captured") for name, _ in money.claimed.keys() | _reported(money.reported)
        )
        refunded = money.asked_for("refund")
        if refunded or taken:
            found.require(refunded <= taken, CAPTURE, order, f"refunds of {refunded} were asked for, {taken} was taken")


def invoices_stay_within_totals(_: Books, ledger: Ledger, found: Findings) -> None:
    """The invoices of an order never exceed what it costs, and each has a number of its own."""
    for order, money in ledger.money.items():
        if money.invoices:
            found.require(money.invoiced <= money.most_total, CAPTURE, order, f"{money.invoiced} invoiced of {money.most_total}")
            twice = [name for name, count in money.invoices.items() if count > 1]
            found.require(not twice, CAPTURE, order, f"invoice numbers used twice: {', '.join(twice)}")


def nothing_is_kept_beyond_what_is_owed(books: Books, _: Ledger, found: Findings) -> None:
    """Once an order has ended, no more of what was captured is kept than the buyer owes."""
    for order, captured in books.captured.items():
        if captured.stage == "closed":
            kept = captured.taken_minor - captured.capturing_minor
            found.require(kept <= captured.keepable_minor, CAPTURE, order, f"{kept} kept, {captured.keepable_minor} may be kept")


def _reported(reported: dict[tuple[str, str, str], int]) -> set[tuple[str, str]]:
    return {(payment, kind) for payment, kind, _ in reported}
