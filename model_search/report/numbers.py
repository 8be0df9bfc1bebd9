"""Figures and durations for people."""

from __future__ import annotations

import math

NOTHING = "\u2013"


def figure(value: float | None) -> str:
    """Up to five significant digits; a dash where there is nothing."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if abs(value) >= 1e6 or (value != 0 and abs(value) < 1e-4):
        return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.5g}" if abs(value) < 1e4 else f"{value:,.0f}"


def share(value: float) -> str:
    """A share of 1 in percent: "12 %", "0.4 %"."""
    return f"{100 * value:.0f} %" if value >= 0.0995 or value == 0 else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """Seconds as "3.2 ms", "0.42 s", "12 s", "3 min 5 s" or "2 h 7 min"; a dash where unknown."""
    if not math.isfinite(seconds):
        return NOTHING
    if 0 < seconds < 0.0995:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 9.95:
        return f"{seconds:.2g} s" if seconds < 0.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min"
