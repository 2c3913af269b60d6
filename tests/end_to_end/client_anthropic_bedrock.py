"""Drives AnthropicBedrock of the official anthropic SDK; see normal.py for what it prints.

Usage: client_anthropic_bedrock.py BASE_URL stream|accumulate|blocking SCENARIO...
"""

import anthropic
import normal
from client_anthropic_normal import Messages


def make(url, mode):
    sdk = anthropic.AnthropicBedrock(
        base_url=url, aws_access_key="AKIAFAKE", aws_secret_key="fake", aws_region="us-east-1",
        max_retries=0, timeout=normal.SECONDS,
    )  # fmt: skip
    return Messages(sdk, mode, "anthropic.claude-asked-v1:0")


if __name__ == "__main__":
    normal.main(make)
