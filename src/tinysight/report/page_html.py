"""A page as one HTML file that refers to nothing outside itself.

The policy in its head forbids every request, and lets only the scripts run that were written here:
each is named by its SHA-256, so that markup in a class name could not run even if it were not
escaped. Charts are Vega-Lite; the bundle is asked to interpret expressions instead of compiling
them, because ``eval`` is forbidden too. The same page gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tinysight.report.chart_style import page_colour, page_spec
from tinysight.report.page import Figure, Page, Widget
from tinysight.whole_files import finite_or_null

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

_PERCENT = re.compile(r"(?<=\d) %")
_JOINT = re.compile(r"(?<=\w)([_/\\]|\.(?=[^\W\d]))(?=\w)")  # in names of files, not in numbers
_CODE = re.compile(r"(?<![\w`])`([^`]+)`(?![\w`])")  # not inside a name of theirs
_OPTION = re.compile(r"(?<!\S)--\S+")  # of a command
_NUMBER_OF_ANCHORS = re.compile(r"(?<=\bk) = (?=\d)")
# Letters of scripts that are written from right to left, and words of them in a row.
_RTL = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
_RTL_WORDS = re.compile(rf"[{_RTL}]+(?:[\s_'’-]+[{_RTL}]+)*")
_MEDIA_TYPES = {b"\x89PNG": "image/png", b"RIFF": "image/webp", b"\xff\xd8\xff": "image/jpeg"}


def render_page(page: Page) -> str:
    """Return a page as HTML text.

    Args:
        page: What to show.

    Raises:
        ValueError: A picture is not a WebP, PNG or JPEG file.
    """
    blocks = list(page.blocks())
    figures = [block for block in blocks if isinstance(block, Figure)]
    widgets = [block for block in blocks if isinstance(block, Widget)]
    scripts = list(_scripts(widgets, has_charts=bool(figures)))
    return (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            styles=[_asset("page.css"), *(_asset(f"{kind}.css") for kind in _kinds(widgets))],
            scripts=scripts,
            policy=_policy(scripts),
            data=[
                *((f"{figure.name}-chart", page_spec(figure.chart)) for figure in figures),
                *((f"{widget.name}-data", widget.data) for widget in widgets),
                ("page-pictures", [_data_uri(picture) for picture in page.pictures]),
            ],
        )
    )


def _kinds(widgets: list[Widget]) -> list[str]:
    return list(dict.fromkeys(widget.kind for widget in widgets))


def _scripts(widgets: list[Widget], *, has_charts: bool) -> Iterator[str]:
    """Yield the scripts of a page; Vega comes last, because it is large and first needed later."""
    yield _asset("page.js")
    yield from (_asset(f"{kind}.js") for kind in _kinds(widgets))
    if has_charts:
        yield _vega_bundle()
        yield _asset("charts.js")


def _asset(name: str) -> str:
    return files("tinysight.report").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _vega_bundle() -> str:
    import vl_convert

    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub asks for more than it needs
    return bundle


def _policy(scripts: list[str]) -> str:
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}; "
        f"base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tinysight.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _as_prose
    environment.filters["breakable"] = _as_breakable
    environment.filters["command"] = _escaped_command
    environment.filters["page_colour"] = page_colour
    environment.filters["script"] = _as_script
    environment.filters["json"] = _as_json
    return environment


def _as_prose(text: str) -> Markup:
    """Return a text as markup, with what stands between backticks as code.

    A number keeps its percent sign on its line, and an option its two dashes.
    """
    from markupsafe import Markup, escape

    escaped = _PERCENT.sub("\u00a0%", _isolated(str(escape(text))))
    escaped = _NUMBER_OF_ANCHORS.sub("\u00a0=\u00a0", escaped)
    return Markup(_CODE.sub(lambda found: f"<code>{_as_command(found[1])}</code>", escaped))


def _as_command(escaped: str) -> Markup:
    """Return words to type, escaped already, as markup in which no option is broken."""
    from markupsafe import Markup

    return Markup(_OPTION.sub(r'<span class="option">\g<0></span>', escaped))


def _escaped_command(text: str) -> Markup:
    """Return a command as markup in which no option is broken."""
    from markupsafe import escape

    return _as_command(str(escape(text)))


def _as_breakable(text: str) -> Markup:
    """Return a text as markup in which a name that is too long for a line is broken at a joint."""
    from markupsafe import Markup, escape

    return Markup(_JOINT.sub(r"\1<wbr>", _isolated(str(escape(text)))))


def _isolated(escaped: str) -> str:
    """Return markup in which names written from right to left leave the order of the rest alone.

    Otherwise a number behind such a name moves before it, and a sentence that begins with one is
    turned round.
    """
    return _RTL_WORDS.sub(r"<bdi>\g<0></bdi>", escaped)


def _as_script(source: str) -> Markup:
    """Return our own script or style as markup; it is never made of data."""
    from markupsafe import Markup

    if "</script" in source.lower() or "</style" in source.lower():
        raise ValueError("a script of the page must not hold its own end tag")
    return Markup(source)


def _as_json(value: Any) -> Markup:
    """Return a value as JSON that may stand in a script element, whatever its texts hold."""
    from markupsafe import Markup

    text = json.dumps(
        finite_or_null(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    # Without < there is neither </script> nor <!--, which would change how the rest is read.
    return Markup(text.replace("<", "\\u003c"))


def _data_uri(picture: bytes) -> str:
    for start, media_type in _MEDIA_TYPES.items():
        if picture.startswith(start):
            return f"data:{media_type};base64,{base64.b64encode(picture).decode()}"
    raise ValueError(f"a picture must be a WebP, PNG or JPEG file, it starts with {picture[:8]!r}")
