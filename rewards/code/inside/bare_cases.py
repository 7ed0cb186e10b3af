"""unittest's assertions for tests that use them without a case: `assertEqual(f(1), 2)`, `self.assertEqual(f(1), 2)`."""

import unittest

case = unittest.TestCase()


def __getattr__(name):
    if not name.startswith("assert"):
        raise AttributeError(name)
    return getattr(case, name)
