# One image for every Airflow service of docker-compose.yaml.
FROM python:3.11-slim

# pip's usual variables. torch from the default index brings gigabytes of CUDA: point PIP_EXTRA_INDEX_URL at PyTorch's
# index of CPU wheels (docs/operations.md). Build arguments stay in the image's history: no login in these addresses.
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=

ENV AIRFLOW_HOME=/opt/airflow \
    PORTRAIT_HOME=/var/lib/portrait \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# LightGBM's wheel needs it.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*

# A new named volume takes the owner of the folder it covers: both exist before they are mounted.
RUN useradd --uid 50000 --gid 0 --home-dir /opt/airflow --create-home --shell /bin/bash airflow \
    && install --directory --owner 50000 --group 0 --mode 0775 /opt/airflow /opt/airflow/logs /var/lib/portrait

WORKDIR /opt/portrait
COPY requirements.txt constraints.txt ./
RUN pip install --no-cache-dir -r requirements.txt -c constraints.txt

COPY pyproject.toml README.md ./
COPY include include
COPY dags dags
COPY plugins plugins
RUN pip install --no-cache-dir --no-deps -e .

USER 50000:0
CMD ["airflow", "version"]
