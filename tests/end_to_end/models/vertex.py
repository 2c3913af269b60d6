"""A fake of Claude in Google's Vertex AI: Messages, at rawPredict and streamRawPredict.

Source: https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai
"""

import json

import trio

from tests.end_to_end.models.anthropic_messages import error_body, speak
from tests.end_to_end.models.common import path_of, refuse
from tests.end_to_end.models.last_text import last_text
from tests.net.fakes import Seen


async def vertex_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers as a Claude in Vertex does: the path names the model, the body the version."""
    request = json.loads(seen.body)
    if "model" in request or not request.get("anthropic_version"):
        wrong = "anthropic_version: Field required; model: Extra inputs are not permitted"
        await refuse(wire, 400, error_body(wrong, "invalid_request_error"))
        return
    word, second = last_text(request["messages"])
    streamed = path_of(seen).endswith(":streamRawPredict")
    await speak(seen, wire, word, second=second, stream=streamed)
