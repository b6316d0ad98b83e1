"""A real Flink on this machine: one JobManager and some TaskManagers, each its own process, on loopback.

As a script, from the repository's root; needs Java 11 or 17, Maven and pip, and keeps everything in ``build/flink``::

    python -m tests.support.flink_cluster start --task-managers 2     # prints the Beam options of a job on it
    python -m tests.support.flink_cluster stop
    python -m tests.support.flink_cluster job-server                  # only fetch the job server's jar; prints its path

The job server is Beam's, of the installed Beam version. Where the Maven repository does not hold that one,
`FALLBACK` is made of Beam's library artifact by ``tests/support/flink/pom.xml``; Beam's protocol between the
SDK and the runner is the same in both. ``FLINK_JOB_SERVER_JAR`` names a jar to use instead.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam

from tests.support import paths

ROOT = paths.ROOT
CACHE = ROOT / "build" / "flink"
POM = ROOT / "tests" / "support" / "flink" / "pom.xml"
STATE = CACHE / "session.json"

PREFERRED = ("2.2", beam.__version__)
FALLBACK = ("1.19", "2.62.0")
"""Flink minor and Beam version of the newest runner library that was found where the preferred job server was not."""

RELEASES = {"2.2": "2.2.1", "1.19": "1.19.3"}
"""The release of ``apache-flink-libraries`` that runs each minor."""

_JAR = re.compile(r"beam-runners-flink-(\d+\.\d+)-job-server-([\w.]+)\.jar")
_OPENS = (
    *(f"java.base/java.{name}" for name in ("lang", "util", "nio", "net", "io", "time", "text")),
    *(
        f"java.base/java.{name}"
        for name in ("lang.invoke", "lang.reflect", "util.concurrent", "util.concurrent.atomic")
    ),
    "java.base/sun.nio.ch",
)
JVM_OPTIONS = tuple(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENS)
"""What Flink's serializers need since Java 17 closed the packages they look into."""


class Unavailable(Exception):
    """A part of Flink cannot be had here; the message says which, and what would give it."""


@dataclasses.dataclass(frozen=True)
class JobServer:
    """Beam's Flink job server.

    Attributes:
        jar: where it is.
        flink: the Flink minor it is made for.
        beam: its Beam version.
    """

    jar: pathlib.Path
    flink: str
    beam: str

    @property
    def options(self) -> list[str]:
        """Beam options that select it."""
        jvm = [f"--job_server_jvm_properties={option}" for option in JVM_OPTIONS]
        return [f"--flink_job_server_jar={self.jar}", *jvm]


def job_server() -> JobServer:
    """The job server, from the environment, the cache or the Maven repository.

    Raises:
        Unavailable: there is no Java or Maven, or the repository does not answer.
    """
    _need("java", "a Java 11 or 17 runtime")
    given = os.environ.get("FLINK_JOB_SERVER_JAR")
    if given is not None:
        match = _JAR.fullmatch(pathlib.Path(given).name)
        if match is None or not pathlib.Path(given).exists():
            raise Unavailable(
                f"FLINK_JOB_SERVER_JAR={given}: expected an existing beam-runners-flink-F-job-server-B.jar"
            )
        return JobServer(pathlib.Path(given).resolve(), match[1], match[2])
    for flink, version in (PREFERRED, FALLBACK):
        jar = CACHE / f"beam-runners-flink-{flink}-job-server-{version}.jar"
        if jar.exists():
            return JobServer(jar, flink, version)
    return _fetch_job_server()


def _fetch_job_server() -> JobServer:
    _need("mvn", "Maven")
    CACHE.mkdir(parents=True, exist_ok=True)
    # Into a folder of its own first: a download that was broken off must not look like a jar.
    part = CACHE / "part"
    flink, version = PREFERRED
    artifact = f"org.apache.beam:beam-runners-flink-{flink}-job-server:{version}"
    copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    first = _maven(copy, f"-Dartifact={artifact}", f"-DoutputDirectory={part}")
    if first.returncode == 0:
        return _kept(part, flink, version)
    flink, version = FALLBACK
    second = _maven(
        f"--file={POM}", "package", f"-Dbeam.version={version}", f"-Dflink.version={flink}", f"-Djar.directory={part}"
    )
    if second.returncode != 0:
        raise Unavailable(
            f"neither {artifact} nor org.apache.beam:beam-runners-flink-{flink}:{version} can be had from Maven; "
            f"set FLINK_JOB_SERVER_JAR to a job server jar.\n{first.stdout[-600:]}\n{second.stdout[-600:]}"
        )
    return _kept(part, flink, version)


