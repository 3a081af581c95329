"""The cluster of the tests in this directory, and a namespace for each module of them.

SERINUS_KUBECONFIG and SERINUS_REGISTRY name any cluster and its registry. Without them it is the lab of this machine,
which root starts where it does not run, and ends afterwards.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clusters import Cluster, foreign, of_the_lab
from released import Released

from clusterlab import LabError, building, image, lifecycle
from clusterlab.modules import program
from serinus.core.home import Home
from serinus.targets.kubernetes.images import Place, Reference, debian
from serinus.targets.kubernetes.images.registry import DockerConfig, Registries
from serinus.wiring.gateways import push_gateway_image


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    named = os.environ.get("SERINUS_KUBECONFIG")
    if named:
        yield foreign(named)
        return
    try:
        with lifecycle.running(print) as told, pytest.MonkeyPatch.context() as environment:
            for name in lifecycle.proxies():
                environment.delenv(name)
            built = program("kubectl")
            yield of_the_lab(told, str(built) if built.exists() else "kubectl")
    except LabError as error:
        pytest.fail(f"{error}\nSERINUS_KUBECONFIG and SERINUS_REGISTRY name another cluster.")


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """Of the module alone, under the restricted Pod Security Standard; removed at the end with all in it."""
    module = request.path.stem.removeprefix("test_cluster_")
    name = f"test-{re.sub('[^a-z0-9]+', '-', module.lower())}-{os.getpid()}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.apply("default", document)
    yield name
    cluster.kubectl("delete", "namespace", name, "--timeout=150s", seconds=160)


@pytest.fixture
def without_files(released: Released) -> Iterator[Callable[[], None]]:
    """Takes the files of the model of the module's `released` away, until the test ends."""
    with released.without_files() as take_away:
        yield take_away


@pytest.fixture(scope="session")
def gateway_image(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The kubelet pulls it by its digest."""
    registries = Registries(DockerConfig(), plain=[cluster.registry])
    base = debian.push(registries.of(cluster.registry), "serinus/base", None)
    place = Place(Reference.parse(f"{cluster.registry}/serinus"), base)
    prefix = next(Path("~/.pyenv/versions").expanduser().glob("3.11.*"), None)
    if prefix is None:
        pytest.skip("there is no relocatable Python 3.11 in ~/.pyenv/versions")
    home = Home(tmp_path_factory.mktemp("home"))
    return str(push_gateway_image(home, registries.of, place, prefix))


@pytest.fixture(scope="session")
def answer_image(cluster: Cluster) -> str:
    """An image that answers with the name of its pod, at port 8080; `clusterlab/go/pods/answer` says what else."""
    building.build(print)
    return image.push(cluster.registry, "answer", program("answer"), plain=cluster.plain)
