"""The fuzzer itself: it draws the same again, finds what is wrong, makes it small, and keeps what it found."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serinus_runtime.artifact.loading import Loaded, load
from serinus_runtime.base.config import PROTOCOLS
from serinus_runtime.base.errors import StartFailure
from serinus_runtime.model import model as runtime_model
from serinus_runtime.model.model import Model
from serinus_runtime.serving.application import Application

from fidelity import corpus, draw, run, table
from fidelity.build import build
from fidelity.case import Ask, Case, Recipe
from fidelity.forms import LEFT_OUT, OIP, CannotEncode, Sent, as_records, sent_of, times_alike
from fidelity.misfit import misfits
from fidelity.pyfuncs import NOT_BY_ROWS, NOT_BY_TENSORS
from fidelity.session import Finding, findings, session
from fidelity.shrink import shrink, size
from fidelity.wanted import AS_MISSING, AS_TRAINED, WANTED
from fidelity.worker import Worker

pytestmark = pytest.mark.long

AMOUNT = {"type": "double", "name": "amount", "required": True}
COUNTRY = {"type": "string", "name": "country", "required": True}
ROWS: Any = (("country", "amount"), (("FR", 1.0), ("DE", 2.5), ("IT", 3.0)))
TWO = Recipe("pyfunc", inputs=(COUNTRY, AMOUNT), answer="array float64", rows=6, seed=3)


def one(recipe: Recipe, ask: Ask) -> list[Finding]:
    with run.quiet():
        return findings(Case(recipe, ask))


def test_the_same_seed_draws_the_same() -> None:
    def drawn(seed: int) -> list[Any]:
        return [draw.recipe(seed, number) for number in range(40)]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)
    asks = [list(draw.asks(TWO, [["FR", 1.0]], [0.5], 30)) for _ in range(2)]
    assert repr(asks[0]) == repr(asks[1])  # NaN is no equal of itself


def test_the_same_run_finds_the_same() -> None:
    first, second = (run.run(11, 150).dump() for _ in range(2))
    del first["seconds"], second["seconds"]
    assert first == second
    assert first["comparisons"] >= 150


def test_a_case_is_read_as_it_was_written() -> None:
    for number in range(60):
        made = draw.recipe(2, number)
        for ask in draw.asks(made, [[0.5] * len(made.inputs)], [], 5):
            text = json.dumps(Case(made, ask).dump())
            assert json.dumps(Case.load(json.loads(text)).dump()) == text


def test_a_case_with_a_word_that_nobody_knows_is_refused() -> None:
    content = Case(TWO, Ask("json", (), ())).dump()
    with pytest.raises(ValueError, match="does not have more"):
        Case.load({**content, "ask": {**content["ask"], "more": 1}})


Change = Callable[[Any, Any], Any]


def answering(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """The models that Serinus loads answer `change(data, answer)`."""

    def changed(predict: Callable[..., Any]) -> Callable[..., Any]:
        return lambda data, **how: change(data, predict(data, **how))

    def loading(*given: Any) -> Loaded:
        loaded = load(*given)
        return loaded._replace(public=changed(loaded.public), direct=changed(loaded.direct))

    monkeypatch.setattr(runtime_model, "load", loading)


@pytest.fixture
def one_ulp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers to rows with an amount above 1000 are off by the last digit."""

    def wrong(data: Any, answer: Any) -> Any:
        large = "amount" in data and (data["amount"] > 1000).any()
        return np.nextafter(answer, math.inf) if large else answer

    answering(monkeypatch, wrong)


@pytest.mark.usefixtures("one_ulp")
def test_one_digit_that_is_wrong_for_some_rows_is_found_and_made_small() -> None:
    with run.quiet(), session(TWO) as opened:
        asked = (one for ask in draw.asks(TWO, opened.built.rows, [], 200) for one in opened.ask(ask))
        found = next(one.finding for one in asked if one.finding and one.finding.difference.kind == "another answer")
        small = shrink(found)
    assert small.difference.kind == "another answer"
    assert size(small.case) < size(found.case)
    assert [spec["name"] for spec in small.case.recipe.inputs] == ["amount"]
    [[amount]] = small.case.ask.rows
    assert amount > 1000
    assert one(small.case.recipe, small.case.ask)


