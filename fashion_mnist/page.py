"""One HTML page that needs nothing beside it: its frame, tables, pictures in it."""

import base64
from collections.abc import Sequence
from html import escape

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #222;
  background: #fff; max-width: 1180px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid #ddd; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p { margin: .4rem 0; } .faint { color: #6b6b6b; }
.best { border-left: 4px solid #b84a00; background: #fbf5f0; padding: .6rem 1rem; margin: 1rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .22rem .8rem .22rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid #eee; }
td { max-width: 26rem; overflow-wrap: break-word; }
th { color: #6b6b6b; font-weight: 600; white-space: nowrap; }
.number { text-align: right; } .short { white-space: nowrap; }
tr.winner td { font-weight: 600; } tr.near td { background: #fbf5f0; }
tr.partial td.runs { color: #b84a00; }
code, pre { font: .85rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; background: #f5f5f5;
  border-radius: 3px; overflow-wrap: anywhere; white-space: pre-wrap; }
code { padding: 0 .2rem; } pre { padding: .5rem .8rem; margin: .4rem 0; }
img { max-width: 100%; height: auto; display: block; margin: 1.2rem 0; }
.effects { display: flex; flex-wrap: wrap; gap: 0 3rem; }
.beside { display: flex; flex-wrap: wrap; gap: 0 1.5rem; }
.beside img { max-width: min(100%, 450px); }
.figure img { max-width: min(100%, 760px); }
@media print {
  @page { margin: 16mm 14mm; }
  body { font-size: 10pt; margin: 0; max-width: none; padding: 0; }
  h1, h2, h3 { break-after: avoid; }
  h2.sheet { break-before: page; margin-top: 0; }
  img, tr, .best, .effects > div { break-inside: avoid; }
  img { max-height: 225mm; max-width: min(100%, 165mm); margin: .8rem 0; }
  .figure img { max-height: 130mm; } .beside img { max-width: 42%; }
  .wide { overflow: visible; }
  table { font-size: 8pt; } thead { display: table-header-group; }
  td { padding-right: .5rem; } code, pre { font-size: 7.5pt; }
}
""".strip()


def html_page(title: str, parts: Sequence[str]) -> str:
    """The page of these pieces of HTML; it runs no code and fetches nothing."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    # a name that is not escaped, by some mistake of ours, still runs and fetches nothing
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    body = "\n".join(parts)
    page = f'<html lang="en"><head>{policy}{viewport}{head}</head>\n<body>\n{body}\n</body></html>'
    return f"<!doctype html>\n{page}\n"


def section(title: str, content: Sequence[str], *, on_new_sheet: bool = False) -> list[str]:
    """A heading and what is below it; nothing where there is nothing.

    Args:
        on_new_sheet: in print it begins one.
    """
    heading = f'<h2 class="sheet">{escape(title)}</h2>'
    heading = heading if on_new_sheet else f"<h2>{escape(title)}</h2>"
    return [heading, *content] if any(content) else []


def picture(png: bytes, caption: str) -> str:
    """A PNG in the page itself, with the caption for those who do not see it."""
    words, data = escape(caption), base64.b64encode(png).decode()
    return f'<img alt="{words}" title="{words}" src="data:image/png;base64,{data}">'


def code(text: str) -> str:
    """The text as code."""
    return f"<code>{escape(text)}</code>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: set[int],
    classes: Sequence[str] = (),
) -> str:
    """A table of cells that are HTML already; columns are right-aligned but those in `left`."""

    def cell(tag: str, number: int, text: str) -> str:
        is_short = number not in left or len(text) <= 24
        names = ["" if number in left else "number", "short" * is_short]
        names += ["runs" if head[number] == "runs" else ""]
        return f'<{tag} class="{" ".join(filter(None, names))}">{text}</{tag}>'

    lines = []
    for number, row in enumerate(rows):
        name = classes[number] if classes else ""
        cells = "".join(cell("td", column, text) for column, text in enumerate(row))
        lines.append(f'<tr class="{name}">{cells}</tr>')
    titles = "".join(cell("th", column, escape(text)) for column, text in enumerate(head))
    content = f"<thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="wide"><table>{content}</table></div>'
