"""Failed assertions of the helpers tell what they compared, as those of the tests do."""

import pytest

pytest.register_assert_rewrite("tests.faults.story")
