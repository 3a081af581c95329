"""Peers, bounds and Serinus side by side, in one run on one machine.

    make bench                                   everything; about half an hour on two processors
    python -m bench --quick                      fewer peers, shorter
    python -m bench --only xgboost,wake --servers serinus,bare
    python -m bench --resume                     goes on where a run was interrupted
    python -m bench report                       docs/performance.md and its pictures, from bench/results.json
    python -m bench.cpu --against ../before      processor time of a request by process; so bench.instructions
    python -m bench.flame                        docs/hot-path.svg: where a worker's time goes
    python -m bench.cluster                      a Kubernetes cluster beside one machine, on the lab
    python -m bench.soak --minutes 10            200 models under load, deploys, kills and rollbacks

What runs: `cases.py`. What is compared: `rivals.py`, `bounds.py`, `product.py`. What must be reached: `goals.py`.
Whatever is built or fetched lies under `.bench/`.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent
SCRATCH = ROOT / ".bench"
"""Environments, models, homes, logs: may be deleted at any time."""
RESULTS = HERE / "results.json"
