"""What people are told. Only reads."""
