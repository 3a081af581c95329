"""Confidence intervals for recall, by closed formulas that hold with few frauds. `Z` is for two-sided 95% intervals."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054


def wilson(hits: float, total: float) -> tuple[float, float]:
    """Returns Wilson's score interval for a proportion (Wilson 1927)."""
    if total == 0:
        return 0.0, 1.0
    p, z2 = hits / total, Z * Z
    centre = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z / (1 + z2 / total) * math.sqrt(p * (1 - p) / total + z2 / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(only_first: float, only_second: float, total: float) -> tuple[float, float]:
    """Returns an interval for the difference of two proportions over the same cases, first less second.

    Bonett and Price's adjusted Wald interval (2012), which Fagerland, Lydersen and Laake (2014) recommend for small
    samples. Only the discordant cases widen it. Where two models catch mostly the same frauds, it is several times
    narrower than the interval for two independent samples.
    """
    first, second = (only_first + 1) / (total + 2), (only_second + 1) / (total + 2)
    difference = first - second
    half = Z * math.sqrt((first + second - difference**2) / (total + 2))
    return max(-1.0, difference - half), min(1.0, difference + half)


def by_chance(rows: int, cases: int, drawn: int, hits: int) -> float:
    """Returns the probability that at least `hits` of the `cases` are among `drawn` of `rows` rows drawn at random.

    It is the upper tail of the hypergeometric distribution.
    """
    whole = _log_choose(rows, drawn)
    possible = range(max(hits, drawn + cases - rows, 0), min(cases, drawn) + 1)
    terms = (_log_choose(cases, k) + _log_choose(rows - cases, drawn - k) - whole for k in possible)
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def cases_needed(only_first: float, only_second: float, total: float, margin: float) -> float:
    """Returns about how many cases are needed until the interval excludes `-margin`, at the rates observed so far."""
    first, second = (only_first + 1) / (total + 2), (only_second + 1) / (total + 2)
    difference = first - second
    distance = abs(difference + margin)
    if distance == 0.0:
        return math.inf
    return Z * Z * (first + second - difference**2) / (distance * distance)


def design_effect(values: NDArray[np.float64], clusters: NDArray[np.int64] | None) -> float:
    """Returns the factor by which dependence within clusters increases the variance of the mean of `values`. At least
    1.

    It is the ratio of the variance between clusters (linearized, as for a ratio estimator) to that of independent
    values (Kish, *Survey Sampling*, 1965). Where no value differs from the mean, clusters are taken as copies of one
    row, and the effect is their mean size, weighted by size.
    """
    if clusters is None or len(values) == 0:
        return 1.0
    _, cluster, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    away = values - values.mean()
    independent = float((away**2).sum())
    if independent == 0.0:
        return float((sizes**2).sum() / sizes.sum())
    count = len(sizes)
    between = float((np.bincount(cluster, away) ** 2).sum()) * (count / (count - 1) if count > 1 else 1.0)
    return max(1.0, between / independent)


def live_rate(alerts: int, rows: int) -> tuple[float, float]:
    """Returns the interval of alert rates that new rows of the same kind may have at a threshold by which `alerts` of
    `rows` rows alert.

    Two-sided, 95%. The share of a population above the k-th largest of n independent draws has a beta distribution with
    k and n - k + 1 (David and Nagaraja, *Order Statistics*, 2003). Its distribution function is the upper tail of a
    binomial distribution.
    """
    counts = np.arange(1, alerts + 1)
    log_choices = np.concatenate(([0.0], np.cumsum(np.log((rows - counts + 1) / counts))))[:alerts]

    def fewer(rate: float) -> float:
        """Returns the probability that fewer than `alerts` of `rows` rows alert at `rate`."""
        logs = log_choices + np.arange(alerts) * math.log(rate) + (rows - np.arange(alerts)) * math.log1p(-rate)
        return float(np.exp(logs).sum())

    def rate_at(probability: float) -> float:
        """Returns the rate at which `fewer` has this probability, by bisection."""
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if fewer(middle) > probability else (low, middle)
        return high

    return rate_at(0.975) if alerts else 0.0, rate_at(0.025) if alerts else 1.0 - 0.025 ** (1.0 / rows)
