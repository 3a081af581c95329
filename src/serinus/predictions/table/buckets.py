"""The table in a bucket. Writing an object makes it durable, and two writers of one commit are told apart by the store:
it accepts an object under a name that is free, and no other (`If-None-Match`).

Credentials, region and endpoint come from where the tools of AWS look for them: the environment, a profile with a key,
a web identity, a container or an instance. They are in no setting of Serinus, in no log and in no error.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from serinus.core.buckets import BucketAddress
from serinus.core.errors import Unavailable

_CLIENT = {
    "aws_conditional_put": "etag",
    "connect_timeout": "5s",
    "timeout": "30s",
    "retry_timeout": "10s",
}
"""The time limit of a request, and for how long it is tried again before the error is told."""
_REGION = "us-east-1"
_OTHER_SOURCES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""Where one of these variables is set, no profile is read."""
_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")

_CAUSES = (
    (
        r"169\.254\.169\.254|federated token|container_credentials",
        "there are no credentials for {it}",
        "Give the process AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role.",
    ),
    (
        r"requesttimetooskewed",
        "{it} refuses requests because the clock of this machine is off",
        "Set the clock, for instance by NTP.",
    ),
    (
        r"\b40[13]\b|accessdenied|invalidaccesskeyid|signaturedoesnotmatch|expiredtoken|invalidtoken",
        "{it} refuses the credentials",
        "Grant them s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject below the prefix.",
    ),
    (r"nosuchbucket", "{it}: there is no such bucket", "Create it, or correct its name in `serinus up --predictions`."),
    (
        r"without location|permanentredirect|authorizationheadermalformed",
        "{it}: the bucket is in another region",
        "Set AWS_REGION to it.",
    ),
    (
        r"\b507\b|quotaexceeded|storagefull|no space",
        "{it} is full or over its quota",
        "Make room there, or raise the quota.",
    ),
    (
        r"error sending request|connect|timed out|timeout|dns",
        "{it} does not answer",
        "Check that it runs, and that this machine reaches it.",
    ),
    (r"\b50[0-4]\b|slowdown", "{it} fails at present", "It is tried again."),
)
_ELSE = "The log of the store says more."


class Bucket:
    """A prefix of a bucket."""

    def __init__(self, address: BucketAddress) -> None:
        self._address = address

    @property
    def uri(self) -> str:
        return str(self._address)

    @property
    def options(self) -> dict[str, str]:
        """Raises Unavailable where the profile that the environment names has no key."""
        return options_of(os.environ)

    @property
    def directory(self) -> None:
        return None

    def prepare(self) -> None:
        """Does nothing. The bucket must exist."""

    def settle(self, table: DeltaTable) -> None:
        """Does nothing. What the store has accepted is durable."""

    def trouble(self, error: OSError | DeltaError) -> Exception:
        """Returns Unavailable in words. The text of `error` is left out: it may hold the token of a web identity."""
        if isinstance(error, CommitFailedError):
            return Unavailable(f"{self.uri}: another writer has changed the table at the same time.")
        text = str(error).lower()
        for pattern, words, hint in _CAUSES:
            if re.search(pattern, text):
                return Unavailable(f"{words.format(it=self.uri)}.", hint=hint)
        return Unavailable(f"{self.uri} cannot be read or written ({type(error).__name__}).", hint=_ELSE)


def options_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns how a bucket is accessed, by the variables of `environment` and the profile that they name. Raises
    Unavailable where that profile has no key."""
    profile = _profile(environment)
    endpoint = (
        environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or profile.get("endpoint_url")
    )
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or profile.get("region")
    found = {**_CLIENT, **{name: profile[name] for name in _KEYS if name in profile}}
    found["aws_region"] = region or _REGION
    if endpoint:
        found["aws_endpoint_url"] = endpoint
        found["aws_allow_http"] = str(endpoint.startswith("http://")).lower()
    return found


def _profile(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the fields of the profile in the files of AWS's tools. Empty: it is not needed, or there is none."""
    if any(environment.get(name) for name in _OTHER_SOURCES):
        return {}
    named = environment.get("AWS_PROFILE")
    name = named or "default"
    home = Path(environment.get("HOME", "/"))
    keys = environment.get("AWS_SHARED_CREDENTIALS_FILE", str(home / ".aws/credentials"))
    more = environment.get("AWS_CONFIG_FILE", str(home / ".aws/config"))
    of = name if name == "default" else f"profile {name}"
    found = {**_section(Path(more), of), **_section(Path(keys), name)}
    if named and _KEYS[0] not in found:
        raise Unavailable(
            f"the profile {named} of AWS_PROFILE has no access key",
            hint="Profiles with a key are supported. For a role or single sign-on, put its temporary credentials into "
            "the environment: `eval $(aws configure export-credentials --format env)`.",
        )
    return found


def _section(path: Path, name: str) -> Mapping[str, str]:
    read = configparser.RawConfigParser(interpolation=None, strict=False)
    try:
        read.read_string(path.read_text())
    except (OSError, ValueError, configparser.Error):
        return {}
    return dict(read.items(name)) if read.has_section(name) else {}
