"""The response cache of one worker."""
