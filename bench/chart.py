"""Horizontal bars on a logarithmic scale, as SVG that reads on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _LABEL, _RIGHT, _BAR, _GAP, _TOP = 860, 290, 90, 20, 8, 64
_STYLE = """
.page { fill: #ffffff } text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 } .small { font-size: 12px; fill: #59636e }
.line { stroke: #d1d9e0 } .peer { fill: #8c959f } .bound { fill: #b6d4f2 } .ours { fill: #1a7f37 }
.spread { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117 } text { fill: #e6edf3 } .small { fill: #9198a1 } .line { stroke: #3d444d }
  .bound { fill: #1f4b7a } .ours { fill: #3fb950 } .spread { stroke: #e6edf3 }
}
"""


class Bar(NamedTuple):
    label: str
    value: float
    least: float
    most: float
    kind: str
    """`ours`, `peer` or `bound`."""


def bars(title: str, subtitle: str, found: Sequence[Bar]) -> str:
    """An SVG document. Values are above zero; the axis is logarithmic from the power of ten below the least."""
    low = 10 ** math.floor(math.log10(min(bar.least for bar in found)))
    high = 10 ** math.ceil(math.log10(max(bar.most for bar in found)))
    high = max(high, low * 10)
    height = _TOP + len(found) * (_BAR + _GAP) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title, quote=True)}"><style>{_STYLE}</style>',
        f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
        f'<text class="title" x="16" y="26">{escape(title)}</text>',
        f'<text class="small" x="16" y="46">{escape(subtitle)}</text>',
        *_axis(low, high, height),
    ]
    for index, bar in enumerate(found):
        parts += _bar(bar, _TOP + index * (_BAR + _GAP), low, high)
    return "\n".join([*parts, "</svg>", ""])


def _x(value: float, low: float, high: float) -> float:
    share = math.log10(value / low) / math.log10(high / low)
    return round(_LABEL + share * (_WIDTH - _LABEL - _RIGHT), 1)


def _axis(low: float, high: float, height: int) -> list[str]:
    found, value = [], low
    while value <= high * 1.001:
        x = _x(value, low, high)
        found.append(f'<line class="line" x1="{x}" y1="{_TOP - 6}" x2="{x}" y2="{height - 26}"/>')
        found.append(f'<text class="small" x="{x}" y="{height - 10}" text-anchor="middle">{value:,.0f}</text>')
        value *= 10
    return found


def _bar(bar: Bar, top: int, low: float, high: float) -> list[str]:
    middle, end = top + _BAR // 2, _x(bar.value, low, high)
    least, most = _x(bar.least, low, high), _x(bar.most, low, high)
    return [
        f'<text x="{_LABEL - 10}" y="{middle + 5}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{bar.kind}" x="{_LABEL}" y="{top}" width="{max(end - _LABEL, 1):.1f}" height="{_BAR}" rx="2"/>',
        f'<line class="spread" x1="{least}" y1="{middle}" x2="{most}" y2="{middle}"/>',
        f'<text x="{max(end, most) + 8}" y="{middle + 5}">{bar.value:,.0f}</text>',
    ]
