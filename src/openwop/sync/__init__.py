"""The blocking client: the async one, run in a thread of its own."""
