# An image that runs `cyclegan-media`. docs/docker.md says how to build and to use it.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build

# Where torch, torchvision and torchaudio come from. The default has builds for the CPU, which are
# far smaller than those for CUDA of https://pypi.org/simple.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# What else to install: names of extras in pyproject.toml, with commas between them.
ARG EXTRAS=video,vocoder

# pyworld is compiled where there is no wheel of it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

WORKDIR /source
COPY constraints.txt ./
# Without their dependencies, which come with all others below: the index for the CPU has only few
# versions of them.
RUN pip install --index-url "$TORCH_INDEX" --constraint constraints.txt --no-deps \
    torch torchvision torchaudio
COPY pyproject.toml README.md LICENSE ./
COPY recipes recipes
COPY cyclegan_media cyclegan_media
RUN pip install --constraint constraints.txt ".[$EXTRAS]"

FROM python:${PYTHON}-slim-bookworm

COPY --from=build /opt/venv /opt/venv
RUN useradd --uid 1000 --create-home media
# `docker run --user` gives a user without a home and without a name: caches go where any user may
# write, and torch, which asks for a name when it is loaded, gets one.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    USER=media
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["cyclegan-media"]
CMD ["--help"]
