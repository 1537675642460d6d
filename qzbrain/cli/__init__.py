"""The command `qzbrain`. Works with a brain running or not: it uses the same services on the same data folder.

Standard output holds results only; progress and notes go to standard error. Exit codes: 0 all done, 1 something failed,
2 wrong usage, 130 interrupted.
"""

from qzbrain.cli.app import main

__all__ = ["main"]
