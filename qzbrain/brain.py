"""Composition root: settings in, wired services out. The only place that chooses a backend.

Parts are made when first used, so that each process imports and holds only what it needs: an idle worker has no search engine,
the command line no chat.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from qzbrain.auth.access import Access
from qzbrain.errors import NotFound
from qzbrain.graph.extraction_jobs import submit_automatic
from qzbrain.graph.mirror.link import require_driver
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.models.catalog import all_models, embedder_name, reranker_name
from qzbrain.settings import Settings
from qzbrain.storage import migrate
from qzbrain.storage.backups import READY
from qzbrain.storage.cooperation import offloader
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from qzbrain.auth.accounts import Accounts
    from qzbrain.auth.audit import AuditLog
    from qzbrain.auth.audit_trail import AuditTrail, Verified
    from qzbrain.auth.keys import ApiKeys
    from qzbrain.auth.sessions import Sessions
    from qzbrain.chat.known import GraphKnowledge
    from qzbrain.chat.service import ChatService
    from qzbrain.chat.turns import Turn
    from qzbrain.domain import Done, Failed
    from qzbrain.graph.base import GraphAnswers
    from qzbrain.graph.embedded import SqlGraph
    from qzbrain.graph.extracting import GraphExtraction
    from qzbrain.graph.extraction_plan import Extractions
    from qzbrain.graph.mirror.feeding import Mirror
    from qzbrain.graph.passages import PassageGraphs
    from qzbrain.graph.remote import RemotePassages, RemoteRoutes
    from qzbrain.graph.service import GraphService
    from qzbrain.graph.suggestions import Suggestions
    from qzbrain.graph.upkeep import Upkeep
    from qzbrain.knowledge.embedding import Embedding
    from qzbrain.knowledge.entries.importing import EntryFiles
    from qzbrain.knowledge.entries.regressions import Regressions
    from qzbrain.knowledge.entries.service import Entries
    from qzbrain.knowledge.entries.shadow import Shadows
    from qzbrain.knowledge.folders import Folders
    from qzbrain.knowledge.packs.service import PackService
    from qzbrain.knowledge.preview import Previews
    from qzbrain.knowledge.service import KnowledgeService
    from qzbrain.knowledge.storage_share import StorageShares
    from qzbrain.models.base import Embedder, Reranker
    from qzbrain.models.courtesy import Courtesy
    from qzbrain.models.embedders import HttpEmbedder
    from qzbrain.models.engines.local import LocalEngines
    from qzbrain.models.registry import ModelRegistry
    from qzbrain.models.rerankers import HttpReranker
    from qzbrain.retrieval.base import SearchIndex
    from qzbrain.retrieval.dense import Dense
    from qzbrain.retrieval.feeder import Feeder
    from qzbrain.retrieval.hybrid import Retriever
    from qzbrain.retrieval.mending import Mending
    from qzbrain.retrieval.spaces import Spaces
    from qzbrain.retrieval.vector_feeder import VectorFeeder
    from qzbrain.retrieval.vectors import VectorIndex
    from qzbrain.storage.backups.taking import Beside
    from qzbrain.storage.shared import SharedState


class Brain:
    """All services of one process, wired to each other."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        if settings.neo4j_url:
            require_driver()
        if settings.ldap_url or settings.oidc_issuer:
            from qzbrain.auth.accounts import require_libraries

            require_libraries(settings)
        self.db = database_of(settings)
        self.files = FileStore(settings.data / "files", offloader())
        self._migrate()
        self.access = Access(self.db)
        self.jobs = self._job_runner()
        self._embedders: dict[str, HttpEmbedder] = {}
        self.db.slow_ms = settings.slow_sql_ms  # from here on: migrating may take its time
        self.turn_ended: Callable[[Turn, Done | Failed], None] = lambda _turn, _last: None

    def _migrate(self) -> None:
        """Bring the database to this program's schema; what the way there needs is imported only then."""
        if self.db.kind == "sqlite" and migrate.current_revision(self.db) == migrate.HEAD:
            return
        from qzbrain.storage.backups.of_settings import upgrade

        try:
            upgrade(self.settings, self.db, self.files, lambda: beside_backup(self.settings))
        except BaseException:
            self.db.close()
            raise

    @cached_property
    def sessions(self) -> Sessions:
        """Who is signed in with a browser."""
        from qzbrain.auth.sessions import Sessions

        return Sessions(self.db, self.settings)

    @cached_property
    def api_keys(self) -> ApiKeys:
        """Who asks by a program."""
        from qzbrain.auth.keys import ApiKeys

        return ApiKeys(self.db)

    @cached_property
    def accounts(self) -> Accounts:
        """Users, groups, rights, keys, and signing in."""
        from qzbrain.auth.accounts import Accounts

        return Accounts(self.db, self.access, self.sessions, self.api_keys, self.settings)

    @cached_property
    def audit(self) -> AuditLog:
        """Who did or read what."""
        from qzbrain.auth.audit import AuditLog
        from qzbrain.auth.audit_head import HeadFile

        return AuditLog(self.db, HeadFile.of(self.settings), active=self.settings.audited)

    @cached_property
    def audit_trail(self) -> AuditTrail:
        """The same, to be read."""
        from qzbrain.auth.audit_trail import AuditTrail

        return AuditTrail(self.db, self.access)

    def verify_audit(self) -> Verified:
        """Whether the audit log is whole. Raises ValueError where the file of its head holds something else."""
        from qzbrain.auth.audit_trail import verify

        with self.db.snapshot() as connection:
            return verify(connection, self.audit.head.read())

    def _job_runner(self) -> LeaseRunner:
        if not self.settings.redis_host:
            return LeaseRunner(self.db)
        from qzbrain.jobs.celery import Announcer, CeleryRunner

        return CeleryRunner(self.db, Announcer(self.settings))

    @cached_property
    def index(self) -> SearchIndex:
        """The search backend that the settings choose."""
        from qzbrain.retrieval.backends import search_index

        return search_index(self.settings)

    @cached_property
    def feeder(self) -> Feeder:
        """Brings the outbox into the search index."""
        from qzbrain.retrieval.feeder import Feeder

        return Feeder(self.db, self.index, self.vector_feeder)

    @cached_property
    def vectors(self) -> VectorIndex:
        """The vector store that belongs to the search backend."""
        from qzbrain.retrieval.backends import vector_index

        return vector_index(self.settings)

    @cached_property
    def vector_feeder(self) -> VectorFeeder:
        """Brings vectors from SQL into the store."""
        from qzbrain.retrieval.vector_feeder import VectorFeeder

        return VectorFeeder(self.db, lambda: self.vectors)

    @cached_property
    def spaces(self) -> Spaces:
        """Which vectors a knowledge base has."""
        from qzbrain.retrieval.spaces import Spaces

        return Spaces(self.db)

    @cached_property
    def embedder(self) -> Embedder | None:
        """The embedding model of the settings; None: retrieval by words only."""
        name = embedder_name(self.settings)
        return self._embedder(name) if name in all_models(self.settings) else None

    def embedder_of(self, name: str) -> HttpEmbedder:
        """An embedding model by its name, `auto` for that of the settings. Raises NotFound."""
        known = all_models(self.settings)
        name = embedder_name(self.settings) if name == "auto" else name
        if name not in known or known[name].kind != "embedding":
            raise NotFound(
                "model_not_found",
                zh=f"没有向量模型“{name[:80]}”。向量模型在 config.toml 的 [models.名称] 中以 kind = \"embedding\" 配置。",
                en=f'There is no embedding model "{name[:80]}". They are configured in config.toml as [models.NAME] with kind = "embedding".',
                param="model",
            )
        return self._embedder(name)

    @cached_property
    def engines(self) -> LocalEngines:
        """The engines of this machine."""
        from qzbrain.models.engines.local import LocalEngines

        return LocalEngines(self.settings)

    def _embedder(self, name: str) -> HttpEmbedder:
        if name not in self._embedders:
            from qzbrain.models.embedders import HttpEmbedder

            model = all_models(self.settings)[name]
            self._embedders[name] = HttpEmbedder(name, model, self.engines, self.courtesy.note)
        return self._embedders[name]

    @cached_property
    def courtesy(self) -> Courtesy:
        """Lets work in the background step aside for questions."""
        from qzbrain.models.courtesy import Courtesy

        return Courtesy(self.settings.data / "asked")

    @cached_property
    def embedding(self) -> Embedding | None:
        """The job that gives chunks their vectors; None without an embedder."""
        if embedder_name(self.settings) not in all_models(self.settings):
            return None
        from qzbrain.knowledge.embedding import Embedding

        return Embedding(self.db, self.jobs, lambda: self.embedder, lambda: self.vector_feeder, lambda: self.vectors, self.courtesy)

    @cached_property
    def knowledge(self) -> KnowledgeService:
        """Knowledge bases and documents."""
        from qzbrain.knowledge.service import KnowledgeService

        return KnowledgeService(self.db, self.files, self.access, self.jobs, self.settings)

    @cached_property
    def storage_shares(self) -> StorageShares:
        """How much users' uploads may take."""
        from qzbrain.knowledge.storage_share import StorageShares

        return StorageShares(self.db, self.settings)

    @cached_property
    def shadows(self) -> Shadows:
        """What searches find of curated entries."""
        from qzbrain.knowledge.entries.shadow import Shadows

        return Shadows(self.jobs, self.follow_chunks)

    def follow_chunks(self, connection: Connection, kb_id: str) -> None:
        """What follows new chunks of a knowledge base, in the transaction that brings them: their vectors, and the names that stand in them."""
        from qzbrain.graph.upkeep import submit_where_graph

        self.embed_later(connection, kb_id)
        submit_where_graph(connection, self.jobs, kb_id)

    def embed_later(self, connection: Connection, kb_id: str) -> None:
        """Have the new chunks of a knowledge base get their vectors, where there is an embedder; in the transaction that brings them."""
        if self.embedding is not None:
            self.embedding.submit(connection, kb_id)

    def follow_documents(self, connection: Connection, kb_id: str) -> None:
        """As `follow_chunks`, of documents, in the transaction that makes them ready: also facts, where a model is to extract them by itself."""
        self.follow_chunks(connection, kb_id)
        submit_automatic(connection, self.jobs, self.settings, kb_id)

    @cached_property
    def entries(self) -> Entries:
        """Curated entries."""
        from qzbrain.knowledge.entries.service import Entries

        return Entries(self.db, self.access, self.shadows, self.settings)

    @cached_property
    def entry_files(self) -> EntryFiles:
        """Curated entries from and into files."""
        from qzbrain.knowledge.entries.importing import EntryFiles

        return EntryFiles(self.db, self.entries, self.shadows)

    @cached_property
    def regressions(self) -> Regressions:
        """Questions that corrections must go on answering."""
        from qzbrain.knowledge.entries.regressions import Regressions

        return Regressions(self.db, self.access, self.settings)

    @cached_property
    def previews(self) -> Previews:
        """Documents cut on trial."""
        from qzbrain.knowledge.preview import Previews

        return Previews(self.db, self.files, self.access, self.settings)

    @cached_property
    def packs(self) -> PackService:
        """Knowledge bases as files."""
        from qzbrain.knowledge.packs.service import PackService

        return PackService(self.db, self.files, self.access, self.jobs, self.settings)

    @cached_property
    def graph(self) -> SqlGraph:
        """Knowledge graphs."""
        if self.mirror is not None:
            from qzbrain.graph.mirror.store import MirroredGraph

            return MirroredGraph(self.db, self.mirror)
        from qzbrain.graph.embedded import SqlGraph

        return SqlGraph(self.db)

    @cached_property
    def mirror(self) -> Mirror | None:
        """Brings the copies of graphs on a Neo4j server after them; None without one."""
        if not self.settings.neo4j_url:
            return None
        from qzbrain.graph.mirror.feeding import Mirror
        from qzbrain.graph.mirror.link import Link

        return Mirror(self.db, Link(self.settings), test=self.settings.qzbrain_env == "test")

    @cached_property
    def graph_upkeep(self) -> Upkeep:
        """Brings graphs after their documents."""
        from qzbrain.graph.upkeep import Upkeep

        return Upkeep(self.db, self.graph, self.jobs, states=self.settings.graph_at_ingest == "on")

    @property
    def graph_at_ingest(self) -> SqlGraph | None:
        """Takes what documents state about themselves as they come; None when that is switched off."""
        return self.graph if self.settings.graph_at_ingest == "on" else None

    @cached_property
    def graph_service(self) -> GraphAnswers:
        """Answers from knowledge graphs: from the service that the settings name, else from the graphs as this process reads them."""
        if self.remote_graph is None:
            return self.local_graph
        from qzbrain.graph.remote import RemoteGraph

        return RemoteGraph(self.remote_graph, self.graph.version, lambda: self.local_graph)

    @cached_property
    def local_graph(self) -> GraphService:
        """The graphs as this process reads them."""
        from qzbrain.graph.service import GraphService

        return GraphService(self.graph)

    @cached_property
    def remote_graph(self) -> RemoteRoutes | None:
        """The graph service that the settings name; None: there is none but ours."""
        if not self.settings.graph_address:
            return None
        from qzbrain.graph.calls import GraphCalls
        from qzbrain.graph.remote import RemoteRoutes

        return RemoteRoutes(GraphCalls(self.settings.graph_address, token=self.settings.graph_token, timeout_s=self.settings.graph_timeout_s))

    @cached_property
    def extractions(self) -> Extractions:
        """Facts by a language model: what it costs, and having it done."""
        from qzbrain.graph.extraction_plan import Extractions

        return Extractions(self.db, self.jobs, lambda: self.models)

    @cached_property
    def extraction(self) -> GraphExtraction:
        """The job that does it."""
        from qzbrain.graph.extracting import GraphExtraction

        suggestions = self.suggestions
        return GraphExtraction(
            self.db, self.graph, lambda: self.models, lambda: self.shared, self.courtesy, unwanted=suggestions.unwanted, follow=suggestions.refresh
        )

    @cached_property
    def suggestions(self) -> Suggestions:
        """Entities that may be one."""
        from qzbrain.graph.suggestions import Suggestions

        return Suggestions(self.db, self.graph)

    @cached_property
    def passage_graphs(self) -> PassageGraphs | RemotePassages:
        """Passages that knowledge graphs lead to."""
        if self.remote_graph is None:
            return self.local_passages
        from qzbrain.graph.remote import RemotePassages

        return RemotePassages(self.remote_graph, self.graph.version, lambda: self.local_passages)

    @cached_property
    def local_passages(self) -> PassageGraphs:
        """The same, as this process finds them."""
        from qzbrain.graph.passages import PassageGraphs

        return PassageGraphs(self.db, lambda kb_id, ceiling: self.local_graph.view(kb_id, ceiling=ceiling))

    @cached_property
    def folders(self) -> Folders:
        """Watched folders."""
        from qzbrain.knowledge.folders import Folders

        return Folders(self.db, self.access, self.jobs, self.settings)

    @cached_property
    def retriever(self) -> Retriever:
        """Joint retrieval."""
        from qzbrain.retrieval.hybrid import Retriever
        from qzbrain.retrieval.mending import Mending

        mending = Mending(self.db, self.jobs)
        return Retriever(self.db, self.index, self.settings, mending.report, dense=self._dense(mending), reranker=self.reranker, graphs=self.passage_graphs)

    def _dense(self, mending: Mending) -> Dense | None:
        if self.embedder is None:
            return None
        from qzbrain.retrieval.dense import Dense

        return Dense(self.spaces, lambda: self.vectors, self.embedder, asked=self.courtesy.note, report_missing=mending.report_vectors)

    @cached_property
    def reranker(self) -> Reranker | None:
        """The reranker of the settings; None: the order of retrieval stands."""
        name = reranker_name(self.settings)
        return self.reranker_of(name) if name in all_models(self.settings) else None

    def reranker_of(self, name: str) -> HttpReranker:
        """A reranker by its name, `auto` for that of the settings. Raises NotFound."""
        known = all_models(self.settings)
        name = reranker_name(self.settings) if name == "auto" else name
        if name not in known or known[name].kind != "rerank":
            raise NotFound(
                "model_not_found",
                zh=f"没有重排模型“{name[:80]}”。重排模型在 config.toml 的 [models.名称] 中以 kind = \"rerank\" 配置。",
                en=f'There is no reranker "{name[:80]}". They are configured in config.toml as [models.NAME] with kind = "rerank".',
                param="model",
            )
        from qzbrain.models.rerankers import HttpReranker

        return HttpReranker(name, known[name], self.engines)

    @cached_property
    def models(self) -> ModelRegistry:
        """The chat models of the configuration, and the built-in one."""
        from qzbrain.models.registry import ModelRegistry

        return ModelRegistry(self.settings, self.engines)

    @cached_property
    def shared(self) -> SharedState:
        """What this process has in common with the other web processes of the brain."""
        if self.settings.redis_host:
            from qzbrain.storage.redis_state import RedisState

            return RedisState(self.settings)
        from qzbrain.storage.local_state import LocalState

        return LocalState()

    @cached_property
    def chat(self) -> ChatService:
        """Answers."""
        from qzbrain.chat.service import ChatService

        graph = self.graph_knowledge
        return ChatService(
            self.db, self.access, self.retriever, self.models, self.settings, self.shared, graph, self.courtesy.note, ended=self.turn_ended
        )

    @cached_property
    def graph_knowledge(self) -> GraphKnowledge:
        """What knowledge graphs know about questions."""
        from qzbrain.chat.known import GraphKnowledge
        from qzbrain.graph.label_meanings import LabelVectors

        labels = None if self.embedder is None else LabelVectors(self.graph_service.labels, self.embedder)
        return GraphKnowledge(self.db, self.graph_service, labels, least=self.settings.qzbrain_graph_answer)

    def end_engines(self) -> None:
        """End the engines that this process started."""
        if "engines" in self.__dict__:
            self.engines.close()

    def close_audit(self) -> None:
        """Write down what waits to be."""
        if "audit" in self.__dict__:
            self.audit.close()

    def close(self) -> None:
        """Give connections back."""
        self.close_audit()
        if "shared" in self.__dict__:
            self.shared.close()
        remote: RemoteRoutes | None = self.__dict__.get("remote_graph")
        if remote is not None:
            remote.calls.close()
        self.end_engines()
        if (mirror := self.__dict__.get("mirror")) is not None:
            mirror.link.close()
        self.jobs.close()
        self.db.close()


def database_of(settings: Settings) -> Database:
    """The database that the settings name, neither asked nor migrated yet: a MySQL server's where MYSQL_HOST is set, else the data folder's own.

    A restored one that is not in its place yet is put there first.
    """
    if (settings.data / READY).exists():
        from qzbrain.storage.backups.placing import finish

        finish(settings.data)
    if not settings.mysql_host:
        return Database(settings.database_path)
    from qzbrain.storage.mysql import MysqlDriver
    from qzbrain.storage.mysql_session import Server

    return Database(MysqlDriver(Server.of(settings)))


def beside_backup(settings: Settings) -> Beside:
    """What goes into a backup beside rows and originals; to be read before the database is."""
    from qzbrain.auth.audit_head import HeadFile
    from qzbrain.storage.backups.of_settings import secrets_beside, shown
    from qzbrain.storage.backups.taking import Beside

    try:
        head = HeadFile.of(settings).read()
    except ValueError:  # the doctor's part
        head = None
    return Beside(shown(settings), {"number": head.number, "hash": head.hash} if head else None, secrets_beside(settings))


def build(settings: Settings) -> Brain:
    """Wire a brain; the database is migrated when it needs to be. Raises SettingsInvalid, StorageFull, StorageBusy."""
    return Brain(settings)
