"""The objects of a question, against a file that a person has read, and against what Kubernetes takes."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import strict
import yaml
from serinus_runtime.pod import posed

from serinus.core.errors import Unbuildable
from serinus.targets.kubernetes.jobs import JobSettings, manifests
from serinus.targets.kubernetes.jobs.posing import Posed, pose
from serinus.targets.kubernetes.manifests import rendered
from serinus.targets.trials import Question

GOLDEN = Path(__file__).with_name("golden") / "question.yaml"
IMAGE = "registry.example.org/serinus/trials@sha256:" + "e" * 64
NAME = "serinus-trial-0a1b2c3d4e5f6071"
QUESTION = Question(
    "trials.reference",
    "a" * 64,
    "b" * 64,
    {"score_output": "fraud"},
    {"rows": {"rows": [[1.0]]}},
    {"compiled": {"model.onnx": b"\0\1"}},
    "out",
)
POSED = Posed((b"first", b"second"), "d" * 64, b"k" * 32)
SETTINGS = JobSettings("team-a", owner="serinus-1", pull_secrets=("registry",))


def objects(settings: JobSettings = SETTINGS) -> list[dict[str, Any]]:
    return [
        manifests.network_policy(settings),
        manifests.job(NAME, "trials.reference", IMAGE, "asker", POSED, settings),
        *manifests.question(NAME, "uid-1", POSED, settings),
    ]


def pod(settings: JobSettings = SETTINGS) -> dict[str, Any]:
    found: dict[str, Any] = objects(settings)[1]["spec"]["template"]["spec"]
    return found


def test_all_objects_of_a_question_are_those_of_the_golden_file() -> None:
    """Made anew by removing the file and running the test twice; read what has changed."""
    text = rendered(objects())
    if not GOLDEN.exists():
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text)
        pytest.fail(f"{GOLDEN} was not there and has been written")
    assert text == GOLDEN.read_text()
    assert list(yaml.safe_load_all(text)) == objects()


@pytest.mark.parametrize("version", strict.VERSIONS)
def test_kubernetes_takes_every_manifest(version: str) -> None:
    for one in (*objects(), *objects(JobSettings())):
        assert strict.mistakes(one, version) == []


def test_a_pod_has_no_right_and_no_way_out() -> None:
    spec, (container,) = pod(), pod()["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    policy, labels = manifests.network_policy(SETTINGS)["spec"], objects()[1]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & policy.keys()


def test_a_job_is_tried_once_and_ends() -> None:
    spec = objects()[1]["spec"]
    assert (spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"]) == (0, "Never")
    assert spec["activeDeadlineSeconds"] == 600 + 120 + 60
    assert spec["ttlSecondsAfterFinished"] == 300


def test_the_pod_gets_what_the_settings_say() -> None:
    settings = JobSettings(processors=2, requested_share=0.25, memory_bytes=3 << 30, scratch_bytes=1 << 30)
    (container,) = pod(settings)["containers"]
    assert container["resources"] == {
        "limits": {"cpu": "2", "memory": "3Gi"},
        "requests": {"cpu": "500m", "memory": "3Gi"},
    }
    assert pod(settings)["volumes"][0]["emptyDir"] == {"sizeLimit": "1280Mi"}


def test_a_question_goes_with_its_job_and_its_key_is_in_no_other_object() -> None:
    policy, job, *secrets = objects()
    assert [one["metadata"]["ownerReferences"][0]["uid"] for one in secrets] == ["uid-1", "uid-1"]
    data = {name: base64.b64decode(value) for one in secrets for name, value in one["data"].items()}
    assert data == {"part-0": b"first", "part-1": b"second", "key": b"k" * 32}
    sources = pod()["volumes"][1]["projected"]["sources"]
    assert [one["secret"]["name"] for one in sources] == [one["metadata"]["name"] for one in secrets]
    assert base64.b64encode(POSED.key).decode() not in json.dumps([policy, job])


def test_a_question_is_posed_so_that_the_runtime_reads_it(tmp_path: Path) -> None:
    made = pose(QUESTION, JobSettings(seconds=7, memory_bytes=1 << 30, confinement="required"))
    for number, part in enumerate(made.parts):
        (tmp_path / posed.part(number)).write_bytes(part)
    (tmp_path / posed.KEY).write_bytes(made.key)
    told = {"parts": len(made.parts), "sha256": made.digest, "paths": {"question": str(tmp_path)}}
    read = posed.read({posed.VARIABLE: json.dumps(told)})
    assert (read.module, read.files, read.confinement) == ("trials.reference", {"rows": {"rows": [[1.0]]}}, "required")
    assert read.config == {"rows": None, "score_output": "fraud"}
    assert (read.directories, read.returned) == ({"compiled": {"model.onnx": "AAE="}}, "out")
    assert (read.limits.seconds, read.key) == (7, made.key)
    assert 0 < read.limits.memory_bytes < 1 << 30
    assert pose(QUESTION, JobSettings()).key != made.key


def test_a_large_question_is_sent_in_parts_and_a_larger_one_refused_in_words() -> None:
    small, large, larger = (pose_of(size) for size in (1 << 10, 2 << 20, 15 << 20))
    assert len(small().parts) == 1
    assert len(large().parts) > 2
    assert max(map(len, large().parts)) <= 768 << 10
    with pytest.raises(Unbuildable, match=r"it has 15 MiB when it is compressed, of 12\. Log fewer rows"):
        larger()
    with pytest.raises(Unbuildable, match=r"too large .*: it has 65 MiB of 64\. Log fewer rows"):
        pose(replace(QUESTION, files={"rows": {"text": "x" * (65 << 20)}}), JobSettings())


def pose_of(size: int) -> Callable[[], Posed]:
    """Poses a question of so many bytes that cannot be compressed."""
    text = base64.b64encode(os.urandom(size)).decode()
    return lambda: pose(replace(QUESTION, files={"rows": {"text": text}}), JobSettings())


@pytest.mark.parametrize(
    "wrong",
    [{"processors": 0}, {"requested_share": 2}, {"seconds": 0}, {"memory_bytes": 1 << 20}, {"start_seconds": 0}],
)
def test_settings_without_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="jobs: "):
        JobSettings(**wrong)
