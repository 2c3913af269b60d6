"""What a person said last, where messages have roles and blocks: chat and Messages."""

from typing import Any


def last_text(messages: list[Any]) -> tuple[str, bool]:
    """The last text a user said, and whether tool results follow the first turn."""
    results = any(message["role"] == "tool" for message in messages)
    word = ""
    for message in messages:
        if message["role"] != "user":
            continue
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        results = results or any(part["type"] == "tool_result" for part in parts)
        texts = [part["text"] for part in parts if part["type"] == "text"]
        word = texts[-1] if texts else word
    return word, results
