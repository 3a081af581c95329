"""Files of a model and its run, through a real deployment: an end in one sentence, told once, nothing exhausted."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_models import mlmodel
from hostile_serinus import SPEC, Attacked, fresh, shared
from whole_load import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

COLUMNS = [{"type": "double", "name": "amount", "required": True}]
BRACKETS = "[" * 60_000 + "]" * 60_000
FIELDS = ("x", "signature", "metadata", "saved_input_example_info")


def test_a_deeply_nested_mlmodel_that_an_alias_asks_for_is_told_once(serinus: Attacked) -> None:
    log = serinus.home.logs / "control.log"
    before = log.read_text(errors="replace").count("Traceback") if log.exists() else 0
    models = {field: _nested(serinus, field) for field in FIELDS}
    wait_until(lambda: _read_again(serinus), 30, "a look at the aliases")
    events = {field: serinus.events(model) for field, model in models.items()}
    assert all(events.values()), events
    wait_until(lambda: _read_again(serinus), 30, "another look at the aliases")
    assert {field: serinus.events(model) for field, model in models.items()} == events
    after = log.read_text(errors="replace").count("Traceback") if log.exists() else 0
    assert after == before


def _nested(serinus: Attacked, field: str) -> str:
    """The name of a model whose only version was refused, and has the alias that asks for it."""
    model = fresh("deep")
    ref = serinus.register(model, {"MLmodel": mlmodel(f"{field}: {BRACKETS}\n")}, ["six"])
    answer = serinus.asked(ref)
    assert answer.status_code in (202, 409, 422), answer.text
    if answer.status_code == 202:
        reason = serinus.settled(str(answer.json()["rollout"]))["status"]["reason"]
    else:
        reason = answer.text
    assert "nested too deeply" in reason, field
    serinus.mlflow.set_registered_model_alias(model, "challenger", ref.partition("@")[2])
    return model


def _read_again(serinus: Attacked) -> bool:
    """Once an alias that was set now is seen."""
    model = _read_again.__dict__.setdefault("model", fresh("seen"))
    if "set" not in _read_again.__dict__:
        serinus.register(model, {"MLmodel": "flavors: {}\n"}, ["six"])
        serinus.mlflow.set_registered_model_alias(model, "challenger", "1")
        _read_again.__dict__["set"] = True
    if serinus.events(model):
        del _read_again.__dict__["set"], _read_again.__dict__["model"]
        return True
    return False


def test_a_small_file_of_many_rows_is_refused_by_their_number(serinus: Attacked, tmp_path: Path) -> None:
    file, rows = tmp_path / "evaluation.parquet", 5_000_000
    table = pa.table({"amount": pa.repeat(0.0, rows), "label": pa.repeat(0.0, rows)})
    pq.write_table(table, file, compression="zstd")
    assert file.stat().st_size < 1 << 20
    model = fresh("bomb")
    columns = mlmodel(inputs=COLUMNS, outputs=[{"type": "double", "name": "score"}])
    ref = serinus.register(model, {"MLmodel": columns}, shared())
    run = serinus.mlflow.get_model_version(model, "1").run_id
    serinus.mlflow.log_artifact(run, str(file))
    spec = SPEC.format(model=model).replace("gates: {", "gates: {evaluation: evaluation.parquet, label: label, ")
    control = int(serinus.process("control")["pid"])
    before = _most_resident(control)
    rollout = serinus.attempt(ref, spec)
    assert "5,000,000" in str(rollout), rollout["status"]
    assert _most_resident(control) - before < 300


def _most_resident(pid: int) -> int:
    """MiB at the most since its start."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM"))
