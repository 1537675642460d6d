"""What runs in an engine's own environment: nothing here imports qzbrain."""
