"""The process that serves the explorer, on loopback only."""

from __future__ import annotations

import dataclasses
import socket
import threading
import webbrowser
from collections.abc import Sequence

import uvicorn

from heatbeam.explore import app, safety, shown_run
from heatbeam.transforms import errors

HOST = "127.0.0.1"


@dataclasses.dataclass(frozen=True, eq=False)
class Server:
    """An explorer that is ready to serve.

    Attributes:
        address: with the token that opens it.
        socket: that it listens on.
        server: of uvicorn.
    """

    address: str
    socket: socket.socket
    server: uvicorn.Server

    def serve(self, *, browser: bool) -> None:
        """Serve until the process is told to end; with `browser`, open the address in one."""
        if browser:
            threading.Thread(target=webbrowser.open, args=(self.address,), daemon=True).start()
        self.server.run(sockets=[self.socket])


def listening(port: int | None, usual: int) -> socket.socket:
    """A socket on loopback.

    Args:
        port: to listen on, 0 for any; None for `usual`, or any where that is taken.
        usual: the port by default.

    Raises:
        errors.UsageError: if `port` is taken or may not be used.
    """
    for tried in [port] if port is not None else [usual, 0]:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, tried))
            one.listen(128)  # from now on a browser waits, and is not refused
        except OSError as error:
            one.close()
            if tried == port:
                raise errors.UsageError(f"--port {port} cannot be used: {errors.reason(error)}; give another") from None
            continue
        return one
    raise errors.UsageError("no port of this machine is free")


def made(paths: Sequence[str], images: str | None, on: socket.socket) -> Server:
    """An explorer of one run or two.

    Args:
        paths: of the runs.
        images: where the images of the runs are now, if they were moved.
        on: what it listens on.

    Raises:
        heatbeam.runs.run_directory.RunDirectoryError: if a run is not finished or damaged.
    """
    runs = [shown_run.opened(side, path, images) for side, path in zip("ab", paths, strict=False)]
    port = on.getsockname()[1]
    known = safety.Secrets(port)
    config = uvicorn.Config(
        app.Explorer(runs, known).app(),
        log_config=None,  # the command has set up logging
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
    )
    return Server(f"http://{HOST}:{port}/?{safety.TOKEN}={known.token}", on, uvicorn.Server(config))
