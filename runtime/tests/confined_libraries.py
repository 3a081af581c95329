"""What models' libraries do with several threads. As `confined_standard`."""

import asyncio


def _rows():
    import numpy as np

    rows = np.random.default_rng(0).normal(size=(2000, 8))
    return rows, (rows[:, 0] > 0).astype(int)


def blas():
    import numpy as np

    assert (np.eye(600) @ np.eye(600)).sum() == 600


def xgboost_with_openmp():
    import xgboost

    rows, labels = _rows()
    assert xgboost.XGBClassifier(n_estimators=9, n_jobs=4).fit(rows, labels).predict(rows).shape == (2000,)


def lightgbm_with_openmp():
    import lightgbm

    rows, labels = _rows()
    model = lightgbm.LGBMClassifier(n_estimators=9, n_jobs=4, verbose=-1).fit(rows, labels)
    assert model.predict(rows).shape == (2000,)


def a_forest_with_threads():
    from sklearn.ensemble import RandomForestClassifier

    rows, labels = _rows()
    assert RandomForestClassifier(9, n_jobs=4).fit(rows, labels).predict(rows).shape == (2000,)


def joblib_with_threads():
    import joblib

    assert joblib.Parallel(4, prefer="threads")(joblib.delayed(abs)(-n) for n in range(3)) == [0, 1, 2]


def the_cache_of_joblib():
    import joblib

    assert joblib.Memory("kept", verbose=0).cache(len)([1]) == 1


def pandas_and_arrow():
    import pandas as pd

    pd.DataFrame({"a": [1, 2]}).to_parquet("pandas.parquet")
    assert pd.read_parquet("pandas.parquet").a.sum() == 3


def polars():
    import polars as pl

    pl.DataFrame({"a": [1, 2]}).write_parquet("polars.parquet")
    assert pl.scan_parquet("polars.parquet").sum().collect().item() == 3


def uvloop():
    import uvloop

    assert uvloop.run(asyncio.sleep(0, 3)) == 3


def onnx_runtime_with_threads():
    import numpy as np
    import onnxruntime
    from onnx import helper

    given, answer = (helper.make_tensor_value_info(name, 1, [None]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubles", [given], [answer])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    assert session.run(None, {"x": np.ones(3, "f4")})[0].tolist() == [2.0, 2.0, 2.0]
