"""Every setting once: name, default, meaning, validation. The only place that reads the environment.

Order of precedence: environment > config.toml > default. Environment names are the field names in upper case (an empty value
counts as not set); keys of config.toml are the field names as they stand here. A password, key or token may lie in a file instead, which
the variable NAME_FILE names. Relative paths start at CURRENT_DIR, so that every process finds the same data wherever it was started.
`docs/settings.md` is generated from here (`qzbrain config docs`).
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from qzbrain.errors import Lang, SettingsInvalid

ROOT = Path(__file__).resolve().parent.parent
"""The clone (or site-packages) that holds this package."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_INDEX_NAME = r"^[a-z0-9][a-z0-9._-]{0,99}$"
_NEO4J_SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")


_UNITS = {"": 1, "b": 1, **{f"{unit}{ending}": 1024**power for power, unit in enumerate("kmgt", 1) for ending in ("", "ib")}}
_UNITS |= {f"{unit}b": 1000**power for power, unit in enumerate("kmgt", 1)}


def size_bytes(text: str) -> int:
    """`50GiB`, `50G`, `50GB` (a thousand to the step), or a number of bytes. Raises ValueError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if found is None or found[2].lower() not in _UNITS or float(found[1]) <= 0:
        raise ValueError("not a size such as 50GiB, 512MiB, or a number of bytes")
    return int(float(found[1]) * _UNITS[found[2].lower()])


class ModelSettings(BaseModel):
    """One `[models.NAME]` table of config.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["extractive", "llamacpp", "ctranslate2", "vllm", "sglang", "external"] = Field(
        description="What runs it: `llamacpp` a GGUF file, `ctranslate2` an embedding model's folder on the CPU, `vllm` and `sglang` a model folder, on this "
        "machine's own hardware (docs/models.md); `external` is any OpenAI-protocol server; `extractive` the built-in answerer."
    )
    base_url: str = Field("", description="external: the address that ends in /v1. For https with a CA of your own, set SSL_CERT_FILE to its PEM file.")
    model: str = Field("", description="The name that the engine knows; the table's name by default.")
    api_key: str = Field("", description="Key sent to the engine.", repr=False)
    api_key_env: str = Field("", description="Environment variable that holds the key; with `_FILE` at its name's end, the file that holds it.")
    path: str = Field(
        "", description="Local engines: the GGUF file or the model's folder; relative paths start at CURRENT_DIR, then in `pretrained_models/` there."
    )
    config_path: str = Field("", description="Local engines: the model's configuration, where it lies apart (the manual's second path of a model).")
    vocabulary_path: str = Field("", description="Local engines: the model's vocabulary or tokeniser, where it lies apart (the manual's third path).")
    alive: bool = Field(
        True, description="Whether this model takes part. A local one is then started with the brain; `qzbrain model start` and `stop` override it."
    )
    on_demand: bool = Field(
        False, description="llamacpp, ctranslate2: not started with the brain but by its first call; it ends after `sleep_after_s` without one."
    )
    sleep_after_s: float = Field(300.0, ge=5, le=86_400, description="on_demand: idle time after which the engine ends.")
    devices: str = Field("", description="Local engines: GPUs by number, `0,1`; CUDA_VISIBLE_DEVICES by default; `none`: the CPU.")
    memory_limit: str = Field(
        "", description="Local engines: most memory on each device (without GPUs: of the machine), `50GiB` or a number of bytes; empty: no bound of its own."
    )
    environment: str = Field(
        "", description="Local engines: the virtual environment that holds the engine; for llamacpp and ctranslate2 by default the one that ./run.sh made, "
        "for vllm and sglang `.venv-vllm` and `.venv-sglang` in CURRENT_DIR."
    )
    command: tuple[str, ...] = Field((), description="vllm, sglang: what is run in place of the environment's own program; the arguments are added to it.")
    arguments: tuple[str, ...] = Field((), description="Local engines: further arguments, added at the end of the engine's command.")
    threads: int = Field(0, ge=0, le=1024, description="llamacpp, ctranslate2: CPU threads; 0 takes all cores, ctranslate2 16 at most.")
    context: int = Field(8192, ge=64, le=10_000_000, description="Context in tokens of one request, prompt and answer together.")
    slots: int = Field(8, ge=1, le=100_000, description="Answers at once.")
    queue: int = Field(64, ge=0, le=100_000, description="Questions that may wait; beyond it the answer is 429.")
    kind: Literal["chat", "embedding", "rerank"] = Field("chat", description="What the model does.")
    pooling: Literal["", "mean", "cls", "last"] = Field("", description="embedding: how one vector is made of a text; empty: as the model's files say.")
    query_prefix: str = Field("", description="embedding: what stands before a question, such as `query: `.")
    passage_prefix: str = Field("", description="embedding: what stands before a passage, such as `passage: `.")
    start_timeout_s: float = Field(600.0, gt=0, le=86_400, description="Local engines: longest time from the start to the first answer.")
    connect_timeout_s: float = Field(5.0, gt=0, le=600, description="Longest wait for a connection.")
    first_token_timeout_s: float = Field(120.0, gt=0, le=3600, description="Longest wait for the first token.")
    idle_timeout_s: float = Field(60.0, gt=0, le=3600, description="Longest silence between two tokens.")
    total_timeout_s: float = Field(900.0, gt=0, le=86_400, description="Longest whole answer.")
    queue_timeout_s: float = Field(120.0, gt=0, le=3600, description="Longest wait for a slot.")

    @field_validator("memory_limit", mode="before")
    @classmethod
    def _memory_limit(cls, value: object) -> object:
        text = str(value).strip() if isinstance(value, (int, str)) and not isinstance(value, bool) else value
        if isinstance(text, str) and text:
            size_bytes(text)
        return text

    @property
    def memory_limit_bytes(self) -> int:
        """The bound in bytes; 0 for none."""
        return size_bytes(self.memory_limit) if self.memory_limit else 0

    def key(self) -> str:
        """The API key: `api_key`, else the variable named by `api_key_env`, or the file that this names, else ''. Raises SettingsInvalid."""
        return self.api_key or (os.environ.get(self.api_key_env, "") or secret_from_file(self.api_key_env) if self.api_key_env else "")