def _kept(part: pathlib.Path, flink: str, version: str) -> JobServer:
    name = f"beam-runners-flink-{flink}-job-server-{version}.jar"
    (part / name).rename(CACHE / name)
    shutil.rmtree(part)
    return JobServer(CACHE / name, flink, version)


def _maven(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["mvn", "--batch-mode", "--quiet", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )


def distribution(release: str) -> pathlib.Path:
    """Folder of the Java libraries of a Flink release, from the source archive ``apache-flink-libraries`` (PyPI).

    Raises:
        Unavailable: pip cannot download it.
    """
    target = CACHE / f"flink-{release}"
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--no-binary", ":all:", "--dest", str(CACHE), f"apache-flink-libraries=={release}"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False
    )
    archives = [*CACHE.glob(f"apache[-_]flink[-_]libraries-{release}.tar.gz")]
    if done.returncode != 0 or not archives:
        raise Unavailable(f"apache-flink-libraries {release} cannot be had from PyPI:\n{done.stdout[-600:]}")
    part = target.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            name = pathlib.PurePosixPath(member.name).name
            if re.match(r"(flink-dist|log4j-(api|core|slf4j|1)|bash-java-utils).*\.jar$", name):
                source = archive.extractfile(member)
                assert source is not None
                with source, (part / name).open("wb") as copy:
                    shutil.copyfileobj(source, copy, 8 << 20)
    part.rename(target)
    archives[0].unlink()
    return target


def _need(program: str, what: str) -> None:
    if shutil.which(program) is None:
        raise Unavailable(f"there is no {program} on the PATH; install {what}")