@pytest.mark.usefixtures("one_ulp")
def test_the_rows_that_are_right_are_not_found() -> None:
    assert one(TWO, Ask("dataframe_split", ("country", "amount"), (("FR", 1000.0),))) == []
    assert one(TWO, Ask("dataframe_split", ("country", "amount"), (("FR", 1001.0),)))


def test_what_the_application_raises_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(application: Application, request: Any) -> Any:
        raise KeyError

    with run.quiet(), session(TWO) as opened:
        monkeypatch.setattr(Application, "handle", broken)
        [compared] = opened.ask(Ask("json", ("country", "amount"), (("FR", 1.0),)))
    assert compared.finding is not None
    assert compared.finding.difference.kind == "crash"


def test_a_model_that_is_not_served_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(data: Any, answer: Any) -> Any:
        raise ValueError

    answering(monkeypatch, fails)
    with run.quiet(), session(TWO) as opened:
        found = opened.load_finding()
    assert found is not None
    assert found.difference.kind == "not served"


@pytest.mark.parametrize("file", corpus.files(), ids=lambda file: file.stem)
def test_what_was_found_once_is_mended(file: Path) -> None:
    with run.quiet():
        found = [finding for finding in corpus.replay(file) if finding.wanted is None]
    assert found == [], "\n".join(map(run.told, found))


def test_the_page_is_what_the_last_result_writes() -> None:
    result = json.loads(table.RESULT.read_text(encoding="utf-8"))
    assert table.PAGE.read_text(encoding="utf-8") == table.page(result)


def test_each_wanted_difference_has_a_name_of_its_own_and_a_reason() -> None:
    assert len({wanted.name for wanted in WANTED}) == len(WANTED)
    assert all(wanted.reason.endswith(".") and len(wanted.reason) > 60 for wanted in WANTED)


@pytest.mark.parametrize("answer", NOT_BY_TENSORS)
def test_what_tensors_cannot_carry_is_stopped_unless_the_spec_leaves_them_out(answer: str, tmp_path: Path) -> None:
    with run.quiet():
        built = build(replace(TWO, answer=answer), tmp_path / "model")
        with pytest.raises(StartFailure, match=r"serving\.protocols"):
            Model.read(built.artifact, protocols=PROTOCOLS)
        with session(built.recipe) as opened:
            compared = [one for form in OIP[:1] + OIP[2:] for one in opened.ask(Ask(form, *ROWS))]
            compared += opened.ask(Ask("dataframe_split", *ROWS))
    assert opened.ways
    assert [one.finding for one in compared] == [None] * len(compared)
    assert [one.verdict for one in compared] == ["refused"] * 5 + ["answered"]


@pytest.mark.parametrize("answer", NOT_BY_ROWS)
def test_what_is_no_answer_for_each_row_is_refused_and_served_where_rows_belong_together(answer: str) -> None:
    with run.quiet(), session(replace(TWO, answer=answer)) as opened:
        refused = opened.load_finding()
        [compared] = opened.ask(Ask("dataframe_split", *ROWS))
    assert refused is not None
    assert refused.wanted is not None
    assert (compared.finding, compared.verdict) == (None, "answered")


def test_values_by_place_misfit_by_the_signature_and_not_by_the_names_that_are_sent() -> None:
    def case(form: str) -> Case:
        return Case(TWO, Ask(form, ("amount", "country"), ((1.5, "FR"),)))

    assert misfits(case("dataframe_split without names"))
    assert not misfits(case("dataframe_split"))


def test_a_field_left_out_moves_columns_without_names_to_other_places() -> None:
    of_the_first_its_first = 1
    recipe = replace(TWO, inputs=({"type": "integer", "required": True}, {"type": "double", "required": True}))

    def case(*rows: tuple[float, ...]) -> Case:
        return Case(recipe, Ask("dataframe_records", (None, None), rows, spoil=(LEFT_OUT, of_the_first_its_first)))

    assert misfits(case((1, 0.5), (2, 0.5)))
    assert not misfits(case((1, 3.0), (2, 4.0)))


