"""What a pod is told is read as it stands, and a mistake in it is said with its place and without its value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serinus_runtime.pod.processors import processors
from serinus_runtime.pod.release import InvalidRelease, read

GOOD: dict[str, Any] = {"release": "fraud-1-abc123", "model": "fraud", "version": "1"}
COLLECTORS = {
    "addresses": ["collector.test:7443", "[::1]:7"],
    "name": "collector.test",
    "authority": "/a",
    "token": "/t",
}


def told(**more: Any) -> dict[str, str]:
    return {"SERINUS_RELEASE": json.dumps({**GOOD, **more})}


def test_what_is_not_said_has_its_default() -> None:
    release = read(told())
    assert (release.workers, release.http_port, release.health_port) == (None, 8080, 8081)
    assert release.paths.artifact == Path("/opt/model")
    assert release.settings.timeout_ms == 250


def test_settings_are_those_of_a_worker_and_the_memory_limit_is_one_of_them() -> None:
    cache = {"max_bytes": 1000, "ttl_seconds": 2}
    release = read(
        told(settings={"timeout_ms": 40, "cache": cache, "protocols": ["invocations"]}, memory_limit_bytes=9)
    )
    assert release.settings.timeout_ms == 40
    assert release.settings.cache.ttl_seconds == 2
    assert release.settings.memory_limit_bytes == release.memory_limit_bytes == 9


def test_with_collectors_a_release_may_insist_on_being_recorded() -> None:
    release = read(told(collectors=COLLECTORS, settings={"unlogged": "refuse"}))
    assert release.collectors.addresses == [("collector.test", 7443), ("::1", 7)]
    assert release.collectors.token == Path("/t")


def test_fields_that_are_not_known_are_named_and_passed_over() -> None:
    release = read(
        told(collectors=[], colours=[], settings={"colour": 1, "cache": {"max_bytes": 1, "ttl_seconds": 1, "x": 1}})
    )
    assert sorted(release.unknown) == ["colours", "settings.cache.x", "settings.colour"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"workers": 0}, "workers must be a whole number from 1 to 64, or null"),
        ({"workers": True}, "workers must be"),
        ({"workers": "s3cr3t"}, "workers must be"),
        ({"release": "a b"}, "release must be a string of 1 to 253 characters without blanks"),
        ({"model": ""}, "model must be"),
        ({"version": 1}, "version must be"),
        ({"digest": "s3cr3t"}, "digest must be 64 hexadecimal digits, or null"),
        ({"memory_limit_bytes": -1}, "memory_limit_bytes must be a positive number of bytes, or null"),
        ({"confinement": "s3cr3t"}, "confinement must be one of if-available, required"),
        ({"drain_seconds": float("nan")}, "drain_seconds must be a number of seconds from 0 to 86400"),
        ({"hang_seconds": 4}, "hang_seconds must be a number of seconds from 5 to 86400"),
        ({"http_port": 65536}, "http_port must be a port"),
        ({"paths": {"scratch": "s3cr3t"}}, "paths.scratch must be an absolute path"),
        ({"paths": []}, "paths must be an object"),
        ({"settings": []}, "settings must be an object"),
        ({"settings": {"timeout_ms": 0}}, "settings.timeout_ms must be a whole number of milliseconds from 1 on"),
        ({"settings": {"rows": "s3cr3t"}}, "settings.rows must be one of each, together"),
        ({"settings": {"protocols": []}}, "settings.protocols must be a list of open-inference, invocations"),
        ({"settings": {"cache": {"max_bytes": 1}}}, "settings.cache needs max_bytes and ttl_seconds"),
        ({"settings": {"cache": {"max_bytes": 1, "ttl_seconds": "s3cr3t"}}}, "settings.cache.ttl_seconds must be"),
        ({"collectors": {**COLLECTORS, "addresses": []}}, "collectors.addresses must be a list of host:port"),
        ({"collectors": {**COLLECTORS, "addresses": ["s3cr3t"]}}, "collectors.addresses must be a list of host:port"),
        ({"collectors": {**COLLECTORS, "addresses": ["h:99999"]}}, "collectors.addresses must be a list of host:port"),
        ({"collectors": {**COLLECTORS, "token": "s3cr3t"}}, "collectors.token must be an absolute path"),
        ({"collectors": {"name": "x"}}, "collectors has no field addresses"),
        ({"collectors": "s3cr3t"}, "collectors must be an object"),
        ({"settings": {"unlogged": "refuse"}}, "settings.unlogged is refuse, but there are no collectors"),
    ],
)
def test_a_mistake_is_said_with_its_place_and_without_its_value(more: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRelease) as refused:
        read(told(**more))
    assert said in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "the variable SERINUS_RELEASE is not set"),
        ("", "the variable SERINUS_RELEASE is not set"),
        ('{"release": s3cr3t}', "SERINUS_RELEASE is not JSON (line 1, column 13)"),
        ("[" * 100_000, "SERINUS_RELEASE is not JSON"),
        ("[]", "SERINUS_RELEASE is not a JSON object"),
        ('{"release": "a", "model": "b"}', "SERINUS_RELEASE has no field version"),
    ],
)
def test_what_is_no_release_is_refused(text: str | None, said: str) -> None:
    with pytest.raises(InvalidRelease) as refused:
        read({} if text is None else {"SERINUS_RELEASE": text})
    assert str(refused.value).startswith(said)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu,cpuacct/cpu.cfs_quota_us": "300000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"cpu.max": "nonsense\n"}, 64),
        ({}, 64),
    ],
)
def test_the_limit_of_processors_is_rounded_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], limit: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert processors(tmp_path) == limit


def test_there_are_no_more_workers_than_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("800000 100000")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    assert processors(tmp_path) == 2
