"""Getting models: from files that are there, and from model hubs when asked to."""
