"""Brings releases into the cluster by way of the fleet repository."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

import yaml

from serinus.core.errors import NotFound, Refused, SerinusError, TemporaryError, Unavailable
from serinus.core.release import Release
from serinus.lib.backoff import Backoff
from serinus.targets.kubernetes.cluster import Cluster, Mirror, Object
from serinus.targets.kubernetes.cluster.kinds import APPLICATION, APPLICATION_SET, DEPLOYMENT
from serinus.targets.kubernetes.gitops import words
from serinus.targets.kubernetes.gitops.manifests import (
    CLUSTER_LABEL,
    DEPLOYMENT_FILE,
    DIGEST,
    application_set,
    files_of,
    project,
)
from serinus.targets.kubernetes.gitops.settings import GitOps
from serinus.targets.kubernetes.manifests import Manifest, object_name

log = logging.getLogger(__name__)

_REFRESH = "argocd.argoproj.io/refresh"
_REFRESH_SET = "argocd.argoproj.io/application-set-refresh"
_LOOKED_AT_AGAIN = 30.0
"""The time, in seconds, after which what Argo CD has not applied is compared with Git again, and Argo CD told again."""
_LONGEST_PAUSE = 60.0


class Rendered(Protocol):
    """The manifests of releases in the fleet repository. Implementation: backends/git.

    Those that write return the newest commit, and raise a SerinusError where nothing was committed.
    """

    def write(self, model: str, release: str, files: Mapping[str, str]) -> str:
        """Makes the folder of a release hold these files and no others."""
        ...

    def remove(self, releases: Collection[str]) -> str:
        """Removes the folders of these releases."""
        ...

    def read(self, name: str) -> Mapping[str, str]:
        """Returns the file of this name of each release, by its path. Raises a SerinusError."""
        ...


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Of one release; without files it is to go."""

    model: str
    files: Mapping[str, str]


