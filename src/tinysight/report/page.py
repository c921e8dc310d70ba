"""What a page is made of: sections of text, figures, tables and pictures, and no HTML.

A page is a value. :mod:`tinysight.report.page_html` turns it into one file that opens from disk,
without network, years later. Nothing here knows what the page is about: what a classifier or a
set of boxes has to say is built from these blocks elsewhere.

Texts are plain: markup in them is shown as it is. In sentences, words between backticks are code;
backticks inside a word are shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tinysight.numerals import percent, rounded_down, rounded_up

if TYPE_CHECKING:
    from tinysight.report.chart_style import Chart

Severity = Literal["good", "note", "warning"]
ColumnKind = Literal["text", "prose", "sizes", "number", "change", "share", "picture"]

_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: Plain text.
        is_quiet: Whether it is a remark at the side, in a weaker colour.
    """

    text: str
    is_quiet: bool = False
    template: ClassVar[str] = "text"


@dataclass(frozen=True)
class Callout:
    """A finding that stands out.

    Attributes:
        severity: How much it matters; drawn as a colour and said as a word.
        text: What was found, with its figures.
        advice: What to do about it; may be empty.
    """

    severity: Severity
    text: str
    advice: str = ""
    template: ClassVar[str] = "callout"

    @property
    def word(self) -> str:
        """The severity for people who do not see colours."""
        return {"good": "Good", "note": "Note", "warning": "Look here"}[self.severity]


@dataclass(frozen=True)
class Command:
    """A command to type, with a button that copies it.

    Attributes:
        text: What it does, as a sentence.
        command: The words to type.
    """

    text: str
    command: str
    template: ClassVar[str] = "command"


@dataclass(frozen=True)
class Stat:
    """One figure, large.

    Attributes:
        value: The figure as people read it.
        label: What it is.
        note: A remark below; may be empty.
    """

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Stats:
    """Figures side by side."""

    items: tuple[Stat, ...]
    template: ClassVar[str] = "stats"


@dataclass(frozen=True)
class Facts:
    """Names and values below each other.

    Attributes:
        title: Heading; may be empty.
        items: (name, value) each.
    """

    title: str
    items: tuple[tuple[str, str], ...]
    template: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Key:
    """What a colour of a chart means.

    Attributes:
        label: The words.
        colour: A colour of :mod:`tinysight.report.chart_style`.
        is_dashed: Whether its lines are dashed.
    """

    label: str
    colour: str
    is_dashed: bool = False


@dataclass(frozen=True)
class Figure:
    """A chart, drawn when it comes into view.

    Attributes:
        name: Its anchor, lower-case letters, digits and hyphens.
        title: What it shows, as a heading.
        chart: An Altair chart without a title of its own. Let its width be "container".
        alt: What there is to see, for those who cannot.
        caption: A remark below; may be empty.
        keys: What the colours mean.
        height_px: Room to keep free until it is drawn, so that the page does not jump.
    """

    name: str
    title: str
    chart: Chart
    alt: str
    caption: str = ""
    keys: tuple[Key, ...] = ()
    height_px: int = 260
    template: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Link:
    """A text that leads to an anchor of the page, such as ``#classes`` or ``#class=n01443537``."""

    text: str
    anchor: str

    def __post_init__(self) -> None:
        """Refuse what would lead out of the page."""
        _require_anchor(self.anchor)


@dataclass(frozen=True)
class PictureCell:
    """A picture of the page's data in a table.

    Attributes:
        number: Which of ``Page.pictures``.
        alt: What it shows.
        anchor: Where a click on it leads, see :class:`Link`; may be empty.
    """

    number: int
    alt: str
    anchor: str = ""

    def __post_init__(self) -> None:
        """Refuse what would lead out of the page."""
        if self.anchor:
            _require_anchor(self.anchor)


