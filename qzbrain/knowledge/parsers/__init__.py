"""Documents in, stored text with blocks out: `parse` for files, `parse_text` for texts given directly.

The type of a file is read from its content, never trusted from its name, so a mislabelled file is read as what it is.
"""

from qzbrain.knowledge.parsers.base import ParseLimits
from qzbrain.knowledge.parsers.registry import parse, parse_text

__all__ = ["ParseLimits", "parse", "parse_text"]
