"""Gates that look at the artifact and at how the release comes up."""

from __future__ import annotations

import json

import pytest

from serinus.core.examination import Outcome, VersionDifference, Warned
from serinus.core.release import Column
from serinus.gates import (
    ExampleEvidence,
    LatencyEvidence,
    LoadEvidence,
    MemoryEvidence,
    PickleImports,
    ScanEvidence,
    SignatureEvidence,
    decide,
    example,
    latency,
    load,
    memory,
    scan,
    signature,
)

SKLEARN = (
    "_codecs.encode", "builtins.slice", "copyreg._reconstructor", "joblib.numpy_pickle.NumpyArrayWrapper",
    "numpy._core.multiarray._reconstruct", "numpy.dtype", "numpy.ndarray", "sklearn.pipeline.Pipeline",
    "pandas.core.frame.DataFrame", "collections.OrderedDict", "functools.partial", "scipy.sparse._csr.csr_matrix",
)  # fmt: skip


def of_one(*imports: str, error: str = "") -> ScanEvidence:
    return ScanEvidence((PickleImports("model.pkl", imports, error),))


def test_an_ordinary_model_is_not_suspected() -> None:
    result = scan(of_one(*SKLEARN))
    assert result.outcome is Outcome.PASS
    assert result.evidence["forbidden"] == result.evidence["noted"] == []


@pytest.mark.parametrize(
    "name",
    [
        "os.system", "posix.system", "nt.system", "subprocess.Popen", "builtins.eval", "__builtin__.exec",
        "builtins.__import__", "socket.socket", "shutil.rmtree", "ctypes.CDLL", "importlib.import_module",
        "runpy.run_path", "pty.spawn", "sys.modules", "webbrowser.open", "urllib.request.urlopen", "requests.api.get",
        "pip.main", "io.open", "_pickle.loads", "numpy.testing._private.utils.runstring", "torch.hub.load", "?.system",
        "builtins.?",
    ],
)  # fmt: skip
def test_what_no_model_needs_to_import_fails_and_says_where(name: str) -> None:
    result = scan(of_one(*SKLEARN, name))
    assert result.outcome is Outcome.FAIL
    assert name in result.summary
    assert result.evidence["forbidden"] == [{"file": "model.pkl", "import": name}]


@pytest.mark.parametrize("name", ["osmodel.Model", "systems.X", "codecs.lookup", "httpmodel.Y", "scipy.signal.Z"])
def test_a_name_that_only_begins_alike_is_not_forbidden(name: str) -> None:
    assert scan(of_one(name)).outcome is Outcome.PASS


def test_a_python_model_by_cloudpickle_passes_and_is_noted() -> None:
    found = scan(of_one("cloudpickle.cloudpickle._make_function", "types.CodeType", "builtins.getattr"))
    assert found.outcome is Outcome.PASS
    assert len(found.evidence["noted"]) == 3
    assert "can contain code of their own" in found.summary


def test_a_scan_is_read_as_the_runtime_prints_it() -> None:
    printed = {"pickles": [{"file": "m.pkl", "imports": ["os.system", "numpy.dtype"]}], "other": ["code/x.py"]}
    result = scan(json.loads(json.dumps(printed)))
    assert result.outcome is Outcome.FAIL
    assert result.evidence["other"] == ["code/x.py"]
    assert scan({"pickles": [], "other": []}).summary == "The artifact holds no pickles."


def test_what_passes_is_counted_in_words() -> None:
    assert scan(of_one("numpy.dtype")).summary == "1 pickle imports 1 name, none of them forbidden."
    assert scan(of_one("numpy.dtype", "numpy.ndarray")).summary == "1 pickle imports 2 names, none of them forbidden."


def test_a_pickle_that_cannot_be_read_to_its_end_fails() -> None:
    result = scan(of_one("numpy.dtype", error="pickle data was truncated"))
    assert (result.outcome, result.evidence["unread"][0]["file"]) == (Outcome.FAIL, "model.pkl")


def test_load_says_why_a_worker_did_not_come_up() -> None:
    result = load(LoadEvidence(False, "No module named 'lightgbm'"))
    assert (result.outcome, result.summary) == (Outcome.FAIL, "No module named 'lightgbm'")
    assert load(LoadEvidence(False)).summary


