"""A tiny encoder of random weights for CTranslate2, written as the built-in embedder is: `python tiny_encoder.py FOLDER`

Run by the Python of the engine's environment. Beside the model lies what it was made of, `source.npz`: what an independent computation starts from.
Its pieces are the blank and single characters; whatever is not among them is unknown.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, LAYERS, HEADS, FEED_FORWARD, POSITIONS = 64, 2, 4, 128, 64
CHARACTERS = "\u2581abcdefghijklmnopqrstuvwxyz采购应当招标金额部门批准罚款许可报销车辆管理规定，。"


def main(folder: Path) -> None:
    """Write model and source."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "qzbrain" / "models" / "hub"))
    import e5  # type: ignore[import-not-found]

    pieces = [one.encode() for one in ("<s>", "<pad>", "</s>", "<unk>", *CHARACTERS, "<mask>")]
    random = np.random.default_rng(7)
    tensors = dict(_tensors(random, len(pieces)))
    model = e5.Model(
        WIDTH, LAYERS, HEADS, FEED_FORWARD, POSITIONS, 2, 1e-12, {"bos": 0, "eos": 2, "pad": 1, "unk": 3}, pieces,
        -np.arange(len(pieces), dtype=np.float32), tensors,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    e5.write(folder, model)
    columns = {name: FEED_FORWARD if name.endswith("fo.w") else WIDTH for name in tensors}
    np.savez(folder / "source.npz", **{name: e5.numbers(one, columns[name]) if one.dtype == np.uint8 else one for name, one in tensors.items()})


def _tensors(random: Any, rows: int) -> Any:
    def blocks(count: int, columns: int) -> Any:
        made = random.integers(0, 256, (count * columns // 32, 18), dtype=np.uint8)
        made[:, :2] = np.full((len(made), 1), 0.02, "<f2").view(np.uint8)
        return made.reshape(-1)

    def around(middle: float, count: int) -> Any:
        return (middle + 0.1 * random.standard_normal(count)).astype(np.float32)

    yield "emb.word", blocks(rows, WIDTH)
    yield "emb.pos", around(0, POSITIONS * WIDTH)
    yield "emb.type", around(0, 2 * WIDTH)
    for name in ("emb.ln", *(f"l{n}.{part}" for n in range(LAYERS) for part in ("aln", "oln"))):
        yield f"{name}.w", around(1, WIDTH)
        yield f"{name}.b", around(0, WIDTH)
    for n in range(LAYERS):
        for part, outs, ins in (*((one, WIDTH, WIDTH) for one in ("q", "k", "v", "ao")), ("fi", FEED_FORWARD, WIDTH), ("fo", WIDTH, FEED_FORWARD)):
            yield f"l{n}.{part}.w", blocks(outs, ins)
            yield f"l{n}.{part}.b", around(0, outs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