def test_times_are_written_alike_without_another_meaning() -> None:
    recipe = Recipe("pyfunc", inputs=({"type": "datetime", "name": "at", "required": True},), answer="text")

    def alike(*times: str) -> list[Any]:
        return [row[0] for row in times_alike(recipe, Ask("json", ("at",), tuple((time,) for time in times)))]

    assert alike("2024-01-02", "2024-01-02 03:04:05.5") == [
        "2024-01-02T00:00:00.000000000",
        "2024-01-02T03:04:05.500000000",
    ]
    assert alike("2024-01-02", "2025-01-02") == ["2024-01-02", "2025-01-02"]
    assert alike("2024-01-02", "soon") == ["2024-01-02T00:00:00.000000000", "soon"]


def test_what_the_models_raise_is_not_written_to_the_output(capfd: pytest.CaptureFixture[str]) -> None:
    ask = Ask("dataframe_split", ("n", "amount"), ((1, 2.0),))
    with run.quiet():
        print("a traceback", file=sys.stderr)
        one(TWO, ask)
    assert capfd.readouterr().err == ""


def test_a_worker_process_answers_as_the_application_does() -> None:
    ask = Ask("dataframe_split", ("country", "amount"), (("FR", 1.0), ("DE", 2.5)))
    with run.quiet(), session(TWO, process=True) as opened:
        compared = [one for form in OIP[:1] + OIP[2:] for one in opened.ask(replace(ask, form=form))] + opened.ask(ask)
        process = opened.ways[-1]
        assert isinstance(process, Worker)
        refused = process.ask(b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
    assert {one.way for one in compared} == {"direct", "worker"}
    assert [one.finding for one in compared] == [None] * len(compared)
    assert refused.status == 415


def test_nested_data_in_a_matrix_are_not_compared_because_they_are_flat_data_there() -> None:
    recipe = replace(TWO, inputs=(AMOUNT,))
    assert [row for row in one(recipe, Ask("json matrix", ("amount",), (([[1]],),))) if row.wanted is None] == []
    with pytest.raises(CannotEncode):
        sent_of(recipe, Ask("json matrix", ("amount",), (([[1]],),)))


def test_records_as_instances_are_the_same_records_of_a_data_frame_only_where_they_have_the_same_names() -> None:
    recipe = Recipe("pyfunc", inputs=({"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}},))
    for rows, records in (((({"a": 1},), ({"a": 2},)), 1), ((({"a": 1},), ({"b": 2},)), 0), (((1,), ({"a": 2},)), 0)):
        ask = Ask("instances", (None,), rows)
        assert len(as_records(ask, sent_of(recipe, ask))) == records
    [plain] = as_records(Ask("instances", (None,), ()), Sent("/invocations", {}, b'{"instances": [{"a": 1}]}'))
    assert (plain.form, plain.columns, plain.rows) == ("dataframe_records", ("a",), ((1,),))


@pytest.mark.parametrize("kind", ["boolean", "binary"])
def test_null_for_a_missing_value_is_wanted_and_a_value_in_its_place_is_not(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(TWO, inputs=({"type": kind, "name": "flag", "required": False}, AMOUNT), answer="text")
    for form in ("dataframe_split", "dataframe_records", "instances", "inputs of columns", "json"):
        ask = Ask(form, ("flag", "amount"), ((None, 1.0),))
        found = one(recipe, ask)
        assert {row.difference.kind for row in found} == {AS_MISSING}, form
        assert [row.wanted.name for row in found if row.wanted] == [
            "null in an optional column of bytes" if kind == "binary" else "null in an optional column of booleans"
        ] * len(found)
    answering(monkeypatch, lambda data, texts: [text.replace("None", "0") for text in texts])
    assert [row for row in one(recipe, Ask("dataframe_split", ("flag", "amount"), ((None, 1.0),))) if not row.wanted]


def test_a_column_of_fp64_is_one_of_numbers_also_where_all_of_them_are_null(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe("xgboost", "Booster", inputs=(AMOUNT,), signed=False)
    for form in ("json", "binary", "grpc"):
        assert one(recipe, Ask(form, ("amount",), ((None,), (None,)))) == []
    assert one(recipe, Ask("json matrix", ("amount",), ((None,),)))[0].difference.kind == AS_TRAINED
    answering(monkeypatch, lambda data, scores: scores + 1)
    assert one(recipe, Ask("json", ("amount",), ((None,),)))[0].difference.kind == "another answer"
