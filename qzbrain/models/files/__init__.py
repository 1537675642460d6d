"""What a local model's files say of themselves: only headers and small JSON files are read, never the weights."""
