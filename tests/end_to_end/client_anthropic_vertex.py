"""Drives AnthropicVertex of the official anthropic SDK; see normal.py for what it prints.

Usage: client_anthropic_vertex.py BASE_URL stream|accumulate|blocking SCENARIO...
"""

import anthropic
import normal
from client_anthropic_normal import Messages


def make(url, mode):
    sdk = anthropic.AnthropicVertex(
        base_url=url + "/v1", access_token="client-key", region="europe-west1",
        project_id="a-project", max_retries=0, timeout=normal.SECONDS,
    )  # fmt: skip
    return Messages(sdk, mode, "claude-asked@20251001")


if __name__ == "__main__":
    normal.main(make)