class Settings(BaseSettings):
    """All settings, frozen. Made by `load_settings()`; never read the environment anywhere else."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_prefix="", case_sensitive=False, env_ignore_empty=True)

    # -- the brain itself
    qzbrain_host: str = Field("127.0.0.1", description="Address that the web server binds. On any other than a loopback address there are accounts.")
    qzbrain_port: int = Field(9025, ge=1, le=65535, description="Port that the web server binds.")
    qzbrain_env: Literal["production", "test"] = Field("production", description="`test` uses the test database and the test indexes.")
    qzbrain_lang: Literal["zh", "en"] = Field("zh", description="Language of messages when the reader names none.")
    qzbrain_accounts: Literal["auto", "on"] = Field(
        "auto", description="`auto`: no sign-in on 127.0.0.1, accounts on any other address; `on`: accounts there too."
    )
    qzbrain_embedder: str = Field(
        "auto",
        description="Embedding model of semantic retrieval: a model's name; `none`: words only; `auto`: the first alive `[models.NAME]` of kind "
        "embedding, else the built-in multilingual-e5-small where it is installed.",
    )
    qzbrain_reranker: str = Field(
        "auto", description='Reranker: a model\'s name; `none`; `auto`: the first alive `[models.NAME]` of kind rerank, if there is one.'
    )
    rerank_timeout_s: float = Field(1.0, gt=0, le=60, description="Longest wait for the reranker; beyond it the order before it stands.")
    web_workers: int = Field(1, ge=1, le=64, description="Web worker processes. More than one need REDIS_HOST: what they must agree on is kept there.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    # -- what goes on: docs/observability.md
    log_content: Literal["off", "on"] = Field(
        "off", description="`on`: lines of the log about slow answers and searches hold the question too; otherwise no text of questions is logged."
    )
    slow_answer_s: float = Field(10.0, ge=0, le=3600, description="An answer that takes longer is logged (`slow_answer`) with its timings. 0: none is.")
    slow_search_ms: float = Field(500.0, ge=0, le=600_000, description="A search that takes longer is logged (`slow_search`) with its stages. 0: none is.")
    slow_sql_ms: float = Field(500.0, ge=0, le=600_000, description="A read or a transaction that takes longer is logged (`slow_sql`). 0: none is.")
    metrics_token: str = Field(
        "", description="Where there are accounts: a secret, 16 characters or more, that as a bearer token opens /metrics and nothing else.", repr=False
    )
    otel_exporter_otlp_endpoint: str = Field(
        "", description="Address of an OpenTelemetry collector that takes OTLP over HTTP, `http://HOST:4318`; empty: nothing is traced. Needs `pip install "
        "'qzbrain[otel]'`."
    )
    otel_exporter_otlp_headers: str = Field(
        "", description="Headers for that collector, `name=value` separated by commas, such as an access token.", repr=False
    )
    otel_content: Literal["off", "on"] = Field("off", description="`on`: traces hold questions and answers as texts; otherwise times and numbers alone.")
    # -- backups
    backup_dir: str = Field("", description="Folder of backups; `backups` in the data folder by default. Best on another disk (docs/backup.md).")
    backup_every: str = Field("", description="When backups are made by themselves: a time of day (`03:30`) or an interval (`30m`, `12h`, `7d`); empty: never.")
    backup_keep: int = Field(7, ge=1, le=10_000, description="How many backups are kept of those made by themselves, and how many of those before upgrades.")
    backup_key_file: str = Field("", description="File that holds the secret which backups are encrypted with; empty: they are not encrypted.")
    backup_before_upgrade: Literal["on", "off"] = Field("on", description="Back up a database that has data before a newer program migrates it.")
    stop_wait_s: int = Field(
        20, ge=1, le=3600, description="Longest time that a stop takes: running answers may end until then; afterwards they are cut off and kept as stopped."
    )
    log_file_mb: int = Field(10, ge=1, le=10_000, description="Size, MiB, from which a log file in `logs/` of the data folder is put aside.")
    log_files: int = Field(3, ge=0, le=100, description="How many of them are kept of each process, beside the one that is written.")

    # -- places
    current_dir: Path = Field(ROOT, description="Root of the deployment (the manual's name); relative paths start here.")
    qzbrain_data: Path | None = Field(None, description="Data folder; `CURRENT_DIR/data` by default. Nothing is written elsewhere.")
    qzbrain_config: Path | None = Field(
        None, description="The configuration file; else `config.toml` in the data folder, else `config.toml` in CURRENT_DIR. Environment only."
    )
    embedding_index: str = Field(
        "",
        description="A knowledge pack (the manual's kg_index_dir, such as `knowledge_pool/m3elarge-laws-250-50`, with or without `.qzkb`): taken in at the "
        "start, once (docs/packs.md).",
    )
    embedding_model: str = Field(
        "", description="Folder of embedding models (the manual's name): relative paths of models of kind embedding are looked for there first."
    )
    model_path: str = Field("", description="Overrides the path of the model in use (the manual's name): the first local chat model that is alive.")
    cuda_visible_devices: str = Field("", description="GPUs for local engines, by number: `0,1`. Empty: the CPU.")

    # -- where `qzbrain model pull` looks; nothing is asked before it is run
    modelscope_endpoint: str = Field(
        "https://www.modelscope.cn", pattern=r"^https?://\S+$", description="Address of ModelScope, asked first by `qzbrain model pull`."
    )
    hf_endpoint: str = Field("https://huggingface.co", pattern=r"^https?://\S+$", description="Address of Hugging Face, or of a mirror of it.")
    hf_token: str = Field("", description="Access token of Hugging Face, for models that want one.", repr=False)

    # -- accounts
    session_idle_minutes: int = Field(480, ge=1, le=43_200, description="A session ends when nobody used it for so long.")
    session_hours: int = Field(24, ge=1, le=8_760, description="A session ends so long after sign-in, used or not.")
    qzbrain_audit: Literal["auto", "on", "off"] = Field(
        "auto", description="Whether who did or read what is written down (docs/security.md): `auto`, where callers must sign in; `on`, always; `off`, never."
    )

    # -- a network
    tls_cert: str = Field("", description="PEM file of the web server's certificate with its chain; with TLS_KEY the brain speaks https (docs/security.md).")
    tls_key: str = Field("", description="PEM file of that certificate's key.")
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks (`10.0.0.5, 10.1.0.0/16`) of proxies whose X-Forwarded-For, -Proto and -Host are believed; empty: nobody's.",
    )

    # -- signing in with an account that somebody else keeps: docs/sso.md
    sso_role: Literal["reader", "editor", "manager", "administrator"] = Field(
        "reader", description="Role of who signs in for the first time by LDAP or OpenID Connect."
    )
    sso_clearance: Literal["public", "internal", "confidential", "secret", "top_secret"] = Field(
        "internal", description="Clearance of who signs in for the first time by LDAP or OpenID Connect."
    )
    ldap_url: str = Field("", description="Directory for signing in: `ldaps://HOST` or `ldap://HOST`; empty: none (docs/sso.md).")
    ldap_start_tls: bool = Field(True, description="Encrypt an `ldap://` connection by StartTLS before anything is sent.")
    ldap_ca: str = Field("", description="PEM file of the CA that signed the directory's certificate; empty: the system's.")
    ldap_bind_dn: str = Field("", description="Who searches the directory; empty: nobody in particular.")
    ldap_bind_password: str = Field("", description="Password of LDAP_BIND_DN.", repr=False)
    ldap_user_base: str = Field("", description="Below which entry people are looked for, such as `ou=people,dc=example,dc=org`.")
    ldap_user_filter: str = Field("(uid={name})", description="How somebody is found by the name that was typed; Active Directory: `(sAMAccountName={name})`.")
    ldap_name_attribute: str = Field("uid", description="Attribute that holds the user name; Active Directory: `sAMAccountName`.")
    ldap_display_attribute: str = Field("cn", description="Attribute that holds what somebody is called.")
    ldap_id_attribute: str = Field("entryUUID objectGUID", description="Attributes, the first that is there, that tell a person for ever; else the entry's DN.")
    ldap_group_attribute: str = Field(
        "", description="Attribute that lists somebody's groups, such as `memberOf`; groups of the same name here are joined and left."
    )
    oidc_issuer: str = Field("", description="Identity provider for signing in by OpenID Connect: its issuer's address; empty: none (docs/sso.md).")
    oidc_client_id: str = Field("", description="Name of this brain at the provider.")
    oidc_client_secret: str = Field("", description="Secret of this brain at the provider; empty for a public client (PKCE is always used).", repr=False)
    oidc_scopes: str = Field("openid profile email", description="What the provider is asked to tell.")
    oidc_name_claim: str = Field("preferred_username", description="Claim that holds the user name.")
    oidc_groups_claim: str = Field("", description="Claim that lists somebody's groups; groups of the same name here are joined and left.")
    oidc_ca: str = Field("", description="PEM file of the CA that signed the provider's certificate; empty: the system's.")

    # -- limits
    max_upload_mb: int = Field(200, ge=1, le=10_000, description="Largest upload request, MiB.")
    max_text_chars: int = Field(20_000_000, ge=1000, le=500_000_000, description="Longest text that one document may give, in characters.")
    parse_timeout_s: int = Field(120, ge=5, le=3600, description="Longest time that reading a document may take without a step forward (a page, some rows).")
    parse_total_timeout_s: int = Field(3600, ge=5, le=86_400, description="Longest time that reading a document may take in all.")
    parse_memory_mb: int = Field(1024, ge=256, le=65_536, description="Most memory that reading a document may take, MiB.")
    watch_roots: str = Field("", description="Folders, separated by `:`, inside which folders may be watched over HTTP; empty: by the command line only.")
    ocr: Literal["auto", "off"] = Field(
        "auto", description="Whether scanned pages and images are read by OCR: `auto`, when it is installed (`./run.sh --with-ocr`), or `off`."
    )
    ocr_page_timeout_s: int = Field(60, ge=5, le=3600, description="Longest time that recognising the text of one page may take.")
    ocr_threads: int = Field(0, ge=0, le=64, description="Threads that OCR uses; 0: as many as there are cores, at most four. It gives way to answers.")
    requests_per_minute: int = Field(
        0, ge=0, le=1_000_000, description="Requests a minute of one user, keys included; beyond it 429. 0: no limit. A key may have a lower bound of its own."
    )
    answers_per_user: int = Field(
        0, ge=0, le=100_000, description="Answers that one user may be given at a time, where callers must sign in; beyond it 429. 0: no limit (models' queues "
        "serve users in turn all the same)."
    )
    storage_per_user_mb: int = Field(
        0, ge=0, le=100_000_000, description="Most that the documents of one user may take, MiB; beyond it 413. 0: no limit. A user may have his own bound."
    )
    rate_limit_per_minute: int = Field(0, ge=0, le=1_000_000, description="Questions a minute of one caller over the network; beyond it 429. 0: no limit.")

    # -- retrieval and answering
    entries_need_approval: bool = Field(
        True, description="A curated entry, and each change of one, is in force only when somebody has approved it; false: at once."
    )
    entry_direct_confidence: float = Field(
        0.85, ge=0.5, le=1.0,
        description="From here a curated entry answers directly: how surely the question asked is the entry's, 0..1; 1 for the same words (docs/entries.md).",
    )
    parent_chars: int = Field(
        800, ge=0, le=20_000, description="A passage is shown to the model with the rest of its section or article where that has at most so many characters."
    )
    answer_threshold: float = Field(
        0.35,
        ge=0,
        le=1,
        description="Least confidence (idf-weighted share of the question's terms that the evidence covers) at which a question counts as answerable; "
        "below it the brain says that it does not know.",
    )
    qzbrain_graph_answer: float = Field(
        0.55, ge=0, le=1,
        description="From here the knowledge graph answers where no language model does, and its facts are shown to the language model where one does: "
        "how sure it is, 0..1; 0: never (docs/graph_rung.md).",
    )
    context_chars: int = Field(6000, ge=500, le=1_000_000, description="Most characters of passages shown to a language model.")

    # -- the manual's engines
    mysql_host: str = Field("", description="MySQL or MariaDB server. Setting it moves the database from SQLite to that server; see docs/mysql.md.")
    mysql_port: int = Field(23306, ge=1, le=65535, description="MySQL port.")
    mysql_user: str = Field("qiyuan", min_length=1, description="MySQL user.")
    mysql_password: str = Field("", description="MySQL password, any characters.", repr=False)
    mysql_db: str = Field("chatglm", min_length=1, max_length=64, description="MySQL database; `test_database` takes its place under QZBRAIN_ENV=test.")
    mysql_ssl_ca: str = Field("", description="PEM file of the CA that signed the MySQL server's certificate; with it nothing else is trusted.")
    redis_host: str = Field(
        "",
        description="Redis server: Celery dispatches jobs there (docs/redis.md), and web processes share slots of models, stops and rate limits "
        "(docs/several_workers.md). Empty: the built-in parts.",
    )
    redis_port: int = Field(16379, ge=1, le=65535, description="Redis port.")
    redis_password: str = Field("", description="Redis password, any characters.", repr=False)
    redis_db: int = Field(0, ge=0, description="Redis database for shared state.")
    celery_db: int = Field(1, ge=0, description="Redis database for Celery's queue.")
    es_url_add: str = Field(
        "",
        description="Elasticsearch 8/9 or OpenSearch 2/3: HOST:PORT or a URL, several separated by commas or blanks. Setting it moves the search "
        "index there; see docs/search_server.md.",
    )
    es_user: str = Field("", description="User of the search server.")
    es_password: str = Field("", description="Password of that user, any characters.", repr=False)
    es_api_key: str = Field("", description="API key of the search server (the encoded form), instead of user and password.", repr=False)
    es_ca_file: str = Field("", description="PEM file of the CA that signed the search server's certificate, where it is one of your own.")
    es_timeout_s: float = Field(3.0, gt=0, le=60, description="Longest wait for the search server's answer to one search.")
    qizhibrain_index: str = Field(
        "qizhi_brain_es_retriever", pattern=_INDEX_NAME, description="What the names of the search server's indexes begin with; one for each knowledge base."
    )
    kginsert_index: str = Field(
        "qizhi_brain_kg_insert",
        pattern=_INDEX_NAME,
        description="What the names of the search server's indexes of facts begin with; one for each knowledge base that has a graph (docs/graph_index.md).",
    )
    kginsert_facts: bool = Field(
        True, description="Tell the facts of knowledge graphs as texts and search them beside the documents (docs/graph_index.md). Off: neither."
    )
    qizhibrain_index_test: str = Field("qizhi_brain_es_retriever_test", pattern=_INDEX_NAME, description="As QIZHIBRAIN_INDEX, under QZBRAIN_ENV=test.")
    kginsert_index_test: str = Field("qizhi_brain_kg_insert_test", pattern=_INDEX_NAME, description="As KGINSERT_INDEX, under QZBRAIN_ENV=test.")
    qizhibrain_es_score: float = Field(
        1.0,
        ge=0,
        description="Lowest raw score that counts on a search server: BM25, or, where a knowledge base is too small for it to say much, the same as if "
        "1,000 more passages stood around. 1 leaves out passages that share nothing with the question but words that stand almost everywhere.",
    )
    graph_at_ingest: Literal["on", "off"] = Field(
        "on",
        description="`on`: what documents state about themselves (chapters and articles, references between articles and laws, definitions) is in the "
        "knowledge graph when they are ready. `off`: documents that come are not looked through; what is in the graph stays (docs/graph_building.md).",
    )
    graph_extract_model: str = Field(
        "",
        description="Language model that reads every new or changed document for facts by itself, a model's name or `auto`; empty: only when it is asked to "
        "(docs/graph_extraction.md).",
    )
    graph_url: str = Field(
        "",
        description="Address of a graph service, `http://HOST:8000`, with or without `/chat-process-txt` (docs/graph_service.md). Empty: this brain's own part "
        "inside web.",
    )
    graph_token: str = Field(
        "",
        description="Secret of the graph service, 16 characters or more: `qzbrain graph-service` demands it, and it is sent to GRAPH_URL as a bearer token. "
        "Needed where the service binds another address than 127.0.0.1.",
        repr=False,
    )
    graph_timeout_s: float = Field(2.0, gt=0, le=60, description="Longest time that one call of the graph service may take, connecting included.")
    qzbrain_graph_service: Literal["off", "on"] = Field(
        "off", description="`on`: the graph service runs beside web and worker as a process of its own, and web asks it unless GRAPH_URL names another."
    )
    qzbrain_graph_host: str = Field("127.0.0.1", description="Address that `qzbrain graph-service` binds; another than 127.0.0.1 needs GRAPH_TOKEN.")
    qzbrain_graph_port: int = Field(8000, ge=1, le=65535, description="Port that `qzbrain graph-service` binds.")
    neo4j_url: str = Field(
        "",
        description="Address of a Neo4j server from 5.26 (bolt:// or neo4j://, with +s or +ssc for TLS) that gets a copy of every knowledge graph, from which "
        "graphs are read and which may be queried in Cypher; see docs/graph_neo4j.md. Empty: the database alone.",
    )
    neo4j_user: str = Field("neo4j", description="User of the Neo4j server.")
    neo4j_password: str = Field("", description="Password of that user, any characters.", repr=False)
    neo4j_database: str = Field("", description="Database on the Neo4j server; empty: that user's own, as a rule `neo4j`.")

    models: Annotated[dict[str, ModelSettings], NoDecode] = Field(
        default_factory=dict, description="Language models, one `[models.NAME]` table each, in the order in which `auto` tries them. config.toml only."
    )

    @field_validator("qzbrain_env", "qzbrain_lang", "qzbrain_accounts", "qzbrain_audit", "log_level", "log_content", "otel_content", mode="before")
    @classmethod
    def _lower_case(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("es_url_add")
    @classmethod
    def _search_addresses(cls, value: str) -> str:
        for address in _addresses(value):
            parts = urlsplit(address)
            if parts.scheme not in ("http", "https") or not parts.hostname or not _has_port(parts) or parts.query or parts.fragment:
                raise ValueError("not HOST:PORT or http(s)://HOST:PORT, nor several of them separated by commas")
            if parts.username is not None:
                raise ValueError("user and password do not belong into the address; they are the settings ES_USER and ES_PASSWORD")
        return value

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _collector_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname or not _has_port(parts) or parts.query or parts.fragment):
            raise ValueError("not http(s)://HOST:PORT")
        if parts.username is not None:
            raise ValueError("user and password do not belong into the address; what the collector wants to know is the setting OTEL_EXPORTER_OTLP_HEADERS")
        return value

    @field_validator("ldap_url")
    @classmethod
    def _directory_address(cls, value: str) -> str:
        parts = urlsplit(value)
        strange = parts.path.strip("/") or parts.username is not None
        if value and (parts.scheme not in ("ldap", "ldaps") or not parts.hostname or not _has_port(parts) or strange):
            raise ValueError("not ldap://HOST[:PORT] or ldaps://HOST[:PORT]")
        return value

    @field_validator("ldap_user_filter")
    @classmethod
    def _directory_filter(cls, value: str) -> str:
        if "{name}" not in value or not (value.startswith("(") and value.endswith(")")):
            raise ValueError("no filter in parentheses that holds {name}")
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _provider_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username is not None):
            raise ValueError("not https://HOST[/PATH]")
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError("http without encryption; an identity provider is reached by https")
        return value

    @field_validator("graph_url")
    @classmethod
    def _graph_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname or not _has_port(parts) or parts.query or parts.fragment):
            raise ValueError("not http(s)://HOST:PORT or http(s)://HOST:PORT/chat-process-txt")
        if parts.username is not None:
            raise ValueError("user and password do not belong into the address; the service's secret is the setting GRAPH_TOKEN")
        return value

    @field_validator("backup_every")
    @classmethod
    def _backup_times(cls, value: str) -> str:
        value = value.strip()
        if value and not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d|[1-9]\d{0,4}[mhd]", value):
            raise ValueError("neither a time of day such as 03:30 nor an interval such as 12h")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for one in _listed(value):
            ipaddress.ip_network(one, strict=False)
        return value

    @field_validator("graph_token", "metrics_token")
    @classmethod
    def _bearer_secret(cls, value: str) -> str:
        if value and not re.fullmatch(r"[\x21-\x7e]{16,200}", value):
            raise ValueError("not 16 to 200 printable ASCII characters without blanks; `openssl rand -hex 32` makes one")
        return value

    @field_validator("neo4j_url")
    @classmethod
    def _neo4j_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in _NEO4J_SCHEMES or not parts.hostname or not _has_port(parts) or parts.path.strip("/") or parts.fragment):
            raise ValueError("not bolt://HOST:PORT or neo4j://HOST:PORT (with +s or +ssc for TLS)")
        if parts.username is not None or parts.query:
            raise ValueError("only HOST:PORT; user, password and database are the settings NEO4J_USER, NEO4J_PASSWORD and NEO4J_DATABASE")
        return value

    @field_validator("models")
    @classmethod
    def _model_names(cls, value: dict[str, ModelSettings]) -> dict[str, ModelSettings]:
        for name, model in value.items():
            if not re.fullmatch(r"[\w.\-]{1,64}", name) or name in ("auto", "none"):
                raise ValueError(f"[models.{name}]: a name is 1-64 letters, digits, - _ . and not auto or none")
            if model.engine == "external" and not re.match(r"https?://", model.base_url):
                raise ValueError(f'[models.{name}]: engine external needs base_url = "http://HOST:PORT/v1"')
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first; the file's values come in as init arguments."""
        return _Environment(settings_cls), init_settings

    @property
    def embedding_index_path(self) -> Path | None:
        """EMBEDDING_INDEX as a place; None when it is empty."""
        return _placed(Path(self.embedding_index), self.current_dir) if self.embedding_index else None

    @property
    def accounts(self) -> bool:
        """Whether callers must sign in."""
        return self.qzbrain_accounts == "on" or not is_loopback(self.qzbrain_host)

    @property
    def audited(self) -> bool:
        """Whether an audit log is kept."""
        return self.qzbrain_audit == "on" or (self.qzbrain_audit == "auto" and self.accounts)

    @property
    def tls(self) -> bool:
        """Whether the web server speaks https by itself."""
        return bool(self.tls_cert)

    @property
    def tls_cert_path(self) -> Path:
        """Where TLS_CERT is, absolute."""
        return _placed(Path(self.tls_cert), self.current_dir)

    @property
    def tls_key_path(self) -> Path:
        """Where TLS_KEY is, absolute."""
        return _placed(Path(self.tls_key), self.current_dir)

    @property
    def backup_folder(self) -> Path:
        """BACKUP_DIR, absolute."""
        return _placed(Path(self.backup_dir), self.current_dir) if self.backup_dir else self.data / "backups"

    @property
    def backup_key_path(self) -> Path | None:
        """BACKUP_KEY_FILE, absolute; None when it is not set."""
        return _placed(Path(self.backup_key_file), self.current_dir) if self.backup_key_file else None

    @property
    def proxy_networks(self) -> list[Network]:
        """TRUSTED_PROXIES as networks."""
        return [ipaddress.ip_network(one, strict=False) for one in _listed(self.trusted_proxies)]

    @property
    def data(self) -> Path:
        """The data folder, absolute."""
        return _placed(self.qzbrain_data or Path("data"), self.current_dir)

    @property
    def database_path(self) -> Path:
        """The SQLite file; another one under QZBRAIN_ENV=test."""
        return self.data / ("test_database.sqlite" if self.qzbrain_env == "test" else "brain.sqlite")

    @property
    def mysql_database(self) -> str:
        """The database on the MySQL server; another one under QZBRAIN_ENV=test."""
        return "test_database" if self.qzbrain_env == "test" else self.mysql_db

    @property
    def mysql_ca_path(self) -> Path | None:
        """Where MYSQL_SSL_CA is, absolute; None when it is not set."""
        return _placed(Path(self.mysql_ssl_ca), self.current_dir) if self.mysql_ssl_ca else None

    @property
    def index_path(self) -> Path:
        """Folder of the search indexes; another one under QZBRAIN_ENV=test."""
        return self.data / ("index_test" if self.qzbrain_env == "test" else "index")

    @property
    def es_addresses(self) -> list[str]:
        """The search server's addresses as full URLs; [] when none is configured."""
        return _addresses(self.es_url_add)

    @property
    def es_ca_path(self) -> Path | None:
        """The CA's PEM file, absolute; None when none is named."""
        return _placed(Path(self.es_ca_file), self.current_dir) if self.es_ca_file else None

    @property
    def es_index(self) -> str:
        """What the names of the indexes on the search server begin with; another one under QZBRAIN_ENV=test."""
        return self.qizhibrain_index_test if self.qzbrain_env == "test" else self.qizhibrain_index

    @property
    def es_facts_index(self) -> str:
        """As `es_index`, of the indexes of facts."""
        return self.kginsert_index_test if self.qzbrain_env == "test" else self.kginsert_index

    @property
    def graph_address(self) -> str:
        """The graph service that is asked, without `/chat-process-txt` and slashes at its end; '' for the part inside this process."""
        own = self.graph_service_url if self.qzbrain_graph_service == "on" else ""
        return (self.graph_url or own).rstrip("/").removesuffix("/chat-process-txt").rstrip("/")

    @property
    def graph_service_url(self) -> str:
        """Where a graph service of this brain's own is found on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.qzbrain_graph_host, self.qzbrain_graph_host)  # noqa: S104  not bound here
        return f"http://{f'[{host}]' if ':' in host else host}:{self.qzbrain_graph_port}"

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the brain."""
        host = f"[{self.qzbrain_host}]" if ":" in self.qzbrain_host else self.qzbrain_host
        return f"{'https' if self.tls else 'http'}://{host}:{self.qzbrain_port}"


