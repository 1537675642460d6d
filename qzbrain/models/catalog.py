"""Which models there are: those of the configuration, and the built-in embedder where it is installed."""

from __future__ import annotations

from pathlib import Path

from qzbrain.settings import ROOT, ModelSettings, Settings

E5_SMALL = "multilingual-e5-small"
E5_FOLDER = "multilingual-e5-small-int8"
LOCAL_ENGINES = ("llamacpp", "ctranslate2", "vllm", "sglang")
"""Engines that run on this machine, started by the brain."""
SET_UP_ENGINES = ("llamacpp", "ctranslate2")
"""Those that the set-up installs: quick to start, so they can run on demand."""
_E5 = {
    "engine": "ctranslate2", "kind": "embedding", "on_demand": True, "sleep_after_s": 120, "context": 512, "slots": 2,
    "pooling": "mean", "query_prefix": "query: ", "passage_prefix": "passage: ",
}  # fmt: skip


def model_folders(settings: Settings) -> list[Path]:
    """Where the built-in embedder may lie, best first: models pulled or imported into the data folder, then what the set-up fetched."""
    return [settings.data / "models", ROOT / ".tools" / "models"]


def all_models(settings: Settings) -> dict[str, ModelSettings]:
    """The configured models in their order, then the built-in embedder, unless the configuration has one of that name."""
    found = dict(settings.models)
    if settings.model_path and (used := _in_use(found)):
        found[used] = found[used].model_copy(update={"path": settings.model_path})
    if E5_SMALL not in found and (path := built_in(settings)) is not None:
        found[E5_SMALL] = ModelSettings.model_validate({**_E5, "path": str(path)})
    return found


def model_path(settings: Settings, model: ModelSettings) -> Path:
    """Where a local model's file or folder is, absolute; where it should be when it is nowhere.

    A relative path starts at CURRENT_DIR, then in its `pretrained_models`, then in the data folder's `models`; that of an embedding model
    first in EMBEDDING_MODEL.
    """
    folder = settings.embedding_model if model.kind == "embedding" else ""
    places = model_places(settings, model.path, first=folder)
    return next((place for place in places if place.exists()), places[0])


def part_path(settings: Settings, given: str) -> Path:
    """Where a part of a model is that lies apart: its configuration, its vocabulary."""
    places = model_places(settings, given)
    return next((place for place in places if place.exists()), places[0])


def model_places(settings: Settings, given: str, *, first: str = "") -> list[Path]:
    """Where a path of `[models.NAME]` is looked for, best first; `first`: a folder before all others."""
    root = ROOT / settings.current_dir
    folders = [*([root / Path(first).expanduser()] if first else []), root, root / "pretrained_models", settings.data / "models"]
    return [(folder / Path(given).expanduser()).resolve() for folder in folders]


def embedder_name(settings: Settings) -> str:
    """The model that QZBRAIN_EMBEDDER means; '' for none. A name that is not configured comes back as it is."""
    return _chosen(settings, settings.qzbrain_embedder, "embedding")


def reranker_name(settings: Settings) -> str:
    """The model that QZBRAIN_RERANKER means; '' for none. A name that is not configured comes back as it is."""
    return _chosen(settings, settings.qzbrain_reranker, "rerank")


def _chosen(settings: Settings, wanted: str, kind: str) -> str:
    if wanted == "none":
        return ""
    if wanted not in ("auto", ""):
        return wanted
    return next((name for name, model in all_models(settings).items() if model.kind == kind and model.alive), "")


def _in_use(models: dict[str, ModelSettings]) -> str:
    """The model that the manual's MODEL_PATH means; '' for none."""
    return next((name for name, model in models.items() if model.engine in LOCAL_ENGINES and model.kind == "chat" and model.alive), "")


def built_in(settings: Settings) -> Path | None:
    """The folder of the built-in embedder, None where it is not installed."""
    return next((folder / E5_FOLDER for folder in model_folders(settings) if (folder / E5_FOLDER / "model.bin").is_file()), None)
