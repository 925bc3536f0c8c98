"""How a handler finds the service it belongs to."""

from typing import cast

from fastapi import Request

from service.lifecycle import Service


def service_of(request: Request) -> Service:
    """The service behind this request's app."""
    return cast(Service, request.app.state.service)
