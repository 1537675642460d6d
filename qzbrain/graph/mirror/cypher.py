"""Every statement that is sent to Neo4j. Data goes into parameters alone; what is put together here are names that stand in this file.

    (:QzEntity {kb, id, name, type, key, aliases})-[:QZ_FACT {kb, id, relation, relation_id, said, places, documents}]->(:QzEntity)
    (:QzAlias {kb, entity_id, key, name})-[:QZ_NAMES]->(:QzEntity)      (:QzRelation {kb, id, name})
    (:QzMirror {kb, version, mark, phase, upto, exact, turn})           how far the copy of a knowledge base's graph is

`key` is the name as it is compared, of limited length, so that names of any length can be looked up. Whatever else is in the database is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Cypher:
    """`test`: labels of its own for QZBRAIN_ENV=test, so that tests never touch what is real."""

    test: bool = False

    def _named(self, statement: str) -> str:
        return statement.replace(":Qz", ":QzTest").replace(":QZ_", ":QZTEST_").replace(" qz_", " qztest_") if self.test else statement

    @cached_property
    def schema(self) -> tuple[str, ...]:
        """Constraints and indexes, each made where it is not there."""
        return tuple(
            self._named(f"CREATE {one}")
            for one in (
                "CONSTRAINT qz_mirror IF NOT EXISTS FOR (n:QzMirror) REQUIRE n.kb IS UNIQUE",
                "CONSTRAINT qz_entity IF NOT EXISTS FOR (n:QzEntity) REQUIRE (n.kb, n.id) IS UNIQUE",
                "CONSTRAINT qz_relation IF NOT EXISTS FOR (n:QzRelation) REQUIRE (n.kb, n.id) IS UNIQUE",
                "CONSTRAINT qz_fact IF NOT EXISTS FOR ()-[r:QZ_FACT]-() REQUIRE (r.kb, r.id) IS UNIQUE",
                "INDEX qz_entity_key IF NOT EXISTS FOR (n:QzEntity) ON (n.kb, n.key)",
                "INDEX qz_alias_key IF NOT EXISTS FOR (n:QzAlias) ON (n.kb, n.key)",
                "INDEX qz_alias_entity IF NOT EXISTS FOR (n:QzAlias) ON (n.kb, n.entity_id)",
                "INDEX qz_fact_said IF NOT EXISTS FOR ()-[r:QZ_FACT]-() ON (r.kb, r.said)",
            )
        )

    # -- how far it is

    @cached_property
    def state(self) -> str:
        """The copy's state; no row where there is none."""
        return self._named("MATCH (s:QzMirror {kb: $kb}) RETURN s.version, s.mark, s.phase, s.upto, s.exact, s.turn")

    @cached_property
    def states(self) -> str:
        """All knowledge bases that have a copy."""
        return self._named("MATCH (s:QzMirror) RETURN s.kb, s.version, s.phase, s.exact ORDER BY s.kb")

    @cached_property
    def take_turn(self) -> str:
        """Take the state's lock; a row when it is still as it was at `turn` (-1: there was none)."""
        return self._named(
            "MERGE (s:QzMirror {kb: $kb}) ON CREATE SET s.turn = -1 SET s.held = true WITH s WHERE s.turn = $turn SET s.turn = s.turn + 1 RETURN s.turn"
        )

    @cached_property
    def set_state(self) -> str:
        """Where it is now."""
        return self._named(
            "MATCH (s:QzMirror {kb: $kb}) SET s.version = $version, s.mark = $mark, s.phase = $phase, s.upto = $upto, s.exact = $exact, s.held = null"
        )

    @cached_property
    def forget_state(self) -> str:
        """There is no copy any more."""
        return self._named("MATCH (s:QzMirror {kb: $kb}) DELETE s")

    # -- writing

    @cached_property
    def wipe(self) -> tuple[str, ...]:
        """Take away some; each gives how many. Facts first, so that no entity's deletion is a large transaction."""
        facts = f"MATCH ()-[r:QZ_FACT]->() {_BY_FACT} WHERE r.kb = $kb AND r.id > 0 WITH r LIMIT $most DELETE r RETURN count(*)"
        nodes = (("QzAlias", "entity_id"), ("QzRelation", "id"), ("QzEntity", "id"))
        others = (
            f"MATCH (n:{label}) USING INDEX n:{label}(kb, {one}) WHERE n.kb = $kb AND n.{one} > 0 WITH n LIMIT $most DETACH DELETE n RETURN count(*)"
            for label, one in nodes
        )
        return tuple(self._named(one) for one in (facts, *others))

    @cached_property
    def delete_facts(self) -> str:
        """By id."""
        return self._named(f"UNWIND $ids AS id MATCH ()-[r:QZ_FACT]->() {_BY_FACT} WHERE r.kb = $kb AND r.id = id DELETE r")

    @cached_property
    def delete_aliases(self) -> str:
        """By the id of their entity."""
        return self._named(
            "UNWIND $ids AS id MATCH (n:QzAlias) USING INDEX n:QzAlias(kb, entity_id) WHERE n.kb = $kb AND n.entity_id = id DETACH DELETE n"
        )

    @cached_property
    def delete_entities(self) -> str:
        """By id, when they have no facts any more."""
        return self._named(f"UNWIND $ids AS id MATCH (n:QzEntity) {_BY_ENTITY} WHERE n.kb = $kb AND n.id = id DETACH DELETE n")

    @cached_property
    def delete_relations(self) -> str:
        """By id."""
        return self._named("UNWIND $ids AS id MATCH (n:QzRelation) USING INDEX n:QzRelation(kb, id) WHERE n.kb = $kb AND n.id = id DELETE n")

    @cached_property
    def create_relations(self) -> str:
        """Rows [id, name], of those that are not there."""
        return self._named("UNWIND $rows AS row CREATE (:QzRelation {kb: $kb, id: row[0], name: row[1]})")

    @cached_property
    def change_entities(self) -> str:
        """Rows [id, name, type, key, aliases], of those that are there; gives the ids of these."""
        return self._named(
            f"UNWIND $rows AS row MATCH (n:QzEntity) {_BY_ENTITY} WHERE n.kb = $kb AND n.id = row[0] "
            "SET n.name = row[1], n.type = row[2], n.key = row[3], n.aliases = row[4] RETURN row[0]"
        )

    @cached_property
    def create_entities(self) -> str:
        """As `change_entities`, of those that are not there."""
        return self._named(
            "UNWIND $rows AS row CREATE (:QzEntity {kb: $kb, id: row[0], name: row[1], type: row[2], key: row[3], aliases: row[4]})"
        )

    @cached_property
    def create_aliases(self) -> str:
        """Rows [entity id, key, name], after those that were there are deleted."""
        return self._named(
            f"UNWIND $rows AS row MATCH (n:QzEntity) {_BY_ENTITY} WHERE n.kb = $kb AND n.id = row[0] "
            "CREATE (:QzAlias {kb: $kb, entity_id: row[0], key: row[1], name: row[2]})-[:QZ_NAMES]->(n)"
        )

    @cached_property
    def create_facts(self) -> str:
        """Rows [id, head, relation id, relation, tail, said, places, documents], after those that were there are deleted; gives how many have their ends."""
        return self._named(
            "UNWIND $rows AS row MATCH (h:QzEntity) USING INDEX h:QzEntity(kb, id) WHERE h.kb = $kb AND h.id = row[1] "
            "MATCH (t:QzEntity) USING INDEX t:QzEntity(kb, id) WHERE t.kb = $kb AND t.id = row[4] "
            "CREATE (h)-[:QZ_FACT {kb: $kb, id: row[0], relation_id: row[2], relation: row[3], said: row[5], places: row[6], documents: row[7]}]->(t) "
            "RETURN count(*)"
        )

    # -- reading

    @cached_property
    def counts(self) -> tuple[str, ...]:
        """Entities, relations, triples with mentions."""
        return (
            self._named(f"MATCH (n:QzEntity) {_BY_ENTITY} WHERE n.kb = $kb AND n.id > 0 RETURN count(n)"),
            self._named("MATCH (n:QzRelation) USING INDEX n:QzRelation(kb, id) WHERE n.kb = $kb AND n.id > 0 RETURN count(n)"),
            self._named("MATCH ()-[r:QZ_FACT]->() USING INDEX r:QZ_FACT(kb, said) WHERE r.kb = $kb AND r.said > 0 RETURN count(r), sum(r.said)"),
        )

    @cached_property
    def entities(self) -> str:
        """By ids: id, name, type, aliases, degree."""
        return self._named(
            f"UNWIND $ids AS id MATCH (n:QzEntity) {_BY_ENTITY} WHERE n.kb = $kb AND n.id = id "
            "RETURN n.id, n.name, n.type, n.aliases, COUNT { (n)-[:QZ_FACT]->() } + COUNT { (n)<-[:QZ_FACT]-() }"
        )

    @cached_property
    def named(self) -> tuple[tuple[str, str], ...]:
        """Ids of entities by name and by alias: whose key is, begins with, or holds `key`; by id."""
        return tuple(
            (
                self._named(
                    f"MATCH (n:QzEntity) USING INDEX n:QzEntity(kb, key) WHERE n.kb = $kb AND n.key {fits} $key RETURN n.id ORDER BY n.id LIMIT $most"
                ),
                self._named(
                    f"MATCH (n:QzAlias) USING INDEX n:QzAlias(kb, key) WHERE n.kb = $kb AND n.key {fits} $key "
                    "RETURN n.entity_id ORDER BY n.entity_id LIMIT $most"
                ),
            )
            for fits in ("=", "STARTS WITH", "CONTAINS")
        )

    @cached_property
    def facts(self) -> str:
        """By ids: id, head (id, name, type, aliases), relation, tail (the same), places."""
        return self._named(f"UNWIND $ids AS id MATCH (h)-[r:QZ_FACT]->(t) {_BY_FACT} WHERE r.kb = $kb AND r.id = id RETURN {_FACT}")

    @cached_property
    def facts_after(self) -> str:
        """As `facts`, of the next ids."""
        return self._named(f"{_NEXT_FACTS} RETURN {_FACT}")

    @cached_property
    def relations(self) -> str:
        """All: id, name; by id."""
        return self._named("MATCH (n:QzRelation) USING INDEX n:QzRelation(kb, id) WHERE n.kb = $kb AND n.id > 0 RETURN n.id, n.name ORDER BY n.id")

    @cached_property
    def entities_after(self) -> str:
        """The next ids, in columns: ids, names, types, keys (null where it is the name), aliases (null for none)."""
        return self._named(
            f"MATCH (n:QzEntity) {_BY_ENTITY} WHERE n.kb = $kb AND n.id > $after WITH n ORDER BY n.kb, n.id LIMIT $most "
            "WITH collect(n) AS some RETURN [n IN some | n.id], [n IN some | n.name], [n IN some | n.type], "
            "[n IN some | CASE WHEN n.key = n.name THEN null ELSE n.key END], [n IN some | n.aliases]"
        )

    @cached_property
    def ends_after(self) -> str:
        """The next facts, in columns: ids, and those of heads, relations and tails."""
        return self._named(f"{_NEXT_FACTS} RETURN collect(r.id), collect(h.id), collect(r.relation_id), collect(t.id)")


_BY_ENTITY = "USING INDEX n:QzEntity(kb, id)"
"""Said everywhere: a statement first planned on an empty database would be carried out by scanning everything, row by row, until it is planned again."""
_BY_FACT = "USING INDEX r:QZ_FACT(kb, id)"
_NEXT_FACTS = f"MATCH (h)-[r:QZ_FACT]->(t) {_BY_FACT} WHERE r.kb = $kb AND r.id > $after WITH h, r, t ORDER BY r.kb, r.id LIMIT $most"
_FACT = "r.id, h.id, h.name, h.type, h.aliases, r.relation, t.id, t.name, t.type, t.aliases, r.places"