class GitApplier:
    """Commits manifests in a thread of its own, so that nobody waits for a Git server. Implements `Applier`."""

    def __init__(self, cluster: Cluster, rendered: Rendered, gitops: GitOps, namespace: str) -> None:
        """`namespace`: of releases."""
        self._cluster, self._rendered = cluster, rendered
        self._gitops, self._namespace = gitops, namespace
        self._applications = Mirror(
            cluster, APPLICATION, gitops.namespace, labels={CLUSTER_LABEL: gitops.cluster}, changed=self._look
        )
        self._lock = threading.Lock()
        self._wanted: dict[str, _Wanted] = {}
        """By the name of its objects, until the cluster has it."""
        self._committed: dict[str, tuple[_Wanted, float]] = {}
        """What is in Git, and since when."""
        self._errors: dict[str, TemporaryError] = {}
        self._untold = ""
        """Why Argo CD could not be told of the last commit."""
        self._drifted: dict[str, float] = {}
        self._told_of_itself = False
        self._news, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="commit-releases", daemon=True)

    def start(self) -> None:
        self._applications.start()
        self._thread.start()

    def close(self) -> None:
        """What was not committed yet is left out: the next process is told of it again."""
        self._ended.set()
        self._news.set()
        self._applications.close()

    def bring(self, release: Release, /, manifests: Sequence[Manifest]) -> Object:
        """Answers the Deployment once the cluster has it as it is in Git. Until then it raises why it does not."""
        name = object_name(release.id)
        files, digest = files_of(manifests)
        wanted = _Wanted(release.model, files)
        with self._lock:
            if self._wanted.get(name) != wanted:
                self._wanted[name] = wanted
                self._errors.pop(name, None)
                self._news.set()
            error = self._errors.get(name)
            known, since = self._committed.get(name, (None, 0.0))
            if known == wanted and monotonic() - since > _LOOKED_AT_AGAIN:
                del self._committed[name]  # Somebody may have taken it away.
                self._news.set()
        if error is not None:
            raise error.with_traceback(None)
        if known != wanted:
            raise Unavailable("Its manifests are being committed to the fleet repository.", delay=0.5)
        there = self._cluster.find(DEPLOYMENT, name, self._namespace)
        if there is None or (there["metadata"].get("annotations") or {}).get(DIGEST) != digest:
            raise Unavailable(self._waiting(name, there is None), delay=1.0)
        self._forget(name, wanted)
        return there

    def remove(self, release_id: str) -> bool:
        """Returns at once. The release goes once that is committed and Argo CD has seen it."""
        with self._lock:
            name = object_name(release_id)
            self._wanted[name] = _Wanted("", {})
            self._errors.pop(name, None)
        self._news.set()
        return True

    def keep(self, _: Collection[str], /) -> Collection[str]:
        """Argo CD heals what is in Git. It may be one that was installed anew, and knows nothing of Serinus."""
        self._tell_of_itself()
        return ()

    def recorded(self) -> Sequence[Object]:
        """Returns the Deployments in Git, whether Argo CD has applied them or not. Raises Refused where somebody has
        written something else in their place."""
        return [_parsed(path, text) for path, text in self._rendered.read(DEPLOYMENT_FILE).items()]

    def troubles(self) -> Mapping[str, str]:
        """What Argo CD says is wrong with releases, by the names of their objects."""
        try:
            applications = self._applications.objects()
        except SerinusError:  # They only explain.
            return {}
        with self._lock:
            drifted = dict(self._drifted)
        now = monotonic()
        told = {name: words.trouble(one, now - drifted.get(name, now)) for name, one in applications.items()}
        return {self._gitops.release(name): said for name, said in told.items() if said}

    # --- waiting ------------------------------------------------------------------------------------------

    def _waiting(self, name: str, first: bool) -> str:
        """Why the cluster does not have it yet."""
        what = "" if first else " in its new form"
        where = self._gitops.application(name)
        try:
            application = self._applications.objects().get(where)
        except SerinusError as error:
            return f"It is committed to the fleet repository, and what Argo CD does with it cannot be seen: {error}"
        if application is None:
            said = self._trouble_of_set() or self._untold or "It makes one from what is committed."
            return f"Argo CD has no Application {where} yet. {said}"
        if said := words.trouble(application):
            return said
        told = f" {self._untold}" if self._untold else ""
        return f"Argo CD has not applied it{what} yet: {where} is {words.state(application)}.{told}"

    def _trouble_of_set(self) -> str:
        try:
            found = self._cluster.find(APPLICATION_SET, self._gitops.name, self._gitops.namespace)
        except SerinusError as error:
            return str(error)
        return words.trouble_of_set(found) if found is not None else f"It has no ApplicationSet {self._gitops.name}."

    def _look(self) -> None:
        """Notes since when Applications are OutOfSync."""
        with self._lock:
            now, seen = monotonic(), self._applications.objects()
            drifted = {name for name, one in seen.items() if words.is_out_of_sync(one)}
            self._drifted = {name: self._drifted.get(name, now) for name in drifted}

    # --- committing ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = Backoff(0.5, _LONGEST_PAUSE)
        while True:
            self._news.wait()
            if self._ended.is_set():
                return
            self._news.clear()
            pause = self._commit_all()
            if pause is None:
                backoff.reset()
                continue
            self._ended.wait(min(backoff.pause(), max(pause, 0.5)))
            self._news.set()

    def _commit_all(self) -> float | None:
        """Returns the time, in seconds, until what failed should be tried again. None: nothing did."""
        with self._lock:
            pending = {name: one for name, one in self._wanted.items() if self._committed.get(name, (None,))[0] != one}
        leaving = {name: one for name, one in pending.items() if not one.files}
        pauses = [self._commit({name: one}) for name, one in pending.items() if one.files]
        pauses += [self._commit(leaving)] if leaving else []
        return min((pause for pause in pauses if pause is not None), default=None)

    def _commit(self, wanted: Mapping[str, _Wanted]) -> float | None:
        """One release to write, or some to remove."""
        try:
            commit = ""
            for name, one in wanted.items():
                if one.files:
                    commit = self._rendered.write(one.model, name, one.files)
            if leaving := [name for name, one in wanted.items() if not one.files]:
                commit = self._rendered.remove(leaving)
            if not self._told_of_itself:
                self._tell_of_itself()
        except SerinusError as error:
            return self._failed(wanted, error)
        except Exception as error:
            log.exception("%s could not be committed.", ", ".join(wanted))
            kind = type(error).__name__
            return self._failed(wanted, Unavailable(f"The fleet repository could not be written: {kind}."))
        self._succeeded(wanted)
        self._untold = self._nudge(wanted, commit)
        return None

    def _failed(self, wanted: Mapping[str, _Wanted], error: SerinusError) -> float:
        if not isinstance(error, TemporaryError):  # It is about the repository or Argo CD, and not about the release.
            error = Unavailable(error.message, hint=error.hint, delay=_LONGEST_PAUSE)
        with self._lock:
            for name, one in wanted.items():
                if self._wanted.get(name) == one:
                    if str(self._errors.get(name)) != str(error):
                        log.warning("%s: %s", name, error)
                    self._errors[name] = error
        return error.delay

    def _succeeded(self, wanted: Mapping[str, _Wanted]) -> None:
        with self._lock:
            for name, one in wanted.items():
                if self._wanted.get(name) == one:
                    self._errors.pop(name, None)
                    self._committed[name] = one, monotonic()
        for name, one in wanted.items():
            if not one.files:
                self._forget(name, one)

    def _forget(self, name: str, wanted: _Wanted) -> None:
        with self._lock:
            if self._wanted.get(name) == wanted:
                del self._wanted[name]
                self._committed.pop(name, None)

    # --- telling Argo CD ----------------------------------------------------------------------------------

    def _tell_of_itself(self) -> None:
        """Gives Argo CD the ApplicationSet and its project. What it has already does not change."""
        for manifest in (project(self._gitops, self._namespace), application_set(self._gitops, self._namespace)):
            self._cluster.apply(manifest, force=True)
        self._told_of_itself = True

    def _nudge(self, names: Collection[str], commit: str) -> str:
        """Has Argo CD look at the repository now, and not within its 3 minutes. Returns why it could not be told.

        Argo CD takes any value. As it is another one for each commit, Argo CD notices those that come while it looks.
        """
        where = self._gitops.namespace
        try:
            self._cluster.merge(APPLICATION_SET, self._gitops.name, where, _annotation(_REFRESH_SET, commit))
            for name in names:
                try:
                    application = self._gitops.application(name)
                    self._cluster.merge(APPLICATION, application, where, _annotation(_REFRESH, commit))
                except NotFound:  # It is made by the ApplicationSet.
                    continue
        except SerinusError as error:
            log.warning("Argo CD could not be told of a commit: %s", error)
            return f"Argo CD looks at the repository by itself, within minutes, as it could not be told: {error}"
        return ""


def _parsed(path: str, text: str) -> Object:
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Refused(f"{path} in the fleet repository is not YAML.", hint="Revert its last commit.") from error
    if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
        raise Refused(f"{path} in the fleet repository is no Deployment.", hint="Revert its last commit.")
    return found


def _annotation(name: str, value: str) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    return {"metadata": {"annotations": {name: value}}}
