"""The admin listener: metrics, health and status over HTTP, for operators and their machines.

Answers questions, and changes one thing: whether a grid is in use. It knows no password: who may connect is decided by the
address that it is bound to, and a browser, which anybody's page may send here, changes nothing.
Invariant: whatever happens here, S3 requests go on.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.clock import Clock
from holdfast.errors import S3Error
from holdfast.health.standing import Use
from holdfast.index.interface import CommitUnknown, Index
from holdfast.limits import ADMIN_REQUESTS, READY_DEADLINE_S, READY_S
from holdfast.model import replace, to_json
from holdfast.serve.metrics import CONTENT_TYPE, render
from holdfast.serve.status import Watch, readings


class Readiness:
    """Whether this node can take requests now.

    Grids that are down, or a spool that is full, are no reason against it: reads go on, and a balancer that took the node out
    would turn refused writes into failed reads. Those are in the status and the metrics.
    """

    def __init__(self, index: Index, *, clock: Clock, draining: Callable[[], bool]) -> None:
        self._index = index
        self._clock = clock
        self._draining = draining
        self._asked_s = float("-inf")
        self._trouble = ""
        self._asking = asyncio.Lock()

    async def reasons(self) -> list[str]:
        """Why not; empty when it can."""
        async with self._asking:
            if self._clock.monotonic_s() - self._asked_s >= READY_S:
                self._trouble = await self._ask_index()
                self._asked_s = self._clock.monotonic_s()
        found = ["stopping: requests in progress are finished, new ones are not taken"] if self._draining() else []
        return found + ([self._trouble] if self._trouble else [])

    async def _ask_index(self) -> str:
        try:
            async with asyncio.timeout(READY_DEADLINE_S):
                await self._index.check()
        except TimeoutError:
            return f"index: no answer within {READY_DEADLINE_S:g} s"
        except S3Error as trouble:
            return f"index: {trouble.detail or trouble.message}"
        except (CommitUnknown, OSError) as trouble:
            return f"index: {trouble}"
        return ""


def application(watch: Watch, readiness: Readiness) -> Starlette:
    """The pages of the admin listener."""

    async def metrics(_: Request) -> Response:
        status, snapshots = await watch.status()
        return Response(render(snapshots, readings(status), status.at_ms), media_type=CONTENT_TYPE)

    async def healthz(_: Request) -> Response:
        return _json({"alive": True})

    async def readyz(_: Request) -> Response:
        reasons = await readiness.reasons()
        return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def status(_: Request) -> Response:
        told = (await watch.status())[0]
        return _json(replace(told, unready=tuple(await readiness.reasons())))

    async def pin(request: Request) -> Response:
        if "origin" in request.headers:
            return _json({"error": "browsers may not change anything here: use `holdfast grid`"}, 403)
        grid, use = request.path_params["grid"], request.query_params.get("use", "")
        if use not in set(Use):
            return _json({"error": f"use={use} is not possible: choose in, out or auto"}, 400)
        try:
            await watch.pin(grid, Use(use))
        except KeyError:
            return _json({"error": f"there is no grid {grid}"}, 404)
        except (S3Error, CommitUnknown) as trouble:
            return _json({"error": f"it may not have been remembered, so ask again: {trouble}"}, 503)
        return _json({"grid": grid, "use": use})

    async def start(_: Request) -> Response:
        return _json({"pages": ["/metrics", "/healthz", "/readyz", "/status"]})

    pages = {"/": start, "/metrics": metrics, "/healthz": healthz, "/readyz": readyz, "/status": status}
    routes = [Route(path, page) for path, page in pages.items()]
    return Starlette(routes=[*routes, Route("/grids/{grid}", pin, methods=["PUT"])])


def _json(value: object, status: int = 200) -> Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(to_json(value), status, headers, media_type="application/json")


class AdminServer:
    """Serves the pages on sockets that listen already."""

    def __init__(self, app: Starlette) -> None:
        self._server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=ADMIN_REQUESTS,
                timeout_graceful_shutdown=1,
            )
        )

    async def serve(self, sockets: list[socket.socket]) -> None:
        """Serve until `stop`; the sockets are closed then."""
        await self._server.serve(sockets)

    def stop(self) -> None:
        """Let `serve` return soon."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals belong to the process, not to this listener."""
        yield
