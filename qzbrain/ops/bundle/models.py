"""Models that a bundle takes along: their files, and their tables for the other machine's config.toml."""

from __future__ import annotations

from qzbrain.errors import Conflict, NotFound
from qzbrain.models.catalog import LOCAL_ENGINES, all_models, built_in, model_path
from qzbrain.models.files.gguf import split_of
from qzbrain.models.hub.table import known
from qzbrain.ops.bundle.layout import EMBEDDER, BundledModel
from qzbrain.ops.bundle.writing import Part
from qzbrain.settings import Settings

_OF_THIS_MACHINE = ("path", "environment", "api_key_env", "base_url")


def embedder_parts(settings: Settings) -> list[Part]:
    """The built-in embedder, where it is installed. Raises Conflict when it is not."""
    if (folder := built_in(settings)) is not None:
        return [Part(f"{EMBEDDER}/{path.name}", path) for path in sorted(folder.iterdir())]
    raise Conflict(
        "embedder_missing",
        zh="本机没有内置向量模型，无法放入离线包。请先运行 ./run.sh --setup-only，或加 --without-embedder（安装后按词检索）。",
        en="The built-in embedder is not installed here, so it cannot go into the bundle. Run ./run.sh --setup-only first, or add --without-embedder (then "
        "searches are by words).",
    )


def model_parts(settings: Settings, name: str) -> tuple[BundledModel, list[Part]]:
    """A model by its name in config.toml, or in `qzbrain model pull --list` when it was pulled. Raises NotFound, Conflict."""
    model, listed = all_models(settings).get(name), known(name)
    if model is not None and model.engine in LOCAL_ENGINES and not (model.config_path or model.vocabulary_path):
        path = model_path(settings, model)
        values = {key: value for key, value in model.model_dump(mode="json", exclude_unset=True).items() if key not in _OF_THIS_MACHINE}
    elif model is None and listed is not None:
        path = settings.data / "models" / listed.name / listed.file
        values = {"kind": listed.kind, **listed.settings}
        name = listed.name
    elif model is None:
        zh, en = f"没有名为“{name}”的模型。见 qzbrain model list。", f'There is no model "{name}". See: qzbrain model list'
        raise NotFound("model_not_known", zh=zh, en=en, param="model")
    else:
        raise Conflict(
            "model_not_portable",
            zh=f"模型 {name} 不是一个本地文件或目录（外部引擎，或配置与词表另放），不能放入离线包。请单独复制其文件。",
            en=f"The model {name} is not one local file or folder (an external engine, or parts of it lie apart), so it cannot go into the bundle. Copy its "
            "files by themselves.",
        )
    if not path.exists():
        raise NotFound("path_missing", zh=f"模型 {name} 的文件 {path} 不存在。", en=f"The file {path} of the model {name} does not exist.", param="model")
    files = (split_of(path)[1] or [path]) if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    base = path.parent if path.is_file() else path
    parts = [Part(f"models/{name}/{one.relative_to(base)}", one) for one in files]
    return BundledModel(name, {**values, "path": f"{name}/{path.name}" if path.is_file() else name}), parts