def secrets_of(settings: Settings) -> list[str]:
    """Passwords, keys and tokens of the settings; for what must never show."""
    named = [str(getattr(settings, name)) for name, field in type(settings).model_fields.items() if not field.repr and name != "models"]
    return [one for one in (*named, *(model.key() for model in settings.models.values())) if one]


class _Environment(EnvSettingsSource):
    """The environment without `MODELS`: a variable of that general name belongs to somebody else. With what secrets' files hold."""

    def __call__(self) -> dict[str, Any]:
        """Values by field name. Raises SettingsInvalid."""
        values = {name: value for name, value in super().__call__().items() if name != "models"}
        return values | {name: text for name in secret_settings() if (text := secret_from_file(name.upper()))}


def secret_settings() -> list[str]:
    """Settings that hold a password, a key or a token, by field name."""
    return [name for name, field in Settings.model_fields.items() if not field.repr and name != "models"]


def secret_from_file(variable: str) -> str:
    """What is in the file that VARIABLE_FILE names, without the line's end; '' where that is not set. Raises SettingsInvalid."""
    named = os.environ.get(f"{variable}_FILE", "")
    if not named:
        return ""
    if os.environ.get(variable):
        raise SettingsInvalid(
            zh=f"{variable} 与 {variable}_FILE 同时设置了。请只保留一个。",
            en=f"{variable} and {variable}_FILE are both set. Keep one of them.",
            param=variable.lower(),
        )
    path = _placed(Path(named), Path(os.environ.get("CURRENT_DIR") or ROOT))
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "UTF-8"
        raise SettingsInvalid(
            zh=f"{variable}_FILE 指向的文件 {path} 无法读取（{reason}）。请改正路径，并确认运行用户可读。",
            en=f"{variable}_FILE names {path}, which cannot be read ({reason}). Correct the path, and see that the user who runs the brain may read it.",
            param=variable.lower(),
        ) from exc
    if not text:
        raise SettingsInvalid(
            zh=f"{variable}_FILE 指向的文件 {path} 是空的。请写入内容，或取消该设置。",
            en=f"{variable}_FILE names {path}, which is empty. Put the secret into it, or unset the variable.",
            param=variable.lower(),
        )
    return text


