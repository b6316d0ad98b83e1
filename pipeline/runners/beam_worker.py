"""Starts a Beam Python worker where heatbeam is installed already: what a container's entry point does, without Docker.

A cluster whose machines have heatbeam installed needs neither images nor Beam's Go programs:
``--environment_type=PROCESS --environment_option=process_command=/path/to/heatbeam-worker``. The runner starts it with
the addresses of its services; what the launcher staged is ignored.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc, endpoints_pb2
from google.protobuf import json_format, text_format

from heatbeam.runners import direct_worker

_PROVISION_TIMEOUT_S = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker until its runner closes the connection; the exit status.

    Raises:
        grpc.RpcError: the runner's provision service does not answer.
    """
    options = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    os.environ.update(worker_environment(options.id, provision_info(options.provision_endpoint, options.id), options))
    return direct_worker.run()


def provision_info(endpoint: str, worker_id: str) -> beam_provision_api_pb2.ProvisionInfo:
    """What the runner tells a worker that starts: pipeline options and the addresses of its services."""
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        metadata = [("worker_id", worker_id)]
        response = service.GetProvisionInfo(
            request, metadata=metadata, timeout=_PROVISION_TIMEOUT_S, wait_for_ready=True
        )
    return response.info


def worker_environment(
    worker_id: str, info: beam_provision_api_pb2.ProvisionInfo, options: argparse.Namespace
) -> dict[str, str]:
    """The environment variables that Beam's worker reads.

    Args:
        worker_id: the runner's name for this worker.
        info: of `provision_info`; its addresses win over those of the command line.
        options: ``logging_endpoint`` and ``control_endpoint``, or None.
    """
    addresses = {
        "LOGGING_API_SERVICE_DESCRIPTOR": info.logging_endpoint.url or options.logging_endpoint,
        "CONTROL_API_SERVICE_DESCRIPTOR": info.control_endpoint.url or options.control_endpoint,
        "STATUS_API_SERVICE_DESCRIPTOR": info.status_endpoint.url,
    }
    environment = {
        name: text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url))
        for name, url in addresses.items()
        if url
    }
    return environment | {
        "WORKER_ID": worker_id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="heatbeam-worker", description="Started by a Beam runner, not by hand.")
    parser.add_argument("--id", required=True, help="the runner's name for this worker")
    parser.add_argument("--provision_endpoint", required=True, help="where the runner says what to run")
    parser.add_argument("--control_endpoint")
    parser.add_argument("--logging_endpoint")
    parser.add_argument("--artifact_endpoint")
    return parser


if __name__ == "__main__":
    sys.exit(main())
