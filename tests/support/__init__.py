"""Helpers of the tests, each of them usable from any folder below tests/."""
