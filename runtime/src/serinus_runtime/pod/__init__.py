"""Runs one release in one container. The supervisor is process 1. It keeps the workers running and answers probes.

The supervisor runs no code of the model and imports nothing of the model's environment.
"""
