"""Rules for the whole test run: which skips are allowed where nothing may be missing."""

import os
import re

import hypothesis
import pytest

# A busy machine is no reason to fail.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

#: Reasons for which a test may be skipped under continuous integration.
ALLOWED_SKIPS = re.compile(r"PAPER_TEST_DATA|real test data|jax is not installed")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skip for any other reason into a failure when the environment says ``CI``."""
    report = (yield).get_result()
    if not (report.skipped and os.environ.get("CI")) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not ALLOWED_SKIPS.search(reason):
        report.outcome = "failed"
        report.longrepr = f"Skipped where nothing may be missing: {reason}"
