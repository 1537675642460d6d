"""What an extraction will cost, and having it done. Knows rows and the models' names; asks no model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from qzbrain.errors import InvalidRequest, NotFound, Unavailable
from qzbrain.graph.extracting import extractor_of, identity_of
from qzbrain.graph.extraction_jobs import submit
from qzbrain.graph.extraction_rows import ExtractionRows, passages_by_group
from qzbrain.graph.turns import MOST_AT_ONCE
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.models.registry import AUTO, ModelRegistry, RegisteredModel
from qzbrain.storage.database import Database
from qzbrain.storage.tables import documents

ASSUMED_COMPLETION_TOKENS = 450
ASSUMED_READ_PER_S = 400.0
ASSUMED_WRITTEN_PER_S = 20.0
"""For a model that was never measured: one 8B model on one small GPU, or a small one on a CPU."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What is to be done. Tokens and time are those of the calls that are not kept already.

    `basis`: `measured` from calls of this model, or `assumed`.
    """

    model: str
    documents: int
    chunks: int
    calls: int
    cached_calls: int
    prompt_tokens: int
    completion_tokens: int
    estimate_s: float
    basis: str


class Extractions:
    """Plans and submits."""

    def __init__(self, database: Database, runner: LeaseRunner, models: Callable[[], ModelRegistry]) -> None:
        self._db, self._jobs, self._models, self._rows = database, runner, models, ExtractionRows(database)

    def cost(self, kb_id: str, *, model: str | None = None, document_ids: Sequence[str] | None = None, ceiling: int | None = None) -> Cost:
        """Without asking any model. `ceiling`: of documents up to this level (place in LEVELS) alone. Raises NotFound, Unavailable."""
        chosen = self._model(model)
        ids, identity = self._documents(kb_id, document_ids, ceiling), identity_of(chosen)
        chunks = calls = cached = prompt_tokens = 0
        for document_id in ids:
            document = self._rows.document(document_id)
            if document is None:
                continue
            chunks += len(document.passages)
            by_key = {one.key(identity): one for one in passages_by_group(document)}
            known = self._rows.known(list(by_key))
            calls += len(by_key)
            cached += len(known)
            prompt_tokens += sum(one.prompt_tokens for key, one in by_key.items() if key not in known)
            time.sleep(0)  # in a process of greenlets, streams go on between two documents
        rate, left = self._rows.rate(extractor_of(chosen.name)), calls - cached
        written = rate.completion_tokens if rate.calls else ASSUMED_COMPLETION_TOKENS
        took_s = left * rate.took_s if rate.calls else prompt_tokens / ASSUMED_READ_PER_S + left * written / ASSUMED_WRITTEN_PER_S
        at_once = max(1, min(MOST_AT_ONCE, chosen.settings.slots - 1))
        basis = "measured" if rate.calls else "assumed"
        return Cost(chosen.name, len(ids), chunks, calls, cached, prompt_tokens, round(left * written), round(took_s / at_once, 1), basis)

    def submit(self, kb_id: str, *, model: str | None = None, document_ids: Sequence[str] | None = None, ceiling: int | None = None) -> str:
        """Have it done, `ceiling` as of `cost`; returns the job's id. One that waits or runs for the same is not begun twice. Raises NotFound, Unavailable."""
        chosen = self._model(model)
        payload: dict[str, Any] = {"model": chosen.name}
        if document_ids is not None or ceiling is not None:
            payload["document_ids"] = self._documents(kb_id, document_ids, ceiling)
        with self._db.write(durable=True) as connection:
            return submit(connection, self._jobs, kb_id, payload)

    def _documents(self, kb_id: str, document_ids: Sequence[str] | None, ceiling: int | None) -> list[str]:
        found = self._rows.document_ids(kb_id, None if document_ids is None else set(document_ids))
        if ceiling is not None:
            seen = {row.id for row in self._db.rows(select(documents.c.id).where(documents.c.kb_id == kb_id, documents.c.level <= ceiling))}
            found = [one for one in found if one in seen]
        missing = sorted(set(document_ids or ()) - set(found))
        if missing:
            shown = missing[0][:80]
            raise NotFound(
                "document_not_found",
                zh=f"知识库中没有已就绪的文档 {shown}。请用 GET /api/knowledge-bases/…/documents 查看。",
                en=f"The knowledge base has no document {shown} that is ready. See GET /api/knowledge-bases/…/documents.",
                param="document_ids",
            )
        return found

    def _model(self, name: str | None) -> RegisteredModel:
        """The model of this name; for none, or `auto`, the first one whose engine is there."""
        models = self._models()
        if name and name != AUTO:
            if name not in models.language_models():
                raise NotFound(
                    "model_not_found",
                    zh=f"没有语言模型“{name[:80]}”。可用的有：{'、'.join(models.language_models()) or '（无）'}。",
                    en=f'There is no language model "{name[:80]}". There are: {", ".join(models.language_models()) or "none"}.',
                    param="model",
                )
            return models.chat_model(name)
        if not models.language_models():
            raise InvalidRequest(
                "no_language_model",
                zh="没有配置语言模型，无法抽取。请在 config.toml 中添加 [models.名称]（见 docs/models.md）；从文件导入三元组不需要模型。",
                en="No language model is configured, so nothing can be extracted. Add [models.NAME] to config.toml (docs/models.md); "
                "importing triples needs none.",
                param="model",
            )
        found = models.first_healthy()
        if found is None:
            raise Unavailable(
                "no_language_model",
                zh="配置的语言模型现在都不可用。请先启动引擎（qzbrain model list 查看状态），或用 model 指定一个。",
                en="None of the configured language models is there now. Start its engine (see qzbrain model list), or name one with `model`.",
                retry_after_s=10,
            )
        return found

