"""The frame of a report's page: one self-contained HTML file without scripts and without requests.

Law: every text is escaped here, at the one place where it becomes HTML; the page forbids itself to load anything
(content security policy ``default-src 'none'``).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from agentrouter.lab.report_text import clean

STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1b1b;--soft:#565656;--line:#d9d9d9;--card:#f5f6f8;--good:#126b3f;
--bad:#a1251b;--link:#0b57a4}
@media (prefers-color-scheme:dark){:root{--page:#14161a;--ink:#ececec;--soft:#b0b3b8;--line:#3a3d43;--card:#1e2127;
--good:#6fcf97;--bad:#ff9d92;--link:#8ab8ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:66rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:.2rem 0 .6rem}
h2{font-size:1.2rem;margin:2.4rem 0 .5rem;border-bottom:1px solid var(--line);padding-bottom:.25rem}
p{margin:.5rem 0;max-width:52rem}.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}
.lead{font-size:1.12rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:.8rem;margin:1rem 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.8rem 1rem}
.card b{display:block;font-size:1.55rem;line-height:1.2;font-weight:650;font-variant-numeric:tabular-nums}
.card span{display:block;font-size:.86rem;color:var(--soft)}
.warn{border-left:4px solid var(--bad);background:var(--card);padding:.6rem 1rem;margin:1rem 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums;margin:.6rem 0}
caption{text-align:left;color:var(--soft);padding:.2rem 0}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th{font-weight:600}thead th{vertical-align:bottom}
td{white-space:nowrap}
th.name,td.name{text-align:left;overflow-wrap:anywhere;white-space:normal;min-width:5rem}
tbody th.name{min-width:10.5rem}
figure{margin:1rem 0}figure svg{width:100%;height:auto;display:block}
figure svg text{font-family:system-ui,-apple-system,"Segoe UI",sans-serif!important}
figcaption{font-size:.88rem;color:var(--soft)}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.86rem}
pre{background:var(--card);border:1px solid var(--line);padding:.6rem .8rem;white-space:pre-wrap;overflow-wrap:anywhere}
li{margin:.25rem 0;max-width:52rem}
@media print{:root{--page:#fff;--ink:#000;--soft:#444;--line:#bbb;--card:#fff}main{max-width:none;padding:0}
figure,table,.card{break-inside:avoid}h2{break-after:avoid}body{font-size:11pt}}
"""

_HEAD = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
)


def text(value: str, longest: int = 400) -> str:
    """Return foreign text cleaned and escaped for HTML, attributes included."""
    return escape(clean(value, longest), quote=True)


def page(title: str, sections: Sequence[str]) -> str:
    """Return the whole page; ``sections`` are HTML already."""
    body = "\n".join(section for section in sections if section)
    return (
        f"{_HEAD}<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """Return a section with its heading."""
    return f"<section>\n<h2>{text(heading)}</h2>\n" + "\n".join(part for part in parts if part) + "\n</section>"


def paragraph(sentence: str, style: str = "") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{style}">{text(sentence, 4_000)}</p>' if style else f"<p>{text(sentence, 4_000)}</p>"


def listing(sentences: Sequence[str]) -> str:
    """Return a bulleted list of plain sentences."""
    return "<ul>" + "".join(f"<li>{text(sentence, 2_000)}</li>" for sentence in sentences) + "</ul>"


def card(figure: str, label: str, detail: str, style: str = "") -> str:
    """Return one headline figure with what it means below it."""
    tone = f' class="{style}"' if style else ""
    return f'<div class="card"><span>{text(label)}</span><b{tone}>{text(figure)}</b><span>{text(detail)}</span></div>'


def table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """Return a table of text cells; the first ``names`` columns are left-aligned, the first one heads its row."""
    if not rows:
        return ""
    head = "".join(
        f'<th scope="col"{_left(place, names)}>{text(heading)}</th>' for place, heading in enumerate(headings)
    )
    body = []
    for row in rows:
        cells = [f'<th scope="row" class="name">{text(row[0])}</th>']
        cells += [f"<td{_left(place, names)}>{text(cell)}</td>" for place, cell in enumerate(row[1:], start=1)]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><caption>{text(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def figure(svg: str, described: str, caption: str) -> str:
    """Return an inline plot; ``described`` says in words what it shows."""
    return (
        f'<figure><div role="img" aria-label="{text(described, 2_000)}">{svg}</div>'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def _left(place: int, names: int) -> str:
    return ' class="name"' if place < names else ""
