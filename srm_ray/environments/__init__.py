"""Environments: what a policy talks to over several turns. docs/environments.md is the design."""