def test_load_says_warmed_up_only_of_a_worker_that_was() -> None:
    warm = load(LoadEvidence(True, seconds=1.24, warm_up_ms=3.0))
    assert (warm.outcome, warm.summary) == (Outcome.PASS, "The model was loaded and warmed up in 1.2 s.")
    cold = load(LoadEvidence(True, seconds=1.24))
    assert (cold.outcome, cold.summary) == (Outcome.PASS, "Loaded in 1.2 s, not warmed up.")
    assert cold.evidence["warm_up_ms"] is None


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (
            {"versions": [VersionDifference("scikit-learn", "1.5.2", "1.7.0", own=True)]},
            "The model was logged with scikit-learn 1.5.2; 1.7.0 is installed.",
        ),
        ({"versions": [VersionDifference("xgboost", "2.1.0", "", own=True)]}, "none is installed"),
        (
            {"warnings": [Warned("InconsistentVersionWarning", "sklearn", "Trying to unpickle", own=True)]},
            "InconsistentVersionWarning of sklearn: Trying to unpickle.",
        ),
    ],
)
def test_what_concerns_the_models_own_library_blocks_unless_it_is_accepted(evidence: dict, words: str) -> None:
    result = load(LoadEvidence(True, warm_up_ms=1.0, **evidence))
    assert (result.outcome, result.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)
    assert words in result.summary
    stopped, reason = decide([result])
    assert (stopped, "gates.accept: [inconclusive-load]" in reason) == (False, True)
    assert decide([result], {"inconclusive-load"})[0]
    json.dumps(dict(result.evidence))


def test_what_concerns_other_libraries_is_evidence_only() -> None:
    other = load(
        LoadEvidence(
            True,
            warm_up_ms=1.0,
            warnings=[Warned("FutureWarning", "pandas", "is_sparse is deprecated", own=False)],
            versions=[VersionDifference("python", "3.11", "3.12", own=False)],
        )
    )
    assert other.outcome is Outcome.PASS
    assert "2 warnings and version differences of other libraries" in other.summary
    assert other.evidence["versions"] == [{"library": "python", "logged": "3.11", "installed": "3.12", "own": False}]


AMOUNT, COUNTRY = Column("amount", "double"), Column("country", "string")


def fit(inputs, sent, by: str = "the spec"):
    return signature(SignatureEvidence(inputs, sent, by))


def test_a_new_required_column_fails_and_an_optional_one_does_not() -> None:
    result = fit((AMOUNT, COUNTRY), (AMOUNT,), "the champion's signature")
    assert result.outcome is Outcome.FAIL
    assert "needs column 'country' (string), which callers do not send, by the champion's signature" in result.summary
    assert fit((AMOUNT, Column("country", "string", required=False)), (AMOUNT,)).outcome is Outcome.PASS


def test_a_column_that_is_sent_only_sometimes_cannot_be_required() -> None:
    assert fit((AMOUNT,), (Column("amount", "double", required=False),)).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("sent", "wanted", "fits"),
    [
        ("long", "double", True), ("integer", "long", True), ("double", "float", True),
        ("float", "tensor(float64)", True), ("tensor(float32)", "float", True), ("string", "string", True),
        ("double", "long", False), ("string", "double", False), ("double", "string", False),
        ("long", "integer", False), ("boolean", "long", False),
    ],
)  # fmt: skip
def test_a_changed_type_fails_unless_every_value_still_reads_the_same(sent: str, wanted: str, fits: bool) -> None:
    result = fit((Column("x", wanted),), (Column("x", sent),))
    assert (result.outcome is Outcome.PASS) is fits
    if not fits:
        assert result.summary.startswith(f"needs column 'x' as {wanted}, which is sent as {sent}")


def test_what_is_sent_but_not_used_is_said() -> None:
    result = fit((AMOUNT,), (AMOUNT, COUNTRY))
    assert (result.outcome, result.evidence["unused"]) == (Outcome.PASS, ["country"])
    assert "country" in result.summary


def test_a_model_without_signature_passes_with_a_warning() -> None:
    result = fit(None, (AMOUNT,))
    assert (result.outcome, result.evidence["raw_protocol"]) == (Outcome.PASS, True)
    assert fit((AMOUNT,), None).outcome is Outcome.PASS


