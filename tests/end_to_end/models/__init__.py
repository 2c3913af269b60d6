"""Fake models behind real sockets, one for each dialect, written by hand from the vendors' pages.

What they answer depends on the last user text:

    say hello, anything     "Hello there!"
    weather ...             two tools, weather and clock, at once; then, with their results, a text
    think                   thinking, sealed as the vendor seals it, and a text
    stop:length             the same text, but it ran out of tokens
    stop:blocked            the same text, but a filter stopped it
    error:429|500|400       an HTTP error
    break                   a stream without its stop, or half a body
    fail-in-stream          an error inside the stream, after some output; else an HTTP error
"""

from tests.end_to_end.models.anthropic_complete import complete_model
from tests.end_to_end.models.anthropic_messages import messages_model
from tests.end_to_end.models.bedrock import bedrock_model
from tests.end_to_end.models.common import (
    CHAT_SIGNATURE,
    COUNTED,
    ERRORS,
    GEMINI_SIGNATURE,
    MIDWAY,
    RESPONSES_SIGNATURE,
    SIGNATURE,
    USAGE,
)
from tests.end_to_end.models.gemini import gemini_model
from tests.end_to_end.models.ollama import ollama_model
from tests.end_to_end.models.openai_chat import chat_model
from tests.end_to_end.models.openai_completions import completions_model
from tests.end_to_end.models.openai_responses import responses_model
from tests.end_to_end.models.plain_text import lines_model, text_model
from tests.end_to_end.models.vertex import vertex_model
from tests.net.fakes import Script

__all__ = [
    "CHAT_SIGNATURE", "COUNTED", "ERRORS", "GEMINI_SIGNATURE", "HOSTED", "MIDWAY", "MODELS",
    "RESPONSES_SIGNATURE", "SIGNATURE", "USAGE", "bedrock_model", "chat_model", "complete_model",
    "completions_model", "gemini_model", "lines_model", "messages_model", "ollama_model",
    "responses_model", "text_model", "vertex_model",
]  # fmt: skip

MODELS: dict[str, Script] = {
    "openai_chat": chat_model,
    "openai_completions": completions_model,
    "openai_responses": responses_model,
    "anthropic_messages": messages_model,
    "anthropic_complete": complete_model,
    "gemini": gemini_model,
    "bedrock_converse": bedrock_model,
    "ollama_chat": ollama_model,
    "plain_text": text_model,
}
"""A dialect -> who speaks it."""

HOSTED: dict[str, Script] = {
    "bedrock_invoke": bedrock_model,
    "vertex": vertex_model,
    "plain_text_lines": lines_model,
}
"""Other faces of a dialect -> who shows them: Messages in Bedrock and Vertex; text in lines of JSON,
in the field `token.text`."""