Cell = str | int | float | Link | PictureCell | None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its heading.
        kind: How values are written and sorted. ``share`` is a fraction in [0, 1], shown as
            percent, ``change`` a number with its sign; a missing value is None. ``prose`` is text
            in which words between backticks are code, as in paragraphs; ``sizes`` is text whose
            words are never broken, such as pairs of width and height.
        digits: Digits after the point, of numbers and percent.
        rounds: Where fractions are rounded to: ``up`` where the value is a bound from above,
            ``down`` where 1 means all.
    """

    name: str
    kind: ColumnKind = "text"
    digits: int = 1
    rounds: Literal["nearest", "up", "down"] = "nearest"

    @property
    def is_number(self) -> bool:
        """Whether its values are aligned and sorted as numbers."""
        return self.kind in ("number", "change", "share")

    def show(self, value: Cell) -> str:
        """Return a value as people read it.

        Raises:
            TypeError: A column of numbers got something else.
        """
        if value is None:
            return "–"
        if isinstance(value, Link):
            return value.text
        if isinstance(value, PictureCell):
            return value.alt
        if not self.is_number:
            return str(value)
        if isinstance(value, str):
            raise TypeError(f"column {self.name!r} holds numbers, got {value!r}")
        if self.rounds == "up":
            is_share = self.kind == "share"
            shown = rounded_up(value, self.digits, times=100 if is_share else 1)
            return f"{shown} %" if is_share else shown
        if self.rounds == "down":
            return rounded_down(value, self.digits)
        if self.kind == "share":
            return percent(value, self.digits)
        if self.kind == "change":
            return f"{value:+,.{self.digits}f}"
        return f"{value:,}" if isinstance(value, int) else f"{value:,.{self.digits}f}"

    def exact(self, value: Cell) -> str:
        """Return a value as it is copied and sorted by, in full precision."""
        if value is None:
            return ""
        if isinstance(value, Link) and self.is_number:
            return value.text.replace(",", "")
        return repr(value) if isinstance(value, int | float) else self.show(value)


@dataclass(frozen=True)
class Table:
    """A table that people can sort and copy.

    Attributes:
        name: Its anchor.
        title: Heading; may be empty.
        columns: At least one. The first one names its row.
        rows: One cell for each column.
        caption: A remark below; may be empty.
        shown: Rows to show at first; a button brings the others.
        empty: What to say instead of a table without rows.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    shown: int = 12
    empty: str = "Nothing to list."
    template: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        """Refuse rows of another length."""
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.name!r}: row {number} must have {len(self.columns)} cells, "
                    f"got {len(row)}"
                )


@dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Attributes:
        number: Which of ``Page.pictures``.
        alt: What it shows.
        caption: A line below; may be empty.
    """

    number: int
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side.

    Attributes:
        items: The pictures.
        width_px: Width of each.
    """

    items: tuple[Picture, ...]
    width_px: int = 220
    template: ClassVar[str] = "pictures"


@dataclass(frozen=True)
class Widget:
    """A part of the page that a script of its own brings to life.

    ``templates/blocks/KIND.html`` is what it looks like, ``assets/KIND.js`` what it does.

    Attributes:
        kind: Which one.
        name: Its anchor.
        title: Heading; may be empty.
        data: What the script reads, anything JSON can say. Scripts find it as the text of the
            element ``NAME-data``.
        options: What the template reads.
    """

    kind: str
    name: str
    title: str
    data: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def template(self) -> str:
        """Its template has the name of its kind."""
        return self.kind


@dataclass(frozen=True)
class Columns:
    """Blocks side by side where there is room, else below each other.

    Attributes:
        blocks: What stands side by side.
        is_narrow: Whether three fit where otherwise two would.
    """

    blocks: tuple[Block, ...]
    is_narrow: bool = False
    template: ClassVar[str] = "columns"


@dataclass(frozen=True)
class Fold:
    """Blocks behind a heading that opens."""

    title: str
    blocks: tuple[Block, ...]
    template: ClassVar[str] = "fold"


Block = (
    Text | Callout | Command | Stats | Facts | Figure | Table | Pictures | Widget | Columns | Fold
)


@dataclass(frozen=True)
class Section:
    """A part of the page with an entry in its contents.

    Attributes:
        name: Its anchor.
        title: Its heading.
        blocks: What is in it.
        lead: The sentence that a reader in a hurry takes home; may be empty.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]
    lead: str = ""


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        title: Name of the page, for the tab of the browser.
        kicker: What kind of page it is, above the headline.
        headline: The figure that matters, in a few words.
        lead: What it means, in a sentence.
        sections: In reading order.
        stats: The figures below the headline.
        pictures: Image files (WebP, PNG or JPEG) that tables and widgets refer to by number.
    """

    title: str
    kicker: str
    headline: str
    lead: str
    sections: tuple[Section, ...]
    stats: tuple[Stat, ...] = ()
    pictures: Sequence[bytes] = ()

    def __post_init__(self) -> None:
        """Refuse anchors that are not unique or cannot be an anchor."""
        seen: set[str] = set()
        for name in self._names():
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"`name` must be lower-case letters, digits and hyphens, got {name!r}"
                )
            if name in seen:
                raise ValueError(f"`name` must be unique on a page, {name!r} is there twice")
            seen.add(name)

    def _names(self) -> Iterator[str]:
        for section in self.sections:
            yield section.name
        for block in self.blocks():
            if isinstance(block, Figure | Table | Widget):
                yield block.name

    def blocks(self) -> Iterator[Block]:
        """Every block of the page in reading order, those inside others included."""
        for section in self.sections:
            yield from _flat(section.blocks)


def _require_anchor(anchor: str) -> None:
    if not anchor.startswith("#"):
        raise ValueError(f"`anchor` must start with #, got {anchor!r}")


def _flat(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Columns | Fold):
            yield from _flat(block.blocks)
