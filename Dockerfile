# Images, none with torch:
#
#   docker build -t twinscore .                              service, on the CPU
#   docker build -t twinscore:gpu --build-arg RUNTIME=gpu .  service, on an NVIDIA GPU
#   docker build -t twinscore-loader --target loader .       one-shot: feature tables into Redis
#   docker build -t twinscore-outcomes --target outcomes .   counts exposures and events, reads experiments out
#   docker build -t twinscore-loadtest --target loadtest .   Locust, with its web page or without
#
# They run as a numeric user on a read-only root file system; they write to /state and /archive alone. A package index of your
# own goes in through pip's own settings, for example --build-arg PIP_INDEX_URL=…

ARG PYTHON=python:3.11-slim-bookworm


FROM ${PYTHON} AS builder
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# the environments hold no pip of their own: the builder's installs into them
RUN python -m venv --without-pip /opt/venv
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# the package's metadata names it; its text would only spoil the layer cache
RUN touch README.md


FROM builder AS service-packages
ARG RUNTIME=cpu
RUN case "${RUNTIME}" in cpu|gpu) ;; *) echo "RUNTIME is cpu or gpu, not '${RUNTIME}'" >&2; exit 2 ;; esac \
 && pip --python /opt/venv/bin/python install -c constraints.txt ".[service,${RUNTIME}]"


FROM builder AS outcomes-packages
RUN pip --python /opt/venv/bin/python install -c constraints.txt ".[service,experiments]"


FROM builder AS loader-packages
RUN pip --python /opt/venv/bin/python install -c constraints.txt . polars redis hiredis rich


FROM builder AS loadtest-packages
RUN pip --python /opt/venv/bin/python install -c constraints.txt ".[loadtest]"


FROM ${PYTHON} AS runtime
# ONNX Runtime would otherwise keep an event store in HOME and send from it
ENV PATH=/opt/venv/bin:${PATH} \
    HOME=/tmp \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY contract contract


FROM runtime AS loader
COPY --from=loader-packages /opt/venv /opt/venv
COPY training training
COPY export export
COPY deploy/demo/data /demo/data
RUN python -m compileall -q contract training export
USER 10001:10001
ENTRYPOINT ["python", "-m", "export", "features"]


FROM runtime AS loadtest
COPY --from=loadtest-packages /opt/venv /opt/venv
COPY loadtest loadtest
COPY deploy/demo/bundles /demo/bundles
RUN python -m compileall -q contract loadtest
EXPOSE 8089 5557
USER 10001:10001
# arguments from the command line, and from the environment as compose hands them on
ENV LOADTEST=""
ENTRYPOINT ["sh", "-c", "exec locust -f loadtest/locustfile.py --bundles /demo/bundles \"$@\" $LOADTEST", "locust"]


FROM runtime AS outcomes
COPY --from=outcomes-packages /opt/venv /opt/venv
COPY service service
COPY deploy/experiments.yaml deploy/experiments.yaml
RUN python -m compileall -q contract service && install -d -o 10001 -g 10001 /archive
ENV TWINSCORE_LOG=redis TWINSCORE_ARCHIVE=/archive
VOLUME /archive
USER 10001:10001
ENTRYPOINT ["python", "-m", "service", "outcomes"]


FROM runtime AS service
COPY --from=service-packages /opt/venv /opt/venv
COPY service service
COPY deploy/experiments.yaml deploy/experiments.yaml
COPY deploy/demo/bundles /demo/bundles
RUN python -m compileall -q contract service && install -d -o 10001 -g 10001 /state
# 0.0.0.0 is the container's own address; who reaches it is decided where the port is published
ENV HOST=0.0.0.0 PORT=8000 TWINSCORE_BUNDLES=/demo/bundles TWINSCORE_EXPERIMENTS=/app/deploy/experiments.yaml \
    TWINSCORE_LOG=redis TWINSCORE_STATE=/state
VOLUME /state
EXPOSE 8000
USER 10001:10001
# http.client and not urllib: a proxy in the environment must not answer for the service
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["python", "-IS", "-c", "\
import http.client, os, sys; \
c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=2); \
c.request('GET', '/readyz'); \
sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "service"]
