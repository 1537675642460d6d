"""Portable knowledge packs: a knowledge base as one file, and back. `format` says what lies in it."""
