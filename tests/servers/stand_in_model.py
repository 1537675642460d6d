"""A model folder and its settings for `engine_stand_in.py`: what a real folder looks like, with a few bytes of weights."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

from qzbrain.settings import ModelSettings

PROGRAM = Path(__file__).with_name("engine_stand_in.py")
_CONFIG = {
    "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "hidden_size": 64, "intermediate_size": 128, "vocab_size": 100, "max_position_embeddings": 4096, "torch_dtype": "bfloat16",
}  # fmt: skip


class StandInModel:
    """One model whose engine is the stand-in."""

    def __init__(self, folder: Path, **behaviour: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(_CONFIG))
        (folder / "tokenizer.json").write_text("{}")
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"}))
        header = json.dumps({"model.embed_tokens.weight": {"dtype": "BF16", "shape": [100, 64], "data_offsets": [0, 12800]}}).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(12800))
        self.behave(**behaviour)

    def behave(self, **behaviour: Any) -> None:
        """From the next request, or the next start, on."""
        temporary = self.folder / "behaviour.new"
        temporary.write_text(json.dumps(behaviour))
        temporary.replace(self.folder / "BEHAVIOUR.json")

    def settings(self, engine: str = "vllm", **fields: Any) -> ModelSettings:
        """Its `[models.NAME]`."""
        command = [sys.executable, str(PROGRAM), *(["serve"] if engine == "vllm" else [])]
        return ModelSettings.model_validate(
            {"engine": engine, "path": str(self.folder), "command": command, "devices": "none", "context": 2048, "slots": 4, "start_timeout_s": 20, **fields}
        )

    def starts(self) -> list[tuple[int, float]]:
        """Process id and time of each start of the engine so far."""
        path = self.folder / "starts"
        return [(int(pid), float(at)) for pid, at in (line.split() for line in path.read_text().splitlines())] if path.exists() else []
