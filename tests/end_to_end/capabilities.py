"""What each dialect can say: what a matrix of all clients and all upstreams may ask of a pair."""

CAPABILITIES: dict[str, set[str]] = {
    "openai_chat": {
        "tools", "ids", "thinking", "signature", "image", "usage", "cached", "length", "filter",
        "stop", "mid_error", "system",
    },
    "openai_responses": {
        "tools", "ids", "thinking", "signature", "image", "usage", "cached", "length", "filter",
        "stop", "mid_error", "system", "count",
    },
    "openai_completions": {"usage", "cached", "length", "filter", "stop", "mid_error"},
    "anthropic_messages": {
        "tools", "ids", "thinking", "signature", "image", "usage", "cached", "length", "filter",
        "stop", "mid_error", "system", "count",
    },
    "anthropic_complete": {"length", "stop", "mid_error"},
    "gemini": {
        "tools", "ids", "thinking", "signature", "image", "usage", "cached", "length", "filter",
        "stop", "mid_error", "system", "count",
    },
    "bedrock_converse": {
        "tools", "ids", "thinking", "signature", "image", "usage", "cached", "length", "filter",
        "stop", "mid_error", "system", "count",
    },
    "ollama_chat": {
        "tools", "thinking", "image", "usage", "length", "stop", "mid_error", "system",
    },
    "plain_text": set(),
}  # fmt: skip
"""A dialect -> what it has words for.

    tools       calls of tools, several at once, and a second turn with their results
    ids         calls have ids. The fake of Gemini gives none unless the model is a Gemini 3.
    thinking    thinking apart from the text
    signature   thinking, or a call, carries a seal that has to come back
    image       a user's turn can hold an image
    usage       tokens in and out are told
    cached      and how many of those in were cached
    length      a stop that says the tokens ran out
    filter      a stop that says a filter or a refusal ended it
    stop        a reply says that it is over, so that one that breaks off is told from a whole one
    mid_error   an error can stand inside a stream; without it, all a stream can do is break off
    system      instructions stand apart from the turns
    count       tokens can be counted without a reply
"""