def test_the_input_example_must_be_answered_whole() -> None:
    assert example(ExampleEvidence(2, (0.1, 0.2))).outcome is Outcome.PASS
    assert example(ExampleEvidence(2, (0.1, None))).evidence["missing"] == [1]
    assert example(ExampleEvidence(2, (0.1,))).outcome is Outcome.FAIL
    assert "timeout" in example(ExampleEvidence(2, error="timeout")).summary
    labels = example(ExampleEvidence(2, (None, None)))
    assert labels.outcome is Outcome.FAIL
    assert "2 of 2 rows of the input example got no finite score" in labels.summary
    assert "`serving.score: none`" in labels.summary
    assert "docs/inputs-and-answers.md" in labels.summary
    assert example(ExampleEvidence(2, (None, None), scored=False)).outcome is Outcome.PASS
    assert example(ExampleEvidence(2, error="timeout", scored=False)).outcome is Outcome.FAIL
    absent = example(ExampleEvidence(None))
    assert (absent.outcome, absent.evidence["blocking"]) == (Outcome.INCONCLUSIVE, False)


def test_latency_is_judged_by_the_99th_percentile() -> None:
    quick = [0.002] * 99
    assert latency(LatencyEvidence([*quick, 5.0], 100, 250)).outcome is Outcome.PASS
    slow = latency(LatencyEvidence([*quick, 0.15, 0.15], 100, 250))
    assert (slow.outcome, slow.evidence["p99_ms"]) == (Outcome.FAIL, 150.0)
    assert "over the budget of 100 ms" in slow.summary


@pytest.mark.parametrize(("seconds", "needed"), [(0.3, 450), (0.251, 380), (1.234, 1900), (0.0007, 2)])
def test_a_model_slower_than_its_timeout_is_told_which_one_it_needs(seconds: float, needed: int) -> None:
    found = latency(LatencyEvidence([seconds] * 100, 5_000, 1000 * seconds / 2))
    assert (found.outcome, found.evidence["needed_timeout_ms"]) == (Outcome.FAIL, needed)
    assert f"over the timeout of {500 * seconds:g} ms. The model needs `serving.timeout: {needed}ms` or more." in (
        found.summary
    )
    assert latency(LatencyEvidence([seconds] * 100, 5_000, needed)).outcome is Outcome.PASS


def test_a_model_that_is_over_its_budget_as_well_is_told_both() -> None:
    found = latency(LatencyEvidence([0.3] * 100, 100, 250))
    assert "`serving.timeout: 450ms` or more, and `gates.latency_p99: 450ms`." in found.summary


@pytest.mark.parametrize(
    ("alone", "eight", "many", "said"),
    [
        (
            0.005,
            0.0052,
            0.0065,
            "would help where many requests arrive at once: 1 row 5 ms, 8 rows 5.2 ms, 64 rows 6.5 ms; 64",
        ),
        (
            0.005,
            0.008,
            0.300,
            "would help where many requests arrive at once: 1 row 5 ms, 8 rows 8 ms, 64 rows 300 ms; 8",
        ),
        (0.200, 0.250, 1.234, "1 row 200 ms, 8 rows 250 ms, 64 rows 1,234 ms; 64"),
        (0.005, 0.040, 0.320, "batching would not help"),
        (0.0001, 0.0001, 0.0001, "batching would not help"),
    ],
)
def test_a_slow_model_is_told_whether_batching_would_help(alone: float, eight: float, many: float, said: str) -> None:
    found = latency(LatencyEvidence([alone] * 100, 100, 250, {8: [eight] * 3, 64: [many] * 3}))
    assert said in found.evidence["batching"]
    assert "batching" not in latency(LatencyEvidence([alone] * 100, 100, 250)).evidence


def test_too_few_timed_requests_decide_nothing() -> None:
    assert latency(LatencyEvidence([0.001] * 29, 100, 250)).evidence["blocking"] is True
    assert latency(LatencyEvidence([], 100, 250)).evidence["blocking"] is False


def test_memory_is_held_against_its_budget() -> None:
    assert memory(MemoryEvidence(2**28, 2**31)).outcome is Outcome.PASS
    assert memory(MemoryEvidence(2**32, 2**31)).summary == "4,096 MiB, over the budget of 2,048 MiB."
    assert memory(MemoryEvidence(2**32, None)).outcome is Outcome.PASS
    assert memory(MemoryEvidence(None, 2**31)).outcome is Outcome.INCONCLUSIVE
