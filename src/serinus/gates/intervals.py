"""Intervals for recall, by closed formulas that hold with few frauds. `Z`: two-sided, 95 %."""

from __future__ import annotations

import math

Z = 1.959963984540054


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927)."""
    if total == 0:
        return 0.0, 1.0
    p, z2 = hits / total, Z * Z
    centre = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z / (1 + z2 / total) * math.sqrt(p * (1 - p) / total + z2 / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(only_first: int, only_second: int, total: int) -> tuple[float, float]:
    """Interval for the difference of two proportions over the same cases, first less second.

    Bonett and Price's adjusted Wald interval (2012), which Fagerland, Lydersen and Laake (2014) recommend for small
    samples. Only the discordant cases widen it: where two models catch mostly the same frauds it is several times
    narrower than the interval of two independent samples.
    """
    first, second = (only_first + 1) / (total + 2), (only_second + 1) / (total + 2)
    difference = first - second
    half = Z * math.sqrt((first + second - difference**2) / (total + 2))
    return max(-1.0, difference - half), min(1.0, difference + half)


def by_chance(rows: int, cases: int, drawn: int, hits: int) -> float:
    """Probability that at least `hits` of the `cases` are among `drawn` of `rows` drawn at random: the upper tail of
    the hypergeometric distribution."""
    whole = _log_choose(rows, drawn)
    possible = range(max(hits, drawn + cases - rows, 0), min(cases, drawn) + 1)
    terms = (_log_choose(cases, k) + _log_choose(rows - cases, drawn - k) - whole for k in possible)
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def cases_needed(only_first: int, only_second: int, total: int, margin: float) -> float:
    """About how many cases until the interval clears `-margin`, to whichever side, at the rates seen so far."""
    first, second = (only_first + 1) / (total + 2), (only_second + 1) / (total + 2)
    difference = first - second
    distance = abs(difference + margin)
    if distance == 0.0:
        return math.inf
    return Z * Z * (first + second - difference**2) / (distance * distance)
