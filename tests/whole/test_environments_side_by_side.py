"""Three environments that contradict each other, on two Python versions, served by one installation at once."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import uv
from whole_serinus import Serinus

from serinus.backends.uv.command import Uv
from serinus.backends.uv.interpreters import Interpreters
from serinus.core.errors import SerinusError

SCRIPT = Path(__file__).parent / "train_elsewhere.py"


@dataclass(frozen=True)
class Pins:
    model: str
    python: str
    packages: tuple[str, ...]
    serves: tuple[float, float, float]
    """Python, numpy and scikit-learn, each as major + minor / 100."""


# Each contradicts the others: no two of them could share an environment.
PINS = (
    Pins(
        "sklearn-1-3",
        "3.9",
        ("scikit-learn==1.3.2", "numpy==1.24.4", "pandas==2.0.3", "scipy==1.10.1", "mlflow-skinny==2.17.2"),
        (3.09, 1.24, 1.03),
    ),
    Pins(
        "sklearn-1-6",
        "3.11",
        ("scikit-learn==1.6.1", "numpy==1.26.4", "pandas==2.2.3", "scipy==1.14.1", "mlflow-skinny==3.9.0"),
        (3.11, 1.26, 1.06),
    ),
    Pins(
        "sklearn-1-7",
        "3.11",
        ("scikit-learn==1.7.2", "numpy==2.2.6", "pandas==2.3.3", "scipy==1.15.3", "mlflow-skinny==3.9.0"),
        (3.11, 2.02, 1.07),
    ),
)


def interpreter(python: str, memory: Path) -> Path:
    """As the product finds it; the test is skipped where it is neither here nor can be fetched."""
    try:
        return Interpreters(Uv(), memory).choose(python, print).interpreter.path
    except SerinusError as error:
        pytest.skip(f"Python {python} cannot be had: {error}")


def train(pins: Pins, python: Path, registry: str) -> None:
    """By the model's own interpreter and libraries, as on another person's machine."""
    libraries = [word for package in (*pins.packages, "cloudpickle==3.1.1") for word in ("--with", package)]
    command = [uv.find_uv_bin(), "run", "--no-project", "--isolated", "--python", str(python), *libraries]
    trained = subprocess.run(
        [*command, "python", str(SCRIPT), pins.model],
        env={**os.environ, "MLFLOW_TRACKING_URI": registry, "MLFLOW_DISABLE_TELEMETRY": "true"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert trained.returncode == 0, trained.stderr[-2000:]


def served_by(serinus: Serinus, pins: Pins) -> tuple[tuple[float, float, float], float]:
    """What serves the model, by its own word, and the scikit-learn that trained it."""
    answer = serinus.infer(pins.model, [{"amount": 350.0, "hour": 4.0}])
    assert answer.status_code == 200, answer.text
    row = answer.json()["predictions"][0]
    assert 0.5 < row["score"] <= 1
    return (row["python"], row["numpy"], row["sklearn"]), row["trained_by"]


@pytest.mark.slow
@pytest.mark.root  # whose home may hold the other Python, where an ordinary user here has none
@pytest.mark.timeout(400)
def test_three_environments_of_conflicting_pins_and_two_pythons_are_served_at_once(
    serinus: Serinus, tmp_path: Path
) -> None:
    pythons = [interpreter(pins.python, tmp_path / "interpreters.json") for pins in PINS]
    with ThreadPoolExecutor(len(PINS)) as pool:
        list(pool.map(train, PINS, pythons, [serinus.addresses.mlflow] * len(PINS)))
    rollouts = [serinus.deploy(f"{pins.model}@1") for pins in PINS]
    for rollout in rollouts:
        status = serinus.ended(rollout, 300)["status"]
        assert status["phase"] == "promoted", status
    for pins in PINS:
        assert served_by(serinus, pins) == (pytest.approx(pins.serves), pytest.approx(pins.serves[2]))
    releases = {pins.model: serinus.model(pins.model)["champion"]["release"] for pins in PINS}
    pids = {serinus.placement(release).pid for release in releases.values()}
    assert len(pids) == len(PINS)
