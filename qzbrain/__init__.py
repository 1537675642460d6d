"""qzbrain (启智大脑): a self-hosted, Chinese-first knowledge brain that answers from documents and cites the exact passage."""

__version__ = "0.1.0"
