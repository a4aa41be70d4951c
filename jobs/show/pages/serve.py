"""Serve a report's pages over the live lake, read-only, on this machine alone.

The address contains a token, which other users and pages of other sites do not know. Only
requests for this machine's own names are answered, so that no site can point a name of its own here.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from jobs.show.pages.report import INDEX, report_pages
from pipelines.errors import MachineError, RestEMError
from schemas import TABLES

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from pipelines.lake.reader import LakeReader

HOST = "127.0.0.1"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class LivePages:
    """The pages on some runs, made anew when a table of the lake has changed."""

    def __init__(
        self, reader: LakeReader, runs: Sequence[str], num_samples: int, seed: int
    ) -> None:
        self._reader, self._runs = reader, runs
        self._num_samples, self._seed = num_samples, seed
        self._made: tuple[list[int | None], dict[str, str]] | None = None
        self._making = Lock()

    def page(self, name: str) -> str | None:
        """A page as the lake is now; None if there is no such page."""
        with self._making:
            versions = [self._reader.version(table.name) for table in TABLES]
            if self._made is None or self._made[0] != versions:
                pages = report_pages(self._reader, self._runs, self._num_samples, self._seed)
                self._made = versions, pages
            return self._made[1].get(name)


def application(pages: LivePages, token: str) -> Starlette:
    """The application that answers requests for `/<token>/<page>`."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, PlainTextResponse
    from starlette.routing import Route

    async def answer(request: Request) -> Response:
        given = request.path_params["token"]
        if not hmac.compare_digest(given.encode(), token.encode()):
            return PlainTextResponse("not found", 404, _HEADERS)
        try:
            html = await run_in_threadpool(pages.page, request.path_params["page"] or INDEX)
        except RestEMError as error:
            return PlainTextResponse(f"restem: {error}", 503, _HEADERS)
        if html is None:
            return PlainTextResponse("no such page", 404, _HEADERS)
        return HTMLResponse(html, headers=_HEADERS)

    return Starlette(
        routes=[Route("/{token}/{page:path}", answer, methods=["GET"])],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
    )


def serve(pages: LivePages, port: int) -> None:
    """Print the address, and serve until interrupted.

    Raises:
        MachineError: the port is taken.
    """
    import socket

    import uvicorn

    token = secrets.token_urlsafe(24)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
            listening.listen()  # before the address is printed, so that it answers
        except OSError as error:
            raise MachineError(
                f"--port {port}: cannot be used ({error.strerror}); choose another"
            ) from None
        address = f"http://{HOST}:{listening.getsockname()[1]}/{token}/"
        print(f"{address}\nInterrupt (Ctrl-C) to stop.", flush=True)
        # No access log: it would hold the token.
        config = uvicorn.Config(
            application(pages, token), log_level="error", access_log=False, server_header=False
        )
        uvicorn.Server(config).run(sockets=[listening])
