import json
import os
import sys
from pathlib import Path


def main():
    config = json.loads(Path(sys.argv[1]).read_text())
    how = Path(config["artifact"]).name
    if how == "fails":
        print(json.dumps({"error": "AttributeError: Can't get attribute 'Clean'"}))
        sys.exit(1)
    if how == "crashes":
        os.abort()
    if how == "eats":
        print(len(b"x" * (1 << 31)))
    if how == "babbles":
        print("no JSON")
        return
    if config["rows"] is None:
        print(json.dumps({"loaded": True, "config": config}))
        return
    table = json.loads(Path(config["rows"]).read_text())
    assert table["columns"]
    print(json.dumps({"scores": [row[0] for row in table["rows"]]}))
