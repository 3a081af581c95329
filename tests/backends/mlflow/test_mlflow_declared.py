"""Which packages are taken where a model's files say different things, or things of another packaging world."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from serinus.backends.mlflow.artifact import read_artifact
from serinus.backends.mlflow.conda import python_packages
from serinus.backends.mlflow.files import take_inventory
from serinus.core.errors import Unbuildable
from serinus.core.release import Artifact

Make = Callable[..., Path]


def read(root: Path, *indexes: str) -> Artifact:
    return read_artifact(root, take_inventory(root), indexes)


def conda(*entries: object) -> str:
    return yaml.safe_dump({"name": "e", "dependencies": list(entries)})


# --- several files ----------------------------------------------------------------------------------------


def test_pins_of_conda_count_beside_a_python_env_that_does_not_have_them(make_artifact: Make) -> None:
    files = {
        "conda.yaml": conda("python=3.11", "pip", "scikit-learn=1.5.2", "pandas=2.2.3", {"pip": ["mlflow==3.17.2"]}),
        "requirements.txt": "mlflow==3.17.2\n",
    }
    artifact = read(make_artifact(files))
    assert set(artifact.requirements.packages) == {"mlflow==3.17.2", "scikit-learn==1.5.2.*", "pandas==2.2.3.*"}
    assert artifact.requirements.alternatives == ()
    assert artifact.requirements.source == "python_env.yaml and conda.yaml"
    assert any("'pandas=2.2.3' is taken from PyPI, as pandas==2.2.3.*" in note for note in artifact.warnings)


def test_what_only_requirements_txt_names_is_taken_too(make_artifact: Make) -> None:
    env = "python: 3.11.7\ndependencies: [mlflow==2.9.2]\n"
    artifact = read(make_artifact({"python_env.yaml": env}))
    assert artifact.requirements.packages == ("mlflow==2.9.2", "scikit-learn==1.3.2")


def test_where_files_disagree_mlmodels_version_is_tried_first_then_each_file(make_artifact: Make) -> None:
    files = {
        "python_env.yaml": "python: 3.11.7\ndependencies: [scikit-learn==1.3.2, numpy==1.26.4]\n",
        "conda.yaml": conda({"pip": ["scikit-learn==1.5.2"]}),
        "requirements.txt": "scikit-learn==1.4.0\n",
    }
    flavors = {
        "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl"},
        "sklearn": {"sklearn_version": "1.5.2"},
    }
    artifact = read(make_artifact(files, top={"flavors": flavors}))
    asked = artifact.requirements
    listed = [asked.packages, *(one.packages for one in asked.alternatives)]
    pins = [next(line for line in packages if "learn" in line) for packages in listed]
    assert pins == ["scikit-learn==1.5.2", "scikit-learn==1.3.2", "scikit-learn==1.4.0"]
    assert "with the versions in MLmodel" in asked.source
    assert [one.source for one in asked.alternatives] == ["python_env.yaml", "requirements.txt and python_env.yaml"]
    assert any("disagree about scikit-learn" in note for note in artifact.warnings)


def test_a_line_without_a_version_disagrees_with_none(make_artifact: Make) -> None:
    files = {
        "python_env.yaml": "python: 3.11.7\ndependencies: [scikit-learn==1.3.2]\n",
        "requirements.txt": "Scikit_Learn\n",
    }
    assert not any("disagree" in note for note in read(make_artifact(files)).warnings)


@pytest.mark.parametrize(
    ("line", "said", "first"),
    [
        ("torch", "2.1.0+cpu", "torch==2.1.0"),
        ("torch>=2,<3 ; python_version >= '3.8'", "2.1.0", "torch==2.1.0 ; python_version >= '3.8'"),
        ("torch==2.1.0.*", "2.1.0", "torch==2.1.0.*"),
        ("torch[opt]>=2", "2.1.0", "torch[opt]==2.1.0"),
        ("torch @ https://host/torch-2.2.0.whl", "2.1.0", "torch @ https://host/torch-2.2.0.whl"),
        ("torch==2.2.0 --hash=sha256:aa", "2.1.0", "torch==2.2.0 --hash=sha256:aa"),
        ("torch==2.2.0", "2.1.0 --index-url http://evil", "torch==2.2.0"),
    ],
)
def test_a_version_in_mlmodel_goes_before_the_files(make_artifact: Make, line: str, said: str, first: str) -> None:
    flavors = {"python_function": {"loader_module": "mlflow.pytorch"}, "pytorch": {"pytorch_version": said}}
    artifact = read(make_artifact({"requirements.txt": line}, top={"flavors": flavors}))
    assert artifact.requirements.packages == (first,)
    others = [one.packages for one in artifact.requirements.alternatives]
    assert others == ([] if line == first else [(line,)])


@pytest.mark.parametrize(("logged", "taken"), [("3.9.2", "3.9.18"), ("3.11.7", "3.11.7"), ("3.12.1", "3.11.7")])
def test_of_several_versions_of_python_the_one_in_mlmodel_is_taken_and_told(
    make_artifact: Make, logged: str, taken: str
) -> None:
    files = {
        "python_env.yaml": "python: 3.11.7\ndependencies: [-r requirements.txt]\n",
        "conda.yaml": conda("python=3.9.18"),
        "requirements.txt": "mlflow==2.9.2\n",
    }
    artifact = read(make_artifact(files, flavor={"python_version": logged}))
    assert artifact.requirements.python == taken
    [note] = [one for one in artifact.warnings if "about python" in one]
    assert "3.11.7 in python_env.yaml, 3.9.18 in conda.yaml" in note
    assert note.endswith(f"{taken} is taken")


# --- conda's world ----------------------------------------------------------------------------------------

EXPORT = """
_libgcc_mutex=0.1=conda_forge _openmp_mutex=4.5=2_gnu bzip2=1.0.8=hd590300_5
ca-certificates=2024.2.2=hbcca054_0
ld_impl_linux-64=2.40=h41732ed_0 libffi=3.4.2=h7f98852_5 libblas=3.9.0=21_linux64_openblas ncurses=6.4=h59595ed_2
openssl=3.2.1=hd590300_0 pip=24.0=pyhd8ed1ab_0 python=3.11.7=hab00c5b_1_cpython python_abi=3.11=4_cp311
readline=8.2=h8228510_1 tk=8.6.13=noxft_h4845f30_101 tzdata=2024a=h0c530f3_0 xz=5.2.6=h166bdaf_0 zlib=1.2.13=hd590300_5
sqlite=3.45.1=h2c6b66d_0 blas=1.0=mkl cpuonly=2.0=0 pytorch-mutex=1.0=cpu redis=7.2=h1 graphviz=9.0=h78e8752_1
mkl=2023.1.0=h213fc3f_46344 r-base=4.3.1=h1 nodejs=20=hb753e55_0 librdkafka=2.3=h1
"""
PYTHON = {
    "numpy=1.26.4=py311h64a7726_0": "numpy==1.26.4",
    "numpy-base=1.26.4=py311hf175353_0": "numpy==1.26.4",
    "matplotlib-base=3.8.2=py311h54ef318_0": "matplotlib==3.8.2",
    "pytorch=2.1.0=py3.11_cpu_0": "torch==2.1.0",
    "pytorch=2.1.2=cuda118_py311h8c1a5f8_300": "torch==2.1.2",
    "py-xgboost=2.0.3=cpu_pyh58b54a9_3": "xgboost==2.0.3",
    "click=8.1.7=unix_pyh707e725_0": "click==8.1.7",
    "librosa=0.10.1=pyhd8ed1ab_0": "librosa==0.10.1",
    "libpysal=4.9.2=pyhd8ed1ab_0": "libpysal==4.9.2",
    "some-new-thing=1.0=py_0": "some-new-thing==1.0",
    "opencv=4.8.0=py311h1": "opencv-python-headless==4.8.0.*",
}


def test_of_an_export_the_build_string_tells_what_is_a_python_package() -> None:
    found = python_packages(EXPORT.split(), [], "conda.yaml")
    assert found.lines == {}
    assert found.python == "3.11.7"
    left_out = next(note for note in found.notes if "not a Python package" in note)
    named = set(re.findall(r"[\w-]+", left_out))
    assert {entry.partition("=")[0] for entry in EXPORT.split()} - named == {"pip", "python"}


@pytest.mark.parametrize(("entry", "line"), PYTHON.items())
def test_of_an_export_python_packages_are_taken_by_their_names_on_pypi(entry: str, line: str) -> None:
    assert list(python_packages([entry], [], "conda.yaml").lines.values()) == [line]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("scikit-learn=1.5.2", "scikit-learn==1.5.2.*"),
        ("librosa", "librosa"),
        ("libpysal>=4", "libpysal>=4"),
        ("conda-forge::pandas==2.1.0", "pandas==2.1.0"),
        ("conda-forge/linux-64::pandas==2.1.0", "pandas==2.1.0"),
        ("numpy 1.26.4 py311h64a7726_0", "numpy==1.26.4"),
        ("numpy 1.26.*", "numpy==1.26.*"),
        ("numpy[version='1.26.*',build=py311*]", "numpy==1.26.*"),
        ("pytorch>=2.0, <3", "torch>=2.0,<3"),
        ("numpy >=1.20|<1.10", "numpy"),
        ("scikit-learn[version='>=1.5,<2']", "scikit-learn>=1.5,<2"),
        ('scikit-learn[version=">=1.5,<2",build="py311*"]', "scikit-learn>=1.5,<2"),
        ("numpy[version=1.26.4]", "numpy==1.26.4"),
        ("pytorch=2.1.0=*cuda*", "torch==2.1.0"),
        ("pytorch=*=*cuda*", "torch"),
        ("https://conda.example.org/t/key/team/linux-64/numpy-1.26.4-py311h64a7726_0.conda#0a1b", "numpy==1.26.4"),
    ],
)
def test_without_a_build_string_known_names_are_taken(entry: str, line: str) -> None:
    assert list(python_packages([entry], [], "conda.yaml").lines.values()) == [line]


@pytest.mark.parametrize(
    "entry",
    ["bzip2=1.0.8", "sqlite", "tk", "readline", "redis", "graphviz", "some-new-thing=1", "some-new-thing=1=*cuda*"],
)
def test_without_a_build_string_no_unknown_name_is_asked_of_the_index(entry: str) -> None:
    found = python_packages([entry], [], "conda.yaml")
    assert found.lines == {}
    assert any(f"left out {entry.partition('=')[0]}" in note for note in found.notes)


@pytest.mark.parametrize(
    "entry",
    [
        "https://conda.example.org/t/s3cret/team::numpy=1.26.4",
        "https://user:s3cret@conda.example.org/team::strange=1",
        "https://user:s3cret@conda.example.org/team/linux-64/numpy-1.26.4-py311.tar.bz2",
        "https://conda.example.org/t/s3cret/team/linux-64/numpy-1.26.4-py311.conda#s3cret",
    ],
)
def test_no_token_of_a_channel_is_told(entry: str) -> None:
    found = python_packages([entry, "r-base", "numpy<2 | s"], [], "conda.yaml")
    assert "s3cret" not in str(found)
    assert len(found.notes) >= 2


def test_what_pip_requires_too_is_pips(make_artifact: Make) -> None:
    files = {"conda.yaml": conda("some_new.thing=1", "numpy=1.0", {"pip": ["Some-New-Thing==2", "numpy==1.26.4"]})}
    root = make_artifact({**files, "python_env.yaml": None, "requirements.txt": None})
    assert read(root).requirements.packages == ("Some-New-Thing==2", "numpy==1.26.4")


# --- addresses --------------------------------------------------------------------------------------------

SECRETS = [
    "--extra-index-url https://user:s3cret@pypi.example.invalid/simple",
    "--extra-index-url=https://user:s3cret@pypi.example.invalid/simple",
    "-i https://s3cret@pypi.example.invalid/simple",
    "--index-url https://pypi.example.invalid/s3cret/simple",
    "-f https://user:p@s3cret@pypi.example.invalid/wheels",
    "--find-links https://pypi.example.invalid/wheels?token=s3cret",
    "--trusted-host s3cret.example.invalid",
    "--proxy http://user:s3cret@proxy:80",
    "--index-url https://${USER}:${s3cret}@pypi.example.invalid/simple",
    "lib @ https://user:s3cret@host.example/lib-1-py3-none-any.whl",
    "lib @ https://host.example/lib-1-py3-none-any.whl?X-Amz-Signature=s3cret&a=b",
    "lib @ git+https://s3cret@host.example/lib@v1#egg=lib",
    "lib@git+https://user:s3cret@host.example/lib@v1#token=s3cret&egg=lib",
    "git+ssh://user:s3cret@host.example/lib@v1",
    "lib @ https://${s3cret}@host.example/lib-1-py3-none-any.whl ; python_version > '3'",
]


@pytest.mark.parametrize("line", SECRETS)
@pytest.mark.parametrize("file", ["requirements.txt", "conda.yaml"])
def test_no_credentials_leave_the_files(make_artifact: Make, line: str, file: str) -> None:
    text = conda({"pip": ["mlflow==2.9.2", line]}) if file == "conda.yaml" else f"mlflow==2.9.2\n{line}\n"
    artifact = read(make_artifact({file: text}))
    assert "s3cret" not in str(artifact)
    assert any("left out" in note for note in artifact.warnings)


def test_what_is_no_secret_of_an_address_stays(make_artifact: Make) -> None:
    lines = (
        "lib @ git+ssh://git@host.example/team/lib@v1#subdirectory=x",
        "other @ https://host.example/other-1-py3-none-any.whl#sha256=aa",
    )
    artifact = read(make_artifact({"requirements.txt": "\n".join(lines)}))
    assert artifact.requirements.packages == lines
    assert artifact.warnings == ()


def test_only_allowed_indexes_are_followed_and_without_what_the_model_says_of_credentials(make_artifact: Make) -> None:
    text = (
        "--extra-index-url https://anna:pw@pypi.example.org/simple/\n--index-url https://evil.example.org/simple\nlib\n"
    )
    artifact = read(make_artifact({"requirements.txt": text}), "https://bot:token@PYPI.example.org/simple")
    assert artifact.requirements.packages == ("--extra-index-url https://pypi.example.org/simple/", "lib")
    assert [note for note in artifact.warnings if "--index-url for evil.example.org" in note]


@pytest.mark.parametrize("line", ["numpy==${VERSION}", "lib @ https://${HOST}/lib-1-py3-none-any.whl", "${NAME}"])
def test_no_variable_is_read(make_artifact: Make, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERSION", "1.26.4")
    with pytest.raises(Unbuildable, match=r"names the environment variable \$\{"):
        read(make_artifact({"requirements.txt": line}))


@pytest.mark.parametrize(
    "content", ["--index-url https://evil/simple\n", "numpy==${V}\n", "lib @ https://u:p@host/x\n"]
)
def test_a_constraints_file_holds_constraints_alone(make_artifact: Make, content: str) -> None:
    with pytest.raises(Unbuildable, match=r"constraints\.txt in the artifact holds more than constraints") as refusal:
        read(make_artifact({"requirements.txt": "-c constraints.txt\nlib\n", "constraints.txt": content}))
    assert "u:p" not in str(refusal.value)


# --- files that were lost ---------------------------------------------------------------------------------


def binary(root: Path, name: str, content: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def tensorflow(root: Path, *names: str) -> Path:
    for name in names:
        binary(root, f"data/model/{name}", b"x")
    return root


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("model.pkl", b"", "model.pkl is empty"),
        ("model.pkl", b"\x80\x05", "a pickle of 2 bytes"),
        ("model.pkl", b"\x80\x05\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c", "cut off: the pickle ends too early"),
        ("model.pkl", b"PK\x03\x04" + b"x" * 100, "the directory of the zip archive is missing"),
        ("artifacts/encoder.joblib", b"", "artifacts/encoder.joblib is empty"),
        ("model.pkl", b"<html>404 Not Found</html>", "model.pkl is text instead of a pickle"),
        ("model.pkl", b'{"error": "expired"}.', "model.pkl is text instead of a pickle"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_whole_is_found_before_anything_is_built(
    make_artifact: Make, name: str, content: bytes, why: str
) -> None:
    root = make_artifact()
    binary(root, name, content)
    with pytest.raises(Unbuildable, match=why):
        read(root)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("packed", [bytes, gzip.compress, zlib.compress, bz2.compress, lzma.compress])
def test_a_pickle_of_any_protocol_and_packing_is_whole(
    make_artifact: Make, protocol: int, packed: Callable[[bytes], bytes]
) -> None:
    root = make_artifact()
    binary(root, "model.pkl", packed(pickle.dumps({"a": [1.5, "x", None], "b": {2, 3}}, protocol)))
    assert read(root)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["saved_model.pb", "fingerprint.pb"], r"data/model/variables/variables\.index is missing"),
        (["saved_model.pb", "variables/variables.data-00000-of-00001"], r"variables\.index is missing"),
        (["saved_model.pb", "variables/variables.index"], r"data/model/variables has no variables\.data"),
        (
            ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00002"],
            r"variables\.data-00001-of-00002 is missing",
        ),
        (["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"], "model-00002-of-00003"),
    ],
)
def test_files_that_belong_together_are_all_there(make_artifact: Make, names: Sequence[str], why: str) -> None:
    root = tensorflow(make_artifact(flavor={"data": "data"}), *names)
    with pytest.raises(Unbuildable, match=why):
        read(root)


def test_a_whole_savedmodel_is_taken(make_artifact: Make) -> None:
    names = ("saved_model.pb", "fingerprint.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
    root = tensorflow(make_artifact(flavor={"data": "data"}), *names)
    assert read(root).digest == take_inventory(root).digest


def test_a_file_that_the_librarys_flavour_names_is_looked_for(make_artifact: Make) -> None:
    flavors = {
        "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl"},
        "sklearn": {"pickled_model": "gone.pkl"},
    }
    with pytest.raises(Unbuildable, match=r"pickled_model: gone\.pkl"):
        read(make_artifact(top={"flavors": flavors}))
