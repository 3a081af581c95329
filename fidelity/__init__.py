"""A differential fuzzer: models of every kind that MLflow logs, asked of Serinus and of MLflow's own scoring server.

`python -m fidelity --help` says how it is run; docs/fidelity.md holds what the last long run found.
"""
