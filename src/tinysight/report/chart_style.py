"""How every chart looks, and how it becomes SVG or PNG.

Charts are Vega-Lite through Altair and are drawn by vl-convert, without browser or network. Both
are slow to import, so they are imported where they are used.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tinysight.whole_files import replace_file

if TYPE_CHECKING:
    import altair as alt

    Chart = alt.Chart | alt.LayerChart | alt.VConcatChart | alt.ConcatChart | alt.FacetChart

Row = Mapping[str, Any]

# After Okabe and Ito: people with any kind of colour vision can tell them apart. The green is
# darker than theirs, so that text in it can be read on white.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#007D5B"
PURPLE, OCHRE, SKY = "#8F4C9A", "#8A6500", "#2E86AB"
INK, QUIET, FAINT = "#1F2328", "#59636E", "#E3E6EA"
RUN_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, OCHRE, SKY)
# For files only: a page has no dark values for the others.
ANCHOR_COLOURS = (
    *(BLUE, VERMILLION, GREEN, PURPLE, "#C79A00", "#5DB7E8"),
    *("#A3003A", "#6E4B2A", "#E07BB9", "#6B7580", "#7CB518", "#191970"),
)

# On a page a colour is a property of its style sheet, which has a light and a dark value for each.
_PAGE_COLOURS = {
    BLUE: "var(--blue)",
    VERMILLION: "var(--vermillion)",
    GREEN: "var(--green)",
    PURPLE: "var(--purple)",
    OCHRE: "var(--ochre)",
    SKY: "var(--sky)",
    INK: "var(--ink)",
    QUIET: "var(--quiet)",
    FAINT: "var(--faint)",
}

SHORT_NUMBER = "format(datum.value, datum.value < 1000 ? '~g' : '~s')"
"""Labels of an axis such as 0, 500 and 20k. As its ``format`` they would share a prefix: 0k."""

WIDTH_PX = 620
_PAGE_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
_FONT = "Helvetica, Arial, Liberation Sans, sans-serif"


def chart_of(rows: Sequence[Row]) -> alt.Chart:
    """Return a chart that carries its rows, without marks."""
    import altair as alt

    return alt.Chart({"values": [dict(row) for row in rows]})


def panel_of(
    layers: Sequence[alt.Chart | alt.LayerChart | alt.FacetChart],
    height_px: int,
    title: str | None = None,
    *,
    width_px: int | Literal["container"] = WIDTH_PX,
) -> Chart:
    """Return layers as one panel, its title above the left edge of the plot.

    Args:
        layers: From the bottom to the top.
        height_px: Height of the plot.
        title: Its heading.
        width_px: Width of the plot, or "container" for that of its place on a page.
    """
    import altair as alt

    panel = alt.layer(*layers).properties(width=width_px, height=height_px)
    if title is None:
        return panel
    heading = alt.TitleParams(
        title, anchor="start", frame="group", fontSize=12, color=INK, offset=10
    )
    return panel.properties(title=heading)


def with_style(chart: Chart, title: str, subtitle: str | Sequence[str]) -> Chart:
    """Return a chart with its headline, what it shows in words, and the look of all charts."""
    import altair as alt

    heading = alt.TitleParams(
        title,
        subtitle=subtitle if isinstance(subtitle, str) else list(subtitle),
        anchor="start",
        fontSize=17,
        color=INK,
        subtitleFontSize=12,
        subtitleColor=QUIET,
        subtitlePadding=6,
        offset=16,
    )
    # All at once: each change copies the chart with its data.
    styled: Chart = chart.properties(
        title=heading, background="white", padding=16, config=_look(_FONT)
    )
    return styled


def page_colour(colour: str) -> str:
    """Return a colour of the charts as a value for a style sheet."""
    return _PAGE_COLOURS[colour]


def page_spec(chart: Chart) -> dict[str, Any]:
    """Return a chart as a page embeds it: without a ground of its own, in the page's colours.

    The specification is Vega-Lite. The address of its schema is left out, so that a page names
    nothing outside itself.
    """
    styled = chart.properties(background="transparent", padding=0, config=_look(_PAGE_FONT))
    spec = styled.to_dict(validate=False)
    del spec["$schema"]
    coloured: dict[str, Any] = _in_page_colours(spec)
    return coloured


def _in_page_colours(value: Any) -> Any:
    if isinstance(value, dict):
        # Data keeps its texts, also a class that bears the name of a colour.
        return {
            key: item if key in ("datasets", "values") else _in_page_colours(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_in_page_colours(item) for item in value]
    return _PAGE_COLOURS.get(value, value) if isinstance(value, str) else value


def _look(font: str) -> alt.Config:
    import altair as alt

    return alt.Config(
        font=font,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=QUIET,
            titleColor=QUIET,
            titleFontWeight="normal",
            labelFontSize=11,
            titleFontSize=12,
            gridColor=FAINT,
            domainColor=FAINT,
            tickColor=FAINT,
        ),
        legend=alt.LegendConfig(labelFontSize=12, labelColor=INK, symbolType="square"),
        text=alt.MarkConfig(fontSize=12, fontWeight="bold"),
    )


def spread_apart(places_px: Sequence[float], least_px: float) -> list[float]:
    """Move places apart until neighbours are ``least_px`` apart, keeping their order.

    Args:
        places_px: Where labels should be, pixels.
        least_px: Height of a label, pixels.
    """
    order = sorted(range(len(places_px)), key=lambda index: places_px[index])
    moved = list(places_px)
    # Each round halves what is lacking; a hundredth of a pixel cannot be seen.
    while any(_lack(moved, pair, least_px) > 0.01 for pair in itertools.pairwise(order)):
        for upper, lower in itertools.pairwise(order):
            lack_px = max(0.0, _lack(moved, (upper, lower), least_px))
            moved[upper] -= lack_px / 2
            moved[lower] += lack_px / 2
    return moved


def _lack(places_px: Sequence[float], pair: tuple[int, int], least_px: float) -> float:
    upper, lower = pair
    return least_px - (places_px[lower] - places_px[upper])


def save_png(chart: Chart, path: Path, scale: float = 2.0) -> None:
    """Write a chart as PNG, whole or not at all.

    Args:
        chart: What to draw.
        path: File to write; its folder exists.
        scale: Pixels of the file for each pixel of the chart.

    Raises:
        RunError: The file cannot be written.
    """
    png = _png_of(render_svg(chart), scale)
    replace_file(path, lambda file: file.write(png))


def save_svg_and_png(chart: Chart, path: Path, scale: float = 2.0) -> None:
    """Write a chart as SVG and as PNG, each whole or not at all.

    Args:
        chart: What to draw.
        path: Name of both files without its ending; their folder exists.
        scale: Pixels of the PNG for each pixel of the chart.

    Raises:
        RunError: A file cannot be written.
    """
    svg = render_svg(chart)
    png = _png_of(svg, scale)
    replace_file(path.with_name(f"{path.name}.svg"), lambda file: file.write(svg.encode()))
    replace_file(path.with_name(f"{path.name}.png"), lambda file: file.write(png))


def render_svg(chart: Chart) -> str:
    """Return a chart as SVG text; pages draw theirs themselves."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(chart.to_dict(validate=False), _vega_lite_version())
    return svg


def _png_of(svg: str, scale: float) -> bytes:
    import vl_convert

    png: bytes = vl_convert.svg_to_png(svg, scale=scale)
    return png


def _vega_lite_version() -> str:
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
