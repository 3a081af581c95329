"""What knows nothing of Serinus."""
