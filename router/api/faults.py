"""Tell a caller what went wrong: one of our errors becomes a status and a small JSON object."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse

from tandem import disk
from tandem.errors import TandemError
from tandem.paths import state_dir
from tandem.types import Json

log = logging.getLogger(__name__)
HTTP_OF = {  # by gRPC status name, which every error class has
    "INVALID_ARGUMENT": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "FAILED_PRECONDITION": 409,
    "CANCELLED": 409,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 503,
    "RESOURCE_EXHAUSTED": 503,
}


def error_body(error: TandemError) -> dict[str, Json]:
    """Return what a caller is told about an error."""
    return {"class": type(error).__name__, "message": error.message, "exit_code": error.exit_code}


def foreseen(error: TandemError) -> JSONResponse:
    """Return the answer for an error of ours."""
    return JSONResponse({"error": error_body(error)}, status_code=HTTP_OF.get(error.status, 500))


def unforeseen(error: Exception) -> TandemError:
    """Return our error for a fault nobody foresaw, and log its traceback; a full or closed disk is called that."""
    if isinstance(error, OSError):
        place = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else state_dir()
        if found := disk.trouble(error, "this could not be done", place):
            return found
    log.error("request failed unforeseen", exc_info=error)
    return TandemError(f"the router met an unforeseen fault ({type(error).__name__}: {error}); its log has the details")


async def on_foreseen(request: Request, error: Exception) -> JSONResponse:
    """Answer one of our errors."""
    assert isinstance(error, TandemError)
    log.info("request refused", extra={"path": request.url.path, "error": type(error).__name__})
    return foreseen(error)


async def on_unforeseen(request: Request, error: Exception) -> JSONResponse:
    """Answer a fault."""
    return foreseen(unforeseen(error))
