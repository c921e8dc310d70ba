"""The section of the boxes page on whether the annotations are sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinysight.numerals import counted, percent
from tinysight.report.page import Block, Callout, Column, Facts, Section, Severity, Table

if TYPE_CHECKING:
    from tinysight.boxes.box_order import OrderDecision
    from tinysight.boxes.findings import Reading


def soundness_section(reading: Reading) -> Section:
    """Return the account of all records, the findings, and what the four numbers are."""
    account = (
        f"{counted(reading.boxes_read, 'record')} read: {reading.accepted:,} accepted as "
        f"{'it is' if reading.accepted == 1 else 'they are'}, {reading.repaired:,} repaired, "
        f"{reading.rejected:,} rejected."
    )
    account = f"{account} {_what_is_unread(reading)}".rstrip()
    severity: Severity = "good"
    if any(count.action == "rejected" for count in reading.findings.by_kind(0)):
        severity = "warning"
    elif len(reading.findings):
        severity = "note"
    advice = "" if severity == "good" else "findings.csv lists every one of them by record."
    blocks: list[Block] = [Callout(severity, account, advice)]
    if len(reading.findings):
        rows = tuple(
            (
                count.kind.replace("_", " "),
                count.count,
                count.action,
                f"{count.examples[0].record or 'The file'}: {count.examples[0].message}",
            )
            for count in reading.findings.by_kind(most_examples=1)
        )
        columns = (
            Column("What"),
            Column("How often", "number"),
            Column("What was done"),
            Column("The first one", "prose"),
        )
        blocks.append(Table("findings", "Findings", columns, rows))
    distinct = dict.fromkeys(_order_in_words(decision) for decision in reading.decisions)
    facts = tuple(("Box order", words) for words in distinct)
    blocks.append(Facts("What the four numbers of a box are", facts))
    return Section("soundness", "Is it sound?", tuple(blocks))


def _order_in_words(decision: OrderDecision) -> str:
    text = f"{decision.order.describe()}; {decision.reason()}"
    if decision.shares_inside:
        shares = ", ".join(
            f"{percent(share)} as {order}" for order, share in decision.shares_inside[:3]
        )
        where = "its image" if decision.boxes_tested == 1 else "their images"
        text += f". Inside {where}: {shares}"
    return text


def verdict(reading: Reading) -> str:
    """Return in a sentence or two whether every box could be used."""
    unread = _what_is_unread(reading)
    if reading.rejected:
        used = f"{counted(reading.rejected, 'record')} of {reading.boxes_read:,} could not be used."
        return f"{unread} {used}".lstrip()
    if unread:
        return unread
    if not reading.boxes_read:
        return "There are no boxes."
    if len(reading.findings):
        return "Every box could be used, though not everything is as it should be."
    return "Every box is sound."


def _what_is_unread(reading: Reading) -> str:
    counts = {count.kind: count.count for count in reading.findings.by_kind(0)}
    unread = [
        counted(counts[f"unreadable_{what}"], what)
        for what in ("file", "folder")
        if f"unreadable_{what}" in counts
    ]
    return f"{' and '.join(unread)} could not be read." if unread else ""
