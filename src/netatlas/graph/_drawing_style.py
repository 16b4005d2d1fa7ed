"""Colours and the style sheet of drawings: Okabe and Ito's palette, tinted, told apart in print and without red and green."""

from __future__ import annotations

INK = {
    "source": "#4a4a4a", "convolution": "#0072b2", "linear": "#e69f00", "lookup": "#7a9a00", "attention": "#d55e00",
    "position": "#cc79a7", "recurrence": "#009e73", "normalisation": "#8a6fb3", "activation": "#c2a800", "pooling": "#56b4e9",
    "arithmetic": "#555555", "reduction": "#6f7f8f", "layout": "#9a9a9a", "spectral": "#4b3fbf", "detection": "#9c2f3f",
    "random": "#7f6a55", "unknown": "#000000", "block": "#5f6b7a", "more": "#8a8a8a",
}  # fmt: skip
"""Stroke of every operator family; the fill is a tint of it."""

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"


def mixed(colour: str, ground: str, share: float) -> str:
    """``share`` of one colour over another."""
    a, b = (tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in (colour, ground))
    return "#" + "".join(f"{round(x * share + y * (1 - share)):02x}" for x, y in zip(a, b, strict=True))


def style() -> str:
    """The style sheet: light, and dark where the reader prefers it."""
    light = _rules("#ffffff", "#1f2328", "#59636e", "#f6f8fa", "#d0d7de", 0.0, 0.2)
    dark = _rules("#0d1117", "#e6edf3", "#9aa4af", "#161b22", "#3d444d", 0.25, 0.3)
    fixed = (
        f".netatlas text{{font-family:{FONT};font-size:11px}}.netatlas .title{{font-size:18px;font-weight:600}}"
        ".netatlas .subtitle,.netatlas .cls{font-size:11.5px}.netatlas .label{font-size:12.5px;font-weight:600}"
        ".netatlas .cost,.netatlas .shape,.netatlas .port,.netatlas .note{font-size:10px}.netatlas .note{font-style:italic}"
        ".netatlas .detail{font-size:9.5px}.netatlas .tag text{font-size:8.5px}.netatlas .sign text{font-size:14px}"
        ".netatlas .times{font-size:11px;font-weight:700}.netatlas .bold{font-weight:600}"
        ".netatlas .wire{fill:none;stroke-width:1.2}"
        ".netatlas .more rect{stroke-dasharray:3 2}.netatlas .unknown rect{stroke-dasharray:4 2}"
        ".netatlas .middle{text-anchor:middle}.netatlas .end{text-anchor:end}"
    )
    return f"{fixed}{light}@media (prefers-color-scheme:dark){{{dark}}}"


def _rules(ground: str, text: str, quiet: str, card: str, line: str, lighter: float, tint: float) -> str:
    rules = [
        f".netatlas .ground{{fill:{ground}}}.netatlas text{{fill:{text}}}",
        ".netatlas .subtitle,.netatlas .cls,.netatlas .cost,.netatlas .shape,.netatlas .port,.netatlas .note,.netatlas .detail"
        f"{{fill:{quiet}}}",
        f".netatlas .card{{fill:{card};stroke:{line}}}.netatlas .holder{{fill:none;stroke:{line}}}",
        f".netatlas .wire{{stroke:{quiet}}}.netatlas .tip,.netatlas .dot{{fill:{quiet}}}",
        f".netatlas .badge{{fill:{quiet}}}.netatlas .times{{fill:{ground}}}",
    ]
    for family, ink in INK.items():
        stroke = mixed("#ffffff", ink, lighter)
        share = {"arithmetic": 0.0, "more": 0.0, "unknown": 0.0, "block": 0.12}.get(family, tint)
        rules.append(f".netatlas .{family}>.box{{fill:{mixed(ink, ground, share)};stroke:{stroke}}}")
    return "".join(rules)
