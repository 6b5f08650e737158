# The whole stack in one image: docker build -t mbmrl . && docker run --rm -it --network host mbmrl demo
FROM debian:12.12-slim
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Versions are those of the release of Debian.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends build-essential ca-certificates cmake python3-dev python3-venv \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home --uid 1000 robot
WORKDIR /mbmrl
RUN chown 1000 /mbmrl
USER 1000
COPY --chown=1000 . .
RUN make setup && rm -rf "$HOME/.cache"
ENTRYPOINT ["/mbmrl/.venv/bin/mbmrl"]
CMD ["demo"]
