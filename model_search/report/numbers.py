"""Figures and durations for people."""

from __future__ import annotations

import math

NOTHING = "\u2013"


def figure(value: float | None) -> str:
    """Up to five significant digits; a dash where there is nothing."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if _is_plain(value):
        return f"{value + 0.0:,.5g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return _short_exponent(f"{value:.5g}")


def tick(value: float, step: float) -> str:
    """A number of an axis, with as many digits as tell it from its neighbours.

    Args:
        value: The number.
        step: How far the numbers of the axis are apart.
    """
    place = math.floor(math.log10(step) + 1e-9)  # of the last digit that counts
    if value == 0 and step < 1e-4:
        return "0"
    if not _is_plain(value):
        digits = max(0, math.floor(math.log10(abs(value))) - place)
        return _short_exponent(f"{value:.{digits}e}")
    return f"{value:,.{max(0, -place)}f}"


def _is_plain(value: float) -> bool:
    """Whether a number is written without an exponent."""
    return value == 0 or 1e-4 <= abs(value) < 1e6


def _short_exponent(text: str) -> str:
    return text.replace("e-0", "e-").replace("e+0", "e")


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
