# Workers on Dataflow, or on any runner that starts containers; also the launcher of the Flex Template.
#
#   docker build --tag REGISTRY/heatbeam:cpu .
#   docker build --tag REGISTRY/heatbeam:gpu --build-arg TENSORFLOW=tensorflow[and-cuda] .
#   docker build --tag REGISTRY/heatbeam:openvino --build-arg EXTRAS=gcp,openvino .    # explain.compute: openvino
#
# The GPU variant brings CUDA in TensorFlow's own wheels; Dataflow mounts the driver (install-nvidia-driver).

# Python and Beam must be those of the machine that launches the job.
ARG PYTHON=3.11
ARG BEAM=2.77.0
ARG LAUNCHER=20230622_RC00

FROM apache/beam_python${PYTHON}_sdk:${BEAM} AS beam

FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:${LAUNCHER} AS launcher

FROM python:${PYTHON}-slim-bookworm

ARG BEAM
ARG TENSORFLOW=tensorflow
ARG EXTRAS=gcp

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TF_CPP_MIN_LOG_LEVEL=2 \
    TF_FORCE_GPU_ALLOW_GROWTH=true \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64

COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher

WORKDIR /opt/heatbeam
COPY setup.py pyproject.toml README.md ./
COPY pipeline pipeline
COPY transforms transforms

# Lower bounds are setup.py's; Beam is the launcher's version, for the runner refuses others.
# hadolint ignore=DL3013
RUN pip install ".[${EXTRAS}]" "apache-beam[gcp]==${BEAM}" "${TENSORFLOW}" \
    && pip check \
    && python -c "import heatbeam.job.graph"

COPY configs configs
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/opt/heatbeam/pipeline/job/flex_template.py

ENTRYPOINT ["/opt/apache/beam/boot"]