def _listed(value: str) -> list[str]:
    return [one for one in re.split(r"[\s,;]+", value) if one]


def _addresses(value: str) -> list[str]:
    return [one if "://" in one else f"http://{one}" for one in re.split(r"[\s,;]+", value) if one]


def _has_port(parts: SplitResult) -> bool:
    """Whether the port is one, or none is named."""
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def _placed(path: Path, root: Path) -> Path:
    """An absolute path; a relative one starts at `root`, and a relative root at the program's own folder."""
    return (ROOT / root.expanduser() / path.expanduser()).resolve()


def config_path() -> Path | None:
    """The configuration file in force: QZBRAIN_CONFIG, else config.toml in the data folder, else in CURRENT_DIR; None when none is there.

    Raises SettingsInvalid when QZBRAIN_CONFIG names a file that does not exist.
    """
    root = Path(os.environ.get("CURRENT_DIR") or ROOT)
    named = os.environ.get("QZBRAIN_CONFIG")
    if named:
        path = _placed(Path(named), root)
        if not path.is_file():
            raise SettingsInvalid(
                zh=f"QZBRAIN_CONFIG 指向的文件不存在：{path}。请改正路径，或运行 qzbrain config init 生成一份。",
                en=f"QZBRAIN_CONFIG names a file that does not exist: {path}. Correct the path, or make one with: qzbrain config init.",
                param="qzbrain_config",
            )
        return path
    places = (default_config_path(), _placed(Path("config.toml"), root))
    return next((path for path in places if path.is_file()), None)


