"""FastAPI as most people write it: pydantic models in and out, a plain function as the handler, `uvicorn --workers`."""

import os
import sys

from fastapi import FastAPI
from pydantic import BaseModel

from loadtest.peers.scorer import Scorer, job


class User(BaseModel):
    """Who is asking."""

    id: str


class ScoreRequest(BaseModel):
    """Whom to score what for."""

    user: User
    item_ids: list[str]


class Item(BaseModel):
    """One candidate's scores by task."""

    item_id: str
    scores: dict[str, float]


class ScoreReply(BaseModel):
    """Candidates in the order of the request."""

    items: list[Item]


def create_app() -> FastAPI:
    """The application of one worker."""
    app, scorer = FastAPI(), Scorer(job().spec)

    @app.post("/score")
    def score(request: ScoreRequest) -> ScoreReply:
        scores = scorer.score(request.user.id, request.item_ids)
        items = [
            Item(item_id=item, scores={task: float(column[row]) for task, column in scores.items()})
            for row, item in enumerate(request.item_ids)
        ]
        return ScoreReply(items=items)

    return app


def main() -> None:
    """Become uvicorn."""
    arguments = ["--host", "127.0.0.1", "--port", str(job().port), "--workers", str(job().processes)]
    program = [sys.executable, "-m", "uvicorn", "--factory", f"{__spec__.name}:create_app", *arguments]
    os.execv(sys.executable, [*program, "--log-level", "warning"])


if __name__ == "__main__":
    main()
