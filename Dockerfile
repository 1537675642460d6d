# The brain as a container: docs/docker.md. Two images come from here:
#
#   docker build -t qzbrain .                      the brain: web, worker, graph service
#   docker build -t qzbrain-engine --target engine .   llama.cpp and the built-in embedding model (Compose profile "local")
#
# --build-arg PIP_INDEX_URL=… names another package index. What the images hold is an interpreter, the libraries that it loads, a shell and
# some commands (deploy/image/rootfs.py chooses them): no package manager, no compiler, nothing that runs as root.

FROM python:3.11-slim-bookworm AS packages
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements.txt /build/requirements.txt
RUN python3 -m venv --without-pip /opt/qzbrain \
    && python3 -m pip --python /opt/qzbrain/bin/python install \
        --require-hashes --no-deps --only-binary :all: --no-compile -r /build/requirements.txt

FROM packages AS build
COPY deploy/image /build/image
COPY LICENSE NOTICE chatglm.sql main.py /app/
COPY qzbrain /app/qzbrain
RUN python3 /build/image/install.py /opt/qzbrain /app \
    && /opt/qzbrain/bin/python /build/image/warm.py \
    && chmod -R a+rX /opt/qzbrain /app "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && python3 /build/image/rootfs.py /root-of-image /opt/qzbrain \
    && install -d -m 700 /data-of-image

FROM python:3.11-slim-bookworm AS engine-build
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements-local.txt /build/requirements-local.txt
RUN python3 -m venv --without-pip /opt/engine \
    && python3 -m pip --python /opt/engine/bin/python install \
        --require-hashes --no-deps --only-binary :all: --no-compile -r /build/requirements-local.txt
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY deploy/image /build/image
COPY qzbrain/models/hub/e5.py qzbrain/models/engines/launchers/local_serve.py qzbrain/models/engines/launchers/encoder_server.py /app/
RUN python3 /build/image/engine.py /opt/engine /app/e5.py /models/multilingual-e5-small-int8 \
    && rm /app/e5.py \
    && python3 /build/image/rootfs.py /root-of-image /opt/engine

FROM scratch AS engine
COPY --from=engine-build /root-of-image /
COPY --from=engine-build /opt/engine /opt/engine
COPY --from=engine-build /app /app
COPY --from=engine-build /models /models
ENV PATH=/opt/engine/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["healthy", "8080", "/health"]
CMD ["engine"]

FROM scratch AS brain
COPY --from=build /root-of-image /
COPY --from=build /opt/qzbrain /opt/qzbrain
COPY --from=build /app /app
COPY --from=build --chown=10001:10001 /data-of-image /data
ENV PATH=/opt/qzbrain/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 \
    QZBRAIN_DATA=/data QZBRAIN_HOST=0.0.0.0 QZBRAIN_PORT=9025
WORKDIR /app
USER 10001:10001
VOLUME /data
EXPOSE 9025
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["healthy", "9025", "/readyz"]
CMD ["qzbrain", "serve"]