def default_config_path() -> Path:
    """Where `qzbrain config init` puts a new file: QZBRAIN_CONFIG, else config.toml in the data folder."""
    root = Path(os.environ.get("CURRENT_DIR") or ROOT)
    named = os.environ.get("QZBRAIN_CONFIG")
    return _placed(Path(named), root) if named else _placed(Path(os.environ.get("QZBRAIN_DATA") or "data"), root) / "config.toml"


def _file_values(path: Path | None) -> dict[str, Any]:
    """What config.toml says. Raises SettingsInvalid when it cannot be read or names an unknown setting."""
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise SettingsInvalid(zh=f"配置文件 {path} 无法读取或不是有效的 TOML：{exc}", en=f"{path} cannot be read or is not valid TOML: {exc}") from exc
    if unknown := sorted(set(values) - set(Settings.model_fields)):
        meant = nearest_setting(unknown[0])
        raise SettingsInvalid(
            zh=f"配置文件 {path} 中有不认识的设置：{', '.join(unknown)}{f'（应为 {meant}？）' if meant else ''}。请对照 docs/settings.md 改正或删除。",
            en=f"{path} has unknown settings: {', '.join(unknown)}{f' (is {meant} meant?)' if meant else ''}. "
            "Correct or remove them; docs/settings.md lists all.",
            param=unknown[0],
        )
    return values


