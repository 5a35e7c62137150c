# syntax=docker/dockerfile:1
# fileserve in a container: docs/deploy.md shows how it is built and run. A test reads this file and takes its steps by hand.

FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY fileserve fileserve
# The pins are those of development; of them only what fileserve itself needs is installed, and no compiler is needed for it.
RUN python -m venv /opt/fileserve \
 && /opt/fileserve/bin/pip install --no-cache-dir --constraint constraints.txt . \
 && /opt/fileserve/bin/pip uninstall --yes pip

FROM python:3.13-slim
# A number and not a name, so that an orchestrator can see that it is not root. Its group may be given the right to read the files.
RUN groupadd --gid 10001 fileserve \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/fileserve --shell /usr/sbin/nologin fileserve \
 && install -d -o 10001 -g 10001 -m 700 /var/lib/fileserve \
 && install -d /srv/files
COPY --from=build /opt/fileserve /opt/fileserve
ENV PATH=/opt/fileserve/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FILESERVE_HOST=0.0.0.0 \
    FILESERVE_PORT=8000 \
    FILESERVE_ROOT=/srv/files \
    FILESERVE_INDEX_FILE=/var/lib/fileserve/digests.sqlite
# Digests, events and begun uploads outlive the container. The files come by -v, read-only: VOLUME would give an empty one.
VOLUME /var/lib/fileserve
WORKDIR /var/lib/fileserve
EXPOSE 8000
USER 10001:10001
# Downloads finish first: docker stop --timeout 3600.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', int(os.environ['FILESERVE_PORT']), timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
# The exec form: the server is process 1 itself, and signals reach it.
CMD ["fileserve", "serve"]
