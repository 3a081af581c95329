import json
import os
import sys
import time


def main():
    if sys.argv[1].endswith("hang"):
        time.sleep(3600)
    print("noise that a library prints")
    print(json.dumps({"pickles": [], "other": [sys.argv[1]], "environ": dict(os.environ)}))