def nearest_setting(name: str, *, of_models: bool = False, least: float = 0.75) -> str | None:
    """The setting (or the key of a model's table) whose name is most like this misspelt one; None when none is, by difflib's ratio."""
    from difflib import get_close_matches

    known = ModelSettings.model_fields if of_models else Settings.model_fields
    return next(iter(get_close_matches(name.lower(), known, 1, least)), None)


def load_settings(**overrides: Any) -> Settings:
    """Read the environment and config.toml once.

    `overrides` stand below the environment, above the file. Raises SettingsInvalid with the setting's name and the way out.
    """
    try:
        settings = Settings(**{**_file_values(config_path()), **overrides})
    except ValidationError as exc:
        raise _unusable(exc) from exc
    _refuse_half_a_sign_in(settings)
    _refuse_workers_without_shared_state(settings)
    _refuse_graph_circle(settings)
    _refuse_half_of_tls(settings)
    return settings


def _unusable(exc: ValidationError) -> SettingsInvalid:
    """The first complaint, with the setting's name and, where it is no secret, the value."""
    first = exc.errors(include_url=False)[0]
    name = ".".join(str(x) for x in first["loc"]) or "models"
    secret = any(word in name for word in ("password", "secret", "key", "token", "models", "es_url", "graph_url", "neo4j_url", "otel_exporter"))
    given = "" if secret else f" {str(first['input'])[:80]!r}"
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden" and (meant := nearest_setting(str(first["loc"][-1]), of_models=True)):
        reason = f"{reason}; is {meant} meant?"
    return SettingsInvalid(
        zh=f"设置 {name} 的值{given} 不可用：{reason}。请在环境变量或 config.toml 中改正，说明见 docs/settings.md。",
        en=f"The value{given} of the setting {name} cannot be used: {reason}. Correct it in the environment or in config.toml; see docs/settings.md.",
        param=name,
    )


