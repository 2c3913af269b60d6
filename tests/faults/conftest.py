"""Failed assertions of the helpers tell what they compared, as those of the tests do."""

import pytest

HELPERS = ("story", "connecting", "answering", "streaming", "shared", "clients", "machine")

pytest.register_assert_rewrite(*(f"tests.faults.{name}" for name in HELPERS))
