"""Start the brain in an environment that exists already: `python main.py`. (`./run.sh` makes the environment first.)

Stays in the foreground; Ctrl-C or SIGTERM stops every process that it started.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit("qzbrain: 需要 Python 3.11 或更新版本；./run.sh 会自动准备。 · Python 3.11 or later is needed; ./run.sh gets it.")

try:
    from qzbrain.ops.start import main
except ModuleNotFoundError as exc:
    sys.exit(
        f"qzbrain: 缺少依赖 {exc.name}。请运行 ./run.sh，或 pip install --require-hashes -r requirements.txt。"
        f" · The package {exc.name} is missing. Run ./run.sh, or: pip install --require-hashes -r requirements.txt"
    )

if __name__ == "__main__":
    main()