@dataclasses.dataclass
class Cluster:
    """A running session cluster.

    Attributes:
        server: the job server whose Flink this is.
        folder: configuration and logs.
        rest_port: of the JobManager.
        job_manager: its process id.
        task_managers: process ids, in the order they were started.
    """

    server: JobServer
    folder: pathlib.Path
    rest_port: int
    job_manager: int
    task_managers: list[int] = dataclasses.field(default_factory=list)

    @property
    def options(self) -> list[str]:
        """Beam options of a job on it; its Python workers are processes that the TaskManagers start."""
        return [
            f"--flink_master=localhost:{self.rest_port}",
            "--flink_submit_uber_jar",
            *self.server.options,
            "--environment_type=PROCESS",
            f"--environment_option=process_command={self.folder / 'worker'}",
            "--sdk_worker_parallelism=1",
        ]

    def add_task_manager(self) -> int:
        """Start another TaskManager; its process id."""
        parameters = self._java_utils("GET_TM_RESOURCE_PARAMS")
        number = len(self.task_managers) + 1
        process = _start_java(
            self.server,
            self.folder,
            f"taskmanager-{number}",
            parameters[0].split(),
            [
                "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
                "--configDir",
                str(self.folder),
                *parameters[1].split(),
            ],
        )
        self.task_managers.append(process)
        return process

    def _java_utils(self, command: str) -> list[str]:
        """Memory settings as Flink's own start scripts compute them: JVM options, then dynamic options."""
        libraries = distribution(RELEASES[self.server.flink])
        arguments = ["java", "-cp", f"{libraries}/*", "org.apache.flink.runtime.util.bash.BashJavaUtils", command]
        done = subprocess.run(
            [*arguments, "--configDir", str(self.folder)], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise Unavailable(f"Flink refuses the configuration in {self.folder}: {done.stderr[-600:]}")
        prefix = "BASH_JAVA_UTILS_EXEC_RESULT:"
        return [line.split(prefix, 1)[1] for line in done.stdout.splitlines() if prefix in line]

    def rest(self, path: str) -> Any:
        """An answer of the JobManager's REST interface."""
        with urllib.request.urlopen(f"http://localhost:{self.rest_port}/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    def wait_ready(self, timeout_s: float = 90) -> None:
        """Wait until every TaskManager that was started has registered.

        Raises:
            Unavailable: that takes too long, or the JobManager has ended.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and _alive(self.job_manager):
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                if self.rest("overview")["taskmanagers"] >= len(self.task_managers):
                    return
            time.sleep(0.5)
        raise Unavailable(f"the Flink cluster did not come up in {timeout_s:.0f} s; see the logs in {self.folder}")

    def kill_task_manager(self, number: int) -> None:
        """End a TaskManager as a power cut would, and with it the connection of its Python workers."""
        kill(self.task_managers[number])

    def workers(self) -> list[int]:
        """Process ids of the Python workers of this cluster."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if b"heatbeam.runners.beam_worker" in (entry / "cmdline").read_bytes():
                    environment = (entry / "environ").read_bytes().split(b"\0")
                    if f"HEATBEAM_FLINK={self.folder}".encode() in environment:
                        found.append(int(entry.name))
        return sorted(found)

    def _runs(self, process: int) -> bool:
        """Whether a process id is still of this cluster: after a restart of the machine it is another program's."""
        with contextlib.suppress(OSError):
            return str(self.folder).encode() in pathlib.Path(f"/proc/{process}/cmdline").read_bytes()
        return False

    def stop(self) -> None:
        """End every process of the cluster."""
        workers = self.workers()
        for process in [*self.task_managers, self.job_manager]:
            if self._runs(process):
                _end(process)
        for process in workers:
            _end(process)


def start(folder: pathlib.Path, task_managers: int, slots: int = 1, rest_port: int = 0) -> Cluster:
    """Start a session cluster and wait until it is ready.

    Args:
        folder: for configuration, logs and temporary files.
        task_managers: how many.
        slots: parallel tasks in each.
        rest_port: of the JobManager; 0 takes a free one.

    Raises:
        Unavailable: something is missing, or the cluster does not come up.
    """
    server = job_server()
    distribution(RELEASES[server.flink])
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    port = rest_port or _free_port()
    _write_configuration(folder, port, slots)
    main = ["org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint", "--configDir", str(folder)]
    cluster = Cluster(server, folder, port, _start_java(server, folder, "jobmanager", ["-Xmx512m"], main))
    try:
        for _ in range(task_managers):
            cluster.add_task_manager()
        cluster.wait_ready()
    except BaseException:
        cluster.stop()
        raise
    return cluster


@contextlib.contextmanager
def running(folder: pathlib.Path, task_managers: int, slots: int = 1) -> Iterator[Cluster]:
    """A cluster for the time of a ``with`` block."""
    cluster = start(folder, task_managers, slots)
    try:
        yield cluster
    finally:
        cluster.stop()


def _write_configuration(folder: pathlib.Path, rest_port: int, slots: int) -> None:
    (folder / "tmp").mkdir(exist_ok=True)
    settings = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.bind-host": "localhost",
        "jobmanager.rpc.port": _free_port(),
        "jobmanager.memory.process.size": "1024m",
        "rest.address": "localhost",
        "rest.bind-address": "localhost",
        "rest.port": rest_port,
        "taskmanager.host": "localhost",
        "taskmanager.bind-host": "localhost",
        "taskmanager.numberOfTaskSlots": slots,
        "taskmanager.memory.task.heap.size": "384m",
        "taskmanager.memory.managed.size": "128m",
        # The job has many small exchanges; by default each one that sorts takes 16 MiB of network buffers.
        "taskmanager.network.sort-shuffle.min-buffers": 64,
        "taskmanager.memory.network.min": "256m",
        "taskmanager.memory.network.max": "256m",
        "io.tmp.dirs": folder / "tmp",
        # A TaskManager that is gone is noticed after seconds, not after the default of almost a minute.
        "heartbeat.interval": 1000,
        "heartbeat.timeout": 15000,
        "cluster.evenly-spread-out-slots": "true",
        # Beam's own option for this, number_of_execution_retries, does nothing for batch jobs.
        "restart-strategy.type": "fixed-delay",
        # Restarting region by region takes an attempt for every result that was lost with a TaskManager.
        "jobmanager.execution.failover-strategy": "full",
        "restart-strategy.fixed-delay.attempts": 2,
        # Longer than it takes to notice that a TaskManager is gone, or the job is restarted on it.
        "restart-strategy.fixed-delay.delay": "8 s",
    }
    lines = []
    for key, value in settings.items():
        lines.append(f"{key}: {value}\n")
    (folder / "config.yaml").write_text("".join(lines))
    (folder / "log4j.properties").write_text(
        "rootLogger.level = INFO\nrootLogger.appenderRef.out.ref = out\nappender.out.name = out\n"
        "appender.out.type = CONSOLE\nappender.out.layout.type = PatternLayout\n"
        "appender.out.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} %m%n\n"
    )
    worker = folder / "worker"
    # A script, because a runner starts one program. The variable tells our workers from others.
    worker.write_text(
        f"#!/bin/sh\nexport HEATBEAM_FLINK='{folder}' PYTHONPATH='{ROOT}' TF_CPP_MIN_LOG_LEVEL=2\n"
        f"[ ! -e '{folder}/limits' ] || . '{folder}/limits'\n"
        f"exec '{sys.executable}' -m heatbeam.runners.beam_worker \"$@\"\n"
    )
    worker.chmod(0o755)


# Held, for they outlive whoever starts them: Python would warn of a process that is dropped while it runs.
_STARTED: list[subprocess.Popen[bytes]] = []


def _start_java(server: JobServer, folder: pathlib.Path, name: str, options: Sequence[str], main: Sequence[str]) -> int:
    libraries = distribution(RELEASES[server.flink])
    command = ["java", *JVM_OPTIONS, *options, f"-Dlog4j.configurationFile=file:{folder / 'log4j.properties'}"]
    with (folder / f"{name}.log").open("wb") as log:
        started = subprocess.Popen(
            [*command, "-cp", f"{libraries}/*", *main],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _STARTED.append(started)
    return started.pid


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def _alive(process: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, os.WNOHANG)
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def kill(process: int) -> None:
    """End a process at once."""
    os.kill(process, signal.SIGKILL)


def _end(process: int, patience_s: float = 8) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if not _alive(process):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, sign)
        deadline = time.monotonic() + patience_s
        while _alive(process) and time.monotonic() < deadline:
            time.sleep(0.1)


def main(arguments: Sequence[str] | None = None) -> int:
    """The script; its exit status."""
    parser = argparse.ArgumentParser(description="A Flink session cluster on this machine, for trying things.")
    parser.add_argument("action", choices=("start", "stop", "job-server"))
    parser.add_argument("--task-managers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=1, help="parallel tasks in each TaskManager (default: 1)")
    parser.add_argument("--port", type=int, default=8081, help="of the JobManager's REST interface (default: 8081)")
    options = parser.parse_args(arguments)
    try:
        if options.action == "job-server":
            sys.stdout.write(f"{job_server().jar}\n")
        elif options.action == "start":
            _start_session(options)
        else:
            _stop_session()
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _start_session(options: argparse.Namespace) -> None:
    if STATE.exists():
        raise Unavailable(f"{STATE} says that a cluster is running; stop it first")
    cluster = start(CACHE / "session", options.task_managers, options.slots, options.port)
    state = {
        **dataclasses.asdict(cluster),
        "server": {**dataclasses.asdict(cluster.server), "jar": str(cluster.server.jar)},
    }
    STATE.write_text(json.dumps({**state, "folder": str(cluster.folder)}))
    sys.stdout.write("".join(f"{option}\n" for option in cluster.options))


def _stop_session() -> None:
    if not STATE.exists():
        raise Unavailable(f"no cluster was started by this script: there is no {STATE}")
    state = json.loads(STATE.read_text())
    server = JobServer(pathlib.Path(state["server"]["jar"]), state["server"]["flink"], state["server"]["beam"])
    folder = pathlib.Path(state["folder"])
    Cluster(server, folder, state["rest_port"], state["job_manager"], state["task_managers"]).stop()
    STATE.unlink()


if __name__ == "__main__":
    sys.exit(main())
