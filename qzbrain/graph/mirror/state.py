"""How far a copy is, as the copy itself says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qzbrain.graph.mirror.cypher import Cypher

if TYPE_CHECKING:
    from neo4j import Transaction

FOLLOWS = "follow"
PHASES = ("wipe", "relations", "entities", "triples", FOLLOWS)
"""A copy is made in this order; then it follows the changes that are noted."""


class Moved(Exception):
    """Another worker was quicker: look again where the copy is."""


@dataclass(frozen=True, slots=True)
class State:
    """It has all changes up to `version`, which has this mark; `exact`: and nothing of a later one. `upto`: the last id of its phase. `turn`: counts steps."""

    version: int
    mark: str
    phase: str = FOLLOWS
    upto: int = 0
    exact: bool = False
    turn: int = -1


def read_state(tx: Transaction, cypher: Cypher, kb_id: str) -> State | None:
    """What the copy says; None where there is none."""
    row: Any = tx.run(cypher.state, kb=kb_id).single()
    return None if row is None or row[0] is None else State(*row.values())


def step_to(tx: Transaction, cypher: Cypher, kb_id: str, before: State | None, after: State) -> None:
    """Be the only one who changes this copy until the transaction ends, and say where it is then. Raises Moved. To be called before any change."""
    turn = -1 if before is None else before.turn
    if tx.run(cypher.take_turn, kb=kb_id, turn=turn).single() is None:
        raise Moved
    tx.run(
        cypher.set_state, kb=kb_id, version=after.version, mark=after.mark, phase=after.phase, upto=after.upto, exact=after.exact
    ).consume()
