"""Real servers for tests, each a process of the test's own on a free port, with its data under a temporary folder.

A test that needs one is marked `servers`. Where the server's program is missing it is skipped, loudly; with CI=true it fails instead.
"""
