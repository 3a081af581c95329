"""`python -m serinus.spec` prints the reference, and `python -m serinus.spec schema` the JSON schema."""

import json
import sys

from serinus.spec.reference import reference, schema

sys.stdout.write(json.dumps(schema(), indent=2) + "\n" if sys.argv[1:] == ["schema"] else reference())
