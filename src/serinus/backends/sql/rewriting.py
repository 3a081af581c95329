"""Rewrites the documents of a store, for migrations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

Document = dict[str, Any]


def rewrite(connection: sa.Connection, keys: Mapping[str, str], change: Callable[[Document, str], Document]) -> None:
    """Replaces every document that `change(document, table)` changes. `keys` has the primary key of each table."""
    for name, key in keys.items():
        table = sa.table(name, sa.column(key), sa.column("document"))
        # One at a time, because they can be large.
        for each in connection.execute(sa.select(table.c[key])).scalars().all():
            mine = table.c[key] == each
            document = json.loads(connection.execute(sa.select(table.c.document).where(mine)).scalar_one())
            changed = change(document, name)
            if changed != document:
                new = json.dumps(changed, ensure_ascii=False, separators=(",", ":"))
                connection.execute(table.update().where(mine).values(document=new))
