"""What a model is, by its files: a GGUF file, a folder with config.json and weights as Hugging Face lays it out, or one for CTranslate2."""

from __future__ import annotations

from pathlib import Path

from qzbrain.models.files import ctranslate2_model, folder, gguf_model
from qzbrain.models.files.base import ModelFiles

__all__ = ["ModelFiles", "describe"]
_WEIGHTS = (".pt", ".pth", ".bin", ".safetensors")


def describe(path: Path, *, config_path: Path | None = None, vocabulary_path: Path | None = None) -> ModelFiles:
    """Look at a model's headers and small files. `config_path`, `vocabulary_path`: where they lie apart from the weights, files or folders.

    Raises ModelFilesUnreadable with what is wrong and what to do: not there, not a model, not complete, a form that nothing here takes.
    """
    if path.is_file() and path.suffix.lower() not in _WEIGHTS:
        return gguf_model.describe(path)
    if ctranslate2_model.is_one(path):
        return ctranslate2_model.describe(path)
    return folder.describe(path, config_path=config_path, vocabulary_path=vocabulary_path)