def _refuse_half_a_sign_in(settings: Settings) -> None:
    for given, name, wanted, needed in (
        (settings.ldap_url, "LDAP_URL", settings.ldap_user_base, "LDAP_USER_BASE"),
        (settings.oidc_issuer, "OIDC_ISSUER", settings.oidc_client_id, "OIDC_CLIENT_ID"),
    ):
        if given and not wanted:
            raise SettingsInvalid(
                zh=f"设置了 {name}，但没有设置 {needed}。请补上，说明见 docs/sso.md。",
                en=f"{name} is set and {needed} is not. Set it too; see docs/sso.md.",
                param=needed.lower(),
            )


def _refuse_workers_without_shared_state(settings: Settings) -> None:
    if settings.web_workers > 1 and not settings.redis_host:
        raise SettingsInvalid(
            zh=f"WEB_WORKERS={settings.web_workers} 需要 Redis：多个网页进程要共同遵守模型并发数、停止和限流。请设置 REDIS_HOST，或将 WEB_WORKERS 设为 1。",
            en=f"WEB_WORKERS={settings.web_workers} needs Redis: several web processes must agree on slots of models, stops and rate limits. "
            "Set REDIS_HOST, or WEB_WORKERS=1.",
            param="web_workers",
        )


def _refuse_half_of_tls(settings: Settings) -> None:
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SettingsInvalid(
            zh="TLS_CERT 与 TLS_KEY 须同时设置：证书（含中间证书）和它的私钥，均为 PEM 文件。",
            en="TLS_CERT and TLS_KEY go together: the certificate with its chain and its key, both PEM files.",
            param="tls_key" if settings.tls_cert else "tls_cert",
        )
    for path in (settings.tls_cert_path, settings.tls_key_path) if settings.tls else ():
        if not path.is_file():
            raise SettingsInvalid(
                zh=f"没有文件 {path}（TLS_CERT 或 TLS_KEY）。请改正路径，并确认运行用户可读。",
                en=f"There is no file {path} (TLS_CERT or TLS_KEY). Correct the path, and see that the user who runs the brain may read it.",
                param="tls_cert",
            )


