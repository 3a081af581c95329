"""The port Registry on an MLflow server, or on any other tracking URI of MLflow's client."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter

from serinus.backends.mlflow import client as mlflow_client
from serinus.backends.mlflow import places
from serinus.backends.mlflow.cache import RUNS, ArtifactCache
from serinus.backends.mlflow.places import Places
from serinus.backends.mlflow.proposals import Proposals
from serinus.core.errors import InvalidInput, NotFound, Refused, Unbuildable
from serinus.core.release import Artifact, VersionRef
from serinus.core.storage import Stored

_PAGE = 1000
"""The largest page that MLflow returns."""


@dataclass(frozen=True, slots=True)
class _Alias:
    alias: str
    version: str


@dataclass(frozen=True, slots=True)
class _Model:
    name: str
    aliases: Sequence[_Alias] = ()


@dataclass(frozen=True, slots=True)
class _Response:
    """The part of a response that is read."""

    registered_models: Sequence[_Model] = ()
    next_page_token: str = ""


_RESPONSES = TypeAdapter(_Response)


@dataclass(frozen=True, slots=True)
class _Page:
    """What a response says, and its text."""

    text: bytes
    aliases: Mapping[str, Mapping[str, str]]
    """Model -> alias -> version."""
    next_page_token: str

    @classmethod
    def parsed(cls, text: bytes) -> _Page:
        found = _RESPONSES.validate_json(text)
        aliases = {model.name: {one.alias: one.version for one in model.aliases} for model in found.registered_models}
        return cls(text, aliases, found.next_page_token)


class MlflowRegistry:
    """`uri` is MLflow's tracking URI, `cache` the directory of model files. Thread-safe.

    MLflow's client reads its settings from the environment: credentials (MLFLOW_TRACKING_TOKEN, ...) and timeouts,
    which are 10 s without retries by default. `indexes` are the package indexes that a model's requirements may name.
    `bundled`: it is the server of Serinus, and files are downloaded from nowhere else.
    """

    def __init__(
        self,
        uri: str,
        cache: Path,
        *,
        indexes: Collection[str] = (),
        bundled: bool = False,
        proposals: Path | None = None,
    ) -> None:
        """`proposals` is the file in which the bundled server records who has set an alias."""
        self._uri = uri
        self._proposals = Proposals(proposals) if proposals else None
        self._places = Places.of(uri, bundled=bundled)
        self._cache = ArtifactCache(cache, indexes)
        self._run_files = cache / RUNS
        self._lock = threading.Lock()
        self._connected: Any = None
        self._known_pages: Sequence[_Page] = ()
        """The pages that were read last."""

    def find(self, model: str, version_or_alias: str) -> VersionRef:
        """Raises Refused for a version that is PENDING or whose registration FAILED, and for the alias `latest`."""
        wanted = version_or_alias.removeprefix("@")
        _refuse_reserved(model, wanted)
        try:
            with self._client() as client:
                by = client.get_model_version if wanted.isdecimal() else client.get_model_version_by_alias
                found = by(model, wanted)
        except (NotFound, InvalidInput) as error:
            raise self._not_found(model, wanted) from error
        ref = _ref(found)
        _refuse_unready(ref)
        return ref

    def newest(self, model: str) -> VersionRef:
        ready = [one for one in self._versions(model) if one.status == "READY"]
        if not ready:
            raise self._no_model(model) or NotFound(
                f"{model} has no version that is ready.", hint="Register one first."
            )
        return _ref(max(ready, key=lambda one: int(one.version)))

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        """Sends one request for every thousand models."""
        if not self._uri.startswith(("http://", "https://")):
            return {
                model.name: {alias: str(version) for alias, version in model.aliases.items()}
                for model in self._models()
            }
        return {model: aliases for page in self._pages() for model, aliases in page.aliases.items()}

    def who_set(self, model: str, alias: str, version: str) -> str:
        return self._proposals.who(model, alias, version) if self._proposals else ""

    def set_alias(self, model: str, alias: str, version: str) -> None:
        with self._client() as client:
            client.set_registered_model_alias(model, alias, version)

    def drop_alias(self, model: str, alias: str) -> None:
        with contextlib.suppress(NotFound), self._client() as client:
            client.delete_registered_model_alias(model, alias)

    def set_tags(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Sets the tags whose value differs, because each needs a request."""
        with self._client() as client:
            there = client.get_model_version(model, version).tags
            for key, value in tags.items():
                if there.get(key) != value:
                    client.set_model_version_tag(model, version, key, value)

    def fetch(self, ref: VersionRef) -> Artifact:
        # Source and run belong to the key, because MLflow reuses the number of a deleted version.
        parts = (self._uri, ref.model, ref.version, ref.source, ref.run_id or "")
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return self._cache.artifact(key, lambda directory: self._download(ref, directory))

    def run_file(self, ref: VersionRef, name: str) -> Path | None:
        """Prefers the model's own file to the run's, which other models may share."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise InvalidInput(f"{name!r} is not a path below a run's artifacts.")
        of_model = self._cache.path(self.fetch(ref).digest) / path
        if of_model.is_file():
            return of_model
        return self._run_file(ref.run_id, path) if ref.run_id else None

    # --- what is kept of it on this machine ---------------------------------------------------------------

    @property
    def kind(self) -> str:
        return "artifacts"

    def stored(self) -> Sequence[Stored]:
        return self._cache.stored()

    def remove(self, name: str, since: float) -> bool:
        return self._cache.remove(name, since)

    # --- how ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        with self._lock:
            if self._connected is None:
                self._connected = mlflow_client.connect(self._uri)
        with mlflow_client.explained(self._uri), places.only(self._places, self._uri):
            yield self._connected

    def _pages(self) -> Sequence[_Page]:
        """Returns the pages of a server. They are read often and seldom differ, so only those that do are parsed."""
        known = {page.text: page for page in self._known_pages}
        pages = list[_Page]()
        token = ""
        while not pages or token:
            more = {"page_token": token} if token else {}
            with self._client():
                text = mlflow_client.asked(self._uri, "registered-models/search", max_results=_PAGE, **more)
                pages.append(known.get(text) or _Page.parsed(text))
            token = pages[-1].next_page_token
        self._known_pages = pages
        return pages

    def _models(self) -> Iterator[Any]:
        token: str | None = None
        while token != "":
            with self._client() as client:
                page = client.search_registered_models(max_results=_PAGE, page_token=token)
            yield from page
            token = page.token or ""

    def _versions(self, model: str) -> Sequence[Any]:
        quote = '"' if "'" in model else "'"
        with self._client() as client:
            # Newest first, so that the first page has the newest ones.
            return list(
                client.search_model_versions(
                    f"name = {quote}{model}{quote}", max_results=_PAGE, order_by=["version_number DESC"]
                )
            )

    def _download(self, ref: VersionRef, directory: Path) -> Path:
        try:
            with self._client() as client:
                # The actual location of the files: the server resolves the `models:/m-...` of a logged model.
                source = client.get_model_version_download_uri(ref.model, ref.version)
                return Path(mlflow_client.download(self._uri, source, str(directory)))
        except NotFound as error:
            raise Unbuildable(
                f"The files of {ref.model}@{ref.version} are not in MLflow's artifact store.",
                hint="Log the model again and register that version.",
            ) from error

    def _run_file(self, run_id: str, path: PurePosixPath) -> Path | None:
        folder = "" if path.parent == PurePosixPath(".") else str(path.parent)
        try:
            with self._client() as client:
                listed = client.list_artifacts(run_id, folder or None)
                if not any(entry.path == str(path) and not entry.is_dir for entry in listed):
                    return None
                self._run_files.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(prefix=".incoming-", dir=self._run_files) as incoming:
                    got = Path(client.download_artifacts(run_id, str(path), incoming))
                    return self._cache.keep_of_run(run_id, path, got)
        except NotFound:  # The run has been deleted.
            return None

    def _no_model(self, model: str) -> NotFound | None:
        """Returns an error that names models with similar names. None: the model is registered."""
        named = [found.name for found in self._models()]
        if model in named:
            return None
        near = get_close_matches(model, named, n=3) or sorted(named)[:5]
        hint = f"There is {', '.join(near)}." if near else "Nothing is registered there yet."
        return NotFound(f"MLflow has no registered model {model!r}.", hint=hint)

    def _not_found(self, model: str, wanted: str) -> NotFound:
        """Returns an error that names what exists instead."""
        if unknown := self._no_model(model):
            return unknown
        if not wanted.isdecimal():
            with self._client() as client:
                found = client.get_registered_model(model)
            aliases = ", ".join(f"@{alias}" for alias in sorted(found.aliases)) or "none"
            return NotFound(f"{model} has no alias {wanted!r}.", hint=f"Its aliases: {aliases}.")
        numbers = sorted(int(one.version) for one in self._versions(model))
        versions = ", ".join(str(number) for number in numbers[-20:]) or "none"
        return NotFound(f"{model} has no version {wanted}.", hint=f"Its versions: {versions}.")


def _ref(found: Any) -> VersionRef:
    return VersionRef(
        model=found.name,
        version=str(found.version),
        status=found.status,
        run_id=found.run_id or None,
        source=found.source or "",
        tags=dict(found.tags),
    )


def _refuse_reserved(model: str, wanted: str) -> None:
    if wanted.lower() == "latest":
        raise Refused(
            "`latest` is the version that was registered last, which nobody has chosen to deploy.",
            hint=f"Name a version (`{model}@7`) or an alias (`{model}@challenger`).",
        )
    if wanted[:1] in ("v", "V") and wanted[1:].isdecimal():
        raise InvalidInput(f"A version is written as its number: `{model}@{wanted[1:]}`.")
    if not wanted:
        raise InvalidInput(f"Name a version: write `{model}@7` or `{model}@challenger`.")


def _refuse_unready(ref: VersionRef) -> None:
    if ref.status == "PENDING_REGISTRATION":
        raise Refused(
            f"{ref.model}@{ref.version} is still being registered (PENDING_REGISTRATION).",
            hint="Deploy it once MLflow shows it as READY; register it again where that never happens.",
        )
    if ref.status != "READY":
        raise Refused(f"{ref.model}@{ref.version} is not READY but {ref.status}.", hint="Register the version again.")
