"""Addresses in buckets of an object store that speaks the protocol of S3."""

from __future__ import annotations

import re
from dataclasses import dataclass

from serinus.core.errors import InvalidInput

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]*(/[A-Za-z0-9][A-Za-z0-9_.=-]*)*")


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """A prefix of keys in a bucket. It holds no credentials."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> BucketAddress:
        """Reads `s3://bucket/prefix`. Raises InvalidInput, which does not quote the text, because it may hold
        credentials."""
        scheme, _, rest = text.partition("://")
        bucket, _, prefix = rest.rstrip("/").partition("/")
        if scheme != "s3" or not _BUCKET.fullmatch(bucket) or not _PREFIX.fullmatch(prefix):
            raise InvalidInput(
                "An address in a bucket is s3://BUCKET/PREFIX, of letters, digits, '.', '_', '=' and '-'.",
                hint="Name the bucket and a prefix in it, such as s3://fraud/serinus/predictions. Credentials, region "
                "and endpoint are read from the environment: docs/prediction-log.md lists the variables.",
            )
        return cls(bucket, prefix)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"