def _refuse_graph_circle(settings: Settings) -> None:
    """A web process that asked itself would wait for itself."""
    parts = urlsplit(settings.graph_url)
    if is_loopback(parts.hostname or "") and (parts.port or (443 if parts.scheme == "https" else 80)) == settings.qzbrain_port:
        raise SettingsInvalid(
            zh=f"GRAPH_URL={settings.graph_url} 指向本系统自己的网页端口。请改为图谱服务的地址（默认端口 8000），或取消该设置。",
            en=f"GRAPH_URL={settings.graph_url} is this brain's own web port. Name the graph service's address (port 8000 by default), or unset it.",
            param="graph_url",
        )


def is_loopback(host: str) -> bool:
    """Whether an address, or the name `localhost`, is this machine's own alone."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_graph_secret(settings: Settings) -> None:
    """Raises SettingsInvalid where the graph service would be open to other machines."""
    if is_loopback(settings.qzbrain_graph_host) or settings.graph_token:
        return
    raise SettingsInvalid(
        zh=f"图谱服务要监听 {settings.qzbrain_graph_host}，但没有设置 GRAPH_TOKEN：任何能连到它的人都能读取知识图谱。"
        "请设置 GRAPH_TOKEN（例如 openssl rand -hex 32 的输出），或只监听 127.0.0.1。",
        en=f"The graph service is to listen on {settings.qzbrain_graph_host} and GRAPH_TOKEN is not set: whoever reaches it could read the knowledge graphs. "
        "Set GRAPH_TOKEN (for example to what `openssl rand -hex 32` prints), or listen on 127.0.0.1 only.",
        param="graph_token",
    )


def origin_of(name: str) -> str:
    """Where the value of a setting comes from: `environment`, the path of the configuration or of a secret's file, or `default`."""
    if name != "models" and any(os.environ.get(key) for key in (name.upper(), name)):
        return "environment"
    if name in secret_settings() and (named := os.environ.get(f"{name.upper()}_FILE")):
        return named
    path = config_path()
    return str(path) if path and name in _file_values(path) else "default"


def environment_language() -> Lang:
    """The language for messages before settings are read, and of the command line: QZBRAIN_LANG, else the locale's, else Chinese."""
    for name in ("QZBRAIN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "").strip().lower()
        if value.startswith("en"):
            return "en"
        if value.startswith("zh"):
            return "zh"
    return "zh"
