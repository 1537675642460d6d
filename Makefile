# Parts of ./test.sh and the things that are made from the code. All of it runs in .venv-test (made by ./test.sh --setup-only).
BIN := .venv-test/bin
UV ?= uv

.PHONY: check test docs bench lock

check:            ## static checks
	./test.sh --checks-only

test:             ## everything
	./test.sh

docs:             ## what is generated from the code
	$(BIN)/qzbrain config docs > docs/settings.md
	$(BIN)/qzbrain db schema --dialect mysql > chatglm.sql

bench:            ## footprint; the others need data: docs/benchmarks.md
	$(BIN)/python bench/footprint.py

lock:             ## requirements*.txt from pyproject.toml, newest versions
	$(UV) pip compile -q --python-platform linux --python-version 3.11 --generate-hashes --only-binary :all: --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --upgrade pyproject.toml -o requirements.txt
	$(UV) pip compile -q --python-platform linux --python-version 3.11 --generate-hashes --only-binary :all: --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --upgrade pyproject.toml --group test -c requirements.txt -o requirements-test.txt
	$(UV) pip compile -q --python-platform linux --python-version 3.11 --generate-hashes --only-binary :all: --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --upgrade --group local -c requirements.txt -o requirements-local.txt
	$(UV) pip compile -q --python-platform linux --python-version 3.11 --generate-hashes --only-binary :all: --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --upgrade --group faiss -c requirements.txt -o requirements-faiss.txt
	$(UV) pip compile -q --python-platform linux --python-version 3.11 --generate-hashes --only-binary :all: --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --upgrade --group neo4j -c requirements.txt -o requirements-neo4j.txt
	$(UV) pip compile -q --python-platform linux --python-version 3.11 --generate-hashes --only-binary :all: --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --upgrade --group sso -c requirements.txt -o requirements-sso.txt
	$(UV) pip compile -q --python-platform linux --python-version 3.11 --generate-hashes --only-binary :all: --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --upgrade --group otel -c requirements.txt -o requirements-otel.txt
	$(UV) pip compile -q --python-platform linux --python-version 3.11 --generate-hashes --only-binary :all: --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --upgrade --group ocr -c requirements.txt -o requirements-ocr.txt
