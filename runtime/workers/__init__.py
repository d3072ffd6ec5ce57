"""Agents in operating-system processes of their own, or spread over worker processes. Loaded when a node first needs it."""
