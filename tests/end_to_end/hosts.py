"""The fakes as upstreams: how a configuration names each of them."""

from dataclasses import dataclass
from typing import Any

from tests.end_to_end.models import HOSTED, MODELS
from tests.net.fakes import Script

__all__ = ["HOSTS", "Host"]


@dataclass(frozen=True)
class Host:
    """A dialect as one provider hosts it: how the configuration says so."""

    name: str
    dialect: str
    script: Script
    provider: str = "compatible"
    base: str = "/v1"
    model: str = "m"
    options: tuple[tuple[str, Any], ...] = ()

    def section(self, url: str) -> dict[str, Any]:
        section = {"provider": self.provider, "base_url": url + self.base, "keys": KEYS}
        return section | {"dialects": [self.dialect]} | dict(self.options)


AWS = (("region", "eu-1"),)
KEYS = [f"key{number}:secret" for number in range(8)]
"""More than the tries of the one call that is told to wait."""

HOSTS = {
    host.name: host
    for host in (
        Host("openai_chat", "openai_chat", MODELS["openai_chat"]),
        Host("openai_responses", "openai_responses", MODELS["openai_responses"], "openai"),
        Host("openai_completions", "openai_completions", MODELS["openai_completions"]),
        Host("anthropic_messages", "anthropic_messages", MODELS["anthropic_messages"], "anthropic", "",
             "claude-opus-4-8"),
        Host("anthropic_complete", "anthropic_complete", MODELS["anthropic_complete"]),
        Host("gemini", "gemini", MODELS["gemini"], "gemini", "", "gemini-3-pro"),
        Host("bedrock_converse", "bedrock_converse", MODELS["bedrock_converse"], "bedrock", "",
             "us.anthropic.claude-opus-4-8-v1:0", AWS),
        Host("ollama_chat", "ollama_chat", MODELS["ollama_chat"], "ollama", "", "qwen3:8b"),
        Host("plain_text", "plain_text", MODELS["plain_text"], base="/say"),
        Host("bedrock_invoke", "anthropic_messages", HOSTED["bedrock_invoke"], "bedrock", "",
             "us.anthropic.claude-opus-4-8-v1:0", AWS),
        Host("vertex", "anthropic_messages", HOSTED["vertex"], "vertex", "", "claude-opus-4-8",
             (*AWS, ("project", "p"))),
        Host("plain_text_lines", "plain_text", HOSTED["plain_text_lines"], base="/say",
             options=(("text_field", "token.text"),)),
    )
}  # fmt: skip
