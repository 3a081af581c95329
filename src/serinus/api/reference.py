"""Writes the OpenAPI document of the control API:

python -m serinus.api.reference > docs/openapi/control.yaml
"""

from __future__ import annotations

import sys

from serinus.api.openapi import as_yaml

if __name__ == "__main__":
    sys.stdout.write(as_yaml())
