"""What writers of calls share where their dialect is narrower than the call.

Layer: dialects. Pure renderings and names; what they cost is told by the writer that uses them.
"""

from rawproxy.dialects.base import ToolName
from rawproxy.dialects.call import Document, Effort, Inline, Reasoning, SearchResult
from rawproxy.dialects.digest import sha256
from rawproxy.dialects.media import safe_id

__all__ = ["BILLING", "Naming", "document_text", "effort_of", "search_text", "short_user"]

BILLING = "x-anthropic-billing-header:"
"""How a system block of Claude Code begins that is no text: it changes with every request, so it
would keep the prompt from being cached."""

LOW_BUDGET = 2048
"""Thinking tokens up to which a budget means effort `low`."""

MEDIUM_BUDGET = 8192
"""Thinking tokens up to which a budget means effort `medium`."""


class Naming:
    """Tool names and ids as an upstream takes them, and what the reply has to undo.

    Args:
        exact: the call goes back into its own dialect: every name and id stays as it is.
        longest_id: characters.
        longest_name: characters.
    """

    def __init__(self, *, exact: bool, longest_id: int, longest_name: int) -> None:
        self._exact = exact
        self._longest_id = longest_id
        self._longest_name = longest_name
        self.tools: dict[str, ToolName] = {}
        self.ids: dict[str, str] = {}

    def tool_id(self, wanted: str) -> str:
        """Return the id to send for `wanted`: the same one in a call and in its result."""
        if self._exact:
            return wanted
        known = safe_id(wanted, self._longest_id)
        if known != wanted:
            self.ids[known] = wanted
        return known

    def tool_name(
        self,
        name: str,
        namespace: str | None = None,
        kind: str = "function",
        *,
        unlike: bool = False,
    ) -> str:
        """Return the name to send; `unlike` says that the tool goes as another kind than `kind`."""
        if self._exact:
            return name
        known = safe_id(f"{namespace}__{name}" if namespace else name, self._longest_name)
        if known != name or unlike:
            self.tools[known] = ToolName(name, namespace, kind)
        return known


def effort_of(reasoning: Reasoning) -> Effort | None:
    """Return how hard to think, in a word: the one said, or the one the token budget comes to."""
    if reasoning.effort is not None or reasoning.budget is None or reasoning.mode == "off":
        return reasoning.effort
    if reasoning.budget <= LOW_BUDGET:
        return "low"
    return "medium" if reasoning.budget <= MEDIUM_BUDGET else "high"


def document_text(document: Document) -> str:
    """Return a document of plain text as one text: its title, context and content."""
    source = document.source
    text = source.text if isinstance(source, Inline) else None
    return "\n\n".join(piece for piece in (document.title, document.context, text) if piece)


def search_text(result: SearchResult) -> str:
    """Return a search result as one text: its title, source and content."""
    return "\n\n".join((f"{result.title} ({result.source})", *result.texts))


def short_user(user: str, longest: int) -> str:
    """Return an end-user id of at most `longest` characters; a longer one as its hex SHA-256."""
    if len(user) <= longest:
        return user
    return sha256(user.encode("utf-8", "replace"))
